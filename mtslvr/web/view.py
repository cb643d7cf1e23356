"""What the demo in the browser shows of a classifier, as HTML: how good it is, and a map of the sounds.

Names of files and classes come from a visitor: all text is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from mtslvr.fewshot.report import MAX_LISTED, Report

COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#2f9c95", "#d4a017", "#ff7f9d", "#9c755f", "#79706e")
WIDTH, HEIGHT, EDGE = 560, 300, 22  # of the map, in units of the picture
CARD_COLOURS = "\n".join(f".card.class-{i} {{ border-top: 5px solid {c} }}" for i, c in enumerate(COLOURS))  # CSS


def learned(report: Report, colours: Mapping[str, str]) -> str:
    """A report, and the map.

    Args:
        colours: of each class.
    """
    rows = report.per_class
    right, judged = sum(row["right"] for row in rows), len(report.judged)
    if judged:
        low, high = report.interval()
        number = f"<p class='big'>{report.accuracy:.0%}</p>"
        text = (
            f"{right} of {judged} sounds are named right by leave-one-out. "
            f"For new ones expect {low:.0%} to {high:.0%} (95% interval); chance is {1 / len(rows):.0%}."
        )
    else:
        number, text = "<p class='big'>?</p>", "The accuracy is shown once a class has two sounds."
    key = "".join(f"<span>{_dot(colours[row['label']])}{escape(row['label'])}: {_score(row)}</span>" for row in rows)
    lines = [
        f"Look again at {escape(report.names[clip])}, given as {escape(label)}: the others say {escape(name)} ({p:.2f})"
        for clip, label, name, p in report.suspects[:MAX_LISTED]
    ]
    lines.append(f"Record next: {escape(report.record_next[0])}")
    return "".join(
        [
            "<div class='shown'>",
            number,
            f"<p>{text}</p>",
            f"<div class='part key'>{key}</div>",
            *(f"<p class='quiet'>{line}</p>" for line in lines),
            f"<div class='part'><h3>Map of the sounds</h3>{_map(report, colours)}",
            "<p class='quiet'>Close together: they sound alike to the encoder. Ringed: wrong by leave-one-out.</p></div></div>",
        ]
    )


def notice(lines: Sequence[str]) -> str:
    """Lines that ask for something to be mended, or nothing."""
    text = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f"<div class='shown'><div class='notice' role='status'>{text}</div></div>" if lines else ""


def _score(row: Mapping[str, float]) -> str:
    return f"{row['right']} of {row['judged']} right" if row["judged"] else "1 sound"


def _dot(colour: str) -> str:
    return f"<span class='dot' style='background:{colour}'></span>"


def _map(report: Report, colours: Mapping[str, str]) -> str:
    """An SVG; each sound has its name as a tooltip."""
    places = np.array(report.places)
    low, size = places.min(0), np.ptp(places, axis=0)
    size[size == 0] = 1
    x, y = ((places - low) / size * (WIDTH - 2 * EDGE, HEIGHT - 2 * EDGE) + EDGE).T
    dots = []
    for clip, target in enumerate(report.targets):
        label = report.classes[target]
        wrong = report.named[clip] not in (target, -1)
        ring = "<circle r='12' fill='none' stroke='currentColor' stroke-width='1.5'/>" if wrong else ""
        title = escape(f"{label}: {report.names[clip]}")
        dots.append(
            f"<g transform='translate({x[clip]:.1f},{HEIGHT - y[clip]:.1f})'><title>{title}</title>"
            f"<circle r='7' fill='{colours[label]}' fill-opacity='.85'/>{ring}</g>"
        )
    return f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='Map of the sounds'>{''.join(dots)}</svg>"
