"""The analysis of the heads on a tiny model, and its statistics where the answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from toy_sets import write_tones

from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.model import MTSLVR
from training.studies.analyse import Heads, correlations, main, read_gaps

pytestmark = pytest.mark.slow


def heads(gap: float | None, difference: float, gain: float = 1.0, encoder: str = "a") -> Heads:
    return Heads(encoder, "x", 1, 50.0, 50.0 - difference, 51.0, difference, 0.5, gain, 0.5, gap)


def test_correlations_are_of_ranks_within_a_model() -> None:
    own = [heads(0.1, 1, gain=3), heads(0.2, 5, gain=2), heads(0.4, 900, gain=1)]
    other = [heads(0.1, 3, encoder="b"), heads(0.2, 2, encoder="b")]
    constant = [heads(gap, 1, gain=1, encoder="c") for gap in (0.1, 0.2, 0.3)]
    found = correlations([*own, *other, *constant, heads(None, 3)])
    assert [(row.encoder, row.of, row.n_sets, row.rho) for row in found] == [
        ("a", "difference", 3, pytest.approx(1)),
        ("a", "gain", 3, pytest.approx(-1)),
    ]


def test_the_whole_analysis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MTSLVR(EncoderConfig(adapter="bn", head_dim=4))
    model.save_pretrained(tmp_path / "tiny" / "model")
    names = ["a", "b", "c"]
    for name, n_classes in zip(names, (5, 6, 7), strict=True):
        write_tones(tmp_path / "sets" / name, n_classes=n_classes, n_clips=3)
    ratios = [
        {"fingerprint": model.fingerprint, "data": name, "augmentation": kind, "head": head, "ratio": ratio}
        for i, name in enumerate(names)
        for head, ratio in (("invariant", 0.5), ("variant", 0.6 + i))
        for kind in ("mean", "fade")
    ]
    (tmp_path / "invariance.json").write_text(json.dumps({"results": ratios}))
    assert read_gaps(tmp_path / "invariance.json")[model.fingerprint, "b"] == pytest.approx(1.1)
    arguments = ["--model", str(tmp_path / "tiny" / "model"), "--data-root", str(tmp_path / "sets")]
    arguments += ["--shots", "1", "2", "--tasks", "40", "--paper-tasks", "3", "--cache", str(tmp_path / "cache")]
    main([*arguments, "--invariance", str(tmp_path / "invariance.json"), "--out", str(tmp_path / "out")])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "analysis.json",
        "head-mix.png",
        "mix-transfer.png",
        "invariance-gap.png",
    }
    found = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert len(found["heads"]) == 6
    for one in found["mixes"]:
        equal = [accuracies[5] for accuracies in one["accuracies"]]
        own = [result["combined"] for result in found["heads"] if result["n_shots"] == one["n_shots"]]
        assert equal == pytest.approx(own), "equal shares are the combined space, on the same tasks"
    printed = capsys.readouterr().out
    assert "1-shot: gain of a mix fitted on one set, over equal shares, points" in printed


def test_errors_are_one_line(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        MTSLVR(EncoderConfig(adapter="bn", n_heads=1, head_dim=4)).save_pretrained(tmp_path / "one")
    write_tones(tmp_path / "tones", n_clips=2)
    arguments = ["--data", f"tones={tmp_path}/tones", "--shots", "1", "--tasks", "5", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match=r"error: .*one has one head; there is nothing to compare"):
        main([*arguments, "--model", str(tmp_path / "one")])
    with pytest.raises(SystemExit, match="error: no data"):
        main(["--out", str(tmp_path / "out")])
