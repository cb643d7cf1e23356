"""The cards of models and classifiers: what the Hub reads in them, and that their code runs where they lie."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

import mtslvr
from mtslvr.encoder.config import EncoderConfig
from mtslvr.storage import folder
from mtslvr.storage.assets import MODELS
from mtslvr.storage.model_card import model_card

RESULTS = [{"space": "combined", "digits": "35.3 ± 0.4"}, {"space": "variant", "drums": "70.3 ± 0.4"}]
TRAINING = {
    "license": "cc-by-sa-4.0",
    "summary": "In short.",
    "results": RESULTS,
    "results_command": "python -m measure",
    "invariance": [{"augmentation": "fade", "invariant": "0.30 ███"}],
    "learning_rate": "0.001",
}


def card(training: dict[str, Any]) -> str:
    config = EncoderConfig(training=training)
    return model_card(config.to_json(), config.spaces, "0123456789abcdef", "me/mine")


def test_header_is_what_the_hub_reads() -> None:
    header = ModelCard(card(TRAINING)).data.to_dict()
    assert header.pop("tags")[:2] == ["audio", "audio-classification"]
    assert header == {"library_name": "mtslvr", "license": "cc-by-sa-4.0", "pipeline_tag": "feature-extraction"}
    assert "license" not in ModelCard(card({})).data.to_dict()  # unknown is not "other"


def test_body() -> None:
    text = card(TRAINING)
    assert "\nIn short.\n" in text and "| learning rate | 0.001 |" in text and "license |" not in text
    assert "| space | digits |\n| --- | --- |\n| combined | 35.3 ± 0.4 |\n| variant |  |" in text
    assert "](https://arxiv.org/abs/2305.17191)" in text and "up to 8 kHz" in text and "`0123456789abcdef`" in text
    assert "\n\n```bash\npython -m measure\n```\n\n## Invariance\n\n" in text and text.count("```bash") == 1
    assert "| augmentation | invariant |\n| --- | --- |\n| fade | 0.30 ███ |\n\n## Citation" in text
    assert "| results command |" not in text
    assert "Not recorded." in card({}) and "## Results" not in card({})


@pytest.mark.parametrize("half", [False, True])
def test_code_runs_beside_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: bool) -> None:
    monkeypatch.chdir(tmp_path)
    mtslvr.MTSLVR(EncoderConfig("none", 1, 8)).save_pretrained(tmp_path / "my-model", half=half)
    text = (tmp_path / "my-model" / "README.md").read_text()
    names: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("vector =")[0], names)
    assert f"| fingerprint | `{names['model'].fingerprint}` |" in text


def test_code_of_a_classifier_runs_beside_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.repeat(np.eye(2, 10), 2, 0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-sounds").mkdir()
    monkeypatch.chdir(tmp_path / "my-sounds")
    mtslvr.FewShotClassifier().fit(X, ["a", "a", "b", "b"]).save_pretrained(".")
    text = Path("README.md").read_text()
    assert 'mtslvr.FewShotClassifier.from_pretrained("my-sounds", model="the name of that encoder")' in text
    assert ModelCard(text).data.to_dict()["pipeline_tag"] == "audio-classification"


@pytest.mark.parametrize("name", MODELS)
def test_the_cards_of_the_packages_models_are_the_generated_ones(name: str) -> None:
    config = EncoderConfig.from_json(folder.read(MODELS[name])[0])
    fingerprint = mtslvr.MTSLVR.from_pretrained(name).fingerprint
    text = (MODELS[name] / "README.md").read_text()
    assert text == model_card(config.to_json(), config.spaces, fingerprint, name), "see docs/releasing.md"
    assert not re.search(r"\bNone\b|nan", text)
