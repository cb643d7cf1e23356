import io
import threading
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from mtslvr.encoder import batching
from mtslvr.sound import stream
from mtslvr.sound.kinds import OnDisk

RATE = 16_000


class Level:
    """A model of one feature: the first sample of a window; it remembers the sizes of its batches."""

    training, device, spaces = False, torch.device("cpu"), {"combined": 1}

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, waves: torch.Tensor, space: str) -> torch.Tensor:
        self.batches.append(len(waves))
        return waves[:, :1]


def write(path: Path, seconds: float, value: float = 0.25) -> Path:
    soundfile.write(path, np.full(round(seconds * RATE), value, np.float32), RATE, subtype="FLOAT")
    return path


def embed(model: Any, clips: Any, **options: Any) -> list[tuple[int, float]]:
    found = batching.embed(model, stream.clips(clips)[1], "combined", options.pop("batch_size", 4), **options)
    return [(i, float(vector[0])) for i, vector in found]


def test_batches_are_filled_across_clips_which_keep_their_order(tmp_path: Path) -> None:
    model = Level()
    paths = [write(tmp_path / f"{i}.wav", 0.1 if i % 3 else 11, (i + 1) / 64) for i in range(40)]
    assert embed(model, paths) == [(i, pytest.approx((i + 1) / 64)) for i in range(40)]
    assert model.batches == [4] * 17  # 14 recordings of three windows, 26 of one


def test_a_recording_longer_than_what_is_decoded_ahead(tmp_path: Path) -> None:
    for n_windows in (batching.AHEAD - 1, batching.AHEAD, batching.AHEAD + 1, 3 * batching.AHEAD):
        model = Level()
        values = np.repeat(np.arange(n_windows) / 64, 5 * RATE).astype(np.float32)
        soundfile.write(tmp_path / "long.wav", values, RATE, subtype="FLOAT")
        assert embed(model, [tmp_path / "long.wav"], batch_size=1) == [(0, (n_windows - 1) / 128)]
        assert model.batches == [1] * n_windows


def test_every_bad_clip_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.wav", 0.1) for i in range(10)]
    paths[3].write_text("no sound")
    paths[8].unlink()
    long = write(tmp_path / "long.flac.wav", 60)
    content = bytearray(long.read_bytes())
    content[-4 * RATE : -4 * RATE + 4] = np.float32(np.nan).tobytes()  # after windows that have been computed
    paths[9].write_bytes(content)
    errors: dict[int, str] = {}
    found = embed(Level(), paths, on_error=lambda i, error: errors.update({i: str(error)}))
    assert [i for i, _ in found] == [0, 1, 2, 4, 5, 6, 7]
    assert sorted(errors) == [3, 8, 9]
    assert "3.wav" in errors[3] and "no such file" in errors[8] and "NaN" in errors[9]
    with pytest.raises(ValueError, match=r"clip 3 \(.*3\.wav\)"):
        embed(Level(), paths)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mtslvr-decode")]


def test_what_may_change_while_it_waits_is_not_read_ahead(tmp_path: Path) -> None:
    content = io.BytesIO(write(tmp_path / "a.wav", 0.1, 0.5).read_bytes())
    buffer = np.zeros(1600, np.float32)

    def clips() -> Iterator[Any]:
        for i in range(1, 9):
            buffer[:] = i / 64
            yield buffer, RATE
        yield from [content, tmp_path / "a.wav", content, content]

    assert [value for _, value in embed(Level(), clips())] == [i / 64 for i in range(1, 9)] + [0.5] * 4


def test_files_are_decoded_while_the_model_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write(tmp_path / f"{i}.wav", 0.1) for i in range(6)]
    real, begun = stream.windows, {str(path): threading.Event() for path in paths}

    def windows(clip: OnDisk, *, name: str) -> Iterator[batching.Window]:
        begun[clip.path].set()
        yield from real(clip, name=name)

    class Patient(Level):
        def __call__(self, waves: torch.Tensor, space: str) -> torch.Tensor:
            n_done = sum(self.batches)
            assert all(begun[str(path)].wait(10) for path in paths[n_done : n_done + 4])  # this batch and the next
            return super().__call__(waves, space)

    monkeypatch.setattr(stream, "windows", windows)
    assert len(embed(Patient(), paths, batch_size=2)) == 6


def test_memory_grows_neither_with_the_number_of_clips_nor_with_their_length(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", 40)  # 2.5 MB as float32

    def peak(n_clips: int) -> int:
        tracemalloc.start()
        for _ in batching.embed(Level(), ((str(i), path) for i in range(n_clips)), "combined", 4):  # type: ignore[arg-type]
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few = peak(8)
    assert peak(40) < 1.3 * few < 40e6  # 100 MB of sound


def test_files_are_embedded_with_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [write(tmp_path / f"{i}.wav", 0.1) for i in range(30)]
    for path in paths[2:27]:
        path.write_text("no sound")
    write(paths[1], 0.1, 0.0)
    kept: list[Path] = []
    filters = list(warnings.filters)
    errors = batching.embed_files(Level(), paths, "combined", lambda path, _: kept.append(path))  # type: ignore[arg-type]
    assert kept == [*paths[:2], *paths[27:]] and list(errors) == paths[2:27]
    assert errors[paths[2]].startswith(f"{paths[2]} is no sound file")
    told = capsys.readouterr().err.splitlines()
    assert "1.wav is silence" in told[0] and told[0].startswith("note: ")
    assert told[1] == f"skipped: {errors[paths[2]]}" and told[-1] == "skipped: 5 more" and len(told) == 22
    assert warnings.filters == filters


def test_bad_batch_sizes_and_training_mode() -> None:
    for size in (0, True, 2.0):
        with pytest.raises(ValueError, match="batch_size"):
            embed(Level(), [(np.ones(900, np.float32), RATE)], batch_size=size)
    model = Level()
    model.training = True
    with pytest.raises(ValueError, match="training mode"):
        embed(model, [(np.ones(900, np.float32), RATE)])


def test_a_vector_that_is_not_finite_is_refused_by_its_clips_name(tmp_path: Path) -> None:
    class Broken(Level):
        def __call__(self, waves: torch.Tensor, space: str) -> torch.Tensor:
            return torch.log(super().__call__(waves, space) - 0.5)

    paths = [write(tmp_path / f"{i}.wav", 0.1, value) for i, value in enumerate((0.75, 0.25, 0.5, 0.75))]
    errors: dict[int, str] = {}
    found = embed(Broken(), paths, on_error=lambda i, error: errors.update({i: str(error)}))
    assert [i for i, _ in found] == [0, 3] and sorted(errors) == [1, 2]
    assert "1.wav" in errors[1] and "holds NaN or infinity" in errors[1]
    with pytest.raises(ValueError, match=r"the embedding of clip 1 \(.*1\.wav\) holds NaN or infinity"):
        embed(Broken(), paths)
