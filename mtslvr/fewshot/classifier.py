"""The few-shot classifier: a scikit-learn estimator. Clips or their embeddings in, labels out."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from mtslvr.encoder.spaces import NAMES, Spaces
from mtslvr.fewshot import inputs, labels, linear, novelty
from mtslvr.fewshot.fitted import Fitted
from mtslvr.fewshot.learned import Learned
from mtslvr.fewshot.linear import Floats, Numbers
from mtslvr.sound.clips import ClipsLike

if TYPE_CHECKING:
    from mtslvr.encoder.model import MTSLVR

FLOATS = [np.float64, np.float32]


def fit_fewshot(
    support: ClipsLike | ArrayLike,
    labels: ArrayLike,
    *,
    groups: Sequence[Hashable] | NDArray[Any] | None = None,
    model: MTSLVR | str | os.PathLike[str] | None = None,
    space: str = "combined",
    method: str = "ridge",
    n_invariant: int | None = None,
    C: float = 10.0,
    random_state: int | np.random.RandomState | None = 0,
) -> FewShotClassifier:
    """Learn to name sounds from a few examples.

    Args:
        support: clips, a list of anything that `MTSLVR.embed` takes; or their embeddings, numeric [n, D].
        labels: one for each.
        groups: the recording, speaker or the like of each, where several are from one; see `FewShotClassifier.fit`.
        model: the encoder: an MTSLVR, or the name of its folder or Hub repository; the default weights if not given.
        space, method, n_invariant, C, random_state: see `FewShotClassifier`.

    Raises:
        ValueError, TypeError: as `FewShotClassifier.fit`, and for a name as `MTSLVR.from_pretrained`.

    Examples:
        >>> clips = ["dog1.wav", "dog2.wav", "rain1.wav", "rain2.wav"]
        >>> classifier = fit_fewshot(clips, ["dog", "dog", "rain", "rain"])
        >>> classifier.predict(["what_is_this.wav"]).tolist()
        ['dog']
        >>> classifier.predict_proba(["x.wav", "y.wav"]).shape
        (2, 2)
        >>> report = classifier.report(names=clips)  # print it
        >>> classifier.save_pretrained("my-sounds")
    """
    classifier = FewShotClassifier(space, method, n_invariant, C, inputs.named(model), random_state)
    return classifier.fit(support, labels, groups)


class FewShotClassifier(Fitted, ClassifierMixin, BaseEstimator):
    """Linear classifier of sounds by their embeddings, from one example per class on.

    Wherever it takes X: a numeric 2-d array, tensor or data frame is embeddings, one row per clip; a list of anything that
    `MTSLVR.embed` takes (paths, `(array, rate)`, ...) is clips, which `embedder()` embeds first, in `space` alone.
    Embeddings may have all columns of "combined", or those of `space`.

    Every method ends in `scores = features @ coef_.T + intercept_`, the features being the chosen heads' columns, each head
    of each clip brought to unit length. Embeddings of other encoders are best centred before, as by StandardScaler.

    Examples:
        >>> model = MTSLVR.from_pretrained()
        >>> embeddings = model.embed(["dog1.wav", "dog2.wav", "rain1.wav", "rain2.wav"])
        >>> classifier = FewShotClassifier(model=model, C=1.0).fit(embeddings, ["dog", "dog", "rain", "rain"])
        >>> classifier.predict(model.embed(["what_is_this.wav"])).tolist()
        ['dog']

    Args:
        space: columns used; "combined" takes both heads, "invariant" or "variant" one of them.
        method: "ridge", least squares to the classes' indicators with an L2 penalty, solved in closed form, classes of
            unequal size on a level; "logistic", multinomial logistic regression with the same; "centroid", the nearest class mean.
        n_invariant: columns of the invariant head, which come first; None asks the model, and without one takes half of
            them. 0, or an odd number of columns, means an embedding of one head, which knows "combined" only.
        C: inverse strength of the penalty of "ridge" and "logistic"; > 0.
        model: the MTSLVR that embeds clips, and that made the embeddings, if those are given; None takes the package's
            default weights when there are clips, and knows nothing of where embeddings came from.
        random_state: of the 2,000 clips that temperature, unit and threshold are measured on where there are more.

    Attributes:
        classes_: labels, sorted, of the type that came in, [n_classes].
        coef_, intercept_: float64 [n_classes, n_columns], [n_classes].
        temperature_: divisor of the scores in `predict_proba`, from the leave-one-out scores and what is usual.
        support_, targets_, groups_: the support set: features, float64 [n, n_columns], class numbers [n], and a number for the
            group of each clip, int64 [n].
        unit_, threshold_: of `novelty`: a distance between features; what reject="auto" rejects above, in that unit.
        n_features_in_, n_invariant_: D, the width of "combined"; the columns of the invariant head, 0 of one head.
        encoder_: fingerprint of the encoder whose embeddings were learned; None for embeddings that came without a model.
        seconds_: median length of the clips that `fit` learned; None where embeddings came. `mtslvr.detect` listens in
            windows as long.
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

    def fit(
        self,
        X: ClipsLike | ArrayLike,
        y: ArrayLike,
        groups: Sequence[Hashable] | NDArray[Any] | None = None,
    ) -> FewShotClassifier:
        """Learn from a support set.

        Args:
            X: n clips, or embeddings [n, D].
            y: a label for each, of two classes at least; all of one type that sorts: strings, integers, tuples...
            groups: the name of what each clip has in common with others, such as its recording or speaker. Clips of one group
                are left out together, so that report and confidence are those for new groups. None: each is by itself.

        Raises:
            ValueError: a clip that is no usable sound (the message says which); NaN; embeddings of another width than the
                model's; another number of labels or groups than examples; fewer than two classes; an unknown space or method.
            TypeError: labels of several types; what is neither a clip nor embeddings.
        """
        if self.space not in NAMES:
            raise ValueError(f"space={self.space!r}: expected one of {', '.join(NAMES)}")
        linear.check(self.method, self.C)
        clips = inputs.clips_in(X)
        n = _num_samples(X if clips is None else clips)
        classes, targets = labels.numbered(y, n)
        group_numbers = inputs.group_numbers(groups, n)
        model = None if clips is None and self.model is None else inputs.encoder(self.model)
        if clips is not None and model is not None:
            spaces = inputs.spaces_of(model.spaces["combined"], model, self.n_invariant)
            spaces.columns(self.space)  # refuses one that is not there before any work
            vectors = inputs.embed(clips, model, self.space)
        else:
            vectors = validate_data(self, inputs.as_array(X), dtype=FLOATS)
            if model is not None and vectors.shape[1] == model.spaces.get(self.space):
                spaces = model.spaces
            else:
                spaces = inputs.spaces_of(vectors.shape[1], model, self.n_invariant)
                vectors = vectors[:, spaces.columns(self.space)]
        self.n_features_in_, self.n_invariant_ = spaces["combined"], spaces.get("invariant", 0)
        self.encoder_ = None if model is None else model.fingerprint
        self.seconds_ = None if clips is None else inputs.typical_seconds(clips)
        return self._learn(classes, self.features_of(vectors), targets, group_numbers)

    def add(
        self,
        X: ClipsLike | ArrayLike,
        y: ArrayLike,
        groups: Sequence[Hashable] | NDArray[Any] | None = None,
    ) -> FewShotClassifier:
        """Learn from more examples, of known or new classes, beside those of the support set, whose sound is not needed again.

        The result is that of `fit` on all of them.

        Args:
            X, y, groups: as in `fit`; a group of a name that was given before is the same group.

        Raises:
            ValueError, TypeError: as `fit`, and as `embedder` for clips.
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        check_is_fitted(self)
        clips = inputs.clips_in(X)
        X = X if clips is None else clips
        n = _num_samples(X)
        known = self.classes_[self.targets_].tolist()
        new = labels.check(y).tolist()
        if len(new) != n:
            raise ValueError(f"{n} examples in X, and {len(new)} labels in y: give one for each")
        classes, targets = labels.numbered(known + new, len(known) + n)
        numbers = inputs.group_numbers(groups, n, first=min(0, int(self.learned_.groups.min())))
        features = self._features(X)
        features, numbers = np.vstack([self.support_, features]), np.concatenate([self.groups_, numbers])
        return self._learn(classes, features, targets, numbers)

    def predict(
        self, X: ClipsLike | ArrayLike, *, reject: str | float | None = None, unknown_label: Any = "unknown"
    ) -> NDArray[Any]:
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
        named = self.classes_[self.learned_.scores(features).argmax(1)]
        if reject is None:
            return np.asarray(named)
        answers = named.astype(object)
        answers[self.learned_.novelty(features) > threshold] = unknown_label
        return np.asarray(answers)

    def predict_proba(self, X: ClipsLike | ArrayLike) -> Floats:
        """Probability of each class, in the order of `classes_`, for clips or embeddings [n, D]: float64 [n, n_classes].

        Rows sum to 1. They take for granted that the sound is of one of the classes; `novelty` doubts that.

        Raises:
            ValueError, NotFittedError: as `predict`.
        """
        features = self._features(X)
        return self.learned_.probabilities(features)

    def novelty(self, X: ClipsLike | ArrayLike) -> Floats:
        """How far each clip, or embedding [n, D], lies from all that is known: float64 [n], 0 on a support clip.

        The unit is the median distance from the support clips to the nearest clip of another class: 1 is as new as a
        sound of another class.

        Raises:
            ValueError, NotFittedError: as `predict`.
        """
        features = self._features(X)
        return self.learned_.novelty(features)

    def _learn(
        self, classes: NDArray[Any], features: Floats, targets: Numbers, groups: NDArray[np.int64]
    ) -> FewShotClassifier:
        random = check_random_state(self.random_state)
        return self._keep(classes, Learned.of(self.method, self.C, features, targets, groups, random))

    def _features(self, X: Any) -> Floats:
        """Of clips, or of embeddings, checked: float64 [n, n_columns]."""
        check_is_fitted(self)
        clips, n_columns = inputs.clips_in(X), self.learned_.coef.shape[1]
        if clips is not None:
            return self.features_of(inputs.embed(clips, self.embedder(), self.space))
        X = inputs.as_array(X)
        if self.n_features_in_ != n_columns == getattr(X, "shape", (0, 0))[-1]:  # embedded in `space`
            return self.features_of(check_array(X, dtype=FLOATS, estimator=self))
        vectors = validate_data(self, X, dtype=FLOATS, reset=False)
        return self.features_of(vectors[:, Spaces.of(self.n_features_in_, self.n_invariant_).columns(self.space)])
