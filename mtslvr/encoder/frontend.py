"""Waveform to image: the three-channel spectrogram that MT-SLVR sees (paper, section 3.1). Nothing here is learned.

Channel 0 is a log-power mel spectrogram (Hann window). Channels 1 and 2 are the log-magnitude and the phase of a rectangular-window
spectrum whose real and imaginary parts are each projected by the same mel filterbank.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtslvr.sound.stream import SAMPLE_RATE

N_FFT = 1024  # samples
HOP = 512  # samples
N_MELS = 128
N_BINS = N_FFT // 2 + 1
EPS = 2.220446e-16  # added before every logarithm by the authors: -156 dB, far below what anybody hears
TINY = 1e-36  # keeps the square root differentiable at zero; far below EPS once rooted


def n_frames(n_samples: int) -> int:
    """Number of frames T of a waveform: 157 for 5 s (80,000 samples), 32 for 1 s."""
    return n_samples // HOP + 1


def mel_filterbank() -> Tensor:
    """Triangular filters on the HTK mel scale, 0 to 8 kHz, not normalised.

    Returns:
        Weights, float32 [n_bins=513, n_mels=128], in 0..1. Equal to torchaudio's `melscale_fbanks(norm=None, mel_scale="htk")`.
    """
    top = 2595.0 * math.log10(1.0 + SAMPLE_RATE / 2 / 700.0)
    edges = 700.0 * (10.0 ** (torch.linspace(0.0, top, N_MELS + 2, dtype=torch.float64) / 2595.0) - 1.0)  # Hz
    bins = torch.linspace(0.0, SAMPLE_RATE / 2, N_BINS, dtype=torch.float64)
    rise = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rise, fall).clamp_min(0.0).float()


class Frontend(nn.Module):
    """Raw waveform [B, samples] at 16 kHz, in -1..1, to image [B, 3, 128, T].

    Args:
        mean, std: global statistics of the pretraining set's waveforms; the input is z-normalised with them.
        eps: added to powers and magnitudes before every logarithm: the floor under what counts as sound.
    """

    filterbank: Tensor

    def __init__(self, mean: float, std: float, eps: float = EPS) -> None:
        super().__init__()
        self.mean, self.std, self.eps = mean, std, eps
        self.register_buffer("filterbank", mel_filterbank(), persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """Image of each waveform: float32 [B, samples] -> float32 [B, 3, 128, T]; samples > 512 (the reflect padding).

        On a CPU the clips go through one by one: matrix products round differently with the size of the batch, and a phase near
        +-pi would then jump by 2 pi, so that a clip's embedding would depend on its neighbours. It costs no time there.
        """
        if waves.device.type == "cpu" and len(waves) > 1:
            return torch.cat([self._image(wave) for wave in waves.split(1)])
        return self._image(waves)

    def _image(self, waves: Tensor) -> Tensor:
        parts = self._spectrum((waves - self.mean) / self.std)  # [B, 2, T, 513]
        # A Hann window is a three-tap filter along frequency, so one FFT serves both spectra: half the transforms.
        # The first and the last bin lack a neighbour; no filter has weight there.
        hann = torch.sub(parts[..., 1:-1], parts[..., :-2] + parts[..., 2:], alpha=0.5)  # twice the window's spectrum
        power = 0.25 * (hann[:, 0].square() + hann[:, 1].square())
        filterbank = self.filterbank.to(parts.dtype)
        mel_power = power @ filterbank[1:-1]  # [B, T, 128]
        real, imag = (parts @ filterbank).unbind(1)
        squared = real.square() + imag.square()
        magnitude = squared.clamp_min(TINY).sqrt()
        # atan2(0, 0) has no gradient; its value, 0, is kept
        phase = self._angle(imag, torch.where(squared == 0, 1.0, real))
        image = torch.stack([10 * torch.log10(mel_power + self.eps), 10 * torch.log10(magnitude + self.eps), phase], 1)
        return image.transpose(2, 3)  # [B, 3, 128, T]

    def _spectrum(self, waves: Tensor) -> Tensor:
        """Rectangular-window spectrum of centred, reflect-padded frames: [B, samples] -> real and imaginary part, [B, 2, T, 513].

        Reflection makes the first frame symmetric and its spectrum real; its imaginary part is 0, since rounding would choose
        between a phase of +pi and of -pi.
        """
        padded = F.pad(waves[:, None], (N_FFT // 2, N_FFT // 2), mode="reflect")[:, 0]
        spectrum = torch.fft.rfft(padded.unfold(-1, N_FFT, HOP))
        parts = torch.stack([spectrum.real, spectrum.imag], 1)
        parts[:, 1, 0] = 0
        return parts

    @staticmethod
    def _angle(imag: Tensor, real: Tensor) -> Tensor:
        return torch.atan2(imag, real)
