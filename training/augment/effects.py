"""The seven augmentations of CLAR (arXiv 2010.09542) as functions of a batch, each sample with its own parameters.

waves are float32 [n, samples] at 16 kHz on any device; so is what comes back. Parameters are [n], best on the CPU: the
sizes of tensors follow from some of them, and reading those from an accelerator would wait for it. Silence stays
finite, and no sample's result depends on another's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mtslvr.sound.stream import SAMPLE_RATE

FADE_SHAPES = ("linear", "logarithmic", "exponential")
PITCH_N_FFT, STRETCH_N_FFT = 512, 2048  # samples; the hops are a quarter of them
TAPS, PHASES = 8, 512  # of the interpolator: its reach in samples, its steps per sample


def pitch_shift(waves: Tensor, semitones: Tensor) -> Tensor:
    """Shift the pitch, keep the duration: waves [n, samples], semitones [n] -> [n, samples].

    A phase vocoder stretches time by 2 ** (semitones / 12), and reading the result that much faster restores the
    duration. Going up, what would pass the Nyquist frequency is dropped in the vocoder's spectrum.
    """
    length = waves.shape[1]
    factor = torch.exp2(semitones.double() / 12)
    n_frames = math.ceil(length * factor.max().item() / (PITCH_N_FFT // 4)) + 3
    n_bins = min(PITCH_N_FFT // 2, int(PITCH_N_FFT // 2 / factor.min().item()) + 1) + 1
    nyquist = PITCH_N_FFT // 2 / _column(factor, waves)  # the bin that comes to lie at 8 khz, [n, 1]
    keep = (nyquist + 1 - torch.arange(n_bins, device=waves.device)).clamp(0, 1).float()  # [n, F]
    stretched = _stretch(waves, 1 / factor, n_frames, PITCH_N_FFT, keep)
    return _interpolate(stretched, factor, length, PITCH_N_FFT // 2)


def time_stretch(waves: Tensor, rate: Tensor) -> Tensor:
    """Play faster (rate > 1) or slower, keep the pitch: waves [n, samples], rate [n] -> [n, samples].

    The beginning is kept: what is too long is cropped, what is too short is repeated.
    """
    length = waves.shape[1]
    n_frames = math.ceil(length / max(rate.min().item(), 1.0) / (STRETCH_N_FFT // 4)) + 3
    stretched = _stretch(waves, rate, n_frames, STRETCH_N_FFT)[:, STRETCH_N_FFT // 2 :]
    period = _column((length / rate.double()).round().long().clamp(1, length), waves)
    return stretched.gather(1, torch.arange(length, device=waves.device) % period)


def fade(waves: Tensor, in_samples: Tensor, out_samples: Tensor, shape: Tensor) -> Tensor:
    """Fade in and out: waves [n, samples], counts int64 [n], shape int64 [n] into FADE_SHAPES -> [n, samples]."""
    shape = _column(shape, waves)

    def gain(n_samples: Tensor) -> Tensor:  # [n] -> [n, longest fade]
        index = torch.arange(int(n_samples.max()), device=waves.device)
        n_samples = _column(n_samples, waves)
        ramp = ((index + (n_samples == 0)) / (n_samples - 1).clamp(min=1)).clamp(max=1)  # from 0 to 1
        logarithmic = (torch.log10(0.1 + ramp) + 1).clamp(0, 1)
        exponential = torch.exp2(ramp - 1) * ramp
        return torch.where(shape == 0, ramp, torch.where(shape == 1, logarithmic, exponential))

    waves, rise, fall = waves.clone(), gain(in_samples), gain(out_samples).flip(1)
    waves[:, : rise.shape[1]] *= rise
    waves[:, waves.shape[1] - fall.shape[1] :] *= fall
    return waves


def coloured_noise(f_decay: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Gaussian noise of RMS 1: f_decay [n] -> [n, length] on the generator's device.

    Its amplitude spectrum is g(f) ** -f_decay, where g rises linearly from 1 at 0 hz to sqrt(8000) at 8 khz: 0 is
    white, 2 falls and -2 rises by 78 dB over the band. (torch-audiomentations' definition, behind the paper's ranges.)
    """
    n_bins, device = length // 2 + 1, generator.device
    log_g = torch.linspace(1, math.sqrt(SAMPLE_RATE / 2), n_bins, device=device).log()
    # White noise has independent Gaussian Fourier coefficients: to draw those saves a transform.
    white = torch.randn(len(f_decay), n_bins, 2, generator=generator, device=device)
    amplitude = torch.exp(-f_decay.to(device, torch.float32, non_blocking=True)[:, None] * log_g)
    noise: Tensor = torch.fft.irfft(torch.view_as_complex(white * amplitude[..., None]), n=length)
    return noise / _rms(noise)


def add_noise(waves: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """Add noise of RMS 1 at a signal-to-noise ratio: waves and noise [n, samples], snr_db [n] -> [n, samples].

    The ratio is that of the RMS over the whole clip, so a silent clip stays silent.
    """
    noise_rms: Tensor = _rms(waves) * 10 ** (-_column(snr_db, waves) / 20)
    return waves + noise * noise_rms


def time_mask(waves: Tensor, start: Tensor, n_samples: Tensor) -> Tensor:
    """Set a run of samples to zero: waves [n, samples], start and n_samples int64 [n] -> [n, samples]."""
    since = torch.arange(waves.shape[1], device=waves.device) - _column(start, waves)
    return waves.masked_fill((since >= 0) & (since < _column(n_samples, waves)), 0.0)


def time_shift(waves: Tensor, n_samples: Tensor) -> Tensor:
    """Roll each sample by its own number of samples, positive is later: [n, samples], int64 [n] -> [n, samples]."""
    index = torch.arange(waves.shape[1], device=waves.device) - _column(n_samples, waves)
    return waves.gather(1, index % waves.shape[1])


def _column(values: Tensor, waves: Tensor) -> Tensor:
    """[n] -> [n, 1] on the device of waves, without waiting for it."""
    return values.to(waves.device, non_blocking=True)[:, None]


def _rms(waves: Tensor) -> Tensor:
    return waves.square().mean(1, keepdim=True).sqrt()


def _stretch(waves: Tensor, rate: Tensor, n_frames: int, n_fft: int, keep: Tensor | None = None) -> Tensor:
    """Phase vocoder (Flanagan and Golden, 1966), a rate per sample: waves [n, samples], rate [n] -> [n, longer].

    Makes (n_frames + 3) * n_fft / 4 samples, of which number n_fft / 2 is time 0. Past its end a sample holds its last
    frame. keep is a gain for each of the lowest bins, [n, F]; the others are dropped.
    """
    window = torch.hann_window(n_fft, device=waves.device)
    spectrum = torch.stft(waves, n_fft, n_fft // 4, window=window, return_complex=True).mT  # [n, T, F]
    if keep is not None:
        spectrum = spectrum[:, :, : keep.shape[1]]
    n, n_frames_in, n_bins = spectrum.shape
    # For speed on a CPU: contiguous parts instead of abs(), angle() and polar(), and no memory that can be used again.
    real, imaginary = spectrum.real.contiguous(), spectrum.imag.contiguous()
    magnitude, angle = torch.hypot(real, imaginary), torch.atan2(imaginary, real)
    if keep is not None:
        magnitude *= keep[:, None]
    # Frames are as far apart in the result as in the source, so the advance expected of a bin cancels modulo 2 pi.
    advance = angle.diff(dim=1)

    position = torch.arange(n_frames, device=waves.device) * _column(rate.double(), waves)
    first = position.long().clamp(max=n_frames_in - 2)  # [n, n_frames]
    fraction = (position - first).clamp(max=1).float()[..., None]

    def pick(frames: Tensor, index: Tensor) -> Tensor:  # [n, T, F], [n, n_frames] -> [n, n_frames, F]
        index = index + torch.arange(n, device=waves.device)[:, None] * frames.shape[1]
        return frames.reshape(-1, n_bins).index_select(0, index.flatten()).view(n, -1, n_bins)

    magnitude = pick(magnitude, first).lerp_(pick(magnitude, first + 1), fraction)
    phase = pick(advance, first.roll(1, dims=1))
    phase[:, 0] = angle[:, 0]
    phase.cumsum_(1)
    spectrum = torch.complex(phase.cos().mul_(magnitude), phase.sin_().mul_(magnitude))  # [n, n_frames, F]
    frames = torch.fft.irfft(spectrum, n=n_fft).mul_(window)
    return _overlap_add(frames).div_(_overlap_add(window.square().expand(1, n_frames, n_fft)).clamp(min=1e-3))


def _overlap_add(frames: Tensor) -> Tensor:
    """frames [n, T, n_fft], a quarter of n_fft apart -> [n, (T + 3) * n_fft / 4]."""
    n, n_frames, n_fft = frames.shape
    total = frames.new_zeros(n, n_frames + 3, n_fft // 4)
    for k, quarter in enumerate(frames.chunk(4, dim=2)):
        total[:, k : k + n_frames] += quarter
    return total.flatten(1)


def _interpolate(waves: Tensor, factor: Tensor, length: int, origin: int) -> Tensor:
    """Read waves [n, S] at origin + m * factor for m < length: factor float64 [n] -> [n, length].

    By a Kaiser-windowed sinc over TAPS samples, tabulated at PHASES steps per sample: wrong by less than -50 dB up to
    half the Nyquist frequency.
    """
    n, device = len(waves), waves.device
    # float64: at 80,000 samples, float32 has lost the fraction of a position.
    position = torch.arange(length, device=device) * _column(factor, waves)
    first = position.long()
    phase = ((position - first) * PHASES).round().long()
    tap = torch.arange(TAPS, device=device) - (TAPS // 2 - 1)
    distance = tap - torch.arange(PHASES + 1, device=device)[:, None] / PHASES  # [PHASES + 1, TAPS]
    table = torch.sinc(distance) * torch.special.i0(5 * (1 - (2 / TAPS * distance).square()).sqrt())
    table /= table[0].max()  # 1 at distance 0
    first += origin - (TAPS // 2 - 1) + torch.arange(n, device=device)[:, None] * waves.shape[1]  # in waves.flatten()
    neighbours = waves.flatten().unfold(0, TAPS, 1).index_select(0, first.flatten())  # [n * length, TAPS]
    weighted = neighbours.mul_(table.index_select(0, phase.flatten()))
    return torch.mv(weighted, weighted.new_ones(TAPS)).view(n, length)  # sum(1), faster for so few columns
