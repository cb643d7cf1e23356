"""The figures of analyse.py, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from training.studies.heads import Heads
from training.studies.mix import SHARES, Mixes


def mix(found: Sequence[Mixes], path: Path) -> None:
    """Accuracy over the share of the invariant head, less that of equal shares: a panel per number of shots, a line per set."""
    figure = Figure(figsize=(5.5 * len(found) + 1.5, 4), layout="constrained")
    for axes, one in zip(figure.subplots(1, len(found), squeeze=False, sharey=True)[0], found, strict=True):
        for name, accuracies in zip(one.data, one.accuracies, strict=True):
            gains = np.array(accuracies) - accuracies[len(SHARES) // 2]
            (line,) = axes.plot(SHARES, gains, label=name)
            axes.plot(SHARES[gains.argmax()], gains.max(), "o", color=line.get_color())
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set(title=f"{one.n_shots}-shot", xlabel="share of the invariant head", xlim=(0, 1))
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("points of accuracy over equal shares")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=120)


def transfer(found: Sequence[Mixes], path: Path) -> None:
    """What a share fitted on one set (row) gains on another (column): a panel per number of shots; grey is within its interval."""
    n_sets = len(found[0].data)
    figure = Figure(figsize=((0.75 * n_sets + 2) * len(found), 0.6 * n_sets + 1.6), layout="constrained")
    largest = max(1.0, *(abs(gain) for one in found for row in one.transfer for gain in row))
    for axes, one in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        drawn = axes.imshow(one.transfer, cmap="RdBu", vmin=-largest, vmax=largest)
        for i, (gains, intervals) in enumerate(zip(one.transfer, one.intervals, strict=True)):
            for j, (gain, interval) in enumerate(zip(gains, intervals, strict=True)):
                colour = "white" if abs(gain) > 0.6 * largest else "black" if abs(gain) > interval else "grey"
                axes.text(j, i, f"{gain:+.1f}", ha="center", va="center", color=colour, fontsize=8)
        rows = [f"{name} ({share:.1f})" for name, share in zip(one.data, one.best, strict=True)]
        axes.set_yticks(range(n_sets), rows)
        axes.set_xticks(range(n_sets), one.data, rotation=40, ha="right")
        axes.set(title=f"{one.n_shots}-shot", ylabel="fitted on (share of the invariant head)", xlabel="used on")
    figure.colorbar(drawn, ax=figure.axes, label="points over equal shares")
    figure.savefig(path, dpi=120)


def gap(results: Sequence[Heads], path: Path) -> None:
    """How much better the invariant head does, over how much more invariant it is: a panel per number of shots, a colour per set."""
    measured = [result for result in results if result.gap is not None]
    shots = sorted({result.n_shots for result in measured})
    encoders = list(dict.fromkeys(result.encoder for result in measured))
    colours = {name: f"C{i}" for i, name in enumerate(dict.fromkeys(result.data for result in measured))}
    figure = Figure(figsize=(5.5 * len(shots) + 1.5, 4.2), layout="constrained")
    for axes, n_shots in zip(figure.subplots(1, len(shots), squeeze=False, sharey=True)[0], shots, strict=True):
        for result in measured:
            if result.n_shots == n_shots:
                face = colours[result.data] if result.encoder == encoders[0] else "none"
                style = {"fmt": "o", "color": colours[result.data], "markerfacecolor": face, "elinewidth": 0.8}
                axes.errorbar(result.gap, result.difference, yerr=result.difference_interval, **style)
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set(title=f"{n_shots}-shot", xlabel="gap in invariance (ratio, variant - invariant)")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("accuracy, invariant - variant, points")
    filled = [Line2D([], [], color=colour, marker="o", linestyle="", label=name) for name, colour in colours.items()]
    kinds = [
        Line2D(
            [], [], color="black", marker="o", linestyle="", label=name, markerfacecolor="black" if i == 0 else "none"
        )
        for i, name in enumerate(encoders)
    ]
    figure.legend(handles=[*filled, *kinds], loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=120)
