"""The authors' released checkpoints (.pt) to our network: the one place that reads a pickled file, with weights_only.

Only the layout is translated; the weights are theirs, and so is the question of their licence.
"""

from __future__ import annotations

import os
import pickle
import re
import struct
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtslvr.encoder.adapters import Adapter, AdapterResNet18
from mtslvr.encoder.config import MAX_HEAD_DIM
from mtslvr.storage import folder

_DAMAGE: tuple[type[Exception], ...] = (  # what torch.load raises of files that are no checkpoints
    *(pickle.UnpicklingError, RuntimeError, EOFError, OSError, ArithmeticError, AssertionError, AttributeError),
    *(LookupError, MemoryError, TypeError, ValueError, struct.error),
)

# (their name, our name) in order; groups are stage, block, convolution and task
_RENAMES = [
    (r"conv1\.weight", r"stem.0.weight"),
    (r"bn1\.(\w+)", r"stem.1.\1"),
    (r"layer(\d)\.(\d)\.downsample\.(\d)\.(\w+)", r"stages.\1.\2.shortcut.\3.\4"),
    (r"layer(\d)\.(\d)\.bn(\d)\.(\w+)", r"stages.\1.\2.conv\3.norms.0.\4"),  # plain
    (r"layer(\d)\.(\d)\.conv(\d)\.weight", r"stages.\1.\2.conv\3.conv.weight"),  # plain
    (r"layer(\d)\.(\d)\.conv(\d)\.conv\.weight", r"stages.\1.\2.conv\3.conv.weight"),
    (r"layer(\d)\.(\d)\.conv(\d)\.parallel_conv\.(\d)\.conv\.weight", r"stages.\1.\2.conv\3.adapters.\4.weight"),
    (r"layer(\d)\.(\d)\.conv(\d)\.bns\.(\d)\.0\.conv\.(\d)\.(\w+)", r"stages.\1.\2.conv\3.adapters.\4.\5.\6"),  # series
    (r"layer(\d)\.(\d)\.conv(\d)\.bns\.(\d)\.1\.(\w+)", r"stages.\1.\2.conv\3.norms.\4.\5"),  # series
    (r"layer(\d)\.(\d)\.conv(\d)\.bns\.(\d)\.(\w+)", r"stages.\1.\2.conv\3.norms.\4.\5"),
    (r"end_bns\.(\d)\.0\.(\w+)", r"end_norms.\1.\2"),
    (r"fc_layers\.(\d)\.(\w+)", r"heads.\1.\2"),
    (r"fc\.(\w+)", r"heads.0.\1"),
]


def read_authors_checkpoint(path: str | os.PathLike[str]) -> tuple[AdapterResNet18, list[str]]:
    """Read a .pt file as the authors released it.

    Args:
        path: the file. A bare state_dict, or one nested under a key such as "state_dict" or "model"; a prefix common to all names ("module.",
            "encoder.") is taken off.

    Returns:
        The network in float32, eval mode, and the names in the file that belong to no encoder layer (projector and prediction heads).

    Raises:
        ValueError: the file is missing, is no checkpoint, holds more than tensors (it is never unpickled freely), or has another layout.
    """
    if torch.__version__ < "2.6":  # before it, weights_only could be got round: CVE-2025-32434
        raise ValueError(
            f"reading .pt files safely needs torch 2.6 or later, and this is {torch.__version__}: update torch"
        )
    try:
        with open(path, "rb") as file:
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(f"no such file: {os.fspath(path)}") from error
    except IsADirectoryError as error:
        raise ValueError(f"{os.fspath(path)} is a folder; give the .pt file itself") from error
    except _DAMAGE as error:
        raise ValueError(
            f"{os.fspath(path)} is not a checkpoint that can be read safely (weights_only): expected a file of tensors saved by torch.save. "
            f"If it holds whole Python objects, save its state_dict() where you trust it and convert that. ({type(error).__name__})"
        ) from error
    return from_authors(_find_state_dict(loaded, os.fspath(path)))


def from_authors(state: Mapping[str, Tensor]) -> tuple[AdapterResNet18, list[str]]:
    """Build our network from a state_dict in the authors' layout; see `read_authors_checkpoint`.

    Raises:
        ValueError: a layer is missing, or a tensor has another shape than the layout asks for.
    """
    renamed: dict[str, Tensor] = {}
    left_over: list[str] = []
    for name, tensor in state.items():
        ours = _rename(name)
        if ours is None:
            left_over.append(name)
        else:
            renamed[ours] = tensor
    if odd := [name for name, tensor in renamed.items() if not _is_plain(tensor)]:
        raise ValueError(
            f"the checkpoint holds sparse, nested, quantised or empty (meta) tensors, such as {odd[0]}; save them as plain numbers"
        )
    with torch.device("meta"):
        network = AdapterResNet18(*_architecture(renamed))
    expected = network.state_dict()
    wanted = {name: t for name, t in expected.items() if name in renamed or not name.endswith("num_batches_tracked")}
    folder.check_tensors(renamed, wanted, source="the checkpoint", to="the layout of the authors' MT-SLVR encoders")
    network = network.to_empty(device="cpu")
    network.load_state_dict({name: renamed.get(name, torch.zeros(tensor.shape)) for name, tensor in expected.items()})
    return network.eval(), left_over


def _is_plain(tensor: Tensor) -> bool:
    return (
        tensor.layout == torch.strided
        and not tensor.is_nested
        and not tensor.is_quantized
        and tensor.device.type == "cpu"
    )


def _rename(name: str) -> str | None:
    for pattern, template in _RENAMES:
        match = re.fullmatch(pattern, name)
        if match:
            ours = match.expand(template)
            return re.sub(r"^stages\.(\d)", lambda m: f"stages.{int(m[1]) - 1}", ours)
    return None


def _architecture(renamed: Mapping[str, Tensor]) -> tuple[Adapter, int, int]:
    heads = [tensor for name, tensor in renamed.items() if re.fullmatch(r"heads\.\d\.weight", name)]
    if not heads or any(tensor.ndim != 2 for tensor in heads):
        raise ValueError(
            "the checkpoint has no head (fc or fc_layers) in the layout of the authors' MT-SLVR networks; found no encoder to convert"
        )
    if len(heads) > 2 or not 1 <= len(heads[0]) <= MAX_HEAD_DIM:
        raise ValueError(
            f"the checkpoint has {len(heads)} heads of {len(heads[0])} features; expected 1 or 2 of at most {MAX_HEAD_DIM}"
        )
    adapter: Adapter = "none"
    if any(".adapters.0.weight" in name for name in renamed):
        adapter = "parallel"
    elif any(".adapters.0.1.weight" in name for name in renamed):
        adapter = "series"
    elif any(name.startswith("end_norms.") for name in renamed):
        adapter = "bn"
    return adapter, len(heads), len(heads[0])


def _find_state_dict(loaded: Any, path: str) -> dict[str, Tensor]:
    """The mapping of names to tensors inside what torch.load gave, without a prefix common to all names."""
    for _ in range(3):  # checkpoints nest: {"state_dict": {...}}, {"model": {"encoder": {...}}}
        if not isinstance(loaded, Mapping):
            break
        tensors = {name: value for name, value in loaded.items() if isinstance(name, str) and isinstance(value, Tensor)}
        if tensors:
            stem = next(
                (name for name in tensors if re.fullmatch(r"(.*\.)?conv1\.weight", name) and "layer" not in name), None
            )
            prefix = stem.removesuffix("conv1.weight") if stem else ""
            return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        loaded = next((value for value in loaded.values() if isinstance(value, Mapping)), None)
    raise ValueError(f"{path} holds no state_dict: expected names and tensors, found {type(loaded).__name__}")
