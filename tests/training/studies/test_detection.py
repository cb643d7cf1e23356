"""Spliced recordings hold what they say they hold, and what is found in them is counted right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.model import MTSLVR
from mtslvr.events import Event
from training.evaluation.datasets.common import Clip, Dataset
from training.studies.detection import Score, find, main, marked, score, table
from training.studies.splice import NOISE, OTHER, Scene, audible, folded, noise, splice

pytestmark = pytest.mark.slow


RATE = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight classes of four clips: a tone of 0.3 s each, a pitch for each class, with silence on both sides."""
    folder = tmp_path_factory.mktemp("tones")
    lines = ["path,label,group"]
    for i in range(32):
        tone = 0.5 * np.sin(2 * np.pi * 200 * 1.4 ** (i % 8) * np.arange(4_800) / RATE)
        soundfile.write(folder / f"{i}.wav", np.concatenate([np.zeros(1_600), tone, np.zeros(1_600)]), RATE)
        lines.append(f"{i}.wav,tone{i % 8},day{i // 8}")
    (folder / "clips.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def tones(folder: Path) -> Dataset:
    return Dataset("tones", tuple(Clip(folder / f"{i}.wav", f"tone{i % 8}", f"day{i // 8}") for i in range(32)))


def scene_of(tones: Dataset, seed: int = 0) -> Scene:
    return splice(tones, np.random.default_rng(seed), n_labels=3, n_shots=2, seconds=40)


def test_a_scene_is_what_it_says(tones: Dataset) -> None:
    scene = scene_of(tones)
    assert scene.wave.shape == (40 * RATE,) and scene.wave.dtype == np.float32
    labels = [label for _, label in scene.support]
    assert {label: labels.count(label) for label in labels} == dict.fromkeys({*labels}, 2)
    assert {NOISE, OTHER} < {*labels} and len({*labels}) == 5
    assert {event.label for event in scene.events} <= {*labels} - {NOISE, OTHER}
    assert len(scene.events) > 5
    assert all(event.end - event.start == pytest.approx(0.3, abs=0.021) for event in scene.events)
    for event in scene.events:
        inside = scene.wave[round(event.start * RATE) : round(event.end * RATE)]
        before = scene.wave[round((event.start - 0.4) * RATE) : round(event.start * RATE)]
        assert inside.std() > 3 * before.std(), "20 dB, +- 6"
        spectrum = np.abs(np.fft.rfft(inside))
        pitch = np.argmax(spectrum) * RATE / len(inside)
        assert pitch == pytest.approx(200 * 1.4 ** int(str(event.label)[-1]), rel=0.03)


def test_a_scene_follows_from_its_seed(tones: Dataset) -> None:
    np.testing.assert_array_equal(scene_of(tones).wave, scene_of(tones).wave)
    assert not np.array_equal(scene_of(tones).wave, scene_of(tones, 1).wave)


def test_no_group_is_learnt_and_spliced(tones: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    def remembering(path: Path, rng: np.random.Generator) -> np.ndarray:
        taken.append(f"day{int(path.stem) // 8}")
        return audible(path, rng)

    monkeypatch.setattr("training.studies.splice.audible", remembering)
    for seed in range(5):
        taken.clear()
        scene = scene_of(tones, seed)
        n_learnt = len(scene.support) - 2
        assert not set(taken[:n_learnt]) & set(taken[n_learnt:])


def test_a_clip_is_cut_to_what_is_audible_at_about_one_level(tones: Dataset) -> None:
    rng = np.random.default_rng(0)
    for clip in tones.clips[:4]:
        wave = audible(clip.path, rng)
        assert len(wave) / RATE == pytest.approx(0.3, abs=0.021)
        assert -26.1 < 20 * np.log10(wave.std()) < -13.9


def test_noise_is_pink_and_of_its_level() -> None:
    wave = noise(RATE * 4, np.random.default_rng(0), -30)
    assert 20 * np.log10(wave.std()) == pytest.approx(-30, abs=0.01)
    power = np.abs(np.fft.rfft(wave)) ** 2
    octaves = [power[400 * 2**i : 800 * 2**i].sum() for i in range(4)]
    np.testing.assert_allclose(octaves, octaves[0], rtol=0.2)


def test_sets_that_are_too_small(tones: Dataset) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="tones has 8 classes; 7 labels need 9"):
        splice(tones, rng, n_labels=7)
    with pytest.raises(ValueError, match=r"too few clips of tone\d for 4 examples and others to find"):
        splice(tones, rng, n_shots=4)


def event(start: float, end: float, label: str = "a") -> Event:
    return Event(start, end, label, 1.0)


def test_matching_is_one_to_one_and_by_the_longest_overlap() -> None:
    true = [event(0, 2), event(3, 5), event(6, 7, "b")]
    assert score(true, true) == Score(3, 3, (0, 0, 0))
    assert score(true, []) == Score(3, 0, ())
    assert score([], true) == Score(0, 3, ())
    assert score(true, [event(0, 6)]) == Score(3, 1, (3,)), "one event is one hit"
    assert score(true, [event(0.1, 0.5), event(0.5, 2)]) == Score(3, 2, (0.5,)), "the longer of two pieces"
    assert score(true, [event(2, 3), event(6, 7)]) == Score(3, 2, ()), "touching, and another label"
    found = score(true, [event(0.25, 2), event(8, 9)])
    assert (found.precision, found.recall, found.f1) == (1 / 2, 1 / 3, 2 / 5)
    assert score([], []).f1 == 0


def test_right_events_share_enough_time() -> None:
    true = [event(0, 10)]
    assert score(true, [event(0, 3)], iou=0.3) == Score(1, 1, ()), "0.3 is not above 0.3"
    assert score(true, [event(0, 3.1)], iou=0.3) == Score(1, 1, (0,))
    assert score(true, [event(5, 15)], iou=0.3) == Score(1, 1, (5,)), "5 of 15"


def test_the_first_events_of_each_label_are_given() -> None:
    events = [event(i, i + 0.5, label) for i, label in enumerate("aababba")]
    given, rest = marked(Scene(np.zeros(1, np.float32), tuple(events), ()), n=2)
    assert [e.start for e in given] == [0, 1, 2, 4] and [e.start for e in rest] == [3, 5, 6]


def test_a_folded_scene_holds_both_halves() -> None:
    wave = np.arange(8 * RATE, dtype=np.float32)
    events = (event(0, 1), event(1, 2, "b"), event(3.5, 4.5), event(4.5, 5.5), event(6, 7, "b"))
    scene = folded(Scene(wave, events, ()))
    np.testing.assert_array_equal(scene.wave, wave[: 4 * RATE] + wave[4 * RATE :])
    assert [(e.start, e.end, e.label) for e in scene.events] == [(0, 1.5, "a"), (1, 3, "b")], (
        "what is of one label is joined"
    )


def test_table() -> None:
    rows = [(["none", "1"], [Score(4, 5, (0.1, 0.3)), Score(2, 0, ())]), (["auto", "0.5"], [Score(1, 0, ())] * 2)]
    assert table(rows, ["reject", "window"], ["x", "drums"]).splitlines() == [
        "reject  window   x  drums  precision  recall  F1  onset",
        "  none       1  44      0         20      25  22   0.20",
        "  auto     0.5   0      0          0       0   0      -",
    ]


def test_examples_of_the_background_make_no_events(tones: Dataset) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MTSLVR(EncoderConfig(adapter="bn", head_dim=8))
    scene = scene_of(tones)
    scene = Scene(scene.wave[: 15 * RATE], tuple(e for e in scene.events if e.end <= 15), scene.support)
    for background in ("noise", "auto"):
        found = find(scene, model, background, window=0.5, hop=0.5, threshold=0.3, min_duration=0.0)
        assert {event.label for event in found} <= {label for _, label in scene.support} - {NOISE, OTHER}


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        MTSLVR(EncoderConfig(adapter="bn", head_dim=8)).save_pretrained(tmp_path / "model")
    command = ["--model", str(tmp_path / "model"), "--cache", str(tmp_path / "cache"), "--seconds", "8", "--shots", "2"]
    options = ["--window", "0.5", "1", "--hop", "1", "0.5", "--reject", "none", "auto", "1.5"]
    main([*command, *options, "--data", f"tones={folder}"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("1 recordings of 8 s, ")
    assert printed[2].split() == [
        "background",
        "reject",
        "window",
        "hop",
        "threshold",
        "shortest",
        "tones",
        "precision",
        "recall",
        "F1",
        "onset",
    ]
    assert len(printed) == 3 + 3 * 3, "a hop longer than the window is left out"
    main(
        [
            *command,
            "--seconds",
            "60",
            "--protocol",
            "marked",
            "--iou",
            "0.3",
            "--window",
            "1",
            "--hop",
            "1",
            "--data",
            f"tones={folder}",
        ]
    )
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("1 recordings of 60 s, ") and printed[0].endswith("5 examples per label; %, and s")
    assert printed[3].split()[:6] == ["auto", "none", "1", "1", "0.7", "0.5"]
    with pytest.raises(SystemExit, match="error: tones: too few clips"):
        main([*command, "--shots", "9", "--data", f"tones={folder}"])
