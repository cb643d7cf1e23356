"""How fast training is on this machine.

    python -m training.studies.benchmark [--device cuda] [--batch 100] [--seconds 5] [--precision bfloat16] [--repeats 5] [--json FILE]

Step: sounds per second of augmentation and front end alone, of forward and backward of both views and tasks alone, of the
whole step; and of the floor, the step's multiply-adds at the rate at which this machine multiplies large matrices.

Augmentation: views per second of training/augment/chain.py, and of the same chain written plainly, one sample at a time in
NumPy, SciPy and torch, as a data set's __getitem__ would have it: once with frames and hops like ours, once with the
pitch shift as torch-pitch-shift sets it, the library behind torch-audiomentations. They take turns, so that all meet the
same machine; rates are medians. The plain ones run in this process alone: a loader's workers multiply them by up to
their number.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly
from torch.utils.flop_counter import FlopCounterMode

from mtslvr.sound.stream import SAMPLE_RATE
from training.augment.chain import AUGMENTATIONS, augment, sample_chain, sample_parameters
from training.config import PretrainConfig
from training.learner import Learner
from training.views import Views

Wave = NDArray[np.float32]


def vocode(wave: Wave, rate: float, n_fft: int, hop: int) -> Wave:
    """[samples] -> [samples / rate]: the usual phase vocoder."""
    window = torch.hann_window(n_fft)
    spectrum = torch.stft(torch.from_numpy(wave), n_fft, hop, window=window, return_complex=True)
    expected = torch.linspace(0, math.pi * hop, len(spectrum))[:, None]
    position = torch.arange(0, spectrum.shape[1], rate)
    fraction, first = position % 1, position.long()
    spectrum = torch.nn.functional.pad(spectrum, (0, 2))
    before, after = spectrum[:, first], spectrum[:, first + 1]
    magnitude = fraction * after.abs() + (1 - fraction) * before.abs()
    surplus = after.angle() - before.angle() - expected
    advance = surplus - 2 * math.pi * torch.round(surplus / (2 * math.pi)) + expected
    phase = torch.cat([spectrum[:, :1].angle(), advance[:, :-1]], dim=1).cumsum(1)
    stretched = torch.polar(magnitude, phase)
    return torch.istft(stretched, n_fft, hop, window=window, length=round(len(wave) / rate)).numpy()


def plain_pitch_shift(wave: Wave, rng: np.random.Generator, n_fft: int = 512, hop: int = 128) -> Wave:
    factor = Fraction(2 ** (rng.uniform(-15, 15) / 12)).limit_denominator(32)
    shifted: Wave = resample_poly(vocode(wave, float(1 / factor), n_fft, hop), factor.denominator, factor.numerator)
    return np.pad(shifted, (0, max(0, len(wave) - len(shifted))))[: len(wave)]


def plain_fade(wave: Wave, rng: np.random.Generator) -> Wave:
    shape = rng.integers(3)

    def gain() -> Wave:
        ramp = np.linspace(0, 1, int(rng.uniform(0, 0.5) * len(wave)), dtype=np.float32)
        faded = [ramp, np.log10(0.1 + ramp) + 1, np.exp2(ramp - 1) * ramp][shape]
        return np.concatenate([faded, np.ones(len(wave) - len(ramp), np.float32)]).clip(0, 1)

    return wave * gain() * gain()[::-1]


def plain_noise(wave: Wave, rng: np.random.Generator, low: float, high: float) -> Wave:
    spectrum = np.fft.rfft(rng.standard_normal(len(wave)))
    spectrum /= np.linspace(1, (SAMPLE_RATE / 2) ** 0.5, len(spectrum)) ** rng.uniform(low, high)
    noise = np.fft.irfft(spectrum, len(wave))
    rms = np.sqrt(np.mean(wave**2)) / 10 ** (rng.uniform(3, 30) / 20)
    mixed: Wave = (wave + rms * noise / np.sqrt(np.mean(noise**2))).astype(np.float32)
    return mixed


def plain_time_stretch(wave: Wave, rng: np.random.Generator) -> Wave:
    return np.resize(vocode(wave, rng.uniform(0.5, 1.5), 2048, 512), len(wave))


def plain_time_mask(wave: Wave, rng: np.random.Generator) -> Wave:
    n = int(rng.uniform(0, 0.125) * len(wave))
    start = rng.integers(len(wave) - n + 1)
    wave = wave.copy()
    wave[start : start + n] = 0
    return wave


def plain_time_shift(wave: Wave, rng: np.random.Generator) -> Wave:
    return np.roll(wave, int(rng.uniform(-0.5, 0.5) * len(wave)))


PLAIN: dict[str, Callable[[Wave, np.random.Generator], Wave]] = {
    "pitch_shift": plain_pitch_shift,
    "fade": plain_fade,
    "white_noise": lambda wave, rng: plain_noise(wave, rng, -1, 0),
    "mixed_noise": lambda wave, rng: plain_noise(wave, rng, -2, 2),
    "time_stretch": plain_time_stretch,
    "time_mask": plain_time_mask,
    "time_shift": plain_time_shift,
}


LIBRARY = PLAIN | {
    "pitch_shift": lambda wave, rng: plain_pitch_shift(wave, rng, SAMPLE_RATE // 64, SAMPLE_RATE // 64 // 32)
}


def plain_views(
    wave: Wave, rng: np.random.Generator, effects: dict[str, Callable[[Wave, np.random.Generator], Wave]]
) -> tuple[Wave, Wave]:
    """Two views of one sample: the same chain, other parameters."""
    chain = rng.permutation(AUGMENTATIONS)[: rng.integers(1, 8)]
    first, second = wave, wave
    for name in chain:
        first, second = effects[name](first, rng), effects[name](second, rng)
    return first, second


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, with what it left running on the device."""
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def augmentation_rates(batch: int, seconds: float, device: torch.device, n_repeats: int) -> dict[str, float]:
    """Views per second of the implementations, two views of each of `batch` clips, and how many times as fast ours is."""
    length = round(seconds * SAMPLE_RATE)
    on_host, on_device = torch.Generator().manual_seed(0), torch.Generator(device).manual_seed(0)
    waves = 0.1 * torch.randn(batch, length, generator=on_device, device=device)
    plain_waves = waves[: min(batch, 16)].cpu().numpy()  # enough of them to time, and to meet every chain length

    def batched() -> None:
        chain = sample_chain(batch, on_host).repeat(2)
        augment(waves.repeat(2, 1), chain, sample_parameters(chain, length, on_host), on_device)

    def plain(effects: dict[str, Callable[[Wave, np.random.Generator], Wave]], seed: int) -> None:
        rng = np.random.default_rng(seed)  # the same chains for both
        for wave in plain_waves:
            plain_views(wave, rng, effects)

    times = [
        (
            seconds_of(batched, device) / (2 * batch),
            seconds_of(partial(plain, PLAIN, i), device) / (2 * len(plain_waves)),
            seconds_of(partial(plain, LIBRARY, i), device) / (2 * len(plain_waves)),
        )
        for i in range(n_repeats + 1)
    ][1:]
    ours, plains, library = (1 / median(column) for column in zip(*times, strict=True))
    return {
        "batched_views_per_second": ours,
        "plain_views_per_second": plains,
        "library_views_per_second": library,
        "ratio": median(plain / ours for ours, plain, _ in times),
        "ratio_to_library": median(library / ours for ours, _, library in times),
    }


class Noise:
    """A corpus that costs nothing to read."""

    mean, std = 0.0, 0.1

    def places(
        self, n: int, length: int, generator: torch.Generator, *how: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.arange(n), torch.zeros(n)

    def cut(self, drawn: torch.Tensor, first: torch.Tensor, length: int) -> torch.Tensor:
        return 0.1 * torch.randn(len(drawn), length)


def step_rates(batch: int, seconds: float, device: torch.device, precision: str, n_repeats: int) -> dict[str, float]:
    """Sounds per second of the parts of a step of MT-Parallel with SimCLR, of all of it, and of the machine's floor."""
    config = PretrainConfig(batch=batch, seconds=seconds, precision=precision)
    views = Views(config, Noise(), batch, device)  # type: ignore[arg-type]
    learner = Learner(config).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(learner.parameters(), config.lr)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    images = views(0)
    square = torch.randn(4096, 4096, device=device, dtype=dtype)

    def learn(inputs: tuple[torch.Tensor, ...]) -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            results = learner(*inputs)
        (results["contrastive"] + results["predictive"]).backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        learn(images)
    parts: dict[str, Callable[[], object]] = {
        "views": lambda: views(1),
        "forward_backward": lambda: learn(images),
        "step": lambda: learn(views(1)),
        "matmul": lambda: square @ square,
    }
    rounds = [{name: seconds_of(part, device) for name, part in parts.items()} for _ in range(n_repeats + 1)][1:]
    times = {name: median(one[name] for one in rounds) for name in parts}
    flops_per_second = 2 * 4096**3 / times["matmul"]
    return {
        "views_per_second": batch / times["views"],
        "forward_backward_per_second": batch / times["forward_backward"],
        "step_per_second": batch / times["step"],
        "floor_per_second": batch * flops_per_second / counter.get_total_flops(),
        "matmul_teraflops": flops_per_second / 1e12,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=100, help="clips; two views of each")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each clip")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16", help="of the network")
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    arguments = parser.parse_args()
    rates = augmentation_rates(arguments.batch, arguments.seconds, arguments.device, arguments.repeats)
    print(f"augmentation, {arguments.batch} clips of {arguments.seconds:g} s on {arguments.device}")
    for name, title, ratio in (
        ("batched", "ours, batched", 1.0),
        ("plain", "one sample at a time", rates["ratio"]),
        ("library", "the same, pitch shifted as torch-pitch-shift", rates["ratio_to_library"]),
    ):
        print(f"  {title:<46} {rates[f'{name}_views_per_second']:10.1f} views/s  ours is {ratio:5.1f} x as fast")
    step = step_rates(arguments.batch, arguments.seconds, arguments.device, arguments.precision, arguments.repeats)
    print(f"step of MT-Parallel with SimCLR, {arguments.precision}")
    for name, title in (
        ("views_per_second", "crops, augmentation and front end"),
        ("forward_backward_per_second", "forward and backward"),
        ("step_per_second", "the whole step"),
        ("floor_per_second", f"floor, at {step['matmul_teraflops']:.2f} Tflop/s"),
    ):
        print(f"  {title:<36} {step[name]:10.1f} sounds/s  {step[name] / step['step_per_second']:6.2f} x the step")
    if arguments.json:
        setting = {"device": str(arguments.device), "batch": arguments.batch, "seconds": arguments.seconds}
        results = {**setting, "torch_threads": torch.get_num_threads(), "augmentation": rates, "step": step}
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
