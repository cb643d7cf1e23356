"""Readouts: how a head turns the feature maps of its last two stages into its vector.

Both are one linear layer, and differ in what it sees. The paper's sees the global mean of the last stage. The pooled one sees the mean and
the deviation over time of the last two stages with their frequency rows kept, since what a sound is lies in both (arXiv 2205.08138).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Readout = Literal["linear", "pooled"]

MAPS = ((256, 8), (512, 4))  # channels and frequency rows of the last two stages, for images of 128 mel bins
N_POOLED = 2 * sum(channels * rows for channels, rows in MAPS)  # 8192


class LinearReadout(nn.Linear):
    """The paper's: Linear(mean over frequency and time of the last stage), [B, 512, F, T] -> [B, head_dim]."""

    def __init__(self, head_dim: int) -> None:
        super().__init__(MAPS[-1][0], head_dim)

    def forward(self, before: Tensor, last: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(last.to(self.weight.dtype).mean((2, 3)))


class PooledReadout(nn.Linear):
    """Linear(pooled), brought to unit norm: [B, 256, 8, T'], [B, 512, 4, T] -> [B, head_dim]. training/readout.py fits its weights.

    The norm says how loud and how steady a sound is more than which it is; and heads of one norm weigh alike in "combined".
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__(N_POOLED, head_dim)

    def forward(self, before: Tensor, last: Tensor) -> Tensor:  # type: ignore[override]
        return F.normalize(super().forward(pooled(before.to(self.weight.dtype), last.to(self.weight.dtype))), dim=1)


READOUTS: dict[Readout, type[LinearReadout] | type[PooledReadout]] = {"linear": LinearReadout, "pooled": PooledReadout}


def pooled(before: Tensor, last: Tensor) -> Tensor:
    """Log of 1 + mean and 1 + deviation over time of both stages' maps, which are not negative, rows kept.

    [B, 256, 8, T'], [B, 512, 4, T] -> [B, 8192].
    """
    parts = []
    for maps in (before, last):
        mean = maps.mean(3)
        variance = (maps - mean[..., None]).square().mean(3)
        # The root has no gradient at 0, which a map of one frame is.
        parts += [mean, torch.where(variance > 0, variance, 1.0).sqrt() * (variance > 0)]
    return torch.cat([part.flatten(1) for part in parts], 1).log1p()
