"""What an evaluation found, as a table and as a bar chart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mtslvr.storage.tables import lined_up

Others = Mapping[str, Mapping[str, float]]  # name of the row -> set -> accuracy, %

MIXED = "* groups are mixed: clips of one speaker or recording may be both in the support and in the query"


@dataclass(frozen=True)
class Result:
    """One number of the table.

    Args:
        accuracy, interval: %, the mean over tasks, and 1.96 * standard deviation / sqrt(tasks).
        seconds: what solving the tasks took, the clips being embedded.
        split: the part of the paper's classes that were used, or "all" of them.
        pieces: what was done with clips longer than 5 s (see pieces.py).
        disjoint: whether no group (speaker, recording) was on both sides of a task.
    """

    encoder: str
    fingerprint: str
    space: str
    data: str
    n_classes: int
    n_clips: int
    n_ways: int
    n_shots: int
    n_tasks: int
    classifier: str
    accuracy: float
    interval: float
    seconds: float
    split: str = "all"
    pieces: str = "mean"
    disjoint: bool = False


def table(results: Sequence[Result], beside: Callable[[Sequence[Result]], Others] = lambda results: {}) -> str:
    """Rows: encoder and space; columns: sets, and their mean; a block for each number of shots.

    Args:
        beside: gives for the results of a block what others have printed, to be set below ours (see paper.py).
    """
    blocks = []
    for n_shots, block in _by_shots(results).items():
        data = _names(block)
        disjoint = {result.data for result in block if result.disjoint}
        rows = [["", *(name if name in disjoint else f"{name}*" for name in data), "mean"]]
        for row, found in _rows(block).items():
            cells = [_cell(found[name].accuracy, found[name].interval) if name in found else "-" for name in data]
            rows.append([row, *cells, _cell(*_mean(found.values()))])
        for row, known in beside(block).items():
            cells = [f"{known[name]:.1f}" if name in known else "-" for name in data]
            rows.append([row, *cells, "-" if "-" in cells else f"{sum(known.values()) / len(known):.1f}"])
        first = block[0]
        title = f"{first.n_ways}-way {n_shots}-shot accuracy %, {first.n_tasks} tasks a set, {first.classifier}"
        note = "" if len(disjoint) == len(data) else f"\n{MIXED}"
        blocks.append(f"{title}\n{lined_up(rows)}{note}")
    return "\n\n".join(blocks)


def interval(values: np.ndarray) -> float:
    """95 % interval of a mean: 1.96 standard errors of values [n]."""
    return float(1.96 * values.std() / len(values) ** 0.5)


def plot(results: Sequence[Result], path: Path) -> None:
    """Bar chart of the table as PNG: a panel for each number of shots, 95 % intervals, the level of chance."""
    shots, data = _by_shots(results), [*_names(results), "mean"]
    figure = Figure(figsize=(max(7, 1.2 * len(data) + 2), 3 * len(shots)), layout="constrained")
    for axes, (n_shots, block) in zip(figure.subplots(len(shots), squeeze=False)[:, 0], shots.items(), strict=True):
        rows = _rows(block)
        width = 0.8 / len(rows)
        for i, (row, found) in enumerate(rows.items()):
            bars = {name: (result.accuracy, result.interval) for name, result in found.items()} | {
                "mean": _mean(found.values())
            }
            at = [data.index(name) + (i - (len(rows) - 1) / 2) * width for name in bars]
            heights, intervals = zip(*bars.values(), strict=True)
            axes.bar(at, heights, width, yerr=intervals, label=row, error_kw={"elinewidth": 0.8})
        axes.axhline(100 / block[0].n_ways, color="grey", linestyle=":", linewidth=1, label="chance")
        axes.set(ylabel="accuracy %", ylim=(0, 100), title=f"{block[0].n_ways}-way {n_shots}-shot")
        axes.set_xticks(range(len(data)), data)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=150)


def _mean(results: Iterable[Result]) -> tuple[float, float]:
    """Mean accuracy over sets, and its interval: that of the tasks, the sets being these ones."""
    found = list(results)
    interval = sum(result.interval**2 for result in found) ** 0.5
    return sum(result.accuracy for result in found) / len(found), interval / len(found)


def _cell(accuracy: float, interval: float) -> str:
    return f"{accuracy:.1f} ±{interval:.1f}"


def _names(results: Iterable[Result]) -> list[str]:
    return list(dict.fromkeys(result.data for result in results))


def _by_shots(results: Sequence[Result]) -> dict[int, list[Result]]:
    shots = sorted({result.n_shots for result in results})
    return {n_shots: [result for result in results if result.n_shots == n_shots] for n_shots in shots}


def _rows(results: Iterable[Result]) -> dict[str, dict[str, Result]]:
    """Rows of the table by name; in each the results by set."""
    rows: dict[str, dict[str, Result]] = {}
    for result in results:
        rows.setdefault(f"{result.encoder}/{result.space}", {})[result.data] = result
    return rows
