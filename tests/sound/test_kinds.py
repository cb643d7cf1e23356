"""Clips of unusual kinds: what each is, or an error that names it."""

from __future__ import annotations

import io
import mmap
import os
import tarfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sound_files import RATE, encode, noise

from mtslvr.sound import stream

WAV = encode(noise(4_410))


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    for i in range(3):
        (tmp_path / f"{i}.wav").write_bytes(encode(noise(441 * (i + 1))))
    return [str(tmp_path / f"{i}.wav") for i in range(3)]


def lengths(clips: Any) -> list[int]:
    one, named = stream.clips(clips)
    assert not one
    return [len(stream.read(clip, name=name)) for name, clip in named]


def test_columns_of_paths(paths: list[str]) -> None:
    columns: list[Any] = [np.array(paths), np.array(paths, object), np.array([os.fsencode(path) for path in paths])]
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"path": paths})
    columns += [frame["path"], frame["path"].to_numpy(), frame["path"].values, frame["path"].astype(object)]
    pyarrow = pytest.importorskip("pyarrow")
    columns += [pyarrow.array(paths), pyarrow.chunked_array([paths])]
    for column in columns:
        assert lengths(column) == [160, 320, 480], type(column)


def test_rows_of_data_sets(paths: list[str]) -> None:
    x = noise(4_410)
    rows = [
        {"audio": {"array": x, "sampling_rate": RATE}, "label": 3},
        {"audio": {"bytes": WAV, "path": None}, "sentence": "text"},
        {"audio": str(paths[0]), "label": "dog"},
        {"__key__": "a/b", "wav": WAV, "cls": b"3", "json": b"{}"},
        {"__key__": "a/b", "left.flac": encode(x, kind="FLAC")},
        {"__key__": "a/b", "wav": (torch.from_numpy(x)[None], RATE)},
    ]
    assert lengths(rows) == [1_600, 1_600, 160, 1_600, 1_600, 1_600]
    for row in ({"wav": WAV, "flac": WAV}, {"audio": x}, {"label": 3}, {"audio": None}):
        with pytest.raises(ValueError, match=r"clip is a dictionary with the keys"):
            stream.read(row)


def test_masked_samples_are_refused() -> None:
    x = noise(1_000)
    mask = np.zeros(1_000, bool)
    np.testing.assert_array_equal(stream.read((np.ma.array(x, mask=mask), 16_000)), x)
    mask[100:200] = True
    for clip in ((np.ma.array(x, mask=mask), 16_000), {"array": np.ma.array(x, mask=mask), "sampling_rate": 16_000}):
        with pytest.raises(ValueError, match="the clip is a masked array, 100 of whose samples are masked"):
            stream.read(clip)
    with pytest.raises(ValueError, match="clip 1 is a masked array"):
        lengths([(x, 16_000), (np.ma.array(x, mask=True), 16_000)])


def test_tensors_without_samples() -> None:
    for tensor in (torch.empty(1_000, device="meta"), torch.ones(1_000).to_sparse()):
        with pytest.raises(ValueError, match="clip 1 is a tensor without samples"):
            lengths([(noise(10), RATE), (tensor, RATE)])


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "a.wav").write_bytes(WAV)
    assert len(stream.read("~/a.wav")) == len(stream.read(Path("~/a.wav"))) == 1_600


def test_a_mapped_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(WAV)
    with open(tmp_path / "a.wav", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        np.testing.assert_array_equal(stream.read(mapped), stream.read(WAV))


def test_members_of_an_archive(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("a.wav", "b.wav"):
            info = tarfile.TarInfo(name)
            info.size = len(WAV)
            archive.addfile(info, io.BytesIO(WAV))
    for mode in ("r", "r|"):
        packed.seek(0)
        with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
            assert lengths(archive.extractfile(member) for member in archive) == [1_600, 1_600]
    packed.seek(0)
    with tarfile.open(fileobj=packed, mode="r|") as archive:
        members = [archive.extractfile(member) for member in archive]
        with pytest.raises(ValueError, match=r"clip 0 .*cannot be read from its archive"):
            lengths(members)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(WAV)
    with open(tmp_path / "a.wav", "rb") as closed:
        pass
    with pytest.raises(ValueError, match=r"clip 1 \(.*a\.wav\) is a file that is closed"):
        lengths([WAV, closed])

    class Upload:
        async def read(self, n: int = -1) -> bytes:
            return WAV

    with pytest.raises(TypeError, match=r"clip 1 is a file whose read\(\) is a coroutine: await it"):
        lengths([WAV, Upload()])
    with pytest.raises(ValueError, match="cannot be opened"):
        stream.read("a\0b.wav")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_named_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(WAV,))
    writer.start()
    assert len(stream.read(tmp_path / "pipe")) == 1_600
    writer.join()
    clip = stream.clips(tmp_path / "pipe")
    assert not next(clip[1])[1].can_wait  # a thread that waits for it could not be stopped
