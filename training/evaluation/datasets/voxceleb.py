"""VoxCeleb1: 153,516 utterances by 1,251 speakers (Nagrani and others, 2017; robots.ox.ac.uk/~vgg/data/voxceleb; CC BY 4.0).

    wav/id<speaker>/<video>/<utterance>.wav    such as wav/id10270/5r0dWxy17C8/00001.wav

The dev and test archives are merged: unpack both into one folder, or side by side.
"""

from __future__ import annotations

import os

from training.evaluation.datasets.common import Dataset
from training.evaluation.datasets.files import by_path


def read(root: str | os.PathLike[str], name: str = "voxceleb") -> Dataset:
    """The class is the speaker, such as id10270, the group the video.

    Raises:
        ValueError: there is nothing of the kind.
    """
    pattern = r"(?P<label>id\d{5})/(?P<group>[^/]+)/\d+\.wav"
    return Dataset(name, tuple(by_path(root, name, pattern, "wav/id<speaker>/<video>/<utterance>.wav")))
