"""Tasks of unequal classes: what is drawn, and what is counted."""

from pathlib import Path

import numpy as np
import pytest

from training.evaluation.datasets.common import Clip, Dataset
from training.studies import unequal

N_CLASSES, N_CLIPS = 6, 40


def toy(groups: bool) -> Dataset:
    return Dataset(
        "toy",
        tuple(
            Clip(Path(f"{i}-{j}.wav"), f"class {i}", f"{i}-{j // 2}" if groups else "")
            for i in range(N_CLASSES)
            for j in range(N_CLIPS)
        ),
    )


@pytest.mark.parametrize("kind", unequal.KINDS)
@pytest.mark.parametrize("groups", [True, False])
def test_tasks(kind: str, groups: bool) -> None:
    dataset = toy(groups)
    tasks = list(unequal.draw(dataset, kind, 20, np.random.default_rng(0)))
    assert len(tasks) == 20
    for support, y, query, truth in tasks:
        assert sorted(np.bincount(y)) == sorted(unequal.KINDS[kind])
        assert not set(support) & set(query)
        if groups:
            assert not set(dataset.groups[support]) & set(dataset.groups[query])
        for clips, classes in ((support, y), (query, truth)):
            of = [set(dataset.targets[clips[classes == number]]) for number in range(y.max() + 1)]
            if kind == unequal.MIXED:
                assert len(of[0]) == 1 and not of[0] & of[1]
            else:
                assert len(set.union(*of)) == len(of)
        sizes = np.bincount(truth)
        assert sizes.tolist() == ([3, 12] if kind == unequal.MIXED else [3] * len(unequal.KINDS[kind]))
    assert len({int(y.argmin()) for _, y, _, _ in tasks}) == 1 or kind == "1 2 5 10 20"


def test_recall_is_by_size_and_not_by_number() -> None:
    """Class 1 has one example, and that is one of class 0."""
    features = np.repeat(np.eye(2, 8), 20, 0) + 0.01 * np.random.default_rng(0).standard_normal((40, 8))
    support, y = np.r_[0:10, 10], np.repeat([0, 1], [10, 1])
    query, truth = np.r_[30:33, 30:33], np.repeat([0, 1], 3)
    found = unequal.recalls(features, (support, y, query, truth), "centroid")
    named = unequal.FewShotClassifier(method="centroid").fit(features[support], y).predict(features[query])
    np.testing.assert_allclose(found, [(named[3:] == 1).mean(), (named[:3] == 0).mean()])
    assert found.sum() == 1, "the same three queries, under either name"


def test_a_set_that_is_too_small_has_no_tasks() -> None:
    small = Dataset("small", tuple(Clip(Path(f"{i}.wav"), f"class {i % 2}", "") for i in range(4)))
    assert not list(unequal.draw(small, "1 30", 2, np.random.default_rng(0)))
