"""Sound files with damage of any kind: sound, or a ValueError that names the clip; never another error, a hang or a crash.

A longer run: python -m pytest tests/sound/test_damaged.py --hypothesis-seed=random -p no:cacheprovider, with N_EXAMPLES raised;
28,000 mutations took 100 s on one core when this was written.
"""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sound_files import encode, mux, tone

from mtslvr.sound import stream

N_EXAMPLES = 100
KINDS = ("WAV", "RF64", "AIFF", "AU", "W64", "CAF", "NIST", "VOC", "SVX", "AVR", "MPC2K", "IRCAM", "FLAC", "MP3")
MUXED = (("mp4", "aac"), ("adts", "aac"), ("matroska", "aac"), ("avi", "mp2"), ("ac3", "ac3"), ("wv", "wavpack"))
NUMBERS = (b"\0", b"\xff", b"\0" * 4, b"\xff" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\0\0\0\x80")


@cache
def whole() -> list[bytes]:
    found = [encode(tone(0.3), kind=kind) for kind in KINDS]
    found += [encode(tone(0.3, 48_000), 48_000, "OGG", subtype) for subtype in ("VORBIS", "OPUS")]
    return found + [mux(tone(0.3), 44_100, *kinds) for kinds in MUXED]


edits = st.tuples(
    st.sampled_from(["replace", "insert", "delete", "cut"]),
    st.one_of(st.integers(0, 100), st.integers(0, 30_000)),
    st.one_of(st.sampled_from(NUMBERS), st.binary(min_size=1, max_size=40)),
)


@settings(max_examples=N_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kind=st.integers(0, len(KINDS) + 1 + len(MUXED)), changes=st.lists(edits, min_size=1, max_size=5))
def test_damage(kind: int, changes: list[tuple[str, int, bytes]]) -> None:
    pytest.importorskip("av")
    data = bytearray(whole()[kind])
    for what, at, content in changes:
        at = min(at, len(data))
        if what == "cut":
            del data[max(1, at) :]
        else:
            data[at : at + (0 if what == "insert" else len(content))] = b"" if what == "delete" else content
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert np.isfinite(stream.read(bytes(data))).all()
        except ValueError as error:
            assert "the clip" in str(error)
