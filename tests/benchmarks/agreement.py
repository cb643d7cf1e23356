"""How many sound files are read to the same number of samples as by FFmpeg.

    python tests/benchmarks/agreement.py FOLDER [FOLDER ...]

Needs the program ffmpeg. FFmpeg keeps what an MP3's decoder adds at the beginning (529 samples) where the file does not say
how much that is, and what a Vorbis encoder adds at the end of short files; libsndfile cuts both off.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections import Counter, defaultdict

from mtslvr.sound.decode import decode
from mtslvr.sound.files import find_sounds


def by_ffmpeg(path: str) -> int:
    """Samples per channel."""
    command = ["ffmpeg", "-nostdin", "-v", "quiet", "-i", path, "-map", "0:a:0", "-ac", "1", "-f", "s16le", "-"]
    return len(subprocess.run(command, capture_output=True, check=False).stdout) // 2


def by_us(path: str) -> int | str:
    with open(path, "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return sum(len(block) for block, _ in decode(file, path))
        except ValueError:
            return "refused"


def main() -> None:
    found: dict[str, Counter[int | str]] = defaultdict(Counter)
    for path in map(str, find_sounds(sys.argv[1:])):
        ours, theirs = by_us(path), by_ffmpeg(path)
        found[path.rsplit(".", 1)[-1].lower()][ours if isinstance(ours, str) else ours - theirs] += 1
    for suffix, differences in sorted(found.items()):
        others = ", ".join(f"{n} by {d}" for d, n in differences.most_common() if d != 0)
        print(f"{suffix:<6}{differences[0]:>5} of {differences.total()} agree{f'; {others}' if others else ''}")
    print(f"{sum(counts[0] for counts in found.values())} of {sum(c.total() for c in found.values())} agree")


if __name__ == "__main__":
    main()
