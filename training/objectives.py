"""The pretraining objectives: each is a head and its loss, vectors of the encoder in, one scalar out.

For two augmented views of the same N sounds, embedded by the encoder as h1, h2 [N, d]:

- `SimCLR`, contrastive with negatives: Chen et al. 2020, https://arxiv.org/abs/2002.05709, Algorithm 1.
- `SimSiam`, contrastive without negatives: Chen & He 2020, https://arxiv.org/abs/2011.10566, Algorithm 1.
- `AugmentationPrediction`, which of the seven augmentations of CLAR (Al-Tahan & Mohsenzadeh 2020,
  https://arxiv.org/abs/2010.09542) made this view.
- `ParameterComparison`, by how much the augmentations of the two views differ: AugSelf, Lee et al. 2021, https://arxiv.org/abs/2111.09613.

MT-SLVR (Heggan et al. 2023, https://arxiv.org/abs/2305.17191) trains L = L_contrastive + L_predictive: one of the
first two makes the invariant space, the third makes the variant one. The encoder is never in here, so a head
belongs in the optimiser next to it, and is thrown away after pretraining.

Letters: N sounds on this process, W processes, d width of h, D width of z. Heads run in the dtype autocast gives
them; every loss is computed in float32 (float64 stays float64). Under DistributedDataParallel all processes
must bring the same N, and the mean of their losses is the loss of the global batch of W N sounds.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn

N_LABELS = 7  # kinds of augmentation
N_COMPARED = 7  # of their parameters


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
        _check_views(h1, h2, self.d)
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
    _check_views(z1, z2)
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected a number above 0 (the paper's is 0.07)")
    n = len(z1)
    world, rank = 1, 0
    if distributed.is_available() and distributed.is_initialized():
        world, rank = distributed.get_world_size(), distributed.get_rank()
    if n * world < 2:
        raise ValueError(f"NT-Xent got {n} sound, expected at least 2: its negatives are the batch's other sounds")

    with torch.autocast(z1.device.type, enabled=False):  # bfloat16 keeps 3 digits, and 1 / tau multiplies by 14
        z = F.normalize(_at_least_float32(torch.cat([z1, z2])), dim=1)  # [2N, D]
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
            *_linear_bn(d, width), nn.ReLU(), *_linear_bn(width, width), nn.ReLU(), *_linear_bn(width, width)
        )
        self.predictor = nn.Sequential(*_linear_bn(width, bottleneck), nn.ReLU(), nn.Linear(bottleneck, width))

    def forward(self, h1: Tensor, h2: Tensor) -> Tensor:
        """h1, h2: float [N, d], row i of both from the same sound -> the loss, float32 scalar.

        Raises:
            ValueError: the shapes differ or are not [N, d]; or fewer than two sounds while training (BN needs two).
        """
        _check_views(h1, h2, self.d, at_least=2 if self.training else 1)
        z1, z2 = self.projector(h1), self.projector(h2)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        return (_negative_cosine(p1, z2) + _negative_cosine(p2, z1)) / 2


class AugmentationPrediction(nn.Module):
    """Which augmentations made this view: an MLP d-256-64-16 (BN and ReLU on each) to one logit a kind, and

        L = the mean over views, sounds and kinds of -[y log s(x) + (1 - y) log(1 - s(x))],    s the logistic function.

    Both views went through the same kinds of augmentation, each with its own parameters: one label row serves both.

    Args:
        d: width of the encoder's vectors.
        n_labels: kinds of augmentation.
    """

    def __init__(self, d: int, n_labels: int = N_LABELS) -> None:
        super().__init__()
        self.d = d
        self.mlp = nn.Sequential(
            *_linear_bn(d, 256), nn.ReLU(), *_linear_bn(256, 64), nn.ReLU(), *_linear_bn(64, 16), nn.ReLU(),
            nn.Linear(16, n_labels),
        )  # fmt: skip

    def logits(self, h: Tensor) -> Tensor:
        """h: float [B, d] -> log-odds that each kind was applied, [B, n_labels]."""
        logits: Tensor = self.mlp(h)
        return logits

    def forward(self, h1: Tensor, h2: Tensor, labels: Tensor) -> Tensor:
        """h1, h2: float [N, d]; labels: 0/1 of any dtype [N, n_labels] -> the loss, float32 scalar.

        Raises:
            ValueError: the shapes of h1 and h2 differ or are not [N, d]; labels of another shape; fewer than two
                sounds while training (BN needs two).
        """
        _check_views(h1, h2, self.d, at_least=2 if self.training else 1)
        return (prediction_loss(self.logits(h1), labels) + prediction_loss(self.logits(h2), labels)) / 2


class ParameterComparison(nn.Module):
    """By how much the parameters of the two views differ: an MLP 2d-d-n on both vectors, and the mean squared error of what there is to compare.
    One view hardly tells how far it was shifted in pitch; which of two is higher, and by how much, can be heard (2111.09613, eq. 1).

    Args:
        d: width of the encoder's vectors.
        n: parameters compared.
    """

    def __init__(self, d: int, n: int = N_COMPARED) -> None:
        super().__init__()
        self.d = d
        self.mlp = nn.Sequential(nn.Linear(2 * d, d), nn.ReLU(), nn.Linear(d, n))

    def forward(self, h1: Tensor, h2: Tensor, differences: Tensor) -> Tensor:
        """h1, h2: float [N, d]; differences: float [N, n], NaN where there is none -> the loss, float32 scalar; 0 if there are none
        at all, NaN if a feature is not finite.

        Raises:
            ValueError: the shapes of h1 and h2 differ or are not [N, d].
        """
        _check_views(h1, h2, self.d)
        with torch.autocast(h1.device.type, enabled=False):
            found = self.mlp(_at_least_float32(torch.cat([h1, h2], 1)))
        unknown = differences.isnan()
        # Where there is nothing to compare, features that are not finite still are: inf - inf is NaN.
        error = found - torch.where(unknown, found.detach(), differences)
        return error.square().sum() / (~unknown).sum().clamp(min=1)


def prediction_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy of logits [B, n_labels] and 0/1 labels of the same shape, the mean over all: a scalar.

    Raises:
        ValueError: the two shapes differ.
    """
    _check_labels(logits, labels)
    logits = _at_least_float32(logits)
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits))


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The share of the batch where each kind is told right at odds of 1: [B, n_labels] twice -> float32 [n_labels].

    Raises:
        ValueError: the two shapes differ.
    """
    _check_labels(logits, labels)
    return ((logits > 0) == (labels > 0)).float().mean(dim=0)


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


def _linear_bn(d_in: int, d_out: int) -> tuple[nn.Linear, nn.BatchNorm1d]:
    return nn.Linear(d_in, d_out, bias=False), nn.BatchNorm1d(d_out)  # BN's own shift makes a bias idle


def _negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """The mean of -cosine(p, stop(z)) over rows. Without the stop all vectors collapse to one."""
    return -F.cosine_similarity(_at_least_float32(p), _at_least_float32(z.detach()), dim=1).mean()


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check_views(h1: Tensor, h2: Tensor, d: int | None = None, at_least: int = 0) -> None:
    if h1.shape != h2.shape or h1.ndim != 2 or (d is not None and h1.shape[1] != d):
        raise ValueError(
            f"the two views have shapes {list(h1.shape)} and {list(h2.shape)}, expected [N, {d or 'D'}] twice:"
            " row i of both is the same sound"
        )
    if len(h1) < at_least:
        raise ValueError(f"got {len(h1)} sound a view, expected at least {at_least}: batch norm needs a batch to train")


def _check_labels(logits: Tensor, labels: Tensor) -> None:
    if logits.shape != labels.shape:
        raise ValueError(
            f"labels have shape {list(labels.shape)}, expected {list(logits.shape)}: a 0/1 per sound and kind"
        )
