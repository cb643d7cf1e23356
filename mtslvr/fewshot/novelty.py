"""How new a sound is: its distance to the nearest support clip. Array mathematics only."""

from __future__ import annotations

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances  # ten times as fast as cdist on a thousand features

from mtslvr.fewshot.linear import Floats, Numbers

THRESHOLD = 0.9  # in units, where no class has two examples; measured, see docs/fewshot.md
MAX_CLIPS = 2000  # of the support set that unit and threshold are measured on; more change little
BLOCK = 2**22  # distances held at a time


def threshold(reject: str | float | None, usual: float) -> float:
    """What `reject` means: the usual threshold for "auto", the number it is, or for None infinity.

    Raises:
        ValueError: it is something else.
    """
    if reject is None:
        return np.inf
    if reject == "auto":
        return usual
    if isinstance(reject, (str, bool)) or not reject > 0:
        raise ValueError(f"reject={reject!r}: expected None, 'auto' or a number above 0, such as {usual:.2f}")
    return float(reject)


def nearest(features: Floats, support: Floats) -> Floats:
    """Euclidean distance of each row to the nearest support clip: [n, d] and [n_support, d] -> [n]."""
    rows = max(1, BLOCK // len(support))
    blocks = [
        euclidean_distances(features[start : start + rows], support).min(1) for start in range(0, len(features), rows)
    ]
    return np.concatenate(blocks)


def measure(
    support: Floats, targets: Numbers, groups: np.ndarray, random: np.random.RandomState
) -> tuple[float, float]:
    """The unit of novelty, the median distance to the nearest clip of another class, and the threshold, in units.

    A support clip is a stranger to the classes other than its own, and an acquaintance, unless its class is in no other
    group, to all clips of other groups. At the threshold as many strangers are accepted as acquaintances are rejected.

    Args:
        support, targets, groups: features [n, d], class numbers [n] and groups [n].
        random: chooses the clips where there are more than MAX_CLIPS.
    """
    chosen = random.permutation(len(targets))[:MAX_CLIPS]
    strangers, known = np.empty(len(chosen)), np.full(len(chosen), np.nan)
    rows = max(1, BLOCK // len(support))
    for block in np.split(np.arange(len(chosen)), range(rows, len(chosen), rows)):
        clips = chosen[block]
        distances = euclidean_distances(support[clips], support)
        same = targets[clips][:, None] == targets
        strangers[block] = np.where(same, np.inf, distances).min(1)
        others = groups[clips][:, None] != groups
        known[block] = np.where((same & others).any(1), np.where(others, distances, np.inf).min(1), np.nan)
    unit = float(np.median(strangers)) or 1.0
    known, strangers = np.sort(known[~np.isnan(known)]), np.sort(strangers)
    if not len(known):
        return unit, THRESHOLD
    candidates = np.sort(np.concatenate([known, strangers]))
    rejected = 1 - np.searchsorted(known, candidates, "right") / len(known)
    accepted = np.searchsorted(strangers, candidates, "right") / len(strangers)
    return unit, float(candidates[np.abs(rejected - accepted).argmin()] / unit) or THRESHOLD  # 0: only copies
