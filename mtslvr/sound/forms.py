"""WAV and AIFF: forms of chunks, one of which is the sound and says how long it is, not always rightly.

libsndfile reads what is there without a word. Here a file that was cut short is an error; a size that a recorder could not
fill in, or that needs more than 32 bits, is set right; and of several files in one each is read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

from mtslvr.sound.splice import Part, Range, splice

MAGIC = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM")
SOUND = {b"WAVE": b"data", b"AIFF": b"SSND", b"AIFC": b"SSND", b"8SVX": b"BODY", b"16SV": b"BODY"}  # kind: chunk
MPEG_TAGS = (0x50, 0x55)  # of MPEG audio in a WAV
HEADER_SLACK = 44  # bytes: some writers count their own header as sound; fewer missing bytes than this are not a cut
LONGEST = 2**32 - 1  # bytes that 32 bits can count
UNFILLED = 2**13  # bytes below 2**31 or 2**32: where recorders stop, and leave a size that is none


class Chunk(NamedTuple):
    name: bytes
    at: int  # where its header begins
    start: int  # where its content begins
    size: int  # bytes of content


class Form(NamedTuple):
    file: IO[bytes]
    mpeg: Range | None  # if it holds MPEG audio, where that is in the whole file


def cut_short(name: str, what: str) -> ValueError:
    return ValueError(
        f"{name} is cut short: it holds {what}. Copy or download it again, or save what there is as a new file"
    )


def check_size(name: str, there: int, promised: int) -> None:
    """Refuse fewer bytes of sound than promised with ValueError."""
    if there < promised - HEADER_SLACK:
        raise cut_short(name, f"{there:,} bytes of sound of {promised:,}")


def forms(file: IO[bytes], start: int, end: int, name: str) -> list[Form]:
    """The WAV or AIFF files from byte `start` to `end`, one after the other, for libsndfile.

    Raises:
        ValueError: one is cut short.
    """
    found = []
    while start < end:
        form, start = _form(file, start, end, name)
        found.append(form)
    return found


def _form(file: IO[bytes], start: int, end: int, name: str) -> tuple[Form, int]:
    """A form, and where the next begins."""
    magic, kind = struct.unpack("<4s4x4s", _bytes(file, start, 12))
    order = ">" if magic in (b"FORM", b"RIFX") else "<"
    before: list[Part] = []
    tag, long_size = 0, None
    for chunk in _chunks(file, start + 12, end, order):
        if chunk.name == SOUND[kind]:
            break
        if chunk.name == b"ds64":
            long_size = struct.unpack("<8xQ", _bytes(file, chunk.start, 16))[0]
        else:
            before.append((chunk.at, chunk.start + chunk.size + chunk.size % 2))
        if chunk.name == b"fmt ":
            tag = struct.unpack(order + "H", _bytes(file, chunk.start, 2))[0]
    else:
        return Form(splice(file, [(start, end)]), None), end  # libsndfile says what is wrong

    given = long_size if long_size and chunk.size == LONGEST else chunk.size
    there = end - chunk.start
    size = _true_size(file, chunk, given, end, order)
    check_size(name, there, size)
    last = chunk.start + min(size, there)
    next_start = _next_form(file, last + size % 2, end, order)
    mpeg = (chunk.start, last) if tag in MPEG_TAGS else None
    parts: list[Part] = [(start, next_start)]
    if size > LONGEST:
        sizes = struct.pack("<4sIQQQI", b"ds64", 28, size + chunk.start, size, 0, 0)
        parts = [b"RF64\xff\xff\xff\xffWAVE", sizes, *before, b"data\xff\xff\xff\xff", (chunk.start, last)]
    elif size != given or magic == b"BW64":
        magic = b"RIFF" if order == "<" else magic
        heads = struct.pack(order + "4sI4s", magic, LONGEST, kind), struct.pack(order + "4sI", chunk.name, size)
        parts = [heads[0], *before, heads[1], (chunk.start, last)]
    return Form(splice(file, parts), mpeg), next_start


def _true_size(file: IO[bytes], chunk: Chunk, given: int, end: int, order: str) -> int:
    """The bytes of sound in a chunk: as given, or all there are where its writer could not go back to say.

    Such a writer leaves 0, nearly 2**31, 2**32 or 2**64, or the lower 32 bits of a larger number.
    """
    there = end - chunk.start
    if given == 0:
        behind = list(_chunks(file, chunk.start, end, order))
        is_empty = there < 2 or (behind and behind[-1].start + behind[-1].size in (end, end - 1))
        return 0 if is_empty else there
    if given > 2**63 or given == 2**31 or (given <= LONGEST and given % 2**31 >= 2**31 - UNFILLED):
        return there
    return given if given > LONGEST else given + (max(0, there - given) >> 32 << 32)


def _next_form(file: IO[bytes], at: int, end: int, order: str) -> int:
    """Where another form begins, behind the chunks that follow the sound; or the end."""
    for chunk in _chunks(file, min(at, end), end, order):
        if chunk.name in MAGIC and _bytes(file, chunk.start, 4) in SOUND:
            return chunk.at
    return end


def _chunks(file: IO[bytes], at: int, end: int, order: str) -> Iterator[Chunk]:
    while at + 8 <= end:
        name, size = struct.unpack(order + "4sI", _bytes(file, at, 8))
        if min(name) < 32 or max(name) > 126:  # no name: the size before was wrong, or this is sound
            return
        yield Chunk(name, at, at + 8, size)
        at += 8 + size + size % 2


def _bytes(file: IO[bytes], at: int, n: int) -> bytes:
    file.seek(at)
    return file.read(n).ljust(n, b"\0")
