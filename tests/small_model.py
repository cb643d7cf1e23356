"""Random models for tests."""

from pathlib import Path

import torch
from torch import nn

from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.model import MTSLVR


def save(path: Path) -> Path:
    """Write it there; the same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        MTSLVR(EncoderConfig(adapter="bn", head_dim=4)).save_pretrained(path)
    return path


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Give every batch norm statistics and weights of its own: freshly made ones would hide an error in the fold."""
    random = torch.Generator().manual_seed(seed)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor, low, high in (
                (norm.weight, 0.5, 1.5),
                (norm.bias, -0.3, 0.3),
                (norm.running_mean, -0.3, 0.3),
                (norm.running_var, 0.5, 1.5),
            ):
                assert tensor is not None
                with torch.no_grad():
                    tensor.copy_(torch.rand(tensor.shape, generator=random) * (high - low) + low)
