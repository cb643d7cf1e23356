"""What a model is, apart from its weights: config.json, read strictly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from mtslvr.encoder import frontend
from mtslvr.encoder.adapters import Adapter
from mtslvr.encoder.spaces import Spaces
from mtslvr.sound.stream import WINDOW
from mtslvr.storage.folder import CONFIG_FILE

FORMAT_VERSION = 1
MAX_HEAD_DIM = 4096
PREPROCESSING = {  # what the image is made with; fixed, and written down so that weights are never used with another
    "sample_rate": frontend.SAMPLE_RATE,
    "window_samples": WINDOW,
    "n_fft": frontend.N_FFT,
    "hop": frontend.HOP,
    "n_mels": frontend.N_MELS,
    "mel_scale": "htk",
    "eps": frontend.EPS,
}


@dataclass(frozen=True)
class EncoderConfig:
    """What a model is, apart from its weights.

    Args:
        adapter: "none", "bn", "series" or "parallel".
        n_heads: 2 (invariant, variant), or 1.
        head_dim: features per head; the paper has 1000 in all.
        mean, std: global statistics of the pretraining waveforms, in -1..1, that the input is z-normalised with.
        training: how the weights were made, for the model card; no effect on results.
    """

    adapter: Adapter = "parallel"
    n_heads: int = 2
    head_dim: int = 500
    mean: float = 0.0
    std: float = 1.0
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for a field of another type or out of range."""
        for name, kind in {
            "adapter": str,
            "n_heads": int,
            "head_dim": int,
            "mean": float,
            "std": float,
            "training": Mapping,
        }.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise TypeError(f"config: {name} is {value!r}, expected a {kind.__name__}")
        if self.adapter not in get_args(Adapter):
            raise ValueError(f"config: adapter is {self.adapter!r}, expected one of {', '.join(get_args(Adapter))}")
        if self.n_heads not in (1, 2) or not 1 <= self.head_dim <= MAX_HEAD_DIM:
            raise ValueError(
                f"config: {self.n_heads} heads of {self.head_dim} features, expected 1 or 2 heads of 1 to {MAX_HEAD_DIM}"
            )
        if not (math.isfinite(self.mean) and 0 < self.std < math.inf):
            raise ValueError(f"config: mean {self.mean} and std {self.std}, expected finite numbers, std above 0")

    @property
    def spaces(self) -> Spaces:
        """The embedding spaces of this model, and the number of features D of each."""
        return Spaces(self.head_dim, self.head_dim if self.n_heads == 2 else 0)

    def to_json(self) -> dict[str, Any]:
        """The content of config.json."""
        network = {"adapter": self.adapter, "n_heads": self.n_heads, "head_dim": self.head_dim}
        preprocessing = {**PREPROCESSING, "mean": self.mean, "std": self.std}
        head = {"model_type": "mtslvr", "format_version": FORMAT_VERSION}
        return {**head, "network": network, "preprocessing": preprocessing, "training": dict(self.training)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: str = CONFIG_FILE) -> EncoderConfig:
        """Build from the content of a config.json, strictly.

        Raises:
            ValueError: it is not an mtslvr model's, of a newer format, lacks or adds keys, or asks for another preprocessing.
        """
        if content.get("model_type") != "mtslvr":
            raise ValueError(
                f"{source}: model_type is {content.get('model_type')!r}, expected 'mtslvr': this is another kind of model"
            )
        if content.get("format_version") != FORMAT_VERSION:
            found = content.get("format_version")
            raise ValueError(
                f"{source}: format_version is {found!r}, this release reads {FORMAT_VERSION}; update mtslvr, or save the model again"
            )
        layout = cls().to_json()
        _check_keys(content, layout, source)
        for part in ("network", "preprocessing", "training"):
            if not isinstance(content[part], dict):
                raise ValueError(f"{source}: {part} is {content[part]!r}, expected an object")
        network, preprocessing = content["network"], dict(content["preprocessing"])
        _check_keys(network, layout["network"], f"{source}, network")
        _check_keys(preprocessing, layout["preprocessing"], f"{source}, preprocessing")
        statistics = {name: preprocessing.pop(name) for name in ("mean", "std")}
        if changed := [name for name, value in PREPROCESSING.items() if preprocessing[name] != value]:
            name = changed[0]
            raise ValueError(
                f"{source}: preprocessing {name} is {preprocessing[name]!r}; this release only knows {PREPROCESSING[name]!r}"
            )
        try:
            statistics = {name: float(value) if type(value) is int else value for name, value in statistics.items()}
            return cls(**network, **statistics, training=content["training"])
        except TypeError as error:
            raise ValueError(f"{source}: {error}") from error


def _check_keys(found: Mapping[str, Any], expected: Mapping[str, Any], source: str) -> None:
    missing, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or unknown:
        raise ValueError(f"{source}: missing keys {missing or 'none'}, unknown keys {unknown or 'none'}")
