"""The embedding cache: nothing is embedded twice, nothing stale is used, nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from training import cache


class Counter:
    """An encoder whose vector is the file's content, and which remembers what it was asked for."""

    name, fingerprint = "counter", "f1"

    def __init__(self) -> None:
        self.spaces = {"combined": 2}
        self.asked: list[str] = []

    def embed(self, paths: Sequence[Path]) -> np.ndarray:
        self.asked += [path.name for path in paths]
        return np.array([[float(path.read_text()), 0.5] for path in paths])


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    for i in range(5):
        (tmp_path / f"{i}.wav").write_text(str(i))
    return [tmp_path / f"{i}.wav" for i in range(5)]


def test_only_what_is_new_is_embedded(tmp_path: Path, paths: list[Path]) -> None:
    encoder = Counter()
    vectors = cache.embed(encoder, "toy", paths[:3], tmp_path / "cache")
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, [[0, 0.5], [1, 0.5], [2, 0.5]])
    np.testing.assert_array_equal(cache.embed(encoder, "toy", paths[::-1], tmp_path / "cache")[:, 0], [4, 3, 2, 1, 0])
    assert encoder.asked == ["0.wav", "1.wav", "2.wav", "4.wav", "3.wav"]


def test_content_counts_and_not_the_name(tmp_path: Path, paths: list[Path]) -> None:
    encoder = Counter()
    cache.embed(encoder, "toy", paths, tmp_path / "cache")
    paths[0].write_text("7")
    paths[1].write_text("2")
    vectors = cache.embed(encoder, "toy", paths, tmp_path / "cache")
    np.testing.assert_array_equal(vectors[:, 0], [7, 2, 2, 3, 4])
    assert encoder.asked[5:] == ["0.wav"]


def test_a_copy_within_a_set_is_embedded_once(tmp_path: Path, paths: list[Path]) -> None:
    encoder = Counter()
    paths[1].write_text("0")
    np.testing.assert_array_equal(cache.embed(encoder, "toy", paths, tmp_path / "cache")[:, 0], [0, 0, 2, 3, 4])
    assert len(encoder.asked) == 4


def test_another_encoder_shares_nothing(tmp_path: Path, paths: list[Path]) -> None:
    cache.embed(Counter(), "toy", paths, tmp_path / "cache")
    other = Counter()
    other.fingerprint = "f2"
    cache.embed(other, "toy", paths, tmp_path / "cache")
    assert len(other.asked) == 5


def test_what_was_done_before_a_failure_is_kept(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "BATCH", 2)
    paths[4].write_text("no number")
    with pytest.raises(ValueError, match="could not convert"):
        cache.embed(Counter(), "toy", paths, tmp_path / "cache")
    paths[4].write_text("4")
    encoder = Counter()
    cache.embed(encoder, "toy", paths, tmp_path / "cache")
    assert encoder.asked == ["4.wav"]


def test_a_vector_that_is_not_finite_is_refused(tmp_path: Path, paths: list[Path]) -> None:
    paths[3].write_text("nan")
    with pytest.raises(ValueError, match=r"toy: counter gives NaN or infinity for .*3\.wav"):
        cache.embed(Counter(), "toy", paths, tmp_path / "cache")
    assert not list(tmp_path.rglob("*.npz"))


def test_a_damaged_file_is_named(tmp_path: Path, paths: list[Path]) -> None:
    cache.embed(Counter(), "toy", paths, tmp_path / "cache")
    (file,) = (tmp_path / "cache" / "f1" / "toy").iterdir()  # and no temporary one
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"{file.name}.* is damaged .*: delete it"):
        cache.embed(Counter(), "toy", paths, tmp_path / "cache")


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.default_folder() == tmp_path / "mtslvr" / "embeddings"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.default_folder() == Path.home() / ".cache" / "mtslvr" / "embeddings"
