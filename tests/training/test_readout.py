"""The fit of the pooled readout: what copies of a sound have in common is kept, what differs between them is shrunk."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small_model import randomise

from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.model import MTSLVR
from mtslvr.encoder.readout import N_POOLED
from training import readout
from training.corpus.pack import pack
from training.corpus.reader import Corpus

WIDTH = 6


def crops(n: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pooled maps of crops that vary in a few directions, and of copies that are moved along one of them."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(N_POOLED, WIDTH, generator=random))[0].T
    clean = 3 + torch.randn(n, WIDTH, generator=random) @ directions
    nuisance = directions[0]
    copies = clean + 2 * torch.randn(n, 1, generator=random) * nuisance
    return clean, copies, nuisance


def test_the_bias_centres_the_crops_and_the_norm_is_one() -> None:
    clean, copies, _ = crops()
    weight, bias = readout.fit(clean, [copies], WIDTH)
    features = clean @ weight.T + bias
    assert weight.shape == (WIDTH, N_POOLED) and bias.shape == (WIDTH,)
    assert features.mean(0).abs().max() < 1e-4
    assert abs(features.square().sum(1).mean().sqrt() - 1) < 1e-4


def test_what_changes_between_copies_is_shrunk() -> None:
    clean, copies, nuisance = crops()
    weight, _ = readout.fit(clean, [copies], WIDTH)
    without, _ = readout.fit(clean, [clean + 1e-3 * torch.randn_like(clean)], WIDTH)

    def share(weight: torch.Tensor) -> float:
        """Of the features' variance, what moves along the direction of the copies."""
        along = (weight @ nuisance).square().sum()
        return float(along / (weight @ (clean - clean.mean(0)).T).square().sum(0).mean())

    assert share(weight) < 0.5 * share(without)


def test_directions_that_vary_most_do_not_drown_the_others() -> None:
    clean, _, strong = crops(400)
    clean = clean + 15 * ((clean - clean.mean(0)) @ strong)[:, None] * strong  # 16 times the others' deviation
    copies = clean + 1e-3 * torch.randn_like(clean)
    weight, bias = readout.fit(clean, [copies], WIDTH)
    deviations = (clean @ weight.T + bias).std(0).sort().values
    assert deviations[-1] / deviations[:-1].mean() == pytest.approx(4, rel=0.1)


def test_blocks_of_another_scale_weigh_alike() -> None:
    clean, copies, _ = crops()
    louder = torch.ones(N_POOLED)
    louder[:2048] = 1000.0
    weight, bias = readout.fit(clean, [copies], WIDTH)
    scaled, scaled_bias = readout.fit(clean * louder, [copies * louder], WIDTH)
    found, expected = (clean * louder) @ scaled.T + scaled_bias, clean @ weight.T + bias
    np.testing.assert_allclose((found @ found.T).numpy(), (expected @ expected.T).numpy(), atol=1e-3)


@pytest.mark.slow
def test_a_model_is_refitted_from_a_corpus_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for source in ("a", "b"):
        (tmp_path / "sound" / source).mkdir(parents=True)
        for i in range(3):
            wave = 0.1 * rng.standard_normal(8000 * (i + 1))
            soundfile.write(tmp_path / "sound" / source / f"{i}.wav", wave, 16_000)
    pack(tmp_path / "sound", tmp_path / "packed")
    torch.manual_seed(0)
    model = MTSLVR(EncoderConfig("bn", 2, 4, std=0.1, training={"steps": 7}))
    randomise(model.network)
    corpus = Corpus(tmp_path / "packed")
    refitted = readout.refit(model, corpus, n_crops=8, n_changed=4)
    assert refitted.config.readout == "pooled" and refitted.config.training["steps"] == 7
    assert "8 crops" in json.dumps(refitted.config.to_json())
    kept = refitted.network.state_dict()
    for name, tensor in model.network.state_dict().items():
        assert name.startswith("heads.") or torch.equal(kept[name], tensor)
    assert readout.refit(model, corpus, n_crops=8, n_changed=4).fingerprint == refitted.fingerprint
    vector = refitted.embed((0.1 * rng.standard_normal(16_000), 16_000))
    np.testing.assert_allclose([np.linalg.norm(vector[:4]), np.linalg.norm(vector[4:])], 1, atol=1e-5)
