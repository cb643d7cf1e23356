"""What a vector for every 50 ms costs, and what it changes that a window is not repeated to 5 s, as `MTSLVR.embed` does.

    python -m tests.benchmarks.timestamps SOUND... [--windows 0.25 0.5 1 1.5 2] [--seconds 2] [--sets FOLDER...]

SOUND are recordings, of which the first seconds are used. Times are of the CPU, one thread, so that a busy machine disturbs
them little. A FOLDER holds a set: clips, and clips.csv with their path, label and group. Clips of six of its classes
are strung together, in faint noise, and a linear probe names the class or the noise every 100 ms. It learns from one string and
is tried on another, of other groups; given is the mean of the classes' accuracies, %, over the sets.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtslvr import hear
from mtslvr.encoder import batching
from mtslvr.sound import stream

RATE = stream.SAMPLE_RATE
N_CLASSES, N_CLIPS = 6, 4  # of a string; clips a class
PROBE_HOP = 0.1  # seconds
SHRINKAGE = 1_000.0  # of the probe


def embed(model: hear.HearModel, waves: Sequence[np.ndarray], repeated: bool) -> tuple[np.ndarray, float]:
    """The vectors of all windows, float32 [n, D], and the milliseconds that a second of sound takes."""
    start = time.process_time()
    windows = (
        (None, np.resize(window, stream.WINDOW) if repeated else window)
        for wave in waves
        for window in hear._centred(wave, model.n_window, model.n_hop)
    )
    vectors = [vector for _, vector in batching.vectors(model.encoder, windows, model.space, hear.BATCH_SIZE)]
    return np.stack(vectors), 1000 * (time.process_time() - start) * RATE / sum(map(len, waves))


def strings(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two recordings, float32 [samples], and the class of each sample, N_CLASSES for noise; no group is in both, if it can be."""
    rng = np.random.default_rng(0)
    with open(folder / "clips.csv", encoding="utf-8") as file:
        clips = list(csv.DictReader(file))
    classes = rng.permutation(sorted({clip["label"] for clip in clips}))[:N_CLASSES]
    groups = rng.permutation(sorted({clip["group"] for clip in clips}))
    first = set(groups[: len(groups) // 2])
    found = []
    for side in (True, False):
        parts = []
        for i, name in enumerate(classes):
            ours = [clip["path"] for clip in clips if clip["label"] == name]
            if len(groups) > 1:
                ours = [clip["path"] for clip in clips if clip["label"] == name and (clip["group"] in first) == side]
            else:
                ours = ours[not side :: 2]
            parts += [(i, stream.read(folder / path)[: 2 * RATE]) for path in ours[:N_CLIPS]]
        waves, truth = [], []
        for at in rng.permutation(len(parts)):
            i, wave = parts[at]
            gap = rng.integers(RATE // 4, RATE)
            waves += [np.zeros(gap, np.float32), wave]
            truth += [np.full(gap, N_CLASSES), np.full(len(wave), i)]
        wave = np.concatenate(waves)
        found.append((wave + rng.normal(0, 0.003, len(wave)).astype(np.float32), np.concatenate(truth)))
    return found


def accuracy(model: hear.HearModel, folder: Path) -> float:
    """Of the probe, %."""
    (learnt, tried), labels = zip(
        *((embed(model, [wave], False)[0], truth[:: model.n_hop]) for wave, truth in strings(folder)), strict=True
    )
    probe = make_pipeline(StandardScaler(), RidgeClassifier(SHRINKAGE)).fit(learnt, labels[0])
    return 100 * float(balanced_accuracy_score(labels[1], probe.predict(tried)))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.timestamps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sounds", nargs="+", type=Path, metavar="SOUND")
    parser.add_argument("--windows", nargs="+", type=float, default=[0.25, 0.5, 1.0, 1.5, 2.0], metavar="SECONDS")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each sound")
    parser.add_argument("--sets", nargs="+", type=Path, default=[], metavar="FOLDER")
    args = parser.parse_args(argv)

    torch.set_num_threads(1)
    encoder = hear.load_model().encoder
    waves = [stream.read(path)[: round(args.seconds * RATE)] for path in args.sounds]
    embed(hear.HearModel(encoder, hop=0.5), waves[:1], False)  # warms up
    print(f"{'window, s':>10} {'ms a second of sound':>21} {'repeated to 5 s':>16} {'cosine of the two':>18}  probe")
    for window in args.windows:
        model = hear.HearModel(encoder, window=window)
        whole, whole_cost = embed(model, waves, False)
        repeated, repeated_cost = embed(model, waves, True)
        lengths = np.linalg.norm(whole, axis=1) * np.linalg.norm(repeated, axis=1)
        cosine = np.median((whole * repeated).sum(1) / lengths)
        print(f"{window:10.2f} {whole_cost:21.0f} {repeated_cost:16.0f} {cosine:18.2f}", end="  ", flush=True)
        scores = [accuracy(hear.HearModel(encoder, window=window, hop=PROBE_HOP), folder) for folder in args.sets]
        print(f"{np.mean(scores):.1f}: {', '.join(f'{score:.0f}' for score in scores)}" if scores else "-", flush=True)


if __name__ == "__main__":
    main()
