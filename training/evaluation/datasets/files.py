"""How the readers find clips on disk: by the pattern of their paths, or by a table that lists them."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soundfile

from mtslvr.sound.files import sounds_in
from training.evaluation.datasets.common import Clip, some


def by_path(root: str | os.PathLike[str], name: str, pattern: str, layout: str) -> list[Clip]:
    """The clips whose paths end in a pattern, wherever below (or at) a folder: one level too high or low still works.

    Args:
        pattern: a regular expression over the end of the path, parts joined by "/"; its group `label` is the class,
            its group `group`, if it has one, the group.
        layout: the pattern in words, for the message.

    Raises:
        ValueError: there are none.
    """
    root = Path(root).absolute()
    tail = re.compile(f".*/{pattern}")
    matches = [(path, tail.fullmatch(path.as_posix())) for path in (sounds_in(root) if root.is_dir() else [])]
    clips = [Clip(path, match["label"], match.groupdict().get("group")) for path, match in matches if match]
    if not clips:
        raise ValueError(f"{name}: looked for {layout} in {root}; found {found_in(root)}")
    return clips


def home(root: str | os.PathLike[str], name: str, *wanted: str) -> Path:
    """The folder with all the files and folders wanted: the one given, or the one above it, or one just below.

    Raises:
        ValueError: there is none.
    """
    root = Path(root).absolute()
    below = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    for folder in (root, root.parent, *below):
        if all((folder / entry).exists() for entry in wanted):
            return folder
    raise ValueError(f"{name}: looked for {', '.join(wanted)} in {root}; found {found_in(root)}")


def found_in(folder: Path) -> str:
    """What a folder holds, in words, for messages."""
    return some(sorted(os.listdir(folder)), 8) if folder.is_dir() else "no such folder"


def table(path: Path, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV with a header, which must have these columns.

    Raises:
        ValueError: it is not a CSV file in UTF-8, or a column or a field of these is missing.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:  # a spreadsheet may have put a byte order mark first
            reader = csv.DictReader(file)
            found, rows = list(reader.fieldnames or []), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{name}: {path} is not a CSV file in UTF-8 ({error})") from error
    if not set(columns) <= set(found):
        raise ValueError(f"{name}: {path} has the columns {some(found, 12)}; expected {', '.join(columns)}")
    if short := [line for line, row in enumerate(rows, 2) if None in map(row.get, columns)]:
        raise ValueError(f"{name}: {path} has too few fields in line {some(short)}; is it cut short?")
    return rows


def listed(clips: Iterable[Clip], name: str, path: Path) -> tuple[Clip, ...]:
    """The clips that a table lists, which must be there.

    Raises:
        ValueError: some are missing, or it lists none.
    """
    clips = tuple(clips)
    if missing := [clip.path for clip in clips if not clip.path.is_file()]:
        raise ValueError(f"{name}: {len(missing)} of the {len(clips)} clips in {path} are missing: {some(missing)}")
    if not clips:
        raise ValueError(f"{name}: {path} lists no clips")
    return clips


def not_longer(clips: Sequence[Clip], seconds: float, name: str) -> list[Clip]:
    """The clips of at most so many seconds, by the files' headers.

    An MP3 that states no length is taken at its first bit rate, which is wrong where the rate varies.

    Raises:
        ValueError: some cannot be read.
    """
    with ThreadPoolExecutor() as threads:
        lengths = list(threads.map(_seconds, (clip.path for clip in clips)))
    if bad := [clip.path for clip, length in zip(clips, lengths, strict=True) if length is None]:
        raise ValueError(
            f"{name}: {len(bad)} of {len(clips)} files cannot be read: {some(bad)}. Copy or download them again"
        )
    return [clip for clip, length in zip(clips, lengths, strict=True) if length is not None and length <= seconds]


def _seconds(path: Path) -> float | None:
    try:
        return float(soundfile.info(path).duration)
    except (soundfile.LibsndfileError, OSError):
        return None


def of_frequent_classes(clips: Iterable[Clip], n_least: int) -> list[Clip]:
    """The clips of classes that have at least so many of them."""
    clips = list(clips)
    counts = Counter(clip.label for clip in clips)
    return [clip for clip in clips if counts[clip.label] >= n_least]
