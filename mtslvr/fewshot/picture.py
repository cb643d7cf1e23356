"""The picture of a report: a map of the support set, and the confusion matrix."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from mtslvr.fewshot.linear import Floats, Numbers, class_means

MAX_DRAWN = 25  # classes that there is room for


def draw(
    path: str | os.PathLike[str],
    classes: Sequence[Any],
    gains: Sequence[float],
    targets: Numbers,
    named: Numbers,
    places: Floats,
) -> None:
    """Write it as a PNG; see `Report` for the arguments. Of many classes, those of the greatest gain are drawn.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # not pyplot: a library changes no global state
    except ImportError as error:
        raise ImportError('plot() needs matplotlib: pip install "mtslvr[plot]"') from error
    drawn = sorted(sorted(range(len(classes)), key=lambda number: -gains[number])[:MAX_DRAWN])
    titles = [_short(classes[number]) for number in drawn]
    size = max(5.0, 0.35 * len(drawn))  # inches
    figure = Figure(figsize=(2.4 * size, 1.1 * size), layout="constrained")
    chart, matrix = figure.subplots(1, 2)
    for i, (number, name) in enumerate(zip(drawn, titles, strict=True)):
        chosen = np.flatnonzero(targets == number)
        wrong = chosen[(named[chosen] != number) & (named[chosen] >= 0)]
        marker = "os^Dv"[i // 10 % 5]
        chart.scatter(*places[chosen].T, s=36, color=f"C{i % 10}", marker=marker, label=name)
        chart.scatter(*places[wrong].T, s=130, facecolors="none", edgecolors="black", linewidths=0.9)
    chart.set(title="Support set; circled: wrong by leave-one-out", xticks=[], yticks=[])
    chart.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(0, -0.02), ncols=int(0.65 * size))

    pairs = Counter(zip(targets[named >= 0].tolist(), named[named >= 0].tolist(), strict=True))
    counts = np.array([[pairs[row, column] for column in drawn] for row in drawn])
    matrix.imshow(counts, cmap="Blues", vmin=0, vmax=max(counts.max(), 1))
    for (row, column), count in np.ndenumerate(counts):
        if count:
            shade = "white" if count > counts.max() / 2 else "black"
            matrix.text(column, row, str(count), ha="center", va="center", color=shade, fontsize="small")
    right = int((named == targets).sum())
    part = f"; the {MAX_DRAWN} classes that gain most from more" if len(drawn) < len(classes) else ""
    matrix.set(
        title=f"{right} of {(named >= 0).sum()} named right{part}",
        xlabel="predicted by leave-one-out",
        ylabel="label",
    )
    matrix.set_xticks(range(len(drawn)), titles, rotation=45, ha="right")
    matrix.set_yticks(range(len(drawn)), titles)
    figure.savefig(path, format="png", dpi=110)


def plane(features: Floats, targets: Numbers) -> Floats:
    """Principal plane of the class means: [n, d] -> [n, 2]."""
    means = class_means(features, targets)
    centre = means.mean(0)
    _, vectors = np.linalg.eigh((means - centre) @ (means - centre).T)  # [C, C], ascending
    axes = (means - centre).T @ vectors[:, ::-1][:, :2]  # [d, 2], orthogonal
    if axes.shape[1] < 2 or np.linalg.norm(axes[:, 1]) < 1e-9 * np.linalg.norm(axes[:, 0]):
        # Two means lie on a line: the clips' own direction across it makes the plane.
        first = axes[:, 0] / (np.linalg.norm(axes[:, 0]) or 1.0)
        rest = features - centre - np.outer((features - centre) @ first, first)
        axes = np.stack([first, np.linalg.svd(rest, full_matrices=False)[2][0]], 1)
    lengths = np.linalg.norm(axes, axis=0)
    return np.asarray((features - centre) @ (axes / np.where(lengths > 0, lengths, 1.0)))


def _short(label: Any) -> str:
    return text if len(text := str(label)) <= 18 else text[:17] + "…"
