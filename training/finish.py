"""What a finished run leaves: the model folder with its card filled in, and the curves as a picture."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

import mtslvr
from mtslvr.encoder.adapters import AdapterResNet18
from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.frontend import Frontend
from mtslvr.encoder.model import MTSLVR
from training.augment.chain import Strengths
from training.config import loss_weights
from training.corpus.reader import Corpus
from training.run import LOG_EVERY, Run, read_log


def export(run: Run, network: AdapterResNet18, frontend: Frontend, corpus: Corpus | None, step: int) -> None:
    """Write RUN/model, which MTSLVR.from_pretrained loads, and RUN/curves.png."""
    lines = read_log(run.folder / "log.jsonl")
    device = next(network.parameters()).device
    config = EncoderConfig(
        network.adapter,
        network.n_heads,
        network.head_dim,
        frontend.mean,
        frontend.std,
        training_summary(run.config, lines, corpus, step, device),
        network.readout,
    )
    MTSLVR(config, network).save_pretrained(run.folder / "model", half=True)
    plot_curves(lines, run.folder / "curves.png", run.config["clean"])


def training_summary(
    config: dict[str, Any], lines: list[dict[str, Any]], corpus: Corpus | None, step: int, device: torch.device
) -> dict[str, Any]:
    """What the model card says about the run; times and losses are the log's."""
    train = [line for line in lines if line["split"] == "train" and "samples_per_second" in line]
    seconds = sum(LOG_EVERY * config["batch"] / line["samples_per_second"] for line in train)
    validation = [line for line in lines if line["split"] == "validation"]
    sound = f"{corpus.hours:.1f} h from {len(corpus.sources)} sources" if corpus else "none"
    if config["synthetic"]:
        sound += f"; {100 * config['synthetic']:.0f} % of each batch synthetic"
    weights = loss_weights(config)
    objective = f"{config['contrastive']} + {weights['predictive']:g} x augmentation prediction"
    if weights["comparison"]:
        objective += f" + {weights['comparison']:g} x parameter comparison"
    if config["teachers"]:
        objective += f" + {weights['taught']:g} x taught by {', '.join(config['teachers'])}"
    summary = {
        "objective": objective,
        "sound": sound,
        "sounds_seen": step * config["batch"],
        "steps": step,
        "batch": config["batch"],
        "crop_seconds": f"{config['shortest']:g} to {config['seconds']:g}" if config["shortest"] else config["seconds"],
        "augmentations": _augmentations(config),
        "learning_rate": f"{config['lr']:g}, {config['schedule']} schedule, Adam",
        "precision": config["precision"],
        "seed": config["seed"],
        "hardware": torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {os.cpu_count()} cores",
        "training_hours": round(seconds / 3600, 2),
        "software": f"mtslvr {mtslvr.__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }
    if config["init"]:
        summary["went on from"] = config["init"]
    if validation:
        names = [name for name in weights if name in validation[-1]]
        stops_early = config["patience"] > 0  # then the weights kept are those of the lowest loss
        best = min(validation, key=lambda line: sum(weights[name] * line[name] for name in names))
        kept = best if stops_early else validation[-1]
        summary["validation_loss"] = (
            ", ".join(f"{name} {kept[name]:.3g}" for name in names) + f" at step {kept['step']}"
        )
    return summary


def _augmentations(config: dict[str, Any]) -> str:
    """The paper's, but for what the run left out or drew from another range."""
    changes = [f"without {name.replace('_', ' ')}" for name in config["exclude"]]
    usual = asdict(Strengths())
    for name, (low, high) in config["strengths"].items():
        if (low, high) != usual[name]:
            changes.append(f"{name.replace('_', ' ')} {low:g} to {high:g}")
    if config["clean"]:
        changes.append(f"{config['clean']:.0%} of the sounds left as they are")
    return ", ".join(["the paper's seven", *changes])


def plot_curves(lines: list[dict[str, Any]], path: Path, clean: float = 0.0) -> None:
    """Losses, accuracy per augmentation, and learning rate over the steps, as a PNG; `clean` is the share of sounds without any."""
    figure = Figure(figsize=(15, 4.2), layout="constrained")
    losses, accuracies, rates = figure.subplots(1, 3)
    for split, style in (("train", {"alpha": 0.35, "linewidth": 1}), ("validation", {"marker": ".", "linewidth": 1.5})):
        chosen = [line for line in lines if line["split"] == split]
        for colour, name in (
            ("tab:blue", "contrastive"),
            ("tab:orange", "predictive"),
            ("tab:green", "comparison"),
            ("tab:red", "taught"),
        ):
            points = [(line["step"], line[name]) for line in chosen if name in line]
            if points:
                losses.plot(*zip(*points, strict=True), color=colour, label=f"{name}, {split}", **style)
        if split == "validation":
            for kind in chosen[-1].get("accuracy", {}) if chosen else {}:
                accuracies.plot(
                    [line["step"] for line in chosen],
                    [100 * line["accuracy"][kind] for line in chosen],
                    label=kind.replace("_", " "),
                )
    train = [line for line in lines if line["split"] == "train"]
    rates.plot([line["step"] for line in train], [line["lr"] for line in train], color="tab:green")
    losses.set(title="Loss", xlabel="step")
    accuracies.set(title="Augmentations told right, validation", xlabel="step", ylabel="%")
    given = (1 - clean) * 4 / 7  # k is 4 of 7 in the mean
    accuracies.axhline(100 * max(given, 1 - given), color="grey", linestyle=":", linewidth=1)  # always the same answer
    rates.set(title="Learning rate", xlabel="step")
    losses.legend(fontsize=8)
    if accuracies.get_legend_handles_labels()[0]:
        accuracies.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))  # seven names would hide a line
    for axes in (losses, accuracies, rates):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
