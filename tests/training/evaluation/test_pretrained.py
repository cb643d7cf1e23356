"""Encoders of others: the adapter itself, and the packages where they are installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from training.evaluation import evaluate, pretrained


def test_a_clip_is_taken_whole_and_a_short_one_repeated(tmp_path: Path) -> None:
    encoder = pretrained.Pretrained("n", "f", 2, lambda wave: np.array([len(wave), wave[-1]]))
    for i, n_samples in enumerate((100_000, 20_000)):
        soundfile.write(tmp_path / f"{i}.wav", np.arange(n_samples) / 100_000, 16_000, subtype="FLOAT")
    found = encoder.embed([tmp_path / "0.wav", (np.arange(20_000, dtype=np.float32) / 20_000, 16_000)])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[100_000, 0.99999], [32_000, 0.59995]])


@pytest.mark.parametrize("name", pretrained.ENCODERS)
def test_without_the_package_it_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(pretrained.importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"cannot be imported .*: see training/evaluation/pretrained.py"):
        pretrained.ENCODERS[name]()


@pytest.mark.parametrize(("name", "package"), [("egemaps", "opensmile"), ("speech-embedding", "openwakeword")])
def test_with_the_package(name: str, package: str) -> None:
    pytest.importorskip(package)
    encoder = pretrained.ENCODERS[name]()
    rng = np.random.default_rng(0)
    clips = [(rng.uniform(-0.3, 0.3, n_samples).astype(np.float32), 16_000) for n_samples in (4_000, 90_100)]
    found = encoder.embed(clips)
    assert found.shape == (2, encoder.spaces["combined"])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(encoder.embed(clips[::-1])[::-1], found, rtol=1e-3, atol=1e-3)
    assert name in evaluate.ENCODERS
