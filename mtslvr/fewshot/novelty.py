"""How new a sound is: its distance to the nearest support clip. Array mathematics only."""

from __future__ import annotations

import numpy as np

from mtslvr.fewshot.linear import Floats, Targets

THRESHOLD = 0.9  # in units, where no class has two examples; measured, see docs/fewshot.md
MAX_MEASURED = 2000  # support clips that unit and threshold are measured on; more change little
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
    blocks = [_distances(features[start : start + rows], support).min(1) for start in range(0, len(features), rows)]
    return np.concatenate(blocks)


def measure(support: Floats, targets: Targets) -> tuple[float, float]:
    """The unit of novelty, the median distance to the nearest clip of another class, and the threshold, in units.

    A support clip is a stranger to the classes other than its own, and an acquaintance, unless it is its class's only
    clip, to all other clips. At the threshold as many strangers are accepted as acquaintances are rejected.
    """
    chosen = np.arange(len(targets))[:: -(-len(targets) // MAX_MEASURED)]
    single = np.bincount(targets)[targets[chosen]] < 2
    strangers, known = np.empty(len(chosen)), np.empty(len(chosen))
    rows = max(1, BLOCK // len(support))
    for block in np.split(np.arange(len(chosen)), range(rows, len(chosen), rows)):
        clips = chosen[block]
        distances = _distances(support[clips], support)
        distances[np.arange(len(clips)), clips] = np.inf
        known[block] = distances.min(1)
        strangers[block] = np.where(targets[clips][:, None] == targets, np.inf, distances).min(1)
    unit = float(np.median(strangers)) or 1.0
    if single.all():
        return unit, THRESHOLD
    known, strangers = np.sort(known[~single]), np.sort(strangers)
    candidates = np.sort(np.concatenate([known, strangers]))
    rejected = 1 - np.searchsorted(known, candidates, "right") / len(known)
    accepted = np.searchsorted(strangers, candidates, "right") / len(strangers)
    return unit, float(candidates[np.abs(rejected - accepted).argmin()] / unit) or THRESHOLD  # 0: only copies


def _distances(features: Floats, support: Floats) -> Floats:
    """[n, d] and [m, d] -> [n, m]."""
    squares = np.square(features).sum(1)[:, None] + np.square(support).sum(1) - 2 * features @ support.T
    return np.sqrt(np.maximum(squares, 0.0))
