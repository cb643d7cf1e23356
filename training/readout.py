"""Fit the pooled readout of a trained network, in closed form, from crops of the pretraining corpus.

    python -m training.readout RUN/model OUT --corpus PACKED

Nothing else is used: no labels, and never a sound of an evaluation set. What is learned is which directions of the pooled feature maps
tell one sound from another (principal components of crops), and which only tell what happened to a recording (directions in which a crop
and changed copies of it differ): the latter are shrunk, as are, by less, those of the former that vary most, or they would drown the
others. It is the paper's idea of an invariant space (section 1), on top of its network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mtslvr.encoder.adapters import AdapterResNet18
from mtslvr.encoder.frontend import Frontend
from mtslvr.encoder.model import MTSLVR
from mtslvr.encoder.readout import MAPS, pooled
from mtslvr.encoder.resnet import ResNet18
from mtslvr.sound.stream import SAMPLE_RATE, WINDOW
from training.augment.chain import Strengths, augment, sample_chain, sample_parameters
from training.augment.effects import add_noise, coloured_noise
from training.corpus.reader import Corpus
from training.evaluation.changes import CHANGES, level

N_CROPS = 2400  # whose principal components are taken
N_CHANGED = 1200  # of them, with a copy of each of three kinds
N_AXES = 1500  # principal components that are whitened, before the best of them are kept
SHRINKAGE = 0.5  # of the covariance of the differences towards a multiple of the identity
NOISE_SNR_DB, NOISE_DECAY = (0.0, 30.0), (-1.0, 2.0)  # of the noisy copies, uniformly
RECORDINGS = tuple(name for name in CHANGES if name.startswith(("MP3", "Opus", "telephone", "room")))
BATCH = 16
STRENGTHS = Strengths(pitch_semitones=(-3.0, 3.0))  # as in our runs


def fit(clean: Tensor, changed: list[Tensor], width: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of a head's readout.

    Args:
        clean: pooled maps of crops, [n, 8192].
        changed: pooled maps of copies of the first crops, each [m, 8192] with m at most n.
        width: features of the head, at most n.

    Returns:
        float32 [width, 8192] and [width].
    """
    clean = clean.double()
    mean = clean.mean(0)
    # Each block (mean and deviation of each stage) is brought to one scale, so that none drowns the others.
    sizes = [channels * rows for channels, rows in MAPS for _ in range(2)]
    scale = torch.cat(
        [block.square().mean().rsqrt().expand(block.shape[1]) for block in (clean - mean).split(sizes, 1)]
    )
    centred = (clean - mean) * scale
    # The principal axes, by way of the smaller of the two Gram matrices.
    n_axes = min(N_AXES, len(clean))
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    axes = centred.T @ vectors[:, -n_axes:] * values[-n_axes:].clamp_min(values[-1] * 1e-12).rsqrt()  # [8192, n_axes]
    # Directions in which a crop and its copies differ are shrunk, by the inverse root of their covariance.
    differences = [((copies.double() - clean[: len(copies)]) * scale) @ axes for copies in changed]
    covariance = torch.stack([one.T @ one / len(one) for one in differences]).mean(0)
    spread = covariance.diagonal().mean()
    values, vectors = torch.linalg.eigh((1 - SHRINKAGE) * covariance + SHRINKAGE * spread * torch.eye(n_axes).double())
    axes = axes @ (vectors * values.rsqrt()) @ vectors.T
    # Of what is left, the principal axes again, their deviations brought to the roots of what they are.
    values, vectors = torch.linalg.eigh((centred @ axes).T @ (centred @ axes))
    values, vectors = values[-width:], vectors[:, -width:]
    weight = (axes @ (vectors * values.clamp_min(values[-1] * 1e-12) ** -0.25)).T * scale
    # Vectors are brought to unit norm afterwards: this only keeps half precision in its range.
    weight = weight / (clean @ weight.T - mean @ weight.T).square().sum(1).mean().sqrt()
    weight = weight.float()
    return weight, -(weight.double() @ mean).float()


def copies(waves: Tensor, rng: np.random.Generator) -> list[Tensor]:
    """Three changed copies of each crop, each [n, samples], all at other levels: augmented as in pretraining, in noise, and as another
    recording of it (codec, telephone, room)."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    chain = sample_chain(len(waves), generator)
    parameters = sample_parameters(chain, waves.shape[1], generator, STRENGTHS)
    augmented = augment(waves, chain, parameters, generator)
    decay = torch.from_numpy(rng.uniform(*NOISE_DECAY, len(waves))).float()
    snr = torch.from_numpy(rng.uniform(*NOISE_SNR_DB, len(waves))).float()
    noisy = add_noise(waves, coloured_noise(decay, waves.shape[1], generator), snr)
    recorded = [CHANGES[RECORDINGS[rng.integers(len(RECORDINGS))]](wave, rng) for wave in waves.numpy()]
    return [
        torch.from_numpy(np.stack([level(wave, rng) for wave in group])).float()
        for group in (augmented.numpy(), noisy.numpy(), recorded)
    ]


@torch.inference_mode()
def pooled_maps(frontend: Frontend, network: ResNet18, waves: Tensor) -> Tensor:
    """What the readouts see: [B, samples] -> [B, n_heads, 8192]."""
    shared = network.shared_maps(frontend(waves).contiguous(memory_format=torch.channels_last))
    return torch.stack([pooled(*branch.maps(shared)) for branch in network.branches], 1)  # type: ignore[operator]


def refit(model: MTSLVR, corpus: Corpus, seed: int = 0, n_crops: int = N_CROPS, n_changed: int = N_CHANGED) -> MTSLVR:
    """The same model with a pooled readout fitted on crops of a corpus, which decide all of it together with the seed."""
    network = model.network.fold().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    see = partial(pooled_maps, model.frontend, network)
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)

    def batches() -> Iterator[tuple[Tensor, list[Tensor]]]:
        for first in tqdm(range(0, n_crops, BATCH), "fitting the readout", unit="batch", disable=None):
            # Balanced as in training: by pieces, rendered words would be most of what is seen.
            waves = corpus.crops(min(BATCH, n_crops - first), WINDOW, generator, balance="sqrt")
            yield (
                see(waves),
                [see(group) for group in (copies(waves, rng) if first < n_changed else [])],
            )

    clean, changed = zip(*batches(), strict=True)
    kinds = [torch.cat(kind) for kind in zip(*(groups for groups in changed if groups), strict=True)]
    everything = torch.cat(clean)
    config = replace(
        model.config,
        readout="pooled",
        training={**model.config.training, "readout": _summary(corpus, n_crops, len(kinds[0]))},
    )
    refitted = AdapterResNet18(config.adapter, config.n_heads, config.head_dim, config.readout)
    weights = {name: tensor for name, tensor in model.network.state_dict().items() if not name.startswith("heads.")}
    for head in range(config.n_heads):
        weight, bias = fit(everything[:, head], [kind[:, head] for kind in kinds], config.head_dim)
        weights |= {f"heads.{head}.weight": weight, f"heads.{head}.bias": bias}
    refitted.load_state_dict(weights)
    return MTSLVR(config, refitted)


def _summary(corpus: Corpus, n_crops: int, n_changed: int) -> str:
    return (
        f"pooled maps of stages 3 and 4, fitted on {n_crops} crops of {WINDOW / SAMPLE_RATE:g} s from {len(corpus.sources)} sources "
        f"and three changed copies of {n_changed} of them"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.readout", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="folder or Hub name of the model; its network stays as it is")
    parser.add_argument("out", type=Path, help="folder for the model with its new readout")
    parser.add_argument("--corpus", required=True, help="folder made by training.corpus")
    parser.add_argument("--crops", type=int, default=N_CROPS, help="default: %(default)s")
    parser.add_argument(
        "--changed", type=int, default=N_CHANGED, help="crops with changed copies; default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, help="of crops and changes; default: %(default)s")
    args = parser.parse_args()
    start = time.monotonic()
    model = refit(
        MTSLVR.from_pretrained(args.model),
        Corpus(args.corpus),
        args.seed,
        args.crops,
        args.changed,
    )
    model.save_pretrained(args.out, half=True)
    print(f"{args.out}: {MTSLVR.from_pretrained(args.out)}, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
