"""A few-shot classifier as a folder: what is saved comes back; what is hostile, damaged or another encoder's is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import clusters
from fuzz import fuzzed
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

from mtslvr.fewshot import FewShotClassifier, linear
from mtslvr.storage import folder


@pytest.mark.parametrize("names", [list("abcd"), [3, -1, 7, 2], [0.0, 4.0, 2.0, 1.0]], ids=["str", "int", "float"])
@pytest.mark.parametrize("method", linear.METHODS)
def test_saved_and_loaded(tmp_path: Path, names: list[Any], method: str) -> None:
    X, y = clusters(noise=2.0)
    labels = [names[number] for number in y]
    saved = FewShotClassifier(method=method, n_invariant=20).fit(X, labels)
    saved.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    loaded = FewShotClassifier.from_pretrained(tmp_path)
    assert loaded.get_params() == saved.get_params()
    np.testing.assert_array_equal(loaded.predict(X), saved.predict(X))
    assert loaded.classes_.dtype == saved.classes_.dtype and loaded.head_weights_ == saved.head_weights_
    np.testing.assert_allclose(loaded.predict_proba(X), saved.predict_proba(X), atol=1e-12)
    np.testing.assert_array_equal(loaded.predict(X, reject="auto"), saved.predict(X, reject="auto"))
    assert (loaded.encoder_, loaded.n_invariant_, loaded.n_features_in_) == (None, 20, 40)
    assert loaded.report().to_dict()["per_class"] == saved.report().to_dict()["per_class"]


def test_copies_of_one_clip_are_saved_and_loaded(tmp_path: Path) -> None:
    """Among copies every distance is 0, and so would be the threshold of novelty."""
    X = np.repeat(np.eye(2, 10), 2, 0)
    saved = FewShotClassifier().fit(X, ["a", "a", "b", "b"])
    assert saved.threshold_ > 0 and saved.predict(X, reject="auto").tolist() == ["a", "a", "b", "b"]
    saved.save_pretrained(tmp_path)
    assert FewShotClassifier.from_pretrained(tmp_path).predict(X).tolist() == ["a", "a", "b", "b"]


@pytest.mark.parametrize("number", ["temperature", "unit", "threshold"])
@pytest.mark.parametrize("value", [0, -1, "nan", "inf"])
def test_numbers_that_no_fit_gives_are_refused(tmp_path: Path, number: str, value: Any) -> None:
    FewShotClassifier().fit(*clusters()).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["numbers"][number] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"{number} is"):
        FewShotClassifier.from_pretrained(tmp_path)


def test_saving_after_a_report_does_not_fit_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = FewShotClassifier(method="logistic").fit(*clusters())
    first = classifier.report().to_dict()
    monkeypatch.setattr(linear, "fit", lambda *arguments: pytest.fail("fitted again"))
    classifier.save_pretrained(tmp_path)
    assert classifier.report().to_dict() == first
    monkeypatch.undo()
    X, y = clusters(noise=3.0)
    assert classifier.fit(X, y).report().to_dict() != first  # another support set


def test_saved_object_labels(tmp_path: Path) -> None:
    X, y = clusters(n_classes=2)
    FewShotClassifier().fit(X, np.array(["no", "yes"], dtype=object)[y]).save_pretrained(tmp_path / "s")
    assert FewShotClassifier.from_pretrained(tmp_path / "s").predict(X)[0] == "no"
    FewShotClassifier().fit(X, y == 1).save_pretrained(tmp_path / "b")
    assert FewShotClassifier.from_pretrained(tmp_path / "b").predict(X).dtype == bool
    with pytest.raises(TypeError, match="labels of type tuple cannot be saved"):
        FewShotClassifier().fit(X, [(int(number),) for number in y]).save_pretrained(tmp_path / "t")
    with pytest.raises(NotFittedError):
        FewShotClassifier().save_pretrained(tmp_path / "u")
    assert not (tmp_path / "t").exists() and not (tmp_path / "u").exists()


@pytest.mark.parametrize(
    "damage",
    [
        {"model_type": "mtslvr"},
        {"format_version": 1},
        {"format_version": 3},
        {"settings": {"method": "svm"}},
        {"settings": {"space": "all"}},
        {"settings": {"evil": 1}},
        {"settings": {"model": "somebody/else"}},
        {"settings": [1]},
        {"settings": {"C": "10"}},
        {"settings": {"C": 1e60}},
        {"settings": {"n_invariant": "9" * 100_000}},
        {"model_type": "m" * 100_000},
        {"settings": {"n_invariant": 10.5}},
        {"settings": {"n_invariant": 10}},
        {"n_invariant": 41},
        {"n_invariant": -1},
        {"n_invariant": None},
        {"encoder": 7},
        {"labels": {"type": "str", "objects": False, "values": [1, 2, 3, 4]}},
        {"labels": {"type": "int", "objects": False, "values": [4, 3, 2, 1]}},
        {"labels": {"type": "int", "objects": False, "values": [1, 2, 3, 10**30]}},
        {"labels": {"type": "int", "objects": False, "values": [1, 2]}},
        {"labels": {"type": "eval", "objects": False, "values": ["a", "b", "c", "d"]}},
        {"labels": {"type": "str", "objects": False, "values": "abcd"}},
        {"labels": None},
        {"n_features": 41},
        {"n_features": -1},
        {"n_features": "wide"},
        {"numbers": {"temperature": 0.0, "unit": 1.0, "threshold": 1.0}},
        {"numbers": {}},
    ],
    ids=str,
)
def test_hostile_configurations(tmp_path: Path, damage: dict[str, Any]) -> None:
    FewShotClassifier().fit(*clusters()).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    if isinstance(damage.get("settings"), dict):
        damage = {"settings": config["settings"] | damage["settings"]}
    (tmp_path / "config.json").write_text(json.dumps({**config, **damage}))
    with pytest.raises(ValueError, match=r"config\.json|model\.safetensors") as error:
        FewShotClassifier.from_pretrained(tmp_path)
    assert len(str(error.value)) < 800


NUMBERS = st.sampled_from(
    [1e60, -1e60, 1e-60, 1e17, -1e17, 1e-17, 1e10, 0.0, -1.0, 0.5, 2**70, True, None, "x", [], {}]
)


@fuzzed
@given(data=st.data())
def test_flipped_numbers_are_refused_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    X, y = clusters(n_classes=3)
    if not (tmp_path / "whole").exists():
        FewShotClassifier().fit(X, y).save_pretrained(tmp_path / "whole")
    config, tensors = folder.read(tmp_path / "whole")
    if data.draw(st.booleans()):
        part = data.draw(st.sampled_from([config, config["settings"], config["numbers"], config["labels"]]))
        part[data.draw(st.sampled_from(sorted(part)))] = data.draw(NUMBERS)
    else:
        flat = tensors[data.draw(st.sampled_from(sorted(tensors)))].view(-1)
        number = data.draw(st.sampled_from([1e17, -1e17, 1e10, 1e-17, 0, -1, 3, 9]))
        flat[data.draw(st.integers(0, len(flat) - 1))] = int(number) if not flat.is_floating_point() else number
    folder.write(tmp_path / "changed", config, tensors, "")
    try:
        classifier = FewShotClassifier.from_pretrained(tmp_path / "changed")
    except ValueError as error:
        assert str(tmp_path / "changed") in str(error) and len(str(error)) < 1500
        return
    probabilities = classifier.predict_proba(X)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    assert str(classifier.report())
    classifier.save_pretrained(tmp_path / "again")
    FewShotClassifier.from_pretrained(tmp_path / "again")


@pytest.mark.parametrize("damage", ["targets", "groups", "nan", "shape", "missing", "extra", "garbage", "bfloat16"])
def test_hostile_tensors(tmp_path: Path, damage: str) -> None:
    saved = FewShotClassifier().fit(*clusters())
    saved.save_pretrained(tmp_path)
    config, tensors = folder.read(tmp_path)
    if damage == "targets":
        tensors["targets"][0] = 9
    elif damage == "groups":
        tensors["groups"] = tensors["groups"][1:].contiguous()
    elif damage == "nan":
        tensors["coef"][0, 0] = float("nan")
    elif damage == "shape":
        tensors["support"] = tensors["support"][:, 1:].contiguous()
    elif damage == "missing":
        del tensors["targets"]
    elif damage == "extra":
        tensors["more"] = tensors["coef"].clone()
    elif damage == "bfloat16":
        tensors = {
            name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
        }
    folder.write(tmp_path, config, tensors, "")
    if damage == "garbage":
        (tmp_path / "model.safetensors").write_bytes(b"garbage")
    if damage == "bfloat16":  # only coarse
        assert FewShotClassifier.from_pretrained(tmp_path).score(*clusters()) > 0.9
        return
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        FewShotClassifier.from_pretrained(tmp_path)
