"""The paper's rule for clips longer than 5 s (arXiv 2305.17191, section 4.2): one random piece as support, a vote of all as query.

A clip is cut into consecutive pieces of 5 s; what is shorter than one is repeated to fill it. A support clip is represented by one
piece, drawn at random; each piece of a query is classified, and the class that most of them got is the answer. `MTSLVR.embed`
takes the mean of the pieces' vectors instead, which is what `evaluate` does unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtslvr.sound import stream
from mtslvr.storage import cache
from training.evaluation import solvers
from training.evaluation.encoders import Encoder
from training.evaluation.episodes import Episodes

RULES = ("mean", "paper")


@dataclass(frozen=True)
class Pieces:
    """Vectors of the pieces of clips, clip after clip.

    Args:
        features: float [n_pieces, D].
        counts: int [n_clips], the number of pieces of each; their sum is n_pieces.
    """

    features: np.ndarray
    counts: np.ndarray

    @classmethod
    def whole(cls, features: np.ndarray) -> Pieces:
        """Clips of one vector each: float [n_clips, D]."""
        return cls(features, np.ones(len(features), dtype=np.int64))


def embed(encoder: Encoder, name: str, paths: Sequence[Path], folder: Path) -> Pieces:
    """Embed each piece of clips; from the cache where it has them.

    Args:
        name: of the data set.
        folder: of the cache.

    Raises:
        ValueError: a clip is no usable sound.
    """
    counts = np.zeros(len(paths), dtype=np.int64)

    def pieces() -> Iterator[tuple[np.ndarray, int]]:
        for i, path in enumerate(paths):
            for wave, _, _ in stream.windows(path):
                counts[i] += 1
                yield wave, stream.SAMPLE_RATE

    features = cache.embed(encoder.embed, pieces(), folder / encoder.fingerprint, description=f"{encoder.name}: {name}")
    return Pieces(features, counts)


def accuracies(
    pieces: Pieces, heads: Sequence[slice], episodes: Episodes, classifier: str, rng: np.random.Generator
) -> np.ndarray:
    """Share of each task's queries that are put into the right class: float64 [n_tasks], in 0..1. See `solvers.accuracies`.

    Args:
        rng: draws the piece of each support clip.

    A tie of votes goes to the first class of the task, which is a random one.
    """
    n_tasks, n_ways, _ = episodes.support.shape
    starts = np.cumsum(pieces.counts) - pieces.counts
    support = starts[episodes.support] + rng.integers(pieces.counts[episodes.support])
    counts = pieces.counts[episodes.query]  # [n_tasks, n_ways, n_queries]
    longest = counts.max((1, 2))
    found = np.empty(n_tasks)
    for n_most in np.unique(longest):  # tasks of one shape are solved together
        rows = np.flatnonzero(longest == n_most)
        place = np.arange(n_most)
        own = place < counts[rows, ..., None]  # [n_rows, n_ways, n_queries, n_most]
        query = starts[episodes.query[rows], None] + np.where(own, place, 0)
        tasks = Episodes(support[rows], query.reshape(len(rows), n_ways, -1))
        predicted = solvers.predictions(pieces.features, heads, tasks, classifier).reshape(query.shape)
        votes = (np.eye(n_ways)[predicted] * own[..., None]).sum(-2)
        found[rows] = (votes.argmax(-1) == np.arange(n_ways)[:, None]).mean((1, 2))
    return found
