"""What teachers hear in a packed corpus, from half second to half second: targets of the objective "taught" (training/objectives/taught.py).

    python -m training.teachers PACKED yamnet whisper-tiny resemblyzer

Teachers are small trained encoders of others (training/evaluation/networks.py says which, and what to install), whose licences permit it:
YAMNet and Resemblyzer Apache-2.0, Whisper MIT. They are needed here alone: training reads the files, and a trained model knows nothing
of them. Takes 4 to 12 minutes of one core per teacher for the 12 hours that the default weights learned from.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mtslvr.sound.stream import WINDOW
from training.corpus.heard import BLOCK, teacher_file
from training.corpus.reader import Corpus
from training.evaluation.networks import NETWORKS, Resemblyzer, WhisperTiny, Yamnet


def blocks(teacher: Yamnet | WhisperTiny | Resemblyzer, wave: np.ndarray) -> Iterator[np.ndarray]:
    """The mean of a teacher's frames in each block of a piece, [D]; windows of 5 s are heard one by one.

    A block without a frame of its own has the frame that it lies in.
    """
    for first in range(0, len(wave), WINDOW):
        window = wave[first : first + WINDOW]
        frames = teacher.frames(window)
        n, n_blocks = len(frames), -(-len(window) // BLOCK)
        for block in range(n_blocks):
            start, end = block * n // n_blocks, (block + 1) * n // n_blocks
            yield frames[start : max(start + 1, end)].mean(0)


def teach(corpus: Corpus, name: str) -> Path:
    """Write the file of one teacher, float16 [blocks of all pieces, D]; one that is there already is kept."""
    path = teacher_file(corpus.folder, name)
    if path.exists():
        return path
    teacher = NETWORKS[name]()
    heard = [
        vector.astype(np.float16)
        for index in tqdm(range(len(corpus)), name, unit="piece", disable=None)
        for vector in blocks(teacher, corpus.piece(index).wave.numpy())
    ]
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, np.stack(heard))
    os.replace(part, path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.teachers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("corpus", help="folder made by training.corpus")
    parser.add_argument("teachers", nargs="+", choices=list(NETWORKS))
    args = parser.parse_args()
    for name in args.teachers:
        print(teach(Corpus(args.corpus), name))


if __name__ == "__main__":
    main()
