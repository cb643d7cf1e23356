"""What every evaluation set is read into: a name, and clips with a label and a group.

Each module beside this one reads one set as its users have it on disk, through `read(root, name) -> Dataset`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Clip:
    """One sound file.

    Args:
        path: where it lies.
        label: its class.
        group: what it was taken from: a speaker, a recording; None where that is not known.
    """

    path: Path
    label: str
    group: str | None = None


@dataclass(frozen=True)
class Dataset:
    """An evaluation set.

    Args:
        name: what tables call it.
        clips: in an order that does not depend on the machine.

    Raises:
        ValueError: there are no clips.
    """

    name: str
    clips: tuple[Clip, ...]

    def __post_init__(self) -> None:
        if not self.clips:
            raise ValueError(f"{self.name}: no clips")

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The labels, sorted."""
        return tuple(sorted({clip.label for clip in self.clips}))

    @cached_property
    def targets(self) -> np.ndarray:
        """Class number of each clip: int64 [n_clips], in 0..n_classes-1."""
        number = {label: i for i, label in enumerate(self.classes)}
        return np.array([number[clip.label] for clip in self.clips], dtype=np.int64)

    @cached_property
    def groups(self) -> np.ndarray:
        """Group number of each clip: int64 [n_clips].

        Raises:
            ValueError: some clips have no group.
        """
        if unknown := sum(clip.group is None for clip in self.clips):
            raise ValueError(
                f"{self.name}: {unknown} of {len(self.clips)} clips have no group; "
                "give a CSV with a column `group`, or leave --group-disjoint out"
            )
        names = sorted({str(clip.group) for clip in self.clips})
        number = {name: i for i, name in enumerate(names)}
        return np.array([number[str(clip.group)] for clip in self.clips], dtype=np.int64)

    @cached_property
    def digest(self) -> str:
        """16 hex digits that identify the list of clips, wherever it lies: file names, labels and groups in order."""
        digest = hashlib.sha256()
        for clip in self.clips:
            digest.update(repr((clip.path.name, clip.label, clip.group)).encode())
        return digest.hexdigest()[:16]

    def class_sizes(self, n_most: int = 5) -> str:
        """The largest classes in words, for messages: "rain (8), wind (8) and 38 more"."""
        counts = Counter(clip.label for clip in self.clips).most_common()
        told = ", ".join(f"{label} ({count})" for label, count in counts[:n_most])
        return told + (f" and {len(counts) - n_most} more" if len(counts) > n_most else "")


def some(names: Sequence[object], n_most: int = 3) -> str:
    """The first few of a list in words, for messages: "a, b, c and 9 more"; "nothing" if there are none."""
    told = ", ".join(str(name) for name in names[:n_most]) or "nothing"
    return told + (f" and {len(names) - n_most} more" if len(names) > n_most else "")
