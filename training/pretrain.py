"""Pretrain MT-SLVR: the whole run, top to bottom (arXiv 2305.17191; training/README.md lists the runs).

    python -m training.pretrain training/runs/smoke.toml --out /tmp/smoke                    # no data needed, two minutes
    python -m training.pretrain training/runs/default.toml --corpus PACKED --out RUN         # PACKED: made by training.corpus
    torchrun --nproc-per-node 4 -m training.pretrain training/runs/paper-parallel.toml --corpus PACKED --out RUN

The same command again resumes, also after kill -9. RUN receives checkpoint.pt, log.jsonl, TensorBoard events and, at the end, curves.png and
model/, a folder that MTSLVR.from_pretrained loads.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import time
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from mtslvr.adapters import AdapterResNet18
from mtslvr.frontend import SAMPLE_RATE, Frontend
from training.augment import Strengths, augment, sample_chain, sample_parameters
from training.corpus import Corpus
from training.export import export
from training.objectives import AugmentationPrediction, SimCLR, SimSiam, accuracy, prediction_loss
from training.run import Run, StopOnSignal, read_config
from training.synth import synthesize

DEVICE_SEED = 2**42  # from a batch's seed for chains and parameters to that for crops and noise
VALIDATION_SEED = 2**40  # seeds from here on are the validation set's; training's stay far below
SYNTHETIC_STD = 0.06  # of the waveform, for a run without a corpus; measured on synthesize()'s output
SEED_STRIDE = 1_000_003  # between the seeds of consecutive batches, so that runs of neighbouring seeds share none


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """Everything that decides a run's result. The defaults are the paper's MT-Parallel with SimCLR, as it was run (section 4)."""

    # network
    adapter: str = "parallel"  # "none" | "bn" | "series" | "parallel"
    n_heads: int = 2  # 1: a single task, or both tasks on one head (MT-Simple)
    # objectives: the contrastive task trains the first head, the predictive one the last
    contrastive: str = "simclr"  # "simclr" | "simsiam" | "none"
    temperature: float = 0.07
    predictive_weight: float = 1.0  # 0: contrastive only
    # data
    seconds: float = 5.0  # crop
    synthetic: float = 0.0  # share of each batch that is synthetic sound; 1: no corpus is needed
    balance: str = "duration"  # how Corpus.crops weighs its pieces
    validation: float = 0.1  # share of the corpus held out, by source
    exclude: tuple[str, ...] = ()  # augmentations never drawn
    strengths: Strengths = dataclasses.field(default_factory=Strengths)
    # optimisation: Adam with L2
    steps: int = 50_000
    batch: int = 100  # sounds per step, over all processes
    accumulate: int = 1  # parts a batch is computed in; each part finds its negatives in itself
    lr: float = 5e-5
    weight_decay: float = 1e-6
    schedule: str = "oscillating"  # cosine of period 2000 steps, as run; or "cosine": warm-up, then one cosine to zero
    warmup: int = 0  # steps, for "cosine"
    # early stopping on a fixed, augmented validation set; the weights kept are those of the lowest loss
    validate_every: int = 50  # steps
    n_validation: int = 5  # batches
    patience: int = 50  # validations without an improvement of `delta`; 0: never stop early, keep the last weights
    delta: float = 0.001
    # engine
    precision: str = "float32"  # or "bfloat16": autocast in the network, float32 everywhere else
    compile: bool = False
    seed: int = 0
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        """Raises ValueError for a choice that there is not, or sizes that do not fit."""
        choices = {
            "adapter": ("none", "bn", "series", "parallel"),
            "contrastive": ("simclr", "simsiam", "none"),
            "schedule": ("oscillating", "cosine"),
            "precision": ("float32", "bfloat16"),
            "n_heads": (1, 2),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(map(str, known))}")
        if self.contrastive == "none" and not self.predictive_weight:
            raise ValueError("contrastive is 'none' and predictive_weight 0: nothing would be learnt")
        for name in ("seconds", "lr", "steps", "batch", "accumulate", "n_validation"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")
        if not (0 <= self.synthetic <= 1 and 0 < self.validation < 1):
            raise ValueError(f"synthetic is {self.synthetic}, validation {self.validation}; expected shares, 0 to 1")
        if self.batch % self.accumulate or self.batch // self.accumulate < 2:
            raise ValueError(
                f"a batch of {self.batch} in {self.accumulate} parts: expected equal parts of at least 2 sounds"
            )


class Learner(nn.Module):
    """The encoder and its objectives. Images of two views of the same sounds in, losses and the accuracy per augmentation out."""

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        self.head_dim = 1000 // config.n_heads
        self.network = AdapterResNet18(config.adapter, config.n_heads, self.head_dim)  # type: ignore[arg-type]
        self.contrastive: nn.Module | None = None
        if config.contrastive == "simclr":
            self.contrastive = SimCLR(self.head_dim, temperature=config.temperature)
        elif config.contrastive == "simsiam":
            self.contrastive = SimSiam(self.head_dim)
        self.predictive = AugmentationPrediction(self.head_dim) if config.predictive_weight else None

    def forward(self, view1: Tensor, view2: Tensor, labels: Tensor) -> dict[str, Tensor]:
        features = [self.network(view) for view in (view1, view2)]  # one at a time: batch norm sees one view
        results = {}
        if self.contrastive is not None:
            results["contrastive"] = self.contrastive(*(h[:, : self.head_dim] for h in features))
        if self.predictive is not None:
            logits = [self.predictive.logits(h[:, -self.head_dim :]) for h in features]
            results["predictive"] = torch.stack([prediction_loss(one, labels) for one in logits]).mean()
            results["accuracy"] = torch.stack([accuracy(one, labels) for one in logits]).mean(0).detach()
        return results


@dataclasses.dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    best_loss: float = math.inf
    since_best: int = 0  # validations without an improvement
    stopped_early: bool = False


class Views:
    """Batches of augmented pairs. What a batch holds follows from its seed alone, so a resumed run sees what it would have seen."""

    def __init__(self, config: PretrainConfig, corpus: Corpus | None, n: int, device: torch.device) -> None:
        self.config, self.corpus, self.n, self.device = config, corpus, n, device
        mean, std = (corpus.mean, corpus.std) if corpus else (0.0, SYNTHETIC_STD)
        self.frontend = Frontend(mean, std).to(device)

    @torch.no_grad()
    def __call__(self, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Images of both views, float32 [n, 3, 128, T] in channels_last order, and their labels [n, 7]."""
        on_host = torch.Generator().manual_seed(seed)
        on_device = torch.Generator(self.device).manual_seed(seed + DEVICE_SEED)  # or, on a CPU, both would draw alike
        length = round(self.config.seconds * SAMPLE_RATE)
        n_synthetic = self.n if self.corpus is None else round(self.config.synthetic * self.n)
        waves = []
        if n_synthetic:
            waves.append(synthesize(n_synthetic, length, on_device))
        if self.corpus is not None and n_synthetic < self.n:
            waves.append(self.corpus.crops(self.n - n_synthetic, length, on_device, self.config.balance))
        chain = sample_chain(self.n, on_host, exclude=self.config.exclude)
        both = chain.repeat(2)  # the same chain for both views, other parameters
        parameters = sample_parameters(both, length, on_host, self.config.strengths)
        images = self.frontend(augment(torch.cat(waves).repeat(2, 1), both, parameters, on_device))
        view1, view2 = images.contiguous(memory_format=torch.channels_last).chunk(2)
        return view1, view2, chain.labels.to(self.device)


def learning_rate(config: PretrainConfig, step: int) -> float:
    """Rate of a step. "oscillating": CosineAnnealingLR(T_max=1000) stepped once per step, so it comes back up every 2000 steps."""
    if config.schedule == "oscillating":
        return config.lr * 0.5 * (1 + math.cos(math.pi * step / 1000))
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - config.warmup) / max(1, config.steps - config.warmup)))


def pretrain(config: PretrainConfig, corpus_folder: str | None, out: Path, device: torch.device) -> None:
    """Train, or go on training, what `config` says, in the folder `out`."""
    rank, world = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    stop = StopOnSignal()
    run = Run(out, dataclasses.asdict(config), active=rank == 0)

    corpus, held_out = None, None
    if corpus_folder is not None:
        corpus, held_out = Corpus(corpus_folder).split(config.validation, config.seed)
        corpus, held_out = corpus.to(device), held_out.to(device)
    elif config.synthetic < 1:
        raise ValueError("this run needs sound: give --corpus PACKED (made by training.corpus), or set synthetic=1")
    n, left = divmod(config.batch, world * config.accumulate)
    if left or n < 2:
        raise ValueError(
            f"a batch of {config.batch} does not divide into {world} processes x {config.accumulate} parts"
        )
    views, validation_views = Views(config, corpus, n, device), Views(config, held_out, n, device)
    validation_views.frontend = views.frontend

    torch.manual_seed(config.seed)  # the initial weights
    learner = Learner(config).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(learner.parameters(), config.lr, weight_decay=config.weight_decay)
    progress = Progress()
    best = (
        None
        if config.patience == 0
        else {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
    )
    saved = run.load_checkpoint(device)
    if saved is not None:
        learner.load_state_dict(saved["learner"])
        optimizer.load_state_dict(saved["optimizer"])
        progress, best = Progress(**saved["progress"]), saved["best"]

    def save() -> None:
        state = {"learner": learner.state_dict(), "optimizer": optimizer.state_dict(), "best": best}
        run.save_checkpoint({**state, "progress": dataclasses.asdict(progress)})

    model: nn.Module = learner
    if config.compile:
        learner.network.compile(dynamic=False)
    if world > 1:
        model = DistributedDataParallel(learner)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16")

    def loss_of(results: dict[str, Tensor]) -> Tensor:
        zero = torch.zeros((), device=device)
        return results.get("contrastive", zero) + config.predictive_weight * results.get("predictive", zero)

    @torch.no_grad()
    def validate() -> dict[str, Tensor]:
        """Means over the fixed validation set, the same on every process."""
        learner.eval()
        batches = []
        for i in range(config.n_validation):
            batch = validation_views(VALIDATION_SEED + i * world + rank)
            with autocast:
                batches.append(learner(*batch))
        learner.train()
        means = {name: torch.stack([batch[name].float() for batch in batches]).mean(0) for name in batches[0]}
        if world > 1:
            for value in means.values():
                distributed.all_reduce(value)
                value /= world
        return means

    def stop_requested() -> bool:
        """Whether any process was asked to stop: all stop at the same step, or none could go on."""
        asked = torch.tensor(float(stop.requested), device=device)
        if world > 1:
            distributed.all_reduce(asked)
        return bool(asked)

    last_save = time.monotonic()
    bar = tqdm(
        total=config.steps, initial=progress.step, desc=out.name, unit="step", disable=None if rank == 0 else True
    )
    while progress.step < config.steps and not progress.stopped_early:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, progress.step)
        optimizer.zero_grad()
        for part in range(config.accumulate):
            seed = ((progress.step * config.accumulate + part) * world + rank) * SEED_STRIDE + config.seed
            batch = views(seed)
            with autocast:
                results = model(*batch)
            loss = loss_of(results)
            if not math.isfinite(loss.item()):
                run.report_failure(
                    {"step": progress.step, "batch_seed": seed, "losses": results, "learner": learner.state_dict()}
                )
                raise FloatingPointError(
                    f"the loss is {loss.item()} at step {progress.step}; what is needed to repeat it is in {out}/failure.pt"
                )
            (loss / config.accumulate).backward()
        optimizer.step()
        progress.step += 1
        bar.update()
        bar.set_postfix_str(
            run.log(progress.step, "train", results, lr=optimizer.param_groups[0]["lr"], samples=config.batch)
        )

        if config.validate_every and progress.step % config.validate_every == 0:
            results = validate()
            run.log(progress.step, "validation", results)
            if loss_of(results).item() < progress.best_loss - config.delta:
                progress.best_loss, progress.since_best = loss_of(results).item(), 0
                if best is not None:
                    best = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
            else:
                progress.since_best += 1
            progress.stopped_early = 0 < config.patience <= progress.since_best
        stopping = stop_requested()
        if stopping or time.monotonic() - last_save > 60 * config.checkpoint_minutes:
            save()
            last_save = time.monotonic()
        if stopping:
            raise SystemExit(f"stopped at step {progress.step} by signal; run the same command again to go on")
    bar.close()
    save()
    if best is not None:
        learner.network.load_state_dict(best)
    if rank == 0:
        export(run, learner.network, views.frontend, corpus, progress.step)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.pretrain", description="Pretrain MT-SLVR.")
    parser.add_argument(
        "config", help="TOML file of differences from PretrainConfig's defaults, such as training/runs/default.toml"
    )
    parser.add_argument("overrides", nargs="*", help="name=value, after the file")
    parser.add_argument(
        "--corpus", help="folder made by training.corpus; its name is not part of the run's configuration"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an unfinished run in it is resumed")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    device = torch.device(args.device)
    if "RANK" in os.environ:  # started by torchrun
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
    pretrain(read_config(PretrainConfig, args.config, args.overrides), args.corpus, args.out, device)
    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
