"""Clips of a class that are all but the same, as two pieces of one recording are, or one clip that is there twice.

Where a clip is judged by its twin, accuracy is that of recognising a recording, and not of a new one's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from mtslvr.fewshot.evidence import MIN_COSINE, Floats, Numbers

# With embeddings that all lie close together, and so within MIN_COSINE, the unit of novelty decides.
MAX_DISTANCE = 0.75  # in units of novelty: the distance between clips of neighbouring classes


@dataclass(frozen=True)
class Duplicates:
    """Near-duplicates of a support set without groups.

    Args:
        pair: two of them, and the closest.
        n_clips: clips that have one.
        groups: a number for each clip, [n]; clips that a chain of near-duplicates connects have the same.
    """

    pair: tuple[int, int]
    n_clips: int
    groups: NDArray[np.int64]


def find(features: Floats, targets: Numbers, unit: float) -> Duplicates | None:
    """Near-duplicates among features [n, d] of unit-length heads, within the classes [n]; None if there are none.

    Args:
        unit: of novelty, see `novelty.measure`.
    """
    first: list[NDArray[np.intp]] = []
    second: list[NDArray[np.intp]] = []
    distances: list[Floats] = []
    squares = np.square(features).sum(1)
    for number in range(targets.max() + 1):
        clips = np.flatnonzero(targets == number)
        apart = cdist(features[clips], features[clips])
        limit = np.minimum(np.sqrt(2 * (1 - MIN_COSINE) * squares[clips]), MAX_DISTANCE * unit)
        i, j = np.nonzero(np.triu(apart <= limit[:, None], 1))
        first.append(clips[i])
        second.append(clips[j])
        distances.append(apart[i, j])
    i, j, apart = np.concatenate(first), np.concatenate(second), np.concatenate(distances)
    if not len(i):
        return None
    links = coo_array((np.ones(len(i)), (i, j)), shape=(len(targets), len(targets)))
    _, groups = connected_components(links, directed=False)
    closest = int(apart.argmin())
    return Duplicates((int(i[closest]), int(j[closest])), len(np.union1d(i, j)), groups.astype(np.int64))
