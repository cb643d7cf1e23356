"""A model that was exported to ONNX, run by ONNX Runtime on the CPU. Needs the extra `onnx`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtslvr.encoder.base import Encoder
from mtslvr.encoder.config import EncoderConfig

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
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as errors
        except ImportError as error:
            raise ImportError(INSTALL) from error
        if not Path(path).is_file():
            raise ValueError(f"no such file: {path}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
        except (errors.Fail, errors.InvalidGraph, errors.InvalidProtobuf, errors.InvalidArgument) as error:
            raise ValueError(f"{path} is damaged or not an ONNX file ({error}): export the model again") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        if not {"mtslvr", "fingerprint", "config"} <= set(metadata):
            raise ValueError(f"{path} is an ONNX file, but not one that `mtslvr export` wrote")
        self.config = EncoderConfig.from_json(json.loads(metadata["config"]), str(path))
        self._file_fingerprint = metadata["fingerprint"]
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
        found: list[np.ndarray] = self._session.run([space], {"waves": waves.numpy(force=True)})
        return torch.from_numpy(found[0])
