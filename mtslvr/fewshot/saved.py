"""A few-shot classifier as a folder: config.json, model.safetensors and a card. Nothing is ever unpickled."""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtslvr.encoder.spaces import Spaces
from mtslvr.fewshot import labels, linear
from mtslvr.fewshot.learned import Learned
from mtslvr.fewshot.report import Report
from mtslvr.storage import folder, hub
from mtslvr.storage.assets import MODELS

FORMAT_VERSION = 2
MODEL_TYPE = "mtslvr-fewshot"
SETTINGS = {"space", "method", "n_invariant", "C"}
NUMBERS = ("temperature", "unit", "threshold")
ARRAYS = ("coef", "intercept", "support", "targets", "groups")


@dataclass(frozen=True)
class Saved:
    """A fitted classifier but for its encoder: its parameters, what it was fitted on, and what it learned.

    Args:
        settings: the parameters that SETTINGS names.
        classes: labels, sorted.
        n_features, n_invariant: columns of "combined", and of the invariant head in it.
        encoder: fingerprint of the encoder, if it is known.
        seconds: median length of the clips that were learned, if it is known.
    """

    settings: dict[str, Any]
    classes: NDArray[Any]
    n_features: int
    n_invariant: int
    encoder: str | None
    seconds: float | None
    learned: Learned


def save(saved: Saved, report: Report, save_directory: str | os.PathLike[str], name: str | None = None) -> None:
    """Write a classifier, with a card that loads it by this name; by the folder's if there is none.

    Raises:
        TypeError: labels that are not str, int, float or bool.
    """
    name = name or Path(save_directory).resolve().name
    learned = saved.learned
    config = {
        "model_type": MODEL_TYPE,
        "format_version": FORMAT_VERSION,
        "settings": saved.settings,
        "labels": labels.to_json(saved.classes),
        "encoder": saved.encoder,
        "seconds": saved.seconds,
        "n_features": saved.n_features,
        "n_invariant": saved.n_invariant,
        "numbers": {number: getattr(learned, number) for number in NUMBERS},
    }
    tensors = {array: torch.from_numpy(getattr(learned, array)) for array in ARRAYS}
    tensors["support"] = tensors["support"].float()  # as the embeddings were; half the size
    folder.write(save_directory, config, tensors, _card(saved, report, name))


def push(saved: Saved, report: Report, repo_id: str, **upload: Any) -> str:
    """Write a classifier to the Hub; see `hub.push`."""
    with tempfile.TemporaryDirectory() as temporary:
        save(saved, report, temporary, repo_id)
        return hub.push(repo_id, temporary, **upload)


def load(name_or_path: str | os.PathLike[str], **download: Any) -> Saved:
    """Read a classifier from a folder or the Hub; see `FewShotClassifier.from_pretrained`.

    Raises:
        ValueError: it is no classifier's folder, or damaged; the message names the file.
    """
    path = hub.resolve(name_or_path, **download)
    config, tensors = folder.read(path)
    source, weights = str(path / folder.CONFIG_FILE), str(path / folder.WEIGHTS_FILE)
    if (kind := config.get("model_type")) != MODEL_TYPE:
        raise ValueError(
            f"{source}: model_type is {folder.shortened(repr(kind))}, expected {MODEL_TYPE!r}: this is not a few-shot classifier"
        )
    if (version := config.get("format_version")) != FORMAT_VERSION:
        remedy = "fit it again" if version == 1 else "update mtslvr"
        raise ValueError(
            f"{source}: format_version is {folder.shortened(repr(version))}, and this release reads {FORMAT_VERSION}: {remedy}"
        )
    try:
        settings = config["settings"]
        if set(settings) != SETTINGS:
            raise ValueError(f"settings are {sorted(settings)}, expected {sorted(SETTINGS)}")
        linear.check(settings["method"], settings["C"])
        classes = labels.from_json(**config["labels"])
        numbers = {name: float(config["numbers"][name]) for name in NUMBERS}
        encoder, width, n_invariant = config["encoder"], config["n_features"], config["n_invariant"]
        seconds = None if config["seconds"] is None else float(config["seconds"])
        if seconds is not None and not 0 < seconds < math.inf:
            raise ValueError(f"seconds is {seconds}, expected a length above 0, or null")
        if not isinstance(encoder, (str, type(None))):
            raise ValueError(f"encoder is {encoder!r}, expected a fingerprint or null")
        if type(width) is not int or type(n_invariant) is not int or not 0 <= n_invariant <= width < 2**31:
            raise ValueError(f"n_features is {width!r} and n_invariant {n_invariant!r}, expected whole numbers")
        if settings["n_invariant"] not in (None, n_invariant):
            raise ValueError(f"n_invariant is {n_invariant}, and {settings['n_invariant']} in the settings")
        n_columns = Spaces.of(width, n_invariant)[settings["space"]]
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        told = folder.shortened(f"{type(error).__name__}: {error}", 400)
        raise ValueError(f"{source} is not a few-shot classifier's configuration: {told}") from error
    if bad := [name for name, number in numbers.items() if not 0 < number < math.inf]:
        raise ValueError(f"{source} is damaged: {bad[0]} is {numbers[bad[0]]}, expected a number above 0")

    n_clips = tensors["targets"].numel() if "targets" in tensors else 0
    real, whole = torch.zeros(()), torch.zeros((), dtype=torch.int64)
    expected = {
        "coef": real.expand(len(classes), n_columns),
        "intercept": real.expand(len(classes)),
        "support": real.expand(n_clips, n_columns),
        "targets": whole.expand(n_clips),
        "groups": whole.expand(n_clips),
    }
    folder.check_tensors(tensors, expected, source=weights)
    targets = tensors["targets"].numpy().astype(np.intp)
    if not np.array_equal(np.unique(targets), np.arange(len(classes))):
        raise ValueError(
            f"{weights} is damaged: targets must hold each class number, 0 to {len(classes) - 1}, and no other"
        )
    coef, intercept, support = (tensors[name].double().numpy() for name in ("coef", "intercept", "support"))
    if (np.abs(support) > 1.01).any():
        raise ValueError(f"{weights} is damaged: support must hold features of unit length")
    groups = tensors["groups"].numpy().astype(np.int64)
    learned = Learned(settings["method"], settings["C"], coef, intercept, support, targets, groups, **numbers)
    return Saved(settings, classes, width, n_invariant, encoder, seconds, learned)


def _card(saved: Saved, report: Report, name: str) -> str:
    cards = {model: (path / folder.CARD_FILE).read_text(encoding="utf-8") for model, path in MODELS.items()}
    inside = next((model for model, card in cards.items() if f"`{saved.encoder}`" in card), None)
    made = f"the encoder `{saved.encoder}`" if saved.encoder else "an encoder that was not written down"
    accuracy = "unknown" if math.isnan(report.accuracy) else f"{report.accuracy:.1%}"
    model = "" if inside == "default" else f', model="{inside or "the name of that encoder"}"'
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
            f"Fitted on embeddings by {made}" + (f", the {inside} weights of mtslvr" if inside else "") + ". "
            f"Leave-one-out accuracy: {accuracy}.",
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
