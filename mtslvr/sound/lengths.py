"""Bytes of sound that the headers of less common formats promise: AU, W64, CAF, NIST, VOC, AVR, WVE, MPC2000, AVI;
and where one file ends and another begins, if they were joined.

libsndfile reads what is there of them without a word. (PAF, IRCAM and PVF promise nothing.)
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import IO

from mtslvr.sound.forms import check_size
from mtslvr.sound.splice import splice

HEAD = 1024  # bytes: the longest header, NIST's


def parts(file: IO[bytes], end: int, name: str) -> list[IO[bytes]]:
    """The files that follow one another in one, of these formats; the file itself, if it is of none.

    Raises:
        ValueError: one is shorter than its header says.
    """
    found: list[IO[bytes]] = []
    start = 0
    while True:
        rest = splice(file, [(start, end)])
        length = check_length(rest, end - start, name)
        file.seek(0)
        magic = file.read(4)
        stop = start + (length or end)
        file.seek(stop)
        if stop >= end or file.read(4) != magic:
            return [*found, rest]
        found.append(splice(file, [(start, stop)]))
        start = stop


def check_length(file: IO[bytes], end: int, name: str) -> int:
    """Where the sound ends by the header, 0 where it does not say; before the end of the file, or ValueError is raised."""
    file.seek(0)
    head = file.read(HEAD)
    for magic, length in LENGTHS.items():
        if head.startswith(magic) and (found := length(file, head.ljust(HEAD, b"\0"), end)):
            start, promised = found
            check_size(name, end - start, promised)
            return start + promised
    return 0


Length = tuple[int, int] | None  # where the sound begins, and its bytes; None if that is not said


def _au(file: IO[bytes], head: bytes, end: int) -> Length:
    start, size = struct.unpack(">II" if head[0:1] == b"." else "<II", head[4:12])
    return None if size == 2**32 - 1 else (start, size)


def _w64(file: IO[bytes], head: bytes, end: int) -> Length:
    at = 40
    while at + 24 <= end:
        file.seek(at)
        name, size = struct.unpack("<4s12xQ", file.read(24).ljust(24, b"\0"))
        if name == b"data":
            return (at + 24, size - 24) if 24 < size < 2**62 else None
        at += max(24, size + -size % 8)
    return None


def _caf(file: IO[bytes], head: bytes, end: int) -> Length:
    at = 8
    while at + 12 <= end:
        file.seek(at)
        name, size = struct.unpack(">4sq", file.read(12).ljust(12, b"\0"))
        if name == b"data":
            return (at + 12, size) if size > 0 else None
        at += 12 + max(0, size)
    return None


def _nist(file: IO[bytes], head: bytes, end: int) -> Length:
    fields = dict(line.split(b" -i ", 1) for line in head.split(b"\n") if b" -i " in line)
    try:
        start = int(head[8:16])
        sizes = [int(fields[key]) for key in (b"sample_count", b"channel_count", b"sample_n_bytes")]
    except (KeyError, ValueError):
        return None
    return None if b"embedded" in head else (start, sizes[0] * sizes[1] * sizes[2])


def _voc(file: IO[bytes], head: bytes, end: int) -> Length:
    at = int.from_bytes(head[20:22], "little")
    while at + 4 <= end:
        file.seek(at)
        block = file.read(4).ljust(4, b"\0")
        size = int.from_bytes(block[1:], "little")
        if block[0] == 0 or at + 4 + size > end:
            return (at + 4, size) if block[0] else None
        at += 4 + size
    return None


def _avr(file: IO[bytes], head: bytes, end: int) -> Length:
    n_channels = 2 if head[12:14] == b"\xff\xff" else 1
    bits, n_frames = struct.unpack(">14xH10xI", head[:30])
    return 128, n_channels * bits // 8 * n_frames


def _mpc2000(file: IO[bytes], head: bytes, end: int) -> Length:
    return 42, 2 * (1 + head[21]) * int.from_bytes(head[26:30], "little")


def _wve(file: IO[bytes], head: bytes, end: int) -> Length:
    return 32, int.from_bytes(head[18:22], "big")


def _riff(file: IO[bytes], head: bytes, end: int) -> Length:
    """AVI, which continues in forms of the kind AVIX; WAV has a module of its own."""
    at = 0
    while at + 12 <= end:
        file.seek(at)
        magic, size, kind = struct.unpack("<4sI4s", file.read(12))
        if magic != b"RIFF" or (at and kind != b"AVIX"):
            break
        if not 0 < size < 2**31 - 2**13:
            return None
        at += 8 + size + size % 2
    return 0, at


def _mp4(file: IO[bytes], head: bytes, end: int) -> Length:
    """An MP4 that is not in fragments: the end of what belongs to its index, if another file with one of its own follows."""
    at, n_indexes, second = 0, 0, 0
    while at + 16 <= end:
        file.seek(at)
        size, kind, long = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        if kind == b"moof":
            return None
        if kind == b"ftyp" and at:
            second = second or at
        n_indexes += kind == b"moov"
        at += max(8, long if size == 1 else size or end)
    return (0, second) if n_indexes > 1 and second else None


LENGTHS: dict[bytes, Callable[[IO[bytes], bytes, int], Length]] = {
    b"RIFF": _riff,
    b"\0\0\0": _mp4,
    b".snd": _au,
    b"dns.": _au,
    b"riff\x2e\x91\xcf\x11": _w64,
    b"caff": _caf,
    b"NIST_1A\n": _nist,
    b"Creative Voice File\x1a": _voc,
    b"2BIT": _avr,
    b"\x01\x04": _mpc2000,
    b"ALawSoundFile": _wve,
}
