"""The temperature study finds what was put in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mtslvr.fewshot import calibration, linear
from training.evaluation.datasets.common import Clip, Dataset
from training.studies import temperature


def block(true: float, n_classes: int, data: str = "set", seed: int = 0) -> temperature.Block:
    """One shot; a query's label is drawn with the probabilities that `true`, as USUAL has it, gives it. Margins are 2."""
    rng = np.random.default_rng(seed)
    targets, own = np.arange(n_classes), 2 * np.eye(n_classes)
    tasks = []
    for _ in range(20):
        queries = rng.standard_normal((100, n_classes))
        scaled = queries / (2 * true * (n_classes / 5) ** calibration.BY_CLASSES)
        truth = (scaled + rng.gumbel(size=scaled.shape)).argmax(1)
        held_out = np.full((n_classes, n_classes), np.nan)
        tasks.append(temperature.Task(own, held_out, targets, targets, queries, truth))
    return temperature.Block(data, str(n_classes), 1, tasks)


@pytest.mark.parametrize("n_classes", [2, 5, 20])
def test_the_best_temperature_is_the_true_one(n_classes: int) -> None:
    assert block(0.3, n_classes).best() == pytest.approx(0.3, rel=0.1)


def test_figures_are_calibrated_where_the_constants_are_right() -> None:
    right, sure, error = block(calibration.USUAL, 5).figures()
    assert abs(right - sure) < 3 and error < 4
    right, sure, _ = block(4 * calibration.USUAL, 5).figures()
    assert sure > right + 15


def test_constants_are_found_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temperature, "SPREADS", (0.4,))
    monkeypatch.setattr(temperature, "BY_SHOTS", (0.3,))
    before = {name: getattr(calibration, name) for name in temperature.NAMES}
    first = [block(0.32, n, seed=n) for n in (2, 5, 10, 20)]
    found = temperature.measured([*first, replace(first[0], shots=2)])
    assert found["USUAL"] == pytest.approx(0.32, rel=0.1)
    assert found["BY_CLASSES"] == pytest.approx(calibration.BY_CLASSES, abs=0.1)
    assert before == {name: getattr(calibration, name) for name in temperature.NAMES}


def test_blocks_are_tasks_of_the_set() -> None:
    dataset = Dataset("toy", tuple(Clip(Path(f"{i}.wav"), f"class {i % 5}") for i in range(20)))
    features = linear.unit_heads(np.random.default_rng(0).standard_normal((20, 8)), [4, 4])
    found = list(temperature.blocks(dataset, features, 3))
    assert {(one.ways, one.shots) for one in found} == {(ways, shots) for ways in ("2", "5", "all") for shots in (1, 2)}
    for one in found:
        assert len(one.tasks) == 3
        for task in one.tasks:
            assert task.own.shape[1] == task.queries.shape[1] and len(task.own) == len(task.targets)
            assert np.isnan(task.held_out).all() == (one.shots == 1)
