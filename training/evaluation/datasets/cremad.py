"""CREMA-D: 7,442 acted sentences in 6 emotions by 91 actors (Cao and others, 2014; github.com/CheyneyComputerScience/CREMA-D; ODbL).

    AudioWAV/{actor}_{sentence}_{emotion}_{level}.wav    such as AudioWAV/1001_DFA_ANG_XX.wav

One clip is silent (1076_MTI_SAD_XX). The paper counts it, so it is kept: encoders give it a vector like any other.
"""

from __future__ import annotations

import os
from pathlib import Path

from training.evaluation.datasets.common import Dataset, some
from training.evaluation.datasets.files import by_path

POINTER = b"version https://git-lfs"
MAX_POINTER = 200  # bytes: a pointer has about 130


def read(root: str | os.PathLike[str], name: str = "cremad") -> Dataset:
    """The class is the emotion: ANG, DIS, FEA, HAP, NEU or SAD; the group is the actor.

    Raises:
        ValueError: there is nothing of the kind, or Git LFS has not fetched the sounds.
    """
    pattern = r"AudioWAV/(?P<group>\d{4})_[A-Z]{3}_(?P<label>ANG|DIS|FEA|HAP|NEU|SAD)_[A-Z]+\.wav"
    clips = by_path(root, name, pattern, "AudioWAV/{actor}_{sentence}_{emotion}_{level}.wav")
    if pointers := [clip.path for clip in clips if _is_pointer(clip.path)]:
        raise ValueError(
            f"{name}: {len(pointers)} of {len(clips)} clips are no sound but pointers of Git LFS: {some(pointers)}. "
            "Install git-lfs, and in the checkout run: git lfs pull"
        )
    return Dataset(name, tuple(clips))


def _is_pointer(path: Path) -> bool:
    return path.stat().st_size < MAX_POINTER and path.read_bytes().startswith(POINTER)
