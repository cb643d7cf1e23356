"""Watkins Marine Mammal Sound Database, best cuts: 1,698 calls in 32 species (Sayigh and others, 2016; whoicf2.whoi.edu; academic use).

    <Species>/<clip>    such as Beluga,_White_Whale/5800600A.wav

Clips over 180 s are dropped, as in the paper.
"""

from __future__ import annotations

import os

from training.evaluation.datasets.common import Dataset
from training.evaluation.datasets.files import by_path, not_longer

MAX_SECONDS = 180


def read(root: str | os.PathLike[str], name: str = "watkins") -> Dataset:
    """The class is the species; no groups, though cuts of one tape are among the clips.

    Raises:
        ValueError: there is no sound, or some of it cannot be read.
    """
    clips = by_path(root, name, r"(?P<label>[^/]+)/[^/]+", "<Species>/<clip>.wav")
    return Dataset(name, tuple(not_longer(clips, MAX_SECONDS, name)))
