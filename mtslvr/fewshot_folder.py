"""A few-shot classifier as a folder: config.json, model.safetensors and a card. Nothing is ever unpickled."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from mtslvr import folder, hub, labels

if TYPE_CHECKING:
    from mtslvr.fewshot import FewShotClassifier
    from mtslvr.report import Report

FORMAT_VERSION = 1
MODEL_TYPE = "mtslvr-fewshot"
NUMBERS = ("temperature_", "unit_", "threshold_")
ARRAYS = ("coef_", "intercept_", "mean_", "scale_", "support_")
T = TypeVar("T", bound="FewShotClassifier")


def save(classifier: FewShotClassifier, save_directory: str | os.PathLike[str]) -> None:
    """Write a fitted classifier.

    Raises:
        TypeError: labels that are not str, int, float or bool.
    """
    settings = {name: value for name, value in classifier.get_params().items() if name != "random_state"}
    config = {
        "model_type": MODEL_TYPE,
        "format_version": FORMAT_VERSION,
        "settings": settings,
        "labels": labels.to_json(classifier.classes_),
        "n_features": classifier.n_features_in_,
        "head_weights": classifier.head_weights_,
        "numbers": {name: float(getattr(classifier, name)) for name in NUMBERS},
    }
    tensors = {name: torch.from_numpy(np.asarray(getattr(classifier, name))) for name in ARRAYS}
    tensors["support_"] = tensors["support_"].float()  # as the embeddings were; half the size
    tensors["targets_"] = torch.from_numpy(classifier.targets_)
    folder.write(save_directory, config, tensors, _card(classifier, classifier.report()))


def load(cls: type[T], name_or_path: str | os.PathLike[str], *, encoder: str | None = None, **download: Any) -> T:
    """Read a classifier; see `FewShotClassifier.from_pretrained`."""
    path = hub.resolve(name_or_path, **download)
    config, tensors = folder.read(path)
    source = str(path / folder.CONFIG_FILE)
    if config.get("model_type") != MODEL_TYPE:
        raise ValueError(
            f"{source}: model_type is {config.get('model_type')!r}, expected {MODEL_TYPE!r}: this is no few-shot classifier"
        )
    if config.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{source}: format_version is {config.get('format_version')!r}, this release reads {FORMAT_VERSION}: update mtslvr"
        )
    try:
        classifier = cls(**config["settings"])
        classes = labels.from_json(**config["labels"])
        numbers = {name: float(config["numbers"][name]) for name in NUMBERS}
        shares = {str(head): float(share) for head, share in config["head_weights"].items()}
        classifier.n_features_in_ = width = int(config["n_features"])
        heads = classifier._heads()
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ValueError(f"{source} is not a few-shot classifier's configuration: {error!r}") from error
    if min(numbers.values()) <= 0 or set(shares) != set(heads) or not 0 < width < 2**31:
        raise ValueError(f"{source} is not a few-shot classifier's configuration: {numbers}, {shares}, width {width}")
    if encoder is not None and classifier.encoder is not None and encoder != classifier.encoder:
        raise ValueError(
            f"the classifier in {path} was fitted on embeddings of the model with fingerprint {classifier.encoder}, and this "
            f"model's is {encoder}: load the model it was fitted with, or fit again"
        )

    n_columns = sum(columns.stop - columns.start for columns in heads.values())
    n_clips = tensors["targets_"].numel() if "targets_" in tensors else 0
    real, whole = torch.zeros(()), torch.zeros((), dtype=torch.int64)
    expected = {
        "coef_": real.expand(len(classes), n_columns),
        "intercept_": real.expand(len(classes)),
        "mean_": real.expand(n_columns),
        "scale_": real.expand(n_columns),
        "support_": real.expand(n_clips, n_columns),
        "targets_": whole.expand(n_clips),
    }
    weights = path / folder.WEIGHTS_FILE
    folder.check_tensors(tensors, expected, source=str(weights))
    arrays = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    if not np.array_equal(np.unique(arrays["targets_"]), np.arange(len(classes))):
        raise ValueError(
            f"{weights} is damaged: targets_ must hold each class number, 0 to {len(classes) - 1}, and no other"
        )
    if not (arrays["scale_"] > 0).all():
        raise ValueError(f"{weights} is damaged: scale_ must be above 0")

    fitted: dict[str, Any] = {**arrays, **numbers, "classes_": classes, "head_weights_": shares}
    fitted["targets_"] = arrays["targets_"].astype(np.intp)
    for name, value in fitted.items():
        setattr(classifier, name, value)
    return classifier


def _card(classifier: FewShotClassifier, report: Report) -> str:
    shares = ", ".join(f"{head} {share:.2f}" for head, share in classifier.head_weights_.items())
    made = f"`{classifier.encoder}`" if classifier.encoder else "an encoder that was not written down"
    accuracy = "unknown" if math.isnan(report.accuracy) else f"{report.accuracy:.1%}"
    return "\n".join(
        [
            "---",
            "library_name: mtslvr",
            "pipeline_tag: audio-classification",
            "tags: [audio, few-shot, mt-slvr]",
            "---",
            "",
            f"# A few-shot sound classifier: {len(report.classes)} classes from {len(report.targets)} clips",
            "",
            f"Fitted on embeddings of {made}; weight of the heads: {shares}. Leave-one-out accuracy: {accuracy}.",
            "",
            "```",
            str(report),
            "```",
            "",
            "```python",
            "import mtslvr",
            "",
            'classifier = mtslvr.FewShotClassifier.from_pretrained("this folder")',
            "```",
            "",
        ]
    )
