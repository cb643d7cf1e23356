"""What is shown of the few-shot study, in docs/fewshot.md and in the terminal: rows of tables, from the rows of `training.studies.fewshot --json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtslvr.storage.tables import lined_up
from training.studies.reliability import calibration_error

Study = Sequence[Mapping[str, Any]]


def confidence(study: Study) -> list[list[str]]:
    """Accuracy, mean confidence and calibration error by ways and shots: means over the sets, the error also of all sets pooled."""
    cells = _by_task(study)
    ways, shots = dict.fromkeys(ways for ways, _ in cells), sorted({n for _, n in cells})
    rows = [["", *(f"{n} shot{'s' * (n > 1)}" for n in shots)]]
    for n_ways in ways:
        told = []
        for n in shots:
            found = cells.get((n_ways, n), [])
            bins = [np.array(one["bins"]) for one in found]
            means = [100 * np.mean([b[:, i].sum() / b[:, 0].sum() for b in bins]) for i in (2, 1)] if found else []
            errors = (
                f"{np.mean([calibration_error(b.tolist()) for b in bins]):.1f}, {calibration_error(np.sum(bins, 0).tolist()):.1f}"
                if found
                else ""
            )
            told.append(f"{means[0]:.1f} / {means[1]:.1f} / {errors}" if found else "")
        rows.append([f"{n_ways} ways", *told])
    return rows


def methods(study: Study, ways: str = "5") -> list[list[str]]:
    """Accuracy of methods and spaces by shots."""
    cells = {n: rows for (n_ways, n), rows in _by_task(study).items() if n_ways == ways}
    rows = [["method, space", *(f"{ways}-way {n}-shot" for n in cells)]]
    for name in dict.fromkeys(name for found in cells.values() for one in found for name in one["accuracy"]):
        told = []
        for found in cells.values():
            own = [one for one in found if name in one["accuracy"]]
            interval = sum(one["interval"][name] ** 2 for one in own) ** 0.5 / max(len(own), 1)
            told.append(f"{np.mean([one['accuracy'][name] for one in own]):.1f} ± {interval:.1f}" if own else "")
        rows.append([name.replace("/", ", "), *told])
    return rows


def suspects(study: Study) -> list[list[str]]:
    """How many of the labels that the report suspects were swapped, and how many of the swapped it suspects."""
    sums = {key: np.sum([one["suspects"] for one in found], 0) for key, found in _by_task(study).items()}
    shots = sorted({n for _, n in sums if n > 1})
    rows = [["", *(f"{n} shots" for n in shots)]]
    for ways in dict.fromkeys(ways for ways, _ in sums):
        told = [sums.get((ways, n), (0, 0, 0)) for n in shots]
        cells = [f"{100 * c / max(c + a, 1):.0f} / {100 * c / n:.0f}" if n else "" for n, c, a in told]
        rows.append([f"{ways} ways", *cells])
    return rows


def strangers(study: Study, ways: str = "5") -> list[list[str]]:
    """Known against unknown classes."""
    cells = {n: rows for (n_ways, n), rows in _by_task(study).items() if n_ways == ways}
    rows = [["", *(f"{n} shot{'s' * (n > 1)}" for n in cells)]]
    for i, title in enumerate(("area under the ROC curve of `novelty`", "strangers accepted, %", "known rejected, %")):
        found = [[one["unknown"][i] for one in own if one["unknown"]] for own in cells.values()]
        rows.append([title, *(f"{np.mean(values):.{0 if i else 2}f}" if values else "" for values in found)])
    return rows


def printed(study: Study) -> str:
    """The same tables as lines of text, for all numbers of ways."""
    ways = list(dict.fromkeys(one["ways"] for one in study))
    tables = {
        "accuracy / mean confidence / calibration error, that of all sets pooled, %": [confidence(study)],
        "accuracy, %": [methods(study, n) for n in ways],
        "of the suspected labels that were swapped / of the swapped that are suspected, %": [suspects(study)],
        "strangers": [
            [[f"{n} ways: {row[0]}" if row[0] else "", *row[1:]] for row in strangers(study, n)] for n in ways
        ],
    }
    return "\n\n".join(f"{title}\n" + "\n\n".join(map(lined_up, rows)) for title, rows in tables.items())


def _by_task(study: Study) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
    """The rows of the few-shot study by ways and shots."""
    found: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for one in study:
        found.setdefault((one["ways"], one["shots"]), []).append(one)
    return found


TABLES = (confidence, methods, suspects, strangers)
