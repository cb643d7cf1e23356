"""Sound files on this disk: those in folders, and those that come with labels."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

SOUND_SUFFIXES = {
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64", ".rf64"),
    *(".m4a", ".mp4", ".aac", ".webm", ".wma"),
}


def find_sounds(paths: Sequence[str | Path]) -> list[Path]:
    """The files among `paths`, and those in its folders and theirs that are named like sound, sorted.

    Raises:
        ValueError: a folder without any.
    """
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = _sounds_in(path)
            if not inside:
                raise ValueError(f"no sound files in {path}: looked for {' '.join(sorted(SOUND_SUFFIXES))}")
            found += inside
        else:
            found.append(path)  # a missing or unreadable one is reported when its turn comes
    return found


def labelled_sounds(path: str | Path) -> tuple[list[Path], list[str]]:
    """Sound files and their labels.

    Args:
        path: a folder with one sub-folder per class, named as the class, whose sound files, at any depth, are its clips; or a
            CSV with the columns path (relative to the CSV) and label.

    Raises:
        ValueError: there is nothing of the kind, a class has no sounds, some lie beside the sub-folders, or a clip that is
            listed is missing.
    """
    path = Path(path)
    if path.is_file():
        return _listed(path)
    if not path.is_dir():
        raise ValueError(f"no such folder or CSV: {path}")
    classes = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    sounds = {folder.name: _sounds_in(folder) for folder in classes}
    if not sounds:
        raise ValueError(f"no classes in {path}: expected one sub-folder per class, as in {path / 'dog' / '1.wav'}")
    if empty := [name for name, inside in sounds.items() if not inside]:
        raise ValueError(
            f"no sound files in {path / empty[0]}: looked for {' '.join(sorted(SOUND_SUFFIXES))}. "
            "Each sub-folder is a class: give it a recording, or take it away"
        )
    if loose := [file for file in sorted(path.iterdir()) if _is_sound(file)]:
        raise ValueError(
            f"{path} has {len(loose)} sound files in none of its sub-folders, such as {loose[0].name}: "
            "put each into the folder of its class, or take it away"
        )
    pairs = [(sound, name) for name, inside in sounds.items() for sound in inside]
    return [sound for sound, _ in pairs], [name for _, name in pairs]


def text_of(path: Path) -> str:
    """A file's name as text, which on some systems it need not be."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _listed(path: Path) -> tuple[list[Path], list[str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:  # a spreadsheet may put a byte order mark in front
            table = csv.DictReader(file)
            columns, rows = list(table.fieldnames or []), list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{path} is no CSV in UTF-8 ({error}): give one, or a folder with one sub-folder per class"
        ) from error
    if not {"path", "label"} <= set(columns):
        raise ValueError(
            f"{path} has the columns {', '.join(columns) or 'nothing'}; expected path and label, by a comma"
        )
    if not rows:
        raise ValueError(f"{path} lists no clips")
    for line, row in enumerate(rows, 2):
        if not row["path"] or not row["label"]:
            raise ValueError(f"{path} has no path or no label in row {line}")
        if not (path.parent / row["path"]).is_file():
            raise ValueError(f"{path} lists {row['path']} in row {line}, and {path.parent / row['path']} is no file")
    return [path.parent / row["path"] for row in rows], [row["label"] for row in rows]


def _sounds_in(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise ValueError(f"{error.filename} cannot be read: {error.strerror}")  # or its sounds would be missing, unsaid

    return sorted(
        file
        for root, _, names in os.walk(folder, onerror=refuse)
        for file in map(Path(root).joinpath, names)
        if _is_sound(file)
    )


def _is_sound(file: Path) -> bool:
    return file.suffix.lower() in SOUND_SUFFIXES and file.is_file() and not file.name.startswith(".")
