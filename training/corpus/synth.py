"""Synthetic sound, made in batches on the device, so that a run can be tried without recordings (training/runs/smoke.toml).

    waves = synthesize(64, 80_000, torch.Generator("cuda").manual_seed(0))    # [64, 80000] at 16 kHz

A sound is a gliding tone with harmonics and a coloured noise, each struck again and again with its own rhythm. It is not for weights that
are to be used: mixed into recordings, synthetic sound cost accuracy (LOG.md).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mtslvr.sound.stream import SAMPLE_RATE
from training.augment.effects import coloured_noise

N_HARMONICS = 8
TOP = 7_600.0  # hz, the highest harmonic: a little below Nyquist
PEAK = (0.05, 0.9)  # of a finished sound; full scale is 1
MIN_SAMPLES = 512


def synthesize(n: int, length: int, generator: torch.Generator) -> Tensor:
    """Draw n sounds: float32 [n, length] at 16 kHz, without DC, each with its own peak in 0.05 to 0.9, on the generator's device.

    Args:
        n: sounds, >= 1.
        length: samples, >= 512.
        generator: the only source of randomness.

    Raises:
        ValueError: n or length too small.
    """
    if n < 1 or length < MIN_SAMPLES:
        raise ValueError(
            f"got n = {n} and length = {length}, expected at least 1 sound of at least {MIN_SAMPLES} samples"
        )
    time = torch.arange(length, device=generator.device) / SAMPLE_RATE  # s

    def uniform(low: float, high: float) -> Tensor:  # [n, 1]
        return low + (high - low) * torch.rand(n, 1, generator=generator, device=generator.device)

    def log_uniform(low: float, high: float) -> Tensor:
        return uniform(math.log(low), math.log(high)).exp()

    def envelope() -> Tensor:  # [n, length], 0..1: strokes that rise and decay
        since = (time + uniform(0, 1)) % log_uniform(0.1, 3)
        return (since / log_uniform(0.002, 0.1)).clamp(max=1) * torch.exp(-since / log_uniform(0.03, 2))

    hertz = log_uniform(60, 2000) * torch.exp2(uniform(-1, 1) * time / time[-1])  # up to an octave up or down
    turns = (hertz.double() / SAMPLE_RATE).cumsum(1) % 1
    brightness = uniform(0.1, 0.9)
    tone = torch.zeros(n, length, device=generator.device)
    for k in range(1, N_HARMONICS + 1):
        tone += brightness ** (k - 1) * (k * hertz < TOP) * torch.sin(2 * math.pi * (k * turns % 1)).float()
    noise = coloured_noise(uniform(-2, 2)[:, 0], length, generator)
    share = uniform(0, 1)
    mix = share * _to_peak(tone * envelope(), 1.0) + (1 - share) * _to_peak(noise * envelope(), 1.0)
    return _to_peak(mix - mix.mean(1, keepdim=True), log_uniform(*PEAK))


def _to_peak(x: Tensor, peak: Tensor | float) -> Tensor:
    return x * (peak / x.abs().amax(dim=1, keepdim=True).clamp(min=1e-9))
