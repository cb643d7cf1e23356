"""Encoders of others that install from the package index with their weights inside, to compare with; for benchmarking only.

    pip install opensmile                              # classical features: eGeMAPS functionals, 88 numbers
    pip install --no-deps openwakeword==0.5.1          # Google's speech embedding, 96 numbers, mean over time;
    pip install onnxruntime requests                   # later releases download their weights

Their packages are imported only when they are asked for, and have licences of their own.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from mtslvr.encoder.spaces import Spaces
from mtslvr.sound import stream

HOP = 160  # samples from frame to frame of the speech embedding
MIN_SAMPLES = 32_000  # shorter sounds are repeated to last 2 s: the speech embedding looks at 0.8 s at a time


@dataclass(frozen=True)
class Pretrained:
    """An encoder that is a function of one waveform.

    Args:
        fingerprint: package, release, and what is taken from it.
        width: D.
        vector: float32 [samples] at 16 kHz -> [D].
    """

    name: str
    fingerprint: str
    width: int
    vector: Callable[[np.ndarray], np.ndarray]
    standardised: bool = True  # their numbers are of different scales; see baselines.LogMel

    @property
    def spaces(self) -> Spaces:
        return Spaces(self.width)

    def embed(self, clips: Sequence[Any]) -> np.ndarray:
        """float32 [n, D]; a clip is taken whole."""
        waves = (stream.read(clip) for clip in clips)
        vectors = [self.vector(np.resize(wave, max(len(wave), MIN_SAMPLES))) for wave in waves]
        return np.stack(vectors).astype(np.float32)


def egemaps() -> Pretrained:
    """The Geneva minimalistic acoustic parameter set (Eyben et al. 2016), as openSMILE computes it."""
    opensmile = _package("opensmile")
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals
    )
    fingerprint = f"opensmile-{importlib.metadata.version('opensmile')}-egemapsv02"
    return Pretrained(
        "egemaps", fingerprint, 88, lambda wave: smile.process_signal(wave, stream.SAMPLE_RATE).to_numpy()[0]
    )


def speech_embedding() -> Pretrained:
    """Google's speech embedding (arXiv 2002.01322), as openWakeWord distributes it; mean over its frames."""
    features = _package("openwakeword.utils").AudioFeatures(inference_framework="onnx", ncpu=1)

    def vector(wave: np.ndarray) -> np.ndarray:
        wave = wave[: len(wave) - len(wave) % HOP]  # or else the package miscounts its frames
        samples = (32767 * wave.clip(-1, 1)).astype(np.int16)
        return np.asarray(features.embed_clips(samples[None])[0].mean(0))  # [frames, 96] -> [96]

    fingerprint = f"openwakeword-{importlib.metadata.version('openwakeword')}-mean"
    return Pretrained("speech-embedding", fingerprint, 96, vector)


ENCODERS = {"egemaps": egemaps, "speech-embedding": speech_embedding}


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"{name} cannot be imported ({error}): see training/evaluation/pretrained.py for what to install"
        ) from error
