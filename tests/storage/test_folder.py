"""mtslvr.storage.folder: what is written comes back, and nothing broken or hostile comes in."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzz import damaged, fuzzed
from hypothesis import given
from hypothesis import strategies as st

from mtslvr.storage import folder

CONFIG = {"adapter": "parallel", "statistics": {"mean": [0.1, -2.5]}, "name": "été"}
TENSORS = {
    "conv.weight": torch.linspace(-1, 1, 24).reshape(2, 3, 4).half(),
    "bn.running_var": torch.full((3,), 1e-7),
    "bn.num_batches_tracked": torch.tensor(5),
    "empty": torch.zeros(0, 4, dtype=torch.bfloat16),
}


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert tensor.dtype == expected[name].dtype and torch.equal(tensor, expected[name]), name


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder.write(tmp_path / "model", CONFIG, TENSORS, "# card\n")
    return tmp_path / "model"


@pytest.fixture
def old(model: Path) -> Path:
    """A folder from before there was a digest."""
    (model / "config.json").write_text(json.dumps(CONFIG))
    return model


# Write, and read back


def test_round_trip(model: Path) -> None:
    config, tensors = folder.read(model)
    assert config == CONFIG
    assert_same(tensors, TENSORS)
    assert sorted(path.name for path in model.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (model / "README.md").read_bytes() == b"# card\n"


def test_format_is_stated_for_other_readers(model: Path) -> None:
    data = (model / "model.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    assert header["__metadata__"] == {"format": "pt"}


def test_any_layout_is_stored(tmp_path: Path) -> None:
    base = torch.arange(12.0, requires_grad=True)
    tensors = {"a": base, "same": base, "part": base[2:7], "transposed": base.reshape(3, 4).t()}
    tensors["channels_last"] = torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last)
    folder.write(tmp_path / "m", {}, tensors, "")
    assert_same(folder.read(tmp_path / "m")[1], tensors)


def test_tensors_outlive_their_file(model: Path) -> None:
    _, tensors = folder.read(model)
    with open(model / "model.safetensors", "r+b") as file:
        file.truncate(0)
    assert_same(tensors, TENSORS)


@pytest.mark.parametrize("crash_at", ["fsync", "replace"])
def test_crash_leaves_the_old_files(model: Path, monkeypatch: pytest.MonkeyPatch, crash_at: str) -> None:
    before = {path.name: path.read_bytes() for path in model.iterdir()}

    def crash(*_: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(os, crash_at, crash)
        with pytest.raises(OSError, match="the disk is full"):
            folder.write(model, {"other": 1}, {"x": torch.ones(1)}, "other")

    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_files_are_complete_before_the_first_is_renamed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process killed there leaves a folder that still reads as it was."""
    seen: list[int] = []
    replace = os.replace

    def spy(source: Path, target: Path) -> None:
        if not seen:
            seen.extend(path.stat().st_size for path in model.glob(".*.tmp*"))
            assert folder.read(model)[0] == CONFIG
        replace(source, target)

    monkeypatch.setattr(os, "replace", spy)
    folder.write(model, {"n": 2}, {"x": torch.ones(1)}, "new card")
    assert len(seen) == 3 and all(seen)
    assert folder.read(model)[0] == {"n": 2}


def test_a_save_that_is_killed_between_its_renames_is_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, done = os.replace, []

    def killed(source: Path, target: Path) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(replace(source, target))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.write(model, {"labels": ["other"]}, {"x": torch.ones(1)}, "")
    with pytest.raises(
        ValueError, match=r"model\.safetensors is not the file that config\.json belongs to .*Save it again"
    ):
        folder.read(model)


@fuzzed
@given(data=st.data())
def test_a_flipped_bit_in_the_weights_is_told(model: Path, data: st.DataObject) -> None:
    content = bytearray((model / "model.safetensors").read_bytes())
    place = data.draw(st.integers(0, 8 * len(content) - 1))
    content[place // 8] ^= 1 << place % 8
    broken = model.with_name("broken")
    broken.mkdir(exist_ok=True)
    (broken / "config.json").write_bytes((model / "config.json").read_bytes())
    (broken / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="download it again"):
        folder.read(broken)


@fuzzed
@given(data=st.data())
def test_damaged_files_are_refused_or_read(model: Path, data: st.DataObject) -> None:
    """Also where no digest helps, as in folders of old."""
    broken = model.with_name("broken")
    broken.mkdir(exist_ok=True)
    config = json.dumps(CONFIG).encode() if data.draw(st.booleans()) else (model / "config.json").read_bytes()
    weights = (model / "model.safetensors").read_bytes()
    (broken / "config.json").write_bytes(data.draw(st.one_of(st.just(config), damaged(config))))
    (broken / "model.safetensors").write_bytes(data.draw(damaged(weights)))
    try:
        _, tensors = folder.read(broken)
        folder.check_tensors(tensors, TENSORS)
    except ValueError as error:
        assert str(error).startswith(str(broken)) or "model.safetensors" in str(error)
        assert len(str(error)) < 1500


def test_a_folder_without_a_digest_loads(old: Path) -> None:
    assert_same(folder.read(old)[1], TENSORS)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_files_are_readable_by_others(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        folder.write(tmp_path / "m", {}, {}, "")
    finally:
        os.umask(mask)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "m").iterdir()} == {0o644}


@pytest.mark.parametrize(
    ("config", "tensors", "error", "message"),
    [
        ({"loss": float("nan")}, {}, ValueError, "not JSON compliant"),
        ({"x": torch.ones(1)}, {}, TypeError, "not JSON serializable"),
        ({1: "a", "1": "b"}, {}, ValueError, "repeated keys"),
        ([1], {}, TypeError, "is a list, expected a dictionary"),
        ({"x": "a" * 1_000_001}, {}, ValueError, "longer than 1000000 bytes"),
        ({}, {"w": [1.0, 2.0]}, TypeError, "not tensors: w"),
    ],
)
def test_nothing_is_written_that_could_not_be_read(
    tmp_path: Path, config: Any, tensors: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        folder.write(tmp_path / "m", config, tensors, "")
    assert not (tmp_path / "m").exists()


def test_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("mine")
    with pytest.raises(ValueError, match="m is a file: give the name of a folder"):
        folder.write(tmp_path / "m", {}, {}, "")
    assert (tmp_path / "m").read_text() == "mine"


# Bad folders


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        folder.read(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"config.json, model.safetensors missing; found nothing"):
        folder.read(tmp_path)
    for name in "abcdefg":
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"found a, b, c, d, e, and 2 more"):
        folder.read(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "checkpoint.pt"])
def test_pickles_are_never_loaded(model: Path, name: str) -> None:
    (model / "model.safetensors").rename(model / name)
    with pytest.raises(ValueError, match=r"model.safetensors missing.*Pickles are never loaded.*`mtslvr convert`"):
        folder.read(model)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "Expecting value"),
        (b'{"a": 1', "Expecting"),
        (b"[1, 2]", "a JSON object, not a list"),
        (b"null", "a JSON object, not a NoneType"),
        (b'{"a": NaN}', "NaN is not a finite number"),
        (b'{"a": -Infinity}', "-Infinity is not a finite number"),
        (b'{"a": 1e999}', "1e999 is not a finite number"),
        (b'{"a": {"b": 1, "b": 2}}', "repeated keys among b"),
        (b'{"a": "\xff"}', "utf-8"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "recursion"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "digits"),
        (b'{"a": "' + b"x" * 2_000_000 + b'"}', "longer than 1000000 bytes"),
    ],
)
def test_bad_config(model: Path, text: bytes, message: str) -> None:
    (model / "config.json").write_bytes(text)
    with pytest.raises(ValueError, match=message) as error:
        folder.read(model)
    assert str(model / "config.json") in str(error.value)


def safetensors_bytes(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x80\x04\x95 a pickle", id="pickle"),
        pytest.param(struct.pack("<Q", 2**63) + b"{}", id="huge header length"),
        pytest.param(struct.pack("<Q", 10**8) + b"{}", id="header longer than the file"),
        pytest.param(safetensors_bytes(b"{not json"), id="header is not JSON"),
        pytest.param(safetensors_bytes([1]), id="header is a list"),
        pytest.param(safetensors_bytes({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)), id="overlap"),
        pytest.param(safetensors_bytes({"a": entry([1], 4, 8)}, bytes(8)), id="hole"),
        pytest.param(safetensors_bytes({"a": entry([2], 0, 8)}, bytes(16)), id="data left over"),
        pytest.param(safetensors_bytes({"a": entry([2], 0, 8)}, bytes(4)), id="truncated data"),
        pytest.param(safetensors_bytes({"a": entry([9], 0, 8)}, bytes(8)), id="shape beyond the data"),
        pytest.param(safetensors_bytes({"a": entry([2**62, 2**62], 0, 8)}, bytes(8)), id="overflowing shape"),
        pytest.param(safetensors_bytes({"a": entry([2], 8, 0)}, bytes(8)), id="backwards"),
        pytest.param(safetensors_bytes({"a": entry([-2], 0, 8)}, bytes(8)), id="negative shape"),
        pytest.param(safetensors_bytes({"a": entry([2], 0, 8, "F33")}, bytes(8)), id="unknown dtype"),
    ],
)
def test_damaged_or_hostile_weights(old: Path, data: bytes) -> None:
    (old / "model.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match=r"model.safetensors is damaged or not a safetensors file") as error:
        folder.read(old)
    assert str(old) in str(error.value)


def test_every_truncation_is_noticed(old: Path) -> None:
    data = (old / "model.safetensors").read_bytes()
    for length in range(0, len(data), 7):
        (old / "model.safetensors").write_bytes(data[:length])
        with pytest.raises(ValueError, match="damaged"):
            folder.read(old)


# Checks


def test_check_tensors_accepts_what_fits() -> None:
    folder.check_tensors(TENSORS, {name: tensor.shape for name, tensor in TENSORS.items()})
    folder.check_tensors(TENSORS, {name: list(tensor.shape) for name, tensor in TENSORS.items()})
    folder.check_tensors(TENSORS, {name: tensor.to("meta") for name, tensor in TENSORS.items()})
    folder.check_tensors({"a": torch.ones(2).half()}, {"a": torch.ones(2, dtype=torch.float64)})


@pytest.mark.parametrize(
    ("tensors", "expected", "message"),
    [
        ({}, {"a": (2,), "b": ()}, "missing: a; b$"),
        ({}, {f"w{i}": () for i in range(8)}, "missing: w0; w1; w2; w3; w4; and 3 more$"),
        ({"a": torch.ones(2)}, {}, "unexpected: a$"),
        ({"a": torch.ones(2)}, {"a": (2, 1)}, r"wrong shape: a \(2,\), expected \(2, 1\)$"),
        ({"a": torch.ones(2)}, {"a": torch.ones(3)}, r"wrong shape: a \(2,\), expected \(3,\)$"),
        ({"a": torch.tensor([1.0, float("nan")])}, {"a": (2,)}, r"not finite, or beyond 1e\+18: a$"),
        ({"a": torch.tensor(float("inf")).half()}, {"a": ()}, "not finite.*: a$"),
        ({"a": torch.tensor(-1e38)}, {"a": ()}, "not finite.*: a$"),
        ({"a": torch.tensor(1e300, dtype=torch.float64)}, {"a": ()}, "not finite.*: a$"),
        ({"n.running_var": torch.tensor([1, -1e-9])}, {"n.running_var": (2,)}, "negative variance: n.running_var$"),
        ({"x" * 10_000: torch.ones(2)}, {}, r"unexpected: x{40}\.\.\.x{40}$"),
        ({"a": torch.ones(2, dtype=torch.int8)}, {"a": torch.ones(2)}, "wrong dtype: a torch.int8$"),
        ({"a": torch.ones(2)}, {"a": torch.ones(2).long()}, "wrong dtype: a torch.float32$"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, {"a": (2,)}, "wrong dtype: a torch.complex64$"),
        ({"a": torch.ones(2).bool()}, {"a": (2,)}, "wrong dtype: a torch.bool$"),
        ({"b": torch.ones(2)}, {"a": (2,)}, "missing: a. unexpected: b$"),
    ],
)
def test_check_tensors_refuses(
    tensors: dict[str, torch.Tensor], expected: dict[str, tuple[int, ...] | torch.Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match="here does not fit its config.json. " + message):
        folder.check_tensors(tensors, expected, source="here")


# Fingerprints


def test_fingerprint_ignores_order_and_storage() -> None:
    expected = folder.fingerprint(CONFIG, TENSORS)
    assert len(expected) == 16 and int(expected, 16) >= 0
    assert folder.fingerprint(dict(reversed(CONFIG.items())), dict(reversed(TENSORS.items()))) == expected
    for dtype in (torch.float32, torch.float64):
        wider = {name: t.to(dtype) if t.is_floating_point() else t.int() for name, t in TENSORS.items()}
        assert folder.fingerprint(CONFIG, wider) == expected
    assert folder.fingerprint(json.loads(json.dumps(CONFIG)), TENSORS) == expected


def test_fingerprint_of_any_layout() -> None:
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    expected = folder.fingerprint({}, {"x": images})
    assert folder.fingerprint({}, {"x": images.to(memory_format=torch.channels_last)}) == expected
    assert folder.fingerprint({}, {"x": images.requires_grad_()}) == expected


@pytest.mark.parametrize(
    ("config", "tensors"),
    [
        ({**CONFIG, "adapter": "bn"}, TENSORS),
        (CONFIG, {**TENSORS, "bn.running_var": torch.full((3,), 1.0001e-7)}),
        (CONFIG, {**TENSORS, "conv.weight": TENSORS["conv.weight"].reshape(3, 2, 4)}),
        (CONFIG, {**TENSORS, "bn.num_batches_tracked": torch.tensor(5.0)}),
        (CONFIG, {**TENSORS, "more": torch.zeros(0)}),
        (CONFIG, {name + "x": tensor for name, tensor in TENSORS.items()}),
    ],
)
def test_fingerprint_tells_apart(config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    assert folder.fingerprint(config, tensors) != folder.fingerprint(CONFIG, TENSORS)


def test_fingerprint_is_pinned() -> None:
    """It is stamped on users' outputs: a new version of the package must not change it. Made by hand with hashlib."""
    found = folder.fingerprint({"b": 1, "a": [2]}, {"w": torch.tensor([1.0, -0.5]), "n": torch.tensor(3)})
    assert found == "7b43847d064ee874"
