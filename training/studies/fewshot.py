"""The evidence behind FewShotClassifier's defaults: accuracy by method and space, confidence by ways and shots, suspect labels, strangers.

    python -m training.studies.fewshot --data-root SETS [--ways 2 5 10 20 all] [--shots 1 2 5 10 20] [--tasks 100] [--methods ridge]
        [--spaces combined] [--json FILE] [--plot PNG]

Unlike `training.evaluation.evaluate`, which solves thousands of tasks at once, this fits the estimator task by task, as users do. A
task has up to three queries per class, and as many of classes that it does not know; no group (speaker, recording) is both in its
support and in its query, wherever a set has enough groups, and the classifier is told the groups. A set with too few classes for a
number of ways, or clips for a number of shots, is left out there. "together" is all sets as one, for many ways. "auto" is the space with
the best leave-one-out accuracy in the support set.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from mtslvr.encoder.spaces import NAMES as SPACES
from mtslvr.fewshot import FewShotClassifier
from mtslvr.fewshot.linear import METHODS
from mtslvr.storage import cache
from training.evaluation import sets
from training.evaluation.datasets.common import Clip, Dataset
from training.evaluation.encoders import Network
from training.evaluation.episodes import Episodes, draw
from training.studies.fewshot_tables import printed
from training.studies.reliability import N_BINS, plot, reliability

N_QUERIES = 3  # per class
SWAPPED = 0.1  # of a support set's labels, where suspect labels are looked for
AUTO = "auto"


@dataclass(frozen=True)
class Row:
    """One set at one number of ways and shots.

    Args:
        n_ways: classes that are known; ways is what was asked for: that, or "all".
        disjoint: whether groups are kept apart.
        accuracy, interval: % by "method/space": the mean over tasks, and 1.96 standard errors.
        bins: [bin] triples (clips, sum of confidence, number right), of the default classifier.
        unknown: area under the ROC curve of `novelty`, 0..1; at the automatic threshold, % of strangers accepted and of
            known sounds rejected. None where every class is known.
        suspects: of labels that were swapped: how many, how many of them the report suspects, and how many that are right.
    """

    data: str
    ways: str
    n_ways: int
    shots: int
    n_tasks: int
    disjoint: bool
    accuracy: dict[str, float]
    interval: dict[str, float]
    bins: list[list[float]]
    unknown: tuple[float, float, float] | None
    suspects: tuple[int, int, int]


def union(datasets: Sequence[Dataset]) -> Dataset:
    """All sets as one, in order; clips of a set without groups are each of their own."""
    clips = [
        Clip(clip.path, f"{one.name}/{clip.label}", f"{one.name}/{clip.group if one.has_groups else i}")
        for one in datasets
        for i, clip in enumerate(one.clips)
    ]
    return Dataset("together", tuple(clips))


def fit_task(
    X: np.ndarray, y: np.ndarray, groups: np.ndarray | None, methods: Sequence[str], spaces: Sequence[str]
) -> dict[str, FewShotClassifier]:
    """The classifiers that are compared, by "method/space", fitted on one support set; the default among them."""
    fitted = {f"ridge/{space}": FewShotClassifier(space=space).fit(X, y, groups) for space in spaces}
    if (y == y[0]).sum() > 1 and len(spaces) > 1:  # max takes the first of equals: combined
        fitted[f"ridge/{AUTO}"] = max(fitted.values(), key=lambda classifier: classifier.report().accuracy)
    others = {
        f"{method}/combined": FewShotClassifier(method=method).fit(X, y, groups)
        for method in methods
        if method != "ridge"
    }
    return fitted | others


def draw_tasks(dataset: Dataset, ways: str, n_shots: int, n_tasks: int) -> tuple[int, Episodes]:
    """The number of classes that a classifier is shown, and tasks in which those come first.

    Args:
        ways: that number, or "all".

    Raises:
        ValueError: there are too few classes or clips for such tasks.
    """
    n_classes = len(dataset.classes)
    n_known = n_classes if ways == "all" else int(ways)
    n_queries = int(np.clip(np.bincount(dataset.targets).min() - n_shots, 1, N_QUERIES))
    size = {"n_ways": max(n_known, min(2 * n_known, n_classes)), "n_shots": n_shots, "n_queries": n_queries}
    for group_disjoint in (True, False) if dataset.has_groups else (False,):
        try:
            rng = np.random.default_rng([0, n_known, n_shots])
            return n_known, draw(dataset, n_tasks, **size, group_disjoint=group_disjoint, rng=rng)
        except ValueError:
            if not group_disjoint:
                raise
    raise AssertionError("unreachable")


def suspected(
    X: np.ndarray, y: np.ndarray, groups: np.ndarray | None, rng: np.random.Generator
) -> tuple[int, int, int]:
    """Swap some labels: how many, how many of them the report suspects, and how many right ones it suspects."""
    swapped = rng.choice(len(y), max(1, round(SWAPPED * len(y))), replace=False)
    n_classes = y.max() + 1
    wrong = y.copy()
    wrong[swapped] = (y[swapped] + rng.integers(1, n_classes, len(swapped))) % n_classes
    if len(np.unique(wrong)) < n_classes:
        return 0, 0, 0
    accused = {clip for clip, *_ in FewShotClassifier().fit(X, wrong, groups).report().suspects}
    caught = len(accused & set(swapped.tolist()))
    return len(swapped), caught, len(accused) - caught


def study(
    dataset: Dataset,
    features: np.ndarray,
    ways: str,
    n_known: int,
    tasks: Episodes,
    methods: Sequence[str],
    spaces: Sequence[str] = SPACES,
) -> Row:
    """Fit and judge the classifiers of each task.

    Args:
        features: embeddings in the space "combined", float [n_clips, D].
        n_known, tasks: of `draw_tasks`.
    """
    n_tasks, _, n_shots = tasks.support.shape
    n_queries = tasks.query.shape[2]
    y, targets = np.repeat(np.arange(n_known), n_shots), np.repeat(np.arange(n_known), n_queries)
    disjoint = tasks.disjoint(dataset)

    accuracies: dict[str, list[float]] = {}
    bins = np.zeros((N_BINS, 3))
    unknown, suspects = [], np.zeros(3, int)
    rng = np.random.default_rng(0)
    bar = tqdm(tasks.support, f"{dataset.name}: {ways} ways, {n_shots} shots", unit="task", delay=2, disable=None)
    for support, query in zip(bar, tasks.query, strict=True):
        queries, strangers = features[query[:n_known].ravel()], features[query[n_known:].ravel()]
        clips = support[:n_known].ravel()
        groups = dataset.groups[clips] if disjoint else None
        fitted = fit_task(features[clips], y, groups, methods, spaces)
        for name, classifier in fitted.items():
            accuracies.setdefault(name, []).append(100 * float((classifier.predict(queries) == targets).mean()))
        default = fitted["ridge/combined"]
        probabilities = default.predict_proba(queries)
        bins += reliability(probabilities, (probabilities.argmax(1) == targets).astype(float))
        if n_shots > 1:
            suspects += suspected(features[clips], y, groups, rng)
        if len(strangers):
            near, far = default.novelty(queries), default.novelty(strangers)
            area = roc_auc_score([0] * len(near) + [1] * len(far), np.hstack([near, far]))
            accepted, rejected = far <= default.threshold_, near > default.threshold_
            unknown.append((area, 100 * accepted.mean(), 100 * rejected.mean()))
    return Row(
        data=dataset.name,
        ways=ways,
        n_ways=n_known,
        shots=n_shots,
        n_tasks=n_tasks,
        disjoint=disjoint,
        accuracy={name: float(np.mean(found)) for name, found in accuracies.items()},
        interval={name: float(1.96 * np.std(found) / n_tasks**0.5) for name, found in accuracies.items()},
        bins=bins.tolist(),
        unknown=tuple(np.mean(unknown, 0).tolist()) if unknown else None,
        suspects=(int(suspects[0]), int(suspects[1]), int(suspects[2])),
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.studies.fewshot",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sets.add_arguments(parser)
    parser.add_argument("--model", default="default", help="model folder or Hub name; default: the package's weights")
    parser.add_argument(
        "--ways",
        nargs="+",
        default=["2", "5", "10", "20", "all"],
        metavar="N",
        help="numbers, or all; default: 2 5 10 20 all",
    )
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 2, 5, 10, 20], help="default: 1 2 5 10 20")
    parser.add_argument("--tasks", type=int, default=100, help="per set, ways and shots; default: 100")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["ridge"], help="default: ridge")
    parser.add_argument(
        "--spaces",
        nargs="+",
        choices=SPACES,
        default=["combined"],
        help="of ridge, combined among them; default: combined",
    )
    parser.add_argument("--cache", type=Path, default=cache.default_folder(), help="folder of embeddings")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="PNG")
    args = parser.parse_args(argv)

    try:
        datasets = sets.from_arguments(args)
    except ValueError as error:
        parser.error(str(error))
    encoder, rows = Network.pretrained(args.model), []
    folder = args.cache / encoder.fingerprint
    vectors = [cache.embed(encoder.embed, [clip.path for clip in dataset.clips], folder) for dataset in datasets]
    if len(datasets) > 1:
        datasets, vectors = [*datasets, union(datasets)], [*vectors, np.concatenate(vectors)]
    for dataset, features in zip(datasets, vectors, strict=True):
        for ways, n_shots in itertools.product(args.ways, args.shots):
            try:
                n_known, tasks = draw_tasks(dataset, ways, n_shots, args.tasks)
            except ValueError:
                continue  # the table says which sets are in
            rows.append(study(dataset, features, ways, n_known, tasks, args.methods, args.spaces))
    rows.sort(key=lambda row: (args.ways.index(row.ways), row.shots))
    if not rows:
        parser.error("no set has more clips a class than shots")
    found = [asdict(row) for row in rows]
    for name in dict.fromkeys(row.data for row in rows):
        print(f"{name}, {args.tasks} tasks\n\n{printed([one for one in found if one['data'] == name])}\n")
    print(f"all sets, {args.tasks} tasks each\n\n{printed(found)}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    if args.plot:
        plot([(row.ways, row.shots, row.bins) for row in rows], args.plot)


if __name__ == "__main__":
    main()
