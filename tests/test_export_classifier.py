"""The classifier in the ONNX file gives the probabilities of the classifier in Python."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_model import randomise

import mtslvr
from mtslvr.cli.parser import main
from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.model import MTSLVR
from mtslvr.export_classifier import export_classifier
from mtslvr.fewshot import FewShotClassifier
from mtslvr.sound import stream
from mtslvr.storage.assets import DEMO_RECORDINGS

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

CLIPS = [DEMO_RECORDINGS / kind / f"{i}.ogg" for kind in ("drum", "thunder", "splash") for i in (1, 2)]
NAMES = ["太鼓", "太鼓", "thunder", "thunder", "splash", "splash"]
OTHERS = [DEMO_RECORDINGS / kind / f"{i}.ogg" for kind in ("drum", "thunder", "splash", "laughter") for i in (3, 4)]


@pytest.fixture(scope="module")
def model() -> MTSLVR:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MTSLVR(EncoderConfig(adapter="bn", head_dim=16))
        randomise(model.network)
    return model


def windows() -> np.ndarray:
    noise = 1e-4 * np.random.default_rng(0).standard_normal(80_000).astype(np.float32)  # see test_export.py
    return np.stack([np.resize(stream.read(path), 80_000) + noise for path in OTHERS])


@pytest.mark.slow
@pytest.mark.parametrize("space", ["combined", "variant"])
def test_the_same_probabilities(model: MTSLVR, space: str, tmp_path: Path) -> None:
    classifier = FewShotClassifier(space=space, model=model).fit(CLIPS, NAMES)
    path = tmp_path / "sounds.onnx"
    assert export_classifier(classifier, path) == model.fingerprint
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    waves = windows()
    (found,) = session.run(["probabilities"], {"waves": waves})
    expected = classifier.predict_proba([(wave, 16_000) for wave in waves])
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.ptp(expected) > 0.1, "and they say something"
    assert json.loads(session.get_modelmeta().custom_metadata_map["labels"]) == classifier.classes_.tolist()
    assert session.get_outputs()[-1].shape == ["batch", 3]
    if space == "combined":  # it is an encoder, too
        encoder = MTSLVR.from_pretrained(path)
        np.testing.assert_allclose(
            encoder.embed((waves[0], 16_000)), model.embed((waves[0], 16_000)), rtol=1e-3, atol=1e-4
        )


@pytest.mark.slow
def test_the_command(model: MTSLVR, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.save_pretrained(tmp_path / "model")
    mtslvr.fit_fewshot(CLIPS, NAMES, model=model).save_pretrained(tmp_path / "sounds")
    out = tmp_path / "sounds.onnx"
    command = ["export", "--model", str(tmp_path / "model"), "--classifier", str(tmp_path / "sounds"), "-o", str(out)]
    assert main(command) == 0
    assert "sounds.onnx: 3 classes, float32" in capsys.readouterr().out
    assert "probabilities" in [output.name for output in onnx.load(out).graph.output]


def test_labels_that_no_file_can_hold(model: MTSLVR, tmp_path: Path) -> None:
    classifier = FewShotClassifier(model=model).fit(CLIPS, [(name, 1) for name in NAMES])
    with pytest.raises(TypeError, match="labels of type tuple cannot be saved"):
        export_classifier(classifier, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()
