"""ResNet-18 in deploy form: plain convolutions with bias, no adapters, no task index.

Every MT-SLVR network folds into this shape: a trunk that all heads share, then one branch per head (paper, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtslvr.encoder.readout import READOUTS, Readout

WIDTHS = (64, 128, 256, 512)  # channels of the four stages
BLOCKS_PER_STAGE = 2


class PooledShortcut(nn.Module):
    """The adapter network's shortcut, without weights: average-pooled to the output's size, new channels zero.

    [B, C_in, F, T] -> [B, C_out, ceil(F / 2), ceil(T / 2)].
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.n_new = c_out - c_in

    def forward(self, x: Tensor) -> Tensor:
        size = ((x.shape[-2] + 1) // 2, (x.shape[-1] + 1) // 2)
        return F.pad(F.adaptive_avg_pool2d(x, size), (0, 0, 0, 0, 0, self.n_new))


class Block(nn.Module):
    """Basic block: relu(conv2(relu(conv1(x))) + shortcut(x)), [B, C_in, F, T] -> [B, C_out, F / stride, T / stride]."""

    def __init__(self, c_in: int, c_out: int, *, projection: bool) -> None:
        super().__init__()
        stride = 1 if c_in == c_out else 2
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1)
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2:
            self.shortcut = nn.Conv2d(c_in, c_out, 1, 2) if projection else PooledShortcut(c_in, c_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


def stage(index: int, *, projection: bool) -> nn.Sequential:
    """Stage `index` (0 to 3) of the network."""
    c_in = WIDTHS[max(index - 1, 0)]
    first = Block(c_in, WIDTHS[index], projection=projection)
    return nn.Sequential(
        first, *(Block(WIDTHS[index], WIDTHS[index], projection=False) for _ in range(1, BLOCKS_PER_STAGE))
    )


class Branch(nn.Module):
    """The stages of one head, and its readout: maps of all stages so far -> features [B, head_dim].

    Args:
        stages: those that the heads do not share.
        end: what the paper has between the last stage and its readout, if anything.
    """

    def __init__(self, stages: Sequence[nn.Module], end: Sequence[nn.Module], readout: nn.Module) -> None:
        super().__init__()
        self.stages, self.end, self.readout = nn.Sequential(*stages), nn.Sequential(*end), readout

    def maps(self, shared: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What the readout sees, of the last two stages: [B, 256, 8, T'] and [B, 512, 4, T]."""
        before, last = shared[-2:]
        for layers in self.stages:
            before, last = last, layers(last)
        return before, self.end(last)

    def forward(self, shared: Sequence[Tensor]) -> Tensor:
        features: Tensor = self.readout(*self.maps(shared))
        return features


class ResNet18(nn.Module):
    """Image [B, 3, 128, T] -> features of the asked heads, side by side.

    Args:
        n_heads: number of heads.
        head_dim: features per head.
        n_shared: stages (1 to 4) that all heads share.
        projection: learned 1x1 shortcuts (plain ResNet-18) in place of pooled ones (adapter ResNet-18); no end batch norm then.
        readout: "linear" (the paper's) or "pooled".
    """

    def __init__(
        self, n_heads: int, head_dim: int, *, n_shared: int, projection: bool, readout: Readout = "linear"
    ) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, WIDTHS[0], 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.trunk = nn.Sequential(stem, *(stage(i, projection=projection) for i in range(n_shared)))
        self.branches = nn.ModuleList()
        for _ in range(n_heads):
            stages = [stage(i, projection=projection) for i in range(n_shared, len(WIDTHS))]
            # The end batch norm follows a ReLU, so it cannot be folded into a convolution.
            end = [] if projection else [nn.BatchNorm2d(WIDTHS[-1]), nn.ReLU()]
            self.branches.append(Branch(stages, end, READOUTS[readout](head_dim)))

    def forward(self, images: Tensor, heads: Sequence[int] | None = None) -> Tensor:
        """Features of `heads` (all by default) in that order: [B, 3, 128, T] -> [B, len(heads) * head_dim].

        The trunk is computed once, and a head that is not asked for is not computed.
        """
        shared = self.shared_maps(images)
        chosen = range(len(self.branches)) if heads is None else heads
        return torch.cat([self.branches[head](shared) for head in chosen], 1)

    def convolutions_to(self, dtype: torch.dtype) -> None:
        """Compute all but the readouts in another type; images come in it then."""
        self.trunk.to(dtype)
        for branch in self.branches:
            branch.stages.to(dtype)  # type: ignore[union-attr,operator]
            branch.end.to(dtype)  # type: ignore[union-attr,operator]

    def shared_maps(self, images: Tensor) -> list[Tensor]:
        """The image, and what each layer of the trunk gives."""
        maps = [images]
        for layers in self.trunk:
            maps.append(layers(maps[-1]))
        return maps
