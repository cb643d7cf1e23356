"""The folder of a run: one run at a time, and no damaged checkpoint is trained on."""

import shutil
import threading
from pathlib import Path

import pytest
import torch
from fuzz import damaged, fuzzed
from hypothesis import given
from hypothesis import strategies as st

from training.run import Run

STATE = {"network": {"weight": torch.linspace(-1, 1, 40)}, "progress": {"step": 7}}


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("runs") / "run"
    Run(folder, {}).save_checkpoint(STATE)
    return (folder / "checkpoint.pt").read_bytes()


@fuzzed
@given(data=st.data())
def test_a_damaged_checkpoint_is_told(content: bytes, tmp_path: Path, data: st.DataObject) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(data.draw(damaged(content)))
    try:
        found = Run(tmp_path, {}, active=False).load_checkpoint(torch.device("cpu"))
    except ValueError as error:
        assert "checkpoint.pt is damaged" in str(error)
    else:  # bytes that mean nothing
        assert found is not None and found["progress"] == STATE["progress"]
        assert torch.equal(found["network"]["weight"], STATE["network"]["weight"])  # type: ignore[index]


@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_of_a_weight_is_told(content: bytes, tmp_path: Path, bit: int) -> None:
    place = content.index(STATE["network"]["weight"].numpy().tobytes())  # type: ignore[index]
    changed = bytearray(content)
    changed[place + 9] ^= 1 << bit
    (tmp_path / "checkpoint.pt").write_bytes(changed)
    with pytest.raises(ValueError, match="put a copy in its place, or delete it"):
        Run(tmp_path, {}, active=False).load_checkpoint(torch.device("cpu"))


def test_two_runs_in_one_folder_are_kept_apart(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    first = Run(tmp_path / "run", {"steps": 1})
    with pytest.raises(ValueError, match=r"another process is training in .*run: wait"):
        Run(tmp_path / "run", {"steps": 1})
    Run(tmp_path / "run", {"steps": 1}, active=False)
    del first
    Run(tmp_path / "run", {"steps": 1})


def test_a_run_ends_with_its_block_and_leaves_no_thread_that_writes(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(FloatingPointError), Run(tmp_path / "run", {}) as first:
        first.load_checkpoint(torch.device("cpu"))  # opens the events
        assert set(threading.enumerate()) - before
        raise FloatingPointError
    assert not set(threading.enumerate()) - before
    shutil.rmtree(tmp_path / "run")  # nothing is written into it any more
    with Run(tmp_path / "run", {}):
        assert first.folder.exists()
