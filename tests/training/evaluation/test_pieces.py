"""The paper's rule for long clips, against votes counted one by one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mtslvr.encoder.spaces import Spaces
from mtslvr.fewshot import FewShotClassifier
from mtslvr.sound.clips import clip_of
from training.evaluation import pieces, solvers
from training.evaluation.datasets.common import Clip, Dataset
from training.evaluation.episodes import draw
from training.evaluation.pieces import Pieces

HEADS = [slice(0, 8), slice(8, 20)]


def toy(counts: np.ndarray) -> tuple[Dataset, Pieces]:
    """Overlapping classes; the pieces of a clip differ more than the clips of a class."""
    rng = np.random.default_rng(0)
    dataset = Dataset("toy", tuple(Clip(Path(f"{i}.wav"), f"c{i % 6}") for i in range(len(counts))))
    owner = np.repeat(np.arange(len(counts)), counts)
    features = 2 * rng.standard_normal((6, 20))[dataset.targets[owner]] + 2 * rng.standard_normal((len(owner), 20))
    return dataset, Pieces(features.astype(np.float32), counts)


@pytest.mark.slow
@pytest.mark.parametrize(("n_shots", "n_queries"), [(1, 1), (2, 3)])
def test_against_votes_counted_one_by_one(n_shots: int, n_queries: int) -> None:
    dataset, clips = toy(np.random.default_rng(1).integers(1, 8, 60))
    episodes = draw(dataset, 80, n_shots=n_shots, n_queries=n_queries, rng=np.random.default_rng(2))
    found = pieces.accuracies(clips, HEADS, episodes, "ridge", np.random.default_rng(3))

    first = np.concatenate([[0], np.cumsum(clips.counts)])
    drawn = np.random.default_rng(3).integers(clips.counts[episodes.support])
    expected = []
    for support, query, piece in zip(episodes.support, episodes.query, drawn, strict=True):
        targets = np.repeat(np.arange(5), n_shots)
        classifier = FewShotClassifier(n_invariant=8).fit(clips.features[(first[support] + piece).ravel()], targets)
        right = []
        for way, clip in ((i, clip) for i in range(5) for clip in query[i]):
            votes = Counter(classifier.predict(clips.features[first[clip] : first[clip + 1]]).tolist())
            right.append(min(label for label, n in votes.items() if n == max(votes.values())) == way)
        expected.append(np.mean(right))
    np.testing.assert_allclose(found, expected)
    assert 0.3 < np.mean(expected) < 0.95, "tasks that are too easy or too hard would show nothing"


def test_clips_of_one_piece_are_solved_as_ever() -> None:
    dataset, clips = toy(np.ones(60, dtype=int))
    episodes = draw(dataset, 50, n_shots=2, rng=np.random.default_rng(0))
    found = pieces.accuracies(Pieces.whole(clips.features), HEADS, episodes, "logistic", np.random.default_rng(0))
    np.testing.assert_array_equal(found, solvers.accuracies(clips.features, HEADS, episodes, "logistic"))


def test_cut_into_pieces_the_last_of_which_is_repeated(tmp_path: Path) -> None:
    asked = []

    class Levels:
        """The amplitudes of the first and of the last tenth of a second of a piece."""

        name, fingerprint, standardised, spaces = "levels", "l", False, Spaces(2)

        def embed(self, clips: Any) -> np.ndarray:
            waves = [
                np.concatenate([block[:, 0] for block, _ in clip_of(clip, "piece").blocks("piece")]) for clip in clips
            ]
            asked.extend(map(len, waves))
            return np.array([[wave[:1600].mean(), wave[-1600:].mean()] for wave in waves])

    long = np.concatenate([np.full(80_000, 0.1), np.full(80_000, 0.2), np.full(30_000, 0.3), np.full(30_000, 0.4)])
    for i, wave in enumerate([long, np.full(1000, 0.5)]):
        soundfile.write(tmp_path / f"{i}.wav", wave, 16_000, subtype="FLOAT")
    paths = [tmp_path / "0.wav", tmp_path / "1.wav"]
    for _ in range(2):
        found = pieces.embed(Levels(), "toy", paths, tmp_path / "cache")
        assert found.counts.tolist() == [3, 1]
        # 60,000 samples of the third piece, and its first 20,000 again
        np.testing.assert_allclose(found.features, [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3], [0.5, 0.5]], atol=1e-6)
    assert asked == [80_000] * 4, "embedded once, then taken from the cache"
