"""What few-shot accuracy is left when the queries are changed and the examples are not: a table and JSON.

    python -m training.evaluation.robustness --data-root SETS
    python -m training.evaluation.robustness --model RUN/model --encoder mtslvr logmel --data-root SETS --space invariant --json robustness.json

The classifier learns from clean clips; the queries had another level, noise, a codec, a telephone or a room in between, or are cut (changes.py).
All rows of an encoder are of the same tasks, so that the points lost, with their interval, are of pairs.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mtslvr.sound import stream
from mtslvr.storage import cache
from mtslvr.storage.tables import lined_up
from training.evaluation import encoders, sets, solvers
from training.evaluation.changes import CHANGES
from training.evaluation.datasets.common import Dataset
from training.evaluation.encoders import Encoder
from training.evaluation.episodes import GROUPS, Episodes, draw_seeded
from training.evaluation.evaluate import SPACES, standardised
from training.evaluation.report import interval


@dataclass(frozen=True)
class Robustness:
    """A cell of the table; accuracies in %, intervals are 1.96 standard errors over the tasks.

    Args:
        change: "clean", or one of CHANGES.
        data: a set, or "mean" over them.
        lost: points below "clean", on the same tasks.
    """

    encoder: str
    fingerprint: str
    space: str
    data: str
    n_shots: int
    change: str
    accuracy: float
    interval: float
    lost: float
    lost_interval: float


def changed(dataset: Dataset, change: str, seed: int) -> Iterator[tuple[np.ndarray, int]]:
    """The clips of a set, changed; each has a generator of its own."""
    for i, clip in enumerate(dataset.clips):
        rng = np.random.default_rng([seed, i, *change.encode()])
        yield CHANGES[change](stream.read(clip.path), rng), stream.SAMPLE_RATE


def measure(
    encoder: Encoder,
    datasets: Sequence[tuple[Dataset, Sequence[Episodes]]],
    *,
    spaces: Sequence[str],
    changes: Sequence[str] = tuple(CHANGES),
    seed: int = 0,
    folder: Path,
) -> list[Robustness]:
    """The rows of an encoder: spaces, sets and their mean, numbers of shots, changes.

    Args:
        datasets: each with its episodes, a list for instance for 1 shot and for 5.
        folder: of the embedding cache.
    """
    found: dict[tuple[str, int, str], list[tuple[str, np.ndarray]]] = {}
    for dataset, episode_lists in datasets:
        clean = cache.embed(encoder.embed, [clip.path for clip in dataset.clips], folder / encoder.fingerprint)
        for change in ("clean", *changes):
            queries = clean if change == "clean" else _embed_changed(encoder, dataset, change, seed, folder)
            both = np.concatenate([standardised(encoder, vectors, clean) for vectors in (clean, queries)])
            for episodes in episode_lists:
                tasks = Episodes(episodes.support, episodes.query + len(clean))
                for space in (space for space in spaces if space in encoder.spaces):
                    heads = list(encoder.spaces.heads(space).values())
                    key = (space, episodes.support.shape[2], change)
                    found.setdefault(key, []).append((dataset.name, 100 * solvers.accuracies(both, heads, tasks)))
    results = []
    for (space, n_shots, change), cells in found.items():
        clean_cells = dict(found[space, n_shots, "clean"])
        rows = [
            (name, one.mean(), interval(one), (clean_cells[name] - one).mean(), interval(clean_cells[name] - one))
            for name, one in cells
        ]
        _, accuracies, intervals, losses, loss_intervals = zip(*rows, strict=True)
        means = (np.mean(accuracies), _of_mean(intervals), np.mean(losses), _of_mean(loss_intervals))
        results += [
            Robustness(encoder.name, encoder.fingerprint, space, name, n_shots, change, *map(float, numbers))
            for name, *numbers in [*rows, ("mean", *means)]
        ]
    return results


def _embed_changed(encoder: Encoder, dataset: Dataset, change: str, seed: int, folder: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*silen")  # half of a clip may be
        return cache.embed(
            encoder.embed,
            changed(dataset, change, seed),
            folder / encoder.fingerprint,
            description=f"{encoder.name}: {dataset.name}, {change}",
        )


def _of_mean(intervals: Sequence[float]) -> float:
    """The interval of the mean over sets, from those of the sets: of the tasks, the sets being these ones."""
    return float(np.sqrt(np.square(intervals).sum()) / len(intervals))


def table(results: Sequence[Robustness]) -> str:
    """A block for each encoder, space and number of shots: accuracy by set, and in the mean the points lost."""
    blocks = []
    for encoder, space, n_shots in dict.fromkeys((one.encoder, one.space, one.n_shots) for one in results):
        own = [one for one in results if (one.encoder, one.space, one.n_shots) == (encoder, space, n_shots)]
        data = list(dict.fromkeys(one.data for one in own))
        rows = [["", *data, "lost"]]
        for change in dict.fromkeys(one.change for one in own):
            cells = {one.data: one for one in own if one.change == change}
            lost = cells["mean"]
            told = "" if change == "clean" else f"{lost.lost:.1f} ±{lost.lost_interval:.1f}"
            rows.append([change, *(f"{cells[name].accuracy:.1f}" for name in data), told])
        blocks.append(f"{encoder}/{space}, {n_shots}-shot, accuracy %; queries changed\n{lined_up(rows)}")
    return "\n\n".join(blocks)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.robustness",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--encoder", nargs="+", choices=encoders.NAMES, default=["mtslvr"], help="default: mtslvr, which takes --model"
    )
    parser.add_argument(
        "--model", nargs="+", default=["default"], help="model folders or Hub names; default: the package's weights"
    )
    sets.add_arguments(parser)
    parser.add_argument("--space", nargs="+", choices=SPACES, default=list(SPACES), help="default: all")
    parser.add_argument(
        "--change",
        nargs="+",
        choices=CHANGES,
        default=list(CHANGES),
        metavar="CHANGE",
        help="default: all of " + "; ".join(CHANGES),
    )
    parser.add_argument("--ways", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5], help="default: 1 5")
    parser.add_argument("--tasks", type=int, default=10_000, help="per set and number of shots; default: %(default)s")
    parser.add_argument("--groups", choices=GROUPS, default="auto", help="see evaluate; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the tasks and of the changes; default: %(default)s")
    parser.add_argument(
        "--cache", type=Path, default=cache.default_folder(), metavar="PATH", help="of embeddings; default: %(default)s"
    )
    parser.add_argument("--device", default="cpu", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="PATH")
    args = parser.parse_args(argv)
    try:
        run(args)
    except ValueError as error:
        sys.exit(f"error: {error}")


def run(args: argparse.Namespace) -> None:
    how = {"n_ways": args.ways, "groups": args.groups, "seed": args.seed}
    datasets = [
        (dataset, [draw_seeded(dataset, args.tasks, n_shots=n_shots, **how) for n_shots in args.shots])
        for dataset in sets.from_arguments(args)
    ]
    results = []
    for encoder in encoders.named(args.encoder, args.model, device=args.device):
        results += measure(encoder, datasets, spaces=args.space, changes=args.change, seed=args.seed, folder=args.cache)
    print(table(results))
    if args.json:
        settings = {name: getattr(args, name) for name in ("ways", "shots", "tasks", "groups", "seed")}
        content = {"settings": settings, "results": [asdict(one) for one in results]}
        args.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
