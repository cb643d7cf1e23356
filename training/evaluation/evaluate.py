"""Few-shot accuracy of encoders on data sets (paper, section 4.2): a table with 95 % intervals, JSON and a PNG.

    python -m training.evaluation.evaluate --data esc50=/path/to/ESC-50 birds=/path/to/folder/with/a/subfolder/per/class
    python -m training.evaluation.evaluate --data watkins=/path/to/Watkins --pieces paper --classifier paper         # as the paper ran it
    python -m training.evaluation.evaluate --model runs/a/model runs/b/model --encoder mtslvr logmel untrained --data-root /path/with/sets \\
        --space combined invariant variant --shots 1 5 --tasks 10000 --json table.json --plot table.png

Each set is embedded once by each encoder (and kept: see mtslvr/storage/cache.py); all encoders then solve the same tasks. Sets of the paper,
5-way 1-shot on its test classes, have the paper's rows below ours.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from mtslvr.storage import cache
from training.evaluation import encoders, paper, pieces, sets, solvers
from training.evaluation.datasets.common import Dataset, class_splits
from training.evaluation.encoders import Encoder
from training.evaluation.episodes import GROUPS, Episodes, draw_seeded
from training.evaluation.pieces import Pieces
from training.evaluation.report import Result, interval, plot, table

SPACES = ("combined", "invariant", "variant")
PIECE_SEED = 0  # of the pieces that represent support clips; the episodes have --seed
SETTINGS = ("ways", "shots", "tasks", "seed", "groups", "classifier", "pieces", "split")  # kept in the JSON


def evaluate(
    encoder: Encoder,
    datasets: Sequence[tuple[Dataset, Sequence[Episodes]]],
    *,
    spaces: Iterable[str] = SPACES,
    classifier: str = "ridge",
    rule: str = "mean",
    split: str = "all",
    folder: Path,
) -> list[Result]:
    """Solve episodes of data sets with an encoder, in each of the spaces that it has.

    Args:
        datasets: each with its episodes, a list for instance for 1 shot and for 5.
        classifier: one of solvers.CLASSIFIERS.
        rule: for clips longer than 5 s, one of pieces.RULES.
        split: the part of the paper's classes that its sets were cut down to; to be kept with the results.
        folder: of the embedding cache.
    """
    results = []
    for dataset, episode_lists in datasets:
        clips = embed(encoder, dataset, rule, folder)
        for episodes in episode_lists:
            for space in (space for space in spaces if space in encoder.spaces):
                start = time.perf_counter()
                heads = list(encoder.spaces.heads(space).values())
                accuracies = 100 * pieces.accuracies(
                    clips, heads, episodes, classifier, np.random.default_rng(PIECE_SEED)
                )
                n_tasks, n_ways, n_shots = episodes.support.shape
                result = Result(
                    encoder=encoder.name,
                    fingerprint=encoder.fingerprint,
                    space=space,
                    data=dataset.name,
                    split=split if dataset.name in class_splits() else "all",
                    n_classes=len(dataset.classes),
                    n_clips=len(dataset.clips),
                    n_ways=n_ways,
                    n_shots=n_shots,
                    n_tasks=n_tasks,
                    classifier=classifier,
                    pieces=rule,
                    accuracy=float(accuracies.mean()),
                    interval=interval(accuracies),
                    seconds=time.perf_counter() - start,
                    disjoint=episodes.disjoint(dataset),
                )
                results.append(result)
    return results


def embed(encoder: Encoder, dataset: Dataset, rule: str, folder: Path) -> Pieces:
    """Vectors of the clips of a data set, from the cache where it has them; by the rule "mean" each clip is one piece."""
    paths = [clip.path for clip in dataset.clips]
    if rule == "paper":
        found = pieces.embed(encoder, dataset.name, paths, folder)
    else:
        what = f"{encoder.name}: {dataset.name}"
        found = Pieces.whole(cache.embed(encoder.embed, paths, folder / encoder.fingerprint, description=what))
    return Pieces(standardised(encoder, found.features, found.features), found.counts)


def standardised(encoder: Encoder, features: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Features [n, D] by mean and deviation of a data set's `clean` ones [n_clips, D], for an encoder that asks for it."""
    if not encoder.standardised:
        return features
    deviation = clean.std(0)
    return (features - clean.mean(0)) / np.where(deviation > 0, deviation, 1)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.evaluate",
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
    parser.add_argument("--space", nargs="+", choices=SPACES, default=list(SPACES))
    parser.add_argument("--classifier", choices=solvers.CLASSIFIERS, default="ridge")
    parser.add_argument(
        "--pieces",
        choices=pieces.RULES,
        default="mean",
        help="of clips over 5 s: mean, their vectors are averaged (default); paper, a random one as support, all vote as query",
    )
    parser.add_argument(
        "--paper", choices=paper.OBJECTIVES, default="simclr", help="the paper's rows to show; default: simclr"
    )
    parser.add_argument("--ways", type=int, default=5)
    parser.add_argument("--shots", type=int, nargs="+", default=[1])
    parser.add_argument(
        "--tasks", type=int, default=10_000, help="per set and number of shots; default: 10000, as the paper"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the episodes")
    parser.add_argument(
        "--groups",
        choices=GROUPS,
        default="auto",
        help="speakers and recordings: disjoint, none both in the support and in the query of a task; mixed, not looked at; "
        "auto (default), disjoint wherever a set has enough groups",
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
    datasets = [
        (dataset, [_episodes(dataset, n_shots, args) for n_shots in args.shots])
        for dataset in sets.from_arguments(args)
    ]
    chosen = encoders.named(args.encoder, args.model, device=args.device)
    how = {"spaces": args.space, "classifier": args.classifier, "rule": args.pieces, "split": args.split}
    results = [one for encoder in chosen for one in evaluate(encoder, datasets, **how, folder=args.cache)]
    print(table(results, partial(paper.rows, objective=args.paper)))
    if paper.rows(results, args.paper) and any(result.disjoint for result in results):
        print("\nThe paper's tasks do not keep groups apart; --groups mixed is its protocol.")
    if args.json:
        settings = {name: getattr(args, name) for name in SETTINGS}
        args.json.write_text(
            json.dumps({"settings": settings, "results": [asdict(result) for result in results]}, indent=2) + "\n"
        )
    if args.plot:
        plot(results, args.plot)


def _episodes(dataset: Dataset, n_shots: int, args: argparse.Namespace) -> Episodes:
    """From the folder of episode lists, or drawn and put there."""
    part = f"-{args.split}" if dataset.name in class_splits() else ""
    kind = part + ("" if args.groups == "mixed" else f"-{args.groups}")
    name = f"{dataset.name}-{args.ways}way-{n_shots}shot{kind}-{args.tasks}-seed{args.seed}.npz"
    path = args.episodes and args.episodes / name
    if path and path.is_file():
        return Episodes.load(path, dataset)
    how = {"n_ways": args.ways, "n_shots": n_shots, "groups": args.groups, "seed": args.seed}
    episodes = draw_seeded(dataset, args.tasks, **how)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        episodes.save(path, dataset)
    return episodes


if __name__ == "__main__":
    main()
