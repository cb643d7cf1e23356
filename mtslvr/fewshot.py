"""The few-shot classifier: a scikit-learn estimator on embeddings. Arrays in, labels out; no sound and no encoder.

It learns a linear combination of the two heads' features, and with it how much invariance a task wants: `head_weights_`
is a row of the paper's table 6.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from mtslvr import labels, linear, novelty
from mtslvr.linear import METHODS, Floats

if TYPE_CHECKING:
    from mtslvr.report import Report

SPACES = ("combined", "invariant", "variant")


class FewShotClassifier(ClassifierMixin, BaseEstimator):
    """Linear classifier of embeddings, from one example a class on.

    Every method ends in scores = features @ coef_.T + intercept_, the features being the chosen head's columns, centred on
    the support set and divided by their root mean square norm. That is one number per head, so that both heads count
    alike and a single shot, which knows no deviation within its class, is enough.

    Args:
        space: columns used; "combined" takes both heads, "invariant" or "variant" one of them.
        method: "ridge", least squares to the classes' indicators with an L2 penalty, solved in closed form; "logistic",
            multinomial logistic regression with the same; "centroid", the nearest class mean; "paper", as the authors ran
            it: one-vs-rest logistic regression on raw features by SGD, unregularised, adaptive rate from 0.1, at most 20
            passes.
        n_invariant: columns of the invariant head, which come first; None means half of them. 0, or an odd number of
            columns and None, means an embedding of one head, which knows "combined" only.
        C: inverse strength of the penalty of "ridge" and "logistic"; > 0.
        encoder: fingerprint of the model that made the embeddings, to be kept with the classifier.
        random_state: order of the examples in "paper"; the other methods are deterministic.

    Attributes:
        classes_: labels, sorted, of the type that came in, [n_classes].
        coef_, intercept_: float64 [n_classes, n_columns], [n_classes].
        head_weights_: share of sum |coef_| on each head, {"invariant": .41, "variant": .59}; {"combined": 1.0} for one head.
        temperature_: divisor of the scores in `predict_proba`, fitted to leave-one-out scores ("ridge" and "centroid").
        support_, targets_: the support set: features, float64 [n, n_columns], and class numbers [n].
        unit_, threshold_: of `novelty`: a distance between features; what reject="auto" rejects above, in that unit.
        n_features_in_: D, the width of the embeddings.
    """

    def __init__(
        self,
        space: str = "combined",
        method: str = "ridge",
        n_invariant: int | None = None,
        C: float = 10.0,
        encoder: str | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.space = space
        self.method = method
        self.n_invariant = n_invariant
        self.C = C
        self.encoder = encoder
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
        embeddings = validate_data(self, X, dtype=[np.float64, np.float32])
        checked = labels.check(y)
        check_consistent_length(embeddings, checked)
        heads = self._heads()
        self.classes_, targets = np.unique(checked, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds one class only ({self.classes_[0]!r}): give examples of at least two classes to tell apart"
            )

        chosen = [embeddings[:, columns].astype(np.float64) for columns in heads.values()]
        self.mean_, self.scale_ = linear.scaling(chosen, raw=self.method == "paper")
        features = (np.hstack(chosen) - self.mean_) / self.scale_
        self.coef_, self.intercept_, held_out = linear.fit(self.method, features, targets, self.C, self.random_state)
        self.temperature_ = linear.temperature(self.method, held_out, targets)
        self.support_, self.targets_ = features, targets
        self.unit_, self.threshold_ = novelty.measure(features, targets)

        mass = np.split(np.abs(self.coef_).sum(0), np.cumsum([part.shape[1] for part in chosen])[:-1])
        total = sum(part.sum() for part in mass) or np.inf
        self.head_weights_ = {head: float(part.sum() / total) for head, part in zip(heads, mass, strict=True)}
        return self

    def predict(
        self, X: ArrayLike, *, reject: str | float | None = None, unknown_label: Any = "unknown"
    ) -> NDArray[Any]:
        """Label of each embedding: float [n, D] -> [n], of the type that came in.

        Args:
            reject: what is more novel than this gets `unknown_label`: a threshold for `novelty`, or "auto" for the one at which
                the support set's classes, left out one at a time, are accepted as often as its clips are rejected.

        Returns:
            An array of the labels' type; of objects where `reject` is given.

        Raises:
            ValueError: NaN, or another width than that of the support set; reject is something else.
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        features = self._features(X)
        named = self.classes_[self._scores(features).argmax(1)]
        if reject is None:
            return np.asarray(named)
        if reject != "auto" and (isinstance(reject, (str, bool)) or not reject > 0):
            raise ValueError(
                f"reject={reject!r}: expected None, 'auto' or a number above 0, such as {self.threshold_:.2f}"
            )
        threshold = self.threshold_ if reject == "auto" else float(reject)
        answers = named.astype(object)
        answers[novelty.nearest(features, self.support_) > threshold * self.unit_] = unknown_label
        return np.asarray(answers)

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Probability of each class, in the order of `classes_`: float [n, D] -> float64 [n, n_classes]; rows sum to 1.

        They take for granted that the sound is of one of the classes; `novelty` doubts that.

        Raises:
            As predict.
        """
        return linear.softmax(self._scores(self._features(X)), self.temperature_)

    def novelty(self, X: ArrayLike) -> Floats:
        """How far each embedding lies from all that is known: float [n, D] -> float64 [n], 0 on a support clip.

        The unit is the median distance from the support clips to the nearest clip of another class: 1 is as new as a
        sound of another class.

        Raises:
            As predict.
        """
        return np.asarray(novelty.nearest(self._features(X), self.support_) / self.unit_)

    def report(self) -> Report:
        """What the support set tells about the classifier: leave-one-out accuracy and what to do about it; print it.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        from mtslvr.report import Report

        check_is_fitted(self)
        scores = linear.leave_one_out(self.method, self.support_, self.targets_, self.C, self.random_state)
        probabilities = linear.softmax(scores, self.temperature_)
        return Report.of(self.classes_.tolist(), self.targets_, probabilities, self.support_)

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors and README.md into a folder. Labels: str, int, float or bool.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
            TypeError: labels of another type.
        """
        from mtslvr import fewshot_folder

        check_is_fitted(self)
        fewshot_folder.save(self, save_directory)

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | os.PathLike[str], *, encoder: str | None = None, **download: Any
    ) -> FewShotClassifier:
        """Load a classifier from a folder, or a repository on the Hugging Face Hub.

        Args:
            encoder: fingerprint of the model whose embeddings will be classified; a classifier of another's is refused.
            download: see `hub.resolve`.

        Raises:
            ValueError: not a classifier's folder, damaged, or made with another encoder.
        """
        from mtslvr import fewshot_folder

        return fewshot_folder.load(cls, name_or_path, encoder=encoder, **download)

    def _features(self, X: ArrayLike) -> Floats:
        """The chosen columns, centred and scaled: float [n, D] -> float64 [n, n_columns]."""
        check_is_fitted(self)
        embeddings = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        chosen = np.hstack([embeddings[:, columns] for columns in self._heads().values()])
        return np.asarray((chosen - self.mean_) / self.scale_)

    def _scores(self, features: Floats) -> Floats:
        return np.asarray(features @ self.coef_.T + self.intercept_)

    def _heads(self) -> dict[str, slice]:
        """Columns of each head that is used."""
        width, n_invariant = self.n_features_in_, self.n_invariant
        for name, value, known in (("space", self.space, SPACES), ("method", self.method, METHODS)):
            if value not in known:
                raise ValueError(f"{name}={value!r}: expected one of {', '.join(known)}")
        if not 0 < self.C < np.inf:
            raise ValueError(f"C={self.C!r}: expected a number above 0, such as 10")
        if n_invariant is None:
            n_invariant = 0 if width % 2 else width // 2
        if not isinstance(n_invariant, (int, np.integer)) or not 0 <= n_invariant <= width:
            raise ValueError(f"n_invariant={n_invariant!r}: expected 0 to {width}, the width of the embeddings")
        if n_invariant in (0, width):
            if self.space != "combined":
                raise ValueError(
                    f"space={self.space!r} needs embeddings of two heads, and these have {width} columns of one: "
                    "use space='combined', or say with n_invariant how many columns are the invariant head's"
                )
            return {"combined": slice(0, width)}
        heads = {"invariant": slice(0, n_invariant), "variant": slice(n_invariant, width)}
        return heads if self.space == "combined" else {self.space: heads[self.space]}
