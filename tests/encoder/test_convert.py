import io
import pickle
import warnings
from pathlib import Path

import golden
import pytest
import torch
from fuzz import damaged, fuzzed
from hypothesis import given
from hypothesis import strategies as st

from mtslvr.encoder.convert import from_authors, read_authors_checkpoint


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": {"encoder": s}}]
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_nested_and_prefixed_checkpoints(tmp_path: Path, wrap, prefix: str) -> None:  # type: ignore[no-untyped-def]
    state = {prefix + name: tensor for name, tensor in golden.authors_state("bn").items()}
    torch.save(wrap(state), tmp_path / "bn.pt")
    network, left_over = read_authors_checkpoint(tmp_path / "bn.pt")
    assert (network.adapter, network.n_heads, network.head_dim, left_over) == ("bn", 2, 500, [])
    assert torch.equal(network.stem[0].weight, state[prefix + "conv1.weight"])


def test_heads_of_the_objectives_are_left_out() -> None:
    state = {**golden.authors_state("split"), "projector.0.weight": torch.zeros(2, 2)}
    network, left_over = from_authors(state)
    assert left_over == ["projector.0.weight"]
    assert (network.adapter, network.n_heads) == ("none", 2)


def test_half_precision_becomes_float32() -> None:
    network, _ = from_authors(
        {name: t.half() if t.is_floating_point() else t for name, t in golden.authors_state("bn").items()}
    )
    assert {p.dtype for p in network.parameters()} == {torch.float32}


class Hostile:
    def __reduce__(self):  # type: ignore[no-untyped-def]
        return (Path.touch, (Path("hostile-was-here"),))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")  # torch's own words before it refuses
def test_a_hostile_file_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Hostile()}, "hostile.pt")
    with pytest.raises(ValueError, match="weights_only"):
        read_authors_checkpoint("hostile.pt")
    Path("raw.pt").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ValueError, match=r"raw\.pt"):
        read_authors_checkpoint("raw.pt")
    assert not Path("hostile-was-here").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read|not a checkpoint"),
        (b"RIFF not a checkpoint at all", "not a checkpoint"),
        ([1, 2, 3], "no state_dict"),
        ({"a": 1}, "no state_dict"),
        ({"weight": torch.zeros(3)}, "no encoder to convert"),
    ],
)
def test_other_files(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "x.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        read_authors_checkpoint(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_authors_checkpoint(tmp_path / "none.pt")
    with pytest.raises(ValueError, match="is a folder"):
        read_authors_checkpoint(tmp_path)


def test_damaged_layouts_name_what_is_wrong() -> None:
    state = golden.authors_state("parallel")
    missing = {name: t for name, t in state.items() if name != "layer3.1.conv2.conv.weight"}
    with pytest.raises(ValueError, match=r"missing: stages\.2\.1\.conv2\.conv\.weight"):
        from_authors(missing)
    with pytest.raises(ValueError, match=r"wrong shape: stem\.0\.weight"):
        from_authors({**state, "conv1.weight": torch.zeros(64, 1, 7, 7)})
    with pytest.raises(ValueError, match=r"not finite.*: heads\.0\.bias"):
        from_authors({**state, "fc_layers.0.bias": torch.full((500,), torch.nan)})


def sparse_and_others() -> dict[str, torch.Tensor]:
    kernel = golden.authors_state("bn")["conv1.weight"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about its own prototypes
        return {
            "sparse": kernel.to_sparse(),
            "quantised": torch.quantize_per_tensor(kernel, 0.1, 0, torch.qint8),
            "nested": torch.nested.nested_tensor([kernel[0], kernel[1]]),
            "meta": torch.empty_like(kernel, device="meta"),
            "float8": torch.zeros_like(kernel).to(torch.float8_e4m3fn),
            "complex": kernel.to(torch.complex64),
            "infinite in float32": torch.full_like(kernel, 1e300, dtype=torch.float64),
            "boolean": kernel > 0,
        }


@pytest.mark.parametrize("kind", sparse_and_others())
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_other_kinds_of_tensors_are_told(tmp_path: Path, kind: str) -> None:
    torch.save({**golden.authors_state("bn"), "conv1.weight": sparse_and_others()[kind]}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"stem\.0\.weight|not a checkpoint"):
        read_authors_checkpoint(tmp_path / "x.pt")


def test_a_head_that_is_not_there() -> None:
    state = {**golden.authors_state("bn"), "fc_layers.0.weight": torch.zeros(1, 512).expand(2_000_000, 512)}
    with pytest.raises(ValueError, match=r"2 heads of 2000000 features; expected 1 or 2 of at most 4096"):
        from_authors(state)


def test_negative_variances_are_refused() -> None:
    state = golden.authors_state("bn")
    with pytest.raises(ValueError, match=r"negative variance: stem\.1\.running_var"):
        from_authors({**state, "bn1.running_var": -state["bn1.running_var"]})


def test_old_torch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.5.1+cpu"))
    with pytest.raises(ValueError, match=r"needs torch 2\.6 or later, and this is 2\.5\.1"):
        read_authors_checkpoint(tmp_path / "x.pt")


@fuzzed
@given(data=st.data())
def test_damaged_files(tmp_path: Path, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    torch.save({"conv1.weight": torch.zeros(2, 2), "fc.weight": torch.zeros(3, 2)}, buffer)
    (tmp_path / "x.pt").write_bytes(data.draw(damaged(buffer.getvalue())))
    with pytest.raises(ValueError, match="checkpoint"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_authors_checkpoint(tmp_path / "x.pt")
