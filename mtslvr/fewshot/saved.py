"""A few-shot classifier as a folder: config.json, model.safetensors and a card. Nothing is ever unpickled."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch

from mtslvr.fewshot import inputs, labels, linear
from mtslvr.storage import folder, hub

if TYPE_CHECKING:
    from mtslvr.encoder.model import MTSLVR
    from mtslvr.fewshot.report import Report

FORMAT_VERSION = 1
MODEL_TYPE = "mtslvr-fewshot"
SETTINGS = ("space", "method", "n_invariant", "C")
NUMBERS = ("temperature_", "unit_", "threshold_")
ARRAYS = ("coef_", "intercept_", "mean_", "scale_", "support_")
T = TypeVar("T")


def save(classifier: Any, save_directory: str | os.PathLike[str], name: str | None = None) -> None:
    """Write a fitted classifier, with a card that loads it by this name; by the folder's if there is none.

    Raises:
        TypeError: labels that are not str, int, float or bool.
    """
    name = name or Path(save_directory).resolve().name
    settings = {key: getattr(classifier, key) for key in SETTINGS}
    config = {
        "model_type": MODEL_TYPE,
        "format_version": FORMAT_VERSION,
        "settings": settings,
        "labels": labels.to_json(classifier.classes_),
        "encoder": classifier.encoder_,
        "n_features": classifier.n_features_in_,
        "n_invariant": int(classifier.n_invariant_),
        "head_weights": classifier.head_weights_,
        "numbers": {name: float(getattr(classifier, name)) for name in NUMBERS},
    }
    tensors = {name: torch.from_numpy(np.asarray(getattr(classifier, name))) for name in ARRAYS}
    tensors["support_"] = tensors["support_"].float()  # as the embeddings were; half the size
    tensors["targets_"] = torch.from_numpy(classifier.targets_)
    folder.write(save_directory, config, tensors, _card(classifier, classifier.report(), name))


def push(classifier: Any, repo_id: str, **upload: Any) -> str:
    """Write a fitted classifier to the Hub; see `hub.push`."""
    with tempfile.TemporaryDirectory() as temporary:
        save(classifier, temporary, repo_id)
        return hub.push(repo_id, temporary, **upload)


def load(cls: type[T], name_or_path: str | os.PathLike[str], model: MTSLVR | None, **download: Any) -> T:
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
        settings = config["settings"]
        if set(settings) != set(SETTINGS):
            raise ValueError(f"settings are {sorted(settings)}, expected {sorted(SETTINGS)}")
        classifier = cast(Any, cls)(**settings, model=model)
        inputs.check_space(classifier.space)
        linear.check(classifier.method, classifier.C)
        classes = labels.from_json(**config["labels"])
        numbers = {name: float(config["numbers"][name]) for name in NUMBERS}
        shares = {str(head): float(share) for head, share in config["head_weights"].items()}
        encoder = config["encoder"]
        if not isinstance(encoder, (str, type(None))):
            raise ValueError(f"encoder is {encoder!r}, expected a fingerprint or null")
        width, n_invariant = int(config["n_features"]), config["n_invariant"]
        heads = inputs.heads(classifier.space, width, n_invariant)
        if classifier.n_invariant not in (None, n_invariant):
            raise ValueError(f"n_invariant is {n_invariant}, and {classifier.n_invariant} in the settings")
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ValueError(f"{source} is not a few-shot classifier's configuration: {error!r}") from error
    if bad := [name for name, number in numbers.items() if not 0 < number < math.inf]:
        raise ValueError(f"{source} is damaged: {bad[0]} is {numbers[bad[0]]}, expected a number above 0")
    if set(shares) != set(heads) or not 0 < width < 2**31:
        raise ValueError(f"{source} is not a few-shot classifier's configuration: {shares}, width {width}")
    if model is not None:
        inputs.check_encoder(model, encoder, width)

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

    fitted: dict[str, Any] = {**arrays, **numbers, "classes_": classes, "head_weights_": shares, "encoder_": encoder}
    fitted |= {"n_features_in_": width, "n_invariant_": n_invariant}
    fitted["targets_"] = arrays["targets_"].astype(np.intp)
    for name, value in fitted.items():
        setattr(classifier, name, value)
    return cast("T", classifier)


def _card(classifier: Any, report: Report, name: str) -> str:
    shares = ", ".join(f"{head} {share:.2f}" for head, share in classifier.head_weights_.items())
    made = f"the encoder `{classifier.encoder_}`" if classifier.encoder_ else "an encoder that was not written down"
    accuracy = "unknown" if math.isnan(report.accuracy) else f"{report.accuracy:.1%}"
    default = classifier.encoder_ is not None and classifier.encoder_ == inputs.encoder(None).fingerprint
    model = "" if default else ', model="the name of that encoder"'
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
            f"Fitted on embeddings by {made}" + (", the default weights of mtslvr" if default else "") + ". "
            f"Weight of the heads: {shares}. Leave-one-out accuracy: {accuracy}.",
            "",
            "```",
            str(report),
            "```",
            "",
            "```python",
            "import mtslvr",
            "",
            f"classifier = mtslvr.FewShotClassifier.from_pretrained({json.dumps(name)}{model})",
            'classifier.predict(["what_is_this.wav"])',
            "```",
            "",
        ]
    )
