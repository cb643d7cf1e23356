"""How well `mtslvr.detect` finds events in recordings spliced from real clips (see splice.py): a table of settings.

    python -m training.studies.detection --data drums=/path/to/a/folder/with/a/subfolder/per/class --window 0.5 1 2 --reject none auto

A found event is right if it overlaps a true one of its label that no other found event is matched with; precision, recall
and F1 count these, and the onset error is the median of |found - true start| of the right ones, in seconds.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mtslvr.encoder.model import MTSLVR
from mtslvr.events import Event, detect
from mtslvr.fewshot import FewShotClassifier
from mtslvr.sound.stream import SAMPLE_RATE
from mtslvr.storage import cache
from mtslvr.storage.tables import lined_up
from training.evaluation import sets
from training.studies.splice import NOISE, OTHER, Scene, splice

BACKGROUNDS = {"none": (), "noise": (NOISE,), "both": (NOISE, OTHER)}  # which labels the classifier learns besides


class Remembering:
    """A model whose embeddings are kept, as settings differ in little else than what is done with them."""

    def __init__(self, model: MTSLVR, folder: Path) -> None:
        self.fingerprint, self.spaces = model.fingerprint, model.spaces
        self._embed = functools.partial(model.embed, progress=False)
        self._folder = folder / model.fingerprint

    def embed(self, clips: Sequence[Any], **options: Any) -> np.ndarray:
        return cache.embed(self._embed, clips, self._folder)


@dataclass(frozen=True)
class Score:
    """What was found in a recording; the onset errors, in seconds, are of what was right."""

    n_true: int
    n_found: int
    onset_errors: tuple[float, ...]

    @property
    def precision(self) -> float:
        return len(self.onset_errors) / max(1, self.n_found)

    @property
    def recall(self) -> float:
        return len(self.onset_errors) / max(1, self.n_true)

    @property
    def f1(self) -> float:
        return 2 * len(self.onset_errors) / max(1, self.n_true + self.n_found)


def score(true: Sequence[Event], found: Sequence[Event]) -> Score:
    """Match events one to one, those that overlap longest first."""
    pairs = [
        (min(a.end, b.end) - max(a.start, b.start), i, j)
        for (i, a), (j, b) in itertools.product(enumerate(true), enumerate(found))
        if a.label == b.label
    ]
    matched: dict[int, int] = {}
    for overlap, i, j in sorted(pairs, reverse=True):
        if overlap > 0 and i not in matched and j not in matched.values():
            matched[i] = j
    errors = tuple(abs(true[i].start - found[j].start) for i, j in sorted(matched.items()))
    return Score(len(true), len(found), errors)


def find(scene: Scene, model: Any, background: str, **options: Any) -> list[Event]:
    """Learn the scene's support, with the labels that `background` names, and find events in its recording."""
    besides = BACKGROUNDS[background]
    support = [(clip, label) for clip, label in scene.support if label in besides or label not in (NOISE, OTHER)]
    classifier = FewShotClassifier(model=model)
    classifier.fit([(clip, SAMPLE_RATE) for clip, _ in support], [label for _, label in support])
    return detect((scene.wave, SAMPLE_RATE), classifier, background=list(besides), **options)


def table(rows: Sequence[tuple[Sequence[str], Sequence[Score]]], settings: Sequence[str], data: Sequence[str]) -> str:
    """A line for each setting: F1 of each set in %; the means of precision, recall and F1; the median onset error of all."""
    lines = [[*settings, *data, "precision", "recall", "F1", "onset"]]
    for setting, scores in rows:
        means = [np.mean([getattr(one, name) for one in scores]) for name in ("precision", "recall", "f1")]
        errors = [error for one in scores for error in one.onset_errors]
        cells = [f"{100 * value:.0f}" for value in (*(one.f1 for one in scores), *means)]
        lines.append([*setting, *cells, f"{np.median(errors):.2f}" if errors else "-"])
    return lined_up(lines, left=())


def run(args: argparse.Namespace) -> None:
    model = Remembering(MTSLVR.from_pretrained(None if args.model == "default" else args.model), args.cache)
    datasets = sets.from_arguments(args)
    scenes = [
        splice(
            dataset,
            np.random.default_rng([args.seed, *dataset.name.encode()]),
            n_shots=args.shots,
            seconds=args.seconds,
        )
        for dataset in datasets
    ]
    grid = itertools.product(args.background, args.reject, args.window, args.hop, args.threshold, args.min_duration)
    rows = []
    for background, reject, window, hop, threshold, min_duration in grid:
        if hop > window:
            continue
        options = {"window": window, "hop": hop, "threshold": threshold, "min_duration": min_duration}
        rejected = None if reject == "none" else reject if reject == "auto" else float(reject)
        found = [find(scene, model, background, reject=rejected, **options) for scene in scenes]
        scores = [score(scene.events, events) for scene, events in zip(scenes, found, strict=True)]
        rows.append(([background, reject, *(f"{value:g}" for value in options.values())], scores))
    n_events = sum(len(scene.events) for scene in scenes)
    print(
        f"{len(scenes)} recordings of {args.seconds:g} s, {n_events} events, {args.shots} examples a label; %, and s\n"
    )
    print(
        table(rows, ["background", "reject", "window", "hop", "threshold", "shortest"], [one.name for one in datasets])
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.studies.detection",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sets.add_arguments(parser)
    parser.add_argument("--model", default="default", help="a folder or Hub name; default: the package's weights")
    parser.add_argument(
        "--background", nargs="+", choices=BACKGROUNDS, default=["both"], help="besides the classes learnt"
    )
    parser.add_argument("--reject", nargs="+", default=["none"], help="none, auto, or a number")
    parser.add_argument("--window", nargs="+", type=float, default=[1.0])
    parser.add_argument("--hop", nargs="+", type=float, default=[0.25])
    parser.add_argument("--threshold", nargs="+", type=float, default=[0.5])
    parser.add_argument("--min-duration", nargs="+", type=float, default=[0.5])
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=180.0, help="length of each recording")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=cache.default_folder(), metavar="PATH")
    args = parser.parse_args(argv)
    try:
        run(args)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
