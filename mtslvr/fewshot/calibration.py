"""Scores to probabilities: softmax(scores / temperature). Array mathematics only.

The usual temperature depends on the method and, weakly, on the number of classes. It was measured once, on tasks of 2 to 69
classes (docs/fewshot.md), and is all that is known at one shot. From two shots on the leave-one-out scores of the support set correct it.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from mtslvr.fewshot.linear import Floats, Numbers

USUAL = {"ridge": 0.14, "centroid": 0.2, "logistic": 1.0}  # temperature of 5 classes
BY_CLASSES = -0.15  # it goes with the number of classes to this power
SPREAD = 0.5  # standard deviation of the temperature's logarithm from task to task
BY_SHOTS = 0.35  # scores of a clip whose class lost it want a temperature higher by shots / (shots - 1) to this power
MAX_CLIPS = 2000  # that the temperature is fitted to; more change nothing


def usual(method: str, n_classes: int) -> float:
    """The temperature before anything is known of a task."""
    return float(USUAL[method] * (n_classes / 5) ** BY_CLASSES)


def temperature(
    method: str, held_out: Floats | None, targets: Numbers, groups: np.ndarray, random: np.random.RandomState
) -> float:
    """The temperature that makes the held-out scores most likely, near the usual one as long as there are few of them.

    Args:
        held_out: of `linear.leave_out`, [n, C]; None where it was not computed.
        targets, groups: class number and group of each clip, [n].
        random: chooses the clips where there are more than MAX_CLIPS.
    """
    middle = usual(method, int(targets.max()) + 1)
    if held_out is None or not len(judged := np.flatnonzero(~np.isnan(held_out[:, 0]))):
        return middle
    judged = random.permutation(judged)[:MAX_CLIPS]
    pairs = np.stack([targets, groups], 1)
    _, pair_of, sizes = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    all_clips = np.bincount(targets)[targets[judged]]
    shrink = ((all_clips - sizes[pair_of.ravel()[judged]]) / all_clips) ** BY_SHOTS
    scores = held_out[judged] * shrink[:, None]
    own = targets[judged][:, None]

    def surprise(logarithm: float) -> float:
        likelihood = np.take_along_axis(log_softmax(scores / (middle * np.exp(logarithm)), axis=1), own, 1)
        return float(0.5 * (logarithm / SPREAD) ** 2 - likelihood.sum())

    return float(middle * np.exp(minimize_scalar(surprise, bounds=(-4.0, 4.0), method="bounded").x))


def probabilities(scores: Floats, temperature: float) -> Floats:
    """Of scores [n, C]: [n, C], rows sum to 1; rows that are NaN stay so."""
    return np.asarray(softmax(scores / temperature, axis=1))
