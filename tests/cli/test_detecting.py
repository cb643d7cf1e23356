"""mtslvr detect, as its users do it: a classifier over a folder, or a few marked events of one recording."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import mtslvr
from mtslvr import events
from mtslvr.cli.parser import main
from mtslvr.events import Event, read_events, write_events
from mtslvr.storage.assets import DEMO_RECORDINGS

RATE = 16_000
WINDOWS = ("--window", "1", "--hop", "0.5")


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording of three drums and two thunders in noise, stereo at 32 kHz, with the drums' times."""
    from mtslvr.sound import stream

    folder = tmp_path_factory.mktemp("field")
    wave, drums = np.zeros(3 * RATE, np.float32), []
    for kind, i in (("drum", 3), ("thunder", 3), ("drum", 4), ("thunder", 4), ("drum", 5)):
        sound = stream.read(DEMO_RECORDINGS / kind / f"{i}.ogg")[: 2 * RATE]
        if kind == "drum":
            drums.append(Event(len(wave) / RATE, (len(wave) + len(sound)) / RATE, "drum", 1.0))
        wave = np.concatenate([wave, 0.5 * sound / np.abs(sound).max(), np.zeros(3 * RATE, np.float32)])
    wave += 0.003 * np.random.default_rng(0).standard_normal(len(wave)).astype(np.float32)
    (folder / "in").mkdir()
    soundfile.write(folder / "in" / "a.wav", np.repeat(wave, 2)[:, None].repeat(2, 1), 2 * RATE)
    write_events(folder / "first.txt", drums[:1])
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit") / "classifier"
    clips = [DEMO_RECORDINGS / kind / f"{i}.ogg" for kind in ("drum", "thunder") for i in (1, 2)]
    mtslvr.fit_fewshot(clips, ["drum", "drum", "thunder", "thunder"]).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_clips_are_cut_out_as_a_folder_to_learn_from(
    field: Path, classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.selections.txt"
    command = ["detect", str(classifier), str(field / "in" / "a.wav"), *WINDOWS, "-o", str(out)]
    assert main([*command, "--clips", str(tmp_path / "clips")]) == 0
    found = read_events(out)
    clips = sorted((tmp_path / "clips").rglob("*.wav"))
    assert f"clips: {len(found)} clips of" in capsys.readouterr().out and len(clips) == len(found) > 2
    assert {clip.parent.name for clip in clips} <= {"drum", "thunder"}
    original, _ = soundfile.read(field / "in" / "a.wav")
    for event in found:
        samples, rate = soundfile.read(tmp_path / "clips" / event.label / f"a {event.start:.2f}-{event.end:.2f}.wav")
        assert rate == 2 * RATE and samples.shape[1] == 2
        start = round(event.start * rate)
        np.testing.assert_allclose(samples, original[start : start + len(samples)], atol=1e-4)
        assert len(samples) / rate == pytest.approx(event.end - event.start, abs=0.001)


def test_a_folder_into_one_table_goes_on_where_it_was(
    field: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.wav", "b.wav", "c.wav"):
        shutil.copy(field / "in" / "a.wav", tmp_path / "in" / name)
    (tmp_path / "in" / "bad.wav").write_text("no sound")
    asked: list[str] = []
    once = [Event(1.0, 2.25, "drum, 太鼓", 0.5), Event(3.0, 4.0, "thunder", 0.75)]

    def detect(path: Path, *args: Any, **options: Any) -> list[Event]:
        asked.append(path.name)
        if len(asked) == 3:
            raise KeyboardInterrupt
        if path.name == "bad.wav":
            raise ValueError(f"{path} is no sound file")
        return [] if path.name == "b.wav" else once

    monkeypatch.setattr(events, "detect", detect)
    command = ["detect", str(classifier), str(tmp_path / "in"), "-o", str(tmp_path / "out.csv")]
    assert main(command) == 130 and not (tmp_path / "out.csv").exists()
    assert main([*command, "--threshold", "0.6"]) == 2 and "out.csv.parts holds" in capsys.readouterr().err
    assert main(command) == 1
    assert asked == ["a.wav", "b.wav", "bad.wav", "bad.wav", "c.wav"]
    told = capsys.readouterr()
    assert "4 events in 3 recordings; 1 files skipped" in told.out and "bad.wav is no sound file" in told.err
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["path", "start", "end", "label", "confidence"]
    assert [[Path(row[0]).name, *row[1:4]] for row in rows] == [
        [name, start, end, label]
        for name in ("a.wav", "c.wav")
        for start, end, label in (("1.000", "2.250", "drum, 太鼓"), ("3.000", "4.000", "thunder"))
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.csv"]


def test_the_rest_of_what_is_marked(field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rest.txt"
    command = ["detect", "--examples", str(field / "first.txt"), str(field / "in" / "a.wav")]
    assert main([*command, *WINDOWS, "--threshold", "0.5", "-o", str(out)]) == 0
    found, (first,) = read_events(out), read_events(field / "first.txt")
    assert found and {event.label for event in found} == {"drum"}
    assert all(event.start > first.end - 1 for event in found)
    for wrong, message in (
        ([str(field / "in")], "--examples are of one recording"),
        (["--background", "none"], "are for classifiers"),
    ):
        assert main([*command, *wrong]) == 2
        assert message in capsys.readouterr().err


def test_a_classifier_without_a_recording(classifier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", str(classifier)]) == 2
    assert "no recording: give a classifier and at least one" in capsys.readouterr().err


def test_many_recordings_have_one_table(
    classifier: Path, field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["detect", str(classifier), str(field / "in"), "-o", str(tmp_path / "a.txt")]
    assert main(command) == 2
    assert "expected a name that ends in .csv" in capsys.readouterr().err


def test_a_threshold_out_of_reach_is_told_once(
    classifier: Path, field: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["detect", str(classifier), str(field / "in"), *WINDOWS, "--threshold", "1"]
    assert main(command) == 0
    assert capsys.readouterr().err.count("No event will be found") == 1
