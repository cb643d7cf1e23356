"""Few-shot accuracy of encoders on data sets (paper, section 4.2): a table with 95 % intervals, JSON and a PNG.

    python -m training.evaluate --data esc50=/path/to/ESC-50 birds=/path/to/folder/with/a/subfolder/per/class
    python -m training.evaluate --model runs/a/model runs/b/model --encoder mtslvr logmel untrained --data-root /path/with/sets \\
        --space combined invariant variant --shots 1 5 --tasks 10000 --json table.json --plot table.png

Each set is embedded once by each encoder (and kept: see cache.py); all encoders then solve the same tasks.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from training import cache, solve
from training.baselines import LogMel, Network
from training.datasets.common import Dataset
from training.datasets.folder import CSV_FILE
from training.episodes import Episodes, draw
from training.report import Result, plot, table

SPACES = ("combined", "invariant", "variant")
ENCODERS = ("mtslvr", "logmel", "untrained")


def evaluate(
    encoder: cache.Encoder,
    datasets: Sequence[tuple[Dataset, Sequence[Episodes]]],
    *,
    spaces: Iterable[str] = SPACES,
    classifier: str = "ridge",
    folder: Path,
) -> list[Result]:
    """Solve episodes of data sets with an encoder, in each of the spaces that it has.

    Args:
        datasets: each with its episodes, a list for instance for 1 shot and for 5.
        folder: of the embedding cache.
    """
    results = []
    for dataset, episode_lists in datasets:
        features = cache.embed(encoder, dataset.name, [clip.path for clip in dataset.clips], folder)
        if getattr(encoder, "standardised", False):
            deviation = features.std(0)
            features = (features - features.mean(0)) / np.where(deviation > 0, deviation, 1)
        for episodes in episode_lists:
            for space in (space for space in spaces if space in encoder.spaces):
                start = time.perf_counter()
                accuracies = 100 * solve.accuracies(features, heads_of(encoder.spaces, space), episodes, classifier)
                n_tasks, n_ways, n_shots = episodes.support.shape
                result = Result(
                    encoder=encoder.name,
                    fingerprint=encoder.fingerprint,
                    space=space,
                    data=dataset.name,
                    n_classes=len(dataset.classes),
                    n_clips=len(dataset.clips),
                    n_ways=n_ways,
                    n_shots=n_shots,
                    n_tasks=n_tasks,
                    classifier=classifier,
                    accuracy=float(accuracies.mean()),
                    interval=float(1.96 * accuracies.std() / n_tasks**0.5),
                    seconds=time.perf_counter() - start,
                )
                results.append(result)
    return results


def heads_of(spaces: dict[str, int], space: str) -> list[slice]:
    """Columns, in "combined", of each head that a space consists of."""
    if len(spaces) == 1:
        return [slice(0, spaces["combined"])]
    heads = {"invariant": slice(0, spaces["invariant"]), "variant": slice(spaces["invariant"], spaces["combined"])}
    return list(heads.values()) if space == "combined" else [heads[space]]


def read(name: str, path: Path) -> Dataset:
    """Read a set by the module of its name in training/datasets, or else as a folder or CSV of clips.

    Raises:
        ValueError: the set is not what it should be.
    """
    known = name != "common" and name.isidentifier() and importlib.util.find_spec(f"training.datasets.{name}")
    dataset = importlib.import_module(f"training.datasets.{name if known else 'folder'}").read(path, name)
    assert isinstance(dataset, Dataset)
    return dataset


def _sets(args: argparse.Namespace) -> list[Dataset]:
    pairs = [(name, Path(path)) for name, _, path in (entry.partition("=") for entry in args.data)]
    if bad := [name for name, path in pairs if not name or str(path) == "."]:
        raise ValueError(f"--data {bad[0]}: expected NAME=PATH, such as esc50=/data/ESC-50")
    if args.data_root:
        found = sorted(path.parent for path in Path(args.data_root).glob(f"*/{CSV_FILE}"))
        if not found:
            raise ValueError(f"--data-root {args.data_root}: expected folders with a {CSV_FILE} in it; found none")
        pairs += [(path.name, path) for path in found]
    if not pairs:
        raise ValueError("no data: give --data NAME=PATH or --data-root PATH")
    return [read(name, path) for name, path in pairs]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--encoder", nargs="+", choices=ENCODERS, default=["mtslvr"], help="default: mtslvr, which takes --model"
    )
    parser.add_argument(
        "--model", nargs="+", default=["default"], help="model folders or Hub names; default: the package's weights"
    )
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help="a known set, a folder with a sub-folder per class, or a CSV",
    )
    parser.add_argument("--data-root", metavar="PATH", help=f"a folder of sets, each with its {CSV_FILE}")
    parser.add_argument("--space", nargs="+", choices=SPACES, default=list(SPACES))
    parser.add_argument("--classifier", choices=solve.CLASSIFIERS, default="ridge")
    parser.add_argument("--ways", type=int, default=5)
    parser.add_argument("--shots", type=int, nargs="+", default=[1])
    parser.add_argument(
        "--tasks", type=int, default=10_000, help="per set and number of shots; default: 10000, as the paper"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the episodes")
    parser.add_argument(
        "--group-disjoint", action="store_true", help="no speaker or recording both in support and in query"
    )
    parser.add_argument(
        "--episodes",
        type=Path,
        metavar="PATH",
        help="folder to take episode lists from, and to save them to where missing",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=cache.default_folder(),
        metavar="PATH",
        help="folder of embeddings; default: %(default)s",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="PATH")
    parser.add_argument("--plot", type=Path, metavar="PATH", help="PNG")
    args = parser.parse_args(argv)
    try:
        run(args)
    except ValueError as error:
        sys.exit(f"error: {error}")


def run(args: argparse.Namespace) -> None:
    # Everything that can be wrong with the data shows before the first clip is embedded.
    datasets = [(dataset, [_episodes(dataset, n_shots, args) for n_shots in args.shots]) for dataset in _sets(args)]
    encoders: list[cache.Encoder] = []
    for kind in args.encoder:
        if kind == "mtslvr":
            encoders += [Network.pretrained(model, device=args.device) for model in args.model]
        else:
            encoders.append(LogMel() if kind == "logmel" else Network.untrained(device=args.device))
    results = []
    for encoder in encoders:
        results += evaluate(encoder, datasets, spaces=args.space, classifier=args.classifier, folder=args.cache)
    print(table(results))
    if args.json:
        settings = {
            name: getattr(args, name) for name in ("ways", "shots", "tasks", "seed", "group_disjoint", "classifier")
        }
        args.json.write_text(
            json.dumps({"settings": settings, "results": [asdict(result) for result in results]}, indent=2) + "\n"
        )
    if args.plot:
        plot(results, args.plot)


def _episodes(dataset: Dataset, n_shots: int, args: argparse.Namespace) -> Episodes:
    """Drawn with a generator of their own, so that neither other sets nor other shots change them."""
    kind = "-disjoint" if args.group_disjoint else ""
    path = (
        args.episodes
        and args.episodes / f"{dataset.name}-{args.ways}way-{n_shots}shot{kind}-{args.tasks}-seed{args.seed}.npz"
    )
    if path and path.is_file():
        return Episodes.load(path, dataset)
    rng = np.random.default_rng([args.seed, args.ways, n_shots])
    episodes = draw(dataset, args.tasks, n_ways=args.ways, n_shots=n_shots, group_disjoint=args.group_disjoint, rng=rng)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        episodes.save(path, dataset)
    return episodes


if __name__ == "__main__":
    main()
