"""FSDKaggle2018: 11,073 sounds of 0.3 to 30 s in 41 classes (Fonseca and others, 2018; zenodo.org/records/2552860; CC per clip).

    FSDKaggle2018.audio_train, FSDKaggle2018.audio_test    <fname>
    FSDKaggle2018.meta/train_post_competition.csv, test_post_competition_scoring_clips.csv    fname,label,...

The two parts are merged.
"""

from __future__ import annotations

import os

from training.evaluation.datasets.common import Clip, Dataset
from training.evaluation.datasets.files import home, listed, table

PARTS = {
    "FSDKaggle2018.audio_train": "FSDKaggle2018.meta/train_post_competition.csv",
    "FSDKaggle2018.audio_test": "FSDKaggle2018.meta/test_post_competition_scoring_clips.csv",
}


def read(root: str | os.PathLike[str], name: str = "fsdkaggle18") -> Dataset:
    """The class is the label; the group the Freesound recording, where the tables have the column freesound_id.

    Raises:
        ValueError: the folder is not laid out so, or clips are missing.
    """
    root = home(root, name, *PARTS, *PARTS.values())
    clips: list[Clip] = []
    for audio, metadata in PARTS.items():
        rows = table(root / metadata, name, ("fname", "label"))
        part = (Clip(root / audio / row["fname"], row["label"], row.get("freesound_id") or None) for row in rows)
        clips += listed(part, name, root / metadata)
    return Dataset(name, tuple(clips))
