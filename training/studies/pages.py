"""Put the figures of docs/results.json into the pages and into the default model's card.

    python -m training.studies.pages            # after training.studies.results, which does it too
    python -m training.studies.pages --check    # says which pages are stale

A page has them between comments, on lines of their own for a table, within a line for a number:

    <!-- results: accuracy 5 -->
    ...
    <!-- end -->
    right in <!-- results: mean mtslvr combined 1 -->53.3<!-- end --> % of the cases
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtslvr.encoder.model import MTSLVR
from mtslvr.storage.assets import DEFAULT_MODEL, MODELS
from training.augment.chain import AUGMENTATIONS
from training.evaluation.encoders import NAMES
from training.studies import fewshot_tables
from training.studies.describe import measured

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results.json"
MARK = re.compile(r"<!-- results: ([^>]+?) -->(.*?)<!-- end -->", re.DOTALL)
SIZE = f"{sum(path.stat().st_size for path in DEFAULT_MODEL.iterdir()) / 1e6:.0f}"  # MB
ABOUT = {  # encoder -> its name in a table; ms of one CPU thread per clip of 5 s, MB, licence
    "mtslvr": ("**mtslvr**", "44", SIZE, "Apache-2.0, weights CC BY-SA 4.0"),
    "self-supervised": ("mtslvr, self-supervised", "44", SIZE, "Apache-2.0, weights CC BY-SA 4.0"),
    "whisper-tiny": ("Whisper tiny.en, encoder", "60", "70", "MIT"),
    "resemblyzer": ("Resemblyzer", "28", "16", "Apache-2.0"),
    "yamnet": ("YAMNet", "23", "32, and TensorFlow", "Apache-2.0"),
    "logmel": ("log-mel statistics", "3", "0", ""),
    "egemaps": ("eGeMAPS (openSMILE)", "89", "1", "not for commercial products"),
    "speech-embedding": ("Google's speech embedding (openWakeWord)", "", "1", "CC BY-NC-SA, says its package"),
    "untrained": ("the same network, untrained", "", "", ""),
}
Results = Mapping[str, Any]


def paths() -> list[Path]:
    """The pages that may hold figures."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "training" / "README.md"]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Markdown; the first row is the head."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def accuracy(results: Results, shots: str, protocol: str = "accuracy") -> str:
    """Encoders and spaces by set. protocol: "accuracy", groups kept apart, or "mixed"."""
    wanted = [("mtslvr", space) for space in ("combined", "invariant", "variant")]
    others = ("self-supervised", "logmel", "untrained")
    return _accuracies(results[protocol], shots, [*wanted, *((name, "combined") for name in others)])


def peers(results: Results, shots: str = "", protocol: str = "accuracy") -> str:
    """The combined space beside the encoders of others that were measured: by set; without `shots` the means, speed, size, licence."""
    if not shots:
        rows = [["encoder", "1 example", "5 examples", "ms", "MB", "licence"]]
        for name in dict.fromkeys(
            one["encoder"] for one in results[protocol]["results"] if one["encoder"] != "untrained"
        ):
            title, *about = ABOUT[name]
            rows.append([title, *(mean(results, name, "combined", n, protocol) for n in ("1", "5")), *about])
        rows[1:] = sorted(rows[1:], key=lambda row: -float(row[2]))
        return table(rows)
    return _accuracies(results[protocol], shots, [(name, "combined") for name in NAMES if name != "untrained"])


def models(results: Results) -> str:
    """The models of the package: how they were made, what they give, what they cost."""
    rows = [["name", "made by", "spaces", "1 shot", "5 shots", "ms", "MB", "licence"]]
    for name in MODELS:
        config = MTSLVR.from_pretrained(name).config
        _, *about = ABOUT[encoder := "mtslvr" if name == "default" else name]
        made = f"{config.training['objective']}; {config.training['sounds_seen']:,} sounds"
        if before := config.training.get("went on from"):
            made += f", after {before}"
        means = (mean(results, encoder, "combined", shots) for shots in ("1", "5"))
        rows.append(
            [f'`"{name}"`', made, ", ".join(f"{space} [{n}]" for space, n in config.spaces.items()), *means, *about]
        )
    return table(rows)


def _accuracies(part: Results, shots: str, wanted: Sequence[tuple[str, str]]) -> str:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in part["results"]:
        if one["n_shots"] == int(shots):
            found.setdefault((one["encoder"], one["space"]), {})[one["data"]] = one
    data = list(next(iter(found.values())))
    rows = [[f"{shots} shot{'s' * (shots != '1')}", *data, "mean"]]
    for encoder, space in wanted:
        if cells := found.get((encoder, space)):
            name = ABOUT[encoder][0] + (f", {space}" if encoder == "mtslvr" else "")
            mean = sum(one["accuracy"] for one in cells.values()) / len(cells)
            rows.append([name, *(_accuracy(cells[one]) for one in data), f"**{mean:.1f}**"])
    return table(rows)


def _accuracy(one: Mapping[str, Any]) -> str:
    return f"{one['accuracy']:.1f} ± {one['interval']:.1f}" + ("" if one["disjoint"] else " *")


def mean(results: Results, encoder: str, space: str, shots: str, protocol: str = "accuracy") -> str:
    """The mean over the sets: a number."""
    wanted = (encoder, space, int(shots))
    cells = [
        one["accuracy"]
        for one in results[protocol]["results"]
        if (one["encoder"], one["space"], one["n_shots"]) == wanted
    ]
    return f"{sum(cells) / len(cells):.1f}"


def spaces(results: Results) -> str:
    """The means of the spaces."""
    rows = [["", "1 shot", "5 shots"]]
    for space in ("combined", "invariant", "variant"):
        rows.append([space, *(mean(results, "mtslvr", space, shots) for shots in ("1", "5"))])
    return table(rows)


def robustness(results: Results, shots: str, space: str = "combined") -> str:
    """Changes of the queries by set, and the points lost in the mean."""
    own = [one for one in results["robustness"]["results"] if (one["n_shots"], one["space"]) == (int(shots), space)]
    data = list(dict.fromkeys(one["data"] for one in own))
    rows = [["queries", *data, "points lost"]]
    for change in dict.fromkeys(one["change"] for one in own):
        cells = {one["data"]: one for one in own if one["change"] == change}
        lost = "" if change == "clean" else f"{cells['mean']['lost']:.1f} ± {cells['mean']['lost_interval']:.1f}"
        rows.append([change, *(f"{cells[name]['accuracy']:.1f}" for name in data), lost])
    return table(rows)


def invariance(results: Results, what: str) -> str:
    """Heads by augmentation. what: "ratio" or "distance"."""
    rows: dict[tuple[str, str], list[str]] = {}
    for one in results["invariance"]["results"]:
        if one["data"] == "all":
            told = f"{one[what]:.{2 if what == 'ratio' else 1}f} ± {one[f'{what}_interval']:.{2 if what == 'ratio' else 1}f}"
            rows.setdefault((one["encoder"], one["head"]), []).append(told)
    head = [what, *(name.replace("_", " ") for name in AUGMENTATIONS), "mean"]
    names = {key: f"{key[1]} head" if key[0] == "mtslvr" else f"{key[0]}, {key[1]}" for key in rows}
    return table([head, *([names[key], *cells] for key, cells in rows.items())])


def heads(results: Results) -> str:
    """Which head is worth more on which set, and what both together gain."""
    own = [one for one in results["heads"]["heads"] if one["encoder"] == "mtslvr"]
    rows = [["", *dict.fromkeys(one["data"] for one in own)]]
    for shots in sorted({one["n_shots"] for one in own}):
        for title, what in (("invariant less variant", "difference"), ("both less the better one", "gain")):
            cells = [f"{one[what]:+.1f} ± {one[f'{what}_interval']:.1f}" for one in own if one["n_shots"] == shots]
            rows.append([f"{shots} shot{'s' * (shots > 1)}: {title}", *cells])
    return table(rows)


def weights(results: Results) -> str:
    """The share of the invariant head in the classifier's weights, and the share that would be best."""
    mixes = results["heads"]["mixes"]
    rows = [["", *mixes[0]["data"]]]
    titles = {"weights": "ridge, scaled features", "paper_weights": "the paper's SGD, raw features"}
    titles |= {"spread": "(spread of the raw features)", "best": "*the share that classifies best*"}
    for what, title in titles.items():
        rows += [[f"{title}, {one['n_shots']}-shot", *(f"{value:.2f}" for value in one[what])] for one in mixes]
    return table(rows)


FEWSHOT = {figure.__name__: figure for figure in fewshot_tables.TABLES}
PARTS = {  # of the results, where it is not the name of the figure
    "peers": "accuracy",
    "mean": "accuracy",
    "models": "accuracy",
    "spaces": "accuracy",
    "weights": "heads",
    **dict.fromkeys(FEWSHOT, "fewshot"),
    "methods": "methods",
}
UNKNOWN = "(not measured yet for these weights)"
FIGURES: dict[str, Callable[..., str]] = {
    figure.__name__: figure
    for figure in (accuracy, peers, models, mean, spaces, robustness, invariance, heads, weights)
}
for name, rows in FEWSHOT.items():
    FIGURES[name] = lambda results, *options, name=name, rows=rows: table(rows(results[PARTS[name]], *options))


def filled(page: str, results: Results) -> str:
    """The text of a page with its figures as the results have them; where a part was not measured of these weights, it says so.

    Raises:
        ValueError: a figure of an unknown name or with unknown options.
    """

    def figure(mark: re.Match[str]) -> str:
        name, *options = mark[1].split()
        if name not in FIGURES:
            raise ValueError(f"<!-- results: {mark[1]} -->: expected one of {', '.join(FIGURES)}")
        part = "mixed" if "mixed" in options else PARTS.get(name, name)
        if part in results.get("kept", ()):  # measured of these weights before there was a file of results
            return mark[0]
        try:
            told = FIGURES[name](results, *options) if part in results else UNKNOWN
        except (TypeError, ValueError, KeyError, StopIteration, ZeroDivisionError) as error:
            raise ValueError(f"<!-- results: {mark[1]} -->: docs/results.json does not have it ({error!r})") from error
        return f"<!-- results: {mark[1]} -->{told}<!-- end -->"

    return MARK.sub(figure, page)


def card(results: Results) -> dict[str, str]:
    """config.json and README.md of the default model, with the results in them: name -> text."""
    model = MTSLVR.from_pretrained()
    model.config = dataclasses.replace(model.config, training={**model.config.training, **measured(results)})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / DEFAULT_MODEL.name
        model.save_pretrained(folder, half=True)
        return {name: (folder / name).read_text() for name in ("config.json", "README.md")}


def stale(results: Results) -> dict[Path, str]:
    """The files whose figures are not those of the results, and what they should be."""
    wanted = {path: filled(path.read_text(), results) for path in paths()}
    wanted |= {DEFAULT_MODEL / name: text for name, text in card(results).items()}
    return {path: text for path, text in wanted.items() if path.read_text() != text}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.studies.pages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a page is stale")
    args = parser.parse_args(argv)
    found = stale(json.loads(RESULTS.read_text()))
    for path, text in found.items():
        print(f"{'stale' if args.check else 'written'}: {path.relative_to(ROOT)}")
        if not args.check:
            path.write_text(text)
    if args.check and found:
        sys.exit(1)


if __name__ == "__main__":
    main()
