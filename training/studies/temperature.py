"""The constants of mtslvr/fewshot/calibration.py, measured again: for new weights, or after a change of the method.

    python -m training.studies.temperature --data-root SETS [--chosen esc50_dev digits languages drums] [--tasks 20]

They are those that make the labels of new clips likeliest, in the mean over sets, ways and shots: USUAL and BY_CLASSES from tasks with
one example per class, where nothing can be left out, SPREAD and BY_SHOTS from tasks with more. All chosen sets as one are another, for
many ways. Sets that are not chosen confirm.

The first table is the USUAL of each set by itself, by ways and shots: how far they differ is what SPREAD stands for. The others are
accuracy / mean confidence / expected calibration error, mean over the sets, in %, with today's constants and with the new ones.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax
from tqdm import tqdm

from mtslvr.encoder.spaces import Spaces
from mtslvr.fewshot import FewShotClassifier, calibration, linear
from mtslvr.storage import cache
from mtslvr.storage.tables import lined_up
from training.evaluation import sets
from training.evaluation.datasets.common import Dataset
from training.evaluation.encoders import Network
from training.studies.fewshot import draw_tasks, union
from training.studies.reliability import calibration_error, reliability

CHOSEN = ("esc50_dev", "digits", "languages", "drums")
WAYS, SHOTS = ("2", "5", "10", "20", "all"), (1, 2, 5, 10, 20)
TOGETHER = {True: "chosen together", False: "others together"}
NAMES = ("USUAL", "BY_CLASSES", "SPREAD", "BY_SHOTS")
SPREADS, BY_SHOTS = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0), (0.0, 0.15, 0.3, 0.45, 0.6)

Floats = np.ndarray


@dataclass(frozen=True)
class Task:
    """Scores of the support set by its own classifier [n, C], of the support left out [n, C], and of the queries."""

    own: Floats
    held_out: Floats
    targets: Floats
    groups: Floats
    queries: Floats
    truth: Floats

    def temperature(self) -> float:
        usual = calibration.usual(self.own, self.targets)
        random = np.random.RandomState(0)
        return calibration.temperature(usual, self.held_out, self.targets, self.groups, random)


@dataclass(frozen=True)
class Block:
    """The tasks of a set, a number of ways and one of shots."""

    data: str
    ways: str
    shots: int
    tasks: list[Task]

    def surprise(self, temperatures: Sequence[float] | Floats) -> float:
        """Mean of -log of the probability that queries' labels get."""
        return float(
            np.mean(
                [
                    -np.take_along_axis(log_softmax(one.queries / t, axis=1), one.truth[:, None], 1).mean()
                    for one, t in zip(self.tasks, temperatures, strict=True)
                ]
            )
        )

    def best(self) -> float:
        """The USUAL that these tasks want, if nothing is left out."""
        unit = np.array([calibration.usual(one.own, one.targets) for one in self.tasks]) / calibration.USUAL
        found = minimize_scalar(lambda x: self.surprise(np.exp(x) * unit), bounds=(-6, 3), method="bounded")
        return float(np.exp(found.x))

    def figures(self) -> tuple[float, float, float]:
        """Accuracy, mean confidence and expected calibration error, %."""
        bins = np.zeros((10, 3))
        for one in self.tasks:
            probabilities = calibration.probabilities(one.queries, one.temperature())
            bins += reliability(probabilities, (probabilities.argmax(1) == one.truth).astype(float))
        clips, confidence, right = bins.sum(0)
        return 100 * right / clips, 100 * confidence / clips, calibration_error(bins.tolist())


def blocks(dataset: Dataset, features: Floats, n_tasks: int) -> Iterator[Block]:
    """All that the set has classes and clips for."""
    for ways in WAYS:
        for shots in SHOTS:
            try:
                n_ways, episodes = draw_tasks(dataset, ways, shots, n_tasks)
            except ValueError:
                continue
            disjoint = episodes.disjoint(dataset)
            targets = np.repeat(np.arange(n_ways), shots)
            truth = np.repeat(np.arange(n_ways), episodes.query.shape[2])
            tasks = []
            for support, query in zip(episodes.support[:, :n_ways], episodes.query[:, :n_ways], strict=True):
                clips = support.ravel()
                found = linear.fit("ridge", features[clips], targets, FewShotClassifier().C)
                groups = dataset.groups[clips] if disjoint else np.arange(len(clips))
                held_out = linear.leave_out(found, targets, groups)
                own, queries = (x @ found.weights.T + found.biases for x in (features[clips], features[query.ravel()]))
                tasks.append(Task(own, held_out, targets, groups, queries, truth))
            yield Block(dataset.name, ways, shots, tasks)


@contextmanager
def constants(values: Mapping[str, float]) -> Iterator[None]:
    """calibration's constants, for as long as the block runs."""
    before = {name: getattr(calibration, name) for name in values}
    try:
        for name, value in values.items():
            setattr(calibration, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(calibration, name, value)


def measured(found: Sequence[Block]) -> dict[str, float]:
    """The constants that these tasks want."""
    first, later = ([one for one in found if (one.shots == 1) == single] for single in (True, False))

    def usual(x: Floats) -> float:
        with constants({"USUAL": float(np.exp(x[0])), "BY_CLASSES": float(x[1])}):
            usual = ([calibration.usual(task.own, task.targets) for task in one.tasks] for one in first)
            return float(np.mean([one.surprise(temperatures) for one, temperatures in zip(first, usual, strict=True)]))

    start, options = [np.log(calibration.USUAL), calibration.BY_CLASSES], {"xatol": 0.003, "fatol": 1e-4}
    logarithm, by_classes = minimize(usual, start, method="Nelder-Mead", options=options).x
    of_all = {"USUAL": float(np.exp(logarithm)), "BY_CLASSES": float(by_classes)}

    def surprise(spread: float, by_shots: float) -> float:
        with constants({**of_all, "SPREAD": spread, "BY_SHOTS": by_shots}):
            return float(np.mean([one.surprise([task.temperature() for task in one.tasks]) for one in later]))

    grid = list(itertools.product(SPREADS, BY_SHOTS))
    spread, by_shots = min(tqdm(grid, "SPREAD, BY_SHOTS", disable=None), key=lambda pair: surprise(*pair))
    return {**of_all, "SPREAD": spread, "BY_SHOTS": by_shots}


def table(found: Sequence[Block], names: Sequence[str]) -> str:
    lines = [["", *(f"{shots} shots" for shots in SHOTS)]]
    for ways in WAYS:
        cells = []
        for shots in SHOTS:
            own = [one.figures() for one in found if (one.ways, one.shots) == (ways, shots) and one.data in names]
            cells.append(" / ".join(f"{x:.1f}" for x in np.mean(own, 0)) if own else "-")
        lines.append([f"{ways} ways", *cells])
    return lined_up(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.studies.temperature",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sets.add_arguments(parser)
    parser.add_argument("--model", default="default", help="model folder or Hub name; default: the package's weights")
    parser.add_argument("--chosen", nargs="+", default=CHOSEN, metavar="NAME", help=f"default: {' '.join(CHOSEN)}")
    parser.add_argument("--tasks", type=int, default=20, help="per set, ways and shots; default: %(default)s")
    parser.add_argument("--cache", type=Path, default=cache.default_folder(), help="folder of embeddings")
    args = parser.parse_args(argv)
    try:
        datasets = sets.from_arguments(args)
    except ValueError as error:
        parser.error(str(error))
    encoder = Network.pretrained(args.model)
    found: list[Block] = []
    halves = {
        True: [one for one in datasets if one.name in args.chosen],
        False: [one for one in datasets if one.name not in args.chosen],
    }
    for is_chosen, half in halves.items():
        vectors = [
            cache.embed(encoder.embed, [clip.path for clip in one.clips], args.cache / encoder.fingerprint)
            for one in half
        ]
        if len(half) > 1:
            half, vectors = [*half, replace(union(half), name=TOGETHER[is_chosen])], [*vectors, np.concatenate(vectors)]
        for dataset, found_vectors in zip(tqdm(half, "sets", disable=None), vectors, strict=True):
            spaces = Spaces.of(found_vectors.shape[1], found_vectors.shape[1] // 2)
            features = linear.unit_heads(found_vectors, [spaces[head] for head in spaces.heads("combined")])
            found += blocks(dataset, features, args.tasks)
    names = list(dict.fromkeys(one.data for one in found))
    kinds = [(ways, shots) for ways in WAYS for shots in SHOTS]
    by_kind = {(one.data, one.ways, one.shots): f"{one.best():.3f}" for one in found}
    lines = [
        ["ways, shots", *names],
        *([f"{w}, {s}", *(by_kind.get((name, w, s), "-") for name in names)] for w, s in kinds),
    ]
    print(lined_up(lines))
    chosen = [name for name in names if name in (*args.chosen, TOGETHER[True])]
    others = [name for name in names if name not in chosen]
    new = measured([one for one in found if one.data in chosen])
    for title, values in (("today", {name: getattr(calibration, name) for name in NAMES}), ("new", new)):
        print(f"\n{title}: " + ", ".join(f"{name} = {value:.3f}" for name, value in values.items()))
        with constants(values):
            for part in filter(None, (chosen, others)):
                print(f"\n{', '.join(part)}\n{table(found, part)}")


if __name__ == "__main__":
    main()
