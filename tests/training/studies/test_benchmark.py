"""The benchmark runs, and what it compares with does the same work."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from training.augment import effects
from training.studies import benchmark

pytestmark = pytest.mark.slow


def test_benchmark_prints_and_writes_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rates.json"
    arguments = ["--device", "cpu", "--batch", "2", "--seconds", "0.5", "--repeats", "1", "--json", str(out)]
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
    benchmark.main()
    step = json.loads(out.read_text())["step"]
    slowest = min(step["views_per_second"], step["forward_backward_per_second"])
    assert 0 < step["step_per_second"] < 1.5 * slowest  # the whole is slower than its parts, to within noise
    rates = json.loads(out.read_text())["augmentation"]
    for ratio, other in (("ratio", "plain"), ("ratio_to_library", "library")):
        assert rates[ratio] == pytest.approx(rates["batched_views_per_second"] / rates[f"{other}_views_per_second"])
    assert "views/s" in capsys.readouterr().out


def test_plain_augmentations_keep_the_shape() -> None:
    rng, wave = np.random.default_rng(0), np.random.default_rng(1).standard_normal(8_000).astype(np.float32)
    for name, plain in [*benchmark.PLAIN.items(), ("library", benchmark.LIBRARY["pitch_shift"])]:
        changed = plain(wave, rng)
        assert changed.shape == wave.shape and changed.dtype == np.float32, name
        assert np.isfinite(changed).all() and not np.array_equal(changed, wave), name


def test_plain_vocoder_equals_the_batched_one() -> None:
    wave = 0.1 * torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    plain = benchmark.vocode(wave.numpy(), 0.8, 2048, 512)[:12_000]
    batched = effects.time_stretch(wave[None], torch.tensor([0.8]))[0, :12_000]
    np.testing.assert_allclose(batched, plain, rtol=0, atol=1e-3)
