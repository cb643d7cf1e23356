"""Whether a training step is faster in float32 or in bfloat16 on this machine: measured, for it differs by kind of CPU and not by what torch says."""

from __future__ import annotations

import time

import torch
from torch import Tensor
from torch.nn import functional as F

REPEATS = 3
SHAPE = (8, 128, 16, 12)  # a batch on the map of stage 2 for crops of 1.5 s


def faster(device: torch.device) -> str:
    """ "bfloat16" or "float32", by the time of a convolution and its gradients: 0.1 to 1 s in all."""
    x = torch.randn(SHAPE, device=device).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(SHAPE[1], SHAPE[1], 3, 3, device=device).contiguous(memory_format=torch.channels_last)
    seconds = {name: _time(x.to(dtype), kernel.to(dtype)) for name, dtype in _DTYPES.items()}
    return min(seconds, key=lambda name: seconds[name])


_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}  # a tie goes to the first


def _time(x: Tensor, kernel: Tensor) -> float:
    """The least of some times, in s; the first, in which kernels are compiled, does not count."""
    x, kernel = x.requires_grad_(), kernel.requires_grad_()
    found = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        F.conv2d(x, kernel, padding=1).sum().backward()
        if x.device.type == "cuda":
            torch.cuda.synchronize(x.device)
        found.append(time.perf_counter() - start)
    return min(found[1:])
