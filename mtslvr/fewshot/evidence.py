"""How well the clips of a class tell where the class lies, from 0, not at all, to nearly 1. Array mathematics only.

A new sound of a class is the less like the mean of its examples, the fewer they are. With clips scattering about their class WITHIN
times as widely as classes about each other, n clips are worth n / (n + WITHIN): the reliability of a mean of n (Spearman 1910,
Correlation calculated from faulty data). Clips that are all but the same count once: a clip with k - 1 others within MIN_COSINE of its
class counts 1 / k.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]

WITHIN = 8.0  # variances, as ridge sees them; measured on tasks of unequal classes, where 4 to 16 do nearly as well
# Of two recordings of a class 1 in 600 pairs is as near, of two repetitions of a word by one speaker a sixth (training/LOG.md).
MIN_COSINE = 0.85


class Evidence:
    """Of every class: what all of its clips tell, and what they tell without some of them.

    Args:
        features: [n, d].
        targets: class numbers [n]; each of 0..C-1 occurs.
    """

    def __init__(self, features: Floats, targets: Numbers) -> None:
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        unit = features / np.where(norms > 0, norms, 1.0)
        order = np.argsort(targets, kind="stable")
        members = np.split(order, np.cumsum(np.bincount(targets))[:-1])
        self.targets, self.places = targets, np.empty_like(order)  # of each clip in its class
        self.near: list[NDArray[np.bool_]] = []
        for clips in members:
            self.places[clips] = np.arange(len(clips))
            near = unit[clips] @ unit[clips].T > MIN_COSINE
            np.fill_diagonal(near, True)
            self.near.append(near)
        self.counts = [near.sum(1) for near in self.near]
        self.of_all = np.array([_worth(counts) for counts in self.counts])  # [C]

    def without(self, clips: Numbers) -> Floats:
        """[C], 0 of a class that has no other clips."""
        found = self.of_all.copy()
        for number in np.unique(self.targets[clips]):
            gone = self.places[clips[self.targets[clips] == number]]
            left = self.counts[number] - self.near[number][:, gone].sum(1)
            found[number] = _worth(np.delete(left, gone))
        return found


def _worth(counts: Numbers) -> float:
    """Of clips that count 1 / counts each."""
    n_different = float((1 / counts).sum())
    return n_different / (n_different + WITHIN)
