"""The network as it is trained: one ResNet-18 whose convolutions carry small per-task adapters (paper, section 3.2),
and the exact fold into its deploy form.

A task is 0 (contrastive, the invariant head) or 1 (predictive, the variant head). The stem and stage 1 are shared: stage 1 holds a single
set of adapters, stages 2 to 4 one set per task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtslvr.encoder.readout import READOUTS, Readout
from mtslvr.encoder.resnet import BLOCKS_PER_STAGE, WIDTHS, Block, Branch, PooledShortcut, ResNet18

Adapter = Literal["none", "bn", "series", "parallel"]
Affine = tuple[Tensor, Tensor]  # kernel [C_out, C_in, k, k], bias [C_out]


class AdapterConv2d(nn.Module):
    """A 3x3 convolution shared by all tasks, adapted to each. With w the shared kernel, for task t:

        none, bn:  BN_t(w * x)
        series:    BN_t(u + a_t BN'_t(u)),  u = w * x
        parallel:  BN_t(w * x + a_t x),     computed as one convolution with a_t added to the centre of w

    where a_t is a 1x1 convolution. Shapes: [B, C_in, F, T] -> [B, C_out, F / stride, T / stride].
    """

    def __init__(self, c_in: int, c_out: int, stride: int, adapter: Adapter, n_sets: int) -> None:
        super().__init__()
        self.adapter, self.stride = adapter, stride
        self.conv = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(c_out) for _ in range(n_sets))
        self.adapters = nn.ModuleList()
        if adapter == "series":
            for _ in range(n_sets):
                self.adapters.append(nn.Sequential(nn.BatchNorm2d(c_out), nn.Conv2d(c_out, c_out, 1, bias=False)))
        elif adapter == "parallel":
            self.adapters.extend(nn.Conv2d(c_in, c_out, 1, stride, bias=False) for _ in range(n_sets))

    def forward(self, x: Tensor, task: int) -> Tensor:
        task %= len(self.norms)  # a shared layer has one set for all tasks
        h = _convolve(x, self._kernel(task), self.stride)
        if self.adapter == "series":
            h = h + self.adapters[task](h)
        return self.norms[task](h)

    def fold(self, task: int) -> Affine:
        """The one 3x3 convolution with bias that equals this layer in eval mode (float64)."""
        task %= len(self.norms)
        kernel = self._kernel(task).double()
        bias = kernel.new_zeros(len(kernel))
        if self.adapter == "series":
            inner, conv = cast(nn.Sequential, self.adapters[task])
            scale, shift = _scale_and_shift(inner)
            mix = cast(Tensor, conv.weight).double()[:, :, 0, 0]
            bias = mix @ shift
            mix = torch.eye(len(mix), dtype=mix.dtype, device=mix.device) + mix * scale
            kernel = torch.einsum("oc,cikl->oikl", mix, kernel)
        return _fold_norm(kernel, bias, self.norms[task])

    def _kernel(self, task: int) -> Tensor:
        if self.adapter == "parallel":
            return self.conv.weight + F.pad(cast(nn.Conv2d, self.adapters[task]).weight, (1, 1, 1, 1))
        return self.conv.weight


def _convolve(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """F.conv2d with a padding of 1. Training's wide kernels on tiny maps are, on a CPU, one matrix product over copied windows: the gradients of
    oneDNN's own convolution take three times as long there, and stage 4 was half of a training step on short crops."""
    n, c_in, height, width = x.shape
    tiny = len(kernel) >= 512 and height * width <= 32
    if not (tiny and x.device.type == "cpu" and torch.is_grad_enabled()):
        return F.conv2d(x, kernel, None, stride, 1)
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    taps = [padded[:, i : i + height : stride, j : j + width : stride] for i in range(3) for j in range(3)]
    windows = torch.cat(taps, -1)  # [n, height / stride, width / stride, 9 c_in]
    columns = kernel.permute(2, 3, 1, 0).reshape(9 * c_in, -1)
    return (windows.flatten(0, 2) @ columns).view(n, *windows.shape[1:3], -1).permute(0, 3, 1, 2)


class AdapterBlock(nn.Module):
    """Basic block of adapted convolutions: relu(conv2(relu(conv1(x))) + shortcut(x)).

    The shortcut to a smaller map is pooled; in the plain network (adapter "none") it is a 1x1 convolution with batch norm.
    """

    def __init__(self, c_in: int, c_out: int, adapter: Adapter, n_sets: int) -> None:
        super().__init__()
        stride = 1 if c_in == c_out else 2
        self.conv1 = AdapterConv2d(c_in, c_out, stride, adapter, n_sets)
        self.conv2 = AdapterConv2d(c_out, c_out, 1, adapter, n_sets)
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2 and adapter == "none":
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, 2, bias=False), nn.BatchNorm2d(c_out))
        elif stride == 2:
            self.shortcut = PooledShortcut(c_in, c_out)

    def forward(self, x: Tensor, task: int) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x, task)), task) + self.shortcut(x))


class AdapterResNet18(nn.Module):
    """Image [B, 3, 128, T] -> the features of every head, [B, n_heads * head_dim].

    Args:
        adapter: "bn", "series" or "parallel" (MT-Bn, MT-Series, MT-Parallel), or "none": a plain ResNet-18 with learned shortcuts and
            without end batch norm (MT-Split with two heads; MT-Simple and the single-task baselines with one).
        n_heads: 2 for the two tasks, 1 for a single task or a single shared head.
        head_dim: features per head (paper: 1000 in all).
        readout: "linear" (the paper's) or "pooled".
    """

    def __init__(self, adapter: Adapter, n_heads: int = 2, head_dim: int = 500, readout: Readout = "linear") -> None:
        super().__init__()
        self.adapter, self.n_heads, self.head_dim, self.readout = adapter, n_heads, head_dim, readout
        self.n_shared = len(WIDTHS) if adapter == "none" else 1
        self.stem = nn.Sequential(nn.Conv2d(3, WIDTHS[0], 7, 2, 3, bias=False), nn.BatchNorm2d(WIDTHS[0]))
        self.stages = nn.ModuleList()
        for i, width in enumerate(WIDTHS):
            n_sets = 1 if i < self.n_shared else n_heads
            c_ins = [WIDTHS[max(i - 1, 0)]] + [width] * (BLOCKS_PER_STAGE - 1)
            self.stages.append(nn.ModuleList(AdapterBlock(c_in, width, adapter, n_sets) for c_in in c_ins))
        self.end_norms = nn.ModuleList(nn.BatchNorm2d(WIDTHS[-1]) for _ in range(0 if adapter == "none" else n_heads))
        self.heads = nn.ModuleList(READOUTS[readout](head_dim) for _ in range(n_heads))
        for module in self.modules():
            if (
                isinstance(module, nn.Conv2d) and not module.weight.is_meta
            ):  # which would import torch's compiler: a second
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor, heads: Sequence[int] | None = None) -> Tensor:
        """Features of `heads` (all by default) in that order. The shared layers are computed once: the result is the same as a pass per
        task, but their running statistics move once per view, where the authors' code moves them once per task."""
        shared = self._stages([F.max_pool2d(F.relu(self.stem(images)), 3, 2, 1)], 0, slice(None, self.n_shared))
        return torch.cat([self._branch(shared, task) for task in (range(self.n_heads) if heads is None else heads)], 1)

    def fold(self) -> ResNet18:
        """The equivalent deploy network in eval mode: every adapter and batch norm folded into its convolution, computed in float64.
        The network itself is not changed."""
        plain = self.adapter == "none"
        weight = self.heads[0].weight
        deploy = ResNet18(self.n_heads, self.head_dim, n_shared=self.n_shared, projection=plain, readout=self.readout)
        deploy = deploy.to(weight.device, weight.dtype)  # type: ignore[arg-type]
        with torch.no_grad():
            stem, *shared = deploy.trunk
            _assign(stem[0], _fold_pair(self.stem))  # type: ignore[index]
            for blocks, target in zip(self.stages[: self.n_shared], shared, strict=True):
                _fold_stage(blocks, 0, target)
            for task, branch in enumerate(cast("Sequence[Branch]", deploy.branches)):
                for blocks, target in zip(self.stages[self.n_shared :], branch.stages, strict=True):
                    _fold_stage(blocks, task, target)
                if not plain:
                    branch.end[0].load_state_dict(self.end_norms[task].state_dict())
                branch.readout.load_state_dict(self.heads[task].state_dict())
        return deploy.to(weight.dtype).requires_grad_(False).eval()  # type: ignore[arg-type]

    def _stages(self, maps: Sequence[Tensor], task: int, which: slice) -> list[Tensor]:
        """The maps, and those of the stages after them."""
        maps = list(maps)
        for blocks in self.stages[which]:
            x = maps[-1]
            for block in cast(nn.ModuleList, blocks):
                x = block(x, task)
            maps.append(x)
        return maps

    def _branch(self, shared: Sequence[Tensor], task: int) -> Tensor:
        *_, before, last = self._stages(shared, task, slice(self.n_shared, None))
        if self.end_norms:
            last = F.relu(self.end_norms[task](last))
        return self.heads[task](before, last)


def _fold_stage(blocks: nn.Module, task: int, deploy: nn.Module) -> None:
    for block, target in zip(cast(nn.ModuleList, blocks), cast(nn.Sequential, deploy), strict=True):
        assert isinstance(block, AdapterBlock) and isinstance(target, Block)
        _assign(target.conv1, block.conv1.fold(task))
        _assign(target.conv2, block.conv2.fold(task))
        if isinstance(block.shortcut, nn.Sequential):
            _assign(target.shortcut, _fold_pair(block.shortcut))


def _fold_pair(pair: nn.Sequential) -> Affine:
    """A convolution without bias and its batch norm, as one convolution."""
    conv, norm = pair
    return _fold_norm(cast(nn.Conv2d, conv).weight.double(), None, norm)


def _scale_and_shift(norm: nn.Module) -> Affine:
    """A batch norm in eval mode as y = scale x + shift, each float64 [C]."""
    norm = cast(nn.BatchNorm2d, norm)
    mean, var = cast(Tensor, norm.running_mean).double(), cast(Tensor, norm.running_var).double()
    scale = norm.weight.double() * torch.rsqrt(var + norm.eps)
    return scale, norm.bias.double() - scale * mean


def _fold_norm(kernel: Tensor, bias: Tensor | None, norm: nn.Module) -> Affine:
    """norm(kernel * x + bias) as one convolution."""
    scale, shift = _scale_and_shift(norm)
    return kernel * scale[:, None, None, None], shift if bias is None else shift + scale * bias


def _assign(conv: nn.Module, affine: Affine) -> None:
    """Replace the parameters, so that a float64 network folds without passing through float32."""
    conv.weight, conv.bias = (nn.Parameter(value) for value in affine)
