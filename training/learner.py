"""What is trained: the network with the heads of its objectives, their weighted sum, and the weights that it starts from."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mtslvr.encoder.adapters import AdapterResNet18
from mtslvr.encoder.model import MTSLVR
from training.config import PretrainConfig
from training.objectives.contrastive import SimCLR, SimSiam
from training.objectives.predictive import AugmentationPrediction, ParameterComparison, accuracy, prediction_loss
from training.objectives.taught import Taught


class Learner(nn.Module):
    """The encoder and its objectives. Images of two views of the same sounds in, losses and the accuracy per augmentation out.

    Args:
        teachers: widths of the vectors of those whose hearing is predicted.
    """

    def __init__(self, config: PretrainConfig, teachers: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.head_dim = 1000 // config.n_heads
        self.network = AdapterResNet18(config.adapter, config.n_heads, self.head_dim, config.readout)  # type: ignore[arg-type]
        # Vectors of the pooled readout have unit norm: brought to that of features of unit deviation, as the objectives' layers expect.
        self.scale = self.head_dim**0.5 if config.readout == "pooled" else 1.0
        self.contrastive: nn.Module | None = None
        if config.contrastive == "simclr":
            self.contrastive = SimCLR(self.head_dim, temperature=config.temperature)
        elif config.contrastive == "simsiam":
            self.contrastive = SimSiam(self.head_dim)
        self.predictive = AugmentationPrediction(self.head_dim) if config.predictive_weight else None
        self.comparison = ParameterComparison(self.head_dim) if config.comparison_weight else None
        self.taught = Taught(self.head_dim, teachers) if teachers else None

    def forward(
        self, view1: Tensor, view2: Tensor, labels: Tensor, differences: Tensor, heard: Tensor
    ) -> dict[str, Tensor]:
        features = [
            self.scale * self.network(view) for view in (view1, view2)
        ]  # one at a time: batch norm sees one view
        results = {}
        if self.contrastive is not None:
            results["contrastive"] = self.contrastive(*(h[:, : self.head_dim] for h in features))
        if self.predictive is not None:
            logits = [self.predictive.logits(h[:, -self.head_dim :]) for h in features]
            results["predictive"] = torch.stack([prediction_loss(one, labels) for one in logits]).mean()
            results["accuracy"] = torch.stack([accuracy(one, labels) for one in logits]).mean(0).detach()
        if self.comparison is not None:
            results["comparison"] = self.comparison(*(h[:, -self.head_dim :] for h in features), differences)
        if self.taught is not None:
            results["taught"] = self.taught(*(h[:, : self.head_dim] for h in features), heard)
        return results


def total_loss(results: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The weighted sum of a step's losses: of its results all but the accuracy.

    Raises:
        ValueError: a loss has no weight.
    """
    losses = {name: result for name, result in results.items() if name != "accuracy"}
    if unknown := sorted(set(losses) - set(weights)):
        raise ValueError(f"no weight for the loss {unknown[0]!r}; there are weights for {', '.join(weights)}")
    return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()


def start_from(network: AdapterResNet18, name: str) -> None:
    """Copy a model's weights into the network: all but its readouts where those are of another kind.

    Raises:
        ValueError: the model has another network.
    """
    weights = MTSLVR.from_pretrained(name).network.state_dict()
    ours = network.state_dict()
    kept = {
        key: tensor
        for key, tensor in weights.items()
        if not key.startswith("heads.") or tensor.shape == ours[key].shape
    }
    missing, unknown = network.load_state_dict(kept, strict=False)
    if unknown or any(not key.startswith("heads.") for key in missing):
        raise ValueError(
            f"{name} has another network than this run's: expected one with adapter={network.adapter!r}, n_heads={network.n_heads}"
        )
