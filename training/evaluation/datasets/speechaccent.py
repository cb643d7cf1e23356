"""Speech Accent Archive: 2,060 readings of one paragraph in 122 native languages (Weinberger, 2015; accent.gmu.edu; CC BY-NC-SA).

    recordings/recordings/{language}{n}.mp3
    speakers_all.csv    age,age_onset,birthplace,filename,native_language,sex,speakerid,country,file_missing?

Recordings that the table calls missing are left out, and then languages with a single one, as in the paper. That leaves out
two (nicaragua, sinhalese1) that the table does not call missing, though they are.
"""

from __future__ import annotations

import os

from training.evaluation.datasets.common import Clip, Dataset
from training.evaluation.datasets.files import home, listed, of_frequent_classes, table

TABLE, AUDIO = "speakers_all.csv", "recordings/recordings"
MIN_CLIPS = 2


def read(root: str | os.PathLike[str], name: str = "speechaccent") -> Dataset:
    """The class is the native language, the group the speaker, of whom there is one recording each.

    Raises:
        ValueError: the folder is not laid out so, or clips of the languages that are left are missing.
    """
    root = home(root, name, TABLE, AUDIO)
    rows = table(root / TABLE, name, ("filename", "native_language", "speakerid", "file_missing?"))
    clips = (
        Clip(root / AUDIO / f"{row['filename']}.mp3", row["native_language"], row["speakerid"])
        for row in rows
        if row["file_missing?"].upper() == "FALSE"
    )
    return Dataset(name, listed(of_frequent_classes(clips, MIN_CLIPS), name, root / TABLE))
