"""A model as one ONNX file: waveforms in, embeddings out, front end included. Needs the extra `onnx`.

    waves      float32 [batch, samples], 16 kHz, in -1..1, more than 512 samples, taken whole: as MTSLVR.forward
    combined, invariant, variant      float32 [batch, D]; of a model with one head, combined alone

The network is the folded one. What the file is stands in its metadata, for exported.py and whoever else asks.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import mtslvr
from mtslvr.encoder.config import PIPELINE
from mtslvr.encoder.model import MTSLVR
from mtslvr.onnx.quantized import quantized, windows
from mtslvr.onnx.traced import traced
from mtslvr.sound.stream import SAMPLE_RATE
from mtslvr.storage import atomic


def export(model: MTSLVR, path: str | os.PathLike[str], *, calibrate: Any = None) -> str:
    """Write a model as an ONNX file. Load it with `MTSLVR.from_pretrained(path)`, or run it anywhere that ONNX runs.

    Args:
        path: the file to write, .onnx.
        calibrate: sound such as the model will hear, several clips of any kind that `MTSLVR.embed` takes; a hundred or more
            are best. Convolutions are then computed in 8-bit integers, with the ranges measured on them: faster and a
            quarter of the size, and the embeddings change a little. None keeps float32.

    Returns:
        The file's fingerprint: in float32 the model's; in int8 another, as its embeddings are others.

    Raises:
        ImportError: the extra is missing.
        TypeError, ValueError: another suffix than .onnx; calibration clips that are not usable.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"{path}: an exported model is an ONNX file; give it a name that ends in .onnx")
    waves = None if calibrate is None else windows(calibrate)  # what is wrong with them shows before any work is done
    fingerprint, graph = model.fingerprint, traced(model)
    if waves is not None:
        graph = quantized(graph, waves)
        digest = hashlib.sha256(fingerprint.encode() + graph.graph.SerializeToString(deterministic=True))
        fingerprint = digest.hexdigest()[:16]
    metadata = {
        "mtslvr": mtslvr.__version__,
        "fingerprint": fingerprint,
        "pipeline": str(PIPELINE),
        "precision": "float32" if waves is None else "int8",
        "sample_rate": str(SAMPLE_RATE),
        "spaces": json.dumps(dict(model.spaces)),
        "config": json.dumps(model.config.to_json()),
    }
    for key, value in metadata.items():
        graph.metadata_props.add(key=key, value=value)
    atomic.write({path: graph.SerializeToString()})
    return fingerprint
