"""Linear classifiers for few examples: features and class numbers in, weights and biases out. Array mathematics only.

Letters: n examples, d features, C classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, solve_triangular
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from mtslvr.fewshot.evidence import Evidence
from mtslvr.fewshot.evidence import Floats as Floats
from mtslvr.fewshot.evidence import Numbers as Numbers
from mtslvr.fewshot.labels import MANY_CLASSES

MAX_STRENGTH = 1e12  # and its inverse the least
METHODS = ("ridge", "logistic", "centroid")
ROUNDING = 1e-9  # keeps the systems of left-out examples solvable where the penalty is tiny


class Linear(NamedTuple):
    """scores = features @ weights.T + biases.

    `without` gives the scores [k, C] of k of the examples by the classifier that is fitted without them, for classes that
    the others have; of classes that they do not have it may give anything. It equals fitting again, by a closed form but for
    "logistic".
    """

    weights: Floats  # [C, d]
    biases: Floats  # [C]
    without: Callable[[Numbers], Floats]


def check(method: str, strength: float) -> None:
    """Refuse a method that is not one of METHODS, and a strength beyond what float64 can solve, with ValueError."""
    if method not in METHODS:
        raise ValueError(f"method={method!r}: expected one of {', '.join(METHODS)}")
    if not 1 / MAX_STRENGTH <= strength <= MAX_STRENGTH:
        raise ValueError(f"C={strength!r}: expected a number above 0, such as 10, and at most {MAX_STRENGTH:g}")


def unit_heads(vectors: NDArray[np.floating], widths: Sequence[int]) -> Floats:
    """Each head of each vector [n, d], heads of these widths side by side, brought to unit length: float64 [n, d].

    A sound's features thus depend on no other sound; neither mean nor scale is taken from the support set, which at one shot is
    better (docs/fewshot.md).
    """
    heads = np.split(vectors.astype(np.float64), np.cumsum(widths)[:-1], axis=1)
    norms = [np.linalg.norm(head, axis=1, keepdims=True) for head in heads]
    return np.hstack([head / np.where(norm > 0, norm, 1.0) for head, norm in zip(heads, norms, strict=True)])


def fit(method: str, features: Floats, targets: Numbers, strength: float) -> Linear:
    """Fit one of METHODS.

    Args:
        features: [n, d].
        targets: class numbers [n]; each of 0..C-1 occurs, and C > 1.
        strength: the inverse of the L2 penalty of "ridge" and "logistic"; > 0.
    """
    if method == "centroid":
        return _centroid(features, targets)
    # The best weights lie in the span of the examples: with few of them, far smaller than the features' space.
    basis = np.linalg.qr(features.T)[0] if len(features) < features.shape[1] else None  # [d, n]
    reduced = features if basis is None else features @ basis
    found = (_ridge if method == "ridge" else _logistic)(reduced, targets, strength)
    return found if basis is None else found._replace(weights=found.weights @ basis.T)


def leave_out(linear: Linear, targets: Numbers, groups: NDArray[np.int64]) -> Floats:
    """Scores of each example by the classifier fitted without it and all of its group: [n, C].

    A class that the others lack has the score -inf. An example whose own class they lack, or have alone, cannot be judged: its
    row is NaN.

    Args:
        groups: a number for each example, [n]; examples of one number are left out together.
    """
    counts = np.bincount(targets)
    scores = np.full((len(targets), len(counts)), np.nan)
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    for clips in tqdm(members, "leave-one-out", unit="group", delay=2, disable=None, leave=False):
        known = counts - np.bincount(targets[clips], minlength=len(counts)) > 0
        judged = known[targets[clips]]
        if judged.any() and known.sum() > 1:
            scores[clips[judged]] = np.where(known, linear.without(clips)[judged], -np.inf)
    return scores


def _ridge(features: Floats, targets: Numbers, strength: float) -> Linear:
    """Least squares to indicators of the classes, plus |weights|^2 / strength, with classes of unequal size on a level.

    In the fit every clip weighs the same. Its intercept, the shares of the classes, would prefer a large class; scores instead are
    0 at the mean of the class means, and each class's are divided by its size, both weighed by what its clips tell of it (see
    `evidence`). With equal classes nothing of that changes a decision.

    Without the clips G the residuals of G are (I - H_GG)^-1 (y - f)_G, f = H y being the fit: exact, as the penalty and the features
    do not depend on the support set. The fit anywhere else changes by -H_.G times them.
    """
    n, counts, evidence = len(targets), np.bincount(targets), Evidence(features, targets)
    indicators = np.eye(len(counts))[targets]
    centre = features.mean(0)
    centred = features - centre
    gram = centred.T @ centred
    gram.flat[:: len(gram) + 1] += 1 / strength
    factor = cho_factor(gram)[0]
    spread = solve_triangular(factor, centred.T, trans="T")  # hat matrix H = spread.T @ spread + 1 / n
    sums = class_sums(spread.T, targets)  # [C, d]
    fitted = spread.T @ sums.T  # without the intercept, counts / n
    residuals = indicators - counts / n - fitted
    worth = evidence.of_all / counts  # of a clip, by class
    products = sums @ sums.T
    middle = worth @ products

    def without(clips: Numbers) -> Floats:
        own, block = indicators[clips], spread[:, clips].T @ spread[:, clips]
        change = np.linalg.solve((1 + ROUNDING) * np.eye(len(clips)) - block - 1 / n, residuals[clips])
        told, numbers = evidence.without(clips), np.unique(targets[clips])
        left = told / np.maximum(counts - own.sum(0), 1)  # worth of a clip of the others
        # The fit at the others' middle: that of all clips, times `total`, and then what changes without these.
        at_middle = middle + (left - worth)[numbers] @ products[numbers] - (own @ left) @ fitted[clips]
        hat = fitted[clips] @ left - block @ (own @ left)
        total = told.sum()
        at_middle = counts / n + at_middle / total - (hat / total + 1 / n) @ change
        return np.asarray((own - change - at_middle) * left * (n - len(clips)) / total)

    scale = worth * n / evidence.of_all.sum()  # 1 where classes are equal
    weights = scale[:, None] * solve_triangular(factor, sums.T).T
    return Linear(weights, -weights @ (scale @ class_sums(features, targets) / n), without)


def _centroid(features: Floats, targets: Numbers) -> Linear:
    """The nearest class mean c: -|x - c|^2, less its part that all classes share."""
    sums, counts = class_sums(features, targets), np.bincount(targets)
    means = sums / counts[:, None]
    biases = -np.square(means).sum(1)

    def without(clips: Numbers) -> Floats:
        scores = 2 * features[clips] @ means.T + biases
        for number in np.unique(targets[clips]):
            own = clips[targets[clips] == number]
            mean = (sums[number] - features[own].sum(0)) / max(counts[number] - len(own), 1)
            scores[:, number] = 2 * features[clips] @ mean - mean @ mean
        return np.asarray(scores)

    return Linear(2 * means, biases, without)


def _logistic(features: Floats, targets: Numbers, strength: float) -> Linear:
    model = LogisticRegression(C=strength, class_weight="balanced", tol=1e-4 / len(features))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", MANY_CLASSES)
        model.fit(features, targets)
    weights, biases = model.coef_, model.intercept_
    if len(weights) == 1:  # scikit-learn keeps one score for two classes
        weights, biases = np.vstack([-weights, weights]) / 2, np.hstack([-biases, biases]) / 2

    def without(clips: Numbers) -> Floats:
        others = np.setdiff1d(np.arange(len(targets)), clips)
        known, numbers = np.unique(targets[others], return_inverse=True)
        again = _logistic(features[others], numbers, strength)
        scores = np.full((len(clips), targets.max() + 1), -np.inf)
        scores[:, known] = features[clips] @ again.weights.T + again.biases
        return scores

    return Linear(weights, biases, without)


def class_means(features: Floats, targets: Numbers) -> Floats:
    """[n, d] and class numbers [n] -> [C, d]."""
    return class_sums(features, targets) / np.bincount(targets)[:, None]


def class_sums(features: Floats, targets: Numbers) -> Floats:
    """[n, d] and class numbers [n], each of which occurs -> [C, d]."""
    order = np.argsort(targets, kind="stable")
    starts = np.searchsorted(targets[order], np.arange(targets.max() + 1))
    return np.asarray(np.add.reduceat(features[order], starts, axis=0))
