"""Random chains of augmentations (arXiv 2305.17191, section 3): sample a chain, sample its parameters, apply.

    chain = sample_chain(len(waves), generator)           # per sample: 1 to 7 of the seven, in random order
    labels = chain.labels                                 # float32 [B, 7], what the predictive task predicts
    views = [                                             # the same chain for both, each with its own parameters
        augment(waves, chain, sample_parameters(chain, waves.shape[1], generator), noise_generator) for _ in range(2)
    ]

Chains and parameters are small and live on the CPU; waveforms are augmented together, on their device. Given its
parameters, a sample's result does not depend on its neighbours, except for the draw of its noise.

Departures from the authors' code:
- Pitch shifts are any number of semitones: whole ones (CLAR) leave gaps, and a batch gains nothing from them.
- Noise is drawn for the whole clip: one second of it repeated (torch-audiomentations) has a period no noise has.
- A time mask is zeros: the authors' option to fill it with noise was never active.
As in the authors' code, white noise overlaps mixed noise: of two labels the network must at times guess.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from training.augment.effects import (
    FADE_SHAPES,
    add_noise,
    coloured_noise,
    fade,
    pitch_shift,
    time_mask,
    time_shift,
    time_stretch,
)

AUGMENTATIONS = ("pitch_shift", "fade", "white_noise", "mixed_noise", "time_stretch", "time_mask", "time_shift")
COMPARED = {  # parameter -> its kind of augmentation, its range, and whether it is in samples where the range is a share
    "pitch_semitones": ("pitch_shift", "pitch_semitones", False),
    "fade_in_samples": ("fade", "fade", True),
    "fade_out_samples": ("fade", "fade", True),
    "white_snr_db": ("white_noise", "snr_db", False),
    "mixed_snr_db": ("mixed_noise", "snr_db", False),
    "stretch_rate": ("time_stretch", "stretch_rate", False),
    "mask_length_samples": ("time_mask", "mask", True),
}  # not what hardly shows in a view: the colour of noise, the shape of a fade, where a mask or a shift begins
MIN_SAMPLES = 4096  # two windows of the time stretch
CPU_SAMPLES = 2**17  # at a time on a CPU: what does not fit its caches takes twice as long


@dataclass(frozen=True)
class Strengths:
    """Ranges that parameters are drawn from, uniformly; the defaults are the paper's.

    Raises ValueError for a range that is empty, a rate that is not positive, or a share of the clip outside 0..1.
    """

    pitch_semitones: tuple[float, float] = (-15.0, 15.0)
    fade: tuple[float, float] = (0.0, 0.5)  # share of the clip, in and out each
    snr_db: tuple[float, float] = (3.0, 30.0)  # of both noises
    white_f_decay: tuple[float, float] = (-1.0, 0.0)
    mixed_f_decay: tuple[float, float] = (-2.0, 2.0)
    stretch_rate: tuple[float, float] = (0.5, 1.5)  # above 1 is faster
    mask: tuple[float, float] = (0.0, 0.125)  # share of the clip
    shift: tuple[float, float] = (-0.5, 0.5)  # share of the clip

    def __post_init__(self) -> None:
        bounds = {"fade": (0.0, 1.0), "mask": (0.0, 1.0), "shift": (-1.0, 1.0), "stretch_rate": (0.1, 10.0)}
        for field in fields(self):
            low, high = getattr(self, field.name)
            lowest, highest = bounds.get(field.name, (-float("inf"), float("inf")))
            if not lowest <= low <= high <= highest:
                raise ValueError(f"{field.name}=({low}, {high}); expected {lowest} <= low <= high <= {highest}")


@dataclass(frozen=True)
class Chain:
    """Which augmentations each sample gets, in which order.

    order: int64 [n, 7] on the CPU; order[i, j] is what sample i gets j-th, an index into AUGMENTATIONS, or -1 for none.
    """

    order: Tensor

    @property
    def labels(self) -> Tensor:
        """float32 [n, 7] on the CPU: 1 where the sample gets AUGMENTATIONS[column]."""
        return (self.order[..., None] == torch.arange(len(AUGMENTATIONS))).any(1).float()

    def repeat(self, n_views: int) -> Chain:
        """The chain of n_views copies of the batch, one after the other: order [n_views * n, 7]."""
        return Chain(self.order.repeat(n_views, 1))


@dataclass(frozen=True)
class Parameters:
    """How each augmentation would change each sample: tensors [n] on the CPU. A chain uses some of them."""

    pitch_semitones: Tensor  # float32
    fade_in_samples: Tensor  # int64
    fade_out_samples: Tensor  # int64
    fade_shape: Tensor  # int64, index into FADE_SHAPES
    white_snr_db: Tensor  # float32
    white_f_decay: Tensor  # float32
    mixed_snr_db: Tensor  # float32
    mixed_f_decay: Tensor  # float32
    stretch_rate: Tensor  # float32
    mask_start_samples: Tensor  # int64
    mask_length_samples: Tensor  # int64
    shift_samples: Tensor  # int64

    def __getitem__(self, index: Tensor | slice) -> Parameters:
        """The parameters of some of the samples."""
        return Parameters(*(getattr(self, field.name)[index] for field in fields(self)))


def sample_chain(
    n: int, generator: torch.Generator, n_min: int = 1, n_max: int = 7, exclude: tuple[str, ...] = ()
) -> Chain:
    """Draw for each of n samples k ~ U{n_min..n_max} augmentations without replacement, in random order.

    generator: on the CPU. exclude: names that are never drawn; k is then at most the number of the others.
    Raises ValueError for an unknown name, or when no k satisfies n_min and n_max.
    """
    if unknown := set(exclude) - set(AUGMENTATIONS):
        raise ValueError(f"exclude has {sorted(unknown)}; expected some of {', '.join(AUGMENTATIONS)}")
    n_kinds, n_left = len(AUGMENTATIONS), len(set(AUGMENTATIONS) - set(exclude))
    if not 1 <= n_min <= min(n_max, n_left) or n_max > n_kinds:
        raise ValueError(
            f"n_min={n_min}, n_max={n_max}, exclude={exclude}; expected 1 <= n_min <= n_max <= {n_kinds},"
            f" and n_min at most the {n_left} that are not excluded"
        )
    # Random keys, sorted, give a random permutation; what is excluded sorts behind every k.
    keys = torch.rand(n, n_kinds, generator=generator)
    keys[:, [AUGMENTATIONS.index(name) for name in exclude]] = 2.0
    k = torch.randint(n_min, min(n_max, n_left) + 1, (n, 1), generator=generator)
    return Chain(keys.argsort(1).masked_fill(torch.arange(n_kinds) >= k, -1))


def sample_parameters(
    chain: Chain, length: int, generator: torch.Generator, strengths: Strengths | None = None
) -> Parameters:
    """Draw the parameters of one view of each sample of the chain, for clips of `length` samples.

    generator: on the CPU; what it draws does not depend on the chain, only on its number of samples.
    """
    s = strengths or Strengths()
    n = len(chain.order)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    def share(low: float, high: float) -> Tensor:
        return (length * uniform(low, high)).round().long()

    mask_length = share(*s.mask)
    return Parameters(
        pitch_semitones=uniform(*s.pitch_semitones),
        fade_in_samples=share(*s.fade),
        fade_out_samples=share(*s.fade),
        fade_shape=torch.randint(len(FADE_SHAPES), (n,), generator=generator),
        white_snr_db=uniform(*s.snr_db),
        white_f_decay=uniform(*s.white_f_decay),
        mixed_snr_db=uniform(*s.snr_db),
        mixed_f_decay=uniform(*s.mixed_f_decay),
        stretch_rate=uniform(*s.stretch_rate),
        mask_start_samples=((length - mask_length) * uniform(0.0, 1.0)).round().long(),
        mask_length_samples=mask_length,
        shift_samples=share(*s.shift),
    )


def differences(chain: Chain, parameters: Parameters, length: int, strengths: Strengths) -> Tensor:
    """How the parameters of the first view differ from those of the second, in halves of their range (arXiv 2111.09613, section 3).

    chain: of either view; parameters: drawn for chain.repeat(2), with these strengths and this length.
    Returns float32 [n, len(COMPARED)] in -2..2; NaN where the sample did not get the augmentation.
    """
    columns = []
    for name, (kind, bounds, in_samples) in COMPARED.items():
        low, high = getattr(strengths, bounds)
        value = getattr(parameters, name).float() / (length if in_samples else 1)
        first, second = (value / max((high - low) / 2, 1e-6)).chunk(2)
        given = chain.labels[:, AUGMENTATIONS.index(kind)] > 0
        columns.append(torch.where(given, first - second, torch.nan))
    return torch.stack(columns, 1)


_Effect = Callable[[Tensor, Parameters, torch.Generator], Tensor]
_EFFECTS: tuple[_Effect, ...] = (  # in the order of AUGMENTATIONS
    lambda w, p, g: pitch_shift(w, p.pitch_semitones),
    lambda w, p, g: fade(w, p.fade_in_samples, p.fade_out_samples, p.fade_shape),
    lambda w, p, g: add_noise(w, coloured_noise(p.white_f_decay, w.shape[1], g), p.white_snr_db),
    lambda w, p, g: add_noise(w, coloured_noise(p.mixed_f_decay, w.shape[1], g), p.mixed_snr_db),
    lambda w, p, g: time_stretch(w, p.stretch_rate),
    lambda w, p, g: time_mask(w, p.mask_start_samples, p.mask_length_samples),
    lambda w, p, g: time_shift(w, p.shift_samples),
)


@torch.no_grad()
def augment(waves: Tensor, chain: Chain, parameters: Parameters, generator: torch.Generator) -> Tensor:
    """Apply to each sample its chain: float32 [n, samples] at 16 kHz -> the same, on the device of waves.

    generator: draws the noise; on the device of waves.
    Raises ValueError for waves of another shape or dtype or of fewer than MIN_SAMPLES samples, for a chain or
    parameters of another number of samples, and for a generator on another device.
    """
    n = len(waves)
    if waves.ndim != 2 or waves.dtype != torch.float32 or waves.shape[1] < MIN_SAMPLES:
        raise ValueError(
            f"waves is {waves.dtype} {list(waves.shape)}; expected float32 [n, samples], {MIN_SAMPLES} samples or more"
        )
    if not n == len(chain.order) == len(parameters.pitch_semitones):
        raise ValueError(
            f"waves has {n} samples, chain {len(chain.order)}, parameters {len(parameters.pitch_semitones)};"
            " expected as many of each (chain.repeat(2) is the chain of two stacked views)"
        )
    if generator.device.type != waves.device.type:
        raise ValueError(f"generator is on {generator.device}; expected {waves.device}, where waves is")

    waves = waves.clone()
    n_at_once = max(1, CPU_SAMPLES // waves.shape[1]) if waves.device.type == "cpu" else n
    # Samples need not keep step: each round applies the kind that most of them need next. That takes about 30 rounds
    # for any number of samples, where step by step takes 49.
    order = F.pad(chain.order, (0, 1), value=-1)
    n_done = torch.zeros(n, 1, dtype=torch.int64)
    while ((upcoming := order.gather(1, n_done)[:, 0]) >= 0).any():
        kind = int(upcoming[upcoming >= 0].mode().values)
        index = (upcoming == kind).nonzero()[:, 0]
        # A part is as slow as its highest pitch, so the parts are made of like ones.
        for part in torch.split(index[parameters.pitch_semitones[index].argsort()], n_at_once):
            rows = part.to(waves.device, non_blocking=True)
            effect = _EFFECTS[kind](waves.index_select(0, rows), parameters[part], generator)
            waves.index_copy_(0, rows, effect)
        n_done[index] += 1
    return waves
