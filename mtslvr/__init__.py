"""MT-SLVR: sound to embeddings for few-shot audio classification (arXiv 2305.17191).

import mtslvr

classifier = mtslvr.fit_fewshot(["dog1.wav", "dog2.wav", "cat1.wav", "cat2.wav"], ["dog", "dog", "cat", "cat"])
classifier.predict(["what_is_this.wav"])
events = mtslvr.detect("an_hour.wav", classifier)
"""

from __future__ import annotations

import importlib
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtslvr.embedder import AudioEmbedder
    from mtslvr.encoder.config import EncoderConfig
    from mtslvr.encoder.model import MTSLVR
    from mtslvr.events import detect
    from mtslvr.fewshot import FewShotClassifier, fit_fewshot

__all__ = ["MTSLVR", "AudioEmbedder", "EncoderConfig", "FewShotClassifier", "__version__", "detect", "fit_fewshot"]
__version__ = "0.1.0"

_HOMES = {
    "MTSLVR": "encoder.model",
    "AudioEmbedder": "embedder",
    "EncoderConfig": "encoder.config",
    "FewShotClassifier": "fewshot",
    "detect": "events",
    "fit_fewshot": "fewshot",
}


def __getattr__(name: str) -> Any:  # importing mtslvr is instant: torch is imported when it is needed
    if name in _HOMES:
        state = random.getstate()  # which scikit-learn moves, as it imports rich where that is installed
        try:
            return getattr(importlib.import_module(f"mtslvr.{_HOMES[name]}"), name)
        finally:
            random.setstate(state)
    raise AttributeError(f"module 'mtslvr' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
