"""Anybody's own sounds: a folder with one sub-folder per class, or a CSV that lists the clips."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from mtslvr.cli import SOUND_SUFFIXES
from training.datasets.common import Clip, Dataset, some

CSV_FILE = "clips.csv"  # read if a folder holds it; its sub-folders are then not looked at
COLUMNS = ("path", "label")


def read(root: str | os.PathLike[str], name: str | None = None) -> Dataset:
    """Read a data set.

    Args:
        root: a CSV with the columns path (relative to the CSV) and label, and optionally group (a speaker, a recording);
            a folder that holds one as clips.csv; or a folder with one sub-folder per class, named as the class, whose
            sound files, at any depth, are its clips.
        name: what tables call it; by default the folder's name.

    Raises:
        ValueError: there is nothing of the kind, or a clip that is listed is missing; says what was found.
    """
    root = Path(root)
    name = name or (root.parent if root.is_file() else root).resolve().name
    if root.is_file():
        return _read_csv(root, name)
    if not root.is_dir():
        raise ValueError(f"{name}: no such folder or CSV: {root}")
    return _read_csv(root / CSV_FILE, name) if (root / CSV_FILE).is_file() else _read_folders(root, name)


def _read_csv(path: Path, name: str) -> Dataset:
    with open(path, newline="", encoding="utf-8-sig") as file:  # a spreadsheet may have put a byte order mark in front
        table = csv.DictReader(file)
        found = list(table.fieldnames or [])
        if not set(COLUMNS) <= set(found):
            raise ValueError(
                f"{name}: {path} has the columns {some(found, 8)}; expected {', '.join(COLUMNS)}, and if known group"
            )
        rows = list(table)
    if bad := [i for i, row in enumerate(rows, 2) if not row["path"] or not row["label"]]:
        raise ValueError(f"{name}: {path} has no path or no label in line {some(bad)}")
    clips = tuple(Clip(path.parent / row["path"], row["label"], row.get("group") or None) for row in rows)
    if missing := [clip.path for clip in clips if not clip.path.is_file()]:
        raise ValueError(f"{name}: {len(missing)} of the {len(clips)} clips in {path} are missing: {some(missing)}")
    if not clips:
        raise ValueError(f"{name}: {path} lists no clips")
    return Dataset(name, clips)


def _read_folders(root: Path, name: str) -> Dataset:
    classes = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    clips = [
        Clip(path, folder.name)
        for folder in classes
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SOUND_SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]
    if not clips:
        found = sorted(entry.name for entry in root.iterdir())
        raise ValueError(
            f"{name}: no sounds in {root}: looked for {CSV_FILE}, or for one sub-folder per class with "
            f"{', '.join(sorted(SOUND_SUFFIXES))} files in it; found {some(found, 8)}"
        )
    return Dataset(name, tuple(clips))
