"""Sound files that tests build: by soundfile, and by PyAV what it cannot write."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

RATE = 44_100


def noise(n: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """float32 [n] or [n, channels] on the grid of 16-bit samples, so that WAV and FLAC hold it exactly."""
    x = np.random.default_rng(seed).integers(-8_000, 8_000, (n, channels)).astype(np.float32) / 2**15
    return x[:, 0] if channels == 1 else x


def tone(seconds: float, rate: int = RATE) -> np.ndarray:
    """float32 [n] of 440 Hz with some noise."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * 440 * t) + 0.01 * np.random.default_rng(0).standard_normal(len(t))).astype("f4")


def encode(x: np.ndarray, rate: int = RATE, kind: str = "WAV", subtype: str | None = None, **kwargs: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, x, rate, format=kind, subtype=subtype, **kwargs)
    return file.getvalue()


def mux(x: np.ndarray, rate: int, kind: str, codec: str, start: float = 0.0, **options: str) -> bytes:
    """x [n], mono, by PyAV, as a file of a kind, which starts at `start` seconds; test skipped where it is missing."""
    av = pytest.importorskip("av")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sound")  # some muxers read again what they have written
        with av.open(str(path), "w", format=kind, options=options) as container:
            container.metadata["title"] = "TITLETITLE"
            track = container.add_stream(codec, rate=rate, layout="mono")
            context = track.codec_context
            to_kind = av.AudioResampler(context.format.name, "mono", rate, context.frame_size or 1024)
            frame = av.AudioFrame.from_ndarray(x[None].astype("f4"), "fltp", "mono")
            frame.sample_rate, frame.pts = rate, round(start * rate)
            for part in [*to_kind.resample(frame), *to_kind.resample(None), None]:
                container.mux(track.encode(part))
        return path.read_bytes()


def id3(n: int) -> bytes:
    """An ID3v2 tag of n bytes and ten, all zeros."""
    return b"ID3\3\0\0" + bytes((n >> shift) & 127 for shift in (21, 14, 7, 0)) + bytes(n)
