"""Files that `mtslvr export` did not write are refused before any of them is run; tests/test_export.py has whole ones."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz import damaged, fuzzed
from hypothesis import given
from hypothesis import strategies as st

from mtslvr.encoder.config import PIPELINE, EncoderConfig
from mtslvr.encoder.model import MTSLVR

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import helper, numpy_helper  # noqa: E402

SPACES = EncoderConfig(head_dim=2).spaces
CLIP = (np.linspace(0.1, 0.9, 16_000, dtype=np.float32), 16_000)
METADATA = {
    "mtslvr": "0",
    "fingerprint": "0" * 16,
    "pipeline": str(PIPELINE),
    "config": json.dumps(EncoderConfig(head_dim=2).to_json()),
}


def columns(width: Callable[[str], int] = SPACES.__getitem__) -> tuple[list[Any], list[Any]]:
    """Nodes and constants of a graph whose features are the first samples."""
    numbers = {"start": 0, "axis": 1} | {f"{space} end": width(space) for space in SPACES}
    constants = [numpy_helper.from_array(np.array([n], np.int64), name) for name, n in numbers.items()]
    return [helper.make_node("Slice", ["waves", "start", f"{s} end", "axis"], [s]) for s in SPACES], constants


def content(
    nodes: Sequence[Any], constants: Sequence[Any] = (), functions: Sequence[Any] = (), **metadata: str
) -> bytes:
    """An ONNX file with the metadata of an exported model."""
    given = [helper.make_tensor_value_info("waves", 1, ["batch", "samples"])]
    results = [helper.make_tensor_value_info(space, 1, None) for space in SPACES]
    graph = helper.make_graph(list(nodes), "graph", given, results, list(constants))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    model = helper.make_model(graph, functions=list(functions), opset_imports=opsets, ir_version=8)
    for key, value in (METADATA | metadata).items():
        model.metadata_props.add(key=key, value=value)
    return bytes(model.SerializeToString())


def load(folder: Path, data: bytes) -> MTSLVR:
    (folder / "model.onnx").write_bytes(data)
    return MTSLVR.from_pretrained(folder / "model.onnx")


def test_what_fits_embeds(tmp_path: Path) -> None:
    model = load(tmp_path, content(*columns()))
    np.testing.assert_allclose(model.embed(CLIP), CLIP[0][:4], atol=1e-6)
    assert model.fingerprint == METADATA["fingerprint"]


def test_another_pipeline_is_another_model(tmp_path: Path) -> None:
    found = {load(tmp_path, content(*columns(), pipeline=number)).fingerprint for number in (str(PIPELINE), "0", "98")}
    assert len(found) == 3 and all(len(fingerprint) == 16 for fingerprint in found)


@pytest.mark.parametrize("place", ["beside.txt", "../secret.txt", "{folder}/secret.txt", "link.txt"])
@pytest.mark.parametrize("where", ["constant", "attribute"])
def test_no_other_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, where: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for secret in (tmp_path / "secret.txt", folder / "beside.txt"):
        secret.write_text("a secret" * 10)
    os.symlink(tmp_path / "secret.txt", folder / "link.txt")
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.UINT8, dims=[1, 4], data_location=1)
    for key, value in (("location", place.format(folder=tmp_path)), ("length", "4"), ("offset", "0")):
        tensor.external_data.add(key=key, value=value)
    constants = [tensor] if where == "constant" else []
    nodes = [] if constants else [helper.make_node("Constant", [], ["w"], value=tensor)]
    nodes += [helper.make_node("Cast", ["w"], [space], to=1) for space in SPACES]
    with pytest.raises(ValueError, match=r"model\.onnx keeps numbers in another file \(w\), which is never read"):
        load(folder, content(nodes, constants))


def test_an_endless_loop_is_not_run(tmp_path: Path) -> None:
    flag, value = (helper.make_tensor_value_info(*item) for item in (("on", 9, []), ("x", 1, [1, 1])))
    results = [helper.make_tensor_value_info(*item) for item in (("on2", 9, []), ("x2", 1, [1, 1]))]
    same = [helper.make_node("Identity", [name], [f"{name}2"]) for name in ("on", "x")]
    body = helper.make_graph(same, "body", [helper.make_tensor_value_info("i", 7, []), flag, value], results)
    constants = [helper.make_tensor("true", 9, [], [True]), helper.make_tensor("zero", 1, [1, 1], [0.0])]
    loop = helper.make_node("Loop", ["", "true", "zero"], ["y"], body=body)
    with pytest.raises(ValueError, match="has loops, branches or functions of its own"):
        load(tmp_path, content([loop, *(helper.make_node("Identity", ["y"], [s]) for s in SPACES)], constants))


def test_functions_of_its_own_are_refused(tmp_path: Path) -> None:
    same = helper.make_node("Identity", ["x"], ["y"])
    function = helper.make_function("mine", "same", ["x"], ["y"], [same], [helper.make_opsetid("", 18)])
    with pytest.raises(ValueError, match="functions of its own"):
        load(tmp_path, content(*columns(), functions=[function]))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"config": "[]"}, "must hold a JSON object, not a list"),
        ({"config": "[" * 100_000}, "not a valid configuration"),
        ({"config": METADATA["config"][:-1] + ', "model_type": "mtslvr"}'}, "repeated keys"),
        ({"config": "{}"}, "this is another kind of model"),
        ({"fingerprint": "0" * 10_000}, "not one that"),
    ],
)
def test_damaged_metadata(tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path, content(*columns(), **metadata))
    assert "model.onnx" in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize("width", [1, 3])
def test_features_of_another_width_are_refused(tmp_path: Path, width: int) -> None:
    model = load(tmp_path, content(*columns(lambda space: width)))
    with pytest.raises(ValueError, match=rf"gives combined of shape \(1, {width}\), expected \(1, 4\)"):
        model.embed(CLIP)


@fuzzed
@given(data=st.data())
def test_damaged_files(tmp_path: Path, data: st.DataObject) -> None:
    try:
        vector = load(tmp_path, data.draw(damaged(content(*columns())))).embed(CLIP)
        assert vector.shape == (4,) and np.isfinite(vector).all()
    except ValueError as error:
        assert len(str(error)) < 500
