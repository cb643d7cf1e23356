"""The packed network gives what the plain one gives, for every size, and the model takes it where it can."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from mtslvr import MTSLVR, EncoderConfig
from mtslvr.adapters import AdapterResNet18
from mtslvr.packed import PackedBlock, PackedConv2d, pack
from mtslvr.resnet import Block

HAS_ONEDNN = torch.backends.mkldnn.is_available()
needs_onednn = pytest.mark.skipif(not HAS_ONEDNN, reason="this build of torch has no oneDNN")


def n_packed(network: nn.Module) -> int:
    return sum(isinstance(module, PackedBlock) for module in network.modules())


@needs_onednn
@pytest.mark.parametrize(("adapter", "n_heads"), [("parallel", 2), ("series", 2), ("none", 2), ("none", 1)])
def test_packed_is_plain(adapter: str, n_heads: int) -> None:
    torch.manual_seed(0)
    plain = AdapterResNet18(adapter, n_heads).eval().fold()
    packed = pack(copy.deepcopy(plain))
    assert n_packed(packed) == len([m for m in plain.modules() if isinstance(m, Block)])
    with torch.no_grad():
        for n_clips, n_frames in ((1, 157), (3, 20), (2, 2)):  # the kernels were laid out for no size in particular
            images = torch.randn(n_clips, 3, 128, n_frames).contiguous(memory_format=torch.channels_last)
            expected = plain(images)
            torch.testing.assert_close(packed(images), expected, rtol=0, atol=1e-5 * expected.abs().max().item())
            assert packed(images, [0]).shape == (n_clips, expected.shape[1] // n_heads)


@needs_onednn
def test_each_part_of_a_convolution() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, 3, 2, 1)
    x, other = torch.randn(2, 8, 9, 7), torch.randn(2, 8, 5, 4)
    packed = PackedConv2d(conv)
    kept = other.clone()
    torch.testing.assert_close(packed(x), conv(x).relu())
    torch.testing.assert_close(packed(x, other), (conv(x) + other).relu())
    torch.testing.assert_close(other, kept, rtol=0, atol=0)


def test_other_types_stay_plain() -> None:
    network = AdapterResNet18("parallel", 2).eval().fold().double()
    assert n_packed(pack(network)) == 0
    assert network(torch.randn(1, 3, 128, 20, dtype=torch.float64)).dtype == torch.float64


def test_a_torch_without_onednn_stays_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert n_packed(pack(AdapterResNet18("parallel", 2).eval().fold())) == 0


@needs_onednn
def test_the_model_packs_and_can_still_be_copied_changed_and_moved() -> None:
    model = MTSLVR(EncoderConfig("parallel", 2, 500, 0.0, 0.1))
    wave = 0.1 * torch.randn(1, 16_000)
    with torch.no_grad():
        before = model(wave)
        assert n_packed(model._fold()) == 2 + 2 * 6
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # worker processes get it so
            torch.testing.assert_close(twin(wave), before)
        model.network.heads[0].bias += 1.0
        changed = model(wave)
        torch.testing.assert_close(changed[:, :500], before[:, :500] + 1.0)
        assert model.double()(wave.double()).isfinite().all()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_under_autocast(mode: type[torch.no_grad]) -> None:
    model = MTSLVR(EncoderConfig("parallel", 2, 500, 0.0, 0.1))
    wave = 0.1 * torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    with mode():
        expected = model(wave)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(wave)
    assert (found.float() - expected).abs().max() < 0.03 * expected.abs().max()


def test_what_was_loaded_in_inference_mode_can_learn() -> None:
    with torch.inference_mode():
        model = MTSLVR.from_pretrained()
    model(0.1 * torch.randn(1, 16_000)).sum().backward()
    assert model.network.heads[0].weight.grad is not None


@pytest.mark.filterwarnings("ignore")  # the tracer about itself, and about its own age
def test_it_can_still_be_traced() -> None:
    model = MTSLVR(EncoderConfig("parallel", 2, 500, 0.0, 0.1))
    wave = 0.1 * torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        traced = torch.jit.trace(model, wave)
        expected = model(wave)
        assert (traced(wave) - expected).abs().max() < 1e-4 * expected.abs().max()
