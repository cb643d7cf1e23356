"""Draw the pictures of the documentation: python docs/pictures.py (docs/images/demo.png is what `mtslvr demo` draws)."""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from mtslvr.audio import read
from mtslvr.demo import RECORDINGS
from mtslvr.frontend import HOP, SAMPLE_RATE
from mtslvr.model import MTSLVR


def channels(out: Path) -> None:
    """The three channels of a recording."""
    wave = torch.from_numpy(read(RECORDINGS / "laughter" / "3.ogg"))
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


if __name__ == "__main__":
    channels(Path(__file__).parent / "images")
