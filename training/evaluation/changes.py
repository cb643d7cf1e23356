"""What happens to a sound between one recording and the next: level, noise, codec, telephone, room, cut.

Each change takes a waveform, float32 [samples] at 16 kHz, and a generator that draws what is random in it; it gives a waveform of the same kind.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
import soundfile
from scipy import signal

from mtslvr.sound.stream import SAMPLE_RATE

LEVEL_DB = (-26.0, 6.0)  # gain; full scale is not exceeded
TELEPHONE_HZ = (300.0, 3400.0)
DECAY_SECONDS = 0.3  # time in which the room's reverberation falls by 60 dB
DIRECT_TO_REVERB_DB = 3.0  # energy of the direct sound over that of the reverberation
FIRST_ECHO_SECONDS = 0.003  # a metre of detour
MP3_COMPRESSION = 1 - (64 - 8) / (160 - 8)  # libsndfile's scale of 8 to 160 kbit/s at 16 kHz: constant 64 kbit/s
OPUS_COMPRESSION = 1 - (24 - 6) / (256 - 6)  # its scale of 6 to 256 kbit/s: about 24, it varies

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def level(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A gain of LEVEL_DB, uniformly drawn; less where the sound would be clipped."""
    gain = 10 ** (rng.uniform(*LEVEL_DB) / 20)
    return wave * np.float32(min(gain, max(1.0, 1 / max(np.abs(wave).max(), 1e-9))))


def noise(wave: np.ndarray, rng: np.random.Generator, *, snr_db: float) -> np.ndarray:
    """White noise, by the ratio of the mean powers."""
    scale = np.sqrt(np.square(wave, dtype=np.float64).mean() / 10 ** (snr_db / 10))
    return (wave + scale * rng.standard_normal(len(wave))).astype(np.float32)


def codec(
    wave: np.ndarray, rng: np.random.Generator, *, container: str, subtype: str, **how: float | str
) -> np.ndarray:
    """Encoded and decoded by libsndfile; as long as before."""
    file = io.BytesIO()
    soundfile.write(file, wave, SAMPLE_RATE, subtype, format=container, **how)
    file.seek(0)
    decoded = soundfile.read(file, dtype="float32")[0][: len(wave)]
    return np.pad(decoded, (0, len(wave) - len(decoded)))


def telephone(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The band of a telephone, by a Butterworth filter of order 4 on either side."""
    sections = signal.butter(4, TELEPHONE_HZ, "bandpass", fs=SAMPLE_RATE, output="sos")
    return signal.sosfilt(sections, wave).astype(np.float32)


def room(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A small room: the direct sound, and white noise that decays; at the power of before."""
    n = round(DECAY_SECONDS * SAMPLE_RATE)
    tail = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    tail[: round(FIRST_ECHO_SECONDS * SAMPLE_RATE)] = 0
    tail *= np.sqrt(10 ** (-DIRECT_TO_REVERB_DB / 10) / np.square(tail).sum())
    tail[0] = 1
    echoed = signal.fftconvolve(wave, tail)[: len(wave)]
    power = np.square(echoed).mean()
    return (echoed * np.sqrt(np.square(wave, dtype=np.float64).mean() / power) if power else echoed).astype(np.float32)


def trimmed(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half of it, from anywhere."""
    n = max(1, len(wave) // 2)
    start = rng.integers(len(wave) - n + 1)
    return wave[start : start + n]


CHANGES: dict[str, Change] = {
    "level -26 to +6 dB": level,
    "noise, 20 dB SNR": partial(noise, snr_db=20.0),
    "noise, 10 dB SNR": partial(noise, snr_db=10.0),
    "MP3, 64 kbit/s": partial(
        codec,
        container="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=MP3_COMPRESSION,
        bitrate_mode="CONSTANT",
    ),
    "Opus, 24 kbit/s": partial(codec, container="OGG", subtype="OPUS", compression_level=OPUS_COMPRESSION),
    "telephone band": telephone,
    "small room": room,
    "trimmed by half": trimmed,
}
