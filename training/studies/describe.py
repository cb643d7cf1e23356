"""Fill in a model's card before it is published: licence, what to say first, measured accuracies and invariance.

    python -m training.studies.describe runs/default/model OUT --license cc-by-sa-4.0 --summary "..." \\
        --results table.json --invariance invariance.json

The files are what training.evaluation.evaluate and training.studies.invariance wrote; their figures go into config.json and the card as they are.
The card of the package's own weights is kept by training/studies/pages.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtslvr.encoder.model import MTSLVR
from training.evaluation.encoders import NAMES, PEERS


def measured(results: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a model's `training` that say what was measured.

    Args:
        results: "accuracy", what training.evaluation.evaluate writes, and "invariance", what training.studies.invariance writes; either
            may be missing.
    """
    found: dict[str, Any] = {}
    if "accuracy" in results:
        table = results["accuracy"]
        found["results"], found["results_command"] = result_rows(table), result_command(table)
    if "invariance" in results:
        table = results["invariance"]
        found["invariance"] = invariance_rows(table)
        found["invariance_command"] = (
            f"python -m training.studies.invariance --data-root SETS --clips {table['settings']['clips']}"
        )
    return found


def result_rows(table: dict[str, Any]) -> list[dict[str, str]]:
    """One row per encoder, space and number of shots; a column per set, and their mean: accuracy % with its 95 % interval.

    A star marks tasks that mix groups.
    """
    rows: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for result in table["results"]:
        if result["encoder"] not in PEERS:  # the card is of the model
            rows.setdefault((result["encoder"], result["space"], result["n_shots"]), []).append(result)
    lines = []
    for (encoder, space, n_shots), results in sorted(rows.items(), key=lambda item: item[0][2]):
        line = {"encoder": encoder, "space": space, "task": f"{results[0]['n_ways']}-way {n_shots}-shot"}
        line |= {result["data"]: _told(result) for result in results}
        lines.append(line | {"mean": f"{sum(result['accuracy'] for result in results) / len(results):.1f}"})
    return lines


def _told(result: Mapping[str, Any]) -> str:
    return f"{result['accuracy']:.1f} ± {result['interval']:.1f}" + ("" if result["disjoint"] else " *")


def result_command(table: dict[str, Any]) -> str:
    """What measures the model, and the encoders beside it, again."""
    others = [
        name
        for name in dict.fromkeys(result["encoder"] for result in table["results"])
        if name in NAMES[1:] and name not in PEERS
    ]
    shots = " ".join(map(str, table["settings"]["shots"]))
    encoders = " ".join(["mtslvr", *others])
    return f"python -m training.evaluation.evaluate --encoder {encoders} --data-root SETS --shots {shots} --tasks {table['settings']['tasks']}"


def invariance_rows(table: dict[str, Any]) -> list[dict[str, str]]:
    """One row per augmentation, a column per head of the first model: the ratio with its 95 % interval, and a bar of a block for each tenth."""
    encoder = table["results"][0]["encoder"]
    rows: dict[str, dict[str, str]] = {}
    for result in table["results"]:
        if result["encoder"] == encoder and result["data"] == "all":
            row = rows.setdefault(result["augmentation"], {"augmentation": result["augmentation"].replace("_", " ")})
            bar = "█" * round(10 * result["ratio"])
            row[result["head"]] = f"{result['ratio']:.2f} ± {result['ratio_interval']:.2f} {bar}"
    return list(rows.values())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.studies.describe", description="Fill in a model's card.")
    parser.add_argument("model", help="model folder")
    parser.add_argument("out", help="folder to write")
    parser.add_argument("--license", required=True, help="of the weights, as the Hub spells it")
    parser.add_argument("--summary", required=True, help="what the model is, and is worth")
    parser.add_argument("--results", type=Path, help="JSON of training.evaluation.evaluate")
    parser.add_argument("--invariance", type=Path, help="JSON of training.studies.invariance; the model is its first")
    args = parser.parse_args()
    model = MTSLVR.from_pretrained(args.model)
    files = {"accuracy": args.results, "invariance": args.invariance}
    results = {name: json.loads(path.read_text()) for name, path in files.items() if path is not None}
    training = {**model.config.training, "license": args.license, "summary": args.summary, **measured(results)}
    model.config = dataclasses.replace(model.config, training=training)
    model.save_pretrained(args.out, half=True)


if __name__ == "__main__":
    main()
