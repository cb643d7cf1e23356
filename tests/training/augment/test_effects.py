"""The seven effects: against torchaudio's functions and NumPy, and for what each promises."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from training.augment.effects import (
    FADE_SHAPES,
    SAMPLE_RATE,
    add_noise,
    coloured_noise,
    fade,
    pitch_shift,
    time_mask,
    time_shift,
    time_stretch,
)

SAMPLES = 32_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, samples: int = SAMPLES) -> Tensor:
    return 0.1 * torch.randn(n, samples, generator=generator())


def low_passed(waves: Tensor, cutoff_hz: float) -> Tensor:
    spectrum = torch.fft.rfft(waves)
    spectrum[:, int(cutoff_hz * waves.shape[1] / SAMPLE_RATE) :] = 0
    return torch.fft.irfft(spectrum, n=waves.shape[1])


def tone(hz: float, samples: int = SAMPLES) -> Tensor:
    return 0.5 * torch.sin(2 * math.pi * hz * torch.arange(samples) / SAMPLE_RATE)


def peak_hz(wave: Tensor) -> float:
    windowed = wave.double() * torch.hann_window(len(wave), dtype=torch.float64)
    return float(torch.fft.rfft(windowed).abs().argmax()) * SAMPLE_RATE / len(wave)


def clicks(samples: int, *at: int) -> Tensor:
    """Bursts of 64 samples of noise, centred where asked."""
    wave = torch.zeros(samples)
    for centre in at:
        wave[centre - 32 : centre + 32] = noise(1, 64)[0]
    return wave


def loudest(wave: Tensor, first: int, last: int) -> float:
    """Centre of the energy of wave[first:last], in samples."""
    energy = wave[first:last].double().square()
    return first + float((energy * torch.arange(last - first)).sum() / energy.sum())


def relative_error(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


@pytest.mark.parametrize("samples", [16_000, 80_000])
def test_pitch_shift_moves_a_tone_by_semitones(samples: int) -> None:
    semitones = torch.tensor([-15.0, -12.0, -7.3, -1.0, 0.0, 0.5, 4.0, 12.0, 15.0])
    shifted = pitch_shift(tone(440.0, samples).repeat(len(semitones), 1), semitones)
    for wave, by in zip(shifted, semitones.tolist(), strict=True):
        assert peak_hz(wave) == pytest.approx(440 * 2 ** (by / 12), rel=0.005), by


def test_pitch_shift_is_clean_on_a_tone() -> None:
    semitones = torch.tensor([-12.0, -5.0, 3.0, 12.0])
    for wave, by in zip(pitch_shift(tone(1000.0).repeat(4, 1), semitones), semitones.tolist(), strict=True):
        power = torch.fft.rfft(wave[2000:-2000] * torch.hann_window(SAMPLES - 4000)).abs().square()
        hz = torch.arange(len(power)) * SAMPLE_RATE / (SAMPLES - 4000)
        elsewhere = (hz - 1000 * 2 ** (by / 12)).abs() > 50
        assert power[elsewhere].sum() < 1e-3 * power.sum(), by


def test_pitch_shift_does_not_alias() -> None:
    shifted = pitch_shift(tone(6000.0)[None], torch.tensor([12.0]))  # 12 khz would come back at 4 khz
    assert shifted[0, 1000:-1000].std() < 0.01 * tone(6000.0).std()


def test_pitch_shift_of_nothing_is_nothing() -> None:
    waves = noise(2)
    shifted = pitch_shift(waves, torch.zeros(2))
    assert relative_error(shifted[:, :-512], waves[:, :-512]) < 1e-3


@pytest.mark.parametrize("semitones", [-15.0, -6.0, 6.0, 15.0])
def test_pitch_shift_keeps_time(semitones: float) -> None:
    wave = pitch_shift(clicks(SAMPLES, 8_000, 24_000)[None], torch.tensor([semitones]))[0]
    half_window = 256 / min(1, 2 ** (semitones / 12))  # a phase vocoder scatters a click over its window
    assert loudest(wave, 4_000, 16_000) == pytest.approx(8_000, abs=half_window)
    assert loudest(wave, 16_000, SAMPLES) == pytest.approx(24_000, abs=half_window)


@pytest.mark.parametrize("semitones", [-12, 12])  # whole ratios: torchaudio rounds the others
def test_pitch_shift_equals_torchaudio(torchaudio, semitones: int) -> None:  # type: ignore[no-untyped-def]
    waves = low_passed(noise(2), 3000.0)
    expected = torchaudio.functional.pitch_shift(waves, SAMPLE_RATE, semitones)
    actual = pitch_shift(waves, torch.full((2,), float(semitones)))
    assert relative_error(actual[:, :-1024], expected[:, :-1024]) < 0.03  # two different interpolators


@pytest.mark.parametrize("samples", [16_000, SAMPLES])
def test_time_stretch_equals_torchaudio(torchaudio, samples: int) -> None:  # type: ignore[no-untyped-def]
    rates = torch.tensor([0.5, 0.83, 1.0, 1.2, 1.5])
    waves, window = noise(5, samples), torch.hann_window(2048)
    advance = torch.linspace(0, math.pi * 512, 1025)[:, None]
    for wave, rate, actual in zip(waves, rates.tolist(), time_stretch(waves, rates), strict=True):
        spectrum = torch.stft(wave, 2048, 512, window=window, return_complex=True)
        vocoded = torchaudio.functional.phase_vocoder(spectrum, rate, advance)
        expected = torch.istft(vocoded, 2048, 512, window=window, length=round(samples / rate))
        whole = min(samples, len(expected)) - 2048  # the last frames differ: torchaudio's fade out, ours are held
        torch.testing.assert_close(actual[:whole], expected[:whole], rtol=0, atol=1e-3)


def test_time_stretch_keeps_pitch() -> None:
    rates = torch.tensor([0.5, 0.7, 1.0, 1.3, 1.5])
    for wave in time_stretch(tone(440.0).repeat(5, 1), rates):
        assert peak_hz(wave[:20_000]) == pytest.approx(440, rel=0.005)


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.25, 1.5])
def test_time_stretch_moves_events(rate: float) -> None:
    stretched = time_stretch(clicks(SAMPLES, 8_000)[None], torch.tensor([rate]))[0]
    at = round(8_000 / rate)
    assert loudest(stretched, at - 3_000, at + 3_000) == pytest.approx(at, abs=1024)  # within half a window


def test_time_stretch_repeats_from_the_start() -> None:
    stretched = time_stretch(noise(1), torch.tensor([1.5]))[0]
    period = round(SAMPLES / 1.5)
    assert torch.equal(stretched[period:], stretched[: SAMPLES - period])
    assert stretched[period - 512 : period].std() > 0.03  # sound to its very end


@pytest.mark.parametrize("shape", FADE_SHAPES)
def test_fade_equals_torchaudio(torchaudio, shape: str) -> None:  # type: ignore[no-untyped-def]
    lengths = [(0, 0), (1, 2), (2, 3), (16_000, 16_000), (0, 777), (12_345, 0)]
    waves = noise(len(lengths))
    fade_in, fade_out = torch.tensor(lengths).T
    actual = fade(waves, fade_in, fade_out, torch.full((len(lengths),), FADE_SHAPES.index(shape)))
    for wave, (n_in, n_out), faded in zip(waves, lengths, actual, strict=True):
        torch.testing.assert_close(faded, torchaudio.transforms.Fade(n_in, n_out, shape)(wave), rtol=1e-4, atol=1e-6)


def test_fade_takes_a_shape_for_each_sample() -> None:
    waves = torch.ones(3, SAMPLES)
    n = torch.full((3,), SAMPLES // 2)
    middle = fade(waves, n, n, torch.arange(3))[:, SAMPLES // 4]
    expected = [0.5, math.log10(0.6) + 1, 2**-0.5 * 0.5]
    assert middle.tolist() == pytest.approx(expected, abs=1e-3)


def test_noise_has_the_snr_asked_for() -> None:
    waves = noise(4) * torch.tensor([[0.01], [1.0], [3.0], [1.0]])
    snr_db = torch.tensor([3.0, 10.0, 30.0, -5.0])
    added = add_noise(waves, coloured_noise(torch.tensor([-1.0, 0.0, 1.0, 2.0]), SAMPLES, generator(1)), snr_db) - waves
    measured = 10 * torch.log10(waves.square().mean(1) / added.square().mean(1))
    assert measured.tolist() == pytest.approx(snr_db.tolist(), abs=0.1)


@pytest.mark.parametrize("samples", [SAMPLES, 31_999])
def test_noise_has_the_spectrum_asked_for(samples: int) -> None:
    f_decay = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    made = coloured_noise(f_decay.repeat_interleave(20), samples, generator(2))
    torch.testing.assert_close(made.square().mean(1), torch.ones(100), rtol=1e-4, atol=0)
    power = np.abs(np.fft.rfft(made.double().numpy())) ** 2
    power = power.reshape(5, 20, -1).mean(1)
    bands = [slice(b, b + 500) for b in range(100, 15_500, 500)]
    g = np.linspace(1, math.sqrt(8000), power.shape[1])
    for row, decay in zip(power, f_decay.tolist(), strict=True):
        level = np.array([row[band].mean() / (g[band] ** (-2 * decay)).mean() for band in bands])
        assert 10 * np.log10(level.max() / level.min()) < 1.0, decay  # db


def test_noise_is_gaussian_and_not_periodic() -> None:
    made = coloured_noise(torch.zeros(1), 80_000, generator(3))[0].double()
    assert float((made**4).mean()) == pytest.approx(3.0, abs=0.15)
    correlation = torch.fft.irfft(torch.fft.rfft(made).abs().square(), n=80_000) / 80_000
    assert correlation[1:-1].abs().max() < 0.03


def test_time_mask_zeroes_one_run() -> None:
    waves = noise(4) + 1
    start, length = torch.tensor([0, 100, 31_000, 500]), torch.tensor([4_000, 1, 1_000, 0])
    expected = waves.numpy().copy()
    for row, first, n in zip(expected, start.tolist(), length.tolist(), strict=True):
        row[first : first + n] = 0
    np.testing.assert_array_equal(time_mask(waves, start, length), expected)


def test_time_shift_is_a_roll() -> None:
    waves, shift = noise(6), torch.tensor([0, 1, -1, 16_000, -16_000, 12_345])
    expected = [np.roll(wave, by) for wave, by in zip(waves.numpy(), shift.tolist(), strict=True)]
    np.testing.assert_array_equal(time_shift(waves, shift), expected)


FOUR: dict[str, tuple[Callable[..., Tensor], list[list[float]]]] = {  # an effect, and its parameters of four samples
    "pitch_shift": (pitch_shift, [[-15.0, 15.0, 1.5, -4.0]]),
    "fade": (fade, [[0, 9, 2_000, 5], [9, 0, 2_048, 5], [0, 1, 2, 0]]),
    "noise": (lambda waves, snr_db: add_noise(waves, torch.ones_like(waves), snr_db), [[3.0, 9.0, 20.0, 30.0]]),
    "time_stretch": (time_stretch, [[0.5, 1.5, 1.1, 0.9]]),
    "time_mask": (time_mask, [[0, 9, 99, 5], [9, 0, 500, 5]]),
    "time_shift": (time_shift, [[0, 9, -99, 2_000]]),
}


@pytest.mark.parametrize(("effect", "values"), FOUR.values(), ids=FOUR)
def test_a_sample_does_not_depend_on_its_neighbours(effect: Callable[..., Tensor], values: list[list[float]]) -> None:
    waves, parameters = noise(4, 16_000) * torch.tensor([[1e-3], [1.0], [9.0], [0.1]]), torch.tensor(values)
    together = effect(waves, *parameters)
    for i in range(4):
        alone = effect(waves[i : i + 1], *parameters[:, i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-5, atol=1e-5 * float(waves[i].abs().max()))


@pytest.mark.parametrize("samples", [4096, 4097, 16_000])
@pytest.mark.parametrize(("effect", "values"), FOUR.values(), ids=FOUR)
def test_shape_dtype_and_silence_are_kept(
    effect: Callable[..., Tensor], values: list[list[float]], samples: int
) -> None:
    waves = torch.cat([torch.zeros(2, samples), noise(2, samples)])
    before = waves.clone()
    after = effect(waves, *torch.tensor(values))
    assert after.shape == waves.shape and after.dtype == torch.float32
    assert (after[:2] == 0).all() and after[2:].isfinite().all() and after[2:].std() > 0.01
    assert torch.equal(waves, before)


@pytest.mark.parametrize(("effect", "values"), FOUR.values(), ids=FOUR)
def test_everything_is_made_on_the_device_of_the_waves(
    effect: Callable[..., Tensor], values: list[list[float]]
) -> None:
    assert effect(torch.empty(4, 16_000, device="meta"), *torch.tensor(values)).device.type == "meta"
