"""Fill in a model's card before it is published: licence, what to say first, and measured accuracies.

    python -m training.describe runs/default/model OUT --license cc-by-sa-4.0 --summary "..." --results table.json

table.json is what training.evaluate wrote; its figures go into config.json and the card as they are.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from mtslvr.model import MTSLVR


def result_rows(table: dict[str, Any]) -> list[dict[str, str]]:
    """One row per encoder, space and number of shots; a column per set, and their mean: accuracy % with its 95 % interval."""
    rows: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for result in table["results"]:
        rows.setdefault((result["encoder"], result["space"], result["n_shots"]), []).append(result)
    lines = []
    for (encoder, space, n_shots), results in sorted(rows.items(), key=lambda item: item[0][2]):
        line = {"encoder": encoder, "space": space, "task": f"{results[0]['n_ways']}-way {n_shots}-shot"}
        line |= {result["data"]: f"{result['accuracy']:.1f} ± {result['interval']:.1f}" for result in results}
        lines.append(line | {"mean": f"{sum(result['accuracy'] for result in results) / len(results):.1f}"})
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.describe", description="Fill in a model's card.")
    parser.add_argument("model", help="model folder")
    parser.add_argument("out", help="folder to write")
    parser.add_argument("--license", required=True, help="of the weights, as the Hub spells it")
    parser.add_argument("--summary", required=True, help="what the model is, and is worth")
    parser.add_argument("--results", type=Path, help="JSON of training.evaluate")
    args = parser.parse_args()
    model = MTSLVR.from_pretrained(args.model)
    training = {**model.config.training, "license": args.license, "summary": args.summary}
    if args.results is not None:
        training["results"] = result_rows(json.loads(args.results.read_text()))
    model.config = dataclasses.replace(model.config, training=training)
    model.save_pretrained(args.out, half=True)


if __name__ == "__main__":
    main()
