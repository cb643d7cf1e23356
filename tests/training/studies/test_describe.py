"""The card of a model that was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.model import MTSLVR
from training.studies import describe


def result(encoder: str, space: str, data: str, accuracy: float) -> dict[str, Any]:
    return {
        "encoder": encoder,
        "space": space,
        "data": data,
        "accuracy": accuracy,
        "interval": 0.44,
        "n_ways": 5,
        "n_shots": 1,
        "disjoint": data == "a",
    }


def ratio(encoder: str, head: str, augmentation: str, value: float, data: str = "all") -> dict[str, Any]:
    names = {"encoder": encoder, "head": head, "augmentation": augmentation, "data": data}
    return {**names, "ratio": value, "ratio_interval": 0.02, "distance": 1.0}


@pytest.mark.slow
def test_what_was_measured_goes_into_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    MTSLVR(EncoderConfig("parallel", 2, 4, training={"steps": 7})).save_pretrained(tmp_path / "model")
    results = [
        result("mine", "combined", "a", 50.04),
        result("mine", "combined", "b", 60.0),
        result("logmel", "combined", "a", 40.0),
    ]
    (tmp_path / "table.json").write_text(json.dumps({"settings": {"shots": [1, 5], "tasks": 100}, "results": results}))
    ratios = [ratio("mine", "invariant", "time_mask", 0.26), ratio("mine", "variant", "time_mask", 1.04)]
    ratios += [ratio("mine", "invariant", "time_mask", 9.0, data="a"), ratio("untrained", "invariant", "fade", 0.3)]
    (tmp_path / "ratios.json").write_text(json.dumps({"settings": {"clips": 40}, "results": ratios}))
    command = f"describe {tmp_path}/model {tmp_path}/out --license mit --summary Short. --results {tmp_path}/table.json"
    monkeypatch.setattr("sys.argv", [*command.split(), "--invariance", str(tmp_path / "ratios.json")])
    describe.main()

    card = (tmp_path / "out" / "README.md").read_text()
    assert "| mine | combined | 5-way 1-shot | 50.0 ± 0.4 | 60.0 ± 0.4 * | 55.0 |" in card
    assert (
        "python -m training.evaluation.evaluate --encoder mtslvr logmel --data-root SETS --shots 1 5 --tasks 100\n"
        in card
    )
    assert "| time mask | 0.26 ± 0.02 ███ | 1.04 ± 0.02 ██████████ |" in card and "fade" not in card
    assert "python -m training.studies.invariance --data-root SETS --clips 40\n" in card
    assert "license: mit" in card and "\nShort.\n" in card and "| steps | 7 |" in card
    model = MTSLVR.from_pretrained(tmp_path / "out")
    assert model.fingerprint in card and model.config.training["license"] == "mit"
