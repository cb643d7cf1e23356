"""mtslvr.integrations: what X-ARES and MTEB ask of an encoder, and their own checks where they are installed."""

from __future__ import annotations

import importlib.util
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_model
import torch
from torch import nn
from torch.utils.data import DataLoader

from mtslvr import hear, integrations
from mtslvr.encoder.model import MTSLVR
from mtslvr.integrations import MTEBModel, MTSLVREncoder

RATE = 16_000
XARES = """
import sys
from pathlib import Path

import numpy as np, soundfile
from xares.audio_encoder_checker import check_audio_encoder
from xares.audiowebdataset import write_audio_tar
from xares.task import TaskConfig, XaresTask
from xares.utils import attr_from_py_path

encoder = attr_from_py_path("mtslvr.integrations", endswith="Encoder")()
assert check_audio_encoder(encoder)
root, rng = Path(sys.argv[1]), np.random.default_rng(0)
(root / "tones").mkdir()
paths, labels = [], []
for i in range(16):
    tone = np.sin(2 * np.pi * (200 if i % 2 else 2_000) * (1 + 0.02 * i) * np.arange(4_000) / 16_000)
    soundfile.write(root / f"{i:02}.wav", 0.3 * tone + 0.01 * rng.normal(size=len(tone)), 16_000)
    paths.append(str(root / f"{i:02}.wav"))
    labels.append({"label": i % 2})
for split in ("train", "valid", "test"):
    write_audio_tar(paths, labels, str(root / "tones" / f"{split}-*.tar"), num_shards=1)
(root / "tones" / ".audio_tar_ready").touch()
task = XaresTask(TaskConfig(name="tones", env_root=root, encoder=encoder, private=True, output_dim=2, num_encoder_workers=0,
                            torch_num_threads=1, epochs=20, label_processor=lambda item: item["label"]))
task.make_encoded_tar()
assert task.run_mlp()[0] == 1, "mlp"
assert task.run_knn()[0] == 1, "knn"
"""
MTEB = """
import sys

import mteb
from mteb.models.models_protocols import EncoderProtocol
from mteb.results.task_result import TaskResult
from mtslvr.integrations import MTEBModel

model = MTEBModel(sys.argv[1], space="variant")
assert isinstance(model, EncoderProtocol)
done = {name: result for name, result in mteb.mock_run(model).items() if result is not None}
failed = {name: result for name, result in done.items() if not isinstance(result, TaskResult)}
assert len(done) > 3 and not failed, failed
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model.save(tmp_path_factory.mktemp("model"))


def sounds(n: int, seconds: float = 0.3) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [{"array": 0.1 * rng.normal(size=round(seconds * RATE)), "sampling_rate": RATE} for _ in range(n)]


def run(script: str, *arguments: str | Path) -> None:
    """In a process of its own: these packages warn, set seeds and threads, and log as they please."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr


def importable(*modules: str) -> None:
    """Skip where a module is missing, or cannot be loaded, as torchcodec without FFmpeg."""
    for module in modules:
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            pytest.skip(f"{module} is not installed")
        if subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode:
            pytest.skip(f"{module} cannot be loaded")


def test_xares_finds_one_encoder() -> None:
    assert [name for name in dir(integrations) if name.endswith("Encoder")] == ["MTSLVREncoder"]


@pytest.mark.slow
@pytest.mark.parametrize(("space", "width"), [("combined", 8), ("variant", 4)])
def test_what_xares_checks(folder: Path, space: str, width: int) -> None:
    encoder = MTSLVREncoder(folder, space=space)
    assert isinstance(encoder, nn.Module)
    assert (encoder.sampling_rate, encoder.output_dim, encoder.hop_size_in_ms) == (RATE, width, 50.0)
    audio = torch.randn(2, 8_000, generator=torch.Generator().manual_seed(0))  # beyond -1..1, as X-ARES' own check
    with torch.inference_mode():
        frames = encoder(audio)
    assert frames.shape == (2, 10, width), "ceil(duration / hop), as X-ARES cuts its labels"
    expected, times = hear.get_timestamp_embeddings(audio, encoder.model)
    torch.testing.assert_close(frames, expected)
    assert torch.diff(times).unique().tolist() == [encoder.hop_size_in_ms]


def test_the_hop_is_what_it_says(folder: Path) -> None:
    encoder = MTSLVREncoder(folder, window=0.2, hop=0.032)
    assert encoder.hop_size_in_ms == 32
    assert encoder(torch.zeros(1, 5 * 512)).shape == (1, 5, 8)


def test_mteb_gets_what_embed_gives(folder: Path) -> None:
    model = MTEBModel(folder, space="invariant")
    clips = sounds(3) + sounds(2, 0.1)
    batches = DataLoader([{"audio": clip, "label": 0} for clip in clips], 2, collate_fn=as_columns)  # type: ignore[arg-type]
    found = model.encode(
        batches, task_metadata=None, hf_split="test", hf_subset="default", prompt_type=None, batch_size=2
    )
    expected = model.encoder.embed([(clip["array"], RATE) for clip in clips], space="invariant")
    assert (found.shape, found.dtype) == ((5, 4), np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def as_columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """A batch as MTEB makes it: clips stay a list."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_mteb_similarities() -> None:
    model = MTEBModel()
    one, other = np.array([[1.0, 0], [1, 1], [0, 0]], np.float32), torch.tensor([[2.0, 0], [0, 3], [1, 1]])
    half = 0.5**0.5
    expected = torch.tensor([[1, 0, half], [half, half, 1], [0, 0, 0]])
    torch.testing.assert_close(model.similarity(one, other), expected)
    torch.testing.assert_close(model.similarity(one[0], other), expected[:1])
    torch.testing.assert_close(model.similarity_pairwise(one, other), expected.diagonal())


def test_mteb_models_by_name_and_ready(folder: Path) -> None:
    ready = MTSLVR.from_pretrained(folder)
    assert MTEBModel(ready).encoder is ready
    assert MTEBModel(str(folder)).encoder.fingerprint == ready.fingerprint
    assert MTEBModel().encoder.fingerprint == MTSLVR.from_pretrained().fingerprint
    assert list(inspect.signature(MTEBModel).parameters)[:2] == ["model", "revision"], (
        "the order that MTEB gives them in"
    )


def test_bad_calls_of_mteb(folder: Path) -> None:
    model = MTEBModel(folder)
    with pytest.raises(ValueError, match=r"a batch has \['text'\] and no 'audio'"):
        model.encode([{"text": ["a dog"]}])
    with pytest.raises(ValueError, match="no batches"):
        model.encode([])
    with pytest.raises(ValueError, match="clip 0 has samples that are NaN"):
        model.encode([{"audio": [{"array": np.full(9, np.nan), "sampling_rate": RATE}]}])
    with pytest.raises(ValueError, match="space is 'both'; this model has 'combined'"):
        MTEBModel(folder, space="both")


def test_in_xares(tmp_path: Path) -> None:
    """Its check of encoders, and a task of tones from tar files to both scores."""
    importable("xares.task", "torchcodec")
    run(XARES, tmp_path)


def test_in_mteb(folder: Path) -> None:
    """All of its own mock tasks of sound: classification, clustering, pairs, retrieval, reranking."""
    importable("mteb", "torchcodec")
    run(MTEB, folder)


def test_mteb_model_refuses_what_does_not_fit(folder: Path) -> None:
    encoder = MTSLVR.from_pretrained(folder)
    with pytest.raises(ValueError, match="revision='main' is for Hub repositories"):
        MTEBModel(encoder, revision="main")
    with pytest.raises(ValueError, match="device is 'gpu', which cannot be used here"):
        MTEBModel(encoder, device="gpu")
    with pytest.raises(ValueError, match=r"shapes \[2, 3\] and \[1, 3\]"):
        MTEBModel(encoder).similarity_pairwise(np.ones((2, 3)), np.ones((1, 3)))
