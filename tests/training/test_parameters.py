"""The table of parameters in docs/reproduce.md, counted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mtslvr.encoder.adapters import Adapter, AdapterResNet18

PAGE = (Path(__file__).parents[2] / "docs" / "reproduce.md").read_text()


def count(adapter: Adapter, n_heads: int) -> int:
    return sum(p.numel() for p in AdapterResNet18(adapter, n_heads, 1000 // n_heads).parameters())


@pytest.mark.parametrize(
    ("row", "adapter"),
    [("plain", "none"), ("MT-Bn", "bn"), ("MT-Series", "series"), ("MT-Parallel", "parallel")],
)
def test_the_table_of_parameters_is_what_the_networks_have(row: str, adapter: Adapter) -> None:
    two, one, whole = count(adapter, 2), count(adapter, 1), 2 * count("none", 1)
    cost = f"{two - one:,}" if two > one else "nothing"
    (line,) = re.findall(rf"^\| {row}[^|]*\| ([\d,]+) \| ([\d.]+) % \| ([\d,]+|nothing) \|$", PAGE, re.MULTILINE)
    assert line == (f"{two:,}", f"{100 * two / whole:.1f}", cost)
    assert f"| two whole plain networks, one for each task | {whole:,} |" in PAGE


def test_what_is_saved_and_what_is_shared() -> None:
    total, whole = count("parallel", 2), 2 * count("none", 1)
    shared = total - 2 * (total - count("parallel", 1))
    assert f"**saves** {100 - 100 * total / whole:.1f} % and **needs** {100 * total / whole:.1f} %" in PAGE
    assert f"{100 * shared / total:.1f} % ({shared:,} of {total:,}" in PAGE
