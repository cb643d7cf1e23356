"""mtslvr.hear: the benchmark's contract, windows where the times say they are, and the benchmark's own validator."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_model
import torch
from torch import Tensor, nn

from mtslvr import hear
from mtslvr.encoder.model import MTSLVR

RATE = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model.save(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(folder: Path) -> hear.HearModel:
    return hear.load_model(folder)


def noise(n: int, seconds: float, seed: int = 0) -> Tensor:
    return 0.2 * torch.randn(n, round(seconds * RATE), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("space", ["combined", "invariant", "variant"])
@pytest.mark.parametrize("seconds", [0.4, 0.51])
def test_the_contract(folder: Path, space: str, seconds: float) -> None:
    model = hear.load_model(str(folder), space=space, window=0.2)
    audio = noise(3, seconds)
    width = 8 if space == "combined" else 4
    assert isinstance(model, nn.Module)
    assert (model.sample_rate, model.scene_embedding_size, model.timestamp_embedding_size) == (RATE, width, width)
    scenes = hear.get_scene_embeddings(audio, model)
    vectors, times = hear.get_timestamp_embeddings(audio, model)
    n_times = {0.4: 8, 0.51: 11}[seconds]
    assert scenes.shape == (3, width)
    assert vectors.shape == (3, n_times, width)
    assert scenes.dtype == vectors.dtype == times.dtype == torch.float32
    assert times.tolist() == [[50.0 * i for i in range(n_times)]] * 3
    assert not (scenes.requires_grad or vectors.requires_grad)


def test_a_scene_is_what_embed_gives(model: hear.HearModel) -> None:
    audio = noise(2, 5.5)
    expected = MTSLVR.embed(model.encoder, list(audio), sample_rate=RATE)
    np.testing.assert_allclose(hear.get_scene_embeddings(audio, model).numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("window", "hop"), [(1.0, 0.05), (0.25, 0.032), (0.1, 0.3)])
def test_a_vector_is_that_of_the_window_around_its_time(folder: Path, window: float, hop: float) -> None:
    model = hear.load_model(folder, window=window, hop=hop)
    audio = noise(1, 0.7)
    vectors, times = hear.get_timestamp_embeddings(audio, model)
    n, half = audio.shape[1], round(window * RATE) // 2
    for time, vector in zip(times[0].tolist(), vectors[0], strict=True):
        assert 0 <= time < 700
        centre = round(time * RATE / 1000)
        at = [abs(i) for i in range(centre - half, centre + half)]  # mirrored at both ends, slowly
        around = audio[:, [i if i < n else 2 * (n - 1) - i for i in at]]
        with torch.no_grad():
            torch.testing.assert_close(vector, model.encoder(around)[0], rtol=1e-4, atol=1e-5)


def test_a_later_sound_has_its_vectors_later(folder: Path) -> None:
    model = hear.load_model(folder, window=0.3)
    audio = noise(1, 1.0)
    first, _ = hear.get_timestamp_embeddings(audio[:, 800:], model)
    second, _ = hear.get_timestamp_embeddings(audio, model)
    torch.testing.assert_close(second[:, 4:-3], first[:, 3:-3], rtol=1e-4, atol=1e-5)  # windows that meet no end
    assert not torch.allclose(second[:, 4:-3], first[:, 4:-2], rtol=1e-2)


@pytest.mark.slow
def test_vectors_do_not_depend_on_the_batch(model: hear.HearModel) -> None:
    audio = noise(5, 0.3)
    together = hear.get_timestamp_embeddings(audio, model)[0]
    alone = torch.cat([hear.get_timestamp_embeddings(sound[None], model)[0] for sound in audio])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        hear.get_timestamp_embeddings(audio.flip(0), model)[0], alone.flip(0), rtol=1e-4, atol=1e-5
    )
    scenes = torch.cat([hear.get_scene_embeddings(sound[None], model) for sound in audio])
    torch.testing.assert_close(hear.get_scene_embeddings(audio, model), scenes, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 100, 801])
def test_short_sounds(model: hear.HearModel, n: int) -> None:
    audio = noise(1, 1.0)[:, :n]
    vectors, times = hear.get_timestamp_embeddings(audio, model)
    assert times.tolist() == ([[0.0, 50.0]] if n > 800 else [[0.0]])
    assert torch.isfinite(vectors).all()
    assert torch.isfinite(hear.get_scene_embeddings(audio, model)).all()


def test_other_floats_and_gradients_are_taken(model: hear.HearModel) -> None:
    audio = noise(1, 0.2)
    expected = hear.get_scene_embeddings(audio, model)
    torch.testing.assert_close(hear.get_scene_embeddings(audio.double().requires_grad_(), model), expected)


def test_no_path_is_the_default_weights() -> None:
    model = hear.load_model()
    assert model.scene_embedding_size == model.timestamp_embedding_size == 1000
    assert model.encoder.fingerprint == MTSLVR.from_pretrained().fingerprint


@pytest.mark.parametrize("function", [hear.get_scene_embeddings, hear.get_timestamp_embeddings])
@pytest.mark.parametrize(
    ("audio", "error", "message"),
    [
        (
            np.zeros((1, 800), np.float32),
            TypeError,
            "audio is of type ndarray; expected a floating-point tensor [n, samples]",
        ),
        (
            torch.zeros(1, 800, dtype=torch.int16),
            TypeError,
            "audio is a torch.int16 tensor; expected a floating-point tensor",
        ),
        (torch.zeros(800), ValueError, "audio has shape [800]; expected [n, samples]"),
        (torch.zeros(800), ValueError, "give one sound as audio[None]"),
        (torch.zeros(1, 1, 800), ValueError, "audio has shape [1, 1, 800]; expected [n, samples]"),
        (torch.zeros(2, 0), ValueError, "audio has shape [2, 0]; expected [n, samples], with at least one of each"),
        (torch.zeros(0, 800), ValueError, "audio has shape [0, 800]"),
        (torch.eye(3, 800) * np.nan, ValueError, "sound 0 has samples that are NaN or infinite"),
        (torch.diag(torch.tensor([1, np.inf])), ValueError, "sound 1 has samples that are NaN or infinite"),
        (torch.tensor([[0.0], [12_000.0]]), ValueError, "sound 1 reaches 12000, where full scale is 1: divide 16-bit"),
    ],
)
def test_bad_audio(model: hear.HearModel, function: Any, audio: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        function(audio, model)


def test_bad_models(folder: Path, model: hear.HearModel) -> None:
    for name, options, message in [
        ("", {"space": "both"}, "space is 'both'; this model has 'combined', 'invariant', 'variant'"),
        ("", {"window": 0.032}, "window is 0.032; expected more than 0.032 seconds"),
        ("", {"window": 6}, "window is 6; expected seconds, more than 0, at most 5"),
        ("", {"hop": 0}, "hop is 0; expected seconds, more than 0"),
        ("", {"hop": 1e-9}, "hop is 1e-09; expected 0.001 seconds at least"),
        ("/nowhere/at/all", {}, "/nowhere/at/all"),
    ]:
        with pytest.raises(ValueError, match=message):
            hear.load_model(name or folder, **options)
    with pytest.raises(TypeError, match=r"model is of type MTSLVR; expected what mtslvr\.hear\.load_model returns"):
        hear.get_scene_embeddings(noise(1, 0.1), model.encoder)  # type: ignore[arg-type]
    training = hear.load_model(folder).train()
    for function in (hear.get_scene_embeddings, hear.get_timestamp_embeddings):
        with pytest.raises(ValueError, match=r"training mode.*call model\.eval\(\)"):
            function(noise(1, 0.1), training)


def test_hear_validator(folder: Path, tmp_path: Path) -> None:
    """It imports TensorFlow, and asks it whether the model is one of its own: a stub says no."""
    if importlib.util.find_spec("hearvalidator") is None:
        pytest.skip("hearvalidator is not installed")
    (tmp_path / "tensorflow.py").write_text("class Module: pass")
    command = [sys.executable, "-m", "hearvalidator.validate", "mtslvr.hear", "--model", folder, "--device", "cpu"]
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("Looks good!\n")
    assert "We suggest a interval" not in done.stderr
