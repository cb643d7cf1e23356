"""Encoded sound: from the bytes of a file to a stream of float32 blocks [frames, channels], in constant memory.

A file is told by its first bytes and taken apart into the streams that follow one another in it, each as a file of its own.
libsndfile (soundfile) decodes WAV, FLAC, OGG, Opus, MP3, AIFF and more; FFmpeg (PyAV, the extra `m4a`) what it cannot.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
import soundfile

from mtslvr.sound import ffmpeg, forms, mpeg
from mtslvr.sound.chained import flac_links, ogg_links
from mtslvr.sound.lengths import parts
from mtslvr.sound.splice import splice

BLOCK = 65_536  # frames decoded at a time
UNKNOWN = 2**62  # frames: libsndfile says 2**63 - 1 of a length it does not know
EXTRA = 'install the extra that brings it, pip install "mtslvr[m4a]", or convert the file to WAV or FLAC'

Block = tuple[np.ndarray, float]  # float32 [frames, channels], rate in Hz


def decode(file: IO[bytes], name: str) -> Iterator[Block]:
    """Decode a binary file and leave it open: from its first byte if it can seek, else (a pipe) from where it is.

    Args:
        file: a binary file; one that cannot seek is copied to disk first.
        name: what the messages call it.

    Yields:
        float32 [frames, channels] in [-1, 1] and the sample rate in Hz, which may change where one stream follows another.

    Raises:
        ValueError: the file is empty, no sound file, damaged, cut short, or needs the extra that is not installed.

    Warns:
        UserWarning: a short damaged stretch of an MP3 was left out.
    """
    with contextlib.ExitStack() as copies:
        if not (file.seekable() if hasattr(file, "seekable") else hasattr(file, "seek")):
            copy = copies.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(file, copy)
            file = copy
        yield from _decode(file, name)


def _decode(file: IO[bytes], name: str) -> Iterator[Block]:
    end = _size(file)
    if not end:
        raise ValueError(f"{name} is an empty file: it has 0 bytes. Copy or download it again")
    start, head = mpeg.behind_tags(file)
    if ffmpeg.is_needed(head):
        for one in parts(file, end, name):
            yield from _by_ffmpeg(one, name)
    elif head[:4] in forms.MAGIC and head[8:12] in forms.SOUND:
        for form in forms.forms(file, start, end, name):
            if form.mpeg:
                yield from _by_mpeg(mpeg.streams(file, *form.mpeg, name), splice(file, [form.mpeg]), name)
            else:
                yield from _by_libsndfile(form.file, name)
    elif head.startswith(b"OggS\0"):
        for link in ogg_links(file, start, end, name):
            yield from (_by_libsndfile if link.is_common else _by_ffmpeg)(splice(file, [link.range]), name)
    elif head.startswith(b"fLaC"):
        for part in flac_links(file, start, end):
            yield from _by_libsndfile(splice(file, [part]), name)
    elif mpeg.frame(head[:4]):
        yield from _by_mpeg(mpeg.streams(file, start, end, name), file, name)
    else:
        for one in parts(file, end, name):
            yield from _by_libsndfile(one, name)


class _Sound(soundfile.SoundFile):
    """soundfile seeks after every block it reads from a seekable file, and cannot when a FLAC's length is unknown."""

    def seekable(self) -> bool:
        return False


def _by_libsndfile(file: IO[bytes], name: str, n_mpeg: int | None = None) -> Iterator[Block]:
    """By libsndfile; `n_mpeg`: this is an MPEG stream of so many frames, where libsndfile does not know; 0 where it does."""
    file.seek(0)
    try:
        sound = _Sound(file)
    except soundfile.LibsndfileError as error:
        if n_mpeg is not None:
            raise ValueError(f"{name} cannot be decoded; it is damaged ({error.error_string})") from error
        streams = mpeg.streams(file, 0, _size(file), name)  # an MP3 may begin with something else
        yield from _by_mpeg(streams, file, name) if streams else _by_ffmpeg(file, name, error)
        return
    n_read = 0
    with sound:
        try:
            while len(block := sound.read(BLOCK, dtype="float32", always_2d=True)):
                n_read += len(block)
                yield block, sound.samplerate
        except soundfile.LibsndfileError as error:
            raise ValueError(
                f"{name} cannot be decoded after {n_read:,} frames; it is damaged or cut short ({error.error_string})"
            ) from error
        promised = n_mpeg or sound.frames
        if n_read < promised < UNKNOWN:
            raise forms.cut_short(name, f"{n_read:,} frames of {promised:,}")


def _by_mpeg(streams: list[tuple[IO[bytes], int]], file: IO[bytes], name: str) -> Iterator[Block]:
    """The MPEG streams of a file; by FFmpeg those of free bit rate, which are none, and of layers I and II if it is there."""
    if not streams or (streams[0][1] and ffmpeg.is_there()):
        yield from _by_ffmpeg(file, name, formats=("mp3",))
        return
    for stream, n_frames in streams:
        yield from _by_libsndfile(stream, name, n_frames)


def _by_ffmpeg(
    file: IO[bytes],
    name: str,
    why: soundfile.LibsndfileError | None = None,
    formats: Sequence[str] = ffmpeg.FORMATS,
) -> Iterator[Block]:
    """By FFmpeg; `why`: libsndfile could not open it, and FFmpeg may not either."""
    try:
        yield from ffmpeg.decode(file, name, formats)
    except ImportError:
        needs = "it is M4A, AAC or another format that needs FFmpeg"
        message = (
            f"{name} cannot be read: {needs}; {EXTRA}"
            if why is None
            else f"{_unknown(file, name, why)}; if {needs}, {EXTRA}"
        )
        raise ValueError(message) from why
    except ffmpeg.NotOpened:
        if why is None:
            raise
        raise ValueError(_unknown(file, name, why)) from why


def _unknown(file: IO[bytes], name: str, error: soundfile.LibsndfileError) -> str:
    file.seek(0)
    if error.code != 1:
        return f"{name} cannot be opened; it is damaged or cut short ({error.error_string})"
    return (
        f"{name} is no sound file that can be read: it begins with {file.read(24)!r}; expected WAV, FLAC, OGG, "
        "Opus, MP3 or AIFF. For headerless samples use np.fromfile and (array, rate)"
    )


def _size(file: IO[bytes]) -> int:
    file.seek(0, io.SEEK_END)
    return file.tell()
