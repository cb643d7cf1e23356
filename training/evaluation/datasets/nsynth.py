"""NSynth: 305,979 notes of 4 s by 1,006 instruments (Engel and others, 2017; magenta.tensorflow.org; CC BY 4.0).

    nsynth-{train,valid,test}/audio/{family}_{source}_{iii}-{pitch}-{velocity}.wav

The three parts are merged: the paper splits the instruments anew. examples.json says no more of them than the names do.
"""

from __future__ import annotations

import os

from training.evaluation.datasets.common import Dataset
from training.evaluation.datasets.files import by_path, home

PARTS = ("nsynth-train", "nsynth-valid", "nsynth-test")
PATTERN = rf"(?:{'|'.join(PARTS)})/audio/(?P<label>[a-z_]+_\d{{3}})-\d{{3}}-\d{{3}}\.wav"


def read(root: str | os.PathLike[str], name: str = "nsynth") -> Dataset:
    """The class is the instrument, such as bass_synthetic_033; no groups.

    Raises:
        ValueError: a part or its sounds are missing.
    """
    root = home(root, name, *PARTS)
    layout = "{family}_{source}_{iii}-{pitch}-{velocity}.wav"
    clips = [clip for part in PARTS for clip in by_path(root / part, name, PATTERN, f"audio/{layout}")]
    return Dataset(name, tuple(clips))
