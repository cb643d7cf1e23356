"""MT-SLVR: sound to embeddings for few-shot audio classification (arXiv 2305.17191).

import mtslvr

model = mtslvr.MTSLVR.from_pretrained()
classifier = mtslvr.FewShotClassifier().fit(model.embed(["dog1.wav", "dog2.wav", "cat1.wav", "cat2.wav"]), ["dog", "dog", "cat", "cat"])
classifier.predict(model.embed(["what_is_this.wav"]))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtslvr.config import EncoderConfig
    from mtslvr.fewshot import FewShotClassifier
    from mtslvr.model import MTSLVR

__all__ = ["MTSLVR", "EncoderConfig", "FewShotClassifier", "__version__"]
__version__ = "0.1.0"

_HOMES = {"MTSLVR": "model", "EncoderConfig": "config", "FewShotClassifier": "fewshot"}


def __getattr__(name: str) -> Any:  # importing mtslvr is instant: torch is imported when it is needed
    if name in _HOMES:
        return getattr(importlib.import_module(f"mtslvr.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'mtslvr' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
