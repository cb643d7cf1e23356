import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_model import randomise
from torch.nn import functional as F

import mtslvr
from mtslvr.cli.parser import main
from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.frontend import EPS, TINY, Frontend
from mtslvr.encoder.model import MTSLVR
from mtslvr.encoder.resnet import PooledShortcut
from mtslvr.sound import stream

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from mtslvr import export  # noqa: E402
from mtslvr.onnx import quantized, traced  # noqa: E402

pytestmark = pytest.mark.slow


RATE = 16_000
DEMO = sorted((Path(mtslvr.__file__).parent / "assets" / "demo").glob("*/*.ogg"))


@pytest.fixture(scope="module")
def model() -> MTSLVR:
    return MTSLVR.from_pretrained()


@pytest.fixture(scope="module")
def exported(model: MTSLVR, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    assert export.export(model, path) == model.fingerprint
    return path


@pytest.fixture(scope="module")
def int8(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "model.onnx"
    graph = onnx.load(exported)
    del graph.metadata_props[:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "traced", lambda model: graph)  # which takes ten seconds
        patch.setattr(quantized, "N_CALIBRATION", 6)
        assert main(["export", "-o", str(path), "--calibrate", str(DEMO[0].parents[1])]) == 0
    return path


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, over the largest feature."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def hard_waves(n: int = 80_000) -> torch.Tensor:
    """Silence, an offset, half of each with noise, an impulse, a tone, noise."""
    noise = 0.1 * torch.randn(n, generator=torch.Generator().manual_seed(0))
    half = (torch.arange(n) < n // 2).float()
    return torch.stack(
        [
            torch.zeros(n),
            torch.full((n,), 0.3),
            noise * half,
            noise * half + 1e-3,
            torch.eye(1, n)[0],
            torch.sin(0.3 * torch.arange(n)),
            noise,
        ]
    )


def test_the_file_embeds_as_the_model(model: MTSLVR, exported: Path) -> None:
    other = MTSLVR.from_pretrained(exported)
    assert other.fingerprint == model.fingerprint
    assert other.spaces == model.spaces
    # Faint noise, for bands that a codec left empty, 140 dB down, hold nothing but rounding: of torch's transform, or of ours.
    noise = 1e-4 * np.random.default_rng(0).standard_normal(300_000).astype(np.float32)
    clips = [(wave + noise[: len(wave)], RATE) for wave in map(stream.read, DEMO[::3])]
    expected = model.embed(clips)
    assert relative(other.embed(clips), expected) < 1e-4
    assert relative(other.embed(DEMO[::3]), model.embed(DEMO[::3])) < 1e-2
    assert relative(other.embed(clips[0], space="variant"), expected[0, 500:]) < 1e-4
    vectors, times = other.embed_windows(clips[0], hop=1.0)
    expected, expected_times = model.embed_windows(clips[0], hop=1.0)
    assert relative(vectors, expected) < 1e-4
    np.testing.assert_array_equal(times, expected_times)


@pytest.mark.parametrize("n", [600, 16_000, 50_001, 123_457])
def test_any_length_and_batch(model: MTSLVR, exported: Path, n: int) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    waves = hard_waves(n)[[0, 1, 2, 3, 6]]
    combined, invariant, variant = session.run(None, {"waves": waves.numpy()})
    with torch.no_grad():
        assert relative(combined, model(waves).numpy()) < 1e-4
    np.testing.assert_array_equal(np.hstack([invariant, variant]), combined)
    for i in range(len(waves)):  # a clip's embedding does not depend on its batch
        np.testing.assert_allclose(
            session.run(["combined"], {"waves": waves[i : i + 1].numpy()})[0][0], combined[i], 1e-5, 1e-5
        )


def test_int8_is_close_smaller_and_another_model(model: MTSLVR, exported: Path, int8: Path) -> None:
    other = MTSLVR.from_pretrained(int8)
    assert int8.stat().st_size < 0.35 * exported.stat().st_size
    assert other.fingerprint != model.fingerprint
    assert len(other.fingerprint) == 16
    found, expected = torch.from_numpy(other.embed(DEMO)), torch.from_numpy(model.embed(DEMO))
    assert F.cosine_similarity(found, expected).min() > 0.98
    assert not torch.equal(found, expected)
    nodes = onnx.load(int8).graph.node
    convolutions = [node.input for node in nodes if node.op_type == "Conv"]
    dequantized = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    assert all({image, kernel} <= dequantized for image, kernel, *_ in convolutions)
    made_by = {name: node for node in nodes for name in node.output}
    image = made_by[made_by[convolutions[0][0]].input[0]]  # through DequantizeLinear to the QuantizeLinear of the image
    front_end = [image.input[0]]
    while front_end:  # all that the image is made of is float32
        if node := made_by.get(front_end.pop()):
            assert node.op_type != "QuantizeLinear"
            front_end += node.input


def test_a_classifier_refuses_the_int8_model_where_it_was_fitted_on_the_float32(exported: Path, int8: Path) -> None:
    labels = [path.parent.name for path in DEMO[::3]]
    classifier = mtslvr.fit_fewshot(DEMO[::3], labels, model=MTSLVR.from_pretrained(exported))
    assert (np.asarray(classifier.predict(DEMO[::3])) == labels).mean() > 0.9
    with pytest.raises(ValueError, match="another"):
        mtslvr.FewShotClassifier.from_pretrained(saved(classifier, exported), model=MTSLVR.from_pretrained(int8))


def saved(classifier: mtslvr.FewShotClassifier, exported: Path) -> Path:
    classifier.save_pretrained(exported.parent / "classifier")
    return exported.parent / "classifier"


def test_metadata(model: MTSLVR, exported: Path) -> None:
    metadata = {entry.key: entry.value for entry in onnx.load(exported).metadata_props}
    assert metadata["sample_rate"] == "16000"
    assert metadata["precision"] == "float32"
    assert json.loads(metadata["spaces"]) == model.spaces
    assert json.loads(metadata["config"]) == model.config.to_json()


@pytest.mark.parametrize(("adapter", "n_heads"), [("none", 2), ("none", 1), ("bn", 2), ("series", 2)])
def test_graph_of_other_networks(adapter: str, n_heads: int) -> None:
    torch.manual_seed(0)
    model = MTSLVR(EncoderConfig(adapter, n_heads, head_dim=7, mean=1e-4, std=0.1))  # type: ignore[arg-type]
    randomise(model.network)
    waves = hard_waves(20_000)[[0, 1, 2, 3, 6]]
    with torch.no_grad():
        found, expected = traced.Graph(model).eval()(waves), model(waves)
    assert len(found) == len(model.spaces)
    assert relative(found[0].numpy(), expected.numpy()) < 1e-4


def test_front_end_without_complex_numbers() -> None:
    waves = hard_waves()
    found, expected = traced.RealFrontend(1e-4, 0.1, EPS)(waves), Frontend(1e-4, 0.1)(waves)
    for i in (0, 1, 2, 3, 6):  # an impulse and a tone leave bins to rounding
        torch.testing.assert_close(found[i, :2], expected[i, :2], atol=2e-2, rtol=0)
        torch.testing.assert_close(found[i, 2], expected[i, 2], atol=2e-2, rtol=0)
    floor = 10 * np.log10(EPS + TINY**0.5)
    assert (found[0, 1] - floor).abs().max() < 1e-2  # silence stays exactly silent


def test_pooling_of_any_length_is_the_shortcuts() -> None:
    for size in range(1, 24):
        x = torch.randn(2, 3, 4, size, generator=torch.Generator().manual_seed(size))
        torch.testing.assert_close(traced.AnyLength(2)(x), PooledShortcut(3, 5)(x))


def test_calibration_takes_windows_from_all_clips() -> None:
    clips = [(np.full(RATE * seconds, seconds / 100, np.float32), RATE) for seconds in (1, 12, 6)]
    windows = quantized.windows(clips)
    assert windows.shape == (1 + 3 + 2, stream.WINDOW)
    many = [(np.full(RATE, i / 1000, np.float32), RATE) for i in range(1, 301)]
    found = quantized.windows(many)[:, 0]
    assert len(found) == quantized.N_CALIBRATION
    assert all(late - early < 4e-3 for early, late in itertools.pairwise(found))
    assert found[-1] > 0.29


def test_errors(model: MTSLVR, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.onnx"):
        export.export(model, tmp_path / "model.pt")
    with pytest.raises(TypeError, match="several clips"):
        export.export(model, tmp_path / "model.onnx", calibrate=(np.zeros(RATE, np.float32), RATE))
    with pytest.raises(ValueError, match="no such file"):
        MTSLVR.from_pretrained(tmp_path / "none.onnx")
    (tmp_path / "damaged.onnx").write_bytes(exported.read_bytes()[:5000])
    with pytest.raises(ValueError, match="damaged"):
        MTSLVR.from_pretrained(tmp_path / "damaged.onnx")
    identity = onnx.helper.make_node("Identity", ["waves"], ["combined"])
    value = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in ("waves", "combined")]
    graph = onnx.helper.make_graph([identity], "other", value[:1], value[1:])
    onnx.save(
        onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 18)]),
        tmp_path / "other.onnx",
    )
    with pytest.raises(ValueError, match="not one that"):
        MTSLVR.from_pretrained(tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="run on the CPU"):
        MTSLVR.from_pretrained(exported, device="meta")
    other = MTSLVR.from_pretrained(exported)
    with pytest.raises(ValueError, match="the one that it came from"):
        other.save_pretrained(tmp_path / "folder")
    with pytest.raises(ValueError, match="the one that it came from"):
        export.export(other, tmp_path / "again.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.onnx", "other.onnx"]
