"""Episodes: every promise of the protocol, on a set whose classes and groups are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from training.evaluation.datasets.common import Clip, Dataset
from training.evaluation.episodes import Episodes, TooFewGroups, draw, draw_seeded


def dataset(sizes: Sequence[int], n_groups: int | None = None) -> Dataset:
    """Classes of the given sizes; the clips of a class go through the groups in turn."""
    return Dataset(
        "toy",
        tuple(
            Clip(Path(f"{label}/{i}.wav"), f"class{label:03}", f"g{i % n_groups}" if n_groups else None)
            for label, size in enumerate(sizes)
            for i in range(size)
        ),
    )


def clips_of(episodes: Episodes) -> np.ndarray:
    """[n_tasks, n_ways, n_shots + n_queries]"""
    return np.concatenate([episodes.support, episodes.query], 2)


@pytest.mark.slow
@pytest.mark.parametrize("group_disjoint", [False, True])
@pytest.mark.parametrize(("n_ways", "n_shots", "n_queries"), [(5, 1, 1), (3, 5, 2), (7, 2, 3)])
def test_what_every_episode_keeps_to(n_ways: int, n_shots: int, n_queries: int, group_disjoint: bool) -> None:
    toy = dataset([7, 8, 9, 12, 30, 7, 20, 3], n_groups=7)
    how = {"n_ways": n_ways, "n_shots": n_shots, "n_queries": n_queries}
    episodes = draw(toy, 500, **how, group_disjoint=group_disjoint, rng=np.random.default_rng(0))
    assert episodes.support.shape == (500, n_ways, n_shots)
    assert episodes.query.shape == (500, n_ways, n_queries)
    clips = clips_of(episodes)
    labels = toy.targets[clips]
    assert (labels == labels[:, :, :1]).all(), "a row holds one class"
    assert all(len(set(task)) == n_ways for task in labels[:, :, 0]), "the classes of a task differ"
    assert all(len(set(task.ravel())) == task.size for task in clips), "no clip comes twice"
    if n_shots + n_queries > 3:
        assert 7 not in labels, "a class that is too small is never drawn"
    shared = [
        set(toy.groups[s].ravel()) & set(toy.groups[q].ravel())
        for s, q in zip(episodes.support, episodes.query, strict=True)
    ]
    assert any(shared) != group_disjoint


def test_draws_are_uniform() -> None:
    toy = dataset([4, 6, 5, 2])
    clips = clips_of(draw(toy, 60_000, n_ways=2, n_shots=2, rng=np.random.default_rng(0)))
    labels = toy.targets[clips[:, :, 0]]
    ordered = np.bincount(labels[:, 0] * 3 + labels[:, 1], minlength=9)
    np.testing.assert_array_equal(ordered[[0, 4, 8]], 0)
    np.testing.assert_allclose(ordered[[1, 2, 3, 5, 6, 7]] / 60_000, 1 / 6, atol=0.008)
    first = clips[labels == 0]  # [.., 3]: three of the four clips of class 0 in order, 24 ways
    counts = np.unique(first, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    np.testing.assert_allclose(counts / counts.sum(), 1 / 24, atol=0.004)


def test_all_clips_of_a_class_may_be_needed() -> None:
    toy = dataset([6, 6])
    clips = clips_of(draw(toy, 100, n_ways=2, n_shots=5, rng=np.random.default_rng(0)))
    np.testing.assert_array_equal(np.sort(clips.reshape(100, -1)), np.tile(np.arange(12), (100, 1)))


@pytest.mark.parametrize("group_disjoint", [False, True])
def test_the_seed_decides(group_disjoint: bool) -> None:
    toy = dataset([20] * 8, n_groups=10)
    one, same, other = (
        draw(toy, 50, group_disjoint=group_disjoint, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(clips_of(one), clips_of(same))
    assert (clips_of(one) != clips_of(other)).any()


def test_group_disjoint_support_is_uniform_over_what_is_left() -> None:
    toy = dataset([3, 3], n_groups=3)  # each class has one clip of each of the groups 0, 1, 2
    episodes = draw(toy, 30_000, n_ways=2, group_disjoint=True, rng=np.random.default_rng(0))
    groups = toy.groups[clips_of(episodes)[..., [1, 0]]].reshape(-1, 4)  # query and support of each class
    alike = groups[:, 0] == groups[:, 2]
    # Two query groups leave one group to both supports; one query group leaves two, in 2 x 2 ways.
    assert alike.mean() == pytest.approx(1 / 3, abs=0.01)
    assert (groups[~alike, 1] == groups[~alike, 3]).all()
    assert (groups[alike, 1] == groups[alike, 3]).mean() == pytest.approx(1 / 2, abs=0.02)


def test_too_few_classes() -> None:
    message = r"toy: 5-way 5-shot .* 5 classes of at least 6 clips \(5 support \+ 1 query\); found 2 such of 6: class000 \(9\).* and 1 more"
    with pytest.raises(ValueError, match=message):
        draw(dataset([9, 6, 5, 5, 5, 5]), 10, n_shots=5, rng=np.random.default_rng(0))


def test_group_disjoint_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="no group; give a CSV"):
        draw(dataset([9] * 5), 10, group_disjoint=True, rng=np.random.default_rng(0))
    with pytest.raises(
        ValueError, match=r"toy: of 500 5-way 1-shot tasks drawn, 0 could keep the 1 groups of its 45 clips"
    ):
        draw(dataset([9] * 5, n_groups=1), 10, group_disjoint=True, rng=np.random.default_rng(0))


@pytest.mark.parametrize(("name", "value"), [("n_ways", 1), ("n_shots", 0), ("n_queries", 0)])
def test_numbers_out_of_range(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name[2:]} is {value}; expected at least"):
        draw(dataset([9] * 5), 10, **{name: value}, rng=np.random.default_rng(0))


def test_saved_and_loaded(tmp_path: Path) -> None:
    toy = dataset([9] * 6)
    episodes = draw(toy, 20, n_shots=2, rng=np.random.default_rng(0))
    episodes.save(tmp_path / "episodes.npz", toy)
    loaded = Episodes.load(tmp_path / "episodes.npz", toy)
    np.testing.assert_array_equal(loaded.support, episodes.support)
    np.testing.assert_array_equal(loaded.query, episodes.query)
    assert [path.name for path in tmp_path.iterdir()] == ["episodes.npz"]
    with pytest.raises(ValueError, match="another list of clips"):
        Episodes.load(tmp_path / "episodes.npz", dataset([9] * 7))
    (tmp_path / "episodes.npz").write_bytes(b"PK nothing of the kind")
    with pytest.raises(ValueError, match="does not hold episodes"):
        Episodes.load(tmp_path / "episodes.npz", toy)


def test_disjoint_wherever_a_set_has_enough_groups() -> None:
    some, single, unknown = dataset([9] * 6, n_groups=9), dataset([9] * 6, n_groups=1), dataset([9] * 6)
    for toy, groups, expected in [
        (some, "auto", True),
        (some, "disjoint", True),
        (some, "mixed", False),
        (single, "auto", False),
        (unknown, "auto", False),
    ]:
        assert draw_seeded(toy, 200, groups=groups).disjoint(toy) == expected
    two = dataset([9] * 6, n_groups=2)  # of five and of four clips a class: enough for five shots, not for six
    assert draw_seeded(two, 20, n_shots=5).disjoint(two) and not draw_seeded(two, 20, n_shots=6).disjoint(two)
    with pytest.raises(TooFewGroups):
        draw_seeded(single, 200, groups="disjoint")
    with pytest.raises(ValueError, match="groups is 'some'; expected one of auto, disjoint, mixed"):
        draw_seeded(some, 200, groups="some")
