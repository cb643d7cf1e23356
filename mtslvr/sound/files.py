"""Sound files on this disk: those in folders, and those that come with labels."""

from __future__ import annotations

import csv
import os
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

LIBSNDFILE_SUFFIXES = {
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".mpga"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".sph", ".nist", ".voc"),
}
FFMPEG_SUFFIXES = {  # with the extra m4a
    *(
        ".m4a",
        ".m4b",
        ".mp4",
        ".m4v",
        ".mov",
        ".3gp",
        ".3g2",
        ".aac",
        ".adts",
        ".amr",
        ".webm",
        ".weba",
        ".mkv",
        ".mka",
    ),
    *(".wma", ".wmv", ".asf", ".avi", ".flv", ".mpg", ".mpeg", ".mts", ".m2ts", ".ogv", ".ogx", ".spx"),
    *(".ac3", ".eac3", ".dts", ".wv", ".tta", ".ape", ".mpc", ".tak", ".dsf"),
}
SOUND_SUFFIXES = LIBSNDFILE_SUFFIXES | FFMPEG_SUFFIXES
LOOKED_FOR = "looked for .wav, .flac, .mp3, .ogg, .m4a and the other suffixes of sound"
NO_SOUND = {  # suffixes of what lies beside sounds: passed over without a word
    *(
        "",
        ".txt",
        ".md",
        ".rst",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".yaml",
        ".yml",
        ".toml",
        ".xml",
        ".html",
        ".log",
        ".pdf",
    ),
    *(
        ".jpg",
        ".jpeg",
        ".png",
        ".gif",
        ".svg",
        ".py",
        ".lab",
        ".textgrid",
        ".eaf",
        ".srt",
        ".npz",
        ".npy",
        ".parquet",
        ".ini",
    ),
}


def find_sounds(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The files among `paths`, and those in its folders and theirs that are named like sound, sorted.

    Links to files and folders are followed; what begins with a dot is hidden, and passed over. "~" is the home folder.

    Raises:
        ValueError: a folder without any, or one that cannot be read.

    Warns:
        UserWarning: a folder holds files whose names are neither sound's nor those of texts, tables or images; how many.
    """
    found: list[Path] = []
    for path in map(_home, paths):
        if path.is_dir():
            inside = sounds_in(path)
            if not inside:
                raise ValueError(f"no sound files in {path}: {LOOKED_FOR}")
            found += inside
        else:
            found.append(path)  # a missing or unreadable one is reported when its turn comes
    return found


def sounds_in(folder: str | os.PathLike[str], *, tell: bool = True) -> list[Path]:
    """The files below one folder that are named like sound, sorted, maybe none; see `find_sounds`.

    Args:
        tell: warn of what is passed over.
    """
    passed_over: Counter[str] = Counter()
    found = sorted(_walk(os.fspath(folder), passed_over, ()))
    if tell and passed_over:
        kinds = ", ".join(f"{n} {suffix}" for suffix, n in passed_over.most_common(8))
        message = (
            f"{folder}: passed over {passed_over.total()} of its files, whose names are not those of sound: {kinds}"
        )
        warnings.warn(message, UserWarning, stacklevel=3)
    return [Path(path) for path in found]


def labelled_sounds(path: str | os.PathLike[str]) -> tuple[list[Path], list[str]]:
    """Sound files and their labels. See `grouped_sounds`."""
    paths, labels, _ = grouped_sounds(path)
    return paths, labels


def grouped_sounds(path: str | os.PathLike[str]) -> tuple[list[Path], list[str], list[str] | None]:
    """Sound files, their labels, and what groups they are of: recordings, speakers or the like.

    A clip without a group is one of its own. Clips of one group's name are of one group, also in several classes.

    Args:
        path: a folder with one sub-folder per class, named as the class, whose sound files, at any depth, are its clips; or a
            CSV with the columns path (relative to the CSV) and label. Spaces around a label do not count, nor does the form
            in which Unicode writes an accent. The group is the folder in that of the class, as in class/recording/1.wav, or
            the column group.

    Returns:
        Paths, labels and groups; None in their place if no clip has a group.

    Raises:
        ValueError: there is nothing of the kind, a class has no sounds, some lie beside the sub-folders, a clip that is
            listed is missing, or one has two labels.

    Warns:
        UserWarning: files were passed over; see `find_sounds`.
    """
    path = _home(path)
    if path.is_file():
        return _checked(path, _listed(path))
    if not path.is_dir():
        raise ValueError(f"no such folder or CSV: {path}")
    sounds = sounds_in(path)
    classes: dict[str, list[Path]] = {
        entry.name: [] for entry in sorted(path.iterdir()) if entry.is_dir() and not entry.name.startswith(".")
    }
    if not classes:
        raise ValueError(f"no classes in {path}: expected one sub-folder per class, as in {path / 'dog' / '1.wav'}")
    for sound in sounds:
        if sound.parent != path:
            classes[sound.relative_to(path).parts[0]].append(sound)
    if empty := [name for name, inside in classes.items() if not inside]:
        raise ValueError(
            f"no sound files in {path / empty[0]}: {LOOKED_FOR}. "
            "Each sub-folder is a class: add a recording, or remove the folder"
        )
    if loose := [sound for sound in sounds if sound.parent == path]:
        raise ValueError(
            f"{path} has {len(loose)} sound files in none of its sub-folders, such as {loose[0].name}: "
            "move each into the folder of its class, or remove it"
        )
    listed = []
    for name, inside in classes.items():
        for sound in inside:
            below = sound.relative_to(path).parts[1:-1]
            listed.append((sound, name, below[0] if below else ""))
    return _checked(path, listed)


def text_of(path: str | os.PathLike[str]) -> str:
    """A file's name as text, which on some systems it need not be: what is none becomes an escape such as \\xff.

    No two names become one: a backslash that could be taken for such an escape is itself written as \\x5c.
    """
    name = os.fsencode(path)
    if os.name == "posix":  # elsewhere a backslash parts folders, and names are always text
        name = re.sub(rb"\\(?=x[0-9a-f]{2})", rb"\\x5c", name)
    return name.decode(errors="backslashreplace")


def _home(path: str | os.PathLike[str]) -> Path:
    """The path; in the user's home folder if it begins with "~" and there is no such file here."""
    path = Path(path)
    return path if path.exists() else path.expanduser()


def _walk(folder: str, passed_over: Counter[str], above: tuple[str, ...]) -> Iterator[str]:
    """The sounds in a folder and in those below it, but not again in one that a link leads back to."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = list(os.scandir(folder))
    except OSError as error:  # or its sounds would be missing, unsaid
        raise ValueError(f"{error.filename} cannot be read: {error.strerror}") from error
    for entry in entries:
        suffix = os.path.splitext(entry.name)[1].lower()
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry.path, passed_over, (*above, real))
        elif suffix in SOUND_SUFFIXES and (
            entry.is_file() or entry.is_symlink()
        ):  # a broken link fails when it is read
            yield entry.path
        elif suffix not in NO_SOUND:
            passed_over[suffix] += 1


def _listed(path: Path) -> list[tuple[Path, str, str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:  # a spreadsheet may put a byte order mark in front
            table = csv.DictReader(file)
            columns, rows = list(table.fieldnames or []), list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{path} is not a CSV file in UTF-8 ({error}): give one, or a folder with one sub-folder per class"
        ) from error
    if not {"path", "label"} <= set(columns):
        raise ValueError(
            f"{path} has the columns {', '.join(columns) or 'nothing'}; expected path and label, by a comma"
        )
    if not rows:
        raise ValueError(f"{path} lists no clips")
    listed = []
    for line, row in enumerate(rows, 2):
        if not row["path"] or not (row["label"] or "").strip():
            raise ValueError(f"{path} has no path or no label in row {line}")
        clip = path.parent / _home(row["path"])
        if not clip.is_file():
            raise ValueError(f"{path} lists {row['path']} in row {line}, and {clip} is not a file")
        listed.append((clip, row["label"], row.get("group") or ""))
    return listed


def _checked(source: Path, listed: list[tuple[Path, str, str]]) -> tuple[list[Path], list[str], list[str] | None]:
    """Paths, labels and groups; one file, under whatever name, must not have two labels."""
    paths = [path for path, _, _ in listed]
    labels, groups = (
        [unicodedata.normalize("NFC", text.strip()) for text in column]
        for column in list(zip(*listed, strict=True))[1:]
    )
    seen: dict[str, str] = {}
    for path, label in zip(paths, labels, strict=True):
        if (other := seen.setdefault(os.path.realpath(path), label)) != label:
            raise ValueError(f"{source}: {path} is labelled {other!r} and {label!r}: give it one of them")
    if not any(groups):
        return paths, labels, None
    return paths, labels, [group or text_of(path) for path, group in zip(paths, groups, strict=True)]
