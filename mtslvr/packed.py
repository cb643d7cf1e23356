"""The folded network with its kernels laid out for the CPU's convolutions once, where plain torch does it anew at every call.

A kernel of stage 4 has 2.4 million numbers and few pixels to meet, so that at batch 1 laying it out is a fifth of the whole
time. The operators are those which torch's compiler puts into a frozen network; they also add and rectify in passing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mtslvr.resnet import Block, ResNet18


class PackedConv2d(nn.Module):
    """relu(conv(x)), or relu(conv(x) + other), [B, C_in, F, T] float32 -> [B, C_out, F', T']; of one group, not dilated."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.geometry: list[Any] = [conv.padding, conv.stride, conv.dilation, conv.groups]
        self.kernel = torch._C._nn.mkldnn_reorder_conv2d_weight(conv.weight.detach().to_mkldnn(), *self.geometry)
        self.bias = None if conv.bias is None else conv.bias.detach()

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        run, x = torch.ops.mkldnn._convolution_pointwise, x.float()  # under autocast x may come in another type
        if other is None:
            rectified: Tensor = run(x, self.kernel, self.bias, *self.geometry, "relu", [], "")
        else:
            rectified = run.binary(x, other.float(), self.kernel, self.bias, *self.geometry, "add", 1.0, "relu", [], "")
        return rectified


class PackedBlock(nn.Module):
    """As `resnet.Block`."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.conv1, self.conv2, self.shortcut = PackedConv2d(block.conv1), PackedConv2d(block.conv2), block.shortcut

    def forward(self, x: Tensor) -> Tensor:
        packed: Tensor = self.conv2(self.conv1(x), self.shortcut(x))
        return packed


def pack(network: ResNet18) -> ResNet18:
    """Pack the network's blocks, in place, where its device, type and build of torch have these operators; else it stays as it is.

    It gives what it gave, to rounding, and computes in float32 under autocast too. Its kernels can no longer be read, changed or traced.
    """
    weights = next(network.parameters())
    ours = weights.device.type == "cpu" and weights.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    known = hasattr(torch._C._nn, "mkldnn_reorder_conv2d_weight") and hasattr(
        torch.ops.mkldnn, "_convolution_pointwise"
    )
    if ours and known:
        for stages in (network.trunk, *network.branches):
            for blocks in stages:
                for name, block in blocks.named_children():
                    if isinstance(block, Block):
                        blocks.register_module(name, PackedBlock(block))
    return network
