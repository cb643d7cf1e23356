"""What the pretraining objectives share. Each objective is a head and its loss, vectors of the encoder in, one scalar out.

MT-SLVR (Heggan et al. 2023, https://arxiv.org/abs/2305.17191) trains L = L_contrastive + L_predictive: the one makes the invariant
space, the other the variant one. The encoder is never in here, so a head belongs in the optimiser next to it, and is thrown away after
pretraining.

Letters, for two augmented views of the same N sounds, embedded by the encoder as h1, h2 [N, d]: N sounds on this process, W processes,
d width of h, D width of z. Heads run in the dtype autocast gives them; every loss is computed in float32 (float64 stays float64). Under
DistributedDataParallel all processes must bring the same N, and the mean of their losses is the loss of the global batch of W N sounds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def linear_bn(d_in: int, d_out: int) -> tuple[nn.Linear, nn.BatchNorm1d]:
    return nn.Linear(d_in, d_out, bias=False), nn.BatchNorm1d(d_out)  # BN's own shift makes a bias idle


def at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_views(h1: Tensor, h2: Tensor, d: int | None = None, at_least: int = 0) -> None:
    if h1.shape != h2.shape or h1.ndim != 2 or (d is not None and h1.shape[1] != d):
        raise ValueError(
            f"the two views have shapes {list(h1.shape)} and {list(h2.shape)}, expected [N, {d or 'D'}] twice:"
            " row i of both is the same sound"
        )
    if len(h1) < at_least:
        raise ValueError(f"got {len(h1)} sound a view, expected at least {at_least}: batch norm needs a batch to train")
