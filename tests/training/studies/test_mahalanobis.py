"""Mahalanobis distances, against their definition and at the ends of their scale."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from training.studies.mahalanobis import distances

SETS = np.repeat([0, 1, 2], [100, 60, 140])


def features(seed: int = 0) -> np.ndarray:
    """[8, 300, 10]: correlated, far from zero, of different scales."""
    rng = np.random.default_rng(seed)
    return 5 + rng.standard_normal((8, 300, 10)) @ (rng.standard_normal((10, 10)) * np.logspace(-2, 1, 10))


def test_against_the_definition() -> None:
    x = features()
    found = distances(x, SETS, np.random.default_rng(0))
    inverse = np.linalg.inv(LedoitWolf().fit(x[0]).covariance_)
    expected = [[np.sqrt((a - b) @ inverse @ (a - b)) for a, b in zip(x[0], version, strict=True)] for version in x[1:]]
    np.testing.assert_allclose(found.augmented, expected)
    assert 0 < found.shrinkage < 1


def test_another_clip_is_one_of_the_same_set() -> None:
    """Sets far apart: the others would be far away too if they were taken from all."""
    x = np.random.default_rng(0).standard_normal((8, 300, 10))
    near = distances(x, SETS, np.random.default_rng(0))
    far = distances(x + 1000 * SETS[:, None], SETS, np.random.default_rng(0))
    assert far.others.mean() < 1.1 * near.others.mean()
    assert (near.others > 0).all(), "never the clip itself"


def test_the_ends_of_the_scale() -> None:
    x = np.repeat(features()[:1], 8, 0)
    x[2] = features(1)[0]  # fresh draws of the same distribution
    found = distances(x, SETS, np.random.default_rng(0))
    assert found.augmented[0].mean() == 0
    assert found.augmented[1].mean() / found.others.mean() == pytest.approx(1, abs=0.25)


def test_scale_and_offset_do_not_matter() -> None:
    x = features()
    one, other = (distances(y, SETS, np.random.default_rng(0)) for y in (x, 1000 * x - 7))
    np.testing.assert_allclose(one.augmented, other.augmented)
    np.testing.assert_allclose(one.others, other.others)


def test_errors() -> None:
    x, rng = features(), np.random.default_rng(0)
    with pytest.raises(ValueError, match="19 clips, at least 19 a set; expected 20 or more"):
        distances(x[:, :19], SETS[:19], rng)
    with pytest.raises(ValueError, match=r"at least 1 a set; expected .* 2 a set"):
        distances(x[:, :101], SETS[:101], rng)
    with pytest.raises(ValueError, match="features of all clips are the same"):
        distances(np.ones_like(x), SETS, rng)
