import pickle
from pathlib import Path

import golden
import pytest
import torch

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
    with pytest.raises(ValueError, match=r"NaN or infinite values in heads\.0\.bias"):
        from_authors({**state, "fc_layers.0.bias": torch.full((500,), torch.nan)})
