"""ESC-50: 2,000 environmental sounds of 5 s in 50 classes (Piczak, 2015; github.com/karolpiczak/ESC-50; CC BY-NC).

audio/{fold}-{clip}-{take}-{target}.wav
meta/esc50.csv    filename,fold,target,category,esc10,src_file,take
"""

from __future__ import annotations

import os

from training.evaluation.datasets.common import Clip, Dataset
from training.evaluation.datasets.files import home, listed, table

TABLE, AUDIO = "meta/esc50.csv", "audio"


def read(root: str | os.PathLike[str], name: str = "esc50") -> Dataset:
    """The class is the category, the group the Freesound recording that a clip was cut from.

    Raises:
        ValueError: the folder is not laid out so, or clips are missing.
    """
    root = home(root, name, TABLE, AUDIO)
    rows = table(root / TABLE, name, ("filename", "category", "src_file"))
    clips = (Clip(root / AUDIO / row["filename"], row["category"], row["src_file"]) for row in rows)
    return Dataset(name, listed(clips, name, root / TABLE))
