"""Pretrain MT-SLVR: the whole run, top to bottom (arXiv 2305.17191; training/README.md lists the runs).

    python -m training.pretrain training/runs/smoke.toml --out /tmp/smoke                    # no data needed, two minutes
    python -m training.pretrain training/runs/self-supervised.toml --corpus PACKED --out RUN # PACKED: made by training.corpus
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
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from training.config import PretrainConfig, loss_weights
from training.corpus.reader import Corpus
from training.finish import export
from training.learner import Learner, start_from, total_loss
from training.precision import faster
from training.run import Run, StopOnSignal, read_config, started_with
from training.views import Views

VALIDATION_SEED = 2**40  # seeds from here on are the validation set's; training's stay far below
SEED_STRIDE = 1_000_003  # between the seeds of consecutive batches, so that runs of neighbouring seeds share none


@torch.no_grad()
def average(mean: dict[str, Tensor] | None, weights: Mapping[str, Tensor], n: int) -> None:
    """Take the n-th weights into the mean of those before, in place."""
    for name, tensor in (mean or {}).items():
        if tensor.is_floating_point():
            tensor += (weights[name] - tensor) / n
        else:
            tensor.copy_(weights[name])


@dataclasses.dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    best_loss: float = math.inf
    since_best: int = 0  # validations without an improvement
    stopped_early: bool = False


def learning_rate(config: PretrainConfig, step: int) -> float:
    """Rate of a step. "oscillating": CosineAnnealingLR(T_max=1000) stepped once per step, so it comes back up every 2000 steps."""
    if config.schedule == "oscillating":
        return config.lr * 0.5 * (1 + math.cos(math.pi * step / 1000))
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - config.warmup) / max(1, config.steps - config.warmup)))


def processes() -> tuple[int, int]:
    """The number of this process, from 0, and how many train together."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def pretrain(config: PretrainConfig, corpus_folder: str | None, out: Path, device: torch.device) -> None:
    """Train, or go on training, what `config` says, in the folder `out`."""
    if config.precision == "auto":  # a run that goes on keeps what was chosen for it
        chosen = started_with(out).get("precision") or faster(device)
        config = dataclasses.replace(config, precision=chosen)
    whole, corpus, held_out = None, None, None
    if corpus_folder is not None:
        whole = Corpus(corpus_folder).taught_by(config.teachers) if config.teachers else Corpus(corpus_folder)
        corpus, held_out = (part.to(device) for part in whole.split(config.validation, config.seed))
    elif config.synthetic < 1:
        raise ValueError("this run needs sound: give --corpus PACKED (made by training.corpus), or set synthetic=1")
    with Run(out, {**dataclasses.asdict(config), "corpus": whole and whole.digest}, active=processes()[0] == 0) as run:
        train(run, config, corpus, held_out, device)


def train(
    run: Run, config: PretrainConfig, corpus: Corpus | None, held_out: Corpus | None, device: torch.device
) -> None:
    """The steps that are left of a run, and what it leaves; `held_out` is for validation."""
    rank, world = processes()
    stop = StopOnSignal()
    n, left = divmod(config.batch, world * config.accumulate)
    if left or n < 2:
        raise ValueError(
            f"a batch of {config.batch} does not divide into {world} processes x {config.accumulate} parts"
        )
    views, validation_views = Views(config, corpus, n, device), Views(config, held_out, n, device)
    validation_views.frontend = views.frontend

    torch.manual_seed(config.seed)  # the initial weights
    learner = Learner(config, corpus.heard.widths if corpus and corpus.heard else None)
    if config.init:
        start_from(learner.network, config.init)
    learner = learner.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(learner.parameters(), config.lr, weight_decay=config.weight_decay)
    progress = Progress()
    keeps = config.patience > 0 or config.average_last > 0
    best = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()} if keeps else None
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

    weights = loss_weights(dataclasses.asdict(config))

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
        total=config.steps,
        initial=progress.step,
        desc=run.folder.name,
        unit="step",
        disable=None if rank == 0 else True,
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
            loss = total_loss(results, weights)
            if not math.isfinite(loss.item()):
                run.report_failure(
                    {"step": progress.step, "batch_seed": seed, "losses": results, "learner": learner.state_dict()}
                )
                raise FloatingPointError(
                    f"the loss is {loss.item()} at step {progress.step}; what is needed to repeat it is in {run.folder}/failure.pt"
                )
            (loss / config.accumulate).backward()
        optimizer.step()
        progress.step += 1
        n_averaged = progress.step - round((1 - config.average_last) * config.steps)
        if n_averaged > 0 and config.average_last:
            average(best, learner.network.state_dict(), n_averaged)
        bar.update()
        bar.set_postfix_str(
            run.log(progress.step, "train", results, lr=optimizer.param_groups[0]["lr"], samples=config.batch)
        )

        if config.validate_every and progress.step % config.validate_every == 0:
            results = validate()
            run.log(progress.step, "validation", results)
            if (loss := total_loss(results, weights)).item() < progress.best_loss - config.delta:
                progress.best_loss, progress.since_best = loss.item(), 0
                if config.patience:
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
        "--corpus", help="folder made by training.corpus; a run goes on with the same one only, wherever it lies"
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
