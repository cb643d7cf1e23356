"""A few-shot classifier within the ONNX file of its encoder: waveforms in, probabilities out, on whatever runs ONNX.

    waves           float32 [batch, samples], 16 kHz, in -1..1: windows of 5 s, shorter sound repeated to fill them
    probabilities   float32 [batch, classes], rows sum to 1; the labels, in this order, are JSON in the metadata, "labels"

The embeddings stay outputs of the file too, so that `MTSLVR.from_pretrained` loads it as any exported model.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtslvr import export
from mtslvr.fewshot import labels
from mtslvr.storage import atomic

if TYPE_CHECKING:
    from onnx import NodeProto

    from mtslvr.fewshot import FewShotClassifier

OUTPUT = "probabilities"
TINY = 1e-12  # a head that is all 0 stays so, as in `linear.unit_heads`


def export_classifier(classifier: FewShotClassifier, path: str | os.PathLike[str], *, calibrate: Any = None) -> str:
    """Write a fitted classifier and its encoder as one ONNX file.

    Args:
        classifier: its labels are str, int, float or bool.
        path, calibrate: see `export.export`.

    Returns:
        The file's fingerprint, of the encoder.

    Raises:
        ImportError: the extra `onnx` is missing.
        TypeError: labels of another type.
        ValueError: as `export.export`, and as `FewShotClassifier.embedder`.
    """
    path, model = Path(path), classifier.embedder()
    named = labels.to_json(classifier.classes_)["values"]
    fingerprint = export.export(model, path, calibrate=calibrate)
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = onnx.load(path)
    learned, heads = classifier.learned_, list(model.spaces.heads(classifier.space))
    weights = {  # softmax((features @ coef.T + intercept) / temperature)
        "classifier_weights": (learned.coef.T / learned.temperature).astype(np.float32),
        "classifier_biases": (learned.intercept / learned.temperature).astype(np.float32),
        "classifier_axis": np.array([1], np.int64),
        "classifier_tiny": np.array(TINY, np.float32),
    }
    graph.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    nodes: list[NodeProto] = []
    for head in heads:
        nodes += [
            helper.make_node("ReduceL2", [head, "classifier_axis"], [f"{head}_norm"], keepdims=1),
            helper.make_node("Max", [f"{head}_norm", "classifier_tiny"], [f"{head}_length"]),
            helper.make_node("Div", [head, f"{head}_length"], [f"{head}_unit"]),
        ]
    nodes += [
        helper.make_node("Concat", [f"{head}_unit" for head in heads], ["classifier_features"], axis=1),
        helper.make_node(
            "Gemm", ["classifier_features", "classifier_weights", "classifier_biases"], ["classifier_scores"]
        ),
        helper.make_node("Softmax", ["classifier_scores"], [OUTPUT], axis=1),
    ]
    graph.graph.node.extend(nodes)
    graph.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", len(named)]))
    graph.metadata_props.add(key="labels", value=json.dumps(named, ensure_ascii=False))
    onnx.checker.check_model(graph)
    atomic.write({path: graph.SerializeToString()})
    return fingerprint
