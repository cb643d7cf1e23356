"""The folder of a run: its configuration, log, checkpoint, curves and, at the end, the model.

config.json  checkpoint.pt  log.jsonl  events.out.tfevents.*  curves.png  model/{config.json, model.safetensors, README.md}
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import signal
import sys
import time
import weakref
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from mtslvr.storage import atomic
from training.augment.chain import AUGMENTATIONS

Config = TypeVar("Config")
LOG_EVERY = 10  # steps
DAMAGE = (zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError)


def read_config(cls: type[Config], path: str | Path, overrides: list[str]) -> Config:
    """A configuration from a TOML file of differences to the defaults, then "name=value" overrides (values in TOML, or bare words).

    A file that says `like = "other.toml"` holds differences to that file, beside it.

    Raises:
        ValueError: an unknown name, or a value of another type than the default's.
    """
    values = _differences(Path(path))
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals:
            raise ValueError(f"override {override!r}: expected name=value")
        try:
            values[name] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[name] = text
    return _build(cls, values, str(path))


def _differences(path: Path) -> dict[str, Any]:
    values = tomllib.loads(path.read_text())
    other = values.pop("like", None)
    return values if other is None else _differences(path.with_name(other)) | values


def _build(cls: type[Config], values: dict[str, Any], where: str) -> Config:
    default = cls()
    known = {field.name: getattr(default, field.name) for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(known)}")
    for name, value in values.items():
        expected = known[name]
        if dataclasses.is_dataclass(expected):
            value = _build(type(expected), value, f"{where}, {name}")
        elif isinstance(expected, tuple) and isinstance(value, list):
            value = tuple(value)
        elif isinstance(expected, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(expected):
            raise ValueError(f"{where}: {name} is {value!r}, expected a {type(expected).__name__} such as {expected!r}")
        values[name] = value
    return cls(**values)


class Run:
    """Reads and writes a run's folder. On processes other than the first (`active` False) it only reads.

    As a context manager it ends with the block: its events are on disk then, and another process may train in the folder.

    Raises:
        ValueError: the folder holds a run of another configuration or on another corpus, or another process is training in it.
    """

    def __init__(self, folder: Path, config: dict[str, Any], *, active: bool = True) -> None:
        self.folder, self.active = folder, active
        self._opened = ExitStack()
        self.close = weakref.finalize(self, self._opened.close)  # at the latest when nobody holds the run any more
        if active:
            self._opened.enter_context(atomic.locked(folder, "training in"))
        self.config = json.loads(json.dumps(config))  # as JSON sees it: tuples are lists
        before = folder / "config.json"
        if before.exists():
            known = json.loads(before.read_text())
            if changed := [name for name in self.config if known.get(name) != self.config[name]]:
                told = ", ".join(f"{name} ({known.get(name)!r}, now {self.config[name]!r})" for name in changed)
                raise ValueError(
                    f"{folder} holds a run with other values of {told}; choose another --out, or delete it"
                )
        elif active:
            atomic.write({before: json.dumps(self.config, indent=2).encode()})
        self._writer: SummaryWriter | None = None
        self._last: tuple[int, float] | None = None  # step and time of the last log line

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write checkpoint.pt whole or not at all: a kill in between leaves the one before."""
        if self.active:
            with atomic.whole(self.folder / "checkpoint.pt") as temporary:
                torch.save(state, temporary)

    def load_checkpoint(self, device: torch.device) -> dict[str, Any] | None:
        """The checkpoint, if there is one. What was logged after it is forgotten, for it will be logged again.

        Raises:
            ValueError: it is damaged.
        """
        path, log = self.folder / "checkpoint.pt", self.folder / "log.jsonl"
        state = _load(path, device) if path.exists() else None
        step = state["progress"]["step"] if state else 0
        if self.active:
            kept = [line for line in read_log(log) if line["step"] <= step]
            atomic.write({log: "".join(json.dumps(line) + "\n" for line in kept).encode()})
            self._writer = SummaryWriter(str(self.folder), purge_step=step + 1)
            self._opened.callback(self._writer.close)  # or its thread writes on after the run
        return state

    def log(
        self, step: int, split: str, results: dict[str, Tensor], *, lr: float | None = None, samples: int = 0
    ) -> str:
        """Log the results of a step, every LOG_EVERY steps for training; returns a line for the progress bar.

        Args:
            results: what Learner gives.
            samples: sounds per step, for the rate.
        """
        if not self.active or (split == "train" and step % LOG_EVERY and step > 1):
            return ""
        line: dict[str, Any] = {"step": step, "split": split}
        line |= {name: round(value.item(), 6) for name, value in results.items() if value.ndim == 0}
        if "accuracy" in results:
            line["accuracy"] = {
                name: round(value, 4) for name, value in zip(AUGMENTATIONS, results["accuracy"].tolist(), strict=True)
            }
        if split == "train":
            now = time.monotonic()
            line["lr"] = lr
            if self._last is not None:
                line["samples_per_second"] = round((step - self._last[0]) * samples / (now - self._last[1]), 1)
            self._last = (step, now)
        with open(self.folder / "log.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        assert self._writer is not None  # opened by load_checkpoint
        for name, value in line.items():
            if isinstance(value, dict):
                for kind, share in value.items():
                    self._writer.add_scalar(f"{split}/{name}/{kind}", share, step)
            elif isinstance(value, float):
                self._writer.add_scalar(f"{split}/{name}", value, step)
        told = " ".join(f"{name[:4]} {100 * share:.0f}" for name, share in line.get("accuracy", {}).items())
        losses = " ".join(f"{name} {value:.3f}" for name, value in results.items() if value.ndim == 0)
        return f"{losses} | {told} | lr {lr or 0:.1e} | {line.get('samples_per_second', 0):.0f} sounds/s"

    def report_failure(self, state: dict[str, Any]) -> None:
        if self.active:
            torch.save(state, self.folder / "failure.pt")


def started_with(folder: Path) -> dict[str, Any]:
    """The configuration of the run in a folder; empty if there is none."""
    path = folder / "config.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log.jsonl; a line torn by a kill is left out."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


class StopOnSignal:
    """`requested` becomes true on SIGTERM or the first Ctrl-C, so that the step is finished and a checkpoint written."""

    def __init__(self) -> None:
        self.requested = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(number, signal.SIG_DFL)  # a second one stops at once


def _load(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint, after its checksums: torch does not compare them, and would go on with other weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is None:
            return torch.load(path, map_location=device, weights_only=True)
    except DAMAGE as error:
        damaged = f"{type(error).__name__}: {error}"[:100]
    raise ValueError(f"{path} is damaged ({damaged}): put a copy in its place, or delete it to train from the start")
