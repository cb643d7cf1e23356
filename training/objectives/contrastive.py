"""The contrastive objectives: two augmented views of a sound lie near each other. They make the invariant space.

- `SimCLR`, with negatives: Chen et al. 2020, https://arxiv.org/abs/2002.05709, Algorithm 1.
- `SimSiam`, without negatives: Chen & He 2020, https://arxiv.org/abs/2011.10566, Algorithm 1.

Letters as in layers.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from training.objectives.layers import at_least_float32, check_views, linear_bn


class SimCLR(nn.Module):
    """Projector g(h) = W2 relu(W1 h), then `nt_xent` on z1 = g(h1), z2 = g(h2).

    Args:
        d: width of the encoder's vectors.
        projection: width of z.
        temperature: tau, > 0; a smaller one weighs the hardest negatives more.
    """

    def __init__(self, d: int, projection: int = 256, temperature: float = 0.07) -> None:
        super().__init__()
        self.d = d
        self.temperature = temperature
        self.projector = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, projection))

    def forward(self, h1: Tensor, h2: Tensor) -> Tensor:
        """h1, h2: float [N, d], row i of both from the same sound -> the loss, float32 scalar.

        Raises:
            ValueError: the shapes differ or are not [N, d]; or fewer than two sounds, hence no negatives.
        """
        check_views(h1, h2, self.d)
        return nt_xent(self.projector(h1), self.projector(h2), self.temperature)


def nt_xent(z1: Tensor, z2: Tensor, temperature: float = 0.07) -> Tensor:
    """Normalised temperature-scaled cross entropy, the mean over the 2N vectors of both views (2002.05709, eq. 1).

    With s(i, j) = cosine(z_i, z_j) / tau and j(i) the other view of i,

        l(i) = -log( exp s(i, j(i)) / sum over k != i of exp s(i, k) ),    k over the 2N vectors of the batch.

    Under torch.distributed k runs over the 2NW vectors of all processes and i over this one's. The gather's backward
    sums what every process's loss asks of these vectors, so that DDP's average of the gradients is the gradient
    of the loss of the global batch. (A gather without gradient loses the half where z is somebody's negative.)

    Args:
        z1, z2: float [N, D], not normalised, row i of both from the same sound; the same N on each process.
        temperature: tau, > 0.

    Returns:
        Scalar, float32 (float64 for float64). Memory: one [2N, 2NW] matrix and its softmax.

    Raises:
        ValueError: z1 and z2 differ in shape or are not 2-d; N W < 2; a temperature that is not positive.
    """
    check_views(z1, z2)
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected a number above 0 (the paper's is 0.07)")
    n = len(z1)
    world, rank = 1, 0
    if distributed.is_available() and distributed.is_initialized():
        world, rank = distributed.get_world_size(), distributed.get_rank()
    if n * world < 2:
        raise ValueError(f"NT-Xent got {n} sound, expected at least 2: its negatives are the batch's other sounds")

    with torch.autocast(z1.device.type, enabled=False):  # bfloat16 keeps 3 digits, and 1 / tau multiplies by 14
        z = F.normalize(at_least_float32(torch.cat([z1, z2])), dim=1)  # [2N, D]
        everyone: Tensor = _Gather.apply(z) if world > 1 else z  # [2NW, D], process after process
        logits = (z / temperature) @ everyone.T  # [2N, 2NW]
        own = rank * 2 * n  # the column where this process's vectors start
        logits.diagonal(own).fill_(float("-inf"))  # k != i
        positive = own + torch.arange(2 * n, device=z.device).roll(n)
        return F.cross_entropy(logits, positive)


class SimSiam(nn.Module):
    """Projector z = f(h), predictor p = q(z), and the negative cosine with a stop-gradient (2011.10566, eq. 1 to 4):

        L = D(p1, stop(z2)) / 2 + D(p2, stop(z1)) / 2,    D(p, z) = -cosine(p, z), the mean over N; in [-1, 1].

    The projector has three layers with BN on each and no ReLU on the last; the predictor is a bottleneck with BN and
    ReLU on its hidden layer only. Views pass one after the other: BN's statistics are those of one view.

    Args:
        d: width of the encoder's vectors.
        width: width of the projector, of z and of p.
        bottleneck: width of the predictor's hidden layer.
    """

    def __init__(self, d: int, width: int = 2048, bottleneck: int = 512) -> None:
        super().__init__()
        self.d = d
        self.projector = nn.Sequential(
            *linear_bn(d, width), nn.ReLU(), *linear_bn(width, width), nn.ReLU(), *linear_bn(width, width)
        )
        self.predictor = nn.Sequential(*linear_bn(width, bottleneck), nn.ReLU(), nn.Linear(bottleneck, width))

    def forward(self, h1: Tensor, h2: Tensor) -> Tensor:
        """h1, h2: float [N, d], row i of both from the same sound -> the loss, float32 scalar.

        Raises:
            ValueError: the shapes differ or are not [N, d]; or fewer than two sounds while training (BN needs two).
        """
        check_views(h1, h2, self.d, at_least=2 if self.training else 1)
        z1, z2 = self.projector(h1), self.projector(h2)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        return (_negative_cosine(p1, z2) + _negative_cosine(p2, z1)) / 2


class _Gather(torch.autograd.Function):
    """[n, D] of each of W processes -> [n W, D], the same on all; backward sums the gradients of all processes."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        everyone = z.new_empty(distributed.get_world_size() * len(z), z.shape[1])
        distributed.all_gather(list(everyone.chunk(distributed.get_world_size())), z.contiguous())
        return everyone

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)  # the reduction is in place
        distributed.all_reduce(gradient)
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]


def _negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """The mean of -cosine(p, stop(z)) over rows. Without the stop all vectors collapse to one."""
    return -F.cosine_similarity(at_least_float32(p), at_least_float32(z.detach()), dim=1).mean()
