"""What a support set tells about its classifier: how far to trust it, which labels to look at again, what to record next."""

from __future__ import annotations

import math
import os
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from mtslvr.fewshot.duplicates import Duplicates
from mtslvr.fewshot.linear import Floats, Numbers
from mtslvr.fewshot.picture import MAX_DRAWN, plane

# The odds against a label that make it suspect. With a tenth of the labels swapped and five classes, 9 in 10 of the suspects are
# swapped ones, and a quarter (2 shots) to a half of the swapped are found; of more classes, fewer (docs/fewshot.md).
SUSPECT = 20.0
MAX_LISTED = 5  # of confusions, suspects and so on that the text names


@dataclass(frozen=True)
class Report:
    """Each clip of the support set is named by the classifier that the others make, those of its group left out with it.

    The only clip or group of its class cannot be tested.

    Args:
        classes: labels.
        targets, groups: class number and group number of each clip.
        named: class number that the others give it; -1 where they have none of its class.
        probability, own: of that name, and of its own label, 0..1.
        places: map of the clips, (x, y) each, on which the class means lie as far apart as a plane allows.
        names: what the text calls each clip.
        duplicates: of near-duplicates within the classes, where no groups were given: two of them, how many clips have one, and
            the accuracy if they are left out together.
    """

    classes: list[Any]
    targets: list[int]
    groups: list[int]
    named: list[int]
    probability: list[float]
    own: list[float]
    places: list[list[float]]
    names: list[str]
    duplicates: tuple[int, int, int, float] | None = None

    @classmethod
    def of(
        cls,
        classes: list[Any],
        targets: Numbers,
        groups: NDArray[np.int64],
        named: Numbers,
        probability: Floats,
        own: Floats,
        features: Floats,
        names: Sequence[str] | None = None,
        near_duplicates: tuple[Duplicates, float] | None = None,
    ) -> Report:
        """From what the others call each clip [n], how sure they are of it [n], features [n, d], and near-duplicates."""
        names = [f"clip {clip}" for clip in range(len(targets))] if names is None else list(map(str, names))
        if len(names) != len(targets):
            raise ValueError(f"{len(names)} names for {len(targets)} clips: give one for each, or none")
        return cls(
            classes=list(classes),
            targets=targets.tolist(),
            groups=groups.tolist(),
            named=named.tolist(),
            probability=probability.round(4).tolist(),
            own=own.round(6).tolist(),
            places=plane(features, targets).round(4).tolist(),
            names=names,
            duplicates=None
            if near_duplicates is None
            else (*near_duplicates[0].pair, near_duplicates[0].n_clips, near_duplicates[1]),
        )

    @property
    def judged(self) -> list[int]:
        """Numbers of the clips that can be judged."""
        return [clip for clip, name in enumerate(self.named) if name >= 0]

    @property
    def accuracy(self) -> float:
        """Share of the judged clips that get their own label; NaN if there are none."""
        right = sum(self.named[clip] == self.targets[clip] for clip in self.judged)
        return right / len(self.judged) if self.judged else math.nan

    def interval(self, number: int | None = None) -> tuple[float, float]:
        """95 % interval of the accuracy, of one class or of all: Wilson's. Clips of one group are no independent tests: each group counts once.

        NaN where nothing was tested.
        """
        tested = [clip for clip in self.judged if number in (None, self.targets[clip])]
        right = sum(self.named[clip] == self.targets[clip] for clip in tested)
        n_groups = len({self.groups[clip] for clip in tested})
        return wilson(round(right * n_groups / max(len(tested), 1)), n_groups)

    @property
    def confusions(self) -> list[tuple[Any, Any, int]]:
        """(label, label given instead, how often), the most frequent first."""
        pairs = Counter(
            (self.targets[clip], self.named[clip]) for clip in self.judged if self.targets[clip] != self.named[clip]
        )
        return [(self.classes[label], self.classes[name], count) for (label, name), count in pairs.most_common()]

    @property
    def suspects(self) -> list[tuple[int, Any, Any, float]]:
        """Clips for which the others find another label SUSPECT times likelier: (clip, label, name given, its probability)."""
        wrong = [clip for clip in self.judged if self.probability[clip] > SUSPECT * self.own[clip]]
        return [
            (clip, self.classes[self.targets[clip]], self.classes[self.named[clip]], self.probability[clip])
            for clip in sorted(wrong, key=lambda clip: -self.probability[clip])
        ]

    @cached_property
    def per_class(self) -> list[dict[str, Any]]:
        """Of each class: label, clips, those judged, those of them right, accuracy with its interval, and gain.

        Gain guesses the errors that one more clip would spare: errors fall roughly as 1 / clips. Rare classes borrow the
        error rate of all.
        """
        errors = 0.5 if math.isnan(self.accuracy) else 1 - self.accuracy
        clips_of, judged_of = Counter(self.targets), Counter(self.targets[clip] for clip in self.judged)
        right_of = Counter(self.targets[clip] for clip in self.judged if self.named[clip] == self.targets[clip])
        rows = []
        for number, label in enumerate(self.classes):
            clips, judged, right = clips_of[number], judged_of[number], right_of[number]
            low, high = self.interval(number)
            rows.append(
                {
                    "label": label,
                    "clips": clips,
                    "judged": judged,
                    "right": right,
                    "accuracy": right / judged if judged else math.nan,
                    "low": low,
                    "high": high,
                    "gain": (judged - right + 2 * errors) / (judged + 2) / (clips + 1),
                }
            )
        return rows

    @property
    def record_next(self) -> list[Any]:
        """Labels, the one that would gain most from another recording first."""
        return [row["label"] for row in sorted(self.per_class, key=lambda row: -row["gain"])]

    def to_dict(self) -> dict[str, Any]:
        """All of it, in what JSON can hold as far as the labels are; NaN, where nothing can be judged, as None."""
        low, high = self.interval()
        numbers = {"accuracy": self.accuracy, "low": low, "high": high, "chance": 1 / len(self.classes)}
        rows = [{key: _none(value) for key, value in row.items()} for row in self.per_class]
        return {
            "clips": len(self.targets),
            "judged": len(self.judged),
            **{name: _none(value) for name, value in numbers.items()},
            "per_class": rows,
            "confusions": [list(entry) for entry in self.confusions],
            "suspects": [list(entry) for entry in self.suspects],
            "record_next": self.record_next,
            "near_duplicates": None if self.duplicates is None else [*self.duplicates[:3], _none(self.duplicates[3])],
        }

    def __str__(self) -> str:
        """The report as text, for a screen 80 columns wide."""
        clips, judged, n_groups = len(self.targets), len(self.judged), len(set(self.groups))
        of = "" if n_groups == clips else f" from {n_groups} groups"
        lines = [
            f"{clips} clips of {len(self.classes)} classes{of}; {judged} tested by leave-one-{'group-' if of else ''}out"
        ]
        if judged:
            low, high = self.interval()
            lines.append(
                f"accuracy {self.accuracy:.1%}, 95 % interval {low:.1%} to {high:.1%}; chance {1 / len(self.classes):.1%}"
            )
        else:
            thing = "groups" if of else "clips"
            lines.append(f"accuracy unknown: no class has two {thing} to test one by the other; record more of each")
        rows = sorted(self.per_class, key=lambda row: -row["gain"])
        width = max(5, *(len(str(row["label"])) for row in rows[:MAX_DRAWN]))
        lines += ["", f"{'class':<{width}}  clips  right  95 % interval"]
        for row in rows[:MAX_DRAWN]:
            known = f"{row['right']:>5}  {row['low']:.0%} to {row['high']:.0%}" if row["judged"] else f"{'?':>5}"
            lines.append(f"{row['label']!s:<{width}}  {row['clips']:>5}  {known}")
        if len(rows) > MAX_DRAWN:
            lines.append(f"... and {len(rows) - MAX_DRAWN} more, which need another recording less urgently")
        if self.confusions:
            named = [f"{label} taken for {name} ({count})" for label, name, count in self.confusions[:MAX_LISTED]]
            lines += ["", *textwrap.wrap("confused: " + ", ".join(named), 80, subsequent_indent="  ")]
        for clip, label, name, probability in self.suspects[:MAX_LISTED]:
            lines.append(
                f"look again at {self.names[clip]}, labelled {label}: the others say {name} ({probability:.2f})"
            )
        if self.duplicates is not None:
            first, second, n_clips, accuracy = self.duplicates
            apart = "" if math.isnan(accuracy) else f"; left out together, accuracy is {accuracy:.1%}"
            told = (
                f"{n_clips} clips are near-duplicates within their class, such as {self.names[first]} and {self.names[second]}. "
                f"If they are from one recording, the accuracy above may be too high for new ones{apart}. "
                "Say which clips belong together: groups"
            )
            lines += ["", *textwrap.wrap(told, 80, break_long_words=False, break_on_hyphens=False)]
        lines += ["", "record next: " + ", ".join(str(label) for label in self.record_next[:3])]
        return "\n".join(lines)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the map of the support set and the confusion matrix, as a PNG. Of many classes, the most confused are drawn.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from mtslvr.fewshot.picture import draw

        gains = [row["gain"] for row in self.per_class]
        draw(path, self.classes, gains, np.array(self.targets), np.array(self.named), np.array(self.places))


def wilson(right: int, n: int) -> tuple[float, float]:
    """95 % interval of a share, right of n (Wilson 1927, Probable inference); NaN if n is 0."""
    if n == 0:
        return math.nan, math.nan
    interval = binomtest(right, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def _none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
