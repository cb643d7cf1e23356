"""All few-shot tasks of a data set solved together: what FewShotClassifier does for one task, for thousands at once.

Every classifier here is linear, so its weights lie in the span of the few support clips, and all it needs of the features is
the inner products of a task's clips: K, [n_tasks, n_support + n_queries, n_support]. For 5-way 1-shot that is 10 x 5 numbers a task.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDClassifier
from torch import Tensor

from mtslvr.fewshot import FewShotClassifier
from mtslvr.fewshot.evidence import MIN_COSINE, WITHIN
from mtslvr.fewshot.labels import MANY_CLASSES
from training.evaluation.episodes import Episodes

CLASSIFIERS = ("ridge", "logistic", "centroid", "cosine", "paper")
CHUNK = 8_000_000  # numbers held at a time
INTERCEPT = 1e4  # variance of the intercept: so large that its penalty does not count
MAX_STEPS, TOLERANCE = 1000, 1e-5  # far closer to the optimum than scikit-learn's own defaults


def accuracies(
    features: np.ndarray, heads: Sequence[slice], episodes: Episodes, classifier: str = "ridge"
) -> np.ndarray:
    """Share of each task's queries that are put into the right class.

    Args:
        features: float [n_clips, D].
        heads: the columns of each head that is used.
        classifier: "ridge", "logistic" and "centroid" are FewShotClassifier's methods, with their defaults; "paper" is as the
            authors ran it, see `paper_classifier`; "cosine" is the nearest class mean of vectors that were centred on the
            support set, each head divided by its root mean square norm there, and brought to unit length.

    Returns:
        float64 [n_tasks], in 0..1.
    """
    predicted = predictions(features, heads, episodes, classifier)
    return np.asarray((predicted == np.arange(predicted.shape[1])[:, None]).mean((1, 2)))


def predictions(
    features: np.ndarray, heads: Sequence[slice], episodes: Episodes, classifier: str = "ridge"
) -> np.ndarray:
    """The class, 0..n_ways-1, given to each query: int64 [n_tasks, n_ways, n_queries]. See `accuracies`.

    Raises:
        ValueError: an unknown classifier.
    """
    if classifier not in CLASSIFIERS:
        raise ValueError(f"classifier is {classifier!r}; expected one of {', '.join(CLASSIFIERS)}")
    n_tasks, n_ways, n_shots = episodes.support.shape
    clips = np.concatenate([episodes.support.reshape(n_tasks, -1), episodes.query.reshape(n_tasks, -1)], 1)
    n_support = n_ways * n_shots
    if classifier == "paper":
        return _one_by_one(features[:, np.r_[tuple(heads)]], clips, n_support, n_shots).reshape(episodes.query.shape)
    columns = [torch.from_numpy(features[:, head]) for head in heads]
    width = sum(column.shape[1] for column in columns)
    solvers = {"ridge": ridge, "logistic": _logistic, "centroid": _centroid, "cosine": _centroid}
    found: list[Tensor] = []
    for chunk in torch.from_numpy(clips).split(max(1, CHUNK // (clips.shape[1] * width))):
        parts = [column[chunk].double() for column in columns]
        products = _products(parts, n_support, cosine=classifier == "cosine")
        found.append(solvers[classifier](products, n_ways, n_shots).argmax(-1))
    return torch.cat(found).reshape(episodes.query.shape).numpy()


def unit(head: Tensor) -> Tensor:
    """FewShotClassifier's features: each vector of a head [..., width] brought to unit length."""
    return head / head.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(head.dtype).tiny)


def _products(heads: list[Tensor], n_support: int, *, cosine: bool) -> Tensor:
    """Inner products of a task's clips with its support.

    [n_tasks, n_support + n_queries, width] each -> [n_tasks, n_support + n_queries, n_support].
    """
    parts = [torch.cat([_scaled(head, n_support) for head in heads], -1)] if cosine else heads
    return sum((unit(part) @ unit(part)[:, :n_support].mT for part in parts), torch.zeros(()))


def _scaled(head: Tensor, n_support: int) -> Tensor:
    """Centred on the support's mean, and divided by the root mean square norm of the support."""
    head = head - head[:, :n_support].mean(1, keepdim=True)
    energy = head[:, :n_support].square().sum(-1).mean(1)
    return head / torch.where(energy > 0, energy, 1.0).sqrt()[:, None, None]


def _centroid(products: Tensor, n_ways: int, n_shots: int) -> Tensor:
    """-|x - c|^2 of each query and class mean, less what all classes share: [n_tasks, n_queries, n_ways]."""
    to_means = products.unflatten(-1, (n_ways, n_shots)).mean(-1)  # [n_tasks, n_clips, n_ways]
    means, queries = to_means[:, : n_ways * n_shots], to_means[:, n_ways * n_shots :]
    squares = means.unflatten(1, (n_ways, n_shots)).mean(2).diagonal(dim1=1, dim2=2)  # |c|^2: [n_tasks, n_ways]
    return 2 * queries - squares[:, None]


def ridge(products: Tensor, n_ways: int, n_shots: int) -> Tensor:
    """Scores of the queries by least squares to the classes' indicators, L2 penalty: [n_tasks, n_queries, n_ways]."""
    n_support = n_ways * n_shots
    kernel, queries = products[:, :n_support], products[:, n_support:]
    worth = values(kernel, n_ways, n_shots)
    middle = (kernel * worth.repeat_interleave(n_shots, 1)[..., None]).mean(1, keepdim=True)
    return (queries - middle) @ ridge_duals(kernel, n_ways, n_shots) * worth[:, None]


def values(kernel: Tensor, n_ways: int, n_shots: int) -> Tensor:
    """What a clip of each class is worth, by `mtslvr.fewshot.evidence`: [n_tasks, n_ways], 1 in the mean."""
    norms = kernel.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
    near = kernel > MIN_COSINE * norms[:, None] * norms[..., None]
    classes = torch.arange(n_ways).repeat_interleave(n_shots)
    near = near & (classes == classes[:, None]) | torch.eye(len(classes), dtype=torch.bool)
    n_different = (1 / near.sum(-1)).unflatten(-1, (n_ways, n_shots)).sum(-1).to(kernel.dtype)
    worth = n_different / (n_different + WITHIN)
    return worth / worth.mean(-1, keepdim=True)


def ridge_duals(kernel: Tensor, n_ways: int, n_shots: int) -> Tensor:
    """A of (K + 1 / C) A = Y, K and Y centred, [n_tasks, n_support, n_ways]; the weights are A^T times the support's features."""
    targets = torch.eye(n_ways, dtype=kernel.dtype).repeat_interleave(n_shots, 0) - 1 / n_ways
    penalty = torch.eye(n_ways * n_shots, dtype=kernel.dtype) / FewShotClassifier().C
    centred = kernel - kernel.mean(1, keepdim=True)
    return torch.linalg.solve(centred - centred.mean(2, keepdim=True) + penalty, targets)


def _logistic(products: Tensor, n_ways: int, n_shots: int) -> Tensor:
    """Scores of the queries by multinomial logistic regression, L2 penalty, exact: [n_tasks, n_queries, n_ways].

    With scores K A, A [n_support, n_ways], the optimum is where A = C (Y - P(K A)). Boehning's bound on the Hessian of the
    cross entropy, 1/2, gives steps that never raise the loss and share one matrix for all classes (Boehning 1992, Multinomial
    logistic regression algorithm).
    """
    C = FewShotClassifier().C / (
        2 if n_ways == 2 else 1
    )  # scikit-learn penalises the one score of two classes twice as much
    n_support = n_ways * n_shots
    products = products + INTERCEPT  # a constant feature
    kernel, queries = products[:, :n_support], products[:, n_support:]
    identity = torch.eye(n_support, dtype=kernel.dtype)
    step = torch.linalg.inv(identity + C / 2 * kernel)
    targets = torch.eye(n_ways, dtype=kernel.dtype).repeat_interleave(n_shots, 0)
    A = ahead = torch.zeros(*kernel.shape[:2], n_ways, dtype=kernel.dtype)
    momentum = 1.0
    for _ in range(MAX_STEPS):
        change = step @ (C * (targets - (kernel @ ahead).softmax(-1)) - ahead)
        if change.abs().max() < TOLERANCE:
            break
        before, A = A, ahead + change
        momentum, last = (1 + (1 + 4 * momentum**2) ** 0.5) / 2, momentum
        ahead = A + (last - 1) / momentum * (A - before)
    return queries @ A


def paper_classifier(features: np.ndarray, targets: np.ndarray) -> SGDClassifier:
    """As the authors ran it: one class against the rest, logistic regression on raw features, by SGD without a penalty.

    Fitted to features [n, D] and class numbers [n].
    """
    rate: dict[str, Any] = {"learning_rate": "adaptive", "eta0": 0.1, "max_iter": 20}
    model = SGDClassifier(loss="log_loss", penalty=None, random_state=0, **rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of passes is part of the method
        warnings.filterwarnings("ignore", MANY_CLASSES)
        return model.fit(features.astype(np.float64), targets)


def _one_by_one(features: np.ndarray, clips: np.ndarray, n_support: int, n_shots: int) -> np.ndarray:
    """The paper's classifier goes through the samples one by one, so it is run as it is, task by task."""
    targets = np.repeat(np.arange(n_support // n_shots), n_shots)
    return np.stack(
        [
            paper_classifier(features[task[:n_support]], targets).predict(features[task[n_support:]].astype(np.float64))
            for task in clips
        ]
    )
