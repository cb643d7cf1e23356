"""How fast `mtslvr embed` goes through many small files, in how much memory, and what a kill costs it.

    python -m tests.benchmarks.bulk SOUND... [--files 20000] [--compare 128] [--repeats 5] [--folder FOLDER]

SOUND are recordings; pieces of 1 to 2 s are cut from them, half as WAV and half as FLAC, into a folder (a temporary one if
none is given). Ways of embedding some of them take turns; ratios are medians over the rounds, so that a busy machine disturbs
them least. Then the command embeds all of them: it is killed half-way, as kill -9 does, and started again.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import soundfile

from mtslvr.encoder import batching
from mtslvr.encoder.model import MTSLVR
from mtslvr.sound import stream
from mtslvr.storage.vectors import Unfinished

RATE = 16_000  # Hz
CHECKED = 200  # rows of the table that are compared with what `embed` gives


def pieces(sounds: Sequence[Path]) -> Iterator[tuple[np.ndarray, int]]:
    """Consecutive pieces of 1 to 2 s, a minute of one recording after a minute of another, with their rate; without end."""
    rng = np.random.default_rng(0)
    for sound in itertools.cycle([soundfile.SoundFile(sound) for sound in sounds]):
        rate, start = sound.samplerate, 0
        minute = sound.read(60 * rate)
        while start + 2 * rate <= len(minute):
            n = round(rng.uniform(1, 2) * rate)
            yield minute[start : start + n], rate
            start += n
        if sound.tell() == sound.frames:
            sound.seek(0)


def cut(sounds: Sequence[Path], folder: Path, n_files: int) -> list[Path]:
    """Pieces of the recordings as files; those that are there already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:06d}.{'flac' if i % 2 else 'wav'}" for i in range(n_files)]
    for path, (piece, rate) in zip(paths, pieces(sounds), strict=False):
        if not path.exists():
            soundfile.write(path, piece, rate)
    return paths


def compare(model: MTSLVR, paths: Sequence[Path], n_repeats: int) -> dict[str, tuple[float, float]]:
    """Milliseconds per file of each way, and how many times the speed of one file after the other that is."""

    def in_batches(size: int, ahead: bool) -> Callable[[], object]:
        def clips() -> list[object]:
            return [(stream.read(path), RATE) for path in paths]  # decoded by one thread, before the rest

        return lambda: list(
            batching.embed(
                model, ((str(i), clip) for i, clip in enumerate(paths if ahead else clips())), "combined", size
            )
        )

    ways = {
        "one file after the other": lambda: [model.embed(path) for path in paths],
        "batches of 16, decoded before": in_batches(16, False),
        "batches of 4, decoded ahead": in_batches(4, True),
        "batches of 16, decoded ahead": in_batches(16, True),
        "batches of 32, decoded ahead": in_batches(32, True),
    }
    rounds = []
    for i in range(n_repeats + 1):
        order, times = list(ways), {}
        random.Random(i).shuffle(order)
        for name in order:
            start = time.perf_counter()
            ways[name]()
            times[name] = 1000 * (time.perf_counter() - start) / len(paths)
        rounds.append(times)
    first = next(iter(ways))
    return {  # the first round warms up
        name: (median(r[name] for r in rounds[1:]), median(r[first] / r[name] for r in rounds[1:])) for name in ways
    }


def command(folder: Path, out: Path, until: Callable[[], bool] = lambda: False) -> tuple[float, float]:
    """Run `mtslvr embed`, and kill it when `until` says so: seconds, and its peak memory in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "mtslvr", "embed", str(folder), "-o", str(out)])
    while True:
        ended, code, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        if until():
            process.kill()
        time.sleep(0.2)
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode not in (0, -9):
        sys.exit(f"mtslvr embed ended with {process.returncode}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return time.perf_counter() - start, usage.ru_maxrss / unit


def kill_and_resume(model: MTSLVR, folder: Path, paths: Sequence[Path], out: Path) -> None:
    """Embed all files in two runs, the first of them killed half-way, and look whether anything was lost."""
    kept = out.with_name(f"{out.name}.parts")

    def half_way() -> bool:
        return 2 * sum(1 for _ in kept.glob("??/*")) >= len(paths)

    seconds, memory = command(folder, out, half_way)
    if out.exists():
        return print(f"finished in {seconds:.1f} s, before it could be killed: give more --files")
    notes = {"space": "combined", "fingerprint": model.fingerprint}
    with Unfinished(out, notes) as unfinished:
        n_left = len(unfinished.missing(paths))
    n_kept = len(paths) - n_left
    print(
        f"killed after  {seconds:8.1f} s  {n_kept:6d} files kept  {n_kept / seconds:6.1f} files/s  peak {memory:.0f} MiB"
    )
    seconds, memory = command(folder, out)
    print(
        f"finished in   {seconds:8.1f} s  {n_left:6d} files left  {n_left / seconds:6.1f} files/s  peak {memory:.0f} MiB"
    )
    with np.load(out) as table:
        found, embeddings = table["paths"].tolist(), table["embeddings"]
    some = sorted(random.Random(0).sample(range(len(paths)), min(CHECKED, len(paths))))
    expected = model.embed([paths[i] for i in some], batch_size=1, progress=False)
    error = np.linalg.norm(embeddings[some] - expected, axis=1) / np.linalg.norm(expected, axis=1)
    print(f"in the table  {len(found)} of {len(paths)} files, in order: {found == [str(path) for path in paths]}")
    print(f"largest relative difference of {len(some)} rows to embedding each alone: {error.max():.1e}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.bulk",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sounds", nargs="+", type=Path, metavar="SOUND")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--compare", type=int, default=128, help="files that the ways take turns with; 0 leaves it out")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the files are made, and kept")
    args = parser.parse_args(argv)

    model = MTSLVR.from_pretrained()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary) / "sounds"
        paths = cut(args.sounds, folder, args.files)
        if args.compare:
            print(f"{'':<32} {'ms/file':>8} {'x the first':>12}")
            for name, (milliseconds, ratio) in compare(model, paths[: args.compare], args.repeats).items():
                print(f"{name:<32} {milliseconds:8.1f} {ratio:12.2f}", flush=True)
        if args.files:
            kill_and_resume(model, folder, paths, Path(temporary) / "embeddings.npz")


if __name__ == "__main__":
    main()
