"""A model that was exported to ONNX, run by ONNX Runtime on the CPU. Needs the extra `onnx`.

A file is looked at before it is run: ONNX can name other files to be read, and holds programs that need not end.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtslvr.encoder.base import Encoder
from mtslvr.encoder.config import PIPELINE, EncoderConfig
from mtslvr.storage.folder import parse_config, shortened

MAX_SIZE = 2**30  # bytes; a model is a tenth of that
INSTALL = 'running an exported model needs ONNX Runtime: pip install "mtslvr[onnx]"'

NO_WEIGHTS = "an exported model holds no weights to save or to export: use the one that it came from"


class Exported(Encoder):
    """What `mtslvr export` wrote: embeds like the model it came from, but can neither be trained nor saved.

    Args:
        path: the .onnx file.
        device: the CPU, or nothing.

    Raises:
        ImportError: the extra is missing.
        ValueError: another device; no such file, or not one that `mtslvr export` wrote.
    """

    def __init__(self, path: str | os.PathLike[str], device: torch.device | None = None) -> None:
        super().__init__()
        if device is not None and device.type != "cpu":
            raise ValueError(
                f"device is '{device}', but exported models run on the CPU: load the model that it came from"
            )
        data, metadata = _read(Path(path))
        self.config = EncoderConfig.from_json(parse_config(metadata["config"].encode(), f"{path}, config"), str(path))
        self._file_fingerprint = metadata["fingerprint"]
        if (pipeline := metadata.get("pipeline", "1")) != str(
            PIPELINE
        ):  # of this release, which decodes and cuts windows
            changed = f"{self._file_fingerprint} {shortened(pipeline)} {PIPELINE}"
            self._file_fingerprint = hashlib.sha256(changed.encode()).hexdigest()[:16]
        self._session = _Session(data, str(path))
        self.eval()

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def fingerprint(self) -> str:
        """Of float32 the exported model's; of int8 another, as its embeddings are others."""
        return self._file_fingerprint

    @property
    def network(self) -> nn.Module:
        raise ValueError(NO_WEIGHTS)

    def save_pretrained(self, *args: Any, **settings: Any) -> None:
        raise ValueError(NO_WEIGHTS)

    push_to_hub = save_pretrained

    def forward(self, waves: Tensor, space: str = "combined") -> Tensor:
        """Waveforms [B, samples], float32 in -1..1, 16 kHz, more than 512 samples, taken whole -> features [B, D]."""
        self.spaces.columns(space)
        found = self._session.run(space, waves.numpy(force=True))
        if (expected := (len(waves), self.spaces[space])) != found.shape:
            raise ValueError(
                f"the ONNX file gives {space} of shape {found.shape}, expected {expected}: export it again"
            )
        return torch.from_numpy(found)


def _read(path: Path) -> tuple[bytes, dict[str, str]]:
    """The content of a file, and its metadata, looked at before any of it is run.

    Raises:
        ImportError: the extra is missing.
        ValueError: no such file, or not one that `mtslvr export` wrote: those are whole, and have neither loops nor branches.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError, Message  # which onnx is built on
    except ImportError as error:
        raise ImportError(INSTALL) from error

    def within(message: Message) -> Iterator[Message]:
        yield message
        for field, value in message.ListFields():
            if field.message_type is not None:  # ONNX has no maps
                for item in [value] if isinstance(value, Message) else value:
                    yield from within(item)

    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    if path.stat().st_size > MAX_SIZE:
        raise ValueError(f"{path} is larger than {MAX_SIZE} bytes: not a model that `mtslvr export` wrote")
    data = path.read_bytes()
    try:
        model = onnx.load_from_string(data)
    except DecodeError as error:
        raise ValueError(f"{path} is damaged or not an ONNX file ({error}): export the model again") from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    whole = all(isinstance(metadata.get(key), str) for key in ("mtslvr", "fingerprint", "config"))  # bytes if not UTF-8
    if not whole or len(metadata["fingerprint"]) != 16:
        raise ValueError(f"{path} is an ONNX file, but not one that `mtslvr export` wrote")
    for message in within(model):
        if isinstance(message, onnx.TensorProto) and (message.data_location or message.external_data):
            raise ValueError(
                f"{path} keeps numbers in another file ({shortened(message.name)}), which is never read: an exported model is one file"
            )
        if isinstance(message, (onnx.FunctionProto, onnx.TrainingInfoProto)) or (
            isinstance(message, onnx.AttributeProto) and (message.HasField("g") or message.graphs)
        ):
            raise ValueError(f"{path} has loops, branches or functions of its own: `mtslvr export` did not write it")
    return data, metadata


class _Session:
    """ONNX Runtime with a graph.

    Raises:
        ImportError: the extra is missing.
        ValueError: the graph cannot be loaded.
    """

    def __init__(self, data: bytes, source: str) -> None:
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as state
        except ImportError as error:
            raise ImportError(INSTALL) from error
        kinds = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
        self._failures: tuple[type[Exception], ...] = (UnicodeDecodeError, *kinds)
        self._source = source
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        with self._explained():
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def run(self, space: str, waves: np.ndarray) -> np.ndarray:
        """Waves float32 [B, samples] -> whatever the graph gives for a space.

        Raises:
            ValueError: the graph cannot be computed.
        """
        with self._explained():
            return self._session.run([space], {"waves": waves})[0]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self._failures as error:
            raise ValueError(f"{self._source} is damaged ({shortened(error)}): export the model again") from error
