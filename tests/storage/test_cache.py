"""The embedding cache: nothing is embedded twice, nothing stale is used, nothing is lost."""

from __future__ import annotations

import concurrent.futures
import io
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mtslvr.sound import stream
from mtslvr.sound.clips import clip_of
from mtslvr.storage import cache

RATE = 16_000


class Counter:
    """An encoder whose vector is the clip's first sample in 10,000ths, and which remembers them."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, clips: list[Any]) -> np.ndarray:
        found = [round(float(stream.read(clip, RATE)[0]) * 10_000) for clip in clips]
        self.asked += found
        return np.array([[float(first), 0.5] for first in found])


def wav(first: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.array([first / 10_000, 0.1]), RATE, "FLOAT", format="WAV")
    return file.getvalue()


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    for i in range(1, 6):
        (tmp_path / f"{i}.wav").write_bytes(wav(i))
    return [tmp_path / f"{i}.wav" for i in range(1, 6)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_only_what_is_new_is_embedded(paths: list[Path], folder: Path) -> None:
    encoder = Counter()
    vectors = cache.embed(encoder, paths[:3], folder)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, [[1, 0.5], [2, 0.5], [3, 0.5]])
    np.testing.assert_array_equal(cache.embed(encoder, paths[::-1], folder)[:, 0], [5, 4, 3, 2, 1])
    assert encoder.asked == [1, 2, 3, 5, 4]


def test_content_counts_and_not_the_name(paths: list[Path], folder: Path) -> None:
    encoder = Counter()
    cache.embed(encoder, paths, folder)
    before = paths[0].stat()
    paths[0].write_bytes(wav(7))
    os.utime(paths[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    paths[1].write_bytes(wav(3))
    np.testing.assert_array_equal(cache.embed(encoder, paths, folder)[:, 0], [7, 3, 3, 4, 5])
    assert encoder.asked[5:] == [7]


def test_a_copy_is_embedded_once(paths: list[Path], folder: Path) -> None:
    encoder = Counter()
    paths[1].write_bytes(wav(1))
    np.testing.assert_array_equal(cache.embed(encoder, paths, folder)[:, 0], [1, 1, 3, 4, 5])
    assert len(encoder.asked) == 4


def test_every_kind_of_clip_is_known_again(paths: list[Path], folder: Path) -> None:
    x = np.array([0.0001, 0.25], np.float32)
    integers = np.array([16, 8192], np.int16)  # 4.9 of 10,000

    encoder = Counter()
    with open(paths[0], "rb") as file:
        clips = [
            paths[0],
            str(paths[0]),
            paths[0].read_bytes(),
            io.BytesIO(paths[0].read_bytes()),
            file,
            (x, RATE),
            (x.astype(np.float64), RATE),
            {"array": x, "sampling_rate": RATE},
            (integers, RATE),
        ]
        first = cache.embed(encoder, clips, folder)
        assert len(encoder.asked) == 3, "a file, floats, integers"
        np.testing.assert_array_equal(cache.embed(encoder, clips, folder), first)
    assert len(encoder.asked) == 3


def test_a_pipe_can_be_read_once_only(folder: Path) -> None:
    reading, writing = os.pipe()
    with open(writing, "wb") as end:
        end.write(wav(3))
    with open(reading, "rb") as pipe:
        np.testing.assert_array_equal(cache.embed(Counter(), [pipe], folder), [[3, 0.5]])


@pytest.mark.parametrize(
    "other",
    [
        (np.array([0.0001, 0.2], np.float32), RATE),
        (np.array([0.0001, 0.1, 0.0], np.float32), RATE),
        (np.array([[0.0001, 0.1], [0.0001, 0.1]], np.float32), RATE),
        (np.array([0.0001, 0.1], np.float32), RATE * 2),
        (np.array([0.0002, 0.1], np.float32), RATE),
    ],
    ids=["a sample", "length", "channels", "rate", "first"],
)
def test_other_samples_are_another_clip(other: Any) -> None:
    clip = (np.array([0.0001, 0.1], np.float32), RATE)
    content, same, another = (clip_of(x, "clip").content("clip") for x in (clip, (clip[0].copy(), RATE), other))
    assert content == same != another


def test_what_was_done_before_a_failure_is_kept(
    paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "BATCH", 2)
    paths[4].write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"5\.wav"):
        cache.embed(Counter(), paths, folder)
    paths[4].write_bytes(wav(5))
    encoder = Counter()
    cache.embed(encoder, paths, folder)
    assert encoder.asked == [5]


def test_a_bad_clip_is_called_by_its_own_number(paths: list[Path], folder: Path) -> None:
    bad = (np.array([0.1, np.nan], np.float32), RATE)
    cache.embed(Counter(), paths[:3], folder)
    with pytest.raises(ValueError, match="clip 4 has samples that are NaN"):
        cache.embed(Counter(), [*paths[:4], bad], folder)


def test_an_error_of_the_encoder_is_passed_on(paths: list[Path], folder: Path) -> None:
    def broken(clips: list[Any]) -> np.ndarray:
        raise ValueError("no space left")

    with pytest.raises(ValueError, match="no space left"):
        cache.embed(broken, paths, folder)


def test_a_file_that_changes_meanwhile_is_not_kept_under_its_old_content(paths: list[Path], folder: Path) -> None:
    old = paths[0].read_bytes()

    def changing(clips: list[Any]) -> np.ndarray:
        paths[0].write_bytes(wav(9))
        return Counter()(clips)

    cache.embed(changing, paths[:2], folder)
    paths[0].write_bytes(old)
    encoder = Counter()
    np.testing.assert_array_equal(cache.embed(encoder, paths[:2], folder)[:, 0], [1, 2])
    assert encoder.asked == [1]


def test_a_vector_that_is_not_finite_is_refused(paths: list[Path], folder: Path) -> None:
    with pytest.raises(ValueError, match=r"the embedding of clip 1 \(.*2\.wav\) holds NaN or infinity"):
        cache.embed(lambda clips: np.array([[1.0], [np.nan]]), paths[:2], folder)
    assert sum(path.is_file() for path in folder.rglob("*")) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data + b"x",
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: bytes(len(data)),
    ],
    ids=["empty", "short", "long", "a bit", "zeros"],
)
def test_a_damaged_file_is_mended(paths: list[Path], folder: Path, damage: Callable[[bytes], bytes]) -> None:
    cache.embed(Counter(), paths[:1], folder)
    (file,) = (path for path in folder.rglob("*") if path.is_file())
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    np.testing.assert_array_equal(cache.embed(Counter(), paths[:1], folder), [[1, 0.5]])
    assert file.read_bytes() == whole
    assert [path for path in folder.rglob("*") if path.is_file()] == [file], "and no temporary one is left"


def _embed(job: tuple[list[Path], Path]) -> np.ndarray:
    return cache.embed(Counter(), *job)


@pytest.mark.slow
def test_processes_share_a_folder(paths: list[Path], folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        for vectors in pool.map(_embed, [(paths * 20, folder), (paths[::-1] * 20, folder)]):
            assert vectors.shape == (100, 2)
    encoder = Counter()
    np.testing.assert_array_equal(cache.embed(encoder, paths, folder)[:, 0], [1, 2, 3, 4, 5])
    assert not encoder.asked
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 5


def test_a_generator_of_clips_is_read_a_batch_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "BATCH", 4)
    events: list[str] = []

    def clips() -> Iterator[tuple[np.ndarray, int]]:
        for i in range(9):
            events.append("clip")
            yield np.array([i / 10_000, 0.1], np.float32), RATE

    def encoder(clips: list[Any]) -> np.ndarray:
        events.append(f"batch of {len(clips)}")
        return Counter()(clips)

    assert len(cache.embed(encoder, clips(), folder)) == 9
    assert events == 2 * [*4 * ["clip"], "batch of 4"] + ["clip", "batch of 1"]


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ([], "empty list"),
        (["/nowhere/a.wav"], r"no such file: clip 0 \(/nowhere/a\.wav\)"),
        (["/"], "is a folder"),
        ("a.wav", "expected several clips, and got one str: give a list"),
        ([(np.zeros(3, np.float32), "16000")], "rate"),
        ([np.zeros((2, 2, 2))], "shape"),
    ],
)
def test_what_is_no_list_of_clips(clips: Any, message: str, folder: Path) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        cache.embed(Counter(), clips, folder)
    assert not folder.exists()


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.default_folder() == tmp_path / "mtslvr" / "embeddings"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.default_folder() == Path.home() / ".cache" / "mtslvr" / "embeddings"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_named_pipe_is_read_once(tmp_path: Path, folder: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(pipe.write_bytes, wav(7))
        np.testing.assert_array_equal(cache.embed(Counter(), [pipe], folder), [[7, 0.5]])
