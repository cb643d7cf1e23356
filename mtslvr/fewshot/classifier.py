"""The few-shot classifier: a scikit-learn estimator. Clips or their embeddings in, labels out.

It learns a linear combination of the two heads' features. `head_weights_` is a row of the paper's table 6; what it does and
does not tell is in docs/invariance.md.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from mtslvr.fewshot import inputs, labels, linear, novelty
from mtslvr.fewshot.linear import Floats

if TYPE_CHECKING:
    from mtslvr.encoder.model import MTSLVR
    from mtslvr.fewshot.report import Report


def fit_fewshot(support: Any, labels: ArrayLike, *, model: Any = None, **options: Any) -> FewShotClassifier:
    """Learn to name sounds from a few examples.

    Args:
        support: clips, a list of anything that `MTSLVR.embed` takes; or their embeddings, numeric [n, D].
        labels: one for each.
        model: the encoder: an MTSLVR, or the name of its folder or Hub repository; the default weights if not given.
        options: space, method and others, of `FewShotClassifier`.

    Raises:
        ValueError, TypeError: as `FewShotClassifier.fit`, and for a name as `MTSLVR.from_pretrained`.
    """
    return FewShotClassifier(model=inputs.named(model), **options).fit(support, labels)


class FewShotClassifier(ClassifierMixin, BaseEstimator):
    """Linear classifier of sounds by their embeddings, from one example a class on.

    Wherever it takes X: a numeric 2-d array, tensor or data frame is embeddings, a row each; a list of anything that
    `MTSLVR.embed` takes (paths, `(array, rate)`, ...) is clips, which `embedder()` embeds first.

    Every method ends in `scores = features @ coef_.T + intercept_`, the features being the chosen head's columns, centred on
    the support set and divided by their root mean square norm. That is one number per head, so that both heads count
    alike and a single shot, which knows no deviation within its class, is enough.

    Args:
        space: columns used; "combined" takes both heads, "invariant" or "variant" one of them.
        method: "ridge", least squares to the classes' indicators with an L2 penalty, solved in closed form; "logistic",
            multinomial logistic regression with the same; "centroid", the nearest class mean; "paper", as the authors ran
            it: one-vs-rest logistic regression on raw features by SGD, unregularised, adaptive rate from 0.1, at most 20
            passes.
        n_invariant: columns of the invariant head, which come first; None asks the model, and without one takes half of
            them. 0, or an odd number of columns, means an embedding of one head, which knows "combined" only.
        C: inverse strength of the penalty of "ridge" and "logistic"; > 0.
        model: the MTSLVR that embeds clips, and that made the embeddings, if those are given; None takes the package's
            default weights when there are clips, and knows nothing of where embeddings came from.
        random_state: order of the examples in "paper"; the other methods are deterministic.

    Attributes:
        classes_: labels, sorted, of the type that came in, [n_classes].
        coef_, intercept_: float64 [n_classes, n_columns], [n_classes].
        head_weights_: share of `sum |coef_|` on each head, {"invariant": .41, "variant": .59}; {"combined": 1.0} for one head.
        temperature_: divisor of the scores in `predict_proba`, fitted to leave-one-out scores ("ridge" and "centroid").
        support_, targets_: the support set: features, float64 [n, n_columns], and class numbers [n].
        unit_, threshold_: of `novelty`: a distance between features; what reject="auto" rejects above, in that unit.
        n_features_in_, n_invariant_: D, the width of the embeddings; the columns of the invariant head.
        encoder_: fingerprint of the encoder whose embeddings were learned; None for embeddings that came without a model.
    """

    def __init__(
        self,
        space: str = "combined",
        method: str = "ridge",
        n_invariant: int | None = None,
        C: float = 10.0,
        model: MTSLVR | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.space = space
        self.method = method
        self.n_invariant = n_invariant
        self.C = C
        self.model = model
        self.random_state = random_state

    def fit(self, X: Any, y: ArrayLike) -> FewShotClassifier:
        """Learn from a support set.

        Args:
            X: n clips, or embeddings [n, D].
            y: a label for each, of two classes at least; all of one type that sorts: strings, integers, tuples...

        Raises:
            ValueError: a clip that is no usable sound (the message says which); NaN; embeddings of another width than the
                model's; another number of labels than examples; fewer than two classes; an unknown space or method.
            TypeError: labels of several types; what is neither a clip nor embeddings.
        """
        inputs.check_space(self.space)
        linear.check(self.method, self.C)
        clips = inputs.clips_in(X)
        classes, targets = labels.numbered(y, _num_samples(X if clips is None else clips))
        model = None if clips is None and self.model is None else inputs.encoder(self.model)
        given = inputs.embeddings(X, clips, model)
        embeddings = validate_data(self, given, dtype=[np.float64, np.float32])
        self.n_invariant_ = inputs.invariant_width(embeddings.shape[1], model, self.n_invariant)
        heads = inputs.heads(self.space, embeddings.shape[1], self.n_invariant_)
        self.encoder_ = None if model is None else model.fingerprint

        self.classes_ = classes
        chosen = {head: embeddings[:, columns].astype(np.float64) for head, columns in heads.items()}
        self.mean_, self.scale_ = linear.scaling(list(chosen.values()), raw=self.method == "paper")
        features = (np.hstack(list(chosen.values())) - self.mean_) / self.scale_
        self.coef_, self.intercept_, held_out = linear.fit(self.method, features, targets, self.C, self.random_state)
        self.temperature_ = linear.temperature(self.method, held_out, targets)
        self.support_, self.targets_ = features, targets
        self._left_out: Floats | None = None
        self.unit_, self.threshold_ = novelty.measure(features, targets)
        self.head_weights_ = linear.shares(self.coef_, chosen)
        return self

    def predict(self, X: Any, *, reject: str | float | None = None, unknown_label: Any = "unknown") -> NDArray[Any]:
        """Label of each clip, or embedding [n, D]: [n], of the type that came in.

        Args:
            reject: what is more novel than this gets `unknown_label`: a threshold for `novelty`, or "auto" for the one at which
                the support set's classes, left out one at a time, are accepted as often as its clips are rejected.

        Returns:
            An array of the labels' type; of objects where `reject` is given.

        Raises:
            ValueError: as `embedder`, for clips; NaN, or another width than that of the support set; reject is something else.
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        check_is_fitted(self)
        threshold = novelty.threshold(reject, self.threshold_)  # before clips are embedded
        features = self._features(X)
        named = self.classes_[self._scores(features).argmax(1)]
        if reject is None:
            return np.asarray(named)
        answers = named.astype(object)
        answers[novelty.nearest(features, self.support_) > threshold * self.unit_] = unknown_label
        return np.asarray(answers)

    def predict_proba(self, X: Any) -> Floats:
        """Probability of each class, in the order of `classes_`, for clips or embeddings [n, D]: float64 [n, n_classes].

        Rows sum to 1. They take for granted that the sound is of one of the classes; `novelty` doubts that.

        Raises:
            ValueError, NotFittedError: as `predict`.
        """
        return linear.softmax(self._scores(self._features(X)), self.temperature_)

    def novelty(self, X: Any) -> Floats:
        """How far each clip, or embedding [n, D], lies from all that is known: float64 [n], 0 on a support clip.

        The unit is the median distance from the support clips to the nearest clip of another class: 1 is as new as a
        sound of another class.

        Raises:
            ValueError, NotFittedError: as `predict`.
        """
        return np.asarray(novelty.nearest(self._features(X), self.support_) / self.unit_)

    def embedder(self) -> MTSLVR:
        """The encoder of the clips to be named: `model`, or the default weights, if they are what was learned with.

        Of embeddings that came without a model only the width is known, and must fit.

        Raises:
            ValueError: it is not the encoder whose embeddings were learned.
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        check_is_fitted(self)
        model = inputs.encoder(self.model)
        inputs.check_encoder(model, self.encoder_, self.n_features_in_)
        return model

    def report(self, names: Sequence[str] | None = None) -> Report:
        """What the support set tells about the classifier, left out clip by clip, and what to do about it; print it.

        "logistic" and "paper" are fitted again without each clip, once: that takes a while for hundreds of clips.

        Args:
            names: what to call each clip of the support set, such as its path; else "clip 0", "clip 1", ...

        Raises:
            ValueError: another number of names than clips.
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        from mtslvr.fewshot.report import Report

        check_is_fitted(self)
        scores: Floats | None = getattr(self, "_left_out", None)
        if scores is None:
            scores = linear.leave_one_out(self.method, self.support_, self.targets_, self.C, self.random_state)
            self._left_out = scores  # without a closed form it took a fit for each clip
        probabilities = linear.softmax(scores, self.temperature_)
        return Report.of(self.classes_.tolist(), self.targets_, probabilities, self.support_, names)

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors and README.md into a folder. Labels: str, int, float or bool.

        The encoder is not written, but for its fingerprint.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
            TypeError: labels of another type.
        """
        from mtslvr.fewshot import saved

        check_is_fitted(self)
        saved.save(self, save_directory)

    def push_to_hub(self, repo_id: str, *, commit_message: str = "Upload classifier", **upload: Any) -> str:
        """Upload to the Hugging Face Hub; returns the commit. See save_pretrained, and `hub.push` for token and others."""
        from mtslvr.fewshot import saved

        check_is_fitted(self)
        return saved.push(self, repo_id, commit_message=commit_message, **upload)

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | os.PathLike[str], *, model: Any = None, **download: Any
    ) -> FewShotClassifier:
        """Load a classifier from a folder, or a repository on the Hugging Face Hub.

        Args:
            model: its encoder, as for `fit_fewshot`; None takes the default weights, once there are clips, if they are it.
            download: see `hub.resolve`; of the classifier.

        Raises:
            ValueError: not a classifier's folder, damaged, or fitted with another model than the one given.
        """
        from mtslvr.fewshot import saved

        return saved.load(cls, name_or_path, inputs.named(model), **download)

    def _features(self, X: Any) -> Floats:
        """The chosen columns, centred and scaled: float64 [n, n_columns]."""
        check_is_fitted(self)
        clips = inputs.clips_in(X)
        given = inputs.embeddings(X, clips, None if clips is None else self.embedder())
        embeddings = validate_data(self, given, dtype=[np.float64, np.float32], reset=False)
        heads = inputs.heads(self.space, self.n_features_in_, self.n_invariant_)
        chosen = np.hstack([embeddings[:, columns] for columns in heads.values()])
        return np.asarray((chosen - self.mean_) / self.scale_)

    def _scores(self, features: Floats) -> Floats:
        return np.asarray(features @ self.coef_.T + self.intercept_)
