"""A recording is read whole or refused: what libsndfile and FFmpeg would leave out without a word."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_files import RATE, encode, id3, mux, noise, tone

from mtslvr.sound import forms, mpeg, stream
from mtslvr.sound.stream import SAMPLE_RATE


def seconds(data: bytes) -> float:
    return len(stream.read(data)) / SAMPLE_RATE


def mp3(x: np.ndarray, mode: str = "CONSTANT", *, header: bool = True) -> bytes:
    """An MP3 with the header that counts its frames, or without it."""
    data = encode(x, kind="MP3", bitrate_mode=mode, compression_level=0.5)
    first = mpeg.frame(data[:4])
    assert (first and b"Xing" in data[: first.size]) or b"Info" in data[: first.size]
    return data if header else data[first.size :]


# MP3


@pytest.mark.parametrize("loud_first", [True, False])
def test_an_mp3_of_variable_rate_without_a_count_of_its_frames(loud_first: bool) -> None:
    """libsndfile guesses its length from the size of the first frames, and stops there."""
    x = np.concatenate([np.zeros(5 * RATE, np.float32), noise(5 * RATE)])
    data = mp3(x[::-1] if loud_first else x, "VARIABLE", header=False)
    assert abs(seconds(data) - 10) < 0.08  # encoders add up to three frames
    with soundfile.SoundFile(io.BytesIO(id3(10) + data)) as guessed:
        assert loud_first == (guessed.frames < 8 * RATE)


def test_an_mp3_with_much_cover_art_is_whole() -> None:
    data = mp3(tone(3), header=False)
    assert abs(seconds(id3(2_000_000) + data) - seconds(data)) == 0


def test_every_sample_of_an_mp3_is_where_it_was() -> None:
    x = tone(3)
    got, want = stream.read(mp3(x)), stream.read((x, RATE))
    assert len(got) == len(want)
    assert np.abs(got - want)[1_000:-1_000].max() < 0.03


def test_mp3s_in_one_file(tmp_path: Path) -> None:
    one, other = mp3(tone(2)), encode(tone(1, 22_050), 22_050, "MP3")
    for joint in (one + other, id3(300) + one + b"TAG" + bytes(125) + id3(50) + other):
        assert abs(seconds(joint) - 3) < 1e-3
    without = mp3(tone(2), header=False)
    assert abs(seconds(without + without) - 4) < 0.15


def test_an_mp3_that_does_not_begin_with_a_frame() -> None:
    data = mp3(tone(3), header=False)
    for other in (data[200:], bytes(4_096) + data, id3(2_000) + bytes(4_096) + data):
        assert abs(seconds(other) - 3) < 0.15


def test_a_short_damaged_stretch_of_an_mp3_is_left_out_with_a_warning() -> None:
    data = bytearray(mp3(tone(6)))
    middle = len(data) // 2
    for i in range(middle, middle + 400):
        data[i] ^= 0x5A
    with pytest.warns(UserWarning, match=r"damaged: .* bytes from byte .* \(after [23]\.\d\d s\) are no MPEG audio"):
        assert 5.8 < seconds(bytes(data)) < 6
    data[middle : middle + len(data) // 4] = bytes(len(data) // 4)
    with pytest.raises(ValueError, match=r"is damaged: .* are no MPEG audio"):
        stream.read(bytes(data))


def test_an_mp3_shorter_than_its_header_says_is_cut() -> None:
    data = mp3(tone(5))
    for share in (0.95, 0.5):
        with pytest.raises(ValueError, match=r"cut short: it holds .* MPEG frames of 19\d"):
            stream.read(data[: int(len(data) * share)])


def test_a_file_called_dot_underscore_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libsndfile takes it for the resource fork of a file without a name."""
    data = [mp3(tone(2)), mp3(tone(2), header=False)]
    want = [stream.read(one) for one in data]
    monkeypatch.chdir(tmp_path)
    Path("._").write_bytes(b"")
    for one, expected in zip(data, want, strict=True):
        np.testing.assert_array_equal(stream.read(one), expected)


# Streams one after the other


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        *((kind, None) for kind in ("FLAC", "WAV", "AIFF", "AU", "W64", "CAF", "NIST")),
    ],
)
def test_files_in_one_file(kind: str, subtype: str | None) -> None:
    parts = [encode(tone(length, SAMPLE_RATE), SAMPLE_RATE, kind, subtype) for length in (2.0, 1.0, 0.5)]
    want = np.concatenate([stream.read(part) for part in parts])
    np.testing.assert_array_equal(stream.read(b"".join(parts)), want)
    assert len(want) == 3.5 * SAMPLE_RATE


def test_the_rate_may_change_from_one_stream_to_the_next() -> None:
    parts = [encode(tone(1, rate), rate, "OGG", "VORBIS") for rate in (16_000, 44_100, 22_050)]
    want = np.concatenate([stream.read(part) for part in parts])
    np.testing.assert_array_equal(stream.read(b"".join(parts)), want)


def test_aac_whose_rate_changes() -> None:
    parts = [mux(tone(2, rate), rate, "adts", "aac") for rate in (44_100, 22_050)]
    got = stream.read(b"".join(parts))
    assert abs(len(got) / SAMPLE_RATE - 4) < 0.2
    spectrum = np.abs(np.fft.rfft(got[-24_000:-8_000] * np.hanning(16_000)))
    assert spectrum.argmax() == 440  # Hz; at twice the speed it were 880


# WAV


class Zeros(io.RawIOBase):
    """A head, and zeros behind it, however many."""

    def __init__(self, head: bytes, size: int) -> None:
        self._head, self._size, self._at = head, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, self._size)[whence] + offset
        return self._at

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        n = max(0, min(len(buffer), self._size - self._at))
        buffer[:n] = self._head[self._at : self._at + n].ljust(n, b"\0")
        self._at += n
        return n


FORMAT = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 2, 16_000, 64_000, 4, 16)


@pytest.mark.parametrize("size", [5_088_049_208 % 2**32, 0xFFFFFFFF, 0])
def test_a_wav_of_more_than_4_gib(size: int) -> None:
    head = b"RIFF" + struct.pack("<I", min(size + 36, 2**32 - 1)) + b"WAVE" + FORMAT + b"data" + struct.pack("<I", size)
    file = Zeros(head, 44 + 5_088_049_208)
    (form,) = forms.forms(file, 0, 44 + 5_088_049_208, "big.wav")  # type: ignore[arg-type]
    with soundfile.SoundFile(form.file) as sound:
        assert sound.frames == 5_088_049_208 // 4
        sound.seek(sound.frames - 10)
        assert len(sound.read(100)) == 10


def test_a_wav_behind_an_id3_tag() -> None:
    wav = encode(noise(RATE))
    np.testing.assert_array_equal(stream.read(id3(30_000) + wav), stream.read(wav))
    with pytest.raises(ValueError, match="cut short"):
        stream.read(id3(30_000) + wav[:-200])


def test_a_wav_whose_size_is_0_and_its_sound_is_not() -> None:
    data = encode(tone(2))[44:]
    head = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    info = b"LIST" + struct.pack("<I", 16) + b"INFOISFT\4\0\0\0abc\0"
    long = b"ds64" + struct.pack("<IQQQI", 28, 0, 0, 0, 0)
    full = b"ds64" + struct.pack("<IQQQI", 28, 2**64 - 1, 2**64 - 1, 0, 0)
    exact = b"ds64" + struct.pack("<IQQQI", 28, len(data) + 72, len(data), 0, 0)
    for wav in (
        b"RIFF" + struct.pack("<I", len(data) + 36) + b"WAVE" + head + b"data\0\0\0\0",
        b"RIFF" + struct.pack("<I", 36) + b"WAVE" + head + info + b"data\0\0\0\0",
        b"RF64\xff\xff\xff\xffWAVE" + long + head + b"data\xff\xff\xff\xff",
        b"RF64\xff\xff\xff\xffWAVE" + full + head + b"data\xff\xff\xff\xff",
        b"BW64\xff\xff\xff\xffWAVE" + exact + head + b"data\xff\xff\xff\xff",
    ):
        assert seconds(wav + data) == 2
    with pytest.raises(ValueError, match="no samples"):
        stream.read(b"RIFF" + struct.pack("<I", 60) + b"WAVE" + head + b"data\0\0\0\0" + info)


def test_an_mp3_in_a_wav() -> None:
    data = mp3(tone(2))
    head = b"fmt " + struct.pack("<IHHIIHH", 16, 0x55, 1, RATE, 16_000, 1, 0)
    wav = b"RIFF" + struct.pack("<I", len(data) + 36) + b"WAVE" + head + b"data" + struct.pack("<I", len(data)) + data
    np.testing.assert_array_equal(stream.read(wav), stream.read(data))


@pytest.mark.parametrize(
    "kind", ["WAV", "RF64", "AIFF", "AU", "W64", "CAF", "NIST", "VOC", "SVX", "AVR", "MPC2K", "FLAC", "HTK"]
)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_first_part_of_a_recording_is_refused(kind: str, share: float) -> None:
    data = encode(tone(1), kind=kind)
    assert abs(seconds(data) - 1) < 0.01
    with pytest.raises(ValueError, match=r"cut short|no sound file"):
        stream.read(data[: int(len(data) * share)])
