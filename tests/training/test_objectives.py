"""The objectives against oracles written slowly from the papers, and against what each of them promises."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.objectives.contrastive import SimCLR, SimSiam, nt_xent
from training.objectives.predictive import AugmentationPrediction, ParameterComparison, accuracy, prediction_loss

D = 12
HEADS = [SimCLR, SimSiam]


def views(n: int, d: int = D, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    h = torch.randn(2, n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return h[0], h[0] + 0.7 * h[1]


def build(kind: type[nn.Module], seed: int = 0, **kwargs: Any) -> nn.Module:
    if kind is SimSiam:
        kwargs = {"width": 24, "bottleneck": 6, **kwargs}  # narrow: quick in float64
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(D, **kwargs).double()


# --- NT-Xent -----------------------------------------------------------------------------------------------------


def simclr_algorithm_1(z1: Tensor, z2: Tensor, tau: float) -> float:
    """Algorithm 1 of 2002.05709 with its indices: 1-based, z_(2k-1) and z_(2k) the two views of sound k."""
    n = len(z1)
    z: dict[int, np.ndarray] = {}
    for k in range(1, n + 1):
        z[2 * k - 1], z[2 * k] = z1[k - 1].numpy(), z2[k - 1].numpy()
    s = {}
    for i in range(1, 2 * n + 1):
        for j in range(1, 2 * n + 1):
            dot = sum(float(a) * float(b) for a, b in zip(z[i], z[j], strict=True))
            s[i, j] = dot / (math.sqrt(sum(float(a) ** 2 for a in z[i])) * math.sqrt(sum(float(b) ** 2 for b in z[j])))

    def loss(i: int, j: int) -> float:
        denominator = sum(math.exp(s[i, k] / tau) for k in range(1, 2 * n + 1) if k != i)
        return -math.log(math.exp(s[i, j] / tau) / denominator)

    return sum(loss(2 * k - 1, 2 * k) + loss(2 * k, 2 * k - 1) for k in range(1, n + 1)) / (2 * n)


@pytest.mark.parametrize(("n", "tau"), [(2, 0.07), (5, 0.07), (7, 0.5), (16, 1.0)])
def test_nt_xent_is_algorithm_1(n: int, tau: float) -> None:
    z1, z2 = views(n)
    assert nt_xent(z1, z2, tau).item() == pytest.approx(simclr_algorithm_1(z1, z2, tau), rel=1e-12)


def test_nt_xent_gradient() -> None:
    z1, z2 = (z.requires_grad_() for z in views(4, 3))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.2), (z1, z2))


def test_nt_xent_does_not_change_its_input_and_ignores_lengths() -> None:
    z1, z2 = views(6)
    kept = z1.clone(), z2.clone()
    loss = nt_xent(z1, z2)
    torch.testing.assert_close(nt_xent(z1 * torch.arange(1, 7)[:, None], 0.01 * z2), loss)
    assert torch.equal(z1, kept[0]) and torch.equal(z2, kept[1])


def test_nt_xent_values_known_in_closed_form() -> None:
    eye = torch.eye(8, dtype=torch.float64)
    # equal views of orthogonal sounds: the positive has cosine 1, the other 2N - 2 have 0
    assert nt_xent(eye, eye, 0.5).item() == pytest.approx(math.log(1 + 14 * math.exp(-2)), rel=1e-12)
    # all vectors equal: chance among the 2N - 1 others, whatever the temperature
    assert nt_xent(eye[:1].expand(8, 8), eye[:1].expand(8, 8)).item() == pytest.approx(math.log(15), rel=1e-12)


def test_a_lower_temperature_weighs_the_hardest_negative_more() -> None:
    def share_of_hardest(tau: float) -> float:
        angles = torch.tensor([0.0, 0.6, 1.5, 2.5], dtype=torch.float64)  # sound 0, and negatives ever further away
        z = torch.stack([angles.cos(), angles.sin()], dim=1).requires_grad_()
        (gradient,) = torch.autograd.grad(nt_xent(z, z.detach(), tau), z)
        pull = gradient.norm(dim=1)
        return float(pull[:2].sum() / pull.sum())

    shares = [
        share_of_hardest(tau) for tau in (0.07, 0.1, 0.2, 0.3)
    ]  # 0.96, 0.90, 0.71, 0.60; 0.5 from a temperature of 0.5 on
    assert shares[0] > 0.95
    assert all(hot < cold - 0.05 for cold, hot in itertools.pairwise(shares))
    assert share_of_hardest(5.0) == pytest.approx(0.5, abs=0.01)
    z1, z2 = views(16)
    assert nt_xent(z1, z2, 100.0).item() == pytest.approx(math.log(31), abs=0.02)  # everything looks alike


def test_nt_xent_stays_in_float32_under_autocast() -> None:
    z1, z2 = views(64, 32, dtype=torch.float32)
    exact = nt_xent(z1.double(), z2.double())
    with torch.autocast("cpu", torch.bfloat16):
        loss = nt_xent(z1, z2)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=0)  # a bfloat16 matmul is off by 1e-3


def test_nt_xent_keeps_one_matrix_not_a_cube() -> None:
    n, d = 64, 512
    saved: list[int] = []

    def pack(x: Tensor) -> Tensor:
        saved.append(x.numel())
        return x

    z1, z2 = (z.requires_grad_() for z in views(n, d, dtype=torch.float32))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        nt_xent(z1, z2)
    assert 0 < max(saved) <= max(4 * n * n, 2 * n * d)


# --- SimSiam -----------------------------------------------------------------------------------------------------


def batch_norm(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()


def simsiam_pseudo_code(head: SimSiam, h1: Tensor, h2: Tensor) -> Tensor:
    """Algorithm 1 of 2011.10566, from the weights alone (freshly made BN: unit weight, zero bias)."""
    w = [layer.weight for layer in head.projector if isinstance(layer, nn.Linear)]
    v = [layer for layer in head.predictor if isinstance(layer, nn.Linear)]
    assert len(w) == 3 and len(v) == 2

    def f(x: Tensor) -> Tensor:
        x = batch_norm(x @ w[0].T).clamp(min=0)
        x = batch_norm(x @ w[1].T).clamp(min=0)
        return batch_norm(x @ w[2].T)

    def h(z: Tensor) -> Tensor:
        return batch_norm(z @ v[0].weight.T).clamp(min=0) @ v[1].weight.T + v[1].bias

    def distance(p: Tensor, z: Tensor) -> Tensor:
        z = z.detach()
        return -((p / p.norm(dim=1, keepdim=True)) * (z / z.norm(dim=1, keepdim=True))).sum(dim=1).mean()

    z1, z2 = f(h1), f(h2)
    p1, p2 = h(z1), h(z2)
    return distance(p1, z2) / 2 + distance(p2, z1) / 2


def test_simsiam_is_the_papers_pseudo_code_in_value_and_gradient() -> None:
    head = build(SimSiam)
    assert isinstance(head, SimSiam)
    ours, theirs = ([h.requires_grad_() for h in views(9)] for _ in range(2))
    loss, expected = head(*ours), simsiam_pseudo_code(head, *theirs)
    torch.testing.assert_close(loss, expected)
    parameters = [p for p in head.parameters() if p.ndim == 2]
    for gradient, oracle in zip(
        torch.autograd.grad(loss, [*ours, *parameters]),
        torch.autograd.grad(expected, [*theirs, *parameters]),
        strict=True,
    ):
        torch.testing.assert_close(gradient, oracle)
    assert -1 <= loss.item() <= 1


def test_simsiam_layers() -> None:
    head = SimSiam(20)
    shapes = [list(p.shape) for p in head.parameters() if p.ndim == 2]
    assert shapes == [[2048, 20], [2048, 2048], [2048, 2048], [512, 2048], [2048, 512]]
    kinds = [type(layer) for layer in head.projector]
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert kinds == [*hidden, *hidden, nn.Linear, nn.BatchNorm1d]
    assert [type(layer) for layer in head.predictor] == [*hidden, nn.Linear]


def test_the_stop_gradient_stops() -> None:
    head = build(SimSiam)
    targets: list[Tensor] = []
    predictions: list[Tensor] = []
    assert isinstance(head, SimSiam)
    head.projector.register_forward_hook(lambda *args: targets.append(args[-1]))
    head.predictor.register_forward_hook(lambda *args: predictions.append(args[-1]))
    loss = head(*views(9))
    direct = torch.autograd.grad(loss, targets, retain_graph=True)
    through_p = torch.autograd.grad(
        predictions, targets, grad_outputs=torch.autograd.grad(loss, predictions, retain_graph=True)
    )
    for whole, path in zip(direct, through_p, strict=True):  # z is reached through its own prediction only
        assert path.abs().max() > 0
        torch.testing.assert_close(whole, path, rtol=0, atol=0)


# --- augmentation prediction ---------------------------------------------------------------------------------------


def test_prediction_loss_is_cross_entropy_by_hand() -> None:
    head = build(AugmentationPrediction)
    assert isinstance(head, AugmentationPrediction)
    h1, h2 = views(10)
    labels = torch.rand(10, 7, generator=torch.Generator().manual_seed(1)) < 0.5
    total = 0.0
    for logits in (head.logits(h1), head.logits(h2)):
        for row, truth in zip(logits.tolist(), labels.tolist(), strict=True):
            for x, y in zip(row, truth, strict=True):
                p = 1 / (1 + math.exp(-x))
                total -= math.log(p) if y else math.log(1 - p)
    for dtype in (torch.bool, torch.int64, torch.float32):
        assert head(h1, h2, labels.to(dtype)).item() == pytest.approx(total / (2 * 10 * 7), rel=1e-12)


def test_prediction_layers() -> None:
    head = AugmentationPrediction(20)
    assert [list(p.shape) for p in head.parameters() if p.ndim == 2] == [[256, 20], [64, 256], [16, 64], [7, 16]]
    assert [type(layer) for layer in head.mlp] == [*[nn.Linear, nn.BatchNorm1d, nn.ReLU] * 3, nn.Linear]


def test_prediction_learns_a_separable_rule() -> None:
    head = build(AugmentationPrediction)
    h1, h2 = views(64)
    labels = h1[:, :7] > 0
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        head(h1, h2, labels).backward()
        optimiser.step()
    assert isinstance(head, AugmentationPrediction)
    assert accuracy(head.logits(h1), labels).min() > 0.9


def test_comparison_is_the_mean_square_of_what_there_is() -> None:
    head = ParameterComparison(D).double()
    h1, h2 = views(5)
    wanted = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted[0] = wanted[2, 3] = math.nan
    found, squares = head.mlp(torch.cat([h1, h2], 1)), []
    for row, truth in zip(found.tolist(), wanted.tolist(), strict=True):
        squares += [(x - y) ** 2 for x, y in zip(row, truth, strict=True) if not math.isnan(y)]
    loss = head(h1, h2, wanted)
    assert loss.item() == pytest.approx(sum(squares) / 27, rel=1e-12)
    gradients = torch.autograd.grad(loss, list(head.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)  # a NaN of what is not there must not come back
    assert head(h1, h2, torch.full_like(wanted, math.nan)) == 0
    for broken in (
        math.nan,
        math.inf,
    ):  # and features that are not finite are told, also of a sound that has nothing to compare
        for sound in (0, 1):
            spoilt = h1.clone()
            spoilt[sound, 2] = broken
            assert not head(spoilt, h2, wanted).isfinite()
    with torch.autocast("cpu", torch.bfloat16):
        assert head.float()(h1.bfloat16(), h2.bfloat16(), wanted.float()).dtype == torch.float32


def test_comparison_learns_which_of_two_is_higher() -> None:
    torch.manual_seed(0)
    head = ParameterComparison(D).double()
    h1, h2 = views(64)
    wanted = h1[:, :7] - h2[:, :7]
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(200):
        optimiser.zero_grad()
        (loss := head(h1, h2, wanted)).backward()
        optimiser.step()
    assert loss < 0.05 * wanted.square().mean()


def test_large_logits_stay_finite() -> None:
    loss = prediction_loss(torch.tensor([[1e4, -1e4]], dtype=torch.bfloat16), torch.tensor([[0, 1]]))
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(1e4, rel=1e-2)


def test_accuracy_per_kind() -> None:
    logits = torch.tensor([[2.0, -1.0, 3.0], [0.5, 1.0, -3.0]])
    labels = torch.tensor([[1, 1, 1], [0, 1, 1]])
    assert accuracy(logits, labels).tolist() == [0.5, 0.5, 0.5]
    assert accuracy(logits, logits > 0).tolist() == [1.0, 1.0, 1.0]


# --- all of them -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HEADS)
def test_the_order_of_sounds_and_of_views_does_not_matter(kind: type[nn.Module]) -> None:
    head = build(kind)
    h1, h2 = views(11)
    loss = head(h1, h2)
    order = torch.randperm(11, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(head(h1[order], h2[order]), loss)
    torch.testing.assert_close(head(h2, h1), loss)
    mismatched = head(h1, h2.roll(1, dims=0))  # the pairing does matter
    assert (mismatched - loss).abs() > 1e-4


@pytest.mark.parametrize("kind", HEADS)
def test_gradient_reaches_both_views_and_every_parameter(kind: type[nn.Module]) -> None:
    head = build(kind)
    h1, h2 = (h.requires_grad_() for h in views(8))
    head(h1, h2).backward()
    for tensor in (h1, h2, *head.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all() and tensor.grad.abs().max() > 0


@pytest.mark.parametrize("kind", [*HEADS, AugmentationPrediction])
def test_bfloat16_autocast(kind: type[nn.Module]) -> None:
    head = build(kind).float()
    views_ = views(32, dtype=torch.float32)
    inputs = (*views_, torch.ones(32, 7)) if kind is AugmentationPrediction else views_
    exact = head(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        loss = head(*inputs)
        low = head(*(x.bfloat16() for x in inputs))
    assert exact.dtype == loss.dtype == low.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0.02)
    torch.testing.assert_close(low, exact, rtol=0.05, atol=0.02)


def test_simclr_projector() -> None:
    head = SimCLR(20)
    assert [list(p.shape) for p in head.parameters()] == [[20, 20], [20], [256, 20], [256]]
    h1, h2 = views(6, 20, dtype=torch.float32)

    def g(h: Tensor) -> Tensor:
        a, b, c, d = head.parameters()
        return F.linear(F.linear(h, a, b).relu(), c, d)

    torch.testing.assert_close(head(h1, h2), nt_xent(g(h1), g(h2), 0.07))


def test_bad_input_is_refused_with_its_shape() -> None:
    x = torch.randn(4, D)
    for kind in HEADS:
        head = kind(D)
        with pytest.raises(ValueError, match=r"\[4, 12\] and \[3, 12\]"):
            head(x, x[:3])
        with pytest.raises(ValueError, match=rf"expected \[N, {D}\]"):
            head(x[:, 1:], x[:, 1:])
        with pytest.raises(ValueError, match=r"expected \[N,"):
            head(x[0], x[0])
        with pytest.raises(ValueError, match="at least 2"):
            head(x[:1], x[:1])
    with pytest.raises(ValueError, match="at least 2"):
        nt_xent(x[:0], x[:0])
    with pytest.raises(ValueError, match="temperature is 0"):
        nt_xent(x, x, 0.0)
    with pytest.raises(ValueError, match="at least 2"):
        AugmentationPrediction(D)(x[:1], x[:1], torch.ones(1, 7))
    with pytest.raises(ValueError, match=r"labels have shape \[4, 6\], expected \[4, 7\]"):
        AugmentationPrediction(D)(x, x, torch.ones(4, 6))
    with pytest.raises(ValueError, match="labels have shape"):
        accuracy(torch.zeros(4, 7), torch.zeros(7))


# --- several processes -------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    """An encoder and its head in one module, so that DDP sees one forward for all parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(D, D), nn.Tanh())
        self.head = SimCLR(D, projection=5)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        loss: Tensor = self.head(self.body(x1), self.body(x2))
        return loss


def encoder() -> Encoder:
    torch.manual_seed(5)
    return Encoder().double()


def one_of_two(rank: int, folder: str) -> None:
    """Process `rank` of two: its half of the batch; what DDP made of loss and gradients goes to a file."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    x1, x2 = views(10)
    half = slice(5 * rank, 5 * rank + 5)
    model = DistributedDataParallel(encoder())
    loss = model(x1[half], x2[half])
    loss.backward()
    gradients = {name: p.grad for name, p in model.module.named_parameters()}
    torch.save({"loss": loss.detach(), "gradients": gradients}, Path(folder) / f"{rank}.pt")
    # Neither goes while the other still talks to it, and nothing holds the group when it does: its threads would end the process.
    torch.distributed.barrier()
    del model, loss, gradients
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_loss_and_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    workers = [
        subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path)], env=environment) for rank in range(2)
    ]
    try:
        assert [worker.wait(240) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    outputs = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]

    with torch.random.fork_rng():
        alone = encoder()
    loss = alone(*views(10))
    loss.backward()
    torch.testing.assert_close((outputs[0]["loss"] + outputs[1]["loss"]) / 2, loss.detach(), rtol=1e-10, atol=0)
    assert abs(outputs[0]["loss"] - outputs[1]["loss"]) > 1e-3  # two halves, not the same batch twice
    for name, parameter in alone.named_parameters():
        for output in outputs:
            torch.testing.assert_close(output["gradients"][name], parameter.grad, rtol=1e-6, atol=1e-10)


if __name__ == "__main__":
    one_of_two(int(sys.argv[1]), sys.argv[2])
