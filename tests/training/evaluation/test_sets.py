"""Sets from a command line: which reader reads them, and which of their classes are taken."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from toy_sets import write_tones

from training.evaluation import sets


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    sets.add_arguments(parser)
    return parser.parse_args(arguments)


def test_sets_are_read_by_the_module_of_their_name_or_by_their_list(tmp_path: Path) -> None:
    write_tones(tmp_path / "tones", n_clips=2)
    for name in ("common", "folder", "no-module", "esc50"):  # somebody's own list of clips, whatever it is called
        assert sets.read(name, tmp_path / "tones").name == name
        assert sets.read(name, tmp_path / "tones" / "clips.csv").name == name
    with pytest.raises(ValueError, match=r"meta/esc50\.csv"):
        sets.read("esc50", tmp_path)


def test_in_the_order_given(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_tones(tmp_path / name, n_clips=2)
    found = sets.from_arguments(parse("--data", f"z={tmp_path}/a", f"y={tmp_path}/b", "--data-root", str(tmp_path)))
    assert [dataset.name for dataset in found] == ["z", "y", "a", "b"]


def test_the_part_of_a_known_set(tmp_path: Path) -> None:
    write_tones(tmp_path / "mine", n_clips=2)
    write_tones(tmp_path / "esc50", n_clips=2)
    assert len(sets.from_arguments(parse("--data", f"mine={tmp_path}/mine"))[0].classes) == 6
    assert len(sets.from_arguments(parse("--data", f"esc50={tmp_path}/esc50", "--split", "all"))[0].classes) == 6
    with pytest.raises(ValueError, match="--split all"):
        sets.from_arguments(parse("--data", f"esc50={tmp_path}/esc50"))


@pytest.mark.parametrize("entry", ["esc50", "=/data", "x="])
def test_no_pair(entry: str) -> None:
    with pytest.raises(ValueError, match="expected NAME=PATH, such as"):
        sets.from_arguments(parse("--data", entry))
