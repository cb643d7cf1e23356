"""What the paper printed (paper_tables.json), for the tables in which our figures are set beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from training.evaluation.report import Others, Result

OBJECTIVES = ("simclr", "simsiam", "none")


@cache
def tables() -> dict[str, Any]:
    """The content of paper_tables.json, which says what each of its parts is."""
    return dict(json.loads(Path(__file__).with_name("paper_tables.json").read_text(encoding="utf-8")))


def rows(results: Sequence[Result], objective: str = "simclr") -> Others:
    """The paper's accuracies (%) that stand beside results: name of the row -> set -> accuracy.

    Only beside results that the paper has too: the same set, ways, shots and classes.

    Args:
        objective: one of OBJECTIVES, the table to take them from.

    Returns:
        name of the row -> set -> accuracy.
    """
    table = tables()["accuracy"]
    ours = {
        result.data
        for result in results
        if (result.n_ways, result.n_shots, result.split) == (table["ways"], table["shots"], table["split"])
    }
    shared = [name for name in table["sets"] if name in ours]
    if not shared or objective == "none":
        return {}
    return {
        f"paper/{row}": {name: accuracies[table["sets"].index(name)] for name in shared}
        for row, accuracies in table[objective].items()
    }
