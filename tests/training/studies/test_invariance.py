"""Invariance: each augmentation alone, and the whole measurement on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_sets import write_tones

from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.model import MTSLVR
from training.augment.chain import AUGMENTATIONS
from training.studies import invariance, mahalanobis

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp("tiny", numbered=False) / "model"
        MTSLVR(EncoderConfig(adapter="bn", head_dim=4)).save_pretrained(folder)
    return folder


def test_each_augmentation_alone() -> None:
    waves = torch.from_numpy(np.random.default_rng(0).uniform(0.1, 0.5, (6, 16_000)).astype(np.float32))
    generators = [torch.Generator().manual_seed(i) for i in range(7)]
    found = dict(zip(AUGMENTATIONS, invariance._augmented(waves, generators), strict=True))
    assert all(not torch.equal(version, waves) for version in found.values())
    assert torch.equal(found["time_shift"].sort(1).values, waves.sort(1).values)
    changed = found["time_mask"] != waves
    assert changed.any()
    assert (found["time_mask"][changed] == 0).all()
    assert (found["fade"].abs() <= waves.abs() + 1e-6).all()
    assert (found["fade"][:, [0, -1]] < 0.1).all()
    for kind in ("white_noise", "mixed_noise"):
        noise = found[kind] - waves
        snr_db = 10 * torch.log10(waves.square().mean(1) / noise.square().mean(1))
        assert ((snr_db > 2.9) & (snr_db < 30.1)).all()
        assert len(snr_db.unique()) == 6, "each clip has parameters of its own"


def test_the_whole_measurement(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mahalanobis, "LEAST_CLIPS", 6)  # enough for four features
    for name in ("low", "high"):
        write_tones(tmp_path / "sets" / name, n_clips=2)
    arguments = ["--model", str(model), "--data-root", str(tmp_path / "sets"), "--clips", "3"]
    invariance.main([*arguments, "--json", str(tmp_path / "out.json"), "--plot", str(tmp_path / "out.png")])
    printed = capsys.readouterr().out
    content = json.loads((tmp_path / "out.json").read_text())
    results = [invariance.Invariance(**result) for result in content["results"]]
    assert len(results) == 2 * 3 * 8  # heads, sets and all of them, augmentations and their mean
    assert {(result.data, result.n_clips) for result in results} == {("all", 6), ("low", 3), ("high", 3)}
    by_kind = {result.augmentation: result for result in results if (result.head, result.data) == ("variant", "all")}
    kinds = [by_kind[kind].ratio for kind in AUGMENTATIONS]
    assert by_kind["mean"].ratio == pytest.approx(np.mean(kinds))
    assert min(kinds) > 0
    assert "Covariance: Ledoit-Wolf, of the clean clips; shrinkage tiny/invariant 0." in printed
    assert f"{by_kind['fade'].ratio:.2f} ±{by_kind['fade'].ratio_interval:.2f}" in printed
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_the_seed_decides(model: Path, tmp_path: Path) -> None:
    paths = sorted(write_tones(tmp_path / "tones", n_classes=2, n_clips=1).glob("*.wav"))
    loaded = MTSLVR.from_pretrained(model)
    one, same, other = (invariance.embed(loaded, paths, seed) for seed in (0, 0, 10))
    assert one.shape == (8, 2, 8)
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(one[0], other[0])
    assert (one[1:] != other[1:]).any((1, 2)).all()
    np.testing.assert_allclose(one[0], loaded.embed(paths), rtol=1e-5, atol=1e-6)


def test_errors_are_one_line(model: Path, tmp_path: Path) -> None:
    write_tones(tmp_path / "tones", n_clips=2)
    for arguments, message in (
        ([], "no data: give --data NAME=PATH"),
        (["--data", f"tones={tmp_path}/tones", "--clips", "1"], "1 clips, at least 1 a set; expected 20 or more"),
        (["--data", f"tones={tmp_path}/tones", "--model", str(tmp_path)], "not a model folder"),
    ):
        with pytest.raises(SystemExit, match=r"^error: ") as error:
            invariance.main(["--model", str(model), *arguments])
        assert message in str(error.value)
