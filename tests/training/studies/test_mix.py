"""The mix of heads, against the few-shot classifier, and where it is known what is wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mtslvr.fewshot import FewShotClassifier
from training.evaluation import solvers
from training.evaluation.datasets.common import Clip, Dataset
from training.evaluation.episodes import Episodes, draw
from training.studies import mix

HEADS = [slice(0, 24), slice(24, 64)]
TOY = Dataset("toy", tuple(Clip(Path(f"{i}.wav"), f"c{i % 7}") for i in range(84)))


def features(signal: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """float32 [84, 64]: how much each head knows of the class; the second is of larger numbers."""
    rng = np.random.default_rng(0)
    classes = rng.standard_normal((7, 64))[TOY.targets] * np.repeat(signal, [24, 40])
    found = classes + 2 * rng.standard_normal((84, 64)) + 5
    found[:, HEADS[1]] *= 30
    return found.astype(np.float32)


def tasks(n_shots: int, n_tasks: int = 60, seed: int = 1) -> Episodes:
    return draw(TOY, n_tasks, n_shots=n_shots, n_queries=2, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("n_shots", [1, 4])
def test_equal_shares_are_the_classifier_as_it_is(n_shots: int) -> None:
    found = mix.accuracies(features(), HEADS, tasks(n_shots))
    assert mix.SHARES[5] == 0.5
    np.testing.assert_allclose(found[5], solvers.accuracies(features(), HEADS, tasks(n_shots)))


@pytest.mark.parametrize(("share", "space"), [(0, "variant"), (-1, "invariant")])
def test_the_ends_are_one_head_alone(share: int, space: str) -> None:
    x, episodes = features(), tasks(3)
    found = mix.accuracies(x, HEADS, episodes)[share]
    classifier = FewShotClassifier(space=space, n_invariant=24, C=2 * FewShotClassifier().C)  # its products count twice
    targets = np.repeat(np.arange(5), 3)
    expected = [
        (classifier.fit(x[support.ravel()], targets).predict(x[query.ravel()]) == np.repeat(np.arange(5), 2)).mean()
        for support, query in zip(episodes.support, episodes.query, strict=True)
    ]
    np.testing.assert_allclose(found, expected)


def test_head_weights_are_the_classifiers() -> None:
    x, episodes = features(), tasks(2, n_tasks=10)
    found = mix.head_weights(x, HEADS, episodes)
    model = FewShotClassifier(n_invariant=24)
    targets = np.repeat(np.arange(5), 2)
    expected = [list(model.fit(x[task.ravel()], targets).head_weights_.values()) for task in episodes.support]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="'centroid'; expected ridge or paper"):
        mix.head_weights(x, HEADS, episodes, "centroid")


def test_a_mix_serves_sets_that_want_the_same_head() -> None:
    sets = [features((2.0, 0.0)), features((0.0, 2.0)), features((1.5, 0.0))]
    fit, test = ([tasks(2, 400, seed)] * 3 for seed in (1, 2))
    found = mix.compare(sets, HEADS, ["a", "b", "c"], fit, test, n_paper=5)
    assert found.best[0] > 0.5 > found.best[1]
    gains = np.array(found.transfer)
    assert (gains[[0, 2], [2, 0]] > np.array(found.intervals)[[0, 2], [2, 0]]).all(), "a and c want the same"
    assert gains[0, 1] < 0 > gains[1, 0], "b wants the other"
    assert found.left_out[1] < 0, "a and c together want what b does not"
    assert found.weights == pytest.approx([0.5] * 3, abs=0.2)
    assert found.spread == pytest.approx(found.paper_weights, abs=0.05)
    assert all(weight < 0.1 for weight in found.paper_weights), "raw features: the head of larger numbers"
