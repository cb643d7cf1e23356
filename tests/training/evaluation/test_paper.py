"""The paper's figures: copied right, and shown only where they can be compared."""

from __future__ import annotations

import pytest

from training.augment.chain import AUGMENTATIONS
from training.evaluation import paper
from training.evaluation.datasets.common import class_splits
from training.evaluation.report import Result, table

MEANS = {  # as printed
    "simclr": [39.68, 28.14, 39.58, 38.03, 41.97, 41.57, 41.97],
    "simsiam": [35.25, 28.14, 35.89, 35.52, 37.90, 38.65, 40.11],
}


def result(data: str, **changes: object) -> Result:
    values = {"encoder": "a", "fingerprint": "f", "space": "combined", "data": data, "n_classes": 10, "n_clips": 400}
    values |= {"n_ways": 5, "n_shots": 1, "n_tasks": 100, "classifier": "ridge", "accuracy": 50.0, "interval": 1.0}
    return Result(**(values | {"seconds": 0.1, "split": "test"} | changes))


@pytest.mark.parametrize("objective", ["simclr", "simsiam"])
def test_the_means_that_were_printed(objective: str) -> None:
    rows = paper.rows([result(name) for name in class_splits()], objective)
    assert set(rows["paper/MT-Parallel"]) == set(class_splits())
    found = [sum(row.values()) / len(row) for row in rows.values()]
    assert found == pytest.approx(MEANS[objective], abs=0.011)


def test_other_tables_are_of_our_kinds_and_sets() -> None:
    assert sorted(paper.tables()["invariance"]["augmentations"]) == sorted(AUGMENTATIONS)
    assert set(paper.tables()["head_weights"]["sets"]) < set(class_splits())


def test_beside_the_same_sets_only() -> None:
    assert paper.rows([result("esc50"), result("mine")])["paper/MT-Bn"] == {"esc50": 69.17}
    for other in ({"n_shots": 5}, {"n_ways": 10}, {"split": "all"}, {"split": "val"}, {"data": "mine"}):
        assert not paper.rows([result(**({"data": "esc50"} | other))])
    assert not paper.rows([result("esc50")], "none")


def test_below_ours_and_without_a_mean_where_a_set_is_missing() -> None:
    lines = table([result("esc50"), result("esc50", n_shots=5)], paper.rows).splitlines()
    assert lines[2:4] == [
        "a/combined         50.0 ±1.0  50.0 ±1.0",
        "paper/Cont only          63.4        63.4",
    ] or lines[3].split() == ["paper/Cont", "only", "63.4", "63.4"]
    assert sum("paper/" in line for line in lines) == 7, "none below 5-shot"
    lines = table([result("esc50"), result("mine")], paper.rows).splitlines()
    assert lines[3].split() == ["paper/Cont", "only", "63.4", "-", "-"]
