"""Measure again all that docs/ and the default model's card say of the default weights: one JSON, the pictures, the pages.

    python -m training.studies.results --data-root SETS                       # an hour or two on two CPU cores
    python -m training.studies.results --data-root SETS --only robustness     # one part again; the others stay

Writes docs/results.json and docs/images/, then the tables of the pages and of the card (training/studies/pages.py). Embeddings are kept, so that a
run that was stopped loses little; a part is written as soon as it is measured. Encoders of others take part if they are installed.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mtslvr.encoder.model import MTSLVR
from mtslvr.storage.assets import MODELS
from training.evaluation import encoders, evaluate, robustness, sets
from training.studies import analyse, fewshot, invariance, pages

ROOT = Path(__file__).parents[2]
RESULTS = pages.RESULTS
IMAGES = ROOT / "docs" / "images"
Part = Callable[[list[str], Path], object]  # takes the options that name the sets, and a folder to leave NAME.json in


def installed() -> list[str]:
    """The names of the encoders of others that can be loaded here."""
    found = []
    for name, make in encoders.PEERS.items():
        try:
            make()
        except ValueError as error:
            print(f"left out: {error}", file=sys.stderr)
        else:
            found.append(name)
    return found


def parts(tasks: int, clips: int) -> dict[str, Part]:
    """What is measured, in order; later parts may read what earlier ones left."""
    names = ["--model", *MODELS, "--encoder", "mtslvr", "logmel", "untrained"]
    shots = ["--shots", "1", "5", "--tasks", str(tasks)]
    both = ["--model", "default", "untrained"]
    kinds = ["--tasks", "50", "--ways", "5", "--shots", "1", "5", "20", "--methods", "ridge", "logistic", "centroid"]
    kinds += ["--spaces", "combined", "invariant", "variant"]
    return {
        "accuracy": lambda data, out: evaluate.main(
            [*data, *names, *installed(), *shots, "--json", f"{out}/accuracy.json"]
        ),
        "mixed": lambda data, out: evaluate.main(
            [*data, *names, *installed(), *shots, "--groups", "mixed", "--json", f"{out}/mixed.json"]
        ),
        "robustness": lambda data, out: robustness.main([*data, *shots, "--json", f"{out}/robustness.json"]),
        "invariance": lambda data, out: invariance.main(
            [*data, *both, "--clips", str(clips), "--json", f"{out}/invariance.json", "--plot", f"{IMAGES}/invariance.png"]
        ),
        "heads": lambda data, out: analyse.main(
            [*data, *both, *shots, *_gaps(out), "--out", str(IMAGES), "--json", f"{out}/heads.json"]
        ),
        "fewshot": lambda data, out: fewshot.main(
            [*data, "--tasks", "50", "--json", f"{out}/fewshot.json", "--plot", f"{IMAGES}/calibration.png"]
        ),
        "methods": lambda data, out: fewshot.main([*data, *kinds, "--json", f"{out}/methods.json"]),
    }  # fmt: skip


def _gaps(out: Path) -> list[str]:
    path = out / "invariance.json"
    return ["--invariance", str(path)] if path.exists() else []


def load(path: Path, fingerprint: str) -> dict[str, Any]:
    """What was measured of these weights before; nothing if it was of others.

    "kept" names the parts that were measured of these weights before there was such a file: pages.py leaves them as they are.
    """
    before: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return before if before.get("fingerprint") == fingerprint else {"fingerprint": fingerprint}


def save(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with a line for each row, so that a change of it can be read."""

    def line(value: Any) -> str:
        return json.dumps(_rounded(value), ensure_ascii=False)

    def told(value: Any) -> str:
        if isinstance(value, dict) and all(isinstance(one, (list, dict)) for one in value.values()):
            return "{\n" + ",\n".join(f"{line(name)}: {told(one)}" for name, one in value.items()) + "\n}"
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return "[\n" + ",\n".join(map(line, value)) + "\n]"
        return line(value)

    path.write_text("{\n" + ",\n".join(f"{line(name)}: {told(part)}" for name, part in content.items()) + "\n}\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items() if name not in ("seconds", "before", "after")}
    return [_rounded(one) for one in value] if isinstance(value, (list, tuple)) else value


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.studies.results",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = list(parts(0, 0))
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="parts to measure; default: all")
    parser.add_argument("--tasks", type=int, default=10_000, help="per set and number of shots; default: %(default)s")
    parser.add_argument("--clips", type=int, default=40, help="of each set, for invariance; default: %(default)s")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="PATH", help="JSON; default: docs/results.json")
    sets.add_arguments(parser)
    args = parser.parse_args(argv)
    data = [*(["--data", *args.data] if args.data else []), "--split", args.split]
    data += ["--data-root", args.data_root] if args.data_root else []
    content = load(args.out, MTSLVR.from_pretrained().fingerprint)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, part in content.items():
            (folder / f"{name}.json").write_text(json.dumps(part))
        for name, measure in parts(args.tasks, args.clips).items():
            if name in args.only:
                measure(data, folder)
                content[name] = json.loads((folder / f"{name}.json").read_text())
                content["kept"] = [other for other in content.get("kept", []) if other != name]
                save(args.out, content)
    if args.out == RESULTS:
        runpy.run_path(str(ROOT / "docs" / "pictures.py"), run_name="__main__")
        pages.main([])


if __name__ == "__main__":
    main()
