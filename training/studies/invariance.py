"""How invariant each head is to each augmentation (arXiv 2305.17191, table 5): a table, JSON and a bar chart.

    python -m training.studies.invariance --model default runs/a/model --data-root SETS --json invariance.json --plot invariance.png

A clip x, its first 5 s, is augmented by one kind alone, at the strengths of pretraining, to x'. In the features f of a head, with
the covariance S of the clean clips' features,

    distance = mean sqrt((f(x) - f(x'))^T S^-1 (f(x) - f(x')))          Mahalanobis; lower is more invariant
    ratio    = distance / the same between x and another clip of its data set, drawn at random

The distance depends on the width of the head, on S and on its estimate. The ratio is free of scale, so that it can be compared between
models: 0 is invariant, 1 is as far away as another clip. S is Ledoit and Wolf's shrunk estimate (scikit-learn), for the
empirical one of 500 features needs thousands of clips to be inverted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from mtslvr.encoder.model import MTSLVR
from mtslvr.sound import stream
from mtslvr.storage.tables import lined_up
from training.augment.chain import AUGMENTATIONS, Chain, augment, sample_parameters
from training.evaluation import sets
from training.evaluation.datasets.common import Dataset
from training.evaluation.encoders import Network
from training.evaluation.report import interval
from training.studies.mahalanobis import distances

BATCH = 16  # clips augmented and embedded at a time


@dataclass(frozen=True)
class Invariance:
    """A cell of the table.

    Args:
        head: "invariant", "variant", or "combined" of a model of one head.
        data: a set, or "all" of them together.
        augmentation: one of AUGMENTATIONS, or "mean" over them.
        distance, ratio: see above, with intervals of 1.96 standard errors over the clips.
        shrinkage: of the covariance, 0..1; always that of all clips.
    """

    encoder: str
    fingerprint: str
    head: str
    data: str
    augmentation: str
    n_clips: int
    distance: float
    distance_interval: float
    ratio: float
    ratio_interval: float
    shrinkage: float


def embed(model: MTSLVR, paths: Sequence[Path], seed: int) -> np.ndarray:
    """Features of clips, clean and then under each augmentation alone: float32 [8, n, D], D as in the space "combined"."""
    generators = [torch.Generator().manual_seed(len(AUGMENTATIONS) * seed + i) for i in range(len(AUGMENTATIONS))]
    batches = []
    for i in tqdm(range(0, len(paths), BATCH), unit=f" x {BATCH} clips", disable=None):
        waves = torch.from_numpy(np.stack([_first_window(path) for path in paths[i : i + BATCH]]))
        versions = [waves, *_augmented(waves, generators)]
        with torch.no_grad():
            batches.append(np.stack([model(version.to(model.device)).cpu().numpy() for version in versions]))
    return np.concatenate(batches, 1)


def measure(model: Network, datasets: Sequence[Dataset], n_clips: int, seed: int = 0) -> list[Invariance]:
    """All cells of a model's rows: each head, each set and all of them, each augmentation and their mean.

    Args:
        n_clips: of each set at most; drawn at random where it has more.
    """
    rng = np.random.default_rng(seed)
    chosen = [np.sort(rng.permutation(len(dataset.clips))[:n_clips]) for dataset in datasets]
    paths = [dataset.clips[i].path for dataset, clips in zip(datasets, chosen, strict=True) for i in clips]
    set_of = np.repeat(np.arange(len(datasets)), [len(clips) for clips in chosen])
    features = embed(model.model, paths, seed)
    results = []
    for head, columns in model.spaces.heads().items():
        found = distances(features[..., columns], set_of, np.random.default_rng(seed))
        for data, members in [("all", set_of >= 0), *((d.name, set_of == i) for i, d in enumerate(datasets))]:
            others = found.others[members]
            rows = found.augmented[:, members]
            for kind, lengths in zip((*AUGMENTATIONS, "mean"), (*rows, rows.mean(0)), strict=True):
                ratio = lengths.mean() / others.mean()
                results.append(
                    Invariance(
                        encoder=model.name,
                        fingerprint=model.fingerprint,
                        head=head,
                        data=data,
                        augmentation=kind,
                        n_clips=len(others),
                        distance=float(lengths.mean()),
                        distance_interval=interval(lengths),
                        ratio=float(ratio),
                        ratio_interval=interval((lengths - ratio * others) / others.mean()),  # delta method
                        shrinkage=found.shrinkage,
                    )
                )
    return results


def table(results: Sequence[Invariance]) -> str:
    """Rows: encoder and head; columns: augmentations; a block of distances and one of ratios, over all sets together."""
    pooled = [result for result in results if result.data == "all"]
    names = ["", *AUGMENTATIONS, "mean"]
    blocks = []
    for title, value in (("Mahalanobis distance", "distance"), ("ratio to the distance of another clip", "ratio")):
        rows: dict[str, list[str]] = {}
        digits = 1 if value == "distance" else 2
        for result in pooled:
            number, interval = getattr(result, value), getattr(result, f"{value}_interval")
            rows.setdefault(f"{result.encoder}/{result.head}", []).append(f"{number:.{digits}f} ±{interval:.{digits}f}")
        lines = lined_up([names, *([row, *cells] for row, cells in rows.items())])
        blocks.append(f"{title}, {pooled[0].n_clips} clips\n{lines}")
    shrunk = {f"{result.encoder}/{result.head}": f"{result.shrinkage:.3f}" for result in pooled}
    note = "Covariance: Ledoit-Wolf, of the clean clips; shrinkage " + ", ".join(f"{k} {v}" for k, v in shrunk.items())
    return "\n\n".join([*blocks, note])


def plot(results: Sequence[Invariance], path: Path) -> None:
    """Bar chart of the ratios as PNG: a group per augmentation, a bar per encoder and head."""
    pooled = [result for result in results if result.data == "all"]
    rows = {(result.encoder, result.head): result.encoder for result in pooled}
    names = [*AUGMENTATIONS, "mean"]
    figure = Figure(figsize=(11, 4), layout="constrained")
    axes = figure.subplots()
    colours = {encoder: f"C{i}" for i, encoder in enumerate(dict.fromkeys(rows.values()))}
    width = 0.8 / len(rows)
    for i, (encoder, head) in enumerate(rows):
        found = {result.augmentation: result for result in pooled if (result.encoder, result.head) == (encoder, head)}
        axes.bar(
            np.arange(len(names)) + (i - (len(rows) - 1) / 2) * width,
            [found[name].ratio for name in names],
            width,
            yerr=[found[name].ratio_interval for name in names],
            color=colours[encoder],
            alpha=0.5 if head == "invariant" and len(rows) > len(colours) else 1.0,
            label=f"{encoder}/{head}",
            error_kw={"elinewidth": 0.8},
        )
    axes.axhline(1, color="grey", linestyle=":", linewidth=1, label="another clip")
    axes.set(ylabel="distance, relative to another clip's", title="How far an augmentation moves a clip (0: invariant)")
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=120)


def _first_window(path: Path) -> np.ndarray:
    return next(stream.windows(path))[0]


def _augmented(waves: Tensor, generators: Sequence[torch.Generator]) -> Iterator[Tensor]:
    """The waves under each kind alone, with parameters and noise from the generator of the kind."""
    for kind, generator in enumerate(generators):
        order = torch.full((len(waves), len(AUGMENTATIONS)), -1)
        order[:, 0] = kind
        parameters = sample_parameters(Chain(order), waves.shape[1], generator)
        yield augment(waves, Chain(order), parameters, generator)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.studies.invariance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", nargs="+", default=["default"], help="model folders or Hub names, or `untrained`")
    sets.add_arguments(parser)
    parser.add_argument("--clips", type=int, default=500, help="of each set at most; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="PATH")
    parser.add_argument("--plot", type=Path, metavar="PATH", help="PNG")
    args = parser.parse_args(argv)
    try:
        datasets = sets.from_arguments(args)
        results = []
        for name in args.model:
            results += measure(Network.named(name, device=args.device), datasets, args.clips, args.seed)
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(table(results))
    if args.json:
        settings = {"clips": args.clips, "seed": args.seed, "covariance": "Ledoit-Wolf of the clean clips"}
        content = {"settings": settings, "results": [asdict(result) for result in results]}
        args.json.write_text(json.dumps(content, indent=2) + "\n")
    if args.plot:
        plot(results, args.plot)


if __name__ == "__main__":
    main()
