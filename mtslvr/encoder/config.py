"""What a model is, apart from its weights: config.json, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from mtslvr.encoder import frontend
from mtslvr.encoder.adapters import Adapter
from mtslvr.encoder.readout import READOUTS, Readout
from mtslvr.encoder.spaces import Spaces
from mtslvr.sound.stream import SAMPLE_RATE, WINDOW
from mtslvr.storage.folder import CONFIG_FILE, shortened

FORMAT_VERSION = 1
PIPELINE = 1  # raised with each change of decoding, resampling, windows or front end that changes embeddings
MIN_STD = 1e-6  # of a waveform in -1..1; the quietest that 24 bits hold is 1e-7
MAX_HEAD_DIM = 4096
PREPROCESSING = {  # what the image is made with; fixed, and written down so that weights are never used with another
    "sample_rate": SAMPLE_RATE,
    "window_samples": WINDOW,
    "n_fft": frontend.N_FFT,
    "hop": frontend.HOP,
    "n_mels": frontend.N_MELS,
    "mel_scale": "htk",
}


@dataclass(frozen=True)
class EncoderConfig:
    """What a model is, apart from its weights.

    Args:
        adapter: "none", "bn", "series" or "parallel".
        n_heads: 2 (invariant, variant), or 1.
        head_dim: features per head; the paper has 1000 in all.
        mean, std: global statistics of the pretraining waveforms, which are in -1..1, that the input is z-normalised with: -1..1, 1e-6..1.
        training: how the weights were made, for the model card; no effect on results.
        readout: "linear" (the paper's) or "pooled", see readout.py.
        eps: added to powers and magnitudes before every logarithm, 0 to 1 (see frontend.py); the paper has 2.2e-16.
    """

    adapter: Adapter = "parallel"
    n_heads: int = 2
    head_dim: int = 500
    mean: float = 0.0
    std: float = 1.0
    training: Mapping[str, Any] = field(default_factory=dict)
    readout: Readout = "linear"
    eps: float = frontend.EPS

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for a field of another type or out of range."""
        for name, kind in {
            "adapter": str,
            "n_heads": int,
            "head_dim": int,
            "mean": float,
            "std": float,
            "training": Mapping,
            "readout": str,
            "eps": float,
        }.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise TypeError(f"config: {name} is {shortened(repr(value))}, expected a {kind.__name__}")
        if self.adapter not in get_args(Adapter):
            raise ValueError(
                f"config: adapter is {shortened(repr(self.adapter))}, expected one of {', '.join(get_args(Adapter))}"
            )
        if self.n_heads not in (1, 2) or not 1 <= self.head_dim <= MAX_HEAD_DIM:
            raise ValueError(
                f"config: {shortened(self.n_heads)} heads of {shortened(self.head_dim)} features, expected 1 or 2 heads of 1 to {MAX_HEAD_DIM}"
            )
        if not (-1 <= self.mean <= 1 and MIN_STD <= self.std <= 1):
            raise ValueError(f"config: mean {self.mean} and std {self.std}, expected -1 to 1, and {MIN_STD:g} to 1")
        if self.readout not in READOUTS:
            raise ValueError(
                f"config: readout is {shortened(repr(self.readout))}, expected one of {', '.join(READOUTS)}"
            )
        if not 0 < self.eps <= 1:
            raise ValueError(f"config: eps is {self.eps}, expected a number above 0, at most 1")

    @property
    def spaces(self) -> Spaces:
        """The embedding spaces of this model, and the number of features D of each."""
        return Spaces(self.head_dim, self.head_dim if self.n_heads == 2 else 0)

    def identity(self) -> dict[str, Any]:
        """What changes embeddings, apart from the weights: goes into the fingerprint."""
        content = self.to_json()
        return {"pipeline": PIPELINE, "network": content["network"], "preprocessing": content["preprocessing"]}

    def to_json(self) -> dict[str, Any]:
        """The content of config.json."""
        network = {name: getattr(self, name) for name in ("adapter", "n_heads", "head_dim", "readout")}
        preprocessing = {**PREPROCESSING, "eps": self.eps, "mean": self.mean, "std": self.std}
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
                f"{source}: model_type is {shortened(repr(content.get('model_type')))}, expected 'mtslvr': this is another kind of model"
            )
        if content.get("format_version") != FORMAT_VERSION:
            found = content.get("format_version")
            raise ValueError(
                f"{source}: format_version is {shortened(repr(found))}, this release reads {FORMAT_VERSION}; update mtslvr, or save the model again"
            )
        layout = cls().to_json()
        _check_keys(content, layout, source)
        for part in ("network", "preprocessing", "training"):
            if not isinstance(content[part], dict):
                raise ValueError(f"{source}: {part} is {shortened(repr(content[part]))}, expected an object")
        network = {"readout": "linear", **content["network"]}  # the only one before there were two
        preprocessing = dict(content["preprocessing"])
        _check_keys(network, layout["network"], f"{source}, network")
        _check_keys(preprocessing, layout["preprocessing"], f"{source}, preprocessing")
        statistics = {name: preprocessing.pop(name) for name in ("eps", "mean", "std")}
        if changed := [name for name, value in PREPROCESSING.items() if preprocessing[name] != value]:
            name = changed[0]
            raise ValueError(
                f"{source}: preprocessing {name} is {shortened(repr(preprocessing[name]))}; this release only knows {PREPROCESSING[name]!r}"
            )
        try:
            statistics = {name: float(value) if type(value) is int else value for name, value in statistics.items()}
            return cls(**network, **statistics, training=content["training"])
        except (TypeError, OverflowError) as error:  # the latter of an integer that is no float
            raise ValueError(f"{source}: {error}") from error


def _check_keys(found: Mapping[str, Any], expected: Mapping[str, Any], source: str) -> None:
    missing, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or unknown:
        raise ValueError(
            f"{source}: missing keys {shortened(missing or 'none')}, unknown keys {shortened(unknown or 'none')}"
        )
