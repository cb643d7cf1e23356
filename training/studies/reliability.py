"""How often a classifier is right by how sure it is: reliability diagram and calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Floats = NDArray[np.float64]
N_BINS = 10  # of confidence


def reliability(probabilities: Floats, right: Floats) -> Floats:
    """Clips, sum of confidence and number right in each of N_BINS bins of confidence: [n, C], [n] -> [N_BINS, 3]."""
    confidence = probabilities.max(1)
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    return np.stack([np.bincount(bins, weights, N_BINS) for weights in (np.ones(len(bins)), confidence, right)], 1)


def calibration_error(bins: Sequence[Sequence[float]]) -> float:
    """Expected calibration error, % (Guo et al. 2017, eq. 3): |accuracy - confidence| of the bins, weighed by their clips."""
    clips, confidence, right = np.array(bins).T
    return float(100 * np.abs(right - confidence).sum() / clips.sum())


def plot(rows: Sequence[tuple[str, int, list[list[float]]]], path: Path) -> None:
    """Reliability diagram, a panel for each number of shots, a line for each number of ways: all sets pooled.

    Args:
        rows: of each set: ways, shots, and bins of `reliability`.
    """
    shots = sorted({n_shots for _, n_shots, _ in rows})
    figure = Figure(figsize=(2.6 * len(shots) + 1, 3.2), layout="constrained")
    for axes, n_shots in zip(figure.subplots(1, len(shots), squeeze=False, sharey=True)[0], shots, strict=True):
        for ways in dict.fromkeys(ways for ways, _, _ in rows):
            found = [bins for *key, bins in rows if key == [ways, n_shots]]
            bins = np.sum(found or np.zeros((1, N_BINS, 3)), 0)
            clips, confidence, right = bins[bins[:, 0] >= 20].T  # fewer say little
            axes.plot(confidence / clips, right / clips, marker="o", markersize=4, label=f"{ways} ways")
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1, label="as often right as sure")
        axes.set(title=f"{n_shots} shot{'s' * (n_shots > 1)}", xlabel="confidence", xlim=(0, 1), ylim=(0, 1))
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("share right")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=150)
