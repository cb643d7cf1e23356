"""Small data sets of tones, for tests of the evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def write_tones(folder: Path, n_classes: int = 6, n_clips: int = 6, seconds: float = 0.25) -> Path:
    """A folder with a clips.csv: classes of tones in noise, a fifth apart, each clip of another speaker; returns it."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    lines = ["path,label,group"]
    for i in range(n_classes * n_clips):
        label = i % n_classes
        wave = 0.01 * rng.standard_normal(int(RATE * seconds))
        wave += 0.3 * np.sin(2 * np.pi * 300 * 1.5**label * np.arange(len(wave)) / RATE)
        soundfile.write(folder / f"{i}.wav", wave, RATE)
        lines.append(f"{i}.wav,class{label},speaker{i // n_classes}")
    (folder / "clips.csv").write_text("\n".join(lines))
    return folder
