"""Every kind of clip, every format, every error; and that samples depend on nothing but the sound."""

from __future__ import annotations

import builtins
import io
import math
import struct
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly
from sound_files import RATE, encode, noise

from mtslvr.sound import decode, stream
from mtslvr.sound.stream import SAMPLE_RATE, WINDOW

SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_all(clips_of: object, **kwargs: object) -> list[np.ndarray]:
    """What a model does: read every clip of `stream.clips`."""
    _, named = stream.clips(clips_of, **kwargs)
    return [stream.read(clip, name=name) for name, clip in named]


class Pipe(io.RawIOBase):
    """A binary file that cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        return self._file.readinto(buffer)


class Decoder:
    """Looks like torchcodec's AudioDecoder."""

    def __init__(self, data: torch.Tensor, rate: int) -> None:
        self._samples = SimpleNamespace(data=data, sample_rate=rate)

    def get_all_samples(self) -> SimpleNamespace:
        return self._samples


# The same sound, however it comes


def test_all_kinds_of_one_clip_are_the_same_clip(tmp_path: Path) -> None:
    x = noise(30_001, channels=2)
    wav = encode(x)
    path = tmp_path / "ä b.wav"
    path.write_bytes(wav)
    want = soxr.resample(x.mean(axis=1), RATE, SAMPLE_RATE, quality="HQ")
    tensor = torch.from_numpy(x.T.copy())
    kinds = [
        path,
        str(path),
        wav,
        bytearray(wav),
        memoryview(wav),
        io.BytesIO(wav),
        Pipe(wav),
        (x, RATE),
        (x.T, RATE),
        (np.asfortranarray(x), np.int64(RATE)),
        (x.astype(np.float64), float(RATE)),
        ((x * 2**15).astype(np.int16), RATE),
        ((x * 2**15).astype(">i2"), RATE),
        ((x * 2**15).astype(np.int32) * 2**16, RATE),
        (tensor, RATE),
        (tensor.double().requires_grad_(), torch.tensor(RATE)),
        {"array": x, "sampling_rate": RATE, "path": None},
        {"raw": x, "sampling_rate": RATE},
        {"array": x.T.tolist(), "sample_rate": RATE},
        {"bytes": wav, "path": "elsewhere.wav"},
        {"bytes": None, "path": str(path)},
        Decoder(tensor, RATE),
    ]
    for kind in kinds:
        got = stream.read(kind)
        assert got.dtype == np.float32 and got.ndim == 1
        np.testing.assert_array_equal(got, want, err_msg=repr(kind)[:80])
    one, named = stream.clips(kinds[0])
    assert one and [name for name, _ in named] == [str(path)]
    several, named = stream.clips(kinds[i] for i in range(len(kinds)))
    assert not several and len(list(named)) == len(kinds)


def test_an_open_file_is_read_from_its_beginning_and_left_open() -> None:
    file = io.BytesIO(encode(noise(1_000)))
    file.seek(500)
    first = stream.read(file)
    np.testing.assert_array_equal(first, stream.read(file))
    assert not file.closed


@pytest.mark.parametrize(
    ("kind", "subtype", "rate", "tolerance"),
    [
        ("WAV", "PCM_U8", 44_100, 2**-7),
        ("WAV", "PCM_16", 44_100, 0),
        ("WAV", "PCM_24", 96_000, 0),
        ("WAV", "PCM_32", 8_000, 0),
        ("WAV", "FLOAT", 48_000, 0),
        ("WAV", "DOUBLE", 16_000, 0),
        ("WAVEX", "PCM_16", 22_050, 0),
        ("RF64", "PCM_16", 22_050, 0),
        ("AIFF", "PCM_16", 44_100, 0),
        ("CAF", "PCM_16", 44_100, 0),
        ("AU", "PCM_16", 44_100, 0),
        ("FLAC", "PCM_16", 44_100, 0),
        ("FLAC", "PCM_24", 48_000, 0),
        ("OGG", "VORBIS", 44_100, 0.1),
        ("OGG", "OPUS", 48_000, 0.1),
        ("MP3", "MPEG_LAYER_III", 44_100, 0.1),
    ],
)
def test_formats(tmp_path: Path, kind: str, subtype: str, rate: int, tolerance: float) -> None:
    t = np.arange(rate) / rate
    x = np.round(np.stack([np.sin(2 * np.pi * 440 * t), np.sin(2 * np.pi * 660 * t)], axis=1) * 2**13) / 2**15
    path = tmp_path / f"tone.{kind.lower()}"
    path.write_bytes(encode(x, rate, kind, subtype))
    got, want = stream.read(path), stream.read((x, rate))
    assert len(got) == len(want) == SAMPLE_RATE
    middle = slice(2_000, -2_000)  # lossy codecs ring at the ends
    assert np.abs(got[middle] - want[middle]).max() <= tolerance
    if tolerance == 0:
        np.testing.assert_array_equal(got, want)


@pytest.mark.slow
@SETTINGS
@given(rate=st.integers(1_000, 200_000), n=st.integers(110, 20_000), block=st.integers(1, 3_000), data=st.data())
def test_samples_do_not_depend_on_block_boundaries(rate: int, n: int, block: int, data: st.DataObject) -> None:
    x = noise(n, channels=data.draw(st.sampled_from([1, 2, 9])))
    want = stream.read((x, rate))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtslvr.sound.kinds.BLOCK", block)
        np.testing.assert_array_equal(stream.read((x, rate)), want)
    assert abs(len(want) - n * SAMPLE_RATE / rate) <= 0.5 + 1e-6
    mono = x if x.ndim == 1 else x.mean(axis=1)
    if rate != SAMPLE_RATE:
        np.testing.assert_allclose(want, soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ"), atol=1e-6)


@pytest.mark.parametrize(("kind", "subtype"), [("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)])
def test_decoding_does_not_depend_on_block_boundaries(kind: str, subtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(noise(100_000, 2), 48_000, kind, subtype)
    want = stream.read(data)
    for block in (1_000, 4_097):
        monkeypatch.setattr(decode, "BLOCK", block)
        np.testing.assert_array_equal(stream.read(data), want)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 44_101, 48_000, 96_000])
def test_a_tone_keeps_its_frequency_and_amplitude(rate: int) -> None:
    x = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(2 * rate) / rate)
    y = stream.read((x, rate))
    want = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE)
    assert np.abs(y - want)[1_000:-1_000].max() < 1e-3


def test_what_16_khz_cannot_hold_is_gone() -> None:
    x = 0.5 * np.sin(2 * np.pi * 8_500 * np.arange(2 * RATE) / RATE)
    assert np.abs(stream.read((x, RATE)))[1_000:-1_000].max() < 1e-5


def below_3_khz() -> np.ndarray:
    """float64 [96000] at 48 kHz."""
    return resample_poly(np.random.default_rng(0).standard_normal(16_000) * 0.1, 8, 1)[:96_000]


def test_resampling_equals_scipy() -> None:
    x = below_3_khz()
    y = stream.read((x, 48_000))
    np.testing.assert_allclose(y[1_000:-1_000], resample_poly(x, 1, 3)[1_000:-1_000], atol=5e-4)


def test_resampling_equals_torchaudio(torchaudio: ModuleType) -> None:
    x = below_3_khz()
    y = stream.read((x, 48_000))
    oracle = torchaudio.functional.resample(torch.from_numpy(x), 48_000, SAMPLE_RATE, lowpass_filter_width=64)
    np.testing.assert_allclose(y[1_000:-1_000], oracle.numpy()[1_000:-1_000], atol=2e-4)


# One clip or several


def test_lists_iterables_and_2d_arrays_are_several_clips(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encode(noise(441)))
    mixed = [path, (noise(441), RATE), {"array": noise(160), "sampling_rate": SAMPLE_RATE}]
    for several in (mixed, tuple(mixed), iter(mixed), (clip for clip in mixed)):
        assert [len(x) for x in read_all(several)] == [160, 160, 160]
    names = [name for name, _ in stream.clips(mixed)[1]]
    assert names == [f"clip 0 ({path})", "clip 1", "clip 2"]
    assert not stream.clips((path, path))[0]
    x = noise(3 * 100).reshape(3, 100)
    for batch in (x, torch.from_numpy(x)):
        one, named = stream.clips(batch, sample_rate=SAMPLE_RATE)
        assert not one
        np.testing.assert_array_equal(np.stack([stream.read(clip) for _, clip in named]), x)
    assert not stream.clips([path])[0]


def test_several_clips_are_read_lazily() -> None:
    def endless():
        while True:
            yield (noise(100), SAMPLE_RATE)

    _, named = stream.clips(endless())
    assert [next(named)[0] for _ in range(3)] == ["clip 0", "clip 1", "clip 2"]


def test_a_bare_array_is_16_khz_with_one_warning() -> None:
    x = noise(1_600)
    for bare in (x, torch.from_numpy(x), [x, x, x], x.reshape(2, 800)):
        with pytest.warns(UserWarning, match="16,000 Hz is assumed. Give sample_rate=") as caught:
            got = read_all(bare)
        assert len(caught) == 1
        np.testing.assert_array_equal(got[0], x[: len(got[0])])
    with pytest.warns(UserWarning, match="without a sample rate") as caught:
        stream.read(x)
    assert len(caught) == 1


def test_sample_rate_is_for_bare_arrays_only() -> None:
    x = noise(4_800)
    bare, pair, file = read_all([x, (x, 16_000), encode(x, 32_000)], sample_rate=48_000)
    assert [len(bare), len(pair), len(file)] == [1_600, 4_800, 2_400]
    assert len(stream.read(x, 48_000)) == 1_600


# Windows


@SETTINGS
@given(
    n=st.integers(1, 200_000),
    hop=st.floats(0.3, 7, allow_nan=False),
    window=st.one_of(st.just(5.0), st.floats(0.2, 5, allow_nan=False)),
    block=st.sampled_from([5_000, 80_000, 65_536]),
)
def test_windows_against_their_definition(n: int, hop: float, window: float, block: int) -> None:
    x = noise(n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtslvr.sound.kinds.BLOCK", block)
        got = list(stream.windows((x, SAMPLE_RATE), hop=hop, window=window))
    starts, n_window = [0], round(window * SAMPLE_RATE)
    while starts[-1] + n_window < n and starts[-1] + round(hop * SAMPLE_RATE) < n:
        starts.append(starts[-1] + round(hop * SAMPLE_RATE))
    assert [start for _, start, _ in got] == [s / SAMPLE_RATE for s in starts]
    for (wave, _, end), start in zip(got, starts, strict=True):
        part = x[start : start + n_window]
        assert wave.dtype == np.float32 and wave.shape == (WINDOW,)
        assert end == (start + len(part)) / SAMPLE_RATE
        np.testing.assert_array_equal(wave, part[np.arange(WINDOW) % len(part)])


@SETTINGS
@given(n=st.integers(3, 400_000), rate=st.sampled_from([8_000, 16_000, 44_100]))
def test_the_windows_of_hop_5_are_the_recording(n: int, rate: int) -> None:
    x = noise(n)
    whole = stream.read((x, rate))
    parts = [window[: round((end - start) * SAMPLE_RATE)] for window, start, end in stream.windows((x, rate))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(("seconds", "hop", "times"), [
    (5.0, 5.0, [(0, 5)]),
    (10.0, 5.0, [(0, 5), (5, 10)]),
    (10.0, 2.5, [(0, 5), (2.5, 7.5), (5, 10)]),
    (6.0, 2.5, [(0, 5), (2.5, 6)]),
    (6.0, 10, [(0, 5)]),
    (12.0, 10, [(0, 5), (10, 12)]),
    (1.0, 0.1, [(0, 1)]),
])  # fmt: skip
def test_window_times(seconds: float, hop: float, times: list[tuple[float, float]]) -> None:
    x = noise(int(seconds * SAMPLE_RATE))
    assert [(start, end) for _, start, end in stream.windows((x, SAMPLE_RATE), hop=hop)] == times


def test_windows_do_not_share_memory_with_each_other_or_the_input() -> None:
    x = noise(3 * WINDOW)
    before = x.copy()
    for window, _, _ in stream.windows((x, SAMPLE_RATE), hop=1.0):
        window[:] = 7
    for block in stream.blocks((x, SAMPLE_RATE)):
        block[:] = 7
    np.testing.assert_array_equal(x, before)


def test_the_smallest_hop_and_window_are_a_sample() -> None:
    starts = [start for _, start, _ in stream.windows((noise(WINDOW + 3), SAMPLE_RATE), hop=1e-9)]
    assert starts == [0, 1 / SAMPLE_RATE, 2 / SAMPLE_RATE, 3 / SAMPLE_RATE]
    x = np.array([0.1, 0.2], np.float32)
    waves = [wave for wave, _, _ in stream.windows((x, SAMPLE_RATE), hop=1e-9, window=1e-9)]
    np.testing.assert_array_equal(waves, [np.full(WINDOW, x[0]), np.full(WINDOW, x[1])])


@pytest.mark.parametrize("name", ["hop", "window"])
@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, "5", None, True])
def test_a_hop_or_window_that_is_none(name: str, seconds: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"{name} is .*expected seconds"):
        next(stream.windows((noise(10), SAMPLE_RATE), **{name: seconds}))


def test_a_window_of_more_than_5_s() -> None:
    with pytest.raises(ValueError, match=r"window is 5\.01; expected seconds, more than 0, at most 5"):
        next(stream.windows((noise(10), SAMPLE_RATE), window=5.01))


@pytest.mark.slow
def test_ten_minutes_in_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    minute = noise(60 * RATE, 2)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for _ in range(10):
            file.write(minute)
    int16 = np.memmap(path, dtype=np.int16, mode="r", offset=44).reshape(-1, 2)
    tracemalloc.start()
    n_file = sum(1 for _ in stream.windows(path))
    n_array = sum(1 for _ in stream.windows((int16, RATE)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_file == n_array == 120
    assert peak < 8e6  # bytes; the file decoded to float32 is 212 MB


# Errors


def damaged() -> dict[str, tuple[bytes, str]]:
    """Name: content, and what its error says."""
    x = noise(RATE, 2)
    wav, aiff, flac = encode(x), encode(x, kind="AIFF"), encode(x, kind="FLAC")
    vorbis, opus = encode(x, kind="OGG", subtype="VORBIS"), encode(x, 48_000, "OGG", "OPUS")
    nan = x.copy()
    nan[30_000:30_010, 1] = np.nan
    return {
        "zero.wav": (b"", "empty file: it has 0 bytes"),
        "text.wav": (b"this is a text file, not a sound\n" * 50, "no sound file .* begins with b'this is a text"),
        "html.mp3": (b"<!DOCTYPE html><html></html>", "no sound file"),
        "half.wav": (wav[: len(wav) // 2], "half.wav is cut short.* bytes of sound of 176,400"),
        "almost.wav": (wav[:-100], "almost.wav is cut short"),
        "header.wav": (wav[:44], "header.wav is cut short"),
        "part-of-header.wav": (wav[:30], "damaged or cut short"),
        "rf64.wav": (encode(x, kind="RF64")[:-1_000], "cut short"),
        "half.aiff": (aiff[: len(aiff) // 2], "cut short"),
        "half.flac": (flac[: len(flac) // 2], "cut short"),
        "almost.flac": (flac[:-100], "cut short"),
        "half.ogg": (vorbis[: len(vorbis) // 2], "cut short"),
        "half.opus": (opus[: len(opus) // 2], "cut short"),
        "empty.wav": (encode(x[:0]), "empty.wav is empty: it has no samples"),
        "nan.wav": (encode(nan, subtype="FLOAT"), "NaN.*: 10 within .* nan at sample 30,000 \\(0.680 s\\)"),
        "slow.wav": (encode(x, 100), "rate of 100 Hz; expected 1,000 to"),
        "samples.raw": (x.tobytes(), "samples.raw is no sound file.*np.fromfile"),
    }


@pytest.mark.parametrize("name", damaged())
def test_damaged_files(name: str, tmp_path: Path) -> None:
    content, message = damaged()[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        stream.read(path)
    assert str(path) in str(raised.value)
    if name != "samples.raw":
        with pytest.raises(ValueError, match="the clip"):
            stream.read(content)
    with pytest.raises(ValueError, match="clip 1 \\("):
        read_all([(noise(100), RATE), path])


def test_a_cut_wav_with_an_odd_chunk_before_its_sound() -> None:
    wav = encode(noise(1_000))
    wav = wav[:36] + b"note" + struct.pack("<I", 3) + b"abc\0" + wav[36:]
    stream.read(wav)
    with pytest.raises(ValueError, match="holds 1,500 bytes of sound of 2,000"):
        stream.read(wav[:-500])


def flac_cut_between_frames() -> bytes:
    flac = encode(noise(RATE), kind="FLAC")
    return flac[: flac.rindex(b"\xff\xf8")]


def test_a_flac_cut_between_two_frames() -> None:
    with pytest.raises(ValueError, match=r"cut short: it holds .* frames of 44,100"):
        stream.read(flac_cut_between_frames())


def test_a_flac_of_unknown_length_is_whole() -> None:
    x = noise(RATE)
    flac = bytearray(encode(x, kind="FLAC"))
    flac[21] &= 0xF0  # the lower half of this byte and the next four: the number of samples
    flac[22:26] = bytes(4)
    np.testing.assert_array_equal(stream.read(bytes(flac)), stream.read((x, RATE)))


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000])
@pytest.mark.parametrize("pipe", [False, True])
def test_a_wav_whose_writer_could_not_fill_in_its_size_is_whole(size: int, pipe: bool) -> None:
    x = noise(RATE, 2)
    wav = bytearray(encode(x))
    wav[4:8] = struct.pack("<I", min(size + 36, 0xFFFFFFFF) if size else 0)
    wav[40:44] = struct.pack("<I", size)
    got = stream.read(Pipe(bytes(wav)) if pipe else bytes(wav))
    np.testing.assert_array_equal(got, stream.read((x, RATE)))


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    for bad, message in {
        str(tmp_path / "missing.wav"): "no such file: .*missing.wav",
        str(tmp_path): "is a folder; give its files",
        "https://example.org/dog.wav": "is a URL; download it first",
        "": "no such file",
    }.items():
        with pytest.raises(ValueError, match=message):
            stream.read(bad)
    with pytest.raises(TypeError, match='open it with open\\(path, "rb"\\)'):
        stream.read(io.StringIO("text"))


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "uint16", "int64", "bool", "complex64", "U3", "object", "longdouble"]
)
def test_dtypes_that_are_no_samples(dtype: str) -> None:
    with pytest.raises(TypeError, match=r"expected float16, .*Convert it to float32 in \[-1, 1\]"):
        stream.read((np.ones(100).astype(dtype), RATE))


def test_tensor_dtypes() -> None:
    for dtype in (torch.int64, torch.bfloat16, torch.complex64):
        with pytest.raises(TypeError, match=f"array of {str(dtype).removeprefix('torch.')}"):
            stream.read((torch.ones(100).to(dtype), RATE))
    half = torch.from_numpy(noise(160)).half()
    np.testing.assert_array_equal(stream.read((half, SAMPLE_RATE)), half.float().numpy())


@pytest.mark.parametrize("rate", [0, -1, 44.1, 999, 1_000_001, math.nan, math.inf, -math.inf, 10**400])
def test_rates_that_are_absurd(rate: float) -> None:
    with pytest.raises(ValueError, match=r"rate of .* Hz; expected 1,000 to 1,000,000"):
        stream.read((noise(100), rate))
    with pytest.raises(ValueError, match="sample_rate: a rate of"):
        stream.clips(noise(100), sample_rate=rate)


@pytest.mark.parametrize("rate", [True, None, 1j, bytes, object()])
def test_rates_that_are_no_numbers(rate: object) -> None:
    with pytest.raises(TypeError, match=r"a rate of type .*; expected a number of Hz"):
        stream.read((noise(100), rate))


def test_shapes() -> None:
    for shape, message in {
        (): "shape \\[\\]",
        (2, 3, 4): "shape \\[2, 3, 4\\]",
        (40, 1_000): "40 channels",
        (0,): "no samples",
        (0, 2): "no samples",
        (2, 0): "no samples",
    }.items():
        with pytest.raises(ValueError, match=message):
            stream.read((np.zeros(shape, np.float32), RATE))
    for shape in ((), (2, 3, 4)):
        for bare in (np.zeros(shape, np.float32), torch.zeros(shape)):
            with pytest.raises(ValueError, match="without a rate"):
                read_all(bare)
    with pytest.raises(ValueError, match=r"clip 1 .* without a rate.*\(array, rate\)"):
        read_all([noise(10), np.zeros((2, 100), np.float32)], sample_rate=RATE)


@pytest.mark.parametrize("shape", [(1_000, 2), (1_000, 1), (33, 32)])
def test_samples_first_given_for_clips_first(shape: tuple[int, int]) -> None:
    for batch in (np.zeros(shape, np.float32), torch.zeros(shape)):
        with pytest.raises(ValueError, match=r"looks like \[samples, channels\].*\(array, rate\).*array.T"):
            stream.clips(batch, sample_rate=RATE)


def test_what_is_no_clip() -> None:
    for nothing in ([], (), iter([]), np.zeros((0, 100), np.float32)):
        with pytest.raises(ValueError, match=r"empty .*at least one clip"):
            stream.clips(nothing)
    for numbers in ([0.0, 0.1], [1, 2, 3], (16_000, noise(10)), [np.float32(1)]):
        with pytest.raises(TypeError, match=r"begins with a number.*np.asarray.*\(array, rate\)"):
            stream.clips(numbers)
    for other in (None, 3, object()):
        with pytest.raises(TypeError, match="expected a path, bytes"):
            stream.clips(other)
        with pytest.raises(TypeError, match="expected a path, bytes"):
            stream.read(other)
    for nested in ([[0.0, 0.1]], [None], [["a.wav"]]):
        with pytest.raises(TypeError, match="clip 0 is of type"):
            read_all(nested)
    with pytest.raises(TypeError, match=r"pair of str and int.*A file knows its own rate"):
        stream.read(("a.wav", RATE))
    for mapping, message in (
        ({"array": noise(10)}, 'without "sampling_rate"'),
        ({"audio": 3}, "keys \\['audio'\\]; expected"),
        ({}, "expected"),
    ):
        with pytest.raises(ValueError, match=message):
            stream.read(mapping)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, -1e12])
@pytest.mark.parametrize("at", [0, 70_000])
def test_samples_that_are_no_numbers(bad: float, at: int) -> None:
    x = noise(100_000, 2).astype(np.float64)
    x[at, 0] = bad
    with pytest.raises(ValueError, match=f"NaN, infinite or absurdly large: 1 within .* at sample {at:,} "):
        stream.read((x, RATE))


def test_opposite_infinities_in_two_channels_are_found_before_the_mean() -> None:
    with pytest.raises(ValueError, match="infinite"):
        stream.read((np.array([[np.inf], [-np.inf]]).repeat(50, axis=1), RATE))


def test_the_shortest_clips() -> None:
    assert len(stream.read((np.ones(2, np.float32), RATE))) == 1
    with pytest.raises(ValueError, match="too short: less than one sample"):
        stream.read((np.ones(1, np.float32), RATE))
    window, start, end = next(stream.windows((np.full(1, 0.5, np.float32), SAMPLE_RATE)))
    assert (window == 0.5).all() and (start, end) == (0, 1 / SAMPLE_RATE)


# Warnings


def test_silence_warns_once_and_only_if_all_of_it_is_silent() -> None:
    zeros = np.zeros(200_000, np.float32)
    with pytest.warns(UserWarning, match="silence: every sample is 0") as caught:
        assert not stream.read((zeros, RATE)).any()
    assert len(caught) == 1
    zeros[-1] = 1e-6
    stream.read((zeros, RATE))  # warnings are errors
    left = np.stack([noise(1_000), -noise(1_000)])
    with pytest.warns(UserWarning, match="silence"):
        stream.read((left, RATE))


def test_floats_that_look_like_integers_warn() -> None:
    x = noise(200_000) * 2**15
    with pytest.warns(UserWarning, match="full scale is 1. Divide 16-bit samples by 32768") as caught:
        stream.read((x, RATE))
    assert len(caught) == 1
    stream.read((noise(1_000) * 100, RATE))  # loud, but hardly integers


# M4A


def m4a(x: np.ndarray, kind: str = "ipod") -> bytes:
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        track = container.add_stream("aac", rate=RATE, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(x.T), format="fltp", layout="stereo")
        frame.sample_rate = RATE
        packets = [p for f in [frame, None] for p in track.encode(f)]
        container.mux(packets)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["ipod", "mp4", "mov", "adts", "matroska"])
def test_m4a_and_its_kin(kind: str, tmp_path: Path) -> None:
    t = np.arange(3 * RATE) / RATE
    x = (0.25 * np.sin(2 * np.pi * np.outer(t, [440, 440]))).astype(np.float32)
    path = tmp_path / "memo.m4a"
    path.write_bytes(m4a(x, kind))
    y = stream.read(path)
    assert abs(len(y) - 3 * SAMPLE_RATE) < 2_000  # AAC pads to its frames
    spectrum = np.abs(np.fft.rfft(y[8_000:40_000] * np.hanning(32_000)))
    assert abs(spectrum.argmax() / 2 - 440) <= 0.5  # Hz
    assert 0.24 < np.abs(y[8_000:40_000]).max() < 0.26
    np.testing.assert_array_equal(stream.read(io.BytesIO(path.read_bytes())), y)


@pytest.mark.parametrize("kind", ["ipod", "adts", "matroska"])
def test_a_damaged_m4a(kind: str) -> None:
    data = m4a(noise(5 * RATE, 2), kind)
    with pytest.raises(ValueError, match="cut short"):
        stream.read(data[: len(data) // 2])


@pytest.mark.parametrize("head", [b"\0\0\0\x20ftypM4A ", b"\xff\xf1P\x80", b"\x1aE\xdf\xa3", b"#!AMR\n"])
def test_m4a_without_the_extra_names_it(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_av(name: str, *args: object, **kwargs: object) -> object:
        if name == "av":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", no_av)
    with pytest.raises(ValueError, match=r'pip install "mtslvr\[m4a\]"'):
        stream.read(head + bytes(100))


# Properties


@SETTINGS
@given(
    dtype=st.sampled_from(["float16", "float32", "float64", "int16", "int32", ">i2", "<f4"]),
    shape=st.one_of(st.tuples(st.integers(1, 4_000)), st.tuples(st.integers(1, 32), st.integers(33, 3_000))),
    rate=st.one_of(st.integers(1_000, 32_000), st.floats(1_000, 32_000)),
    as_tensor=st.booleans(),
    transposed=st.booleans(),
)
def test_every_array_gives_finite_mono(
    dtype: str, shape: tuple[int, ...], rate: float, as_tensor: bool, transposed: bool
) -> None:
    rng = np.random.default_rng(0)
    scale = np.iinfo(dtype).max if np.dtype(dtype).kind == "i" else 1
    x = (rng.uniform(-1, 1, shape) * scale).astype(dtype)
    x = x.T if transposed else x
    clip = torch.from_numpy(x.astype(x.dtype.newbyteorder("=")).copy()) if as_tensor else x
    y = stream.read((clip, rate))
    assert y.dtype == np.float32 and y.ndim == 1 and np.isfinite(y).all() and 0 < np.abs(y).max() < 3
    assert abs(len(y) - max(shape) * SAMPLE_RATE / rate) <= 0.5 + 1e-6


@SETTINGS
@given(
    content=st.binary(max_size=300), head=st.sampled_from([b"", b"RIFF", b"OggS\0", b"fLaC", b"FORM", b"RF64", b"ID3"])
)
def test_arbitrary_bytes_give_a_value_error_or_sound(content: bytes, head: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert np.isfinite(stream.read(head + content)).all()
        except ValueError as error:
            assert "the clip" in str(error)


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, mtslvr.sound.stream; sys.exit('torch' in sys.modules or 'av' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
