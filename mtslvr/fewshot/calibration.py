"""Scores to probabilities: softmax(scores / temperature). Array mathematics only.

A method's scores have a scale of their own, and with many classes or shots another: the unit of temperature is the margin by which
the support set's own clips are named right. In that unit one temperature serves all methods and shots, and hardly depends on the
number of classes (measured on tasks of 2 to 69 of them: docs/fewshot.md). From two shots on the leave-one-out scores correct it.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from mtslvr.fewshot.linear import Floats, Numbers

# Measured with the weights 436d0c778d1b4e77; python -m training.studies.temperature measures them again, and what that is worth.
USUAL = 0.15  # temperature of 5 classes, in margins
BY_CLASSES = -0.26  # it goes with the number of classes to this power
SPREAD = 0.4  # standard deviation of its logarithm from task to task
BY_SHOTS = 0.3  # a clip whose class has lost it wants one higher by shots / (shots - 1) to this power
MAX_CLIPS = 2000  # that the temperature is fitted to; more change nothing


def usual(scores: Floats, targets: Numbers) -> float:
    """The temperature before anything is left out, from the support set's own scores [n, C] and class numbers [n]."""
    n_classes = scores.shape[1]
    own = np.take_along_axis(scores, targets[:, None], 1)[:, 0]
    margin = float((own - (scores.sum(1) - own) / (n_classes - 1)).mean())
    return USUAL * (n_classes / 5) ** BY_CLASSES * (margin if margin > 0 else 1.0)  # 0 where all clips are alike


def temperature(
    usual: float, held_out: Floats, targets: Numbers, groups: np.ndarray, random: np.random.RandomState
) -> float:
    """The temperature that makes the held-out scores most likely, near the usual one as long as there are few of them.

    Args:
        held_out: of `linear.leave_out`, [n, C].
        targets, groups: class number and group of each clip, [n].
        random: chooses the clips where there are more than MAX_CLIPS.
    """
    judged = random.permutation(np.flatnonzero(~np.isnan(held_out[:, 0])))[:MAX_CLIPS]
    if not len(judged):
        return usual
    _, together, sizes = np.unique(np.stack([targets, groups], 1), axis=0, return_inverse=True, return_counts=True)
    shots = np.bincount(targets)[targets[judged]]
    shrink = (1 - sizes[together.ravel()[judged]] / shots) ** BY_SHOTS
    scores, own = held_out[judged] * shrink[:, None], targets[judged][:, None]

    def surprise(logarithm: float) -> float:
        likelihood = np.take_along_axis(log_softmax(scores / (usual * np.exp(logarithm)), axis=1), own, 1)
        return float(0.5 * (logarithm / SPREAD) ** 2 - likelihood.sum())

    return float(usual * np.exp(minimize_scalar(surprise, bounds=(-4.0, 4.0), method="bounded").x))


def probabilities(scores: Floats, temperature: float) -> Floats:
    """Of scores [n, C], which may be -inf: [n, C], rows sum to 1."""
    return np.asarray(softmax(scores / temperature, axis=1))
