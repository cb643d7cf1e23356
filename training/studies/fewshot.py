"""The evidence behind FewShotClassifier's defaults: accuracy by method and space, calibration, unknown sounds.

    python -m training.studies.fewshot --data-root SETS [--ways 5 all] [--shots 1 5 20] [--tasks 100] [--json FILE] [--plot PNG]

Unlike `training.evaluation.evaluate`, which solves thousands of tasks at once, this fits the estimator task by task, as users do. A
task has up to three queries a class, and as many of classes that it does not know. A set with too few clips for a number
of shots is left out there. "auto" is the space with the best leave-one-out accuracy in the support set.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from mtslvr.encoder.spaces import NAMES as SPACES
from mtslvr.fewshot import FewShotClassifier, calibration
from mtslvr.fewshot.linear import METHODS
from mtslvr.storage import cache
from mtslvr.storage.tables import lined_up
from training.evaluation import sets
from training.evaluation.datasets.common import Dataset
from training.evaluation.encoders import Network
from training.evaluation.episodes import Episodes, draw

Floats = NDArray[np.float64]
N_QUERIES = 3  # a class
N_BINS = 10  # of confidence
AUTO = "auto"


@dataclass(frozen=True)
class Row:
    """One set at one number of ways and shots.

    Args:
        accuracy, interval: % by "method/space": the mean over tasks, and 1.96 standard errors.
        before, after: [bin] triples (clips, sum of confidence, number right), with softmax(scores) and with `predict_proba`.
        unknown: area under the ROC curve of `novelty`, 0..1; at the automatic threshold, % of strangers accepted and of
            known sounds rejected. None where every class is known.
    """

    data: str
    ways: str
    shots: int
    n_tasks: int
    accuracy: dict[str, float]
    interval: dict[str, float]
    before: list[list[float]]
    after: list[list[float]]
    unknown: tuple[float, float, float] | None


def reliability(probabilities: Floats, right: Floats) -> Floats:
    """Clips, sum of confidence and number right in each of N_BINS bins of confidence: [n, C], [n] -> [N_BINS, 3]."""
    confidence = probabilities.max(1)
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    return np.stack([np.bincount(bins, weights, N_BINS) for weights in (np.ones(len(bins)), confidence, right)], 1)


def calibration_error(bins: Sequence[Sequence[float]]) -> float:
    """Expected calibration error, % (Guo et al. 2017, eq. 3): |accuracy - confidence| of the bins, weighed by their clips."""
    clips, confidence, right = np.array(bins).T
    return float(100 * np.abs(right - confidence).sum() / clips.sum())


def fit_task(X: np.ndarray, y: np.ndarray, methods: Sequence[str]) -> dict[str, FewShotClassifier]:
    """The classifiers that are compared, by "method/space", fitted on one support set."""
    fitted = {f"ridge/{space}": FewShotClassifier(space=space).fit(X, y) for space in SPACES}
    if (y == y[0]).sum() > 1:  # max takes the first of equals: combined
        fitted[f"ridge/{AUTO}"] = max(fitted.values(), key=lambda classifier: classifier.report().accuracy)
    others = {
        f"{method}/combined": FewShotClassifier(method=method).fit(X, y) for method in methods if method != "ridge"
    }
    return fitted | others


def draw_tasks(
    dataset: Dataset, ways: str, n_shots: int, n_tasks: int, *, group_disjoint: bool
) -> tuple[int, Episodes]:
    """The number of classes that a classifier is shown, and tasks in which those come first.

    Args:
        ways: that number, or "all".

    Raises:
        ValueError: there are too few clips for such tasks.
    """
    n_classes = len(dataset.classes)
    n_known = n_classes if ways == "all" else min(int(ways), n_classes)
    n_queries = int(np.clip(np.bincount(dataset.targets).min() - n_shots, 1, N_QUERIES))
    rng = np.random.default_rng([0, n_known, n_shots])
    size = {"n_ways": min(2 * n_known, n_classes), "n_shots": n_shots, "n_queries": n_queries}
    return n_known, draw(dataset, n_tasks, **size, group_disjoint=group_disjoint, rng=rng)


def study(
    dataset: Dataset, features: np.ndarray, ways: str, n_known: int, tasks: Episodes, methods: Sequence[str]
) -> Row:
    """Fit and judge the classifiers of each task.

    Args:
        features: embeddings in the space "combined", float [n_clips, D].
        n_known, tasks: of `draw_tasks`.
    """
    n_tasks, _, n_shots = tasks.support.shape
    n_queries = tasks.query.shape[2]
    y, targets = np.repeat(np.arange(n_known), n_shots), np.repeat(np.arange(n_known), n_queries)

    accuracies: dict[str, list[float]] = {}
    before, after = np.zeros((N_BINS, 3)), np.zeros((N_BINS, 3))
    unknown = []
    bar = tqdm(tasks.support, f"{dataset.name}: {ways} ways, {n_shots} shots", unit="task", delay=2, disable=None)
    for support, query in zip(bar, tasks.query, strict=True):
        queries, strangers = features[query[:n_known].ravel()], features[query[n_known:].ravel()]
        fitted = fit_task(features[support[:n_known].ravel()], y, methods)
        for name, classifier in fitted.items():
            accuracies.setdefault(name, []).append(100 * float((classifier.predict(queries) == targets).mean()))
        default = fitted["ridge/combined"]
        right = (default.predict(queries) == targets).astype(float)
        probabilities = default.predict_proba(queries)  # softmax(scores / temperature_)
        scores = default.temperature_ * np.log(probabilities.clip(1e-300))
        before += reliability(calibration.probabilities(scores, 1.0), right)
        after += reliability(probabilities, right)
        if len(strangers):
            near, far = default.novelty(queries), default.novelty(strangers)
            area = roc_auc_score([0] * len(near) + [1] * len(far), np.hstack([near, far]))
            accepted, rejected = far <= default.threshold_, near > default.threshold_
            unknown.append((area, 100 * accepted.mean(), 100 * rejected.mean()))
    return Row(
        data=dataset.name,
        ways=ways,
        shots=n_shots,
        n_tasks=n_tasks,
        accuracy={name: float(np.mean(found)) for name, found in accuracies.items()},
        interval={name: float(1.96 * np.std(found) / n_tasks**0.5) for name, found in accuracies.items()},
        before=before.tolist(),
        after=after.tolist(),
        unknown=tuple(np.mean(unknown, 0).tolist()) if unknown else None,
    )


def table(columns: dict[str, list[Row]]) -> str:
    """The figures of one or several rows, then their mean, in each column."""
    figures: dict[str, Callable[[Row], float | None]] = {
        "calibration error % before": lambda row: calibration_error(row.before),
        "calibration error % after": lambda row: calibration_error(row.after),
        "unknown: area under the curve": lambda row: row.unknown and row.unknown[0],
        "unknown: % accepted": lambda row: row.unknown and row.unknown[1],
        "known: % rejected": lambda row: row.unknown and row.unknown[2],
    }
    lines = [["", *columns]]
    for name in dict.fromkeys(name for rows in columns.values() for row in rows for name in row.accuracy):
        lines.append(
            [name, *(_accuracy([row for row in rows if name in row.accuracy], name) for rows in columns.values())]
        )
    for name, figure in figures.items():
        found = [[value for value in map(figure, rows) if value is not None] for rows in columns.values()]
        lines.append(
            [name, *(f"{np.mean(values):.{2 if 'area' in name else 1}f}" if values else "-" for values in found)]
        )
    return lined_up(lines)


def _accuracy(rows: Sequence[Row], name: str) -> str:
    if not rows:
        return "-"
    interval = np.sqrt(np.square([row.interval[name] for row in rows]).sum()) / len(rows)
    return f"{np.mean([row.accuracy[name] for row in rows]):.1f} ±{interval:.1f}"


def plot(rows: Sequence[Row], path: Path) -> None:
    """Reliability diagram, a panel for each number of shots with the fewest ways: all sets together."""
    ways = rows[0].ways
    shots = sorted({row.shots for row in rows if row.ways == ways})
    figure = Figure(figsize=(3.2 * len(shots) + 1, 3.4), layout="constrained")
    for axes, n_shots in zip(figure.subplots(1, len(shots), squeeze=False, sharey=True)[0], shots, strict=True):
        block = [row for row in rows if row.ways == ways and row.shots == n_shots]
        for label, bins in (
            ("scores as they are", [r.before for r in block]),
            ("probabilities", [r.after for r in block]),
        ):
            clips, confidence, right = np.sum(bins, 0)[np.sum(bins, 0)[:, 0] > 0].T
            axes.plot(confidence / clips, right / clips, marker="o", markersize=4, label=label)
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1, label="as often right as sure")
        axes.set(
            title=f"{ways}-way, {n_shots} shot{'s' * (n_shots > 1)}", xlabel="confidence", xlim=(0, 1), ylim=(0, 1)
        )
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("share right")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=150)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.studies.fewshot",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sets.add_arguments(parser)
    parser.add_argument("--model", default="default", help="model folder or Hub name; default: the package's weights")
    parser.add_argument("--ways", nargs="+", default=["5", "all"], metavar="N", help="numbers, or all")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--tasks", type=int, default=100, help="per set, ways and shots")
    parser.add_argument(
        "--group-disjoint", action="store_true", help="no speaker or recording both in support and in query"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--cache", type=Path, default=cache.default_folder(), help="folder of embeddings")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="PNG")
    args = parser.parse_args(argv)

    try:
        datasets = sets.from_arguments(args)
    except ValueError as error:
        parser.error(str(error))
    encoder, rows = Network.pretrained(args.model), []
    for dataset in datasets:
        features = cache.embed(encoder.embed, [clip.path for clip in dataset.clips], args.cache / encoder.fingerprint)
        for ways, n_shots in itertools.product(args.ways, args.shots):
            try:
                n_known, tasks = draw_tasks(dataset, ways, n_shots, args.tasks, group_disjoint=args.group_disjoint)
            except ValueError:
                continue  # the table says which sets are in
            rows.append(study(dataset, features, ways, n_known, tasks, args.methods))
    rows.sort(key=lambda row: (args.ways.index(row.ways), row.shots))
    if not rows:
        parser.error("no set has more clips a class than shots")
    blocks: dict[str, list[Row]] = {}
    for row in rows:
        blocks.setdefault(f"{row.ways}-way {row.shots}", []).append(row)
    print(table(blocks))
    for title, block in blocks.items():
        print(f"\n{title}, {args.tasks} tasks a set\n" + table({row.data: [row] for row in block}))
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
