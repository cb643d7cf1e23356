"""What the commands share: options, the model, files given by name, and how results and failures are told."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import re
import shutil
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mtslvr
from mtslvr.sound.files import find_sounds, text_of
from mtslvr.storage.tables import lined_up

if TYPE_CHECKING:
    import numpy as np

    from mtslvr.encoder.model import MTSLVR

SOME_FAILED = 1  # exit code
SPACES = ("combined", "invariant", "variant")
EXAMPLES = "folder with one sub-folder per class, in it maybe one per recording; or CSV: path, label, maybe group"
PATHS = "sound file, or folder (searched through); - reads one from standard input"
CLASSIFIER = "classifier folder or Hub id (owner/name)"
REJECT = 'label sounds above this novelty "unknown": a number, or "auto" (experimental); default: none are'
STDIN = "-"


class Help(argparse.HelpFormatter):
    """Help that shows the default of every option that has one and does not say it itself."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        plain = action.help or ""
        if not action.option_strings or action.default in (None, False, argparse.SUPPRESS) or "default" in plain:
            return plain
        if isinstance(action.default, (list, tuple)):
            return f"{plain} (default: {' '.join(map(str, action.default))})"
        return f"{plain} (default: %(default)s)"


class Commands:
    """Where each module of this room adds its commands."""

    def __init__(self, parsers: Any) -> None:
        self._parsers = parsers
        self._model = argparse.ArgumentParser(add_help=False)
        self._model.add_argument("--model", help="encoder: folder, .onnx or Hub id (default: the package's weights)")
        self._model.add_argument("--revision", help="branch, tag or commit of a Hub encoder (default: its main branch)")
        self._model.add_argument("--device", default="cpu", help="where it runs, such as cpu or cuda")

    def add(self, name: str, run: Any, help: str, *, model: bool = True) -> argparse.ArgumentParser:
        """The parser of a command; `run` gets what it parsed and returns the exit code."""
        parser: argparse.ArgumentParser = self._parsers.add_parser(
            name,
            parents=[self._model] if model else [],
            help=help,
            description=help[0].upper() + help[1:] + ".",
            formatter_class=Help,
        )
        parser.set_defaults(command=run)
        return parser


def auto_or_number(text: str) -> str | float:
    try:
        return text if text == "auto" else float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r} is neither "auto" nor a number') from error


def load_model(args: Namespace) -> MTSLVR:
    return mtslvr.MTSLVR.from_pretrained(args.model, revision=args.revision, device=args.device)


def load_classifier(args: Namespace) -> mtslvr.FewShotClassifier:
    return mtslvr.FewShotClassifier.from_pretrained(args.classifier, model=load_model(args))


@contextlib.contextmanager
def sounds(names: Sequence[str]) -> Iterator[dict[Path, str]]:
    """The sound files that are named, or lie in the folders named, and what to call each; "-" is copied to disk meanwhile.

    Raises:
        ValueError: a URL, a folder without sounds, or "-" twice.
    """
    if urls := [name for name in names if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", name)]:
        raise ValueError(f"{urls[0]} is a URL: download it first, and give the path of the file")
    if names.count(STDIN) > 1:
        raise ValueError(f"{STDIN} is standard input, which can be read once: give it once")
    with tempfile.TemporaryDirectory() if STDIN in names else contextlib.nullcontext("") as folder:
        shown: dict[Path, str] = {}
        for name in names:
            if name == STDIN:
                copy = Path(folder) / "standard-input"
                with open(copy, "wb") as file:
                    shutil.copyfileobj(sys.stdin.buffer, file)
                shown[copy] = "standard input"
            else:
                shown |= {path: text_of(path) for path in find_sounds([name])}
        yield shown


def embed_all(model: MTSLVR, paths: Sequence[Path], space: str) -> np.ndarray:
    """Embeddings of all files in one space: float32 [n, D].

    Raises:
        ValueError: some cannot be embedded; each is told on stderr.
    """
    import numpy as np

    from mtslvr.encoder import batching

    vectors: list[np.ndarray] = []
    if errors := batching.embed_files(model, paths, space, lambda _, vector: vectors.append(vector)):
        raise ValueError(f"{len(errors)} of {len(paths)} files could not be read (listed above): fix or remove them")
    return np.stack(vectors)


def usable(paths: Sequence[Path], errors: Mapping[Path, str]) -> list[Path]:
    """The files without an error.

    Raises:
        ValueError: there are none.
    """
    done = [path for path in paths if path not in errors]
    if not done:
        raise ValueError(f"none of {len(paths)} files could be read, so nothing was written")
    return done


def skipped(errors: Mapping[Path, str]) -> str:
    return f"; {len(errors)} files skipped" if errors else ""


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns side by side, text to the left, numbers to the right."""
    left = [i for i, title in enumerate(header) if title in ("path", "label")]
    print(lined_up([header, *rows], left))


def need_matplotlib(option: str) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError(f'{option} needs matplotlib: pip install "mtslvr[plot]"')
