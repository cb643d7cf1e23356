"""The learning curve of a classifier of somebody's own sounds: accuracy by the number of recordings per class that it learns from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import cross_val_score
from tqdm import tqdm

from mtslvr.fewshot import FewShotClassifier, duplicates, inputs, labels
from mtslvr.fewshot.linear import Numbers
from mtslvr.storage.tables import lined_up

if TYPE_CHECKING:
    from mtslvr.encoder.model import MTSLVR

SHOTS = (1, 2, 5, 10, 20)  # recordings per class
PATIENCE = 100  # draws that fail before a number of shots is called impossible


@dataclass(frozen=True)
class Point:
    """Accuracy at one number of recordings per class, over random draws of them.

    Args:
        space: columns that the classifier used.
        accuracy, low, high: %, mean over draws, and the range of the middle 90 % of them. Every class counts alike.
    """

    n_shots: int
    space: str
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Draws:
    """A splitter for scikit-learn: K random clips of every class to learn from, and all clips of other groups to judge on.

    Args:
        targets, groups: class and group number of each clip, [n].
    """

    targets: Numbers
    groups: np.ndarray
    n_shots: int
    n_draws: int
    seed: int = 0

    def split(self, X: Any = None, y: Any = None, groups: Any = None) -> Iterator[tuple[Numbers, Numbers]]:
        """Yields the numbers of the clips to learn from, and of those to judge on; fewer than `n_draws` where hardly any draw is possible."""
        random = np.random.default_rng([self.seed, self.n_shots])
        members = [np.flatnonzero(self.targets == number) for number in range(self.targets.max() + 1)]
        n_drawn = n_failed = 0
        while n_drawn < self.n_draws and n_failed < PATIENCE * (n_drawn + 1):
            # A clip of every class is set aside with its group first, so that there is something to judge each on.
            aside = np.zeros(len(self.targets), bool)
            for number in random.permutation(len(members)):
                if not aside[members[number]].any():
                    aside |= self.groups == self.groups[random.choice(members[number])]
            free = [clips[~aside[clips]] for clips in members]
            if min(map(len, free)) < self.n_shots:
                n_failed += 1
                continue
            support = np.concatenate([random.choice(clips, self.n_shots, replace=False) for clips in free])
            yield support, np.flatnonzero(~np.isin(self.groups, self.groups[support]))
            n_drawn += 1

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """The number of draws."""
        return self.n_draws


def learning_curve(
    model: MTSLVR,
    embeddings: np.ndarray,
    y: ArrayLike,
    groups: Any = None,
    *,
    shots: Sequence[int] = SHOTS,
    n_draws: int = 100,
    seed: int = 0,
) -> list[Point]:
    """Fit on K random clips of every class, judge on all others, many times.

    Args:
        model: what made the embeddings.
        embeddings: in the space "combined", float [n, D].
        y: a label for each.
        groups: the recording, speaker or the like of each; no group has clips on both sides. None: each is by itself.
        shots: the numbers K; those that leave a class without a clip to be judged on are passed over.
        n_draws: for each K; every space gets the same ones.

    Returns:
        A point for each K and space.

    Raises:
        ValueError: the smallest class has too few clips or groups for any K; fewer than two classes; no draws.
        TypeError: labels of several types.
    """
    classes, targets = labels.numbered(y, len(embeddings))
    numbers = inputs.group_numbers(groups, len(targets))
    if n_draws < 1:
        raise ValueError(f"n_draws is {n_draws}; expected at least 1")
    points = []
    for n_shots in tqdm(sorted(set(shots)), "learning curve", delay=2, disable=None, leave=False):
        draws = list(Draws(targets, numbers, n_shots, n_draws, seed).split()) if n_shots > 0 else []
        for space in model.spaces if draws else ():
            classifier = FewShotClassifier(space=space, model=model)
            found = 100 * cross_val_score(classifier, embeddings, targets, cv=draws, scoring="balanced_accuracy")
            low, high = np.percentile(found, [5, 95])
            points.append(Point(n_shots, space, float(found.mean()), float(low), float(high)))
    if not points:
        counts = np.bincount(targets)
        rare = counts.argmin()
        n_groups = len(set(numbers[targets == rare]))
        of, own = ("", "") if groups is None else (f" of {n_groups} groups", ", of another group,")
        raise ValueError(
            f"class {classes.tolist()[rare]!r} has {counts[rare]} clips{of}: each class needs at least one clip{own} more than the "
            f"{min(shots, default=1)} to learn from, to test on. Record more of it, or leave it out"
        )
    return points


def duplicates_note(
    model: MTSLVR, embeddings: np.ndarray, y: ArrayLike, names: Sequence[str], last: Point, n_draws: int
) -> str:
    """What near-duplicates within the classes mean for the last point of a curve without groups; nothing if there are none."""
    _, targets = labels.numbered(y, len(embeddings))
    learned = FewShotClassifier(method="centroid", model=model).fit(embeddings, targets).learned_
    found = duplicates.find(learned.support, learned.targets, learned.unit)
    if found is None:
        return ""
    first, second = (names[clip] for clip in found.pair)
    told = (
        f"{found.n_clips} clips are near-duplicates within their class, such as {first} and {second}. If they are from one "
        f"recording, these figures may be too high for new ones: say which clips belong together, by a column group or folders class/recording/clip."
    )
    try:
        apart = learning_curve(model, embeddings, y, found.groups, shots=[last.n_shots], n_draws=n_draws)
    except ValueError:  # too few groups for so many shots
        return told
    accuracy = {point.space: point.accuracy for point in apart}[last.space]
    than = f"not {last.accuracy:.1f}" if accuracy < last.accuracy else "no less"
    return f"{told} Kept on one side, {last.n_shots} recordings per class give {accuracy:.1f} % ({last.space}), {than}."


def text(points: Sequence[Point], n_classes: int) -> str:
    """The curve as a table: recordings per class down, spaces across."""
    spaces = list(dict.fromkeys(point.space for point in points))
    rows = [["recordings per class", *(f"{space} %" for space in spaces)]]
    for n_shots in dict.fromkeys(point.n_shots for point in points):
        row = {point.space: point for point in points if point.n_shots == n_shots}
        cells = [f"{row[space].accuracy:.1f} ({row[space].low:.0f} to {row[space].high:.0f})" for space in spaces]
        rows.append([str(n_shots), *cells])
    return "\n\n".join(
        [lined_up(rows, left=()), f"chance is {100 / n_classes:.1f} %; in brackets the range of 90 % of the draws"]
    )


def plot(points: Sequence[Point], n_classes: int, path: str | os.PathLike[str]) -> None:
    """The curve as PNG; needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for space in dict.fromkeys(point.space for point in points):
        curve = [point for point in points if point.space == space]
        shots = [point.n_shots for point in curve]
        axes.plot(shots, [point.accuracy for point in curve], marker="o", label=space)
        if space == "combined":
            axes.fill_between(
                shots, [p.low for p in curve], [p.high for p in curve], alpha=0.15, label="90 % of draws, combined"
            )
    axes.axhline(100 / n_classes, color="grey", linestyle=":", linewidth=1, label="chance")
    axes.set(xlabel="recordings per class", ylabel="accuracy %", ylim=(0, 100), xscale="log")
    axes.set_xticks(shots, [str(n_shots) for n_shots in shots])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)
