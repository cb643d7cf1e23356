"""Encoders to compare with: log-mel statistics against an oracle, networks against the model they wrap, those of others where installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy import signal

from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.frontend import mel_filterbank
from mtslvr.encoder.model import MTSLVR
from training.evaluation import encoders
from training.evaluation.encoders import LogMel, Network


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    paths = []
    for i, seconds in enumerate([0.01, 0.4, 1.1]):
        wave = np.random.default_rng(i).uniform(-0.5, 0.5, int(seconds * 16_000))
        paths.append(tmp_path / f"{i}.wav")
        soundfile.write(paths[-1], wave, 16_000, subtype="FLOAT")
    return paths


def test_log_mel_statistics_against_scipy(clips: list[Path]) -> None:
    found = LogMel().embed(clips)
    assert found.shape == (3, 512)
    assert found.dtype == np.float32
    for path, vector in zip(clips, found, strict=True):
        wave = soundfile.read(path)[0]
        wave = np.pad(wave, (0, max(0, 1024 - len(wave))))
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, 512, mode="reflect"), 1024)[::512]
        power = np.abs(np.fft.rfft(frames * signal.windows.hann(1024, sym=False))) ** 2
        mel = 10 * np.log10(power @ mel_filterbank().numpy() + 1e-3)  # [T, 128]
        steps = mel[1:] - mel[:-1]
        np.testing.assert_allclose(vector, np.hstack([mel.mean(0), mel.std(0), steps.mean(0), steps.std(0)]), atol=2e-3)


def test_log_mel_clips_do_not_depend_on_each_other(clips: list[Path]) -> None:
    encoder = LogMel()
    np.testing.assert_array_equal(encoder.embed(clips)[::-1], encoder.embed(clips[::-1]))
    assert encoder.spaces == {"combined": 512}


@pytest.mark.slow
def test_the_untrained_network_is_always_the_same_and_touches_no_global_seed() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one = Network.untrained()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert Network.untrained().fingerprint == one.fingerprint
    assert Network.untrained(seed=1).fingerprint != one.fingerprint
    assert one.name == "untrained"


@pytest.mark.slow
def test_a_saved_model(clips: list[Path], tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MTSLVR(EncoderConfig(adapter="bn", head_dim=4))
    model.save_pretrained(tmp_path / "bn" / "model")
    encoder = Network.pretrained(str(tmp_path / "bn" / "model"))
    assert (encoder.name, encoder.fingerprint) == ("bn", model.fingerprint)
    assert encoder.spaces == {"combined": 8, "invariant": 4, "variant": 4}
    np.testing.assert_allclose(encoder.embed(clips[:1]), model.embed([str(clips[0])]), rtol=1e-6)


def test_a_clip_is_taken_whole_and_a_short_one_repeated(tmp_path: Path) -> None:
    encoder = encoders.Peer("n", "f", 2, lambda wave: np.array([len(wave), wave[-1]]))
    for i, n_samples in enumerate((100_000, 20_000)):
        soundfile.write(tmp_path / f"{i}.wav", np.arange(n_samples) / 100_000, 16_000, subtype="FLOAT")
    found = encoder.embed([tmp_path / "0.wav", (np.arange(20_000, dtype=np.float32) / 20_000, 16_000)])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[100_000, 0.99999], [32_000, 0.59995]])


@pytest.mark.parametrize("name", ["egemaps", "speech-embedding"])
def test_without_the_package_it_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(encoders.importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"cannot be imported .*: see training/evaluation/encoders.py"):
        encoders.PEERS[name]()


@pytest.mark.parametrize(("name", "package"), [("egemaps", "opensmile"), ("speech-embedding", "openwakeword")])
def test_with_the_package(name: str, package: str) -> None:
    pytest.importorskip(package)
    encoder = encoders.PEERS[name]()
    rng = np.random.default_rng(0)
    clips = [(rng.uniform(-0.3, 0.3, n_samples).astype(np.float32), 16_000) for n_samples in (4_000, 90_100)]
    found = encoder.embed(clips)
    assert found.shape == (2, encoder.spaces["combined"])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(encoder.embed(clips[::-1])[::-1], found, rtol=1e-3, atol=1e-3)
    assert name in encoders.NAMES
