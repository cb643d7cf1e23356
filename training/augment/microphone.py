"""Other people's microphones: a frequency response for each view, laid over its image.

It is no augmentation of the paper's, so that the variant head has not to name it: what one records with tells nothing about the sound.
A smooth response is FilterAugment's (arXiv 2110.03282); a band is what telephones, codecs and small recorders leave.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mtslvr.encoder.frontend import N_MELS

N_POINTS = 7  # over the mel scale, between which a smooth response is linear
LOW, HIGH = (0, 18), (88, 128)  # mel bands that a band begins and ends at: up to 0.3 kHz, and from 3.3 kHz on
STOP_DB = 40.0  # by which a band attenuates what lies outside


def responses(n: int, filter_db: float, band_limited: float, generator: torch.Generator) -> Tensor:
    """Gains in dB over the mel bands, float32 [n, 128].

    Args:
        filter_db: deviation of a smooth response; 0: none.
        band_limited: share of the views that have a band, 0 to 1.
        generator: on the CPU.
    """
    points = filter_db * torch.randn(n, 1, N_POINTS, generator=generator)
    smooth = F.interpolate(points, N_MELS, mode="linear", align_corners=True)[:, 0]
    low, high = (first + (last - first) * torch.rand(n, 1, generator=generator) for first, last in (LOW, HIGH))
    limited = torch.rand(n, 1, generator=generator) < band_limited
    bands = torch.arange(N_MELS)
    return smooth - STOP_DB * (limited & ((bands < low) | (bands >= high))).float()


def hear_through(images: Tensor, response: Tensor) -> Tensor:
    """Images [n, 3, 128, T] as recorded through responses [n, 128]: powers in dB, magnitudes in half as many, phases as they are."""
    gains = response.to(images)[:, None, :, None] * images.new_tensor([1.0, 0.5, 0.0])[:, None, None]
    return images + gains
