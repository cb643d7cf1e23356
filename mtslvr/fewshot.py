"""The few-shot classifier: a scikit-learn estimator on embeddings. Arrays in, labels out; no sound and no encoder.

It learns a linear combination of the two heads' features, and with it how much invariance a task wants: `head_weights_`
is a row of the paper's table 6.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

SPACES = ("combined", "invariant", "variant")
METHODS = ("logistic", "centroid", "paper")
MAX_ITER = 100  # steps of L-BFGS; few-shot problems take 10 to 30


class FewShotClassifier(ClassifierMixin, BaseEstimator):
    """Linear classifier of embeddings, from one example a class on.

    Every method ends in scores = features @ coef_.T + intercept_, the features being the chosen head's columns, centred on
    the support set and divided by their root mean square norm. That is one number per head, so that both heads count
    alike and a single shot, which knows no deviation within its class, is enough.

    Args:
        space: columns used; "combined" takes both heads, "invariant" or "variant" one of them.
        method: "logistic", multinomial logistic regression with an L2 penalty; "centroid", the nearest class mean; "paper",
            as the authors ran it: one-vs-rest logistic regression on raw features by SGD, unregularised, adaptive rate
            from 0.1, at most 20 passes.
        n_invariant: columns of the invariant head, which come first; None means half of them. 0, or an odd number of
            columns and None, means an embedding of one head, which knows "combined" only.
        C: inverse strength of the penalty of "logistic"; > 0.
        random_state: order of the samples in "paper"; the other methods are deterministic.

    Attributes:
        classes_: labels, sorted, of the type that came in, [n_classes].
        coef_, intercept_: float64 [n_classes, n_columns], [n_classes].
        head_weights_: share of sum |coef_| on each head, {"invariant": .41, "variant": .59}; {"combined": 1.0} for one head.
        n_features_in_: D, the width of the embeddings.
    """

    def __init__(
        self,
        space: str = "combined",
        method: str = "logistic",
        n_invariant: int | None = None,
        C: float = 10.0,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.space = space
        self.method = method
        self.n_invariant = n_invariant
        self.C = C
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> FewShotClassifier:
        """Learn from a support set.

        Args:
            X: embeddings, float [n, D].
            y: a label for each; all of one type that sorts: strings, integers, tuples... At least two classes.

        Raises:
            ValueError: NaN, another number of labels than embeddings, fewer than two classes, an unknown space or method.
            TypeError: labels of several types.
        """
        embeddings = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=1)
        labels = _check_labels(y)
        check_consistent_length(embeddings, labels)
        heads = self._heads()
        self.classes_, targets = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds one class only ({self.classes_[0]!r}): give examples of at least two classes to tell apart"
            )

        chosen = [embeddings[:, columns].astype(np.float64) for columns in heads.values()]
        self.mean_, self.scale_ = _scaling(chosen, raw=self.method == "paper")
        features = (np.hstack(chosen) - self.mean_) / self.scale_
        self.coef_, self.intercept_ = self._fit_linear(features, targets)

        mass = np.split(np.abs(self.coef_).sum(0), np.cumsum([part.shape[1] for part in chosen])[:-1])
        total = sum(part.sum() for part in mass)
        self.head_weights_ = {
            head: float(part.sum() / total) if total > 0 else 1 / len(heads)
            for head, part in zip(heads, mass, strict=True)
        }
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Label of each embedding: float [n, D] -> [n], of the type that came in.

        Raises:
            ValueError: NaN, or another width than that of the support set.
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        best = self._scores(X).argmax(1)
        return self.classes_[best]

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probability of each class, in the order of `classes_`: float [n, D] -> float64 [n, n_classes]; rows sum to 1.

        Raises:
            As predict.
        """
        scores = self._scores(X)
        unnormalised = np.exp(scores - scores.max(1, keepdims=True))
        return unnormalised / unnormalised.sum(1, keepdims=True)

    def _scores(self, X: ArrayLike) -> NDArray[np.float64]:
        """Score of each class: float [n, D] -> float64 [n, n_classes]."""
        check_is_fitted(self)
        embeddings = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        chosen = np.hstack([embeddings[:, columns] for columns in self._heads().values()])
        return (chosen - self.mean_) / self.scale_ @ self.coef_.T + self.intercept_

    def _heads(self) -> dict[str, slice]:
        """Columns of each head that is used."""
        width, n_invariant = self.n_features_in_, self.n_invariant
        if self.space not in SPACES:
            raise ValueError(f"space={self.space!r}: expected one of {', '.join(SPACES)}")
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r}: expected one of {', '.join(METHODS)}")
        if n_invariant is None:
            n_invariant = 0 if width % 2 else width // 2
        if not 0 <= n_invariant <= width:
            raise ValueError(f"n_invariant={n_invariant}: expected 0 to {width}, the width of the embeddings")
        if n_invariant in (0, width):
            if self.space != "combined":
                raise ValueError(
                    f"space={self.space!r} needs embeddings of two heads, and these have {width} columns of one: "
                    "use space='combined', or say with n_invariant how many columns are the invariant head's"
                )
            return {"combined": slice(0, width)}
        heads = {"invariant": slice(0, n_invariant), "variant": slice(n_invariant, width)}
        return heads if self.space == "combined" else {self.space: heads[self.space]}

    def _fit_linear(
        self, features: NDArray[np.float64], targets: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights [n_classes, n_columns] and biases [n_classes] from features [n, n_columns] and class numbers [n]."""
        if self.method == "centroid":
            members = np.eye(len(self.classes_))[targets]  # [n, n_classes]
            centroids = members.T @ features / members.sum(0)[:, None]
            # -|x - c|^2 less its part that all classes share
            return 2 * centroids, -np.square(centroids).sum(1)

        model: Any
        if self.method == "logistic":
            # The best weights lie in the span of the support set: with few shots that is far smaller than the features.
            basis = np.linalg.qr(features.T)[0] if len(features) < features.shape[1] else None  # [n_columns, n]
            model = LogisticRegression(C=self.C, max_iter=MAX_ITER, tol=0.01 / len(features))
            features = features if basis is None else features @ basis
        else:
            basis = None
            model = SGDClassifier(
                loss="log_loss",
                penalty=None,
                learning_rate="adaptive",
                eta0=0.1,
                max_iter=20,
                random_state=self.random_state,
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the number of passes is part of the method
            model.fit(features, targets)
        weights, biases = model.coef_, model.intercept_
        if basis is not None:
            weights = weights @ basis.T
        if len(weights) == 1:  # scikit-learn keeps one score for two classes
            weights, biases = np.vstack([-weights, weights]) / 2, np.hstack([-biases, biases]) / 2
        return weights, biases


def _check_labels(y: Any) -> NDArray[Any]:
    """Labels as a one-dimensional array, of one type.

    Raises:
        ValueError: none, NaN, more than one dimension, or continuous values.
        TypeError: labels of several types, or of one that does not sort.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None: give a label for each embedding")
    if isinstance(y, (list, tuple)) or getattr(y, "dtype", None) == object:
        kinds = {type(label.item() if isinstance(label, np.generic) else label) for label in y}
        if len(kinds) > 1:
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise TypeError(f"y mixes labels of several types ({names}): give labels of one type")
        if kinds == {tuple}:
            labels = np.empty(len(y), dtype=object)
            labels[:] = list(y)
            return labels
    labels = column_or_1d(y, warn=True)
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    return labels


def _scaling(heads: list[NDArray[np.float64]], *, raw: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and scale of each column: the support set's mean, and the root mean square norm of its head, sqrt(E |x|^2)."""
    if raw:
        width = sum(head.shape[1] for head in heads)
        return np.zeros(width), np.ones(width)
    means = [head.mean(0) for head in heads]
    norms = [np.sqrt(np.square(head - mean).sum(1).mean()) for head, mean in zip(heads, means, strict=True)]
    scales = [np.full(head.shape[1], norm or 1.0) for head, norm in zip(heads, norms, strict=True)]
    return np.hstack(means), np.hstack(scales)
