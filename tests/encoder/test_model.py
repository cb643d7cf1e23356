import io
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import golden
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_model import randomise

from mtslvr.encoder.convert import from_authors
from mtslvr.encoder.model import MTSLVR, EncoderConfig
from mtslvr.storage import folder
from mtslvr.storage.assets import MODELS

RATE = 16_000


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, n).astype(np.float32)


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def model() -> MTSLVR:
    torch.manual_seed(0)
    model = MTSLVR(EncoderConfig(mean=1e-4, std=0.1))
    randomise(model.network)
    return model


@pytest.fixture(scope="module")
def saved(model: MTSLVR, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["parallel", "series", "bn", "split"])
def test_converted_checkpoint_embeds_as_the_authors(variant: str) -> None:
    network, _ = from_authors(golden.authors_state(variant))
    model = MTSLVR(EncoderConfig(network.adapter, mean=golden.MEAN, std=golden.STD), network)
    wave, expected = golden.arrays()["wave"], golden.outputs(variant).numpy()
    # Not 1e-5, which the networks alone keep: in 65 of the 40,192 pixels of this image the phase is +-pi to within rounding.
    assert relative(model.embed(wave.numpy(), sample_rate=RATE), expected) < 2e-3
    assert relative(model.embed(wave, sample_rate=RATE, space="variant"), expected[:, 500:]) < 2e-3


def test_shapes_and_spaces(model: MTSLVR) -> None:
    clip = (noise(20_000), RATE)
    combined = model.embed(clip)
    assert combined.shape == (1000,)
    assert combined.dtype == np.float32
    assert model.embed([clip]).shape == (1, 1000)
    assert model.embed(np.stack([noise(9000)] * 3), sample_rate=RATE).shape == (3, 1000)
    assert (
        relative(np.concatenate([model.embed(clip, space="invariant"), model.embed(clip, space="variant")]), combined)
        < 1e-6
    )
    assert model.spaces == {"combined": 1000, "invariant": 500, "variant": 500}


def test_every_kind_of_clip_gives_the_same_vector(model: MTSLVR, tmp_path: Path) -> None:
    wave = (noise(RATE) * 2**15).round().astype(np.int16)
    path = tmp_path / "a.wav"
    soundfile.write(path, wave, RATE)
    content = path.read_bytes()
    expected = model.embed(str(path))
    floats = wave.astype(np.float32) / 2**15
    kinds: list[Any] = [
        path,
        content,
        io.BytesIO(content),
        (wave, RATE),
        (floats, RATE),
        (torch.from_numpy(floats), RATE),
    ]
    kinds += [
        {"array": floats, "sampling_rate": RATE},
        (np.stack([floats, floats]), RATE),
        (np.stack([floats, floats], 1), RATE),
    ]
    for kind in kinds:
        assert relative(model.embed(kind), expected) < 1e-6, type(kind)


def test_long_clips_are_averaged_by_seconds_and_short_ones_repeated(model: MTSLVR) -> None:
    wave = noise(200_000)  # 12.5 s
    whole = model.embed(wave, sample_rate=RATE)
    windows, times = model.embed_windows(wave, sample_rate=RATE)
    assert times.tolist() == [[0.0, 5.0], [5.0, 10.0], [10.0, 12.5]]
    assert relative(np.average(windows, axis=0, weights=times[:, 1] - times[:, 0]), whole) < 1e-6
    assert relative(windows[2], model.embed(np.tile(wave[160_000:], 2), sample_rate=RATE)) < 1e-6
    overlapping, times = model.embed_windows(wave, hop=2.5, sample_rate=RATE)
    assert times[:, 0].tolist() == [0.0, 2.5, 5.0, 7.5]
    assert relative(overlapping[2], windows[1]) < 1e-6


def test_a_short_window_is_the_clip_cut_there(model: MTSLVR) -> None:
    wave = noise(40_000)  # 2.5 s
    windows, times = model.embed_windows(wave, hop=0.5, window=1.0, sample_rate=RATE)
    assert times.tolist() == [[0.0, 1.0], [0.5, 1.5], [1.0, 2.0], [1.5, 2.5]]
    assert relative(windows[1], model.embed(wave[8_000:24_000], sample_rate=RATE)) < 1e-6


def test_one_stray_sample_more_than_a_window_changes_next_to_nothing(model: MTSLVR) -> None:
    wave = noise(80_001)
    assert relative(model.embed(wave, sample_rate=RATE), model.embed(wave[:80_000], sample_rate=RATE)) < 1e-4


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 170_000), min_size=1, max_size=6),
    rates=st.lists(st.sampled_from([8_000, 16_000, 22_050, 44_100]), min_size=6, max_size=6),
    batch_size=st.integers(1, 7),
    seed=st.integers(0, 9),
)
def test_alone_or_in_a_batch(model: MTSLVR, lengths: list[int], rates: list[int], batch_size: int, seed: int) -> None:
    clips = [(noise(max(n, 3), seed + i), rate) for i, (n, rate) in enumerate(zip(lengths, rates, strict=False))]
    together = model.embed(clips, batch_size=batch_size)
    backwards = model.embed(clips[::-1])[::-1]
    for i, clip in enumerate(clips):
        alone = model.embed(clip, batch_size=1)
        assert relative(together[i], alone) < 1e-5
        assert relative(backwards[i], alone) < 1e-5


@pytest.mark.slow
def test_hard_clips_do_not_depend_on_their_batch(model: MTSLVR) -> None:
    time = np.arange(80_000, dtype=np.float32)
    hard = [
        np.sin(0.3 * time),
        np.full(80_000, 0.25, np.float32),
        np.eye(1, 80_000, dtype=np.float32)[0],
        noise(80_000),
    ]
    together = model.embed(np.stack(hard), sample_rate=RATE)
    for clip, vector in zip(hard, together, strict=True):
        assert relative(model.embed(clip, sample_rate=RATE), vector) < 1e-5


def test_silence_warns_and_is_finite(model: MTSLVR) -> None:
    with pytest.warns(UserWarning, match="silence"):
        assert np.isfinite(model.embed(np.zeros(16_000, np.float32), sample_rate=RATE)).all()


def test_no_global_state_is_touched(model: MTSLVR, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(5)
    state, threads, filters = torch.get_rng_state(), torch.get_num_threads(), list(warnings.filters)
    numpy_state = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]  # noqa: NPY002
    model.embed([(noise(9000), RATE)] * 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert warnings.filters == filters
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # type: ignore[index]  # noqa: NPY002
    assert torch.is_grad_enabled()
    assert capsys.readouterr() == ("", "")


def test_module_is_differentiable(model: MTSLVR) -> None:
    waves = torch.from_numpy(np.stack([noise(16_000), np.zeros(16_000, np.float32)])).requires_grad_()
    out = model(waves)
    assert out.shape == (2, 1000)
    out.square().sum().backward()
    assert waves.grad is not None
    assert waves.grad.isfinite().all()
    assert waves.grad[0].abs().sum() > 0
    assert all(p.grad is not None for name, p in model.network.named_parameters())
    model.zero_grad()
    with torch.no_grad():  # the folded network
        assert (model(waves) - out).norm() < 1e-5 * out.norm()
        assert (model(waves, "variant") - out[:, 500:]).norm() < 1e-5 * out.norm()


@pytest.mark.slow
def test_changed_weights_are_never_served_stale() -> None:
    model = MTSLVR(EncoderConfig(std=0.1))
    clip, before, mark = (noise(9000), RATE), None, model.fingerprint
    before = model.embed(clip)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    model(torch.from_numpy(noise(16_000))[None]).square().mean().backward()
    optimizer.step()
    assert relative(model.embed(clip), before) > 1e-6
    assert model.fingerprint != mark
    model.load_state_dict(MTSLVR(EncoderConfig(std=0.1)).state_dict())
    assert relative(model.embed(clip), before) > 1e-6


def test_the_modes_of_torch_around_it_change_nothing(model: MTSLVR, saved: Path) -> None:
    clip = (noise(9000), RATE)
    expected = model.embed(clip)
    with torch.autocast("cpu", torch.bfloat16):
        assert relative(model.embed(clip), expected) < 1e-6
    with torch.inference_mode():
        assert relative(MTSLVR.from_pretrained(saved).embed(clip), expected) < 1e-6
    double = MTSLVR.from_pretrained(saved).double()
    assert relative(double.embed(clip), expected) < 1e-3
    assert double.embed(clip).dtype == np.float32


def test_training_mode_is_refused_by_embed(model: MTSLVR) -> None:
    model.train()
    try:
        with pytest.raises(ValueError, match="training mode"):
            model.embed((noise(9000), RATE))
    finally:
        model.eval()


@pytest.mark.parametrize("half", [False, True])
def test_saved_and_loaded(model: MTSLVR, tmp_path: Path, half: bool) -> None:
    model.save_pretrained(tmp_path / "m", half=half)
    loaded = MTSLVR.from_pretrained(tmp_path / "m")
    clip = (noise(30_000), RATE)
    assert relative(loaded.embed(clip), model.embed(clip)) < (3e-3 if half else 1e-7)
    assert (loaded.fingerprint == model.fingerprint) is not half
    card = (tmp_path / "m" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: mtslvr\n")
    assert loaded.fingerprint in card or half


@pytest.mark.slow
@pytest.mark.parametrize(("adapter", "n_heads"), [("none", 1), ("none", 2), ("series", 2), ("bn", 1)])
def test_every_architecture_saves_and_loads(adapter: Any, n_heads: int, tmp_path: Path) -> None:
    model = MTSLVR(EncoderConfig(adapter, n_heads, 1000 // n_heads, std=0.1, training={"steps": 3}))
    model.save_pretrained(tmp_path)
    loaded = MTSLVR.from_pretrained(str(tmp_path))
    assert loaded.config == model.config
    clip = (noise(9000), RATE)
    assert relative(loaded.embed(clip), model.embed(clip)) < 1e-7
    if n_heads == 1:
        with pytest.raises(ValueError, match="this model has 'combined'"):
            loaded.embed(clip, space="variant")


def test_default_weights_are_inside() -> None:
    model = MTSLVR.from_pretrained()
    assert model.config.adapter == "parallel"
    assert model.spaces["combined"] == 1000
    assert model.config.training["sounds_seen"] > 0
    kinds = model.embed(
        [noise(16_000), noise(16_000, 1), np.sin(0.1 * np.arange(16_000, dtype=np.float32))], sample_rate=RATE
    )
    assert relative(kinds[0], kinds[1]) < 0.5 * relative(
        kinds[0], kinds[2]
    )  # two noises are closer than a noise and a tone


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        ([], "empty"),
        (np.zeros(0, np.float32), "empty"),
        (np.full(900, np.nan, np.float32), "NaN"),
        (np.full(900, np.inf, np.float32), "NaN"),
        (np.zeros((2, 3, 900), np.float32), "shape"),
        (np.zeros((900, 2), np.float32), r"looks like \[samples, channels\]"),
        (np.zeros(900, np.complex64), "complex64"),
        (np.array(["a", "b"]), "no such file: clip 0"),
        (np.zeros(900, np.int64), "int64"),
        ((np.zeros(900, np.float32), 0), "rate"),
        ((np.zeros(900, np.float32), -16_000), "rate"),
        ((np.zeros(900, np.float32), 10**9), "rate"),
        ((np.ones(900, np.float32), None), "rate"),
        ((np.ones(900, np.float32), "16000"), "rate of type str"),
        ((np.ones(900, np.float32), np.array([44_100])), "rate of type ndarray"),
        ("nowhere.wav", r"nowhere\.wav"),
        (".", r"folder|directory"),
        (b"", "empty|zero"),
        (b"just some text, no sound at all", "no sound file"),
        (3.5, "float"),
        (None, "None"),
        ([1.0, 2.0], "list"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*without a sample rate:UserWarning")
def test_bad_sound_is_told(model: MTSLVR, audio: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        model.embed(audio)


def test_the_bad_clip_of_a_list_is_named(model: MTSLVR, tmp_path: Path) -> None:
    (tmp_path / "b.wav").write_text("no sound")
    with pytest.raises(ValueError, match=r"clip 1 \(.*b\.wav\)"):
        model.embed([(noise(900), RATE), tmp_path / "b.wav"])


def test_bad_places() -> None:
    with pytest.raises(ValueError, match="these weights are the package's"):
        MTSLVR.from_pretrained(revision="v1")
    for device in ("gpu", "cuda:77"):
        with pytest.raises(ValueError, match="cannot be used here"):
            MTSLVR.from_pretrained(device=device)


def test_the_packages_models_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = {name: MTSLVR.from_pretrained(name).fingerprint for name in MODELS}
    assert found["default"] == MTSLVR.from_pretrained().fingerprint
    assert len(set(found.values())) == len(MODELS)
    Path("default").mkdir()  # a path is a folder's, whatever its name
    with pytest.raises(ValueError, match="default is not a model folder"):
        MTSLVR.from_pretrained(Path("default"))


def test_bad_arguments(model: MTSLVR) -> None:
    clip = (noise(900), RATE)
    with pytest.raises(ValueError, match="space is 'both'"):
        model.embed(clip, space="both")
    with pytest.raises(ValueError, match="batch_size"):
        model.embed(clip, batch_size=0)
    with pytest.raises(TypeError, match="one clip"):
        model.embed_windows([clip, clip])
    with pytest.raises(ValueError, match="hop"):
        model.embed_windows(clip, hop=0)
    with pytest.raises(ValueError, match="window is 6; expected seconds, more than 0, at most 5"):
        model.embed_windows(clip, window=6)
    with pytest.raises(TypeError, match="int16"):
        model(torch.zeros(1, 900, dtype=torch.int16))
    with pytest.raises(ValueError, match="more than 512"):
        model(torch.zeros(1, 512))
    with pytest.raises(ValueError, match="shape"):
        model(torch.zeros(900))


def change(key: str, value: Any, part: str | None = "network") -> Callable[[dict[str, Any]], None]:
    def apply(content: dict[str, Any]) -> None:
        (content[part] if part else content)[key] = value

    return apply


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change("n_heads", "2"), "n_heads is '2', expected a int"),
        (change("n_heads", 10**9), "expected 1 or 2 heads"),
        (change("head_dim", 10**12), "expected 1 or 2 heads of 1 to 4096"),
        (change("adapter", "../../etc"), "adapter is"),
        (change("surprise", 1), "unknown keys"),
        (change("n_fft", 2048, "preprocessing"), "only knows 1024"),
        (change("std", 0.0, "preprocessing"), "std"),
        (change("std", True, "preprocessing"), "std is True"),
        (change("network", [], None), "network is"),
        (change("format_version", 99, None), "update mtslvr"),
        (change("model_type", "bert", None), "another kind of model"),
        (lambda content: content.pop("preprocessing"), "missing keys"),
        (lambda content: content["preprocessing"].pop("mean"), "missing keys"),
    ],
)
def test_bad_configurations(saved: Path, tmp_path: Path, edit: Callable[[dict[str, Any]], None], message: str) -> None:
    content = json.loads((saved / "config.json").read_text())
    edit(content)
    (tmp_path / "config.json").write_text(json.dumps(content))
    os.symlink(saved / "model.safetensors", tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        MTSLVR.from_pretrained(tmp_path)


def test_bad_weights(saved: Path, tmp_path: Path) -> None:
    content = (saved / "model.safetensors").read_bytes()
    (tmp_path / "config.json").write_bytes((saved / "config.json").read_bytes())
    weights = tmp_path / "model.safetensors"
    for damaged in (b"", content[:1000], content[:-1], b"\xff" * 64):
        weights.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            MTSLVR.from_pretrained(tmp_path)
    config, tensors = folder.read(saved)
    for name, edit in {
        "wrong shape": torch.zeros(3),
        "not finite": torch.full_like(tensors["heads.0.bias"], torch.nan),
        "beyond": torch.full_like(tensors["heads.0.bias"], -3e38),
    }.items():
        folder.write(tmp_path, config, {**tensors, "heads.0.bias": edit}, "")
        with pytest.raises(ValueError, match=name):
            MTSLVR.from_pretrained(tmp_path)
    folder.write(tmp_path, config, {k: v for k, v in tensors.items() if k != "heads.0.bias"}, "")
    with pytest.raises(ValueError, match=r"missing: heads\.0\.bias"):
        MTSLVR.from_pretrained(tmp_path)
    variance = next(name for name in tensors if name.endswith("running_var"))
    folder.write(tmp_path, config, {**tensors, variance: -tensors[variance]}, "")
    with pytest.raises(ValueError, match=f"negative variance: {variance}"):
        MTSLVR.from_pretrained(tmp_path)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_recording(model: MTSLVR) -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    unit = 1 if sys.platform == "darwin" else 1024
    silent_hour = _Endless(seconds=1200)
    model.embed((noise(480_000), RATE))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    _, times = model.embed_windows(silent_hour, hop=60.0)  # reads it all, embeds a few windows
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before
    assert times[-1, 0] == 1140
    assert grown < 60e6  # as int16 stereo it has 211 MB


class _Endless(io.RawIOBase):
    """A 44.1 kHz stereo WAV of noise that is made as it is read."""

    def __init__(self, seconds: int) -> None:
        self.size = seconds * 44_100 * 4
        head = io.BytesIO()
        soundfile.write(head, np.zeros((0, 2)), 44_100, format="WAV", subtype="PCM_16")
        header = bytearray(head.getvalue()[:44])
        header[4:8], header[40:44] = (36 + self.size).to_bytes(4, "little"), self.size.to_bytes(4, "little")
        self.header, self.position = bytes(header), 0
        self.noise = np.random.default_rng(0).integers(-3000, 3000, 1 << 16, dtype=np.int16).tobytes()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = offset + {0: 0, 1: self.position, 2: 44 + self.size}[whence]
        return self.position

    def tell(self) -> int:
        return self.position

    def read(self, n: int = -1) -> bytes:
        n = min(n if n >= 0 else 1 << 30, 44 + self.size - self.position, 1 << 20)
        start = self.position
        self.position += n
        if start < 44:
            return (self.header + self.noise)[start : start + n]
        offset = (start - 44) % len(self.noise)
        return (self.noise * (2 + n // len(self.noise)))[offset : offset + n]

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


@pytest.mark.slow
def test_loading_does_not_import_the_compiler() -> None:
    """It takes a second, which is as long as all of torch; random weights on the meta device would ask for it."""
    code = "import sys, mtslvr; mtslvr.MTSLVR.from_pretrained(); print('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_bfloat16_is_close_and_another_model() -> None:
    exact, fast = MTSLVR.from_pretrained(), MTSLVR.from_pretrained(precision="bfloat16")
    clips = [(noise(n, n), RATE) for n in (9_000, 80_000)]
    expected, found = exact.embed(clips), fast.embed(clips)
    assert found.dtype == np.float32 and exact.fingerprint != fast.fingerprint
    cosines = (expected * found).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(found, axis=1)
    assert (cosines > 0.99).all() and relative(found, expected) > 0
    assert fast(torch.zeros(1, 16_000) + 0.1).dtype == torch.float32  # learning goes on in float32
    with pytest.raises(ValueError, match="precision is 'half'; expected 'float32', 'bfloat16' or 'auto'"):
        MTSLVR.from_pretrained(precision="half")  # type: ignore[arg-type]


@pytest.mark.parametrize("there", [False, True])
def test_auto_takes_bfloat16_where_there_are_instructions_for_it(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda: there, raising=False)
    assert MTSLVR.from_pretrained(precision="auto").precision == ("bfloat16" if there else "float32")
