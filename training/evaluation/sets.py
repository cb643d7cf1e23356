"""The evaluation sets that a command line names: --data NAME=PATH, --data-root PATH, --split PART."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from training.evaluation.datasets.common import SPLITS, Dataset, class_splits, split
from training.evaluation.datasets.folder import CSV_FILE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that `from_arguments` reads."""
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help="a known set, a folder with a sub-folder per class, or a CSV",
    )
    parser.add_argument("--data-root", metavar="PATH", help=f"a folder of sets, each with its {CSV_FILE}")
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default="test",
        help="classes of a known set: those of a part of the paper's split, or all; default: test, as the paper",
    )


def from_arguments(args: argparse.Namespace) -> list[Dataset]:
    """The sets named, in the order given.

    Raises:
        ValueError: none is named, or one is not what it should be.
    """
    pairs = [(name, Path(path)) for name, _, path in (entry.partition("=") for entry in args.data)]
    if bad := [name for name, path in pairs if not name or str(path) == "."]:
        raise ValueError(f"--data {bad[0]}: expected NAME=PATH, such as esc50=/data/ESC-50")
    if args.data_root:
        found = sorted(path.parent for path in Path(args.data_root).glob(f"*/{CSV_FILE}"))
        if not found:
            raise ValueError(f"--data-root {args.data_root}: expected folders with a {CSV_FILE} in it; found none")
        pairs += [(path.name, path) for path in found]
    if not pairs:
        raise ValueError("no data: give --data NAME=PATH or --data-root PATH")
    return [split(read(name, path), args.split) for name, path in pairs]


def read(name: str, path: Path) -> Dataset:
    """Read a set by the module of its name in training/datasets, or else as a folder or CSV of clips.

    Raises:
        ValueError: the set is not what it should be.
    """
    listed = path.is_file() or (path / CSV_FILE).is_file()  # somebody's own, whatever its name
    module = name if name in class_splits() and not listed else "folder"
    dataset = importlib.import_module(f"training.evaluation.datasets.{module}").read(path, name)
    assert isinstance(dataset, Dataset)
    return dataset
