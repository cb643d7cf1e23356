"""Words and notes, with stand-ins for the programs that render them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from training.corpus import rendered
from training.corpus.reader import read_rows

FLUIDSYNTH = Path(rendered.SOUNDFONTS["fluid-soundfont-gm"])


def test_midi_is_the_bytes_that_the_standard_asks_for() -> None:
    expected = (
        b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x00\xf0"  # one track, 240 ticks a quarter note: 480 a second at 120 a minute
        b"MTrk\x00\x00\x00\x17"
        b"\x80\x00\xc0\x18"  # program 24
        b"\x80\x00\x90\x3c\x64"  # middle C on, velocity 100
        b"\x81\x70\x80\x3c\x00"  # off after 240 ticks
        b"\x87\x40\xb0\x78\x00"  # all sound off after 960 more: 2.5 s from the start
        b"\x80\x00\xff\x2f\x00"
    )
    data = rendered.midi([(24, 60, 100, 0.5)])
    assert data[:18] == expected[:18] and data[22:] == expected[22:]
    assert int.from_bytes(data[18:22], "big") == len(data) - 22


def tone(hertz: float) -> Iterator[np.ndarray]:
    time = np.arange(4_000) / 16_000
    yield (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
    yield np.zeros(4_000, np.float32)  # a note that the instrument does not have


def test_a_folder_to_be_packed_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    def sounds(_: Path, rng: random.Random) -> Iterator[np.ndarray]:
        drawn.append(rng.random())
        return tone(440)

    sources = {"espeak-ng-f1": sounds, "fluid-soundfont-gm-reed": sounds}
    monkeypatch.setattr(rendered, "renderers", lambda: sources)
    rendered.main([str(tmp_path)])
    rendered.main([str(tmp_path)])  # nothing is rendered twice
    assert len(drawn) == 2 and drawn[0] != drawn[1]
    rows = read_rows(tmp_path / "sources.csv")
    assert [(row["source"], row["licence"]) for row in rows] == [
        ("espeak-ng-f1", "GPL-3+"),
        ("fluid-soundfont-gm-reed", "MIT"),
    ]
    for source in sources:
        assert [path.name for path in (tmp_path / source).iterdir()] == ["0.flac"]
        samples, rate = soundfile.read(tmp_path / source / "0.flac")
        assert rate == 16_000 and len(samples) == 4_000 and abs(np.abs(samples).max() - 0.5) < 0.01


def test_a_list_of_words_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rendered, "DICTIONARIES", tmp_path)
    rendered.words_of.cache_clear()
    with pytest.raises(ValueError, match="ngerman is missing: install"):
        rendered.words_of("de")
    with pytest.raises(SystemExit, match=r"error: .*ngerman is missing"):
        rendered.main([str(tmp_path / "out")])
    (tmp_path / "ngerman").write_text("Haus\nab\nzu-zweit\nUnwiederbringlichkeit\n", encoding="utf-8")
    assert rendered.words_of("de") == ["Haus"]
    rendered.words_of.cache_clear()


def test_every_source_has_a_licence_and_a_renderer() -> None:
    names = list(rendered.renderers())
    assert len(names) == len(set(names)) == len(rendered.VARIANTS) + len(rendered.FLITE) + 2 * len(rendered.FAMILIES)
    assert all(name.startswith(tuple(rendered.LICENCES)) for name in names)


@pytest.mark.skipif(not (shutil.which("fluidsynth") and FLUIDSYNTH.exists()), reason="needs fluidsynth and a soundfont")
def test_a_note_begins_where_it_is_cut(tmp_path: Path) -> None:
    notes = list(rendered.played("fluid-soundfont-gm", 0, tmp_path, random.Random(0)))
    assert len(notes) == rendered.NOTES and len(notes[0]) == 40_000
    loud = np.array([np.abs(note[:4_000]).max() / np.abs(note).max() for note in notes])  # a piano is loud at once
    assert np.median(loud) > 0.8


@pytest.mark.skipif(not (shutil.which("espeak-ng") and rendered.DICTIONARIES.exists()), reason="needs espeak-ng")
def test_words_are_spoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered, "WORDS", {"espeak-ng": 3})
    monkeypatch.setattr(rendered, "words_of", lambda language: ["Haus", "water"])
    words = list(rendered.spoken("espeak-ng-f1", tmp_path, random.Random(0)))
    assert len(words) == 3 and all(0.2 < len(word) / 16_000 < 2.0 and np.abs(word).max() > 0.05 for word in words)
