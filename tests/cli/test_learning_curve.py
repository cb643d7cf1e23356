"""The learning curve: its protocol on clusters whose answer is known."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mtslvr.cli.learning_curve import Draws, learning_curve, plot, text
from mtslvr.encoder.spaces import Spaces

N_CLASSES, N_CLIPS, WIDTH = 4, 12, 16
MODEL: Any = SimpleNamespace(embed=None, spaces=Spaces(WIDTH, WIDTH), fingerprint="0" * 16)


@pytest.fixture
def sounds() -> tuple[np.ndarray, list[str]]:
    """Classes that the invariant head tells apart and the variant head does not."""
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(N_CLASSES, WIDTH), N_CLIPS, 0)
    invariant = centres + 0.15 * rng.standard_normal(centres.shape)
    return np.hstack([invariant, rng.standard_normal(centres.shape)]), list(np.repeat(list("abcd"), N_CLIPS))


@pytest.mark.slow
def test_more_recordings_help_and_the_useful_space_is_seen(sounds: tuple[np.ndarray, list[str]]) -> None:
    points = learning_curve(MODEL, *sounds, shots=(1, 8, 12, 20), n_draws=20)
    assert [(point.n_shots, point.space) for point in points] == [
        (n_shots, space)
        for n_shots in (1, 8)
        for space in MODEL.spaces  # 12 would leave none to judge on
    ]
    by_name = {(point.n_shots, point.space): point for point in points}
    assert by_name[8, "combined"].accuracy > by_name[1, "combined"].accuracy
    assert by_name[8, "invariant"].accuracy > 95 and by_name[8, "variant"].accuracy < 45  # chance is 25
    assert all(point.low <= point.accuracy <= point.high for point in points)
    assert points == learning_curve(MODEL, *sounds, shots=(1, 8), n_draws=20)
    assert points != learning_curve(MODEL, *sounds, shots=(1, 8), n_draws=20, seed=1)


def test_every_class_counts_alike(sounds: tuple[np.ndarray, list[str]]) -> None:
    """A large class that is always missed costs a share of the accuracy, not of the clips."""
    embeddings, y = sounds
    embeddings = np.vstack([embeddings, np.zeros((200, 2 * WIDTH))])
    embeddings[-200:, :WIDTH] = np.eye(N_CLASSES, WIDTH)[0]  # named "a" by what it sounds like
    point = learning_curve(MODEL, embeddings, [*y, *["big"] * 200], shots=(8,), n_draws=5)[1]
    assert point.space == "invariant" and point.accuracy > 50


def test_table_and_picture(sounds: tuple[np.ndarray, list[str]], tmp_path: Path) -> None:
    points = learning_curve(MODEL, *sounds, shots=(1, 2), n_draws=3)
    lines = text(points, N_CLASSES).splitlines()
    assert len({len(line) for line in lines[:3]}) == 1 and "chance is 25.0 %" in lines[-1]
    assert lines[0].split() == ["recordings", "per", "class", "combined", "%", "invariant", "%", "variant", "%"]
    assert lines[1].split()[0] == "1"
    plot(points, N_CLASSES, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"


def test_what_cannot_be_judged_is_refused(sounds: tuple[np.ndarray, list[str]]) -> None:
    embeddings, y = sounds
    with pytest.raises(ValueError, match="class 'e' has 1 clips: each class needs at least one clip more"):
        learning_curve(MODEL, np.vstack([embeddings, embeddings[:1]]), [*y, "e"])
    with pytest.raises(ValueError, match="n_draws is 0"):
        learning_curve(MODEL, embeddings, y, n_draws=0)
    with pytest.raises(ValueError, match="one class"):
        learning_curve(MODEL, embeddings, ["a"] * len(y))


@pytest.mark.slow
def test_no_group_is_on_both_sides() -> None:
    """Clips that sound like their group and not like their class: with groups told the accuracy is that of a guess."""
    rng = np.random.default_rng(0)
    groups = np.arange(48) // 2  # two clips of each, of one class
    targets = groups % N_CLASSES
    embeddings = np.repeat(rng.standard_normal((24, 2 * WIDTH)), 2, 0) + 0.01 * rng.standard_normal((48, 2 * WIDTH))
    draws = list(Draws(targets, groups, 3, 50).split())
    assert len(draws) == 50
    for support, query in draws:
        assert not set(groups[support]) & set(groups[query])
        assert (np.bincount(targets[support]) == 3).all() and set(targets[query]) == set(range(N_CLASSES))
    apart = learning_curve(MODEL, embeddings, targets, groups, shots=(5,), n_draws=50)[0].accuracy
    mixed = learning_curve(MODEL, embeddings, targets, shots=(5,), n_draws=50)[0].accuracy
    assert apart < 40 < 50 < mixed  # chance is 25
    with pytest.raises(ValueError, match=r"has 12 clips of 1 groups: .*of another group, more than the 1"):
        learning_curve(MODEL, embeddings, targets, targets, shots=(1,))


def test_draws_are_any_clips() -> None:
    draws = list(Draws(np.repeat([0, 1], 3), np.arange(6), 2, 200).split())
    assert len({tuple(sorted(support)) for support, _ in draws}) == 9  # 3 of each class, each as often
    assert all(len(query) == 2 for _, query in draws)
