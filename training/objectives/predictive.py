"""The predictive objectives: what was done to a sound can be told from its views. They make the variant space.

- `AugmentationPrediction`, which of the seven augmentations of CLAR (Al-Tahan & Mohsenzadeh 2020,
  https://arxiv.org/abs/2010.09542) made this view.
- `ParameterComparison`, by how much the augmentations of the two views differ: AugSelf, Lee et al. 2021, https://arxiv.org/abs/2111.09613.

Letters as in layers.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.objectives.layers import at_least_float32, check_views, linear_bn

N_LABELS = 7  # kinds of augmentation
N_COMPARED = 7  # of their parameters


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
            *linear_bn(d, 256), nn.ReLU(), *linear_bn(256, 64), nn.ReLU(), *linear_bn(64, 16), nn.ReLU(),
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
        check_views(h1, h2, self.d, at_least=2 if self.training else 1)
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
        check_views(h1, h2, self.d)
        with torch.autocast(h1.device.type, enabled=False):
            found = self.mlp(at_least_float32(torch.cat([h1, h2], 1)))
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
    logits = at_least_float32(logits)
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits))


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The share of the batch where each kind is told right at odds of 1: [B, n_labels] twice -> float32 [n_labels].

    Raises:
        ValueError: the two shapes differ.
    """
    _check_labels(logits, labels)
    return ((logits > 0) == (labels > 0)).float().mean(dim=0)


def _check_labels(logits: Tensor, labels: Tensor) -> None:
    if logits.shape != labels.shape:
        raise ValueError(
            f"labels have shape {list(labels.shape)}, expected {list(logits.shape)}: a 0/1 per sound and kind"
        )
