"""The paper's variants (arXiv 2305.17191, tables of accuracy), and ablations it lacks, all at one budget: pretrain, evaluate, one table.

    python -m training.studies.ablate --steps 500 --out ABLATION --corpus PACKED --data-root SETS
    python -m training.studies.ablate --steps 50000 --out ABLATION --corpus PACKED --data esc50=ESC-50 --objective simsiam --only split parallel
    python -m training.studies.ablate --steps 250 --out ABLATION --corpus PACKED --data-root SETS --set seconds=1.5 lr=1e-3 schedule=cosine

Each variant is a run file of training/runs, all for as many steps and without early stopping; --set overrides settings of all of them.
The same command again goes on where it was stopped: what is finished is not done again. Leaves ABLATION/VARIANT/, each a
run's folder, and ABLATION/ablation.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from mtslvr.storage import cache
from training.augment.chain import AUGMENTATIONS
from training.config import PretrainConfig
from training.evaluation import sets
from training.evaluation.encoders import Network
from training.evaluation.episodes import draw_seeded
from training.evaluation.evaluate import evaluate
from training.evaluation.report import Result, table
from training.pretrain import pretrain
from training.run import Run, read_config

RUNS = Path(__file__).parents[1] / "runs"
OBJECTIVES = ("simclr", "simsiam")


def variants(objective: str = "simclr") -> dict[str, tuple[str, list[str]]]:
    """Name of each variant -> its run file, and what is overridden in it."""
    alone = {
        "contrastive": f"paper-{objective}-contrastive",  # a plain ResNet-18, as in the paper
        "predictive": "paper-predictive",
        "contrastive-parallel": f"paper-{objective}-contrastive-parallel",  # MT-Parallel without the predictive head
        "predictive-parallel": "paper-predictive-parallel",  # and without the contrastive one
    }
    kinds = ("simple", "split", "bn", "series", "parallel")  # simple and split have no adapters
    found: dict[str, tuple[str, list[str]]] = {name: (run, []) for name, run in alone.items()}
    found |= {kind: (f"paper-{objective}-{kind}", []) for kind in kinds}
    without = {f"without-{kind.replace('_', '-')}": [f'exclude=["{kind}"]'] for kind in AUGMENTATIONS}
    return found | {name: (f"paper-{objective}-parallel", overrides) for name, overrides in without.items()}


def train(
    name: str, objective: str, overrides: Sequence[str], corpus: str | None, out: Path, device: torch.device
) -> Path:
    """Pretrain a variant in the folder `out`, unless that was done; returns the folder of its model.

    Raises:
        ValueError: the folder holds a run with other settings; there is no sound to train on; a setting is unknown.
    """
    run, own = variants(objective)[name]
    config = read_config(PretrainConfig, RUNS / f"{run}.toml", [*own, *overrides])
    if (out / "curves.png").exists():  # the last thing that a run leaves
        Run(out, asdict(config), active=False)  # complains of other settings
    else:
        pretrain(config, corpus, out, device)
    return out / "model"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.studies.ablate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--steps", type=int, required=True, help="of each run; the paper has 50000 of 100 sounds")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--corpus", help="folder made by training.corpus")
    parser.add_argument("--objective", choices=OBJECTIVES, default="simclr")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings; see training/config.py")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help=f"some of: {', '.join(variants())}")
    sets.add_arguments(parser)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--tasks", type=int, default=10_000, help="5-way, per set and number of shots")
    parser.add_argument("--cache", type=Path, default=cache.default_folder(), metavar="PATH", help="of embeddings")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    try:
        run(args)
    except ValueError as error:
        sys.exit(f"error: {error}")


def run(args: argparse.Namespace) -> None:
    names = args.only or list(variants())
    if unknown := [name for name in names if name not in variants()]:
        raise ValueError(f"--only {unknown[0]}: expected some of {', '.join(variants())}")
    datasets = [
        (dataset, [draw_seeded(dataset, args.tasks, n_shots=n_shots) for n_shots in args.shots])
        for dataset in sets.from_arguments(args)
    ]  # what is wrong with the data shows before days of training
    overrides = [*args.set, f"steps={args.steps}", "patience=0"]
    content = {"steps": args.steps, "objective": args.objective, "overrides": overrides}
    record = args.out / "ablation.json"
    results = [result for result in _recorded(record, content) if result.encoder not in names]
    for name in names:
        folder = args.out / name
        model = train(name, args.objective, overrides, args.corpus, folder, torch.device(args.device))
        encoder = Network.pretrained(model, device=args.device)
        results += evaluate(encoder, datasets, split=args.split, folder=args.cache)
        record.write_text(json.dumps({**content, "results": [asdict(result) for result in results]}, indent=2) + "\n")
    print(f"{args.steps} steps each, {args.objective}; {' '.join(overrides)}\n\n{table(results)}")


def _recorded(record: Path, content: Mapping[str, object]) -> list[Result]:
    """What earlier calls with the same settings found: --only adds rows to the table, it does not begin another."""
    if not record.exists():
        return []
    found = json.loads(record.read_text())
    results = found.pop("results")
    return [Result(**result) for result in results] if found == content else []


if __name__ == "__main__":
    main()
