"""Thousands of tasks at once give what scikit-learn gives one by one."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier

from mtslvr.fewshot import FewShotClassifier
from training.evaluation import solvers
from training.evaluation.datasets.common import Clip, Dataset
from training.evaluation.episodes import Episodes, draw

HEADS = [slice(0, 24), slice(24, 64)]
C = FewShotClassifier().C


def toy_set(n_classes: int = 7, size: int = 12) -> tuple[Dataset, np.ndarray]:
    """Overlapping classes, float32 [n, 64], far from zero and with heads of different scale, as embeddings are."""
    rng = np.random.default_rng(0)
    toy = Dataset("toy", tuple(Clip(Path(f"{i}.wav"), f"c{i % n_classes}") for i in range(n_classes * size)))
    features = rng.standard_normal((n_classes, 64))[toy.targets] + 2 * rng.standard_normal((len(toy.clips), 64)) + 5
    features[:, HEADS[1]] *= 30
    return toy, features.astype(np.float32)


def tasks(toy: Dataset, n_ways: int, n_shots: int, n_tasks: int = 60) -> Episodes:
    return draw(toy, n_tasks, n_ways=n_ways, n_shots=n_shots, n_queries=2, rng=np.random.default_rng(1))


def one_by_one(features: np.ndarray, episodes: Episodes, **how: object) -> np.ndarray:
    _, n_ways, n_shots = episodes.support.shape
    targets = np.repeat(np.arange(n_ways), n_shots)
    found = [
        FewShotClassifier(**how).fit(features[support.ravel()], targets).predict(features[query.ravel()])
        for support, query in zip(episodes.support, episodes.query, strict=True)
    ]
    return np.reshape(found, episodes.query.shape)


@pytest.mark.slow
@pytest.mark.parametrize("classifier", ["ridge", "centroid"])
@pytest.mark.parametrize(("n_ways", "n_shots"), [(5, 1), (3, 4), (2, 2)])
def test_like_the_few_shot_classifier(classifier: str, n_ways: int, n_shots: int) -> None:
    toy, features = toy_set()
    episodes = tasks(toy, n_ways, n_shots)
    found = solvers.predictions(features, HEADS, episodes, classifier)
    expected = one_by_one(features, episodes, method=classifier, n_invariant=24)
    np.testing.assert_array_equal(found, expected)
    right = expected == np.arange(n_ways)[:, None]
    assert 1 / n_ways < right.mean() < 1, "tasks that are too easy or too hard would show nothing"
    np.testing.assert_allclose(solvers.accuracies(features, HEADS, episodes, classifier), right.mean((1, 2)))


def test_the_papers_classifier_is_sgd_on_raw_features() -> None:
    toy, features = toy_set()
    episodes = tasks(toy, 5, 2, 10)
    model = SGDClassifier(
        loss="log_loss", penalty=None, learning_rate="adaptive", eta0=0.1, max_iter=20, random_state=0
    )
    expected = []
    for support, query in zip(episodes.support, episodes.query, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features[support.ravel()].astype(float), np.repeat(np.arange(5), 2))
        expected.append(model.predict(features[query.ravel()].astype(float)))
    found = solvers.predictions(features, HEADS, episodes, "paper")
    np.testing.assert_array_equal(found, np.reshape(expected, found.shape))


@pytest.mark.parametrize("space", ["invariant", "variant"])
def test_one_head(space: str) -> None:
    toy, features = toy_set()
    episodes = tasks(toy, 5, 1)
    head = HEADS[0 if space == "invariant" else 1]
    expected = one_by_one(features, episodes, method="centroid", n_invariant=24, space=space)
    np.testing.assert_array_equal(solvers.predictions(features, [head], episodes, "centroid"), expected)


@pytest.mark.slow
@pytest.mark.parametrize(("n_ways", "n_shots"), [(5, 1), (5, 5), (3, 4), (2, 1), (2, 5)])
def test_logistic_is_exact(n_ways: int, n_shots: int) -> None:
    """Against scikit-learn run to convergence on features scaled as FewShotClassifier scales them."""
    toy, features = toy_set()
    episodes = tasks(toy, n_ways, n_shots)
    n_support = n_ways * n_shots
    clips = np.concatenate([episodes.support.reshape(60, -1), episodes.query.reshape(60, -1)], 1)
    products = solvers._products(
        [torch.from_numpy(features[:, head]).double()[clips] for head in HEADS], n_support, cosine=False
    )
    probabilities = solvers._logistic(products, n_ways, n_shots).softmax(-1).numpy()
    targets = np.repeat(np.arange(n_ways), n_shots)
    expected = []
    for task in clips:
        scaled = FewShotClassifier(n_invariant=24).fit(features[:14], np.arange(14) % 7).features_of(features[task])
        model = LogisticRegression(C=C, tol=1e-9, max_iter=10_000).fit(scaled[:n_support], targets)
        expected.append(model.predict_proba(scaled[n_support:]))
    np.testing.assert_allclose(probabilities, expected, atol=2e-4)


@pytest.mark.parametrize(("n_ways", "n_shots"), [(5, 1), (2, 5)])
def test_logistic_like_the_few_shot_classifier(n_ways: int, n_shots: int) -> None:
    toy, features = toy_set()
    episodes = tasks(toy, n_ways, n_shots)
    found = solvers.predictions(features, HEADS, episodes, "logistic")
    agreement = found == one_by_one(features, episodes, method="logistic", n_invariant=24)
    assert agreement.mean() > 0.98  # scikit-learn stops a little before the optimum: near ties may fall otherwise


def test_cosine_against_its_definition() -> None:
    toy, features = toy_set()
    episodes = tasks(toy, 5, 3)
    found = solvers.predictions(features, [slice(0, 64)], episodes, "cosine")
    for task in range(60):
        support, query = features[episodes.support[task]].astype(float), features[episodes.query[task]].astype(float)
        mean = support.mean((0, 1))
        support, query = ((x - mean) / np.linalg.norm(x - mean, axis=-1, keepdims=True) for x in (support, query))
        distances = np.linalg.norm(query[:, :, None] - support.mean(1), axis=-1)
        np.testing.assert_array_equal(found[task], distances.argmin(-1))


@pytest.mark.parametrize("classifier", ["ridge", "centroid", "cosine", "logistic"])
def test_neither_the_chunks_nor_the_other_tasks_matter(classifier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    toy, features = toy_set()
    episodes = tasks(toy, 5, 2)
    whole = solvers.predictions(features, HEADS, episodes, classifier)
    monkeypatch.setattr(solvers, "CHUNK", 7 * 20 * 64)
    np.testing.assert_array_equal(solvers.predictions(features, HEADS, episodes, classifier), whole)


@pytest.mark.parametrize("classifier", ["ridge", "centroid", "cosine", "logistic"])
def test_embeddings_that_are_all_the_same(classifier: str) -> None:
    toy, features = toy_set()
    accuracy = solvers.accuracies(np.ones_like(features), HEADS, tasks(toy, 5, 2), classifier)
    np.testing.assert_allclose(accuracy, 1 / 5)


def test_unknown_classifier() -> None:
    toy, features = toy_set()
    with pytest.raises(ValueError, match="'svm'; expected one of ridge, logistic, centroid, cosine, paper"):
        solvers.predictions(features, HEADS, tasks(toy, 5, 1), "svm")
