"""Clips instead of embeddings: what counts as which, whose embeddings they are, and what is said of bad ones."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clusters import clusters
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import mtslvr
from mtslvr import FewShotClassifier
from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.spaces import Spaces
from mtslvr.fewshot import inputs

DEMO = Path(mtslvr.__file__).parent / "assets" / "demo"
RATE = 16_000


class Ear:
    """An encoder that knows a few names by heart, and counts what it embeds."""

    fingerprint = "0ddba11"
    spaces = Spaces(10, 30)

    def __init__(self) -> None:
        self.heard = 0
        self.vectors, self.labels = clusters(shots=3)
        self.names = [f"{number}.wav" for number in range(len(self.vectors))]

    def __sklearn_clone__(self) -> Ear:
        return self

    def embed(self, clips: list[Any], space: str = "combined") -> np.ndarray:
        self.heard += len(clips)
        self.asked = space
        if strangers := [name for name in clips if name not in self.names]:
            raise ValueError(f"no such file: {strangers[0]}")
        return np.stack([self.vectors[self.names.index(name)] for name in clips])[:, self.spaces.columns(space)]


@pytest.fixture(scope="module")
def model() -> mtslvr.MTSLVR:
    """A small encoder with random weights."""
    torch.manual_seed(0)
    return mtslvr.MTSLVR(EncoderConfig("bn", head_dim=20, std=0.1))


def tones(n: int, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    noise = random.normal(0, 0.05, (n, RATE)).astype(np.float32)
    return [np.sin(np.arange(RATE) * (0.02 + 0.5 * (i % 2)), dtype=np.float32) / 2 + noise[i] for i in range(n)]


# what is what


@pytest.mark.slow
def test_three_lines(tmp_path: Path) -> None:
    """The README's, on real recordings with the default weights."""
    kinds = ["drum", "thunder"]
    support, labels = [DEMO / kind / f"{i}.ogg" for kind in kinds for i in (1, 2)], ["drum"] * 2 + ["thunder"] * 2
    classifier = mtslvr.fit_fewshot(support, labels)
    default = mtslvr.MTSLVR.from_pretrained()
    assert classifier.encoder_ == default.fingerprint and classifier.n_invariant_ == 500
    queries = [str(DEMO / kind / "3.ogg") for kind in kinds]
    assert classifier.predict(queries).tolist() == kinds
    np.testing.assert_allclose(classifier.predict_proba(queries), classifier.predict_proba(default.embed(queries)))
    classifier.save_pretrained(tmp_path)
    assert FewShotClassifier.from_pretrained(tmp_path).predict(queries).tolist() == kinds
    assert "the default weights of mtslvr" in (tmp_path / "README.md").read_text()
    with pytest.raises(ValueError, match=r"as long as embeddings by MTSLVR.*np\.stack\(X\)"):
        classifier.predict(list(default.embed(queries)))


def test_clips_are_embedded_once_and_by_the_model() -> None:
    ear = Ear()
    by_clips = mtslvr.fit_fewshot(ear.names, ear.labels, model=ear)
    assert ear.heard == 12
    by_vectors = mtslvr.fit_fewshot(ear.vectors, ear.labels, model=ear)
    assert by_clips.encoder_ == by_vectors.encoder_ == ear.fingerprint
    assert by_clips.n_invariant_ == by_vectors.n_invariant_ == 10 and ear.heard == 12
    for method in ("predict", "predict_proba", "novelty"):
        np.testing.assert_array_equal(getattr(by_clips, method)(ear.names), getattr(by_vectors, method)(ear.vectors))
    assert by_clips.predict(ear.names, reject="auto").dtype == object
    assert by_clips.embedder() is ear and by_clips.score(ear.names, ear.labels) == 1


@pytest.mark.parametrize("space", ["invariant", "variant", "combined"])
def test_only_the_space_that_is_used_is_embedded(space: str) -> None:
    ear = Ear()
    columns = ear.spaces.columns(space)
    by_clips = FewShotClassifier(space=space, model=ear).fit(ear.names, ear.labels)
    assert ear.asked == space and by_clips.n_features_in_ == 40
    by_vectors = FewShotClassifier(space=space, model=ear).fit(ear.vectors, ear.labels)
    by_columns = FewShotClassifier(space=space, model=ear).fit(ear.vectors[:, columns], ear.labels)
    expected = by_vectors.predict_proba(ear.vectors)
    for classifier in (by_clips, by_vectors, by_columns):
        for X in (ear.names, ear.vectors, ear.vectors[:, columns]):
            np.testing.assert_array_equal(classifier.predict_proba(X), expected)
        assert ear.asked == space
    with pytest.raises(ValueError, match="X has 39 features, but FewShotClassifier is expecting 40"):
        by_clips.predict(ear.vectors[:, 1:])


def test_one_head_costs_one_head(model: mtslvr.MTSLVR, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is asked for the head of the space alone, in fit and predict."""
    asked = []
    real = mtslvr.MTSLVR.forward
    monkeypatch.setattr(
        mtslvr.MTSLVR,
        "forward",
        lambda self, waves, space="combined": asked.append(space) or real(self, waves, space),  # type: ignore[func-returns-value]
    )
    clips = [(wave, RATE) for wave in tones(4)]
    classifier = mtslvr.fit_fewshot(clips, [0, 1] * 2, model=model, space="invariant")
    classifier.predict(clips)
    assert set(asked) == {"invariant"}


@pytest.mark.parametrize(
    "several",
    [list, tuple, iter, np.array, lambda names: np.array(names, dtype=object), lambda names: (name for name in names)],
    ids=["list", "tuple", "iterator", "array", "objects", "generator"],
)
def test_names_come_in_many_ways(several: Any) -> None:
    ear = Ear()
    classifier = FewShotClassifier(model=ear).fit(several(ear.names), ear.labels)
    assert classifier.predict(several(ear.names)).tolist() == ear.labels.tolist()


@pytest.mark.parametrize(
    "several",
    [
        np.ndarray.tolist,
        torch.from_numpy,
        lambda vectors: torch.from_numpy(vectors).requires_grad_(),
        lambda vectors: torch.from_numpy(vectors).double(),
        lambda vectors: vectors.astype(object),
        np.ascontiguousarray,
    ],
    ids=["list", "tensor", "with gradient", "double", "objects", "array"],
)
def test_embeddings_come_in_many_ways(several: Any) -> None:
    X, y = clusters()
    classifier = FewShotClassifier().fit(several(X), y)
    np.testing.assert_allclose(classifier.predict_proba(several(X)), FewShotClassifier().fit(X, y).predict_proba(X))
    assert classifier.encoder_ is None


def test_coarse_tensors() -> None:
    X, y = clusters()
    assert FewShotClassifier().fit(torch.from_numpy(X).bfloat16(), torch.from_numpy(y)).score(X, y) > 0.9


@pytest.mark.slow
def test_sound_of_several_kinds_and_rates(model: mtslvr.MTSLVR) -> None:
    waves = tones(6)
    mixed = [(waves[0], RATE), {"array": waves[1], "sampling_rate": RATE}, (torch.from_numpy(waves[2]), RATE)]
    mixed += [(np.repeat(waves[3], 3), 3 * RATE), (waves[4][:4000], RATE), (np.stack([waves[5]] * 2), RATE)]
    classifier = mtslvr.fit_fewshot(mixed, [0, 1] * 3, model=model)
    assert classifier.predict([(wave, RATE) for wave in tones(4, seed=1)]).tolist() == [0, 1, 0, 1]
    with pytest.warns(UserWarning, match="16"):
        assert classifier.predict(tones(2, seed=1)).tolist() == [0, 1]  # bare arrays


def test_grid_search_over_clips_shares_the_encoder() -> None:
    ear = Ear()
    search = GridSearchCV(FewShotClassifier(model=ear), {"C": [1.0, 10.0]}, cv=3).fit(ear.names, ear.labels)
    assert search.best_score_ > 0.9 and search.best_estimator_.model is ear


def test_a_clone_shares_the_model(model: mtslvr.MTSLVR) -> None:
    assert clone(FewShotClassifier(model=model)).model is model
    shown = repr(FewShotClassifier(model=model))
    assert len(shown) < 150 and "bn: combined [40], invariant [20], variant [20]" in shown


def test_the_fingerprint_follows_the_weights(model: mtslvr.MTSLVR) -> None:
    other = copy.deepcopy(model)
    assert other.fingerprint == model.fingerprint
    with torch.no_grad():
        next(other.network.parameters()).mul_(2)
    changed = other.fingerprint
    assert changed != model.fingerprint
    other.load_state_dict(model.state_dict())
    assert other.fingerprint == model.fingerprint


# bad input


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("dog.wav", "X is one clip, of type .*: wrap it in a list"),
        (Path("dog.wav"), "X is one clip, of type .*: wrap it in a list"),
        (b"RIFF", "X is one clip, of type .*: wrap it in a list"),
        ((np.zeros(RATE), RATE), "X is one clip, of type .*: wrap it in a list"),
        ({"array": np.zeros(RATE), "sampling_rate": RATE}, "X is one clip, of type .*: wrap it in a list"),
        (np.zeros(RATE), "X is one clip, of type .*: wrap it in a list"),
        (np.zeros((3, RATE)), r"16000 columns.*look like waveforms.*list of \(array, rate\)"),
        (torch.zeros(3, RATE), r"16000 columns.*look like waveforms"),
        ({"dog": ["0.wav"]}, "X is one clip, of type dict: wrap it in a list"),
        ({"0.wav", "1.wav"}, "X is a set, which has no order"),
        ([["0.wav", "1.wav"], ["2.wav"]], "X is a list of lists of clips: give one flat list"),
        ([], "X is an empty list"),
        (np.zeros((0, 40)), "0 sample"),
        (np.zeros(40), "Expected 2D array, got 1D array"),
        (["0.wav", "gone.wav"], "no such file: gone.wav"),
        (["0.wav", np.zeros(40)], r"with arrays of 40 numbers, as long as embeddings .*np\.stack\(X\)"),
        (np.zeros((2, 41)), "X has 41 features"),
        (np.full((1, 40), np.nan), "contains NaN"),
    ],
)
def test_bad_input(X: Any, message: str) -> None:
    ear = Ear()
    classifier = FewShotClassifier(model=ear).fit(ear.names, ear.labels)
    for method in ("predict", "predict_proba", "novelty"):
        with pytest.raises(ValueError, match=message):
            getattr(classifier, method)(X)
    if "X is" in message or "columns" in message:
        with pytest.raises(ValueError, match=message):
            FewShotClassifier(model=ear).fit(X, [0, 1])


def test_nothing_is_embedded_in_vain() -> None:
    ear = Ear()
    for names, labels, settings, message in [
        (ear.names, ear.labels[1:], {}, "12 in X, and 11 labels in y"),
        (ear.names, ["dog"] * 12, {}, "one class only"),
        (ear.names, ear.labels, {"method": "svm"}, "method='svm'"),
        (ear.names, ear.labels, {"space": "both"}, "space='both'"),
        (ear.names, ear.labels, {"C": -1}, "C=-1"),
    ]:
        with pytest.raises(ValueError, match=message):
            FewShotClassifier(model=ear, **settings).fit(names, labels)
    fitted = FewShotClassifier(model=ear).fit(ear.vectors, ear.labels)
    with pytest.raises(ValueError, match="reject='often'"):
        fitted.predict(ear.names, reject="often")
    assert ear.heard == 0


def test_embeddings_of_another_width_than_the_models() -> None:
    X, y = clusters(width=42)
    with pytest.raises(ValueError, match=r"X has 42 features, and embeddings by .* do not"):
        FewShotClassifier(model=Ear()).fit(X, y)


def test_embeddings_of_one_space_of_the_model() -> None:
    ear = Ear()
    classifier = FewShotClassifier(model=ear).fit(ear.vectors[:, 10:], ear.labels)
    assert classifier.head_weights_ == {"combined": 1.0}
    assert classifier.score(ear.vectors[:, 10:], ear.labels) == 1
    with pytest.raises(ValueError, match=r"embeddings of 30 features, and .* embeds clips into 40"):
        classifier.predict(ear.names)


def test_no_encoder() -> None:
    with pytest.raises(TypeError, match=r"model is 3; expected an MTSLVR"):
        FewShotClassifier(model=3).fit(["a.wav", "b.wav"], [0, 1])
    with pytest.raises(TypeError, match="model is 'nowhere'; expected an MTSLVR"):
        FewShotClassifier(model="nowhere").fit(*clusters())
    with pytest.raises(ValueError, match="no such folder: 'nowhere'"):
        mtslvr.fit_fewshot(["a.wav", "b.wav"], [0, 1], model="nowhere")


# whose embeddings


def test_clips_for_a_classifier_of_embeddings_of_unknown_origin() -> None:
    X, y = clusters()
    with pytest.raises(ValueError, match=r"embeddings of 40 features, and MTSLVR.*embeds clips into 1000"):
        FewShotClassifier().fit(X, y).predict([str(DEMO / "drum" / "1.ogg")])
    wide, y = clusters(n_classes=2, width=1000)
    named = FewShotClassifier().fit(wide, y).predict([str(DEMO / "drum" / "1.ogg")])
    assert named.shape == (1,)  # the default weights are 1000 wide, and nothing speaks against them


@pytest.mark.slow
def test_another_encoder_is_refused(model: mtslvr.MTSLVR, tmp_path: Path) -> None:
    torch.manual_seed(1)
    other = mtslvr.MTSLVR(EncoderConfig("bn", head_dim=20, std=0.1))
    clips = [(wave, RATE) for wave in tones(4)]
    classifier = mtslvr.fit_fewshot(clips, [0, 1] * 2, model=model)
    both = rf"fingerprint {model.fingerprint}, and MTSLVR.*{other.fingerprint}.* is another: .*model=.*or fit again"
    with pytest.raises(ValueError, match=both):
        classifier.set_params(model=other).predict(clips)
    classifier.set_params(model=model).save_pretrained(tmp_path / "classifier")
    card = (tmp_path / "classifier" / "README.md").read_text()
    assert model.fingerprint in card and 'model="the name of that encoder"' in card
    with pytest.raises(ValueError, match=both):
        FewShotClassifier.from_pretrained(tmp_path / "classifier", model=other)

    model.save_pretrained(tmp_path / "model")
    loaded = FewShotClassifier.from_pretrained(tmp_path / "classifier", model=str(tmp_path / "model"))
    np.testing.assert_allclose(loaded.predict_proba(clips), classifier.predict_proba(clips), atol=1e-6)
    without = FewShotClassifier.from_pretrained(tmp_path / "classifier")
    np.testing.assert_allclose(without.predict_proba(model.embed(clips)), loaded.predict_proba(clips), atol=1e-6)
    with pytest.raises(ValueError, match=f"fingerprint {model.fingerprint}, and MTSLVR.* is another"):
        without.predict(clips)


def test_the_default_weights_are_loaded_once() -> None:
    assert inputs.encoder(None) is inputs.encoder(None)


def test_columns_of_paths() -> None:
    """What a data frame holds, in the array type of each library."""
    paths = ["a.wav", "b.wav"]
    columns = [np.array(paths), np.array(paths, object)]
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"path": paths, "x": [1.0, 2.0]})
    columns += [frame["path"], frame["path"].values, frame["path"].to_numpy()]
    columns.append(pytest.importorskip("pyarrow").array(paths))
    for column in columns:
        assert inputs.clips_in(column) == paths
    assert inputs.clips_in(frame[["x"]]) is None
    assert inputs.clips_in(frame["x"]) is None
