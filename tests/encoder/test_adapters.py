import copy

import golden
import pytest
import torch
from small_model import randomise
from torch import nn

from mtslvr.encoder.adapters import Adapter, AdapterConv2d, AdapterResNet18
from mtslvr.encoder.convert import from_authors

VARIANTS: list[tuple[Adapter, int]] = [
    ("parallel", 2),
    ("series", 2),
    ("bn", 2),
    ("none", 2),
    ("none", 1),
    ("parallel", 1),
]


@pytest.mark.parametrize("variant", golden.VARIANTS)
def test_outputs_and_size_equal_the_authors(variant: str) -> None:
    network, left_over = from_authors(golden.authors_state(variant))
    assert left_over == []
    assert sum(p.numel() for p in network.parameters()) == golden.LAYOUTS["variants"][variant]["params"]
    image, expected = golden.arrays()["spectrogram"], golden.outputs(variant)
    with torch.no_grad():
        for net in (network, network.fold()):
            assert (net(image) - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("adapter", ["bn", "series", "parallel"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("task", [0, 1])
def test_one_convolution_folds_exactly(adapter: Adapter, stride: int, task: int) -> None:
    layer = AdapterConv2d(8, 8 * stride, stride, adapter, 2).double().eval()
    randomise(layer)
    x = torch.randn(2, 8, 11, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kernel, bias = layer.fold(task)
    folded = nn.functional.conv2d(x, kernel, bias, stride, 1)
    expected = layer(x, task)
    assert (folded - expected).norm() < 1e-12 * expected.norm()
    assert (layer(x, 1 - task) - expected).norm() > 0.1 * expected.norm()  # the tasks do differ


def test_parallel_adapter_is_the_sum_of_two_convolutions() -> None:
    layer = AdapterConv2d(4, 6, 2, "parallel", 1).eval()
    x = torch.randn(1, 4, 9, 9)
    torch.testing.assert_close(layer(x, 0), layer.norms[0](layer.conv(x) + layer.adapters[0](x)))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(4, 2), (7, 3), (1, 1)])
def test_tiny_maps_in_training_are_the_same_convolution_with_the_same_gradients(
    stride: int, size: tuple[int, int]
) -> None:
    layer = AdapterConv2d(16, 512, stride, "parallel", 1).double()
    layer.norms[0] = nn.Identity()
    x = torch.randn(2, 16, *size, dtype=torch.float64, requires_grad=True)
    expected = nn.functional.conv2d(x, layer._kernel(0), None, stride, 1)
    result = layer(x, 0)
    assert type(result.grad_fn) is not type(expected.grad_fn)  # computed another way
    torch.testing.assert_close(result, expected)
    wanted = torch.autograd.grad(expected.square().sum(), [x, layer.conv.weight, layer.adapters[0].weight])
    found = torch.autograd.grad(result.square().sum(), [x, layer.conv.weight, layer.adapters[0].weight])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(("adapter", "n_heads"), VARIANTS)
def test_network_folds_exactly_and_stays_as_it_was(adapter: Adapter, n_heads: int) -> None:
    torch.manual_seed(0)
    network = AdapterResNet18(adapter, n_heads, 10).double().eval()
    randomise(network)
    before = copy.deepcopy(network.state_dict())
    image = torch.randn(2, 3, 128, 37, dtype=torch.float64)
    with torch.no_grad():
        expected, folded = network(image), network.fold()(image)
    assert (folded - expected).norm() < 1e-10 * expected.norm()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.slow
def test_deploy_form_has_no_adapters_left() -> None:
    kinds = {type(module) for module in AdapterResNet18("series").fold().modules()}
    assert AdapterConv2d not in kinds
    norms = [m for m in AdapterResNet18("series").fold().modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 2  # the end batch norms, one per head, which follow a ReLU


@pytest.mark.parametrize(("adapter", "n_heads"), VARIANTS)
def test_heads_are_chosen_in_order(adapter: Adapter, n_heads: int) -> None:
    network = AdapterResNet18(adapter, n_heads, 7).eval()
    randomise(network)
    image = torch.randn(1, 3, 128, 16)
    with torch.no_grad():
        for net in (network, network.fold()):
            everything = net(image)
            for head in range(n_heads):
                torch.testing.assert_close(net(image, [head]), everything[:, 7 * head : 7 * head + 7])


def test_gradients_reach_only_the_adapters_of_their_task() -> None:
    network = AdapterResNet18("parallel", 2, 5)
    network(torch.randn(2, 3, 128, 16), [1]).sum().backward()
    used = {name for name, p in network.named_parameters() if p.grad is not None}
    assert "stages.3.0.conv1.adapters.1.weight" in used
    assert "stages.3.0.conv1.adapters.0.weight" not in used
    assert "stages.3.0.conv1.conv.weight" in used  # shared
    assert "stages.0.0.conv1.adapters.0.weight" in used  # stage 1 has one set for both tasks
