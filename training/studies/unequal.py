"""Classes with unequal numbers of examples: accuracy by method on tasks whose queries are as many of each class.

    python -m training.studies.unequal --data-root SETS [--tasks 100] [--methods ridge logistic centroid] [--json FILE]

"1 2 5 10 20": five classes, of which one, drawn at random, has one example, another two, and so on. "3 30", "1 30": two classes.
"3 30*": the second class is everything else in the set, as a background is. A class that is too small gives what it has. No group
(speaker, recording) is on both sides of a task, where a set has groups. "By size": the share of each class's queries named right, the
smallest class first, of the first kind of task, all sets.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mtslvr.fewshot import FewShotClassifier
from mtslvr.fewshot.linear import METHODS
from mtslvr.storage import cache
from mtslvr.storage.tables import lined_up
from training.evaluation import sets
from training.evaluation.datasets.common import Dataset
from training.evaluation.encoders import Network

KINDS = {"1 2 5 10 20": (1, 2, 5, 10, 20), "3 30": (3, 30), "1 30": (1, 30), "3 30*": (3, 30)}
MIXED = "3 30*"
N_QUERIES = 3  # per class; fewer where a third of the smallest class is less
N_OTHERS = 12  # queries of everything else
PATIENCE = 200  # tasks drawn for one that has examples of every class

Task = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # support, its classes, query, its classes


def draw(dataset: Dataset, kind: str, n_tasks: int, rng: np.random.Generator) -> Iterator[Task]:
    """Tasks of a kind; fewer than n_tasks, or none, where the set has too few clips outside the groups of the queries."""
    groups = dataset.groups if dataset.has_groups else np.arange(len(dataset.clips))
    n_queries = int(np.clip(np.bincount(dataset.targets).min() // 3, 1, N_QUERIES))
    for _ in range(n_tasks):
        for _ in range(PATIENCE):
            shots = KINDS[kind] if kind == MIXED else rng.permutation(KINDS[kind])
            chosen = rng.permutation(len(dataset.classes))[: len(shots)]
            classes = np.full(len(dataset.clips), 1 if kind == MIXED else -1)
            for number, one in enumerate(chosen[:1] if kind == MIXED else chosen):
                classes[dataset.targets == one] = number
            sizes = [n_queries, N_OTHERS] if kind == MIXED else [n_queries] * len(shots)
            query = np.concatenate([_some(classes == i, size, rng) for i, size in enumerate(sizes)])
            free = ~np.isin(groups, groups[query])
            support = [_some(free & (classes == i), size, rng) for i, size in enumerate(shots)]
            if all(len(clips) >= min(2, size) for clips, size in zip(support, shots, strict=True)):
                clips = np.concatenate(support)
                yield clips, classes[clips], query, classes[query]
                break


def _some(which: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(np.flatnonzero(which))[:n]


def recalls(features: np.ndarray, task: Task, method: str) -> np.ndarray:
    """The share of each class's queries that is named right, the class with the fewest examples first: [C]."""
    support, y, query, truth = task
    named = FewShotClassifier(method=method).fit(features[support], y).predict(features[query])
    found = np.array([(named == number)[truth == number].mean() for number in range(y.max() + 1)])
    return found[np.argsort(np.bincount(y), kind="stable")]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.studies.unequal",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sets.add_arguments(parser)
    parser.add_argument("--model", default="default", help="model folder or Hub name; default: the package's weights")
    parser.add_argument("--tasks", type=int, default=100, help="per set and kind; default: %(default)s")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="default: all")
    parser.add_argument("--cache", type=Path, default=cache.default_folder(), help="folder of embeddings")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    try:
        datasets = sets.from_arguments(args)
    except ValueError as error:
        parser.error(str(error))
    encoder = Network.pretrained(args.model)
    rows = []
    for dataset in tqdm(datasets, "sets", disable=None):
        features = cache.embed(encoder.embed, [clip.path for clip in dataset.clips], args.cache / encoder.fingerprint)
        for kind in KINDS:
            tasks = list(draw(dataset, kind, args.tasks, np.random.default_rng(0)))
            for method in args.methods if tasks else ():
                found = np.array([recalls(features, task, method) for task in tasks])
                rows.append(
                    {
                        "data": dataset.name,
                        "kind": kind,
                        "method": method,
                        "accuracy": 100 * float(found.mean()),
                        "by_size": (100 * found.mean(0)).tolist(),
                    }
                )
    for kind in KINDS:
        names = list(dict.fromkeys(row["data"] for row in rows if row["kind"] == kind))
        lines = [[kind, *names, "mean", "by size"]]
        for method in args.methods:
            own = [row for row in rows if (row["kind"], row["method"]) == (kind, method)]
            by_size = np.mean([row["by_size"] for row in own], 0)
            figures = [row["accuracy"] for row in own]
            lines.append(
                [
                    method,
                    *(f"{one:.1f}" for one in (*figures, np.mean(figures))),
                    " ".join(f"{one:.0f}" for one in by_size),
                ]
            )
        print(lined_up(lines) + "\n")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
