"""What teachers heard in a packed corpus, read as the vectors of crops (training/teachers.py writes it)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

BLOCK = 8_000  # samples: half a second, of which each has a vector of every teacher
OUTLIER = 5.0  # standard deviations that a teacher's numbers are cut off at


def blocks(lengths: torch.Tensor) -> torch.Tensor:
    """How many blocks pieces of so many samples have; the last may be shorter."""
    return (lengths + BLOCK - 1) // BLOCK


def teacher_file(folder: Path, name: str) -> Path:
    """Where training/teachers.py keeps what a teacher heard: float16 [blocks of all pieces, D]."""
    return folder / f"teacher-{name}.npy"


def half_whitened(vectors: torch.Tensor) -> torch.Tensor:
    """float32 [n, D] -> the same: standardised, cut off at OUTLIER, and multiplied by their covariance to the power -1/4.

    That brings the deviations along the principal axes to their roots. A cosine follows the few axes along which any two sounds differ
    most, and misses much of which they are (training/LOG.md, what a cosine sees of a teacher).
    """
    spread = vectors.std(0)
    usual = ((vectors - vectors.mean(0)) / torch.where(spread > 0, spread, 1.0)).clamp_(-OUTLIER, OUTLIER)
    variances, axes = torch.linalg.eigh(usual.T @ usual / len(usual))
    return usual @ (axes * variances.clamp_min(1e-6 * float(variances[-1])) ** -0.25 @ axes.T)


class Heard:
    """The vectors of some teachers, each teacher's half-whitened over the whole packing.

    Args:
        folder: of the packed corpus.
        names: of the teachers.
        lengths: of all its pieces, int64 [pieces], in samples.

    widths: name -> D.

    Raises:
        ValueError: training/teachers.py has not written a teacher's file, or for another packing.
    """

    def __init__(self, folder: Path, names: Sequence[str], lengths: torch.Tensor) -> None:
        n_blocks, targets = int(blocks(lengths).sum()), {}
        for name in names:
            path = teacher_file(folder, name)
            if not path.exists():
                raise ValueError(f"{path} is missing: python -m training.teachers {folder} {name}")
            heard = torch.from_numpy(np.load(path)).float()
            if len(heard) != n_blocks:
                raise ValueError(f"{path} has {len(heard)} blocks of {n_blocks}: delete it, and make it again")
            targets[name] = half_whitened(heard).half()
        self.widths = {name: target.shape[1] for name, target in targets.items()}
        self.targets = torch.cat(list(targets.values()), 1).to(lengths.device)  # [blocks, sum of the widths]
        self.lengths, self._first = lengths, blocks(lengths).cumsum(0) - blocks(lengths)

    def select(self, pieces: torch.Tensor) -> Heard:
        """Of some of the pieces, by their numbers."""
        part = copy.copy(self)
        part.lengths, part._first = self.lengths[pieces], self._first[pieces]
        return part

    def to(self, device: str | torch.device) -> Heard:
        moved = copy.copy(self)
        moved.targets, moved.lengths, moved._first = (
            tensor.to(device) for tensor in (self.targets, self.lengths, self._first)
        )
        return moved

    def __call__(self, pieces: torch.Tensor, first: torch.Tensor, length: int) -> torch.Tensor:
        """Crops of `length` samples from the sample `first` of pieces on, int64 [n] twice -> float32 [n, sum of the widths], teachers side by side.

        The mean of the blocks that lie in the middle of each half second; crops longer than their piece are tiled.
        """
        n = max(1, length // BLOCK)
        middles = ((torch.arange(n, device=first.device) + 0.5) * length / n).long()
        within = (first[:, None] + middles) % self.lengths[pieces, None]
        return self.targets[self._first[pieces, None] + within // BLOCK].float().mean(1)
