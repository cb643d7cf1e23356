"""Speech Commands v0.02: 105,829 spoken words in 35 classes (Warden, 2018; arXiv 1804.03209; CC BY 4.0).

    <word>/<speaker>_nohash_<n>.wav    such as backward/0165e0e8_nohash_0.wav

The folder _background_noise_ is no word and is left out.
"""

from __future__ import annotations

import os

from training.evaluation.datasets.common import Dataset
from training.evaluation.datasets.files import by_path


def read(root: str | os.PathLike[str], name: str = "speechcommands") -> Dataset:
    """The class is the word, the group the speaker.

    Raises:
        ValueError: there is nothing of the kind.
    """
    pattern = r"(?P<label>[a-z]+)/(?P<group>[0-9a-f]+)_nohash_\d+\.wav"
    return Dataset(name, tuple(by_path(root, name, pattern, "<word>/<speaker>_nohash_<n>.wav")))
