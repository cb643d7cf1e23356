"""The benchmark of bulk embedding runs."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.benchmarks import bulk

pytestmark = pytest.mark.slow


def test_the_benchmark_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("resource")  # not on Windows
    soundfile.write(tmp_path / "long.wav", 0.1 * np.random.default_rng(0).standard_normal(200_000), 16_000)
    folder = tmp_path / "cut"
    bulk.main([str(tmp_path / "long.wav"), "--files", "6", "--compare", "4", "--repeats", "1", "--folder", str(folder)])
    assert len(list(folder.iterdir())) == 6
    text = capsys.readouterr().out
    assert "batches of 16, decoded ahead" in text
    if "killed after" in text:  # six files are mostly too few to be killed among
        assert "6 of 6 files, in order: True" in text
    else:
        assert "before it could be killed" in text
