"""Streams that follow one another in one file: Ogg (Vorbis, Opus) and FLAC. libsndfile reads the first alone."""

from __future__ import annotations

from typing import IO, NamedTuple

from mtslvr.sound.forms import cut_short
from mtslvr.sound.splice import Range

CHUNK = 2**20  # bytes searched at a time
FLAC = b"fLaC\0\0\0\x22"  # a stream and its first block, of 34 bytes; 0x80: the only block
BEGINNING = 2  # the flag of a page that begins a stream, RFC 3533
READ_BY_LIBSNDFILE = (b"\x01vorbis", b"OpusHead")


class Link(NamedTuple):
    range: Range
    is_common: bool  # one stream, that libsndfile reads


def ogg_links(file: IO[bytes], start: int, end: int, name: str) -> list[Link]:
    """The links of an Ogg chain: each has streams of its own, which begin together (RFC 3533).

    Raises:
        ValueError: no page begins a stream; the last page is not whole. (One whole page without an end mark may be a recorded stream.)
    """
    begins: list[int] = []
    packets: list[list[bytes]] = []
    at, in_header = start, False
    while (at := _find(file, b"OggS\0", at, end)) < end:
        file.seek(at)
        head = file.read(27 + 255 + 8)
        n_segments = head[26] if len(head) > 26 else 255
        size = 27 + n_segments + sum(head[27 : 27 + n_segments])
        if at + size > end or len(head) < 27 + n_segments:
            raise cut_short(name, "only a part of its last page")
        if head[5] & BEGINNING:
            if not in_header:
                begins.append(at)
                packets.append([])
            packets[-1].append(head[27 + n_segments :][:8])
        in_header = bool(head[5] & BEGINNING)
        at += size
    if not begins:
        raise ValueError(f"{name} is damaged: no page of it begins a stream")
    ends = [*begins[1:], end]
    common = [len(first) == 1 and first[0].startswith(READ_BY_LIBSNDFILE) for first in packets]
    return [Link((a, b), is_common) for a, b, is_common in zip(begins, ends, common, strict=True)]


def flac_links(file: IO[bytes], start: int, end: int) -> list[Range]:
    """The FLAC streams from byte `start` to `end`."""
    begins = [start]
    while (at := _find(file, FLAC, begins[-1] + len(FLAC), end)) < end:
        begins.append(at)
    return list(zip(begins, [*begins[1:], end], strict=True))


def _find(file: IO[bytes], what: bytes, at: int, end: int) -> int:
    """Where `what` comes next, or the end."""
    file.seek(at)
    if file.read(len(what)) == what:
        return at
    while at < end:
        file.seek(at)
        data = file.read(min(CHUNK, end - at))  # not more: the memory is taken at once
        if (found := data.find(what)) >= 0:
            return at + found
        if len(data) < CHUNK:
            break
        at += CHUNK - len(what) + 1
    return end
