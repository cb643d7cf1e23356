"""AudioEmbedder: the encoder as a scikit-learn transformer, with a cache."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from mtslvr.fewshot import inputs
from mtslvr.sound import stream
from mtslvr.sound.clips import ClipsLike
from mtslvr.storage import cache

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from mtslvr.encoder.model import MTSLVR


class AudioEmbedder(TransformerMixin, BaseEstimator):
    """Clips to embeddings, as a step of a scikit-learn pipeline. There is nothing to fit.

    Examples:
        >>> from sklearn.pipeline import make_pipeline
        >>> pipeline = make_pipeline(AudioEmbedder(memory="embeddings"), FewShotClassifier())
        >>> clips = ["dog1.wav", "dog2.wav", "rain1.wav", "rain2.wav"]
        >>> pipeline.fit(clips, ["dog", "dog", "rain", "rain"]).predict(["what_is_this.wav"]).tolist()
        ['dog']

    Args:
        model: an MTSLVR, or the name of its folder or Hub repository; None takes the default weights.
        space: "combined" (invariant, then variant), "invariant" or "variant".
        memory: a folder where embeddings are kept, by the model's fingerprint and the clip's content, so that a changed clip
            or model gets a new one; several processes may share it. None keeps nothing.
        batch_size: windows computed at a time; more need more memory.
    """

    def __init__(
        self,
        model: MTSLVR | str | os.PathLike[str] | None = None,
        space: str = "combined",
        memory: str | os.PathLike[str] | None = None,
        batch_size: int = 16,
    ) -> None:
        self.model = model
        self.space = space
        self.memory = memory
        self.batch_size = batch_size

    def fit(self, X: Any = None, y: Any = None) -> AudioEmbedder:
        """Learn nothing."""
        return self

    def transform(self, X: ClipsLike) -> np.ndarray:
        """Embed clips.

        Args:
            X: several clips: a list, or an array or column of paths, or whatever else `MTSLVR.embed` takes as several.

        Returns:
            float32 [n, D].

        Raises:
            TypeError, ValueError: one clip, or not a usable one (the message says which); an unknown space. As `MTSLVR.embed`.
            OSError: `memory` cannot be written.
        """
        one, named = stream.clips(X)
        if one:
            raise ValueError(f"X is one clip, of type {type(X).__name__}: wrap it in a list, [clip]")
        model = self._encoder()
        columns = model.spaces.columns(self.space)
        clips = [clip for _, clip in named]
        embed = functools.partial(model.embed, batch_size=self.batch_size)
        if self.memory is None:
            return embed(clips, space=self.space)
        # All spaces are columns of "combined", so that one cache serves them.
        folder = Path(self.memory) / model.fingerprint
        return cache.embed(functools.partial(embed, progress=False), clips, folder)[:, columns]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The features' names, "invariant_0", ..., "variant_0", ...; "combined_0" of a model with one head: object [D]."""
        spaces = self._encoder().spaces
        names = [f"{head}_{i}" for head in spaces.heads() for i in range(spaces[head])]
        return np.array(names, dtype=object)[spaces.columns(self.space)]

    def _encoder(self) -> MTSLVR:
        """The model; one that came by name is loaded once."""
        if not isinstance(self.model, (str, os.PathLike)):
            return inputs.encoder(self.model)
        if getattr(self, "_loaded", (None,))[0] != self.model:
            self._loaded = self.model, inputs.named(self.model)
        return self._loaded[1]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit, tags.no_validation = False, True
        tags.input_tags.two_d_array, tags.input_tags.string = False, True
        return tags
