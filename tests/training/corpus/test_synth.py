"""Synthetic sound: what `synthesize` promises of a batch, and each part against its formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from training.corpus import synth
from training.corpus.synth import SAMPLE_RATE, TOP, synthesize

SECOND = SAMPLE_RATE


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(seed: int = 0) -> synth._Draw:
    return synth._Draw(generator(seed), torch.device("cpu"))


@pytest.fixture(scope="module")
def sounds() -> Tensor:
    return synthesize(150, SECOND, generator(3))


def power(x: Tensor) -> tuple[Tensor, Tensor]:
    """Hann-windowed power spectrum [n, F], and its frequencies in Hz."""
    window = torch.hann_window(x.shape[1], periodic=False)
    return torch.fft.rfft(x * window).abs() ** 2, torch.fft.rfftfreq(x.shape[1], 1 / SAMPLE_RATE)


# --- a batch -------------------------------------------------------------------------------------------------------


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
    begins_at_once = (busy > 0) & (energy[:, 0] > 1e-3 * energy.amax(dim=1))
    assert 0.3 < begins_at_once.float().mean() < 0.9


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


def test_where_the_device_is_given() -> None:
    assert torch.equal(synthesize(2, 600, generator(), device="cpu"), synthesize(2, 600, generator()))
    assert synthesize(2, 600, generator(), torch.device("cpu")).dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    x, y = (synthesize(16, 80_000, torch.Generator("cuda").manual_seed(0)) for _ in range(2))
    assert x.device.type == "cuda" and x.isfinite().all() and torch.equal(x, y)
    moved = synthesize(4, 8_000, generator(), device="cuda")
    assert moved.device.type == "cuda" and moved.isfinite().all()


@pytest.mark.parametrize(("n", "length"), [(0, 16_000), (-1, 16_000), (1, 511), (1, 0)])
def test_too_small_is_refused(n: int, length: int) -> None:
    with pytest.raises(ValueError, match=f"n = {n} and length = {length}, expected at least 1 sound"):
        synthesize(n, length, generator())


# --- its parts ---------------------------------------------------------------------------------------------------


def test_phase_of_a_steady_tone() -> None:
    hertz = torch.tensor([[440.0], [2_999.5]]).expand(-1, SECOND // synth.CONTROL + 1)
    t = torch.arange(SECOND, dtype=torch.float64) / SAMPLE_RATE
    exact = torch.sin(2 * math.pi * hertz[:, :1].double() * t)
    torch.testing.assert_close(torch.sin(synth._phase(hertz, SECOND)).double(), exact, rtol=0, atol=1e-3)


def test_curves_become_straight_lines() -> None:
    line = torch.arange(0.0, 6.0)[None] * synth.CONTROL
    torch.testing.assert_close(synth._to_samples(line, 70), torch.arange(70.0)[None])
    curve = draw().curve(-2, 5, 200, SECOND)
    assert curve.shape == (200, SECOND // synth.CONTROL + 1) and -2 <= curve.min() < -1.5 and 4.5 < curve.max() <= 5


def test_closed_form_of_the_partials() -> None:
    u, b = torch.rand(2, 3, 400, generator=generator(), dtype=torch.float64) * 6.28
    a = torch.rand(3, 400, generator=generator(1), dtype=torch.float64) * 0.67 + 0.3
    k = torch.tensor([[1.0], [4.0], [37.0]], dtype=torch.float64)
    ours = synth._partials(u, b, a, k)
    for row in range(3):
        slow = sum(a[row] ** i * torch.sin(u[row] + i * b[row]) for i in range(int(k[row])))
        torch.testing.assert_close(ours[row], slow, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        synth._partials(u.float(), b.float(), a.float(), k.float()), ours.float(), atol=3e-3, rtol=0
    )


def test_the_powers_of_brightness_do_not_become_denormal() -> None:
    one = torch.ones(1, 1)
    assert synth._partials(one, one, 0.3 * one, 150 * one).isfinite().all()
    smallest = synth._decay(torch.tensor([-3.0, 0.0, 1.0, 1e6]))
    torch.testing.assert_close(smallest, torch.tensor([1.0, 1.0, math.exp(-1), math.exp(-25)]))


@pytest.mark.parametrize("maker", [synth._harmonic, synth._frequency_modulation])
def test_tones_keep_below_nyquist(maker: object, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = torch.ones(40, SECOND // synth.CONTROL + 1)  # no envelope and no melody: nothing but the partials
    monkeypatch.setattr(synth, "_notes", lambda *_: (steady, 0 * steady))
    spectrum, hertz = power(maker(draw(), 40, SECOND))  # type: ignore[operator]
    above = spectrum[:, hertz > TOP + 250].sum(dim=1) / spectrum.sum(dim=1)
    assert above.max() < 0.02 and above.median() < 1e-6  # Carson's rule leaves a percent outside
    octaves = hertz[spectrum.argmax(dim=1)].log2()
    assert octaves.max() - octaves.min() > 3


def test_events_are_ordered_and_begin_early() -> None:
    onsets = synth._onsets(draw(), 500, 2 * SECOND)
    assert onsets.diff(dim=1).min() > 0.0399
    assert onsets[:, 0].min() == 0 and 0.5 < onsets[:, 0].max() <= 0.66
    events = (onsets < 2).sum(dim=1)
    assert events.min() == 1 and events.max() > 15


def test_envelopes_have_no_jumps_and_start_with_their_events() -> None:
    envelope, melody = synth._notes(draw(), 300, SECOND)
    onsets = synth._onsets(draw(), 300, SECOND)  # the first thing _notes draws
    assert envelope.min() >= 0 and 0.5 < envelope.max() <= 1
    t = synth._control_times(SECOND, torch.device("cpu"))
    assert envelope[t < onsets[:, :1]].abs().max() == 0
    assert envelope.amax(dim=1).min() > 0
    assert (-envelope.diff(dim=1)).max() < 0.35  # 1 kHz control: the fastest fall takes 5 ms
    assert torch.equal(melody, melody.round()) and melody.abs().max() > 5


def test_impacts_die_away() -> None:
    x = synth._impacts(draw(), 60, SECOND)
    assert x.isfinite().all() and x.abs().amax(dim=1).min() > 0
    quiet = synth._impacts(draw(1), 60, SECOND).unfold(1, 160, 160).square().mean(dim=2)
    assert (quiet.amin(dim=1) < 1e-3 * quiet.amax(dim=1)).float().mean() > 0.5


def test_noise_has_hisses_and_clicks(monkeypatch: pytest.MonkeyPatch) -> None:
    steady = torch.ones(60, SECOND // synth.CONTROL + 1)
    monkeypatch.setattr(synth, "_notes", lambda *_: (steady, steady))
    x = synth._noise(draw(), 60, SECOND)
    kurtosis = x.pow(4).mean(dim=1) / x.square().mean(dim=1).square()
    assert (kurtosis - 3).abs().min() < 0.2 and kurtosis.max() > 100


class Fixed(synth._Draw):
    """Draws nothing: a filter of given order, cutoff and Q."""

    def __init__(self, m: int, cutoff: float, q: float) -> None:
        self.m, self.cutoff, self.q = m, cutoff, q

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.full(shape, float(self.m))

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.full(shape, self.q)

    def curve(self, low: float, high: float, rows: int, length: int) -> Tensor:
        return torch.full((rows, -(-length // synth.CONTROL) + 1), math.log(self.cutoff))


@pytest.mark.parametrize(("m", "q"), [(0, 0.7), (1, 2.0), (2, 0.7)])
def test_filter_has_its_response(m: int, q: float) -> None:
    cutoff = 1_000.0
    hertz = torch.tensor([250.0, 500.0, 1_000.0, 2_000.0, 4_000.0])
    tones = torch.sin(2 * math.pi * hertz[:, None] * torch.arange(SECOND) / SAMPLE_RATE)
    filtered = synth._filter(Fixed(m, cutoff, q), tones)[:, 2_000:-2_000]  # away from the ends
    ratio = hertz / cutoff
    expected = ratio**m / ((1 - ratio**2) ** 2 + (ratio / q) ** 2).sqrt()
    torch.testing.assert_close(filtered.abs().amax(dim=1), expected, rtol=0.05, atol=0.005)


def test_filter_at_zero_hertz() -> None:
    ones = torch.ones(1, SECOND)
    assert synth._filter(Fixed(0, 1_000.0, 1.0), ones)[:, 2_000:-2_000].mean().item() == pytest.approx(1, abs=1e-2)
    assert synth._filter(Fixed(2, 1_000.0, 1.0), ones)[:, 2_000:-2_000].abs().max() < 0.01
