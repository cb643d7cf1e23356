"""Events on disk: each layout reads back, and what has another layout says where."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtslvr.events import Event, read_events, write_events

EVENTS = [Event(0.25, 1.5, "dog", 0.75), Event(61.0, 62.00049, "cat, \tsleepy\n", 0.5)]


def test_a_table_reads_back(tmp_path: Path) -> None:
    write_events(tmp_path / "events.csv", EVENTS)
    with open(tmp_path / "events.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["start", "end", "label", "confidence"],
            ["0.250", "1.500", "dog", "0.750"],
            ["61.000", "62.000", "cat, \\tsleepy\\n", "0.500"],
        ]


def test_a_label_track_for_audacity(tmp_path: Path) -> None:
    write_events(str(tmp_path / "labels.txt"), EVENTS)
    assert (tmp_path / "labels.txt").read_text() == "0.250000\t1.500000\tdog\n61.000000\t62.000490\tcat, sleepy\n"


def test_no_events_are_an_empty_file(tmp_path: Path) -> None:
    write_events(tmp_path / "a.csv", [])
    write_events(tmp_path / "a.txt", [])
    assert (tmp_path / "a.csv").read_text() == "start,end,label,confidence\n"
    assert (tmp_path / "a.txt").read_text() == ""


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def events() -> Iterator[Event]:
        yield EVENTS[0]
        raise RuntimeError("broken")

    write_events(tmp_path / "a.csv", EVENTS)
    before = (tmp_path / "a.csv").read_bytes()
    with pytest.raises(RuntimeError, match="broken"):
        write_events(tmp_path / "a.csv", events())
    assert (tmp_path / "a.csv").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.json", "ends in .csv, .txt"), ("a", "ends in .csv, .txt"), ("no/a.csv", "its folder does not exist")],
)
def test_a_file_that_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_events(tmp_path / name, EVENTS)


ROUNDED = [Event(0.25, 1.5, "dog", 0.75), Event(61.0, 62.0, "cat, sleepy", 0.5)]


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.selections.txt"])
def test_what_is_written_reads_back(tmp_path: Path, name: str) -> None:
    write_events(tmp_path / name, ROUNDED)
    sure = name == "a.txt"  # Audacity's labels hold no confidence
    expected = [Event(e.start, e.end, e.label, 1.0 if sure else e.confidence) for e in ROUNDED]
    assert read_events(tmp_path / name) == expected


def test_a_selection_table_for_raven(tmp_path: Path) -> None:
    write_events(tmp_path / "a.selections.txt", EVENTS)
    header, first, _ = (tmp_path / "a.selections.txt").read_text().splitlines()
    assert header.split("\t")[:7] == [
        *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)")
    ]
    assert first.split("\t") == ["1", "Spectrogram 1", "1", "0.250000", "1.500000", "0", "8000", "dog", "0.750"]


def test_a_table_from_raven_with_two_views_and_a_column_of_its_user(tmp_path: Path) -> None:
    rows = [
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies",
        "2\tSpectrogram 1\t1\t5.5\t6.25\t900.0\t4000.0\trobin",
        '1\tWaveform 1\t1\t1.0\t2.0\t\t\t"wren',  # quotes are characters, not quotes
        '1\tSpectrogram 1\t1\t1.0\t2.0\t900.0\t4000.0\t"wren',
    ]
    (tmp_path / "a.Table.1.selections.txt").write_text("\r\n".join(rows) + "\r\n")
    found = read_events(tmp_path / "a.Table.1.selections.txt")
    assert found == [Event(1.0, 2.0, '"wren', 1.0), Event(5.5, 6.25, "robin", 1.0)]


def test_a_label_track_with_frequencies(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("3.0\t4.5\towl, far\n\\\t200.0\t900.0\n1.0\t2.0\twren\n")
    assert read_events(tmp_path / "a.txt") == [Event(1.0, 2.0, "wren", 1.0), Event(3.0, 4.5, "owl, far", 1.0)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "a.txt holds no events"),
        ("a.txt", "1.0\t2.0\tdog\nlater\t3.0\tdog\n", "a.txt, line 2: 'later' and '3.0' are not the seconds"),
        ("a.txt", "1.0\t1.0\tdog\n", "line 1: the event from 1 to 1 s does not end after its start"),
        ("a.txt", "1.0\tnan\tdog\n", "does not end after its start"),
        ("a.txt", "1.0\t2.0\n", "line 1: the event from 1 to 2 s has no label"),
        ("a.txt", "Selection\tBegin Time (s)\tEnd Time (s)\n1\t1\t2\n", "one with the labels, such as Annotation"),
        ("a.csv", "from,to,label\n1,2,dog\n", "has the columns from, to, label; expected start, end"),
    ],
)
def test_what_is_no_list_of_events(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        read_events(tmp_path / name)


def test_a_list_of_events_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_events(tmp_path / "none.txt")
    (tmp_path / "a.txt").write_bytes(b"1.0\t2.0\t\xff\n")
    with pytest.raises(ValueError, match="cannot be read as text in UTF-8"):
        read_events(tmp_path / "a.txt")
