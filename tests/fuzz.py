"""Damaged files for tests by hypothesis: a hundred a run; `FUZZ=10000 python -m pytest ...` tries more."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

fuzzed = settings(
    max_examples=int(os.environ.get("FUZZ", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with a few flipped bits, overwritten or inserted bytes, or cut off."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(changed) - 1, 0)))
        match draw(st.sampled_from(["flip", "write", "insert", "cut"])):
            case "flip" if changed:
                changed[place] ^= 1 << draw(st.integers(0, 7))
            case "write":
                new = draw(st.binary(min_size=1, max_size=8))
                changed[place : place + len(new)] = new
            case "insert":
                changed[place:place] = draw(st.binary(min_size=1, max_size=8))
            case "cut":
                del changed[place:]
    return bytes(changed)
