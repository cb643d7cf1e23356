"""Searching unlabelled recordings by their embeddings: what to label next, and what is most like an example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

if TYPE_CHECKING:
    from mtslvr.fewshot.classifier import FewShotClassifier


def suggest(classifier: FewShotClassifier, X: NDArray[Any], n: int = 10) -> NDArray[np.intp]:
    """The recordings to label next: those the classifier is unsure of, each unlike the others.

    The first is the least certain; each next one has the largest product of uncertainty, 1 less the margin between the two
    likeliest classes, and of cosine distance to the nearest that was chosen before (greedy weighted k-centre; Sener and
    Savarese 2018, arXiv 1708.00489).

    Args:
        classifier: fitted.
        X: embeddings in "combined", or in the classifier's space, [n_recordings, D].
        n: how many to suggest, at most; above 0.

    Returns:
        Numbers of rows, the most useful first: [min(n, n_recordings)].

    Raises:
        ValueError: as `FewShotClassifier.predict_proba`, or n is below 1.
    """
    _check_count(n)
    ordered = np.sort(classifier.predict_proba(X), 1)
    uncertainty = 1 - (ordered[:, -1] - ordered[:, -2])
    vectors = normalize(np.asarray(X, np.float64))
    chosen: list[int] = []
    away = np.full(len(vectors), 2.0)
    for _ in range(min(n, len(vectors))):
        gain = uncertainty * away
        gain[chosen] = -1.0
        chosen.append(int(gain.argmax()))
        away = np.minimum(away, np.maximum(1 - vectors @ vectors[chosen[-1]], 0))
    return np.array(chosen, np.intp)


def most_similar(examples: NDArray[Any], X: NDArray[Any], n: int = 10) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The recordings most like an example: by the cosine of their embeddings, of several examples the most similar one counts.

    Args:
        examples, X: embeddings in one space, [n_examples, D] and [n_recordings, D].
        n: how many, at most; above 0.

    Returns:
        Numbers of rows of X and their cosine similarities, -1 to 1, the most similar first: [min(n, n_recordings)] each.

    Raises:
        ValueError: NaN, differing widths, or n below 1.
    """
    _check_count(n)
    neighbours = NearestNeighbors(metric="cosine").fit(np.asarray(X))
    distances, rows = neighbours.kneighbors(np.asarray(examples), min(n, len(X)))
    best: dict[int, float] = {}
    for row, distance in zip(rows.ravel().tolist(), distances.ravel().tolist(), strict=True):
        best[row] = min(distance, best.get(row, np.inf))
    order = sorted(best, key=lambda row: (best[row], row))[:n]
    return np.array(order, np.intp), np.array([1 - best[row] for row in order])


def _check_count(n: int) -> None:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"n is {n!r}; expected how many recordings to give, 1 or more")
