"""The two readouts: the paper's layer, and the one on pooled maps; and how the latter is fitted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_model import randomise

from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.model import MTSLVR
from mtslvr.encoder.readout import N_POOLED, LinearReadout, PooledReadout, pooled


def maps(n: int, frames: int = 10, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(n, 256, 8, frames, generator=random), torch.rand(n, 512, 4, frames // 2, generator=random)


def test_linear_readout_sees_the_global_mean() -> None:
    readout, (before, last) = LinearReadout(5), maps(2)
    expected = last.mean((2, 3)) @ readout.weight.T + readout.bias
    torch.testing.assert_close(readout(before, last), expected)


def test_pooling_is_mean_and_deviation_over_time_by_row() -> None:
    before, last = maps(2)
    found = pooled(before, last).double().numpy()
    parts = [
        np.log1p(statistic(one.double().numpy(), axis=3)).reshape(2, -1)
        for one in (before, last)
        for statistic in (np.mean, np.std)
    ]
    assert found.shape == (2, N_POOLED)
    np.testing.assert_allclose(found, np.concatenate(parts, 1), atol=1e-6)


def test_pooled_readout_gives_unit_vectors_and_ignores_the_order_in_time() -> None:
    readout, (before, last) = PooledReadout(7), maps(3)
    vectors = readout(before, last)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(readout(before.flip(3), last.flip(3)), vectors)


def test_a_single_frame_has_no_deviation_and_a_gradient() -> None:
    before, last = (one[..., :1].requires_grad_() for one in maps(2))
    found = pooled(before, last)
    assert (found[:, 2048:4096] == 0).all() and (found[:, 6144:] == 0).all()
    found.sum().backward()
    assert before.grad is not None and before.grad.isfinite().all()


@pytest.mark.parametrize(("adapter", "n_heads"), [("parallel", 2), ("series", 2), ("none", 2), ("bn", 1)])
def test_pooled_models_fold_save_and_load(adapter: str, n_heads: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MTSLVR(EncoderConfig(adapter, n_heads, 12, std=0.1, readout="pooled"))  # type: ignore[arg-type]
    randomise(model.network)
    wave = 0.1 * torch.randn(3, 16_000)
    trained = model(wave)  # gradients are recorded: the adapter network
    with torch.no_grad():
        folded = model(wave)
    assert trained.requires_grad and not folded.requires_grad
    torch.testing.assert_close(folded, trained.detach(), rtol=0, atol=2e-5)
    model.save_pretrained(tmp_path)
    loaded = MTSLVR.from_pretrained(tmp_path)
    assert loaded.fingerprint == model.fingerprint and loaded.config.readout == "pooled"
    clips = [(wave[i, : 4000 * (i + 1)].numpy(), 16_000) for i in range(3)]
    together = loaded.embed(clips)
    for clip, vector in zip(clips, together, strict=True):
        np.testing.assert_allclose(loaded.embed(clip), vector, atol=1e-4)
    np.testing.assert_allclose(
        together[:, :12] if n_heads == 2 else together,
        loaded.embed(clips, space="invariant" if n_heads == 2 else "combined"),
        atol=1e-6,
    )


def test_another_readout_is_another_model() -> None:
    torch.manual_seed(0)
    linear = MTSLVR(EncoderConfig("bn", 1, 4))
    assert EncoderConfig("bn", 1, 4, readout="pooled").identity() != linear.config.identity()
    old = linear.config.to_json()
    del old["network"]["readout"]  # as files were written before there were two
    assert EncoderConfig.from_json(old) == linear.config
    with pytest.raises(ValueError, match="readout is 'mean', expected one of linear, pooled"):
        EncoderConfig(readout="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="eps is 0"):
        EncoderConfig(eps=0.0)
