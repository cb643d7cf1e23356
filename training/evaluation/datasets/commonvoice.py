"""Common Voice v12.0, the delta segment: 256,243 sentences in 88 locales (Ardila and others, 2020; commonvoice.mozilla.org; CC0).

    cv-corpus-12.0-delta-2022-12-07-<locale>/<locale>/clips/<clip>.mp3
    cv-corpus-12.0-delta-2022-12-07-<locale>/<locale>/{validated,invalidated,other}.tsv    client_id path ...

At most 10,000 clips of a locale are taken. Which ones the paper drew is not known; here it is those whose names hash lowest.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from training.evaluation.datasets.common import Clip, Dataset
from training.evaluation.datasets.files import by_path

MAX_CLIPS = 10_000  # of a locale


def read(root: str | os.PathLike[str], name: str = "commonvoice") -> Dataset:
    """The class is the locale; the group is the speaker, where a table beside the clips names one.

    Raises:
        ValueError: there is nothing of the kind.
    """
    pattern = r"(?P<label>[a-z]+(?:-[A-Za-z]+)?)/clips/[^/]+\.mp3"
    layout = "cv-corpus-12.0-delta-2022-12-07-<locale>/<locale>/clips/<clip>.mp3"
    locales: dict[str, list[Clip]] = defaultdict(list)
    for clip in by_path(root, name, pattern, layout):
        locales[clip.label].append(clip)
    clips = [clip for found in locales.values() for clip in _draw(found)]
    speakers = {folder: _speakers(folder) for folder in {clip.path.parents[1] for clip in clips}}
    clips = [replace(clip, group=speakers[clip.path.parents[1]].get(clip.path.name)) for clip in clips]
    return Dataset(name, tuple(clips))


def _draw(clips: list[Clip]) -> list[Clip]:
    """At most MAX_CLIPS, in their order: by hash, so that neither other locales nor the version of a library matter."""
    lowest = sorted(clips, key=lambda clip: hashlib.sha256(clip.path.name.encode()).digest())[:MAX_CLIPS]
    return sorted(lowest, key=lambda clip: str(clip.path))


def _speakers(folder: Path) -> dict[str, str]:
    """The speaker of each file that a table of the folder names."""
    speakers = {}
    for table in sorted(folder.glob("*.tsv")):
        with open(table, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):  # sentences hold single quotes
                if row.get("client_id") and row.get("path"):
                    speakers[row["path"]] = row["client_id"]
    return speakers
