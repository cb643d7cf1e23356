"""Sound that libsndfile cannot read, by FFmpeg (PyAV, the extra `m4a`).

FFmpeg is glad to return the first half of a file that was cut short; here that is an error. What the header promises is an
end in time, and is compared with the time stamps: sound may start late, and pause.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np

from mtslvr.sound.forms import cut_short

Block = tuple[np.ndarray, float]
SLACK = 0.1  # seconds: two frames of AAC at 16 kHz and less, which encoders count or not
# FFmpeg's names of the formats that are tried: those told by a magic number or a strict structure, so that no text or image
# is taken for sound, and none that opens other files, such as playlists.
FORMATS = (
    *(
        "mov,mp4,m4a,3gp,3g2,mj2",
        "matroska,webm",
        "asf",
        "avi",
        "flv",
        "mpeg",
        "mpegts",
        "ogg",
        "rm",
        "nut",
        "mxf",
        "dv",
    ),
    *("wav", "w64", "aiff", "au", "caf", "iff", "voc", "flac", "aac", "ac3", "eac3", "dts", "truehd", "mlp", "loas"),
    *(
        "wv",
        "tta",
        "ape",
        "mpc",
        "mpc8",
        "tak",
        "shn",
        "dsf",
        "amr",
        "qcp",
        "aea",
        "oma",
        "spdif",
        "swf",
        "4xm",
        "smk",
        "bink",
    ),
)
# Formats whose headers give the duration; of others FFmpeg guesses it.
TIMED = ("mov", "matroska", "asf", "avi", "flv", "wv", "tta", "ape", "tak", "dsf", "mpc", "caf")


class NotOpened(ValueError):
    """FFmpeg does not know this kind of file."""


def is_needed(head: bytes) -> bool:
    """MP4, M4A, 3GP, MOV; Matroska, WebM; ASF (WMA); AVI, FLV, MPEG; AMR; WavPack, TTA; ADTS (AAC): told by their first bytes, not by name."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return True
    if head.startswith(
        (b"\x1aE\xdf\xa3", b"0&\xb2u\x8ef\xcf\x11", b"#!AMR", b"FLV\1", b"wvpk", b"TTA1", b"\0\0\1\xba")
    ):
        return True
    return (head[:4] == b"RIFF" and head[8:11] == b"AVI") or (
        len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    )


def is_there() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def decode(file: IO[bytes], name: str, formats: Sequence[str] = FORMATS) -> Iterator[Block]:
    """Decode a binary file, from its beginning.

    Args:
        formats: FFmpeg's names of those that it may be.

    Yields:
        float32 [frames, channels] in [-1, 1] and the sample rate in Hz, which may change.

    Raises:
        ValueError: no sound, damaged, cut short.
        ImportError: PyAV is not installed.
    """
    import av

    file.seek(0)
    options = {"format_whitelist": ",".join(formats), "protocol_whitelist": "none"}
    try:
        opened = av.open(file, options=options, metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise NotOpened(f"{name} cannot be decoded by FFmpeg; it is damaged or cut short ({error})") from error
    try:
        with opened as container:
            if not container.streams.audio:
                raise ValueError(f"{name} has no sound track")
            track = container.streams.audio[0]
            to_float: Any = None
            given: Any = None
            last = 0.0
            for frame in container.decode(track):
                if given != (frame.sample_rate, frame.layout.name, frame.format.name):
                    given = (frame.sample_rate, frame.layout.name, frame.format.name)
                    # Samples of all channels in one plane: of more than eight planes PyAV reads beyond their end.
                    to_float = av.AudioResampler("flt", frame.layout, frame.sample_rate)
                if frame.pts is not None:
                    last = max(last, float(frame.pts * frame.time_base) + frame.samples / frame.sample_rate)
                for part in to_float.resample(frame):
                    yield part.to_ndarray().reshape(-1, frame.layout.nb_channels), part.sample_rate
            promised = _end(container, track)
    except av.error.FFmpegError as error:
        raise ValueError(f"{name} cannot be decoded by FFmpeg; it is damaged or cut short ({error})") from error
    if given and last < promised - SLACK:
        raise cut_short(name, f"sound up to {last:.2f} s of {promised:.2f} s")


def _end(container: Any, track: Any) -> float:
    """When the sound ends by the header, in seconds; 0 where FFmpeg only estimates it."""
    if not container.format.name.startswith(TIMED):
        return 0.0
    if track.duration:
        return float(((track.start_time or 0) + track.duration) * track.time_base)
    if container.duration and len(container.streams) == 1:
        return float(container.duration / 1e6)  # FFmpeg's unit: microseconds
    return 0.0
