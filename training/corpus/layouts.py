"""How collections of unlabelled sound lie on disk: each layout is a list of `Recording`s, always in the same order.

    folder     any folder of sound; the source is the first sub-folder, or the file itself if it lies at the top
    parts      pieces.csv (part,start,length,source; in samples at 16 kHz) beside part-<part>.opus
    fsd50k     FSD50K.ground_truth/dev.csv and FSD50K.dev_audio/<fname>.wav; the source is the clip
    audioset   balanced_train_segments.csv and files named by YouTube id at any depth; the source is the id
    hub        a data set of the Hugging Face Hub, `owner/name[:config[:split]]`, streamed (needs the package datasets)

The source is what no split tears apart: a speaker, a package, a record.
"""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from mtslvr.sound.files import LIBSNDFILE_SUFFIXES, sounds_in
from mtslvr.sound.mono import MAX_RATE, MIN_RATE
from mtslvr.sound.stream import SAMPLE_RATE

PIECE_SECONDS = 60  # s; longer files are cut into pieces of this length, which bounds the memory that decoding takes
PART_BLOCK = 600 * SAMPLE_RATE  # samples of a part decoded at once: 10 minutes, 38 MB
SUFFIXES = LIBSNDFILE_SUFFIXES  # the only decoder here
SOURCE_COLUMNS = ("source", "video_id", "speaker_id", "client_id")  # of a Hub data set, the first that is there


@dataclass(frozen=True)
class Recording:
    """One recording of a collection, not decoded yet.

    path: its name in the manifest, unique in the collection. source: where it comes from.
    read: decodes it: mono float32 pieces at 16 kHz; raises OSError, RuntimeError or ValueError if it is broken.
    licence: its own, if the collection names one clip by clip.
    """

    path: str
    source: str
    read: Callable[[], Iterable[np.ndarray]]
    licence: str = ""


def decode(file: Path | BinaryIO) -> Iterator[np.ndarray]:
    """A sound file as mono float32 pieces [samples] at 16 kHz, of 60 s each but for the last.

    Takes what there is of a file that was cut short, unlike mtslvr.sound.stream: half a recording is as good to learn from.
    Raises RuntimeError (soundfile's) or ValueError where the file cannot be decoded.
    """
    with soundfile.SoundFile(file) as sound:
        rate = sound.samplerate
        if not MIN_RATE <= rate <= MAX_RATE:
            raise ValueError(f"sample rate of {rate} Hz, expected {MIN_RATE} to {MAX_RATE}")
        while len(block := sound.read(PIECE_SECONDS * rate, dtype="float32", always_2d=True)):  # [samples, channels]
            yield soxr.resample(block.mean(axis=1), rate, SAMPLE_RATE)


def sound_files(folder: Path) -> list[Path]:
    """The files below `folder` that are sound by their suffix, sorted; hidden ones (a leading dot) are passed over."""
    return [path for path in sounds_in(folder, tell=False) if path.suffix.lower() in SUFFIXES]


def from_folder(folder: Path) -> Iterator[Recording]:
    for file in sound_files(folder):
        inside = file.relative_to(folder)
        source = inside.parts[0] if len(inside.parts) > 1 else inside.stem
        yield Recording(inside.as_posix(), source, partial(decode, file))


def from_parts(folder: Path) -> Iterator[Recording]:
    rows = read_table(folder / "pieces.csv", ("part", "start", "length", "source"))
    longest = max((int(row["length"]) for row in rows), default=0)
    parts = {name: _Part(folder / f"part-{name}.opus", longest) for name in {row["part"] for row in rows}}
    for row in rows:
        part, start, length = parts[row["part"]], int(row["start"]), int(row["length"])
        yield Recording(f"{part.path.name}@{start}", row["source"], partial(part.read, start, length))


class _Part:
    """A long file of many pieces, decoded once, in blocks.

    Blocks lie at fixed places because an Opus decoder that starts midway differs in the last bits: so a packing that
    was resumed is the same as one that was not. Two blocks are kept, for threads on both sides of a boundary.
    """

    def __init__(self, path: Path, longest: int) -> None:
        self.path = path
        self.longest = longest  # samples; a block goes on so far beyond its end, for the piece that starts there
        self._lock = threading.Lock()
        self._block = lru_cache(maxsize=2)(self._decode_block)

    def read(self, start: int, length: int) -> list[np.ndarray]:
        index, offset = divmod(start, PART_BLOCK)
        with self._lock:
            piece = self._block(index)[offset : offset + length]
        if len(piece) < length:
            raise ValueError(f"{self.path.name} ends {length - len(piece)} samples before the piece does")
        return [piece]

    def _decode_block(self, index: int) -> np.ndarray:
        with soundfile.SoundFile(self.path) as sound:
            if (sound.samplerate, sound.channels) != (SAMPLE_RATE, 1):
                raise ValueError(f"{sound.channels} channels at {sound.samplerate} Hz, expected 1 at {SAMPLE_RATE}")
            sound.seek(min(index * PART_BLOCK, sound.frames))
            block: np.ndarray = sound.read(PART_BLOCK + self.longest, dtype="float32")
            return block


def from_fsd50k(folder: Path) -> Iterator[Recording]:
    metadata = folder / "FSD50K.metadata" / "dev_clips_info_FSD50K.json"
    clips = json.loads(metadata.read_text(encoding="utf-8")) if metadata.exists() else {}
    for row in read_table(folder / "FSD50K.ground_truth" / "dev.csv", ("fname",)):
        name = row["fname"]
        path = f"FSD50K.dev_audio/{name}.wav"
        yield Recording(path, name, partial(decode, folder / path), clips.get(name, {}).get("license", ""))


def from_audioset(folder: Path) -> Iterator[Recording]:
    """Finds `<id>.wav`, `Y<id>.wav` and `<id>_30.000.wav`. Segments whose video is gone are passed over."""
    rows = read_table(folder / "balanced_train_segments.csv", ("# YTID",), n_comments=2)
    wanted = {row["# YTID"] for row in rows}
    for file in sound_files(folder):
        # An id has 11 characters, and its first may be a Y too.
        for video in (file.stem[:11], file.stem[1:12] if file.stem.startswith("Y") else ""):
            if video in wanted:
                yield Recording(file.relative_to(folder).as_posix(), video, partial(decode, file))
                break


def from_hub(name: str) -> Iterator[Recording]:
    """Row by row; the source is the first of SOURCE_COLUMNS, or the row. A resumed run streams past what it has."""
    try:
        import datasets
    except ImportError as error:
        raise ImportError("a data set of the Hub is read with the package datasets: pip install datasets") from error
    name, config, split = (*name.split(":"), "", "")[:3]
    split = split or "train"
    rows = datasets.load_dataset(name, config or None, split=split, streaming=True)
    rows = rows.cast_column("audio", datasets.Audio(decode=False))  # the bytes of the file, which soundfile decodes
    for index, row in enumerate(rows):
        path = f"{split}/{index}"
        source = next((str(row[column]) for column in SOURCE_COLUMNS if row.get(column)), path)
        yield Recording(path, source, partial(_decode_bytes, row["audio"]["bytes"]))


def _decode_bytes(data: bytes) -> Iterator[np.ndarray]:
    return decode(io.BytesIO(data))


# name: (the file that tells the layout, its reader), the most particular first
LAYOUTS: dict[str, tuple[str, Callable[[Path], Iterator[Recording]]]] = {
    "parts": ("pieces.csv", from_parts),
    "fsd50k": ("FSD50K.ground_truth/dev.csv", from_fsd50k),
    "audioset": ("balanced_train_segments.csv", from_audioset),
    "folder": (".", from_folder),
}


def detect(folder: Path) -> str:
    """The name of the layout of a folder. Raises ValueError if it is no folder."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; for a data set of the Hub say --layout hub")
    return next(name for name, (table, _) in LAYOUTS.items() if (folder / table).exists())


def recordings(source: str, layout: str) -> Iterable[Recording]:
    """The recordings of a collection: a list, or for the Hub an iterator.

    Raises ValueError if the layout is unknown, or `source` is not laid out so.
    """
    if layout == "hub":
        return from_hub(source)
    if layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}, expected one of auto, {', '.join(LAYOUTS)}, hub")
    table, reader = LAYOUTS[layout]
    if not (Path(source) / table).exists():
        raise ValueError(f"{source} is not in the layout {layout!r}: there is no {Path(source) / table}")
    return list(reader(Path(source)))


def read_table(path: Path, columns: Iterable[str], n_comments: int = 0) -> list[dict[str, str]]:
    """The rows of a CSV file, after `n_comments` lines. Raises ValueError if a column is missing."""
    with path.open(newline="", encoding="utf-8") as file:
        for _ in range(n_comments):
            next(file, None)
        reader = csv.DictReader(file, skipinitialspace=True)
        if missing := set(columns) - set(reader.fieldnames or ()):
            raise ValueError(f"{path} lacks the columns {sorted(missing)}; it has {reader.fieldnames}")
        return list(reader)
