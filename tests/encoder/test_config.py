import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch

from mtslvr.encoder import config as module
from mtslvr.encoder.config import PIPELINE, EncoderConfig
from mtslvr.encoder.frontend import Frontend
from mtslvr.encoder.model import MTSLVR
from mtslvr.sound import stream


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("preprocessing", {"std": 1e-30}, "std 1e-30, expected -1 to 1, and 1e-06 to 1"),
        ("preprocessing", {"std": 1e-46}, "std 1e-46"),
        ("preprocessing", {"std": -1.0}, "std -1.0"),
        ("preprocessing", {"mean": 1e39}, r"mean 1e\+39"),
        ("preprocessing", {"mean": 10**400}, "too large"),
        ("preprocessing", {"mean": "9" * 100_000}, r"mean is '9{39}\.\.\.9{39}', expected a float"),
        ("preprocessing", {"hop": [7] * 100_000}, r"hop is \[7, 7.{,99} only knows 512"),
        ("preprocessing", {"x" * 100_000: 1}, "unknown keys .{,90}$"),
        ("network", {"adapter": "a" * 100_000}, r"adapter is 'a{39}\.\.\.a{39}'"),
        ("network", {"head_dim": 10**4000}, r"heads of 10{39}\.\.\.0{40} features"),
        ("network", {"n_heads": True}, "n_heads is True"),
    ],
)
def test_numbers_that_cannot_be_are_refused_in_few_words(part: str, change: dict[str, Any], message: str) -> None:
    content = EncoderConfig().to_json()
    content[part] |= change
    with pytest.raises(ValueError, match=message) as error:
        EncoderConfig.from_json(content, "config.json")
    assert len(str(error.value)) < 300


def test_the_config_comes_back() -> None:
    config = EncoderConfig("series", 1, 12, -0.5, 0.25, {"sound": "of the sea"})
    assert EncoderConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert EncoderConfig.from_json({**config.to_json(), "training": {}}) == dataclasses.replace(config, training={})


def test_the_fingerprint_covers_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MTSLVR(EncoderConfig("bn", head_dim=2))
    before = model.fingerprint
    assert model.fingerprint == before
    monkeypatch.setattr(module, "PIPELINE", module.PIPELINE + 1)
    assert MTSLVR(model.config, model.network).fingerprint != before


def test_the_pipeline_is_numbered_anew_when_it_changes() -> None:
    """Where this fails because embeddings change on purpose: raise PIPELINE, and write the new numbers here."""
    time = np.arange(7 * 44_100) / 44_100
    sound = np.stack([0.5 * np.sin(2000 * time), 0.25 * np.sin(900 * time**2)]).astype(np.float32)  # 7 s of stereo
    waves = np.stack([wave for wave, _, _ in stream.windows((sound, 44_100))])
    image = Frontend(0.0, 0.1)(torch.from_numpy(waves))
    found = [PIPELINE, *np.abs(waves).mean(1), *image.mean((2, 3)).flatten()]
    expected = [1, 0.16887, 0.16939, -50.5693, 13.2557, 0.3732, -44.9319, 13.4397, 0.4038]
    np.testing.assert_allclose(found, expected, rtol=1e-3)
