"""Pages and card say what docs/results.json holds, of the weights in the package; and the machinery that keeps them so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mtslvr.encoder.model import MTSLVR
from training.evaluation.changes import CHANGES
from training.studies import pages, results

SETS = ("a", "b")


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pages.RESULTS.read_text())
    return found


def test_the_results_are_of_the_packages_weights(measured: dict[str, Any]) -> None:
    assert measured["fingerprint"] == MTSLVR.from_pretrained().fingerprint, "run python -m training.studies.results"


def test_no_page_and_no_card_is_stale(measured: dict[str, Any]) -> None:
    stale = [str(path.relative_to(pages.ROOT)) for path in pages.stale(measured)]
    assert not stale, "run python -m training.studies.pages"


def test_every_mark_is_closed() -> None:
    for path in pages.paths():
        assert path.read_text().count("<!-- results:") == len(pages.MARK.findall(path.read_text())), path


def made() -> dict[str, Any]:
    """Results whose every number is known."""
    cells = [("mtslvr", space) for space in ("combined", "invariant", "variant")] + [("logmel", "combined")]
    accuracies = [
        {"encoder": encoder, "space": space, "data": data, "n_shots": shots, "accuracy": 40.0 + shots + 10 * (data == "b"),
         "interval": 0.4, "disjoint": data == "a", "n_ways": 5}
        for encoder, space in cells for data in SETS for shots in (1, 5)
    ]  # fmt: skip
    changes = [
        {"encoder": "mtslvr", "space": space, "data": data, "n_shots": shots, "change": change, "accuracy": 30.0,
         "interval": 0.4, "lost": 2.54, "lost_interval": 0.31}
        for space in ("combined", "invariant") for data in (*SETS, "mean") for shots in (1, 5) for change in ("clean", *CHANGES)
    ]  # fmt: skip
    ratios = [
        {"encoder": "mtslvr", "head": "invariant", "data": data, "augmentation": kind, "ratio": 0.257, "ratio_interval": 0.01,
         "distance": 5.04, "distance_interval": 0.1}
        for kind in (*pages.AUGMENTATIONS, "mean") for data in (*SETS, "all")
    ]  # fmt: skip
    heads = [
        {"encoder": "mtslvr", "data": data, "n_shots": shots, "difference": -1.26, "difference_interval": 0.4, "gain": 2.0,
         "gain_interval": 0.3}
        for shots in (1, 5) for data in SETS
    ]  # fmt: skip
    share = {"weights": [0.5, 0.6], "paper_weights": [0.7, 0.7], "spread": [0.6, 0.6], "best": [0.3, 0.4]}
    mixes = [{"n_shots": shots, "data": list(SETS), **share} for shots in (1, 5)]
    fewshot = [
        {"data": data, "ways": "5", "shots": shots, "accuracy": {"ridge/combined": 50.0}, "interval": {"ridge/combined": 3.0},
         "bins": [[10.0, 4.0, 5.0]], "unknown": [0.75, 30.0, 20.4], "suspects": [10, 4, 1]}
        for data in SETS for shots in (1, 5)
    ]  # fmt: skip
    settings = {"shots": [1, 5], "tasks": 100, "clips": 40}
    return {
        "fingerprint": "f",
        "accuracy": {"settings": settings, "results": accuracies},
        "mixed": {"settings": settings, "results": accuracies},
        "robustness": {"settings": settings, "results": changes},
        "invariance": {"settings": settings, "results": ratios},
        "heads": {"heads": heads, "mixes": mixes, "gap": []},
        "fewshot": fewshot,
        "methods": fewshot,
    }


@pytest.mark.parametrize(
    ("mark", "line"),
    [
        ("accuracy 5", "| **mtslvr**, invariant | 45.0 ± 0.4 | 55.0 ± 0.4 * | **50.0** |"),
        ("accuracy 1 mixed", "| log-mel statistics | 41.0 ± 0.4 | 51.0 ± 0.4 * | **46.0** |"),
        ("peers 1", "| 1 shot | a | b | mean |"),
        ("peers", "| **mtslvr** | 46.0 | 50.0 | "),
        ("mean mtslvr variant 5", "50.0"),
        ("spaces", "| variant | 46.0 | 50.0 |"),
        ("robustness 5", "| small room | 30.0 | 30.0 | 30.0 | 2.5 ± 0.3 |"),
        ("invariance ratio", "| invariant head | 0.26 ± 0.01 |"),
        ("invariance distance", "| invariant head | 5.0 ± 0.1 |"),
        ("heads", "| 5 shots: invariant less variant | -1.3 ± 0.4 | -1.3 ± 0.4 |"),
        ("confidence", "| 5 ways | 50.0 / 40.0 / 10.0, 10.0 | 50.0 / 40.0 / 10.0, 10.0 |"),
        ("methods 5", "| ridge, combined | 50.0 ± 2.1 | 50.0 ± 2.1 |"),
        ("suspects", "| 5 ways | 80 / 40 |"),
        ("strangers", "| strangers accepted, % | 30 | 30 |"),
        ("weights", "| ridge, scaled features, 1-shot | 0.50 | 0.60 |"),
    ],
)
def test_figures(mark: str, line: str) -> None:
    page = f"Before\n\n<!-- results: {mark} -->\nold\n<!-- end -->\n\nafter <!-- results: mean mtslvr combined 1 -->9<!-- end -->."
    found = pages.filled(page, made())
    assert line in found and "old" not in found
    assert found.startswith("Before\n\n<!-- results: ") and found.endswith("1 -->46.0<!-- end -->.")
    assert pages.filled(found, made()) == found
    lines = [row for row in found.splitlines() if row.startswith("|")]
    assert len({row.count("|") for row in lines}) <= 1


def test_mistakes_are_told_and_what_was_not_measured() -> None:
    content = made()
    with pytest.raises(ValueError, match="results: accuracies 1 -->: expected one of accuracy, peers"):
        pages.filled("<!-- results: accuracies 1 --><!-- end -->", content)
    with pytest.raises(ValueError, match="does not have it"):
        pages.filled("<!-- results: accuracy 7 --><!-- end -->", content)
    del content["mixed"]
    assert pages.UNKNOWN in pages.filled("<!-- results: accuracy 1 mixed -->old<!-- end -->", content)
    content["kept"] = ["mixed"]
    assert pages.filled("<!-- results: accuracy 1 mixed -->old<!-- end -->", content).endswith("-->old<!-- end -->")


def test_results_of_other_weights_are_forgotten_and_a_row_is_a_line(tmp_path: Path) -> None:
    content = made()
    results.save(tmp_path / "results.json", content)
    text = (tmp_path / "results.json").read_text()
    assert json.loads(text) == content
    assert len(re.findall("\n", text)) > sum(len(part["results"]) for part in content.values() if "results" in part)
    assert results.load(tmp_path / "results.json", "f") == content
    assert results.load(tmp_path / "results.json", "another") == {"fingerprint": "another"}
    assert results.load(tmp_path / "none.json", "f") == {"fingerprint": "f"}
    results.save(tmp_path / "results.json", {"x": {"results": [{"seconds": 1.0, "accuracy": 1 / 3}]}})
    assert json.loads((tmp_path / "results.json").read_text()) == {"x": {"results": [{"accuracy": 0.3333}]}}


def test_one_part_again_keeps_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def measure(data: list[str], out: Path) -> None:
        asked.append(data)
        assert json.loads((out / "accuracy.json").read_text()) == made()["accuracy"]  # what was measured before
        (out / "robustness.json").write_text('{"settings": {}, "results": [{"accuracy": 9.0}]}')

    monkeypatch.setattr(results, "parts", lambda tasks, clips: {"accuracy": None, "robustness": measure})
    fingerprint = MTSLVR.from_pretrained().fingerprint
    results.save(tmp_path / "results.json", {**made(), "fingerprint": fingerprint, "kept": ["robustness", "heads"]})
    results.main(["--data-root", "SETS", "--only", "robustness", "--out", str(tmp_path / "results.json")])
    assert asked == [["--split", "test", "--data-root", "SETS"]]
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["kept"] == ["heads"]
    assert found["robustness"]["results"] == [{"accuracy": 9.0}] and found["accuracy"] == made()["accuracy"]
