"""What every fitted classifier can do, whether it was fitted here or loaded: embed, report, save, load."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from mtslvr.encoder.spaces import Spaces
from mtslvr.fewshot import inputs, linear
from mtslvr.fewshot.learned import Learned
from mtslvr.fewshot.linear import Floats

if TYPE_CHECKING:
    from mtslvr.encoder.model import MTSLVR
    from mtslvr.fewshot.report import Report
    from mtslvr.fewshot.saved import Saved

SETTINGS = ("space", "method", "n_invariant", "C")  # that a folder keeps
ATTRIBUTES = ("coef", "intercept", "support", "targets", "groups", "temperature", "unit", "threshold")
T = TypeVar("T", bound="Fitted")


class Fitted:
    """The part of `FewShotClassifier` that needs its attributes and not its examples."""

    space: str
    model: Any
    classes_: NDArray[Any]
    learned_: Learned
    n_features_in_: int
    n_invariant_: int
    encoder_: str | None
    seconds_: float | None

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

    def features_of(self, vectors: NDArray[Any]) -> Floats:
        """What `learned_` takes, of vectors by `embedder()` in `space`: [n, n_columns] -> float64 of that shape.

        Nothing is checked: this is for callers that embed by themselves, as `mtslvr.detect` does.
        """
        spaces = Spaces.of(self.n_features_in_, self.n_invariant_)
        return linear.unit_heads(vectors, [spaces[head] for head in spaces.heads(self.space)])

    def report(self, names: Sequence[str] | None = None) -> Report:
        """What the support set tells about the classifier, left out group by group, and what to do about it; print it.

        "logistic" is fitted again without each group, once: that takes a while for hundreds of clips.

        Args:
            names: what to call each clip of the support set, such as its path; else "clip 0", "clip 1", ...

        Raises:
            ValueError: another number of names than clips.
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        from mtslvr.fewshot.report import Report

        check_is_fitted(self)
        learned = self.learned_
        support = learned.targets, learned.groups, *learned.judged, learned.support
        return Report.of(self.classes_.tolist(), *support, names, learned.near_duplicates)

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors and README.md into a folder. Labels: str, int, float or bool.

        The encoder is not written, but for its fingerprint.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
            TypeError: labels of another type.
        """
        from mtslvr.fewshot import saved

        report = self.report()
        saved.save(self._saved(), report, save_directory)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str = "Upload classifier",
    ) -> str:
        """Upload to the Hugging Face Hub; returns the commit. See `save_pretrained`, and `hub.push` for the arguments."""
        from mtslvr.fewshot import saved

        report = self.report()
        upload = {"token": token, "private": private, "revision": revision, "commit_message": commit_message}
        return saved.push(self._saved(), report, repo_id, **upload)

    @classmethod
    def from_pretrained(
        cls: type[T],
        name_or_path: str | os.PathLike[str],
        *,
        model: MTSLVR | str | os.PathLike[str] | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
    ) -> T:
        """Load a classifier from a folder, or a repository on the Hugging Face Hub.

        Args:
            model: its encoder, as for `fit_fewshot`; None takes the default weights, once there are clips, if they are it.
            revision, token, cache_dir, force_download, local_files_only: of the classifier on the Hub; see `hub.resolve`.

        Raises:
            ValueError: not a classifier's folder, damaged, or fitted with another model than the one given.
        """
        from mtslvr.fewshot import saved

        found = saved.load(
            name_or_path,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
        )
        encoder = inputs.named(model)
        if encoder is not None:
            inputs.check_encoder(encoder, found.encoder, found.n_features)
        classifier: T = cast(Any, cls)(**found.settings, model=encoder)
        classifier.n_features_in_, classifier.n_invariant_ = found.n_features, found.n_invariant
        classifier.encoder_, classifier.seconds_ = found.encoder, found.seconds
        return classifier._keep(found.classes, found.learned)

    def _saved(self) -> Saved:
        from mtslvr.fewshot.saved import Saved

        settings = {name: getattr(self, name) for name in SETTINGS}
        return Saved(
            settings, self.classes_, self.n_features_in_, self.n_invariant_, self.encoder_, self.seconds_, self.learned_
        )

    def _keep(self: T, classes: NDArray[Any], learned: Learned) -> T:
        self.classes_, self.learned_ = classes, learned
        for name in ATTRIBUTES:
            setattr(self, f"{name}_", getattr(learned, name))
        return self

    @property
    def head_weights_(self) -> dict[str, float]:
        """Share of `sum |coef_|` on each head, as in the paper's table 6: it does not tell which head a task needs (docs/invariance.md)."""
        check_is_fitted(self)
        heads = Spaces.of(self.n_features_in_, self.n_invariant_).heads(self.space)
        masses = np.split(np.abs(self.learned_.coef).sum(0), np.cumsum([c.stop - c.start for c in heads.values()])[:-1])
        total = sum(mass.sum() for mass in masses) or np.inf
        return {head: float(mass.sum() / total) for head, mass in zip(heads, masses, strict=True)}
