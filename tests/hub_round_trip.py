"""What test_model_on_the_hub runs in a process whose Hub is on the loopback."""

import numpy as np

from mtslvr.encoder.model import MTSLVR, EncoderConfig
from mtslvr.fewshot import FewShotClassifier, fit_fewshot

CLIP = np.sin(0.05 * np.arange(20_000, dtype=np.float32)), 16_000


def push(repo_id: str, token: str) -> list[str]:
    model = MTSLVR(EncoderConfig("bn", std=0.1, training={"steps": 1}))
    commit = model.push_to_hub(repo_id, token=token, private=True, half=True)
    return [commit, MTSLVR.from_pretrained(repo_id, revision=commit, token=token).fingerprint]


def load(repo_id: str, **options: object) -> list[object]:
    model = MTSLVR.from_pretrained(repo_id, **options)  # type: ignore[arg-type]
    return [model.fingerprint, list(model.embed(CLIP).shape)]


def push_classifier(repo_id: str, encoder: str, token: str) -> str:
    """Of the clip forwards and backwards, by an encoder that is on the Hub too."""
    backwards = CLIP[0][::-1] ** 3, CLIP[1]
    classifier = fit_fewshot([CLIP, backwards], ["forwards", "backwards"], model=encoder)
    return classifier.push_to_hub(repo_id, token=token)


def name(repo_id: str, **options: object) -> list[object]:
    classifier = FewShotClassifier.from_pretrained(repo_id, **options)  # type: ignore[arg-type]
    return [classifier.encoder_, classifier.predict([CLIP]).tolist()]
