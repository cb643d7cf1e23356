"""How good a classifier of somebody's own sounds would be, by the number of recordings that it learns from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from mtslvr.fewshot import FewShotClassifier, labels

if TYPE_CHECKING:
    from mtslvr.encoder.model import MTSLVR

SHOTS = (1, 2, 5, 10, 20)  # recordings a class


@dataclass(frozen=True)
class Point:
    """Accuracy at one number of recordings a class, over random draws of them.

    Args:
        space: columns that the classifier used.
        accuracy, low, high: %, mean over draws, and the range of the middle 90 % of them. Every class counts alike.
        head_weights: mean share of the weights on each head in the space "combined".
    """

    n_shots: int
    space: str
    accuracy: float
    low: float
    high: float
    head_weights: dict[str, float]


def learning_curve(
    model: MTSLVR,
    embeddings: np.ndarray,
    y: ArrayLike,
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
        shots: the numbers K; those that leave a class none to be judged on are passed over.
        n_draws: for each K; every space gets the same ones.

    Returns:
        A point for each K and space.

    Raises:
        ValueError: the smallest class has too few clips for any K; fewer than two classes; no draws.
        TypeError: labels of several types.
    """
    classes, targets = labels.numbered(y, len(embeddings))
    counts = np.bincount(targets)
    possible = [n_shots for n_shots in sorted(set(shots)) if 1 <= n_shots < counts.min()]
    if not possible:
        raise ValueError(
            f"class {classes.tolist()[counts.argmin()]!r} has {counts.min()} clips: none to judge on, if one learns from "
            f"{min(shots, default=1)} a class. Record more of it, or leave it out"
        )
    if n_draws < 1:
        raise ValueError(f"n_draws is {n_draws}; expected at least 1")
    members = [np.flatnonzero(targets == i) for i in range(len(classes))]
    points = []
    for n_shots in tqdm(possible, "learning curve", delay=2, disable=None, leave=False):
        rng = np.random.default_rng([seed, n_shots])
        accuracies = {space: np.empty(n_draws) for space in model.spaces}
        shares: list[dict[str, float]] = []
        for draw in range(n_draws):
            support = np.concatenate([rng.choice(clips, n_shots, replace=False) for clips in members])
            query = np.setdiff1d(np.arange(len(targets)), support)
            for space, found in accuracies.items():
                classifier = FewShotClassifier(space=space, model=model).fit(embeddings[support], targets[support])
                right = classifier.predict(embeddings[query]) == targets[query]
                found[draw] = 100 * (np.bincount(targets[query], right) / np.bincount(targets[query])).mean()
                if space == "combined":
                    shares.append(classifier.head_weights_)
        weights = {head: float(np.mean([share[head] for share in shares])) for head in shares[0]}
        for space, found in accuracies.items():
            low, high = np.percentile(found, [5, 95])
            points.append(Point(n_shots, space, float(found.mean()), float(low), float(high), weights))
    return points


def text(points: Sequence[Point], n_classes: int) -> str:
    """The curve as a table: recordings a class down, spaces across."""
    spaces = list(dict.fromkeys(point.space for point in points))
    rows = [["recordings a class", *(f"{space} %" for space in spaces), "weight of the heads"]]
    for n_shots in dict.fromkeys(point.n_shots for point in points):
        row = {point.space: point for point in points if point.n_shots == n_shots}
        cells = [f"{row[space].accuracy:.1f} ({row[space].low:.0f} to {row[space].high:.0f})" for space in spaces]
        weights = ", ".join(f"{head} {share:.2f}" for head, share in row["combined"].head_weights.items())
        rows.append([str(n_shots), *cells, weights])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, "", f"chance is {100 / n_classes:.1f} %; in brackets, where 90 % of the draws lie"])


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
    axes.set(xlabel="recordings a class", ylabel="accuracy %", ylim=(0, 100), xscale="log")
    axes.set_xticks(shots, [str(n_shots) for n_shots in shots])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)
