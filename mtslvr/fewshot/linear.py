"""Linear classifiers for few examples: features and class numbers in, weights and biases out. Array mathematics only.

Letters: n examples, d features, C classes.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize_scalar
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier
from tqdm import tqdm

from mtslvr.fewshot.labels import MANY_CLASSES

Floats = NDArray[np.float64]
Targets = NDArray[np.intp]

METHODS = ("ridge", "logistic", "centroid", "paper")
# Probabilities are softmax(scores / temperature); this is the temperature of one example a class. Measured, see docs/fewshot.md.
TEMPERATURE = {"ridge": 0.35, "centroid": 1.5, "logistic": 1.0, "paper": 8.0}
TEMPERATURE_SPREAD = 0.7  # standard deviation of the temperature's logarithm from task to task
MAX_CALIBRATION = 2000  # examples that the temperature is fitted on; more change nothing


class Linear(NamedTuple):
    """scores = features @ weights.T + biases."""

    weights: Floats  # [C, d]
    biases: Floats  # [C]
    held_out: Floats | None = (
        None  # [n, C] scores of each example by the classifier fitted without it, where that is for free
    )


def check(method: str, strength: float) -> None:
    """Refuse a method that is not one of METHODS, and a strength that is no number above 0, with ValueError."""
    if method not in METHODS:
        raise ValueError(f"method={method!r}: expected one of {', '.join(METHODS)}")
    if not 0 < strength < np.inf:
        raise ValueError(f"C={strength!r}: expected a number above 0, such as 10")


def scaling(heads: list[Floats], *, raw: bool) -> tuple[Floats, Floats]:
    """Mean and scale of each column of the heads [n, width]: the column's mean, and the head's root mean square norm.

    Raw features have mean 0 and scale 1.
    """
    if raw:
        width = sum(head.shape[1] for head in heads)
        return np.zeros(width), np.ones(width)
    means = [head.mean(0) for head in heads]
    norms = [np.sqrt(np.square(head - mean).sum(1).mean()) for head, mean in zip(heads, means, strict=True)]
    scales = [np.full(head.shape[1], norm or 1.0) for head, norm in zip(heads, norms, strict=True)]
    return np.hstack(means), np.hstack(scales)


def fit(
    method: str,
    features: Floats,
    targets: Targets,
    strength: float,
    random_state: int | np.random.RandomState | None,
) -> Linear:
    """Fit one of METHODS.

    Args:
        features: [n, d].
        targets: class numbers [n]; each of 0..C-1 occurs, and C > 1.
        strength: the inverse of the L2 penalty of "ridge" and "logistic"; > 0.
        random_state: order of the examples in "paper".
    """
    if method == "centroid":
        return _centroid(features, targets)
    if method == "paper":
        return _paper(features, targets, random_state)
    # The best weights lie in the span of the examples: with few of them, far smaller than the features' space.
    basis = np.linalg.qr(features.T)[0] if len(features) < features.shape[1] else None  # [d, n]
    reduced = features if basis is None else features @ basis
    found = (_ridge if method == "ridge" else _logistic)(reduced, targets, strength)
    return found if basis is None else found._replace(weights=found.weights @ basis.T)


def leave_one_out(
    method: str,
    features: Floats,
    targets: Targets,
    strength: float,
    random_state: int | np.random.RandomState | None,
) -> Floats:
    """Scores of each example by a classifier fitted without it: [n, C]; NaN for the only example of its class."""
    single = np.bincount(targets)[targets] < 2
    if (held_out := fit(method, features, targets, strength, random_state).held_out) is not None:
        return np.where(single[:, None], np.nan, held_out)
    scores = np.full((len(targets), targets.max() + 1), np.nan)
    for i in tqdm(np.flatnonzero(~single), "leaving one out", unit="clip", delay=2, disable=None, leave=False):
        others = np.arange(len(targets)) != i
        weights, biases, _ = fit(method, features[others], targets[others], strength, random_state)
        scores[i] = weights @ features[i] + biases
    return scores


def softmax(scores: Floats, temperature: float) -> Floats:
    """Probabilities [n, C] of scores [n, C]."""
    exponents = np.exp((scores - scores.max(1, keepdims=True)) / temperature)
    return np.asarray(exponents / exponents.sum(1, keepdims=True))


def temperature(method: str, held_out: Floats | None, targets: Targets) -> float:
    """The temperature that makes the held-out scores most likely, near TEMPERATURE as long as there are few of them."""
    usual = TEMPERATURE[method]
    judged = np.flatnonzero(np.bincount(targets)[targets] > 1)
    if held_out is None or not len(judged):
        return usual
    judged = judged[:: -(-len(judged) // MAX_CALIBRATION)]
    scores, own = held_out[judged], targets[judged][:, None]
    scores = scores - scores.max(1, keepdims=True)

    def surprise(logarithm: float) -> float:
        scaled = scores / (usual * np.exp(logarithm))
        likelihood = np.take_along_axis(scaled, own, 1)[:, 0] - np.log(np.exp(scaled).sum(1))
        return float(0.5 * (logarithm / TEMPERATURE_SPREAD) ** 2 - likelihood.sum())

    return float(usual * np.exp(minimize_scalar(surprise, bounds=(-4.0, 4.0), method="bounded").x))


def _ridge(features: Floats, targets: Targets, strength: float) -> Linear:
    """Least squares to indicators of the classes, plus |weights|^2 / strength.

    Unbalanced shots: a clip weighs 1 / sqrt(clips of its class), and the shares that the classes then have are taken out of
    the scores again, so that the clips' centre is undecided. On real sound this beats both equal and balanced weights.
    The score s of a clip without itself is exact and free: y - s = (y - f) / (1 - h), f = H y being the fit.
    """
    weight = 1 / np.sqrt(np.bincount(targets))[targets]
    weight *= len(targets) / weight.sum()
    indicators = np.eye(targets.max() + 1)[targets]
    centre, shares = np.average(features, 0, weight), np.average(indicators, 0, weight)
    root = np.sqrt(weight)[:, None]
    centred = root * (features - centre)  # root @ centred is 0: the indicators need no centring below
    gram = centred.T @ centred
    gram.flat[:: len(gram) + 1] += 1 / strength
    factor = cho_factor(gram)
    weights = cho_solve(factor, class_sums(root * centred, targets).T).T
    biases = 1 / len(shares) - weights @ centre

    spread = solve_triangular(factor[0], centred.T, trans="T")  # half of what cho_solve does, and enough for h
    leverage = np.square(spread).sum(0) + weight / len(targets)
    residuals = indicators - shares - (features - centre) @ weights.T
    level = indicators - shares + 1 / len(shares)
    return Linear(weights, biases, level - residuals / np.maximum(1 - leverage, 1e-9)[:, None])


def _centroid(features: Floats, targets: Targets) -> Linear:
    """The nearest class mean c: -|x - c|^2, less its part that all classes share."""
    centroids, counts = class_means(features, targets), np.bincount(targets)
    biases = -np.square(centroids).sum(1)
    held_out = 2 * features @ centroids.T + biases
    # Without x, the mean of its class moves away from it: x - c grows by n / (n - 1).
    away = np.square(features - centroids[targets]).sum(1) * (counts / np.maximum(counts - 1, 1))[targets] ** 2
    held_out[np.arange(len(targets)), targets] = np.square(features).sum(1) - away
    return Linear(2 * centroids, biases, held_out)


def _logistic(features: Floats, targets: Targets, strength: float) -> Linear:
    model = LogisticRegression(C=strength, class_weight="balanced", tol=0.01 / len(features))
    return _sklearn(model, features, targets)


def _paper(features: Floats, targets: Targets, random_state: int | np.random.RandomState | None) -> Linear:
    """As the authors ran it: one class against the rest, by SGD."""
    rate: dict[str, Any] = {"learning_rate": "adaptive", "eta0": 0.1, "max_iter": 20}
    model = SGDClassifier(loss="log_loss", penalty=None, random_state=random_state, **rate)
    return _sklearn(model, features, targets)


def _sklearn(model: Any, features: Floats, targets: Targets) -> Linear:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of passes is part of the method
        warnings.filterwarnings("ignore", MANY_CLASSES)
        model.fit(features, targets)
    weights, biases = model.coef_, model.intercept_
    if len(weights) == 1:  # scikit-learn keeps one score for two classes
        weights, biases = np.vstack([-weights, weights]) / 2, np.hstack([-biases, biases]) / 2
    return Linear(weights, biases)


def shares(weights: Floats, heads: dict[str, Floats]) -> dict[str, float]:
    """Share of the sum of |weights| [C, d] on each of the heads [n, width], which have the d features one after the other."""
    parts = np.split(np.abs(weights).sum(0), np.cumsum([head.shape[1] for head in heads.values()])[:-1])
    total = sum(part.sum() for part in parts) or np.inf
    return {head: float(part.sum() / total) for head, part in zip(heads, parts, strict=True)}


def class_means(features: Floats, targets: Targets) -> Floats:
    """[n, d] and class numbers [n] -> [C, d]."""
    return class_sums(features, targets) / np.bincount(targets)[:, None]


def class_sums(features: Floats, targets: Targets) -> Floats:
    """[n, d] and class numbers [n], each of which occurs -> [C, d]."""
    order = np.argsort(targets, kind="stable")
    starts = np.searchsorted(targets[order], np.arange(targets.max() + 1))
    return np.asarray(np.add.reduceat(features[order], starts, axis=0))
