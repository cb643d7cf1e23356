"""What to label next, and what is most like an example: against their definitions, and that they are of use."""

from __future__ import annotations

import numpy as np
import pytest
from clusters import clusters

from mtslvr.fewshot import FewShotClassifier
from mtslvr.fewshot.search import most_similar, suggest


class Sure:
    """A classifier that knows how sure it is to be of each row."""

    def __init__(self, margins: list[float]) -> None:
        self.margins = np.array(margins)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return np.stack([(1 + self.margins) / 2, (1 - self.margins) / 2], 1)


def test_the_unsure_and_unlike_come_first() -> None:
    X = np.array([[1, 0], [1, 0.01], [0, 1], [-1, 0]], np.float32)
    assert suggest(Sure([0.0, 0.1, 0.5, 1.0]), X, 4).tolist() == [0, 2, 1, 3]  # type: ignore[arg-type]
    assert suggest(Sure([0.0, 0.1, 0.5, 1.0]), X, 1).tolist() == [0]  # type: ignore[arg-type]
    assert suggest(Sure([0.9, 0.9, 0.9, 0.9]), X, 9).tolist()[:2] == [0, 3]  # type: ignore[arg-type]


def test_each_recording_is_suggested_once_also_where_all_are_alike() -> None:
    assert sorted(suggest(Sure([0.2] * 5), np.ones((5, 3)), 5).tolist()) == [0, 1, 2, 3, 4]  # type: ignore[arg-type]


def test_a_class_of_which_one_example_is_known_is_asked_for() -> None:
    X, y = clusters(n_classes=4, shots=30, noise=0.6)
    support = np.r_[0:8, 30:38, 60:68, 90]
    pool = np.setdiff1d(np.arange(len(X)), support)
    chosen = y[pool[suggest(FewShotClassifier().fit(X[support], y[support]), X[pool], 6)]]
    assert len(set(chosen.tolist())) >= 3, "several classes, not one corner of one"


def test_the_most_similar_are_those_of_the_largest_cosine() -> None:
    random = np.random.default_rng(0)
    examples, X = random.standard_normal((2, 5)), random.standard_normal((30, 5))
    rows, similarities = most_similar(examples, X, 7)
    unit = lambda a: a / np.linalg.norm(a, axis=1, keepdims=True)  # noqa: E731
    cosines = (unit(X) @ unit(examples).T).max(1)
    assert rows.tolist() == np.argsort(-cosines)[:7].tolist()
    np.testing.assert_allclose(similarities, np.sort(cosines)[::-1][:7])
    assert len(most_similar(examples, X, 99)[0]) == 30


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_how_many_is_a_whole_number_above_0(n: object) -> None:
    for search in (
        lambda: suggest(Sure([0.1]), np.ones((1, 2)), n),
        lambda: most_similar(np.ones((1, 2)), np.ones((1, 2)), n),
    ):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"n is .*; expected how many recordings to give, 1 or more"):
            search()
