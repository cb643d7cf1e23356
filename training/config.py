"""Everything that decides a pretraining run's result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.augment.chain import Strengths


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that decides a run's result. The defaults are the paper's MT-Parallel with SimCLR, as it was run (section 4)."""

    # network
    init: str = ""  # a model to go on from, see MTSLVR.from_pretrained; "": random weights
    readout: str = "linear"  # the paper's; or "pooled"
    adapter: str = "parallel"  # "none" | "bn" | "series" | "parallel"
    n_heads: int = 2  # 1: a single task, or both tasks on one head (MT-Simple)
    # objectives: the contrastive task trains the first head, the predictive one the last
    contrastive: str = "simclr"  # "simclr" | "simsiam" | "none"
    temperature: float = 0.07
    predictive_weight: float = 1.0  # 0: contrastive only
    comparison_weight: float = (
        0.0  # of predicting how the two views' parameters differ, on the last head; not in the paper
    )
    teachers: tuple[
        str, ...
    ] = ()  # whose vectors the first head also predicts; see training/teachers.py; not in the paper
    taught_weight: float = 2.0  # of the sum over the teachers
    # data
    seconds: float = 5.0  # crop
    shortest: float = 0.0  # above 0: each batch has a length of its own, from this to `seconds` in steps of half a second; not in the paper
    synthetic: float = 0.0  # share of each batch that is synthetic sound; 1: no corpus is needed
    balance: str = "duration"  # how Corpus.crops weighs its pieces
    per_source: int = 1  # crops of one source in a batch, at the least: harder negatives
    loudest: int = 1  # crops begin at the loudest of so many random places in their piece
    clean: float = 0.0  # share of the sounds that no augmentation is applied to, as a user's; not in the paper
    gain_db: tuple[float, float] = (
        0.0,
        0.0,
    )  # range of each view's own gain, after all augmentations; not in the paper
    validation: float = 0.1  # share of the corpus held out, by source
    exclude: tuple[str, ...] = ()  # augmentations never drawn
    strengths: Strengths = field(default_factory=Strengths)
    # optimisation: Adam with L2
    steps: int = 50_000
    batch: int = 100  # sounds per step, over all processes
    accumulate: int = 1  # parts a batch is computed in; each part finds its negatives in itself
    lr: float = 5e-5
    weight_decay: float = 1e-6
    schedule: str = "oscillating"  # cosine of period 2000 steps, as run; or "cosine": warm-up, then one cosine to zero
    warmup: int = 0  # steps, for "cosine"
    average_last: float = (
        0.0  # share of the steps, at the end, whose weights are averaged into the model's; 0: the last weights
    )
    # early stopping on a fixed, augmented validation set; the weights kept are those of the lowest loss
    validate_every: int = 50  # steps
    n_validation: int = 5  # batches
    patience: int = 50  # validations without an improvement of `delta`; 0: never stop early, keep the last weights
    delta: float = 0.001
    # engine
    precision: str = (
        "float32"  # or "bfloat16": autocast in the network, float32 everywhere else; or "auto": the faster one here
    )
    compile: bool = False
    seed: int = 0
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        """Raises ValueError for a choice that there is not, or sizes that do not fit."""
        choices = {
            "adapter": ("none", "bn", "series", "parallel"),
            "contrastive": ("simclr", "simsiam", "none"),
            "schedule": ("oscillating", "cosine"),
            "precision": ("float32", "bfloat16", "auto"),
            "n_heads": (1, 2),
            "readout": ("linear", "pooled"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(map(str, known))}")
        if self.contrastive == "none" and not self.predictive_weight:
            raise ValueError("contrastive is 'none' and predictive_weight 0: nothing would be learnt")
        for name in ("per_source", "loudest", "seconds", "lr", "steps", "batch", "accumulate", "n_validation"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")
        if not 0 <= self.shortest <= self.seconds:
            raise ValueError(
                f"shortest is {self.shortest}, expected seconds, from 0 to `seconds`, which is {self.seconds}"
            )
        if self.teachers and self.synthetic:
            raise ValueError(f"synthetic is {self.synthetic}, expected 0: teachers have heard the corpus only")
        for name in ("predictive_weight", "comparison_weight", "taught_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if not self.gain_db[0] <= self.gain_db[1]:
            raise ValueError(f"gain_db is {list(self.gain_db)}, expected a range from low to high")
        if not 0 <= self.average_last <= 1 or (self.average_last and self.patience):
            raise ValueError(
                f"average_last is {self.average_last} and patience {self.patience}; expected a share, 0 to 1, and patience=0 with it, "
                "as early stopping keeps the best weights instead"
            )
        if not (0 <= self.synthetic <= 1 and 0 <= self.clean < 1 and 0 < self.validation < 1):
            raise ValueError(
                f"synthetic is {self.synthetic}, clean {self.clean}, validation {self.validation}; "
                "expected shares, 0 to 1, the latter two below 1"
            )
        if self.batch % self.accumulate or self.batch // self.accumulate < 2:
            raise ValueError(
                f"a batch of {self.batch} in {self.accumulate} parts: expected equal parts of at least 2 sounds"
            )


def loss_weights(config: Mapping[str, Any]) -> dict[str, float]:
    """What the loss is made of: the weight of each part, from a PretrainConfig as a dictionary."""
    return {"contrastive": 1.0} | {name: config[f"{name}_weight"] for name in ("predictive", "comparison", "taught")}
