"""How well events are found in recordings spliced from real clips (see splice.py): a table of settings.

    python -m training.studies.detection --data drums=/path/to/a/folder/with/a/subfolder/per/class --window 0.5 1 2 --reject none auto
    python -m training.studies.detection --protocol marked --data drums=...

"apart": a classifier learns examples from elsewhere, and `mtslvr.detect` searches the recording for four classes. "marked", as
in the few-shot task of DCASE (Morfi et al. 2021, arXiv 2107.05463): the first five events of each of two classes are given
with their times, `detect_like` searches for the others, and twice as many other sounds are in the way.

A found event is right if it overlaps a true one of its label (intersection over union above --iou) that no other found event
is matched with; precision, recall and F1 count these, and the onset error is the median of |found - true start| of the right
ones, in seconds.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mtslvr.encoder.model import MTSLVR
from mtslvr.events import AUTO, Event, detect, detect_like
from mtslvr.fewshot import FewShotClassifier
from mtslvr.sound.stream import SAMPLE_RATE
from mtslvr.storage import cache
from mtslvr.storage.tables import lined_up
from training.evaluation import sets
from training.studies.splice import NOISE, OTHER, Scene, folded, splice

# Which labels the classifier learns besides, and whether it learns from the recording.
BACKGROUNDS: dict[str, tuple[str, ...]] = {"none": (), "noise": (NOISE,), "both": (NOISE, OTHER), "auto": (AUTO,)}
N_MARKED = 5  # events of each label that are given
MARKED: dict[str, Any] = {"n_labels": 2, "unasked": 1 / 2, "gap": (1.0, 6.0)}  # sparser, and more in the way


class Remembering:
    """A model whose embeddings are kept, as settings differ in little else than what is done with them."""

    training = False

    def __init__(self, model: MTSLVR, folder: Path) -> None:
        self.fingerprint, self.spaces, self.device = model.fingerprint, model.spaces, model.device
        self._embed = functools.partial(model.embed, progress=False)
        self._folder = folder / model.fingerprint

    def embed(self, clips: Sequence[Any], **options: Any) -> np.ndarray:
        return cache.embed(self._embed, clips, self._folder)

    def __call__(self, waves: torch.Tensor, space: str) -> torch.Tensor:
        return torch.from_numpy(
            self.embed([(wave, SAMPLE_RATE) for wave in waves.numpy()])[:, self.spaces.columns(space)]
        )


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


def score(true: Sequence[Event], found: Sequence[Event], iou: float = 0.0) -> Score:
    """Match events one to one, those that overlap longest first, of those whose intersection over union is above `iou`."""
    pairs = [
        (min(a.end, b.end) - max(a.start, b.start), i, j)
        for (i, a), (j, b) in itertools.product(enumerate(true), enumerate(found))
        if a.label == b.label
    ]
    union = {(i, j): max(true[i].end, found[j].end) - min(true[i].start, found[j].start) for _, i, j in pairs}
    matched: dict[int, int] = {}
    for overlap, i, j in sorted(pairs, reverse=True):
        if overlap > iou * union[i, j] and i not in matched and j not in matched.values():
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


def marked(scene: Scene, n: int = N_MARKED) -> tuple[list[Event], list[Event]]:
    """The first n events of each label, and the others, in order."""
    counts: Counter[str] = Counter()
    given: list[Event] = []
    rest: list[Event] = []
    for event in scene.events:
        counts[event.label] += 1
        (given if counts[event.label] <= n else rest).append(event)
    return given, rest


def find_marked(scene: Scene, model: Any, **options: Any) -> list[Event]:
    """Find what is like the first events of a scene in the rest of it."""
    return detect_like((scene.wave, SAMPLE_RATE), marked(scene)[0], model=model, **options)


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
    model = Remembering(MTSLVR.from_pretrained(args.model), args.cache)
    datasets = sets.from_arguments(args)
    as_marked = args.protocol == "marked"
    scenes = [
        splice(
            dataset,
            np.random.default_rng([args.seed, *dataset.name.encode()]),
            n_shots=args.shots,
            seconds=args.seconds,
            **(MARKED if as_marked else {}),
        )
        for dataset in datasets
    ]
    if args.fold:
        scenes = [folded(scene) for scene in scenes]
    true = [marked(scene)[1] if as_marked else scene.events for scene in scenes]
    windows = [None] if args.window is None else args.window
    hops = [None] if args.hop is None else args.hop
    thresholds = args.threshold or [0.7 if as_marked else 0.25 if args.several else 0.5]
    learned = [("auto", "none")] if as_marked else list(itertools.product(args.background, args.reject))
    rows = []
    for (background, reject), window, hop, threshold, min_duration in itertools.product(
        learned, windows, hops, thresholds, args.min_duration
    ):
        if hop is not None and window is not None and hop > window:
            continue
        options = {"window": window, "hop": hop, "threshold": threshold, "min_duration": min_duration}
        if as_marked:
            found = [find_marked(scene, model, **options) for scene in scenes]
        else:
            rejected = None if reject == "none" else reject if reject == "auto" else float(reject)
            options_too = {"reject": rejected, "exclusive": not args.several}
            found = [find(scene, model, background, **options_too, **options) for scene in scenes]
        scores = [score(events, those, args.iou) for events, those in zip(true, found, strict=True)]
        shown = ("auto" if value is None else f"{value:g}" for value in options.values())
        rows.append(([background, reject, *shown], scores))
    n_events = sum(map(len, true))
    print(
        f"{len(scenes)} recordings of {args.seconds:g} s, {n_events} events, {N_MARKED if as_marked else args.shots} examples per label; %, and s\n"
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
    parser.add_argument("--protocol", choices=["apart", "marked"], default="apart", help="where the examples are from")
    parser.add_argument(
        "--fold", action="store_true", help="lay the second half over the first, so that sounds overlap"
    )
    parser.add_argument("--several", action="store_true", help="let several classes sound at once (exclusive=False)")
    parser.add_argument("--iou", type=float, default=0.0, help="intersection over union that a right event exceeds")
    parser.add_argument(
        "--background", nargs="+", choices=BACKGROUNDS, default=["auto"], help="besides the classes learnt"
    )
    parser.add_argument("--reject", nargs="+", default=["none"], help="none, auto, or a number")
    parser.add_argument("--window", nargs="+", type=float, help="seconds; default: as the examples")
    parser.add_argument("--hop", nargs="+", type=float, help="seconds; default: as `detect` chooses")
    parser.add_argument(
        "--threshold", nargs="+", type=float, help="default: 0.5; 0.25 with --several, 0.7 with examples marked"
    )
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
