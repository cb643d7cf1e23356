"""Mahalanobis distances from clips to their augmented versions, and to other clips (used by invariance.py).

The covariance is Ledoit and Wolf's shrunk estimate: the empirical one of 500 features needs thousands of clips to be inverted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from sklearn.covariance import LedoitWolf

LEAST_CLIPS = 20


class Distances(NamedTuple):
    """Mahalanobis distances of n clips in one head."""

    augmented: np.ndarray  # float64 [7, n]: from each clip to itself augmented, in the order of AUGMENTATIONS
    others: np.ndarray  # float64 [n]: from each clip to another of its set
    shrinkage: float


def distances(features: np.ndarray, set_of: np.ndarray, rng: np.random.Generator) -> Distances:
    """Distances in one head.

    Args:
        features: float [8, n, d], clean and then as augmented by each kind.
        set_of: int [n], the number of the set of each clip; another clip is one of the same set.

    Raises:
        ValueError: fewer than LEAST_CLIPS clips, a set of one clip, or features that do not differ between clips.
    """
    clean = features[0].astype(np.float64)
    if len(clean) < LEAST_CLIPS or np.bincount(set_of).min() < 2:
        raise ValueError(
            f"{len(clean)} clips, at least {np.bincount(set_of).min()} a set; expected {LEAST_CLIPS} or more, and 2 a set"
        )
    fitted = LedoitWolf().fit(clean)
    if not fitted.covariance_.any():
        raise ValueError("the features of all clips are the same: they have no covariance to measure distances in")
    factor = cholesky(fitted.covariance_, lower=True)

    def lengths(differences: np.ndarray) -> np.ndarray:  # [n, d] -> [n]
        return np.asarray(np.linalg.norm(solve_triangular(factor, differences.T, lower=True), axis=0))

    augmented = np.stack([lengths(version - clean) for version in features[1:]])
    return Distances(augmented, lengths(clean[_partners(set_of, rng)] - clean), float(fitted.shrinkage_))


def _partners(set_of: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each clip the number of another clip of its set: int [n]."""
    partners = np.empty_like(set_of)
    for members in (np.flatnonzero(set_of == i) for i in np.unique(set_of)):
        shuffled = rng.permutation(members)
        partners[shuffled] = np.roll(shuffled, 1)
    return partners
