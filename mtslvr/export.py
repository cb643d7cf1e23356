"""A model as one ONNX file: waveforms in, embeddings out, front end included. Needs the extra `onnx`.

    waves      float32 [batch, samples], 16 kHz, in -1..1, more than 512 samples, taken whole: as MTSLVR.forward
    combined, invariant, variant      float32 [batch, D]; of a model with one head, combined alone

The network is the folded one. What the file is stands in its metadata, for exported.py and whoever else asks.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import logging
import math
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mtslvr
from mtslvr.encoder.config import PIPELINE
from mtslvr.encoder.frontend import HOP, N_FFT, Frontend
from mtslvr.encoder.model import MTSLVR
from mtslvr.encoder.resnet import PooledShortcut, ResNet18
from mtslvr.sound import stream
from mtslvr.sound.stream import SAMPLE_RATE
from mtslvr.storage import atomic

if TYPE_CHECKING:
    from onnx import ModelProto

INSTALL = 'exporting needs ONNX: pip install "mtslvr[onnx]"'
INPUT = "waves"
OPSET = 18
N_CALIBRATION = 128  # windows that the ranges of int8 activations are measured on


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
    waves = None if calibrate is None else _windows(calibrate)  # what is wrong with them shows before any work is done
    fingerprint, graph = model.fingerprint, _traced(model)
    if waves is not None:
        graph = _quantized(graph, waves)
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


class _RealFrontend(Frontend):
    """The front end without complex numbers, which ONNX lacks, and without its DFT, which is slow, and not exact on silence.

    The transform is a matrix product of half the size: x[n] and x[1024 - n] share a cosine and, but for the sign, a sine.
    """

    cosines: Tensor
    sines: Tensor

    def __init__(self, mean: float, std: float, eps: float) -> None:
        super().__init__(mean, std, eps)
        n, k = torch.arange(N_FFT // 2 + 1)[:, None], torch.arange(N_FFT // 2 + 1)
        angles = 2 * math.pi / N_FFT * (n * k % N_FFT).double()
        self.register_buffer("cosines", angles.cos().float())  # [n, k], each 0..512
        self.register_buffer("sines", -angles.sin()[1:-1].float())

    def forward(self, waves: Tensor) -> Tensor:
        return self._image(waves)

    def _spectrum(self, waves: Tensor) -> Tensor:
        padded = F.pad(waves[:, None], (N_FFT // 2, N_FFT // 2), mode="reflect")[:, 0]
        hops = padded[:, : padded.shape[1] // HOP * HOP].unflatten(1, (-1, HOP))
        frames = torch.cat([hops[:, :-1], hops[:, 1:]], -1)  # a frame is two hops: [B, T, 1024]
        # A constant is put into bin 0 by hand: silence leaves the others exactly 0, as in an FFT, and their logarithm low.
        constant = frames[..., :1]
        frames = frames - constant
        middle = N_FFT // 2
        left, right = frames[..., 1:middle], frames[..., middle + 1 :].flip(-1)
        real = torch.cat([frames[..., :1], left + right, frames[..., middle : middle + 1]], -1) @ self.cosines
        real = torch.cat([real[..., :1] + N_FFT * constant, real[..., 1:]], -1)
        imag = F.pad(((left - right) @ self.sines)[:, 1:], (0, 0, 1, 0))
        return torch.stack([real, imag], 1)

    @staticmethod
    def _angle(imag: Tensor, real: Tensor) -> Tensor:
        """atan2, of which ONNX has half: what the exporter makes of it is -pi for atan2(0, -1)."""
        angle = torch.atan(imag / real.abs())
        return torch.where(real < 0, torch.where(imag < 0, -math.pi, math.pi) - angle, angle)


class _AnyLength(nn.Module):
    """PooledShortcut as a matrix product, for maps whose number of frames is not known yet. Rows are even in number."""

    def __init__(self, n_new: int) -> None:
        super().__init__()
        self.n_new = n_new

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-1]
        half = (size + 1) // 2
        frame, out = torch.arange(size)[:, None], torch.arange(half)
        # Frames i size / half, rounded down, to (i + 1) size / half, rounded up, make up output i: as adaptive_avg_pool2d.
        belongs = ((frame + 1) * half > out * size) & (frame * half < (out + 1) * size)
        weights = belongs.to(x.dtype)
        weights = weights / weights.sum(0)
        return F.pad(F.avg_pool2d(x, (2, 1)) @ weights, (0, 0, 0, 0, 0, self.n_new))


class _Graph(nn.Module):
    """Waveforms [B, samples] to the features of each space."""

    def __init__(self, model: MTSLVR) -> None:
        super().__init__()
        self.frontend = _RealFrontend(model.config.mean, model.config.std, model.config.eps)
        self.network: ResNet18 = copy.deepcopy(model.network).cpu().float().fold()
        for block in list(self.network.modules()):
            if isinstance(shortcut := getattr(block, "shortcut", None), PooledShortcut):
                block.shortcut = _AnyLength(shortcut.n_new)

    def forward(self, waves: Tensor) -> tuple[Tensor, ...]:
        combined = self.network(self.frontend(waves))
        heads = combined.chunk(len(self.network.branches), 1)
        return (combined, *heads) if len(heads) > 1 else heads


def _traced(model: MTSLVR) -> ModelProto:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(INSTALL) from error
    level = (logger := logging.getLogger("torch.onnx")).level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        logger.setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                _Graph(model).eval(),
                (torch.zeros(2, 2 * SAMPLE_RATE),),
                dynamo=True,
                dynamic_shapes=({0: "batch", 1: "samples"},),
                input_names=[INPUT],
                output_names=list(model.spaces),
                opset_version=OPSET,
                external_data=False,
                optimize=False,  # it takes the 2e-16 in the logarithms for 0
                verbose=False,
            )
        finally:
            logger.setLevel(level)
    assert program is not None
    return _simplified(program.model_proto)


def _simplified(graph: ModelProto) -> ModelProto:
    """The graph with what is constant computed, by ONNX Runtime."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder, "simplified.onnx"))
        onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def _windows(clips: Any) -> np.ndarray:
    """Windows to calibrate on, from all clips alike: float32 [n, 80000]."""
    one, named = stream.clips(clips)
    if one:
        raise TypeError(f"calibrate is one {type(clips).__name__}: give several clips, such as a list of paths")
    pairs = list(named)
    chosen = (
        [pairs[i * len(pairs) // N_CALIBRATION] for i in range(N_CALIBRATION)] if len(pairs) > N_CALIBRATION else pairs
    )
    each = math.ceil(N_CALIBRATION / len(chosen))
    return np.stack(
        [wave for name, clip in chosen for wave, _, _ in itertools.islice(stream.windows(clip, name=name), each)]
    )


def _quantized(graph: ModelProto, waves: np.ndarray) -> ModelProto:
    """The graph with its convolutions in int8; the front end stays float32."""
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.waves: Iterator[np.ndarray] = iter(waves)

        def get_next(self) -> dict[str, np.ndarray] | None:
            wave = next(self.waves, None)
            return None if wave is None else {INPUT: wave[None]}

    frontend_nodes = [node.name for node in itertools.takewhile(lambda node: node.op_type != "Conv", graph.graph.node)]
    graph.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")  # spares a warning
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        onnx.save(graph, before)
        quantization.quantize_static(
            before,
            after,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,  # 7-bit kernels: with 8, sums would saturate on processors without VNNI
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=["Conv", "Add", "Relu", "MaxPool"],
            nodes_to_exclude=frontend_nodes,
        )
        return _small_readouts(onnx.load(after))


def _small_readouts(model: ModelProto) -> ModelProto:
    """The graph with the readouts' weights stored in int8, a scale per feature; they are float32 again before they are used."""
    import onnx
    from onnx import numpy_helper

    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Gemm"]:
        name = node.input[1]
        values = numpy_helper.to_array(weights[name])  # [features, inputs]
        scale = np.maximum(np.abs(values).max(1), np.finfo(np.float32).tiny) / 127
        stored = {f"{name}_int8": np.round(values / scale[:, None]).astype(np.int8), f"{name}_scale": scale}
        graph.initializer.remove(weights[name])
        graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in stored.items())
        graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", list(stored), [name], axis=0))
    return model
