"""What either head of a model and both together do on a set, and whether that goes with how invariant the heads are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from mtslvr.encoder.spaces import Spaces
from training.evaluation import solvers
from training.evaluation.datasets.common import Dataset
from training.evaluation.episodes import Episodes
from training.evaluation.report import interval


@dataclass(frozen=True)
class Heads:
    """What the heads of a model do on a set; accuracies in %, intervals are 1.96 standard errors over the tasks.

    Args:
        invariant, variant, combined: accuracies.
        difference: invariant less variant, on the same tasks.
        gain: combined less the better head, on the same tasks.
        gap: how much further augmentations move a clip in the variant head than in the invariant one (ratio, see
            invariance.py); None if that was not measured.
    """

    encoder: str
    data: str
    n_shots: int
    invariant: float
    variant: float
    combined: float
    difference: float
    difference_interval: float
    gain: float
    gain_interval: float
    gap: float | None


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation, over the sets, of the gap in invariance with `of`, a field of Heads."""

    encoder: str
    n_shots: int
    of: str
    n_sets: int
    rho: float
    p: float


def compare_heads(
    encoder: str, features: np.ndarray, spaces: Spaces, dataset: Dataset, episodes: Episodes, gap: float | None
) -> Heads:
    """Accuracy of either head and of both on a set: float32 [n_clips, D], as the space "combined"."""
    both = spaces.heads()
    columns = {"combined": list(both.values()), **{head: [columns] for head, columns in both.items()}}
    found = {space: 100 * solvers.accuracies(features, heads, episodes) for space, heads in columns.items()}
    means = {space: float(accuracies.mean()) for space, accuracies in found.items()}
    difference = found["invariant"] - found["variant"]
    gain = found["combined"] - found[max(both, key=lambda head: means[head])]
    return Heads(
        encoder=encoder,
        data=dataset.name,
        n_shots=episodes.support.shape[2],
        **means,
        difference=float(difference.mean()),
        difference_interval=interval(difference),
        gain=float(gain.mean()),
        gain_interval=interval(gain),
        gap=gap,
    )


def correlations(results: Sequence[Heads]) -> list[Correlation]:
    """Of the gap with the difference and with the gain, for each model and number of shots with three sets or more measured that differ."""
    rows = []
    measured = [result for result in results if result.gap is not None]
    for encoder, n_shots in dict.fromkeys((result.encoder, result.n_shots) for result in measured):
        own = [result for result in measured if (result.encoder, result.n_shots) == (encoder, n_shots)]
        for what in ("difference", "gain"):
            pairs = [(result.gap, getattr(result, what)) for result in own]
            if len(own) > 2 and all(len(set(values)) > 1 for values in zip(*pairs, strict=True)):
                found = spearmanr(*zip(*pairs, strict=True))
                rows.append(Correlation(encoder, n_shots, what, len(own), float(found.statistic), float(found.pvalue)))
    return rows
