"""Synthetic sound: what `synthesize` promises of a batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.corpus.synth import SAMPLE_RATE, synthesize

SECOND = SAMPLE_RATE


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def sounds() -> Tensor:
    return synthesize(150, SECOND, generator(3))


def power(x: Tensor) -> tuple[Tensor, Tensor]:
    """Hann-windowed power spectrum [n, F], and its frequencies in Hz."""
    window = torch.hann_window(x.shape[1], periodic=False)
    return torch.fft.rfft(x * window).abs() ** 2, torch.fft.rfftfreq(x.shape[1], 1 / SAMPLE_RATE)


@pytest.mark.parametrize(("n", "length"), [(1, 512), (1, 16_000), (2, 513), (3, 12_345), (5, 767), (33, 1_000)])
def test_any_number_and_length(n: int, length: int) -> None:
    x = synthesize(n, length, generator())
    assert x.shape == (n, length) and x.dtype == torch.float32 and x.device.type == "cpu"
    assert x.isfinite().all()


def test_levels_and_no_dc(sounds: Tensor) -> None:
    assert sounds.isfinite().all() and not sounds.requires_grad
    peak = sounds.abs().amax(dim=1)
    assert 0.0499 <= peak.min() < 0.07 and 0.6 < peak.max() <= 0.9001
    assert sounds.mean(dim=1).abs().max() < 1e-6


def test_no_sound_is_silent_or_of_its_background_alone() -> None:
    for seed in range(4):
        x = synthesize(100, 8_000, generator(seed))
        x = x / x.abs().amax(dim=1, keepdim=True)
        assert x.square().mean(dim=1).sqrt().min() > 10 ** (-60 / 20)
        loudest = x.unfold(1, 400, 400).square().mean(dim=2).amax(dim=1).sqrt()
        assert loudest.min() > 0.02  # a click at full scale spread over 25 ms


def test_spread_of_spectra_and_pitches(sounds: Tensor) -> None:
    spectrum, hertz = power(sounds)
    centroid = (spectrum * hertz).sum(dim=1) / spectrum.sum(dim=1)
    low, high = torch.quantile(centroid, torch.tensor([0.1, 0.9])).tolist()
    assert low < 600 and high > 2_000
    strongest = hertz[spectrum.argmax(dim=1)]
    octaves = strongest.clamp(min=1).log2()
    assert octaves.std() > 1 and len(octaves.mul(4).round().unique()) > 15  # quarter-octave bins that occur
    flatness = (spectrum.clamp(min=1e-20).log().mean(dim=1) - spectrum.mean(dim=1).log()).exp()
    assert flatness.min() < 1e-3 and flatness.max() > 0.1  # tones, and noises


def test_spread_in_time(sounds: Tensor) -> None:
    energy = sounds.unfold(1, 320, 320).square().mean(dim=2)
    busy = (energy > 1e-3 * energy.amax(dim=1, keepdim=True)).float().mean(dim=1)
    assert busy.min() < 0.3 and busy.max() > 0.95  # single strokes, and steady sounds


def test_same_generator_same_bits_and_no_global_state() -> None:
    state = torch.random.get_rng_state()
    first = synthesize(6, 8_000, generator(7))
    torch.manual_seed(1)
    second = synthesize(6, 8_000, generator(7))
    torch.random.set_rng_state(state)
    assert torch.equal(first, second)
    synthesize(2, 8_000, generator(7))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_seeds_calls_and_sounds_differ() -> None:
    source = generator(7)
    x = torch.cat([synthesize(5, 8_000, source), synthesize(5, 8_000, source), synthesize(5, 8_000, generator(8))])
    x = x / x.norm(dim=1, keepdim=True)
    alike = (x @ x.T).fill_diagonal_(0).abs()
    assert alike.max() < 0.9


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    x, y = (synthesize(16, 80_000, torch.Generator("cuda").manual_seed(0)) for _ in range(2))
    assert x.device.type == "cuda" and x.isfinite().all() and torch.equal(x, y)


@pytest.mark.parametrize(("n", "length"), [(0, 16_000), (-1, 16_000), (1, 511), (1, 0)])
def test_too_small_is_refused(n: int, length: int) -> None:
    with pytest.raises(ValueError, match=f"n = {n} and length = {length}, expected at least 1 sound"):
        synthesize(n, length, generator())
