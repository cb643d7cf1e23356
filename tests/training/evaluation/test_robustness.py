"""What is done to the queries, and the whole measurement with encoders whose answer is known."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy import signal
from toy_sets import write_tones

from mtslvr.encoder.spaces import Spaces
from mtslvr.sound.clips import clip_of
from training.evaluation import robustness
from training.evaluation.changes import CHANGES
from training.evaluation.datasets.common import Dataset
from training.evaluation.episodes import draw_seeded
from training.evaluation.sets import read

RATE = 16_000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def wave() -> np.ndarray:
    """Two seconds of pink noise at -20 dB."""
    pink = signal.lfilter([1], [1, -0.9], rng(9).standard_normal(2 * RATE))
    return (0.1 * pink / pink.std()).astype(np.float32)


def power(wave: np.ndarray) -> float:
    return float(np.square(wave, dtype=np.float64).mean())


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_changes_and_follows_from_its_generator(name: str, wave: np.ndarray) -> None:
    kept = wave.copy()
    found = CHANGES[name](wave, rng(1))
    assert found.dtype == np.float32 and np.isfinite(found).all()
    np.testing.assert_array_equal(wave, kept)
    np.testing.assert_array_equal(found, CHANGES[name](wave, rng(1)))
    assert len(found) == (len(wave) // 2 if name == "trimmed by half" else len(wave))
    assert not np.array_equal(found[: len(found)], wave[: len(found)])
    for odd in (np.zeros(RATE, np.float32), wave[:1], wave[:700]):  # silence, and next to nothing
        assert np.isfinite(CHANGES[name](odd, rng())).all()


def test_level(wave: np.ndarray) -> None:
    gains = [10 * np.log10(power(CHANGES["level -26 to +6 dB"](wave, rng(i))) / power(wave)) for i in range(300)]
    assert -26 <= min(gains) < -24 and 4 < max(gains) <= 6.001
    loud = wave / np.abs(wave).max()
    assert max(np.abs(CHANGES["level -26 to +6 dB"](loud, rng(i))).max() for i in range(20)) <= 1.0001


@pytest.mark.parametrize("snr_db", [20, 10])
def test_noise(wave: np.ndarray, snr_db: int) -> None:
    added = CHANGES[f"noise, {snr_db} dB SNR"](wave, rng()) - wave
    assert 10 * np.log10(power(wave) / power(added)) == pytest.approx(snr_db, abs=0.2)


@pytest.mark.parametrize(("name", "rate"), [("MP3, 64 kbit/s", 64), ("Opus, 24 kbit/s", 24)])
def test_codecs(wave: np.ndarray, name: str, rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    read_file = soundfile.read

    def read(file: io.BytesIO, **how: str) -> tuple[np.ndarray, int]:
        sizes.append(len(file.getbuffer()))
        return read_file(file, **how)

    monkeypatch.setattr(soundfile, "read", read)
    found = CHANGES[name](wave, rng())
    assert 8 * sizes[0] / 2 / 1000 == pytest.approx(rate, rel=0.2)  # of two seconds
    assert 0.9 < np.corrcoef(found, wave)[0, 1] < 0.9999  # neither late nor untouched


def test_telephone() -> None:
    t = np.arange(RATE) / RATE
    for hertz, passes in ((100, False), (1000, True), (3000, True), (5000, False)):
        tone = np.sin(2 * np.pi * hertz * t).astype(np.float32)
        left = 10 * np.log10(power(CHANGES["telephone band"](tone, rng())) / power(tone))
        assert left > -2 if passes else left < -12


def test_room() -> None:
    click = np.zeros(RATE, np.float32)
    click[1000] = 0.5
    echoed = CHANGES["small room"](click, rng())
    assert power(echoed) == pytest.approx(power(click), rel=1e-3)
    assert np.abs(echoed[:1000]).max() < 1e-6 and np.argmax(np.abs(echoed)) == 1000
    direct, early, late = (np.square(part).sum() for part in (echoed[1000:1001], echoed[1001:3000], echoed[5900:]))
    assert 10 * np.log10(direct / early) == pytest.approx(3, abs=0.5)
    assert late < 1e-9


def samples(clip: Any) -> np.ndarray:
    return np.concatenate([block[:, 0] for block, _ in clip_of(clip, "clip").blocks("clip")])


class Peak:
    """Knows the strongest frequency, which noise and level leave alone, and in "variant" an angle that is both its and the level's."""

    name, fingerprint, standardised, spaces = "peak", "peak", False, Spaces(6, 2)

    def embed(self, clips: list[Any]) -> np.ndarray:
        waves = [samples(clip) for clip in clips]
        tones = [
            np.argmax(np.abs(np.fft.rfft(w))) / len(w) * RATE / 300 for w in waves
        ]  # 1.5 to the power of the class
        classes = [round(np.log(tone) / np.log(1.5)) for tone in tones]
        angles = [i + 2 * np.log(w.std()) for i, w in zip(classes, waves, strict=True)]
        return np.array(
            [[*np.eye(6)[i], np.cos(angle), np.sin(angle)] for i, angle in zip(classes, angles, strict=True)],
            np.float32,
        )


def test_what_is_lost(tmp_path: Path) -> None:
    tones = read("tones", write_tones(tmp_path / "tones"))
    found = robustness.measure(
        Peak(),
        [(tones, [draw_seeded(tones, 100, n_shots=n) for n in (1, 2)])],
        spaces=["invariant", "combined"],
        changes=["level -26 to +6 dB", "noise, 10 dB SNR", "telephone band"],
        folder=tmp_path / "cache",
    )
    assert len(found) == 2 * 2 * 4 * 2  # spaces, shots, clean and changes, the set and the mean
    by_name = {(one.space, one.n_shots, one.change, one.data): one for one in found}
    for change in ("clean", "level -26 to +6 dB", "noise, 10 dB SNR"):
        assert by_name["invariant", 1, change, "tones"].accuracy == 100
        assert by_name["invariant", 1, change, "mean"].lost == 0
    worse = by_name["combined", 1, "level -26 to +6 dB", "mean"]
    assert worse.accuracy < 90
    assert worse.lost == pytest.approx(by_name["combined", 1, "clean", "mean"].accuracy - worse.accuracy)
    assert worse.lost_interval > 0


def test_each_clip_is_changed_in_its_own_way_and_the_seed_decides(tmp_path: Path) -> None:
    tones = read("tones", write_tones(tmp_path / "tones"))
    twice = Dataset("twice", (tones.clips[0], tones.clips[0]))
    (one, _), (other, _) = robustness.changed(twice, "level -26 to +6 dB", 0)
    (again, _), _ = robustness.changed(twice, "level -26 to +6 dB", 0)
    (elsewhere, _), _ = robustness.changed(twice, "level -26 to +6 dB", 1)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other) and not np.array_equal(one, elsewhere)


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        write_tones(tmp_path / "sets" / name)
    arguments = ["--encoder", "logmel", "--data-root", str(tmp_path / "sets"), "--tasks", "50", "--shots", "1", "2"]
    robustness.main([*arguments, "--cache", str(tmp_path / "cache"), "--json", str(tmp_path / "out.json")])
    printed = capsys.readouterr().out
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["settings"]["groups"] == "auto"
    rows = [robustness.Robustness(**one) for one in content["results"]]
    assert {one.change for one in rows} == {"clean", *CHANGES}
    mean = {one.data: one.accuracy for one in rows if (one.n_shots, one.change) == (2, "small room")}
    assert mean["mean"] == pytest.approx((mean["a"] + mean["b"]) / 2)
    assert "logmel/combined, 2-shot" in printed
    for change in CHANGES:
        assert printed.count(f"\n{change} ") == 2
    with pytest.raises(SystemExit, match="error: no data"):
        robustness.main([])
