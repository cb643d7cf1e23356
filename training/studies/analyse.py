"""What the two heads are worth, and where: figures and tables (docs/invariance.md says what they show).

    python -m training.studies.invariance --model default untrained --data-root SETS --json invariance.json
    python -m training.studies.analyse --model default untrained --data-root SETS --invariance invariance.json --out OUT

For each model of two heads: the accuracy of either head and of both on each set, all on the same tasks. For the first model also the head
weights of its classifiers (arXiv 2305.17191, table 6), accuracy over the mix of the heads, and what the mix fitted on one set is worth
on another. With --invariance: whether the sets and models where the heads differ most in invariance are those where they
differ most in accuracy. Writes OUT/analysis.json (or --json), head-mix.png, mix-transfer.png and invariance-gap.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mtslvr.storage import cache
from mtslvr.storage.tables import lined_up
from training.evaluation import sets
from training.evaluation.encoders import Network
from training.evaluation.episodes import draw_seeded
from training.evaluation.evaluate import embed
from training.studies import figures, mix
from training.studies.heads import Correlation, Heads, compare_heads, correlations


def tables(results: Sequence[Heads], found: Sequence[mix.Mixes], related: Sequence[Correlation]) -> str:
    """All of it as text."""
    blocks = []
    for n_shots in sorted({result.n_shots for result in results}):
        rows = [["", "set", "invariant", "variant", "combined", "inv. - var.", "combined - better", "gap"]]
        for result in (result for result in results if result.n_shots == n_shots):
            accuracies = [f"{value:.1f}" for value in (result.invariant, result.variant, result.combined)]
            differences = [f"{result.difference:+.1f} ±{result.difference_interval:.1f}"]
            differences += [f"{result.gain:+.1f} ±{result.gain_interval:.1f}"]
            gap = "-" if result.gap is None else f"{result.gap:.2f}"
            rows.append([result.encoder, result.data, *accuracies, *differences, gap])
        blocks.append(f"{n_shots}-shot: accuracy % of the heads\n{lined_up(rows)}")
    for one in found:
        rows = [["", "weight, ridge", "weight, paper's", "spread", "best share"]]
        for name, *values in zip(one.data, one.weights, one.paper_weights, one.spread, one.best, strict=True):
            rows.append([name, *(f"{value:.2f}" for value in values)])
        blocks.append(f"{one.n_shots}-shot: share of the invariant head\n{lined_up(rows)}")
        rows = [["fitted on", *one.data, "mean of others"]]
        for i, (name, gains, intervals) in enumerate(zip(one.data, one.transfer, one.intervals, strict=True)):
            cells = [f"{gain:+.1f} ±{interval:.1f}" for gain, interval in zip(gains, intervals, strict=True)]
            others = [gain for j, gain in enumerate(gains) if j != i]
            rows.append([name, *cells, f"{np.mean(others):+.2f}" if others else "-"])
        rows.append(["all others", *(f"{gain:+.1f}" for gain in one.left_out), f"{np.mean(one.left_out):+.2f}"])
        blocks.append(
            f"{one.n_shots}-shot: gain of a mix fitted on one set, over equal shares, points\n{lined_up(rows)}"
        )
    if related:
        rows = [["", "gap with", "shots", "sets", "rho", "p"]]
        for r in related:
            rows.append([r.encoder, r.of, str(r.n_shots), str(r.n_sets), f"{r.rho:+.2f}", f"{r.p:.2f}"])
        blocks.append(f"Spearman's rank correlation over the sets\n{lined_up(rows)}")
    return "\n\n".join(blocks)


def read_gaps(path: Path | None) -> dict[tuple[str, str], float]:
    """From the JSON of training.studies.invariance: variant less invariant mean ratio, by fingerprint and set."""
    if path is None:
        return {}
    ratios: dict[tuple[str, str], dict[str, float]] = {}
    for result in json.loads(path.read_text())["results"]:
        if result["augmentation"] == "mean":
            ratios.setdefault((result["fingerprint"], result["data"]), {})[result["head"]] = result["ratio"]
    return {key: found["variant"] - found["invariant"] for key, found in ratios.items() if len(found) == 2}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.studies.analyse",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", nargs="+", default=["default"], help="model folders or Hub names, or `untrained`")
    sets.add_arguments(parser)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--tasks", type=int, default=10_000, help="5-way, per set and number of shots")
    parser.add_argument("--paper-tasks", type=int, default=500, help="of them for the paper's classifier")
    parser.add_argument("--invariance", type=Path, metavar="PATH", help="JSON of training.studies.invariance")
    parser.add_argument("--cache", type=Path, default=cache.default_folder(), metavar="PATH")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help="folder of the pictures")
    parser.add_argument("--json", type=Path, metavar="PATH", help="default: OUT/analysis.json")
    args = parser.parse_args(argv)
    try:
        run(args)
    except ValueError as error:
        sys.exit(f"error: {error}")


def run(args: argparse.Namespace) -> None:
    datasets = sets.from_arguments(args)
    fit, test = (
        {n: [draw_seeded(dataset, args.tasks, n_shots=n, seed=seed) for dataset in datasets] for n in args.shots}
        for seed in (1, 0)
    )
    gaps = read_gaps(args.invariance)
    results, found = [], []
    for name in args.model:
        model = Network.named(name, device=args.device)
        heads = list(model.spaces.heads().values())
        if len(heads) == 1:
            raise ValueError(f"{name} has one head; there is nothing to compare")
        features = [embed(model, dataset, "mean", args.cache).features for dataset in datasets]
        for n_shots, episodes in test.items():
            for dataset, vectors, tasks in zip(datasets, features, episodes, strict=True):
                gap = gaps.get((model.fingerprint, dataset.name))
                results.append(compare_heads(model.name, vectors, model.spaces, dataset, tasks, gap))
            if name == args.model[0]:
                names = [dataset.name for dataset in datasets]
                found.append(mix.compare(features, heads, names, fit[n_shots], episodes, args.paper_tasks))
    related = correlations(results)
    print(tables(results, found, related))
    args.out.mkdir(parents=True, exist_ok=True)
    content = {
        "heads": [asdict(one) for one in results],
        "mixes": [asdict(one) for one in found],
        "gap": [asdict(one) for one in related],
    }
    (args.json or args.out / "analysis.json").write_text(json.dumps(content, indent=2) + "\n")
    figures.mix(found, args.out / "head-mix.png")
    figures.transfer(found, args.out / "mix-transfer.png")
    if gaps:
        figures.gap(results, args.out / "invariance-gap.png")


if __name__ == "__main__":
    main()
