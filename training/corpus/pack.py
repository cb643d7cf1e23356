"""Packing sound into shards of raw samples, so that training reads crops without decoding anything.

    OUT/shard-00000.i16   int16 little-endian mono samples at 16 kHz, 256 MB a shard, pieces end to end
    OUT/manifest.csv      a row a piece: shard,start,length,source,licence,path; start and length in samples
    OUT/bad_files.csv     path,reason of what was skipped: broken, near-silent, too short
    OUT/corpus.json       format, origin, statistics, and how many bytes of the two tables count

A packing that was killed, at any point, goes on when it is started again. The one truth is corpus.json, replaced
atomically once all else has reached the disk: whatever tables and shards hold beyond it is cut off.
Delete bad_files.csv and start again to give the files in it another try.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mtslvr.sound.stream import SAMPLE_RATE
from training.corpus.layouts import Recording, detect, read_table, recordings
from training.corpus.reader import FORMAT_VERSION, FULL_SCALE, read_rows, shard_name

TABLES = {
    "manifest.csv": ("shard", "start", "length", "source", "licence", "path"),
    "bad_files.csv": ("path", "reason"),
}
SHARD_BYTES = 256 * 1024**2
COMMIT_BYTES = 16 * 1024**2  # of samples in memory before they are written: 9 minutes
MIN_PEAK = 1e-3  # of full scale; below it (-60 dB) a piece counts as silence
MIN_SAMPLES = SAMPLE_RATE // 10  # 0.1 s; tiled to a crop, anything shorter is a buzz


def quantise(wave: np.ndarray) -> np.ndarray:
    """float [samples] with full scale at 1.0 -> int16 [samples]; what exceeds full scale is scaled down, not clipped.

    Raises ValueError if the samples are too few, not finite, or near-silent.
    """
    if len(wave) < MIN_SAMPLES:
        raise ValueError(f"too short: {len(wave)} samples, at least {MIN_SAMPLES} are needed")
    peak = float(np.abs(wave).max())
    if not np.isfinite(peak):
        raise ValueError("samples that are not finite")
    if peak < MIN_PEAK:
        raise ValueError(f"near-silent: peak {peak:.1e} of full scale, at least {MIN_PEAK:.0e} is needed")
    scaled = np.rint(wave * (FULL_SCALE / max(peak, 1.0)))
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype("<i2")


def decoded(recording: Recording) -> tuple[list[np.ndarray], list[str]]:
    """The int16 pieces of a recording, and why others were left out."""
    pieces, reasons = [], []
    try:
        for wave in recording.read():
            try:
                pieces.append(quantise(wave))
            except ValueError as error:
                reasons.append(str(error))
    except (OSError, RuntimeError, ValueError) as error:  # soundfile's own errors are RuntimeErrors
        reasons.append(f"{type(error).__name__}: {error}")
    if not pieces and not reasons:
        reasons.append("no samples")
    return pieces, reasons


class Packer:
    """A folder being packed: `add` recordings, then `finish`; `done` holds the paths that need no adding."""

    def __init__(self, out: Path, origin: dict[str, str], shard_bytes: int = SHARD_BYTES) -> None:
        """Opens `out`, cut back to its last commit. Raises ValueError if it holds anything but a packing of `origin`."""
        self.out, self.shard_bytes = out, shard_bytes
        self.head = {"format_version": FORMAT_VERSION, "sample_rate": SAMPLE_RATE, "origin": origin}
        self.pending: defaultdict[str, list[bytes]] = defaultdict(list)  # by file name, not written yet
        self.n_pending = 0  # bytes of samples among them
        out.mkdir(parents=True, exist_ok=True)
        info = self._read_info()
        for table, columns in TABLES.items():
            if _cut(out / table, info.get(f"{table} bytes", 0)) == 0:
                self.pending[table].append(_csv_line(columns))
        self._write()
        rows, bad_rows = read_rows(out / "manifest.csv"), read_rows(out / "bad_files.csv")
        self.done = {row["path"] for row in rows + bad_rows}
        last = rows[-1] if rows else {"shard": "0", "start": "0", "length": "0"}
        self.shard, self.n_samples = int(last["shard"]), int(last["start"]) + int(last["length"])  # of the open shard
        for path in out.glob("shard-*.i16"):
            if path.name > shard_name(self.shard):
                path.unlink()
        shard = out / shard_name(self.shard)
        if _cut(shard, 2 * self.n_samples) < 2 * self.n_samples:
            raise ValueError(f"{shard} is shorter than the manifest says: delete {out} and pack again")

    def add(self, recording: Recording, licence: str, pieces: Iterable[np.ndarray], reasons: Iterable[str]) -> None:
        """Takes in a decoded recording, as one: a commit never comes between its pieces."""
        for piece in pieces:
            if self.n_samples and 2 * (self.n_samples + len(piece)) > self.shard_bytes:
                self.shard, self.n_samples = self.shard + 1, 0
            row = (self.shard, self.n_samples, len(piece), recording.source, licence, recording.path)
            self.pending[shard_name(self.shard)].append(piece.tobytes())
            self.n_pending += piece.nbytes
            self.pending["manifest.csv"].append(_csv_line(row))
            self.n_samples += len(piece)
        for reason in reasons:
            self.pending["bad_files.csv"].append(_csv_line((recording.path, reason)))
        if self.n_pending >= COMMIT_BYTES:
            self.commit()

    def commit(self, statistics: dict[str, Any] | None = None) -> None:
        """Everything so far reaches the disk; then corpus.json says so. Statistics tell readers that this is all."""
        self._write()
        sizes = {f"{path.name} bytes": path.stat().st_size for path in map(self.out.joinpath, TABLES) if path.exists()}
        partial = self.out / "corpus.json.partial"
        _append(partial, [json.dumps({**self.head, **sizes, **(statistics or {})}, indent=2).encode(), b"\n"], new=True)
        partial.replace(self.out / "corpus.json")

    def finish(self) -> None:
        """Raises ValueError if there is not one piece."""
        self.commit()
        self.commit(corpus_statistics(self.out))

    def _read_info(self) -> dict[str, Any]:
        path = self.out / "corpus.json"
        if not path.exists():
            if any(file.name != "corpus.json.partial" for file in self.out.iterdir()):
                raise ValueError(f"{self.out} holds files but no corpus.json: give an empty or a new folder")
            self.commit()
        info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if different := [key for key, value in self.head.items() if info.get(key) != value]:
            was, now = ({key: values.get(key) for key in different} for values in (info, self.head))
            raise ValueError(f"{self.out} was packed with {was}, this is a packing with {now}: give another folder")
        return info

    def _write(self) -> None:
        for name, chunks in self.pending.items():
            _append(self.out / name, chunks)
        self.pending.clear()
        self.n_pending = 0


def pack(
    source: str | Path,
    out: str | Path,
    layout: str = "auto",
    licence: str = "unknown",
    sources: str | Path | None = None,
    workers: int = 2,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Packs a collection (training/corpus/layouts.py) into the folder `out`, or goes on packing it.

    sources: a CSV with columns source,licence; SOURCE/sources.csv if that exists and none is given.
    licence: of the sources that neither it nor the collection tells of. workers: threads that decode.
    Raises ValueError if `source` is not in the layout, nothing could be packed, or `out` holds something else.
    """
    source = str(source)
    layout = detect(Path(source)) if layout == "auto" else layout
    found = recordings(source, layout)
    table = Path(sources or Path(source) / "sources.csv")
    rows = read_table(table, ("source", "licence")) if sources or table.exists() else []
    licences = {row["source"]: row["licence"] for row in rows}

    name = source if layout == "hub" else Path(source).resolve().name
    packer = Packer(Path(out), {"name": name, "layout": layout}, shard_bytes)
    new = (recording for recording in found if recording.path not in packer.done)
    total = len(found) if isinstance(found, Sized) else None
    for recording, (pieces, reasons) in tqdm(
        _decode_ahead(new, workers), "packing", total, initial=len(packer.done), unit="file", dynamic_ncols=True
    ):
        packer.add(recording, recording.licence or licences.get(recording.source, licence), pieces, reasons)
    packer.finish()


def _decode_ahead(
    new: Iterable[Recording], workers: int
) -> Iterator[tuple[Recording, tuple[list[np.ndarray], list[str]]]]:
    """Decodes in threads, which is enough as soundfile and soxr release the GIL; in order, and a few ahead only."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[Recording, Future[tuple[list[np.ndarray], list[str]]]]] = deque()
        for recording in new:
            waiting.append((recording, pool.submit(decoded, recording)))
            if len(waiting) > 2 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def corpus_statistics(folder: Path) -> dict[str, Any]:
    """Counts, hours, mean and standard deviation of all samples (full scale at 1.0), from the files themselves."""
    rows = read_rows(folder / "manifest.csv")
    if not rows:
        raise ValueError(f"nothing could be packed: see {folder / 'bad_files.csv'}")
    n_samples, total, squares = 0, 0.0, 0.0
    for shard in sorted(folder.glob("shard-*.i16")):
        samples = np.memmap(shard, dtype="<i2", mode="r")
        for start in range(0, len(samples), 2**20):
            wave = samples[start : start + 2**20].astype(np.float64) / FULL_SCALE
            n_samples, total, squares = n_samples + len(wave), total + float(wave.sum()), squares + float(wave @ wave)
    mean = total / n_samples
    return {
        "n_pieces": len(rows),
        "hours": n_samples / SAMPLE_RATE / 3600,
        "mean": mean,
        "std": (squares / n_samples - mean**2) ** 0.5,
        "pieces_by_source": dict(Counter(row["source"] for row in rows).most_common()),
        "pieces_by_licence": dict(Counter(row["licence"] for row in rows).most_common()),
    }


def _cut(path: Path, size: int) -> int:
    """Makes the file at most `size` bytes long, and if it does not exist, empty. Returns its length in bytes."""
    with path.open("ab") as file:
        file.truncate(min(size, file.tell()))
    return path.stat().st_size


def _append(path: Path, chunks: Iterable[bytes], new: bool = False) -> None:
    """Writes at the end of the file (or anew), and returns when the disk has it."""
    with path.open("wb" if new else "ab") as file:
        file.writelines(chunks)
        file.flush()
        os.fsync(file.fileno())


def _csv_line(values: Iterable[object]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue().encode()
