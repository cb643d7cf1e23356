"""What FFmpeg reads, and that it does not read too much or too little."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from sound_files import encode, mux, tone

from mtslvr.sound import ffmpeg, stream
from mtslvr.sound.stream import SAMPLE_RATE

pytest.importorskip("av")


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        ("avi", "mp2"),
        ("flv", "aac"),
        ("mpeg", "mp2"),
        ("mpegts", "aac"),
        ("ogg", "flac"),
        ("caf", "alac"),
        ("wv", "wavpack"),
        ("tta", "tta"),
        ("ac3", "ac3"),
        ("wav", "g726"),
        ("wav", "g722"),
        ("mp2", "mp2"),
    ],
)
def test_formats_that_libsndfile_cannot_read(kind: str, codec: str) -> None:
    rate = {"g726": 8_000, "g722": 16_000}.get(codec, 44_100)
    data = mux(tone(2, rate), rate, kind, codec)
    y = stream.read(data)
    assert abs(len(y) / SAMPLE_RATE - 2) < 0.1
    spectrum = np.abs(np.fft.rfft(y[4_000:20_000] * np.hanning(16_000)))
    assert spectrum.argmax() == 440  # Hz


@pytest.mark.parametrize(
    ("kind", "codec"),
    [("matroska", "aac"), ("mp4", "aac"), ("avi", "mp2"), ("wv", "wavpack"), ("tta", "tta"), ("caf", "alac")],
)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_first_part_of_a_recording_is_refused(kind: str, codec: str, share: float) -> None:
    options = {"movflags": "faststart"} if kind == "mp4" else {}
    data = mux(tone(5), 44_100, kind, codec, **options)
    assert abs(len(stream.read(data)) / SAMPLE_RATE - 5) < 0.1
    with pytest.raises(ValueError, match="cut short"):
        stream.read(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("kind", "codec"), [("mp4", "aac"), ("mov", "alac"), ("matroska", "aac"), ("avi", "mp2"), ("ac3", "ac3")]
)
def test_files_in_one_file(kind: str, codec: str) -> None:
    data = mux(tone(2), 44_100, kind, codec)
    assert abs(len(stream.read(data + data)) - 2 * len(stream.read(data))) < 1_200  # AAC has a frame of priming


@pytest.mark.parametrize(("kind", "codec"), [("matroska", "aac"), ("webm", "libopus"), ("mp4", "aac")])
def test_sound_that_starts_late_is_whole(kind: str, codec: str) -> None:
    rate = 48_000
    late = stream.read(mux(tone(2, rate), rate, kind, codec, start=3))
    assert abs(len(late) / SAMPLE_RATE - 2) < 0.1


@pytest.mark.parametrize(("kind", "codec"), [("webm", "libopus"), ("mp4", "aac")])
def test_a_tag_that_is_no_utf_8(kind: str, codec: str) -> None:
    data = mux(tone(1, 48_000), 48_000, kind, codec).replace(b"TITLETITLE", b"TITL\xffTITLE")
    assert b"\xff" in data
    assert abs(len(stream.read(data)) / SAMPLE_RATE - 1) < 0.1


def test_no_other_file_is_read(tmp_path: Path) -> None:
    """Playlists name files that FFmpeg would open."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encode(tone(1)))
    for playlist in (
        f"ffconcat version 1.0\nfile '{secret}'\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXTINF:1,\n{secret}\n",
    ):
        path = tmp_path / "list.m3u8"
        path.write_text(playlist)
        for clip in (path, playlist.encode(), io.BytesIO(playlist.encode())):
            with pytest.raises(ValueError, match="no sound file that can be read"):
                stream.read(clip)


def test_noise_is_no_sound() -> None:
    """FFmpeg's weakest guesses are not asked for."""
    for seed in range(40):
        data = np.random.default_rng(seed).bytes(50_000)
        with pytest.raises(ValueError, match=r"no sound file that can be read|cannot be decoded by FFmpeg"):
            stream.read(data)


def test_the_extra_is_named_for_what_libsndfile_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    data = mux(tone(1), 44_100, "ac3", "ac3")

    def missing(*args: object) -> None:
        raise ImportError("av")

    monkeypatch.setattr(ffmpeg, "decode", missing)
    with pytest.raises(
        ValueError, match=r'no sound file that can be read: .*needs FFmpeg.*pip install "mtslvr\[m4a\]"'
    ):
        stream.read(data)


def test_many_channels() -> None:
    """PyAV reads beyond its planes where there are more than eight."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        track = container.add_stream("pcm_s16le", rate=16_000, layout="hexadecagonal")
        frame = av.AudioFrame.from_ndarray(np.full((1, 16 * 1_600), 1_000, np.int16), "s16", "hexadecagonal")
        frame.sample_rate = 16_000
        container.mux([*track.encode(frame), *track.encode(None)])
    np.testing.assert_allclose(stream.read(file.getvalue()), np.full(1_600, 1_000 / 2**15), atol=1e-6)
