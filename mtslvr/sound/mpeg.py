"""MPEG audio (MP3): its frames, counted, since nothing else says how long such a file is.

An MP3 is a row of frames, each of which gives its own size. A first frame may hold the number of all others (Xing, Info);
without it decoders guess the length from the size of the file, and stop there. Here every frame is visited, which takes
about a hundredth of the time of decoding; each stream then goes to the decoder behind a header that has the true number.
"""

from __future__ import annotations

import functools
import struct
import warnings
from dataclasses import dataclass, field
from typing import IO, NamedTuple

from mtslvr.sound.splice import Part, splice

CHUNK = 2**20  # bytes of the file held at a time
MARGIN = 8_192  # bytes: more than the frames that are looked at together
SEARCHED = 4_096  # bytes in which the first frame has to begin, after tags and zeros: more than a frame that was cut
BAD_SPOT = 0.5  # seconds: a damaged stretch shorter than this is left out with a warning, a longer one is an error
DELAY = 1_105  # samples that a decoder may leave out at the beginning
SLACK = 2  # frames: some writers count the header's own frame, or one that was begun
ID3 = b"ID3\3\0\0\0\0\0\x0a" + bytes(10)  # without it libsndfile looks for a file "._" in the current folder first
RATES = (44_100, 48_000, 32_000)  # Hz
KBITS = {  # by version 1 or not, and layer
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class Frame(NamedTuple):
    size: int  # bytes
    n_samples: int  # per channel
    kind: tuple[int, int, int]  # layer, rate in Hz, channels: what does not change within a stream
    xing: int  # bytes from its start to where "Xing" would be


@dataclass
class Stream:
    """Frames of one kind, one after the other, with what was between them left out."""

    first: Frame
    head: bytes  # of the first frame: 4 bytes
    ranges: list[list[int]] = field(default_factory=list)
    n_frames: int = 0
    n_lost: float = 0.0  # frames, about, that the bytes left out would have been
    header: tuple[int, int] | None = None  # where the frame is that holds no sound, but their number
    promised: int = 0  # frames, by that header; 0 if it says none

    def add(self, at: int, size: int, n_frames: int) -> None:
        self.n_frames += n_frames
        if self.ranges and self.ranges[-1][1] == at:
            self.ranges[-1][1] += size
        else:
            self.ranges.append([at, at + size])


@functools.lru_cache(4096)
def frame(head: bytes) -> Frame | None:
    """What the 4 bytes that begin a frame say; None if they do not begin one, or one of free bit rate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    i_kbit, i_rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or i_rate == 3 or i_kbit in (0, 15):
        return None
    rate = RATES[i_rate] >> (0 if version == 3 else 1 if version == 2 else 2)
    bits = 1000 * KBITS[version == 3, layer][i_kbit]
    padding, n_channels = head[2] >> 1 & 1, 1 if head[3] >> 6 == 3 else 2
    if layer == 1:
        return Frame(4 * (12 * bits // rate + padding), 384, (layer, rate, n_channels), 0)
    n_samples = 576 if layer == 3 and version != 3 else 1152
    side = (32 if n_channels == 2 else 17) if version == 3 else (17 if n_channels == 2 else 9)
    return Frame(n_samples // 8 * bits // rate + padding, n_samples, (layer, rate, n_channels), 4 + side)


def behind_tags(file: IO[bytes]) -> tuple[int, bytes]:
    """Where a file begins behind ID3v2 tags, which may stand before sound of any kind, and its first 64 bytes."""
    start = 0
    while True:
        file.seek(start)
        head = file.read(64)
        if not (head.startswith(b"ID3") and len(head) >= 10):
            return start, head
        start += _tag(head)


def streams(file: IO[bytes], start: int, end: int, name: str) -> list[tuple[IO[bytes], int]]:
    """The MPEG streams from byte `start` to `end`, each as a file for libsndfile; none if there is no MPEG audio.

    Returns:
        Files, and the number of samples per channel that each holds at least, of layers I and II, where libsndfile only guesses;
        0 of layer III.

    Raises:
        ValueError: frames are missing at the end, or more than BAD_SPOT seconds in one place.

    Warns:
        UserWarning: less than that is damaged, and was left out.
    """
    found = _walk(file, start, end, name)
    for stream in found:
        if stream.n_frames + stream.n_lost < stream.promised - SLACK:
            raise ValueError(
                f"{name} is cut short: it holds {stream.n_frames:,} MPEG frames of {stream.promised:,}. Copy or download it "
                "again, or save what there is as a new file"
            )
    return [_as_file(file, stream) for stream in found if stream.n_frames]


def _as_file(file: IO[bytes], stream: Stream) -> tuple[IO[bytes], int]:
    parts: list[Part] = [ID3]
    if stream.header and stream.promised == stream.n_frames:
        parts.append(stream.header)
    elif stream.first.kind[0] == 3:
        parts.append(_header(stream))
    parts += [(first, last) for first, last in stream.ranges]
    n_samples = stream.n_frames * stream.first.n_samples
    return splice(file, parts), 0 if stream.first.kind[0] == 3 else n_samples - DELAY


def _header(stream: Stream) -> bytes:
    """A frame of silence that holds the number of the frames that follow."""
    head = bytearray(stream.head)
    head[1] |= 1  # no checksum
    for i_kbit in range(1, 15):
        head[2] = i_kbit << 4 | head[2] & 0x0C
        like = frame(bytes(head))
        if like and like.size >= like.xing + 12:
            break
    assert like
    content = bytes(head).ljust(like.xing, b"\0") + struct.pack(">4sII", b"Xing", 1, stream.n_frames)
    return content.ljust(like.size, b"\0")


def _walk(file: IO[bytes], start: int, end: int, name: str) -> list[Stream]:
    found: list[Stream] = []
    data, base, at, after = b"", start, start, start  # `after`: the end of the last frame or tag
    while at + 4 <= end:
        if at + MARGIN > base + len(data) and base + len(data) < end:
            file.seek(at)
            data, base = file.read(min(CHUNK, end - at)), at
            if not data:
                break
        i = at - base
        this = frame(data[i : i + 4])
        stream = found[-1] if found else None
        is_next = stream is not None and this is not None and this.kind == stream.first.kind and at == after
        if this is None or not (is_next or _confirmed(data, i, base + len(data) == end)):
            zeros = 0 if stream or data[i] else len(data) - i - len(data[i:].lstrip(b"\0"))
            if at == after and (length := zeros or _tag(data[i : i + 32])):
                at = after = at + length
                continue
            if stream is None and at - after > SEARCHED:
                break
            at = base + _next_sync(data, i)
            continue
        if at + this.size > end:
            break  # the end was cut off within a frame, as of any stream that was recorded
        number = _header_in(data, i, this)
        if stream and at > after and number is None:
            _bridge(stream, after, at, name)
        if stream is None or number is not None or this.kind != stream.first.kind:
            stream = Stream(this, data[i : i + 4])
            found.append(stream)
        if number is not None:
            stream.header, stream.promised = (at, at + this.size), number
        else:
            stream.add(at, this.size, 1)
        n_more, size = _followers(data, i + this.size, this)
        if n_more:
            stream.add(at + this.size, size, n_more)
        at = after = at + this.size + size
    return found


def _followers(data: bytes, start: int, like: Frame) -> tuple[int, int]:
    """How many frames follow one another from `start` on, and their bytes; up to where something else may be, or the margin."""
    i, n, last = start, 0, len(data) - MARGIN // 2
    while i < last and data[i + like.xing] not in b"XI":  # of "Xing" and "Info"
        this = frame(data[i : i + 4])
        if this is None or this.kind != like.kind:
            break
        i, n = i + this.size, n + 1
    return n, i - start


def _header_in(data: bytes, i: int, this: Frame) -> int | None:
    """The number of frames in a header of Xing's or Fraunhofer's kind, 0 if it holds none; None if this is no header."""
    at = i + this.xing
    if data[at : at + 4] in (b"Xing", b"Info"):
        flags, number = struct.unpack(">II", data[at + 4 : at + 12])
        return number if flags & 1 else 0
    if data[i + 36 : i + 40] == b"VBRI":
        return int.from_bytes(data[i + 50 : i + 54], "big")
    return None


def _bridge(stream: Stream, first: int, last: int, name: str) -> None:
    """Tell of bytes between two frames that are none."""
    n_frames = max(1, stream.n_frames)
    of_frame = sum(b - a for a, b in stream.ranges) / n_frames or stream.first.size
    seconds = (last - first) / of_frame * stream.first.n_samples / stream.first.kind[1]
    at = stream.n_frames * stream.first.n_samples / stream.first.kind[1]
    where = f"{last - first:,} bytes from byte {first:,} on (after {at:.2f} s) are no MPEG audio"
    if seconds >= BAD_SPOT:
        raise ValueError(f"{name} is damaged: {where}. Copy or download it again, or save what there is as a new file")
    warnings.warn(f"{name} is damaged: {where}, and were left out", UserWarning, stacklevel=2)
    stream.n_lost += (last - first) / of_frame


def _confirmed(data: bytes, i: int, is_all: bool) -> bool:
    """Whether a frame begins at i: two more of its kind follow it, or the end does, or a tag."""
    kind = None
    for _ in range(3):
        this = frame(data[i : i + 4])
        if this is None or kind not in (None, this.kind):
            return kind is not None and ((is_all and i + 4 > len(data)) or _tag(data[i : i + 32]) > 0)
        kind, i = this.kind, i + this.size
    return True


def _next_sync(data: bytes, i: int) -> int:
    """Where the next frame may begin: at a byte 0xFF after i, or behind the last byte."""
    found = data.find(b"\xff", i + 1)
    return len(data) if found < 0 else found


def _tag(data: bytes) -> int:
    """Bytes of the tag that begins here; 0 if none does."""
    if data.startswith(b"ID3") and len(data) >= 10:
        size = sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
        return 10 + size + (10 if data[5] & 0x10 else 0)  # a footer
    if data.startswith(b"TAG"):
        return 128
    if data.startswith(b"APETAGEX") and len(data) == 32:
        size, flags = struct.unpack("<I4xI", data[12:24])
        return size + 32 if flags & 1 << 29 else 32  # a header, before its items; or a footer, behind them
    return 0
