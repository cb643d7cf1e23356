"""What every evaluation set is read into: a name, and clips with a label and a group.

Each set has a module of its name beside this one, which reads it as its users have it on disk: `read(root, name) -> Dataset`.
The sets of the paper have a split of their classes too, kept in class_splits.json as the authors' split files have it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np

SPLITS = ("all", "train", "val", "test")


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

    @property
    def has_groups(self) -> bool:
        """Whether every clip has a group, and there are at least two."""
        return len({clip.group for clip in self.clips}) > 1 and all(clip.group is not None for clip in self.clips)

    @cached_property
    def groups(self) -> np.ndarray:
        """Group number of each clip: int64 [n_clips].

        Raises:
            ValueError: some clips have no group.
        """
        if unknown := sum(clip.group is None for clip in self.clips):
            raise ValueError(
                f"{self.name}: {unknown} of {len(self.clips)} clips have no group; "
                "give a CSV with a column `group`, or use --groups auto or mixed"
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


@cache
def class_splits() -> dict[str, dict[str, tuple[str, ...]]]:
    """Of each set of the paper, by its module's name: the classes in "train", "val" and "test", sorted."""
    splits = json.loads(Path(__file__).with_name("class_splits.json").read_text(encoding="utf-8"))
    return {name: {part: tuple(classes) for part, classes in parts.items()} for name, parts in splits.items()}


def split(dataset: Dataset, part: str = "test") -> Dataset:
    """The clips of the classes in one part of the paper's split, under the same name and in the same order.

    Args:
        dataset: a set of the paper by its name; any other has no split and is returned as it is.
        part: "train", "val", "test", or "all" for the set as it is, classes in no part included.

    Raises:
        ValueError: there is no such part, the paper has no classes in it, or some of them are not in the data set.
    """
    if part not in SPLITS:
        raise ValueError(f"split is {part!r}; expected one of {', '.join(SPLITS)}")
    parts = class_splits().get(dataset.name)
    if part == "all" or parts is None:
        return dataset
    wanted = parts[part]
    if not wanted:
        raise ValueError(f"{dataset.name}: the paper has no classes in {part}, all {len(parts['test'])} are in test")
    if missing := sorted(set(wanted) - set(dataset.classes)):
        raise ValueError(
            f"{dataset.name}: {len(missing)} of the {len(wanted)} classes of the paper's {part} split are missing: "
            f"{some(missing)}; found {len(dataset.classes)} classes: {some(dataset.classes)}. "
            "Give the whole data set, or take the classes that are there with --split all"
        )
    chosen = set(wanted)
    return Dataset(dataset.name, tuple(clip for clip in dataset.clips if clip.label in chosen))


def some(names: Sequence[object], n_most: int = 3) -> str:
    """The first few of a list in words, for messages: "a, b, c and 9 more"; "nothing" if there are none."""
    told = ", ".join(str(name) for name in names[:n_most]) or "nothing"
    return told + (f" and {len(names) - n_most} more" if len(names) > n_most else "")
