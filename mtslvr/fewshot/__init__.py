"""Few-shot classification: arrays or clips in, labels out."""

from mtslvr.fewshot.classifier import FewShotClassifier, fit_fewshot

__all__ = ["FewShotClassifier", "fit_fewshot"]
