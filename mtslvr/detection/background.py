"""The background class: what is usual in a recording, learned from its own windows.

Most windows of a long recording hold nothing that is looked for, as the few-shot task of DCASE supposes too, whose
baseline learns its negative class from all windows (Morfi et al. 2021, arXiv 2107.05463). Here those are left out that
are nearer to the examples than to the recording's middle; what that is worth is in docs/detection.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtslvr.fewshot import novelty
from mtslvr.fewshot.learned import Learned

N_SEEN = 2_000  # windows of a recording that are looked at, at most
N_LEARNED = 100  # of those, that are learned as background, at most
SHARE = 0.5  # of all windows, that are background for sure; silence is part of it
N_LEAST = 20  # sounding windows, of which something can be learned

Floats = NDArray[np.float64]


def share_of(sounding: NDArray[np.bool_]) -> float:
    """The share of the sounding windows that is background; 0 where the recording is too short, or silence makes up for it.

    Args:
        sounding: which windows of the recording are not digital silence, [n].
    """
    n_sounding = int(sounding.sum())
    if n_sounding < N_LEAST:
        return 0.0
    return max(0.0, (SHARE * len(sounding) - (len(sounding) - n_sounding)) / n_sounding)


def learn(
    method: str,
    strength: float,
    support: Floats,
    targets: NDArray[np.intp],
    groups: NDArray[np.int64],
    windows: Floats,
    share: float,
) -> Learned:
    """Fit a classifier whose last class is the background.

    Args:
        method, strength: see `linear.fit`.
        support, targets, groups: features [n, d], class numbers [n], and group numbers [n], of one class or more; -1 is the
            number of examples of the background.
        windows: features of windows of the recording, [n_windows, d], n_windows > 0.
        share: of those, that are background.
    """
    chosen = windows[usual(windows, support[targets >= 0], share)]
    last = targets.max() + 1
    more = len(chosen)
    return Learned.of(
        method,
        strength,
        np.vstack([support, chosen]),
        np.concatenate([np.where(targets < 0, last, targets), np.full(more, last)]),
        np.concatenate([groups, groups.max() + 1 + np.arange(more)]),
        np.random.RandomState(0),
    )


def usual(windows: Floats, support: Floats, share: float) -> NDArray[np.intp]:
    """Which windows are background: N_LEARNED of the share that lie nearest to the middle of all, compared with the examples.

    Args:
        windows, support: features [n, d] and [n_support, d].
    """
    middle = np.median(windows, 0)
    strangeness = np.linalg.norm(windows - middle, axis=1) - novelty.nearest(windows, support)
    likely = np.argsort(strangeness, kind="stable")[: max(1, round(share * len(windows)))]
    return np.random.default_rng(0).permutation(likely)[:N_LEARNED]
