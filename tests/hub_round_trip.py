"""What test_model_on_the_hub runs in a process whose Hub is on the loopback."""

import numpy as np

from mtslvr.model import MTSLVR, EncoderConfig

CLIP = np.sin(0.05 * np.arange(20_000, dtype=np.float32)), 16_000


def push(repo_id: str, token: str) -> list[str]:
    model = MTSLVR(EncoderConfig("bn", std=0.1, training={"steps": 1}))
    commit = model.push_to_hub(repo_id, token=token, private=True, half=True)
    return [commit, MTSLVR.from_pretrained(repo_id, revision=commit, token=token).fingerprint]


def load(repo_id: str, **options: object) -> list[object]:
    model = MTSLVR.from_pretrained(repo_id, **options)  # type: ignore[arg-type]
    return [model.fingerprint, list(model.embed(CLIP).shape)]
