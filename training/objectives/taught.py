"""The objective "taught": the invariant head of each augmented view predicts what small encoders of others heard in the clean crop.

It brings in what labels taught them (words, voices, events) where contrastive learning has too little sound to find it by itself.
Cosine, not squared error: a student then follows directions and not norms (S-SONDO, arXiv 2604.24933).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Taught(nn.Module):
    """A linear layer per teacher, and L = the mean over views and sounds, the sum over teachers, of 1 - cosine(prediction, vector).

    Args:
        d: width of the encoder's vectors.
        teachers: the width of each teacher's vectors.
    """

    def __init__(self, d: int, teachers: Mapping[str, int]) -> None:
        super().__init__()
        self.widths = list(teachers.values())
        self.linear = nn.Linear(d, sum(self.widths))

    def forward(self, h1: Tensor, h2: Tensor, heard: Tensor) -> Tensor:
        """h1, h2: float [N, d]; heard: float [N, sum of the widths], half-whitened, the same for both views -> the loss, float32 scalar."""
        found = self.linear(torch.cat([h1, h2])).float().split(self.widths, 1)
        wanted = heard.repeat(2, 1).split(self.widths, 1)
        return torch.stack([1 - F.cosine_similarity(*pair).mean() for pair in zip(found, wanted, strict=True)]).sum()
