"""BirdClef2020, pruned: 63,364 recordings of 715 species (xeno-canto.org; LifeCLEF 2020; CC per recording).

    <Genus> <species>_<Common Name>/<clip>    such as Sylvia curruca_Lesser Whitethroat/XC138067.mp3

Pruned as in the paper: clips over 180 s are dropped, and then species with fewer than 50 clips left.
"""

from __future__ import annotations

import os

from training.evaluation.datasets.common import Dataset
from training.evaluation.datasets.files import by_path, not_longer, of_frequent_classes

MAX_SECONDS, MIN_CLIPS = 180, 50
PATTERN = r"(?P<label>[A-Z][a-z]+ [a-z]+_[^/]+)/[^/]+"


def read(root: str | os.PathLike[str], name: str = "birdclef") -> Dataset:
    """The class is the species, as the folder names it; no groups.

    Raises:
        ValueError: there is no such folder with sound, some of it cannot be read, or no species has enough.
    """
    clips = not_longer(by_path(root, name, PATTERN, "<Genus> <species>_<Common Name>/<clip>"), MAX_SECONDS, name)
    kept = of_frequent_classes(clips, MIN_CLIPS)
    if not kept:
        raise ValueError(f"{name}: no species in {root} has {MIN_CLIPS} clips of at most {MAX_SECONDS} s")
    return Dataset(name, tuple(kept))
