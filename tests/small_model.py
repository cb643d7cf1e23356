"""A small random model, for tests that need any model in a folder."""

from pathlib import Path

import torch

from mtslvr.config import EncoderConfig
from mtslvr.model import MTSLVR


def save(path: Path) -> Path:
    """Write it there; the same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        MTSLVR(EncoderConfig(adapter="bn", head_dim=4)).save_pretrained(path)
    return path
