"""The benchmark of timestamps, on a small model and a small set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mtslvr import hear
from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.model import MTSLVR
from tests.benchmarks import timestamps

pytestmark = pytest.mark.slow


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """Six classes of tones, four clips of each in each of two groups."""
    rows = ["path,label,group"]
    for i in range(48):
        tone = np.sin(2 * np.pi * 200 * 1.5 ** (i % 6) * (1 + 0.001 * i) * np.arange(3_200) / 16_000)
        soundfile.write(tmp_path / f"{i}.wav", 0.5 * tone, 16_000)
        rows.append(f"{i}.wav,{i % 6},{i // 24}")
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    return tmp_path


def test_a_line_for_each_window(
    tones: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small = MTSLVR(EncoderConfig(adapter="bn", head_dim=4))
    monkeypatch.setattr(hear, "load_model", lambda: hear.HearModel(small))
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    monkeypatch.setattr(timestamps.stream, "WINDOW", 8_000)
    timestamps.main([str(tones / "0.wav"), "--windows", "0.1", "0.5", "--sets", str(tones)])
    _, *lines = capsys.readouterr().out.splitlines()
    first, last = [line.replace(":", "").split() for line in lines]
    assert [first[0], last[0]] == ["0.10", "0.50"]
    assert float(last[3]) == pytest.approx(1), "a window that is not repeated"
    assert 100 / 7 < float(first[4]) <= 100


def test_no_group_is_in_both_strings(tones: Path) -> None:
    learnt, tried = timestamps.strings(tones)
    for wave, truth in (learnt, tried):
        assert wave.shape == truth.shape
        assert set(truth) == set(range(7))
    assert not np.array_equal(learnt[0], tried[0])
