"""AudioEmbedder: what scikit-learn expects of a transformer, the vectors of the model, and a cache that is never stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline

from mtslvr.embedder import AudioEmbedder
from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.model import MTSLVR
from mtslvr.fewshot import FewShotClassifier

RATE = 16_000


def small(seed: int = 0, n_heads: int = 2) -> MTSLVR:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MTSLVR(EncoderConfig(adapter="bn", head_dim=4, n_heads=n_heads))


@pytest.fixture(scope="module")
def model() -> MTSLVR:
    return small()


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve tones, low ones and high ones in turn."""
    folder = tmp_path_factory.mktemp("sounds")
    for i in range(12):
        frequency = (200 if i % 2 else 2_000) * (1 + 0.02 * i)
        soundfile.write(folder / f"{i:02}.wav", 0.3 * np.sin(2 * np.pi * frequency * np.arange(RATE) / RATE), RATE)
    return sorted(folder.iterdir())


LABELS = ["high", "low"] * 6


@pytest.mark.parametrize("space", ["combined", "invariant", "variant"])
def test_it_gives_what_the_model_gives(
    model: MTSLVR, sounds: list[Path], tmp_path: Path, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = model.embed(sounds[:3], space=space)
    without = AudioEmbedder(model, space).transform(sounds[:3])
    assert without.dtype == np.float32
    np.testing.assert_array_equal(without, expected)
    remembering = AudioEmbedder(model, space, memory=tmp_path)
    np.testing.assert_allclose(remembering.transform(sounds[:3]), expected, rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(MTSLVR, "forward", None)  # what is known is not computed again
    np.testing.assert_allclose(remembering.transform(sounds[2::-1]), expected[::-1], rtol=1e-5, atol=1e-6)


def test_arrays_and_columns_of_paths(model: MTSLVR, sounds: list[Path]) -> None:
    embedder = AudioEmbedder(model)
    expected = embedder.transform(sounds[:2])
    paths = [str(path) for path in sounds[:2]]
    for clips in (paths, np.array(paths), np.array(paths, dtype=object), iter(paths), tuple(sounds[:2])):
        np.testing.assert_array_equal(embedder.transform(clips), expected)


def test_a_changed_file_and_a_changed_model_are_embedded_anew(sounds: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(sounds[0].read_bytes())
    model = small()
    embedder = AudioEmbedder(model, memory=tmp_path / "memory")
    first = embedder.transform([path])
    path.write_bytes(sounds[1].read_bytes())
    second = embedder.transform([path])
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(second, model.embed([path]))
    with torch.no_grad():
        model.network.heads[0].bias += 1
    np.testing.assert_array_equal(embedder.transform([path]), model.embed([path]))
    assert not np.allclose(embedder.transform([path]), second)


@pytest.mark.slow
def test_a_model_by_name_is_loaded_once_and_none_is_the_default(
    sounds: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(1).save_pretrained(tmp_path / "one")
    small(2).save_pretrained(tmp_path / "two")
    loaded = []
    load = MTSLVR.from_pretrained

    def counting(name: Any = None, **options: Any) -> MTSLVR:
        loaded.append(name)
        return load(name, **options)

    monkeypatch.setattr(MTSLVR, "from_pretrained", counting)
    embedder = AudioEmbedder(tmp_path / "one")
    first = embedder.transform(sounds[:1])
    np.testing.assert_array_equal(embedder.transform(sounds[:1]), first)
    assert loaded == [tmp_path / "one"]
    assert not np.allclose(embedder.set_params(model=str(tmp_path / "two")).transform(sounds[:1]), first)
    assert len(AudioEmbedder().get_feature_names_out()) == 1000


def test_names_of_the_features(model: MTSLVR) -> None:
    assert AudioEmbedder(model).get_feature_names_out().tolist() == [
        *(f"invariant_{i}" for i in range(4)),
        *(f"variant_{i}" for i in range(4)),
    ]
    assert AudioEmbedder(model, "variant").get_feature_names_out().tolist() == [f"variant_{i}" for i in range(4)]
    assert AudioEmbedder(small(n_heads=1)).get_feature_names_out().tolist() == [f"combined_{i}" for i in range(4)]


def test_scikit_learn_tools(model: MTSLVR, sounds: list[Path], tmp_path: Path) -> None:
    embedder = AudioEmbedder(model, memory=tmp_path)
    copy = clone(embedder)
    assert copy is not embedder
    assert copy.model is model, "an encoder is shared, not copied"
    assert copy.get_params() == embedder.get_params()
    assert embedder.fit() is embedder
    np.testing.assert_array_equal(copy.fit_transform(sounds[:2], LABELS[:2]), model.embed(sounds[:2]))
    assert repr(AudioEmbedder(space="variant")) == "AudioEmbedder(space='variant')"


def test_a_pipeline_names_sounds(model: MTSLVR, sounds: list[Path], tmp_path: Path) -> None:
    pipeline = make_pipeline(AudioEmbedder(model, memory=tmp_path), FewShotClassifier()).fit(sounds[:6], LABELS[:6])
    assert pipeline.predict(sounds[6:]).tolist() == LABELS[6:]


@pytest.mark.slow
def test_a_grid_search_in_two_processes_shares_the_cache(model: MTSLVR, sounds: list[Path], tmp_path: Path) -> None:
    pipeline = Pipeline([("embed", AudioEmbedder(model, memory=tmp_path)), ("name", FewShotClassifier())])
    search = GridSearchCV(
        pipeline, {"embed__space": ["combined", "invariant"]}, cv=2, n_jobs=2, error_score="raise"
    ).fit([str(s) for s in sounds], LABELS)
    assert search.best_score_ > 0.8
    kept = [path for path in (tmp_path / model.fingerprint).rglob("*") if path.is_file()]
    assert len(kept) == len(sounds)


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ("a.wav", r"X is one clip, of type str: wrap it in a list, \[clip\]"),
        ((np.zeros(9, np.float32), RATE), "X is one clip"),
        ([], "empty list"),
        (["/nowhere/a.wav"], r"no such file: clip 0 \(/nowhere/a\.wav\)"),
        ([(np.full(9, np.nan, np.float32), RATE)], "clip 0 has samples that are NaN"),
    ],
)
def test_what_is_no_list_of_clips(model: MTSLVR, tmp_path: Path, clips: Any, message: str, memory: bool) -> None:
    with pytest.raises(ValueError, match=message):
        AudioEmbedder(model, memory=tmp_path if memory else None).transform(clips)


def test_bad_parameters(model: MTSLVR, sounds: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="space is 'both'; this model has 'combined', 'invariant', 'variant'"):
        AudioEmbedder(model, "both").transform(sounds[:1])
    with pytest.raises(ValueError, match="batch_size is 0"):
        AudioEmbedder(model, batch_size=0).transform(sounds[:1])
    with pytest.raises(TypeError, match="expected an MTSLVR"):
        AudioEmbedder(3).transform(sounds[:1])  # type: ignore[arg-type]
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        AudioEmbedder(model, memory=tmp_path / "file").transform(sounds[:1])


def test_an_array_without_a_rate_warns_once(model: MTSLVR, tmp_path: Path) -> None:
    waves = [np.sin(np.arange(2_000, dtype=np.float32) * i) for i in (1, 2)]
    with pytest.warns(UserWarning, match="16,000 Hz is assumed") as notes:
        found = AudioEmbedder(model, memory=tmp_path).transform(waves)
    assert len(notes) == 1
    np.testing.assert_array_equal(found, model.embed([(wave, RATE) for wave in waves]))
