"""What a classifier has learned, as a value: fitted to features and class numbers, kept in a folder, asked for probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mtslvr.fewshot import calibration, duplicates, linear, novelty
from mtslvr.fewshot.linear import Floats, Numbers


@dataclass(frozen=True)
class Learned:
    """scores = features @ coef.T + intercept; the support set; and what was measured on it.

    Args:
        method, strength: see `linear.fit`.
        coef, intercept: [C, d], [C].
        support, targets, groups: features [n, d], class numbers [n], group numbers [n].
        temperature: see `calibration`.
        unit, threshold: see `novelty.measure`.
    """

    method: str
    strength: float
    coef: Floats
    intercept: Floats
    support: Floats
    targets: Numbers
    groups: NDArray[np.int64]
    temperature: float
    unit: float
    threshold: float

    @classmethod
    def of(
        cls,
        method: str,
        strength: float,
        features: Floats,
        targets: Numbers,
        groups: NDArray[np.int64],
        random: np.random.RandomState,
    ) -> Learned:
        """Fit; `random` chooses the clips that are measured on where there are thousands."""
        found = linear.fit(method, features, targets, strength)
        unit, threshold = novelty.measure(features, targets, groups, random)
        # "logistic" is fitted again for each clip that is left out: that waits until a report is wanted.
        held_out = None if method == "logistic" else linear.leave_out(found, targets, groups)
        temperature = calibration.usual(features @ found.weights.T + found.biases, targets)
        if held_out is not None:
            temperature = calibration.temperature(temperature, held_out, targets, groups, random)
        learned = cls(
            method,
            strength,
            found.weights,
            found.biases,
            features,
            targets,
            groups,
            temperature,
            unit,
            threshold,
        )
        if held_out is not None:
            vars(learned)["judged"] = learned._judge(held_out)  # so that it need not be computed again
        return learned

    def scores(self, features: Floats) -> Floats:
        """[n, d] -> [n, C]."""
        return np.asarray(features @ self.coef.T + self.intercept)

    def probabilities(self, features: Floats) -> Floats:
        """[n, d] -> [n, C]; rows sum to 1."""
        return calibration.probabilities(self.scores(features), self.temperature)

    def novelty(self, features: Floats) -> Floats:
        """Distance to the nearest support clip, in units: [n, d] -> [n]."""
        return np.asarray(novelty.nearest(features, self.support) / self.unit)

    @cached_property
    def judged(self) -> tuple[Numbers, Floats, Floats]:
        """What each clip of the support set is by the classifier without its group: class, -1 if it cannot be judged; probability
        of that class; probability of its own label.
        """
        found = linear.fit(self.method, self.support, self.targets, self.strength)
        return self._judge(linear.leave_out(found, self.targets, self.groups))

    @cached_property
    def near_duplicates(self) -> tuple[duplicates.Duplicates, float] | None:
        """Near-duplicates where no groups were given, and the accuracy of leave-one-out if they are left out together."""
        found = None if (self.groups >= 0).any() else duplicates.find(self.support, self.targets, self.unit)
        if found is None:
            return None
        again = linear.fit(self.method, self.support, self.targets, self.strength)
        named, *_ = self._judge(linear.leave_out(again, self.targets, found.groups))
        return found, float(np.mean((named == self.targets)[named >= 0])) if (named >= 0).any() else np.nan

    def _judge(self, held_out: Floats) -> tuple[Numbers, Floats, Floats]:
        able = ~np.isnan(held_out[:, 0])
        probabilities = calibration.probabilities(held_out[able], self.temperature)
        named, probability, own = np.full(len(able), -1), np.zeros(len(able)), np.zeros(len(able))
        named[able], probability[able] = probabilities.argmax(1), probabilities.max(1)
        own[able] = probabilities[np.arange(len(probabilities)), self.targets[able]]
        return named, probability, own
