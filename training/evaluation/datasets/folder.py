"""Anybody's own sounds: a folder with one sub-folder per class, or a CSV that lists the clips."""

from __future__ import annotations

import os
from pathlib import Path

from mtslvr.sound.files import sounds_in
from training.evaluation.datasets.common import Clip, Dataset, some
from training.evaluation.datasets.files import found_in, listed, table

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
    rows = table(path, name, COLUMNS)
    if bad := [i for i, row in enumerate(rows, 2) if not row["path"] or not row["label"]]:
        raise ValueError(f"{name}: {path} has no path or no label in line {some(bad)}")
    clips = (Clip(path.parent / row["path"], row["label"], row.get("group") or None) for row in rows)
    return Dataset(name, listed(clips, name, path))


def _read_folders(root: Path, name: str) -> Dataset:
    inside = [(path, path.relative_to(root).parts) for path in sounds_in(root)]
    clips = [Clip(path, parts[0]) for path, parts in inside if len(parts) > 1]
    if not clips:
        raise ValueError(
            f"{name}: no sounds in {root}: looked for {CSV_FILE}, or for one sub-folder per class with "
            f"sound files in it, such as {root / 'dog' / '1.wav'}; found {found_in(root)}"
        )
    return Dataset(name, tuple(clips))
