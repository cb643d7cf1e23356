"""Few-shot episodes: N-way K-shot tasks drawn from a data set (paper, section 4.2).

The classes of a task are drawn uniformly without replacement, then per class K support and q query clips, all different.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtslvr.storage import atomic
from training.evaluation.datasets.common import Dataset

N_QUERIES = 1  # per class, as the paper has it
CHUNK = 2_000_000  # clips looked at at a time where groups must be disjoint; bounds the memory
GROUPS = ("auto", "disjoint", "mixed")
PATIENCE = 50  # rounds of drawing anew before group-disjoint episodes are called impossible


class TooFewGroups(ValueError):
    """A set has too few groups, or too few clips outside of one, for group-disjoint tasks."""


@dataclass(frozen=True)
class Episodes:
    """Tasks as numbers of clips; the class of a clip within its task is its place on axis 1.

    Args:
        support: int64 [n_tasks, n_ways, n_shots].
        query: int64 [n_tasks, n_ways, n_queries].
    """

    support: np.ndarray
    query: np.ndarray

    def disjoint(self, dataset: Dataset) -> bool:
        """Whether no task has clips of one group both in its support and in its query; False where groups are not known."""
        if not dataset.has_groups:
            return False
        support, query = (dataset.groups[part].reshape(len(part), -1) for part in (self.support, self.query))
        return not any((support == column[:, None]).any() for column in query.T)

    def save(self, path: str | os.PathLike[str], dataset: Dataset) -> None:
        """Write an npz, whole or not at all."""
        with atomic.whole(Path(path)) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, support=self.support, query=self.query, digest=np.array(dataset.digest))

    @classmethod
    def load(cls, path: str | os.PathLike[str], dataset: Dataset) -> Episodes:
        """Read what `save` wrote.

        Raises:
            ValueError: it is no such file, or was drawn from another list of clips.
        """
        try:
            with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                episodes, digest = cls(file["support"], file["query"]), str(file["digest"])
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} does not hold episodes: {error}") from error
        if digest != dataset.digest:
            raise ValueError(
                f"{path} was drawn from another list of clips than {dataset.name} is now ({digest}, not {dataset.digest})"
            )
        return episodes


def draw(
    dataset: Dataset,
    n_tasks: int,
    *,
    n_ways: int = 5,
    n_shots: int = 1,
    n_queries: int = N_QUERIES,
    group_disjoint: bool = False,
    rng: np.random.Generator,
) -> Episodes:
    """Draw episodes; the same generator state gives the same ones.

    Classes with fewer than n_shots + n_queries clips are never drawn.

    Args:
        group_disjoint: no group (speaker, recording) has clips both in a task's support and in its query. The query is then
            drawn first and the support from what is left; a task for which that is not enough is drawn anew.

    Raises:
        ValueError: a number below its least value; fewer classes of that size than ways; groups wanted but unknown, or too few.
    """
    for name, value, least in (
        ("tasks", n_tasks, 1),
        ("ways", n_ways, 2),
        ("shots", n_shots, 1),
        ("queries", n_queries, 1),
    ):
        if value < least:
            raise ValueError(f"{name} is {value}; expected at least {least}")
    members = [np.flatnonzero(dataset.targets == i) for i in range(len(dataset.classes))]
    large = [clips for clips in members if len(clips) >= n_shots + n_queries]
    if len(large) < n_ways:
        raise ValueError(
            f"{dataset.name}: {n_ways}-way {n_shots}-shot episodes need {n_ways} classes of at least {n_shots + n_queries} "
            f"clips ({n_shots} support + {n_queries} query); found {len(large)} such of {len(members)}: {dataset.class_sizes()}"
        )
    sizes = np.array([len(clips) for clips in large])
    table = np.full((len(large), sizes.max()), -1)  # clips of each class, filled up with -1
    for row, clips in zip(table, large, strict=True):
        row[: len(clips)] = clips

    if not group_disjoint:
        classes = _distinct(np.full(n_tasks, len(large)), n_ways, rng)
        places = _distinct(sizes[classes], n_shots + n_queries, rng)
        clips = table[classes[..., None], places]
        return Episodes(clips[..., :n_shots], clips[..., n_shots:])
    return _draw_disjoint(dataset, table, n_tasks, n_ways, n_shots, n_queries, rng)


def draw_seeded(
    dataset: Dataset, n_tasks: int, *, n_ways: int = 5, n_shots: int = 1, groups: str = "auto", seed: int = 0
) -> Episodes:
    """Draw with a generator of their own, so that neither other sets nor other shots change them. See `draw`.

    Args:
        groups: "disjoint", no group has clips on both sides of a task; "mixed", groups are not looked at; "auto", disjoint where the
            set has groups, and enough of them for so many shots, and mixed where not: `Episodes.disjoint` tells.

    Raises:
        ValueError: see `draw`; groups is none of these.
    """
    if groups not in GROUPS:
        raise ValueError(f"groups is {groups!r}; expected one of {', '.join(GROUPS)}")

    def drawn(group_disjoint: bool) -> Episodes:
        rng = np.random.default_rng([seed, n_ways, n_shots])
        return draw(dataset, n_tasks, n_ways=n_ways, n_shots=n_shots, group_disjoint=group_disjoint, rng=rng)

    if groups == "auto" and dataset.has_groups:
        try:
            return drawn(True)
        except TooFewGroups:
            pass
    return drawn(groups == "disjoint")


def _draw_disjoint(
    dataset: Dataset,
    table: np.ndarray,
    n_tasks: int,
    n_ways: int,
    n_shots: int,
    n_queries: int,
    rng: np.random.Generator,
) -> Episodes:
    sizes = (table >= 0).sum(1)
    groups = np.where(table >= 0, dataset.groups[table], -1)  # [n_classes, n_most]
    chunk = max(1, min(n_tasks, CHUNK // (n_ways * table.shape[1])))
    support, query, n_drawn, n_kept = [], [], 0, 0
    while n_kept < n_tasks:
        classes = _distinct(np.full(chunk, len(table)), n_ways, rng)  # [chunk, n_ways]
        rows = classes[..., None]
        query_places = _distinct(sizes[classes], n_queries, rng)
        query_groups = groups[rows, query_places].reshape(chunk, -1)
        free = table[classes] >= 0  # [chunk, n_ways, n_most]
        for group in query_groups.T:
            free &= groups[classes] != group[:, None, None]
        n_free = free.sum(-1)
        kept = np.flatnonzero((n_free >= n_shots).all(1))
        n_drawn, n_kept = n_drawn + 1, n_kept + len(kept)
        if n_drawn >= PATIENCE and n_kept * PATIENCE < n_drawn:  # hardly any task in 50 rounds
            raise TooFewGroups(
                f"{dataset.name}: of {n_drawn * chunk} {n_ways}-way {n_shots}-shot tasks drawn, {n_kept} could keep the "
                f"{len(np.unique(dataset.groups))} groups of its {len(dataset.clips)} clips on one side each; "
                "use --groups auto or mixed, or ask for fewer shots"
            )
        ranks = _distinct(n_free[kept], n_shots, rng)  # among the free clips of each class
        places = np.argsort(~free[kept], axis=-1, kind="stable")  # the free ones first, in order
        support.append(table[rows[kept], np.take_along_axis(places, ranks, -1)])
        query.append(table[rows[kept], query_places[kept]])
    return Episodes(np.concatenate(support)[:n_tasks], np.concatenate(query)[:n_tasks])


def _distinct(counts: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """n different whole numbers below each count, in random order: [...] -> int64 [..., n]."""
    drawn = np.empty((*counts.shape, n), dtype=np.int64)
    for i in range(n):
        number = rng.integers(counts - i)
        # The number-th of those not yet taken: step over the taken ones from below.
        for taken in np.moveaxis(np.sort(drawn[..., :i]), -1, 0):
            number += number >= taken
        drawn[..., i] = number
    return drawn
