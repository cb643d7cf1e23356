"""Bytes of sound that the headers of less common formats promise: AU, W64, CAF, NIST, VOC, AVR, WVE, MPC2000, AVI.

libsndfile reads what is there of them without a word. (PAF, IRCAM and PVF promise nothing.)
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import IO

from mtslvr.sound.forms import check_size

HEAD = 1024  # bytes: the longest header, NIST's


def check_length(file: IO[bytes], end: int, name: str) -> None:
    """Refuse a file of one of these formats that is shorter than its header says, with ValueError."""
    file.seek(0)
    head = file.read(HEAD)
    for magic, length in LENGTHS.items():
        if head.startswith(magic) and (found := length(file, head.ljust(HEAD, b"\0"), end)):
            start, promised = found
            check_size(name, end - start, promised)


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
    """AVI; WAV has a module of its own."""
    size = int.from_bytes(head[4:8], "little")
    return (8, size) if 0 < size < 2**31 - 2**13 else None


LENGTHS: dict[bytes, Callable[[IO[bytes], bytes, int], Length]] = {
    b"RIFF": _riff,
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
