"""An ONNX graph with its convolutions in 8-bit integers, with the ranges of their inputs measured on sound."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtslvr.onnx.traced import INPUT
from mtslvr.sound import stream

if TYPE_CHECKING:
    from onnx import ModelProto

N_CALIBRATION = 128  # windows that the ranges of int8 activations are measured on


def windows(clips: Any) -> np.ndarray:
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


def quantized(graph: ModelProto, waves: np.ndarray) -> ModelProto:
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
