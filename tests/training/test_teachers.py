"""What teachers hear: the blocks of a piece, the file of a corpus, the vectors of crops, and the objective that follows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from training import teachers
from training.config import PretrainConfig
from training.corpus.heard import BLOCK, blocks, half_whitened
from training.corpus.pack import pack
from training.corpus.reader import Corpus
from training.objectives.taught import Taught
from training.pretrain import pretrain


class Teacher:
    """One frame each half of a block, which says where the sound in it lies; a second number is constant."""

    def __init__(self, step: int = BLOCK // 2) -> None:
        self.step = step

    def frames(self, wave: np.ndarray) -> np.ndarray:
        places = wave[self.step // 2 :: self.step]
        return np.stack([places, np.ones_like(places)], 1)


def ramp(start: int, length: int) -> np.ndarray:
    return (np.arange(start, start + length) // 16).astype(np.float32)


@pytest.mark.parametrize(("step", "n_frames"), [(4_000, 40), (8_000, 20), (20_000, 8)])
def test_a_block_is_the_mean_of_its_frames(step: int, n_frames: int) -> None:
    wave = ramp(0, 160_000)
    assert len(Teacher(step).frames(wave)) == n_frames
    found = np.stack(list(teachers.blocks(Teacher(step), wave)))  # type: ignore[arg-type]
    assert found.shape == (20, 2)
    middles = ramp(0, 160_000)[BLOCK // 2 :: BLOCK]
    assert np.abs(found[:, 0] - middles).max() <= step / 2 / 16  # no frame of another place


def test_the_end_of_a_piece_has_a_block_of_its_own() -> None:
    assert len(list(teachers.blocks(Teacher(1_000), ramp(0, 80_000 + 8_001)))) == 12  # type: ignore[arg-type]
    assert len(list(teachers.blocks(Teacher(1_000), ramp(0, 600)))) == 1  # type: ignore[arg-type]
    assert blocks(torch.tensor([88_001, 600, 8_000])).tolist() == [12, 1, 1]


@pytest.fixture
def packed(tmp_path: Path) -> Corpus:
    """Five sources of pieces whose samples tell where they lie in the corpus, from 100 on."""
    start = 100
    for source, lengths in enumerate(((30_000, 4_000), (90_000,), (24_000, 24_000), (12_000,), (12_000,))):
        (tmp_path / f"in/{source}").mkdir(parents=True)
        for index, length in enumerate(lengths):
            wave = (np.arange(start, start + length) // 16).astype(np.int16)
            soundfile.write(tmp_path / f"in/{source}/{index}.wav", wave, 16_000)
            start += length
    pack(tmp_path / "in", tmp_path / "out", licence="CC0")
    return Corpus(tmp_path / "out")


@pytest.fixture
def taught(packed: Corpus, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    monkeypatch.setattr(teachers, "NETWORKS", {"one": Teacher, "two": lambda: Teacher(2_000)})
    for name in ("one", "two"):
        assert teachers.teach(packed, name).exists()
    return packed.taught_by(("one", "two"))


def test_a_crop_is_heard_where_it_is_cut(taught: Corpus) -> None:
    """Both follow the ramp, so that they agree up to the scale of the one and the blocks of the other."""
    assert taught.heard is not None and taught.heard.widths == {"one": 2, "two": 2}
    parts = [taught, taught.to("cpu"), *taught.split(0.4, seed=1), taught.split(0.4, seed=1)[0].to("cpu")]
    for part in parts:
        places = part.places(200, 16_000, torch.Generator().manual_seed(0), "piece")
        middles = part.cut(*places, 16_000).view(200, 2, BLOCK)[:, :, BLOCK // 2].mean(1) * 32_768 * 16
        assert part.heard is not None
        heard = part.heard(*places, 16_000)
        assert heard.shape == (200, 4)
        whole = np.concatenate([np.load(taught.folder / "teacher-one.npy")[:, 0].astype(float)])
        samples = (heard[:, 0] * whole.std(ddof=1) + whole.mean()) * 32_768 * 16
        assert (samples - middles).abs().max() <= BLOCK  # blocks do not begin where crops do
        assert (heard[:, [1, 3]] == 0).all()  # numbers that never change are not divided by nothing


def test_targets_are_half_whitened() -> None:
    """Whatever the scales of a teacher's numbers, the covariance is the root of that of the standardised ones."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(5_000, 3, generator=generator) @ torch.tensor([[1.0, 1.0, 0], [0, 0.3, 0], [0, 0, 50]]) + 7
    targets = half_whitened(vectors)
    covariance = targets.T @ targets / len(targets)
    assert covariance @ covariance == pytest.approx(vectors.T.corrcoef().numpy(), abs=0.02)
    assert targets.mean(0).abs().max() < 1e-2


def test_a_target_far_out_is_cut_off() -> None:
    vectors = torch.zeros(1_000, 1)
    vectors[0] = 1e6
    assert half_whitened(vectors).abs().max() < 15  # 32 without the cut


def test_what_was_heard_is_kept(taught: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "NETWORKS", {})
    teachers.teach(taught, "one")


def test_missing_and_foreign_files_are_told(packed: Corpus) -> None:
    with pytest.raises(ValueError, match=r"teacher-one.npy is missing: python -m training.teachers .* one"):
        packed.taught_by(("one",))
    np.save(packed.folder / "teacher-one.npy", np.zeros((3, 2), np.float16))
    with pytest.raises(ValueError, match="3 blocks of 27: delete it, and make it again"):
        packed.taught_by(("one",))


def test_the_objective_follows_every_teacher() -> None:
    objective = Taught(3, {"one": 2, "two": 3})
    with torch.no_grad():
        objective.linear.bias.zero_()
        objective.linear.weight.copy_(torch.cat([torch.eye(3)[:2], torch.eye(3)]))
    h = torch.randn(5, 3)
    assert objective(h, 7 * h, torch.cat([h[:, :2], h], 1)).item() == pytest.approx(0, abs=1e-6)
    assert objective(h, h, torch.cat([h[:, :2], -h], 1)).item() == pytest.approx(2, abs=1e-6)
    assert objective(h, -h, torch.cat([h[:, :2], h], 1)).item() == pytest.approx(2, abs=1e-6)


@pytest.mark.slow
def test_a_run_goes_on_from_a_model_and_says_who_taught_it(taught: Corpus, tmp_path: Path) -> None:
    small: dict[str, Any] = {
        "seconds": 0.5, "batch": 4, "n_validation": 1, "patience": 0, "readout": "pooled", "validation": 0.4,
    }  # fmt: skip
    pretrain(PretrainConfig(steps=2, **small), str(taught.folder), tmp_path / "first", torch.device("cpu"))
    going_on = PretrainConfig(
        steps=3, lr=1e-30, init=str(tmp_path / "first/model"), teachers=("one", "two"), taught_weight=0.5, **small
    )
    pretrain(going_on, str(taught.folder), tmp_path / "second", torch.device("cpu"))
    log = [json.loads(line) for line in (tmp_path / "second/log.jsonl").read_text().splitlines()]
    assert 0 <= log[0]["taught"] <= 4
    models = [json.loads((tmp_path / run / "model/config.json").read_text()) for run in ("first", "second")]
    assert models[1]["network"]["readout"] == "pooled"
    assert models[1]["training"]["objective"].endswith("+ 0.5 x taught by one, two")
    assert (
        models[1]["training"]["went on from"] == str(tmp_path / "first/model")
        and "went on from" not in models[0]["training"]
    )
    # At no rate to speak of the weights are those that it went on from.
    from safetensors.torch import load_file

    first, second = (load_file(tmp_path / run / "model/model.safetensors") for run in ("first", "second"))
    moved = [name for name in first if "running" not in name and not torch.equal(first[name], second[name])]
    assert moved == []
    with pytest.raises(ValueError, match="another network than this run's: expected one with adapter='bn'"):
        other = PretrainConfig(steps=1, adapter="bn", init=str(tmp_path / "first/model"), **small)
        pretrain(other, str(taught.folder), tmp_path / "third", torch.device("cpu"))


def test_teachers_and_synthetic_sound_exclude_each_other() -> None:
    with pytest.raises(ValueError, match=r"synthetic is 0\.5, expected 0: teachers have heard the corpus only"):
        PretrainConfig(teachers=("yamnet",), synthetic=0.5)
