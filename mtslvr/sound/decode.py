"""Encoded sound: from the bytes of a file to a stream of float32 blocks [frames, channels], in constant memory.

libsndfile (soundfile) reads WAV, FLAC, OGG, Opus, MP3, AIFF and more; FFmpeg (PyAV, the extra `m4a`) what it cannot.
Both are glad to return the first half of a file that was cut short; here that is an error.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import struct
import tempfile
import warnings
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import soundfile

BLOCK = 65_536  # frames decoded at a time
OGG_PAGE = 65_307  # bytes: the longest page, RFC 3533
HEADER_SLACK = 44  # bytes: some writers count their own header as sound; fewer missing bytes than this are not a cut
MP3_PROMISE = 0.9  # of the length in an MP3's header, which is often an estimate
FFMPEG_PROMISE = 0.5  # seconds by which an MP4 or Matroska track may be shorter than its header says

Block = tuple[np.ndarray, float]  # float32 [frames, channels], rate in Hz


def decode(file: IO[bytes], name: str) -> Iterator[Block]:
    """Decode a binary file and leave it open: from its first byte if it can seek, else (a pipe) from where it is.

    Args:
        file: a binary file; one that cannot seek is copied to disk first.
        name: what the messages call it.

    Yields:
        float32 [frames, channels] in [-1, 1] and the sample rate in Hz.

    Raises:
        ValueError: the file is empty, no sound file, damaged, cut short, or needs the extra that is not installed.
    """
    with contextlib.ExitStack() as copies:
        if not (file.seekable() if hasattr(file, "seekable") else hasattr(file, "seek")):
            file = copies.enter_context(_copy(file))
        file.seek(0)
        head = file.read(64)
        if not head:
            raise ValueError(f"{name} is an empty file: it has 0 bytes. Copy or download it again")
        if _needs_ffmpeg(head):
            yield from _ffmpeg(file, name)
            return
        if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM"):
            if unfilled := _check_chunks(file, name):
                file.seek(0)
                file = copies.enter_context(_copy(file))
                file.seek(unfilled)
                file.write(b"\xff\xff\xff\xff")
        elif head[:4] == b"OggS":
            _check_last_page(file, name)
        yield from _libsndfile(file, name, head)


def _copy(file: IO[bytes]) -> IO[bytes]:
    copy = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    shutil.copyfileobj(file, copy)
    return copy


class _Stream(soundfile.SoundFile):
    """soundfile seeks after every block it reads from a seekable file, and cannot when a FLAC's length is unknown."""

    def seekable(self) -> bool:
        return False


def _libsndfile(file: IO[bytes], name: str, head: bytes) -> Iterator[Block]:
    file.seek(0)
    n_read = 0
    try:
        with _Stream(file) as sound:
            while len(block := sound.read(BLOCK, dtype="float32", always_2d=True)):
                n_read += len(block)
                yield block, sound.samplerate
            promised, kind = sound.frames, sound.format
    except TypeError as error:  # a file object called x.raw: soundfile asks for the rate of headerless samples
        raise ValueError(
            f"{name} cannot be read: {error}. For headerless samples use np.fromfile and (array, rate)"
        ) from error
    except soundfile.LibsndfileError as error:
        if error.code == 1:
            raise ValueError(
                f"{name} is no sound file that can be read: it begins with {head[:24]!r}; expected WAV, FLAC, OGG, "
                "Opus, MP3 or AIFF"
            ) from error
        raise ValueError(
            f"{name} cannot be decoded after {n_read:,} frames; it is damaged or cut short ({error.error_string})"
        ) from error
    if kind == "MP3":
        if n_read < MP3_PROMISE * promised:
            message = f"{name} may be cut short: {n_read:,} frames of the {promised:,} its header speaks of"
            warnings.warn(message, UserWarning, stacklevel=2)
    elif n_read < promised < 2**62:  # libsndfile's unknown length is 2**63 - 1
        raise ValueError(_cut_short(name, f"{n_read:,} frames of {promised:,}"))


def _cut_short(name: str, what: str) -> str:
    return f"{name} is cut short: it holds {what}. Copy or download it again, or save what there is as a new file"


def _check_chunks(file: IO[bytes], name: str) -> int | None:
    """WAV and AIFF promise a number of bytes of sound; libsndfile reads what is there without a word.

    A recorder that streamed could not go back and fill in the sizes: 0, or about 2**31 or 2**32, promise nothing.
    libsndfile takes 0 at its word: then the place of the size is returned, for 2**32 - 1 to be written there.
    """
    size_of_file = file.seek(0, io.SEEK_END)
    file.seek(0)
    kind, size_of_form = struct.unpack("<4sI4x", file.read(12).ljust(12, b"\0"))
    order, sound = (">", b"SSND") if kind == b"FORM" else (">" if kind == b"RIFX" else "<", b"data")
    long_size = 0
    while len(header := file.read(8)) == 8:
        chunk, size = struct.unpack(order + "4sI", header)
        start = file.tell()
        if chunk == b"ds64" and len(sizes := file.read(16)) == 16:
            long_size = struct.unpack("<8xQ", sizes)[0]
        if chunk == sound:
            is_long = long_size > 0 and size == 2**32 - 1
            size, there = (long_size if is_long else size), size_of_file - start
            if size == 0:
                return start - 4 if there and size_of_form in (0, start - 8, 2**32 - 1) else None
            unknown = not is_long and (size == 2**31 or size % 2**31 >= 2**31 - 2**13)
            if not unknown and there < size - HEADER_SLACK:
                raise ValueError(_cut_short(name, f"{there:,} bytes of sound of {size:,}"))
            return None
        file.seek(start + size + size % 2)
    return None


def _check_last_page(file: IO[bytes], name: str) -> None:
    """An Ogg file that was cut ends inside a page; one whole page without an end mark may be a recorded stream."""
    size_of_file = file.seek(0, io.SEEK_END)
    file.seek(max(0, size_of_file - OGG_PAGE))
    tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS\0")) :]
    n_segments = page[26] if len(page) > 26 else 255
    size = 27 + n_segments + sum(page[27 : 27 + n_segments])
    if len(page) < size:
        raise ValueError(_cut_short(name, "only a part of its last page"))


def _needs_ffmpeg(head: bytes) -> bool:
    """MP4, M4A, 3GP, MOV; Matroska, WebM; ASF (WMA); AMR; raw AAC (ADTS): told by their first bytes, not by name."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return True
    if head.startswith((b"\x1aE\xdf\xa3", b"0&\xb2u\x8ef\xcf\x11", b"#!AMR")):
        return True
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0


def _ffmpeg(file: IO[bytes], name: str) -> Iterator[Block]:
    try:
        import av
    except ImportError:
        raise ValueError(
            f"{name} is M4A, AAC or another format that needs FFmpeg to decode. "
            'Install the extra that brings it: pip install "mtslvr[m4a]", or convert the file to WAV or FLAC'
        ) from None
    file.seek(0)
    n_read, rate = 0, 0
    container: Any
    try:
        with av.open(file) as container:
            if not container.streams.audio:
                raise ValueError(f"{name} has no sound track")
            track = container.streams.audio[0]
            to_float: Any = None
            for frame in container.decode(track):
                if to_float is None:
                    rate = frame.sample_rate
                    to_float = av.AudioResampler("fltp", frame.layout, rate)
                for part in to_float.resample(frame):
                    n_read += part.samples
                    yield np.ascontiguousarray(part.to_ndarray().T), rate
            promised = _promised_seconds(container, track)
    except av.error.FFmpegError as error:
        raise ValueError(f"{name} cannot be decoded by FFmpeg; it is damaged or cut short ({error})") from error
    if rate and n_read / rate < promised - FFMPEG_PROMISE:
        raise ValueError(_cut_short(name, f"{n_read / rate:.2f} s of {promised:.2f} s"))


def _promised_seconds(container: Any, track: Any) -> float:
    """The length in an MP4's or Matroska's header, else 0: of other containers FFmpeg only estimates it."""
    if container.format.name.startswith("mov") and track.duration:
        return float(track.duration * track.time_base)
    if container.format.name.startswith("matroska") and container.duration and len(container.streams) == 1:
        return float(container.duration / 1e6)  # FFmpeg's unit: microseconds
    return 0.0
