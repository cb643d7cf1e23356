"""Events on disk: CSV, Audacity's label tracks, and Raven's selection tables.

https://manual.audacityteam.org/man/importing_and_exporting_labels.html
https://www.ravensoundsoftware.com/knowledge-base/selection-tables/
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtslvr.sound.stream import SAMPLE_RATE
from mtslvr.storage import atomic, tables

RAVEN_SUFFIX = ".selections.txt"
SUFFIXES = (".csv", ".txt")  # also RAVEN_SUFFIX, which ends in .txt
BEGIN, END = "Begin Time (s)", "End Time (s)"
RAVEN_LABELS = ("annotation", "label", "species", "species code", "common name", "class", "type", "call type", "tags")


@dataclass(frozen=True)
class Event:
    """A sound in a recording: start and end in seconds; its label, as the classifier got it; the label's mean probability."""

    start: float
    end: float
    label: Any
    confidence: float


def write_events(path: str | os.PathLike[str], events: Iterable[Event]) -> None:
    """Write the events of one recording, whole or not at all.

    Args:
        path: .csv (columns start, end, label, confidence); .selections.txt, a selection table for Raven; another .txt, a label
            track for Audacity.

    Raises:
        ValueError: another suffix, or no such folder.
    """
    path = Path(path)
    tables.check_table(path, SUFFIXES)
    if path.suffix == ".csv":
        rows = ((f"{e.start:.3f}", f"{e.end:.3f}", str(e.label), f"{e.confidence:.3f}") for e in events)
        return tables.write_rows(path, ("start", "end", "label", "confidence"), rows)
    raven = path.name.lower().endswith(RAVEN_SUFFIX)
    with atomic.whole(path) as temporary, open(temporary, "w", newline="\n", encoding="utf-8") as file:
        if raven:
            columns = ("Selection", "View", "Channel", BEGIN, END, "Low Freq (Hz)", "High Freq (Hz)")
            print(*columns, "Annotation", "Confidence", sep="\t", file=file)
        for number, event in enumerate(events, 1):
            label = " ".join(str(event.label).split())  # a tab or a line end would end it
            times = f"{event.start:.6f}\t{event.end:.6f}"
            if raven:  # the whole band that is heard: times are found, frequencies are not
                label = f"{number}\tSpectrogram 1\t1\t{times}\t0\t{SAMPLE_RATE // 2}\t{label}\t{event.confidence:.3f}"
                print(label, file=file)
            else:
                print(times, label, sep="\t", file=file)


def read_events(path: str | os.PathLike[str]) -> list[Event]:
    """Read a label track of Audacity, a selection table of Raven, or a CSV with the columns start, end and label.

    Returns:
        Events by their start, with labels of str and a confidence of 1 where the file has none.

    Raises:
        ValueError: the file is missing, has another layout, no events, a time that is no number, an event that does not
            end after its start, or one without a label. The message names file and line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    except FileNotFoundError:
        raise ValueError(f"no such file: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as text in UTF-8: {error}") from error
    head = lines[0] if lines else ""
    if BEGIN in head:
        found = _table(path, lines, "\t", BEGIN, END, _raven_label)
    elif path.suffix.lower() == ".csv":
        found = _table(path, lines, ",", "start", "end", lambda columns: "label" if "label" in columns else None)
    else:
        found = [
            _event(path, number, [*line.rstrip("\r\n").split("\t", 2), "", "", ""])
            for number, line in enumerate(lines, 1)
            if line.strip() and not line.startswith("\\")  # frequencies of the label before
        ]
    if not found:
        raise ValueError(f"{path} holds no events")
    return sorted(found, key=lambda event: (event.start, event.end))


def _table(
    path: Path, lines: list[str], separator: str, start: str, end: str, label_of: Callable[[list[str]], str | None]
) -> list[Event]:
    table = csv.DictReader(
        lines, delimiter=separator, quoting=csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    )
    columns = list(table.fieldnames or [])
    label = label_of(columns)
    if label is None or start not in columns or end not in columns:
        raise ValueError(
            f"{path} has the columns {', '.join(columns) or '(none)'}; expected {start}, {end} and one with the labels, such as "
            f"{'Annotation' if separator == chr(9) else 'label'}"
        )
    events, seen = [], set()
    for number, row in enumerate(table, 2):
        selection = row.get("Selection")
        if selection is not None and selection in seen:
            continue  # Raven has a row for each view of a selection
        seen.add(selection)
        events.append(
            _event(
                path,
                number,
                [
                    row[start] or "",
                    row[end] or "",
                    row[label] or "",
                    row.get("confidence") or row.get("Confidence") or "",
                ],
            )
        )
    return events


def _raven_label(columns: list[str]) -> str | None:
    by_name = {column.lower(): column for column in columns}
    return next((by_name[name] for name in RAVEN_LABELS if name in by_name), None)


def _event(path: Path, line: int, cells: list[str]) -> Event:
    try:
        start, end, confidence = float(cells[0]), float(cells[1]), float(cells[3] or 1)
    except ValueError:
        raise ValueError(
            f"{path}, line {line}: {cells[0][:40]!r} and {cells[1][:40]!r} are not the seconds of a start and an end"
        ) from None
    label = cells[2].strip()
    if not 0 <= start < end < math.inf:
        raise ValueError(f"{path}, line {line}: the event from {start:g} to {end:g} s does not end after its start")
    if not label:
        raise ValueError(f"{path}, line {line}: the event from {start:g} to {end:g} s has no label")
    return Event(start, end, label, confidence)
