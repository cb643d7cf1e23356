"""Draw the pictures of the documentation: python docs/pictures.py (docs/images/demo.png is what `mtslvr demo` draws)."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from mtslvr.encoder.frontend import HOP, SAMPLE_RATE
from mtslvr.encoder.model import MTSLVR
from mtslvr.events import detect
from mtslvr.fewshot import fit_fewshot
from mtslvr.sound.stream import read
from mtslvr.storage.assets import DEMO_RECORDINGS

NOISE = 0.002  # standard deviation of the noise between the sounds, -54 dB


def channels(out: Path) -> None:
    """The three channels of a recording."""
    wave = torch.from_numpy(read(DEMO_RECORDINGS / "laughter" / "3.ogg"))
    image = MTSLVR.from_pretrained().frontend(wave[None])[0]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    names = ("0: log-power, Hann window", "1: log-magnitude, no window", "2: phase, no window")
    for axes, channel, name, unit in zip(figure.subplots(1, 3), image, names, ("dB", "dB", "radians"), strict=True):
        low = channel.min() if unit == "radians" else channel.max() - 80
        seconds = channel.shape[1] * HOP / SAMPLE_RATE
        cmap = "twilight" if unit == "radians" else "magma"
        drawn = axes.imshow(channel, origin="lower", aspect="auto", extent=(0, seconds, 0, 128), vmin=low, cmap=cmap)
        axes.set(title=name, xlabel="s", ylabel="mel filter")
        figure.colorbar(drawn, ax=axes, label=unit)
    figure.savefig(out / "channels.png", dpi=100)


def detection(out: Path) -> None:
    """A recording with known sounds in it, and what is found in it by three other recordings of each and some of the noise."""
    rng = np.random.default_rng(0)
    kinds = ("laughter", "splash", "thunder")

    def sound(kind: str, number: int) -> np.ndarray:
        wave = read(DEMO_RECORDINGS / kind / f"{number}.ogg")
        return wave + NOISE * rng.standard_normal(len(wave)).astype(np.float32)

    def noise(seconds: float) -> np.ndarray:
        return NOISE * rng.standard_normal(round(seconds * SAMPLE_RATE)).astype(np.float32)

    support = [(sound(kind, i), kind) for kind in kinds for i in (1, 2, 3)] + [(noise(1), "noise") for _ in range(3)]
    classifier = fit_fewshot([(wave, SAMPLE_RATE) for wave, _ in support], [kind for _, kind in support])
    parts, true = [noise(2)], []
    for kind, number in [(kind, i) for i in (4, 5, 6) for kind in kinds]:
        start = sum(map(len, parts)) / SAMPLE_RATE
        parts += [sound(kind, number), noise(rng.uniform(1, 2.5))]
        true.append((start, start + len(parts[-2]) / SAMPLE_RATE, kind))
    wave = np.concatenate(parts)
    found = [
        (event.start, event.end, event.label) for event in detect((wave, SAMPLE_RATE), classifier, background="noise")
    ]

    figure = Figure(figsize=(12, 4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    image = MTSLVR.from_pretrained().frontend(torch.from_numpy(wave)[None])[0, 0]
    seconds = len(wave) / SAMPLE_RATE
    top.imshow(image, origin="lower", aspect="auto", extent=(0, seconds, 0, 128), vmin=image.max() - 80, cmap="magma")
    top.set(ylabel="mel filter")
    for row, events in enumerate((found, true)):
        for start, end, kind in events:
            bottom.barh(row, end - start, 0.8, start, color=f"C{kinds.index(kind)}")
    for i, kind in enumerate(kinds):
        bottom.barh(0, 0, color=f"C{i}", label=kind)
    figure.legend(loc="outside upper center", ncols=len(kinds), frameon=False)
    bottom.set(xlabel="s", xlim=(0, seconds))
    bottom.set_yticks([0, 1], ["found", "there"])
    figure.savefig(out / "detection.png", dpi=100)


if __name__ == "__main__":
    images = Path(__file__).parent / "images"
    channels(images)
    detection(images)
