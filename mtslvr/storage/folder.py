"""A model folder on this disk: read, write and check what is in it.

    config.json          what the tensors mean; a JSON object, with the SHA-256 of
    model.safetensors    the tensors
    README.md            the model card

The digest ties the two files together: a flipped bit, or a save or download that was cut off between them, is refused.
`read` returns (config, tensors). Nothing here knows a network: building one from what was read is its class's business.
Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from mtslvr.storage import atomic

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
MAX_CONFIG_SIZE = 1_000_000  # bytes; a configuration is a page of text, anything longer is not one
DIGEST = "weights_sha256"  # key in config.json; folders written before version 0.2 lack it
MAX_VALUE = 1e18  # of a tensor's values: the product of two is still a float32
MAX_NAMES = 5  # names that an error message lists of each kind
MAX_LENGTH = 80  # characters of a name or value that an error message repeats

_PICKLES = {".pt", ".pth", ".bin", ".ckpt", ".pkl"}
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_INTEGERS = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


def read(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read a model folder: its configuration, and its tensors as stored, on the CPU.

    Raises:
        ValueError: a file is missing, damaged, or not what its name says.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"no such folder: {folder}")
    if missing := [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (folder / name).is_file()]:
        found = sorted(entry.name for entry in folder.iterdir())
        message = f"{folder} is not a model folder: {_some(missing)} missing; found {_some(found)}"
        if WEIGHTS_FILE in missing and any(Path(name).suffix in _PICKLES for name in found):
            message += ". Pickles are never loaded, as they can run code; `mtslvr convert` converts the authors' safely"
        raise ValueError(message)

    with open(folder / CONFIG_FILE, "rb") as file:
        config = parse_config(file.read(MAX_CONFIG_SIZE + 1), folder / CONFIG_FILE)
    # From bytes, not from a memory map: the file may be replaced while its tensors live.
    data = (folder / WEIGHTS_FILE).read_bytes()
    if DIGEST in config and config.pop(DIGEST) != hashlib.sha256(data).hexdigest():
        raise ValueError(
            f"{folder / WEIGHTS_FILE} is not the file that {CONFIG_FILE} belongs to (their SHA-256 differ): it is damaged, "
            "or saving or downloading was interrupted. Save it again, or download it again with force_download=True"
        )
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError) as error:  # KeyError: a dtype that this torch does not have
        raise ValueError(
            f"{folder / WEIGHTS_FILE} is damaged or not a safetensors file ({error}): download or save it again"
        ) from error
    return config, tensors


def write(
    folder: str | os.PathLike[str], config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], card: str
) -> None:
    """Write a model folder, creating it if need be.

    Every file is written in full under a temporary name and then renamed: a crash leaves the files that were there.

    Args:
        config: what JSON can hold, no NaN or infinity; at most 1 MB.
        tensors: any device and layout; stored on the CPU, contiguous, in their own dtype.
        card: the text of README.md.

    Raises:
        ValueError: the folder's name is taken by a file; the configuration holds what JSON cannot.
        TypeError: the configuration or the tensors have another type than stated.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: give the name of a folder to write into")
    if not isinstance(config, Mapping):
        raise TypeError(f"the configuration is a {type(config).__name__}, expected a dictionary")
    if strangers := [name for name, tensor in tensors.items() if not isinstance(tensor, torch.Tensor)]:
        raise TypeError(f"these are not tensors: {_some(strangers)}")
    # Cloned, since safetensors refuses names that share memory.
    stored = {
        name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    weights = safetensors.torch.save(stored, metadata={"format": "pt"})
    digest = {DIGEST: hashlib.sha256(weights).hexdigest()}
    text = json.dumps({**config, **digest}, indent=2, allow_nan=False) + "\n"
    parse_config(text.encode(), CONFIG_FILE)  # never write what read() would refuse
    folder.mkdir(parents=True, exist_ok=True)
    contents = {WEIGHTS_FILE: weights, CARD_FILE: card.encode(), CONFIG_FILE: text.encode()}
    atomic.write({folder / name: content for name, content in contents.items()})


def check_tensors(
    tensors: Mapping[str, torch.Tensor],
    expected: Mapping[str, Sequence[int] | torch.Tensor],
    *,
    source: str = WEIGHTS_FILE,
    to: str = f"its {CONFIG_FILE}",
) -> None:
    """Refuse tensors that do not have exactly the expected names and shapes, or whose values cannot be a model's.

    Args:
        expected: for each name its shape (any float or integer dtype will do) or an example, of any dtype and device
            ("meta" too), whose shape and kind, float or integer, are wanted: a state_dict serves.
        source, to: where the tensors are from, and what they are to fit, for the message.

    Raises:
        ValueError: a wrong name, shape or dtype; a value that is NaN or beyond +-1e18, or a variance below 0. Up to five names of
            each kind of fault are told.
    """

    def shape(name: str) -> tuple[int, ...]:
        wanted = expected[name]
        return tuple(wanted.shape if isinstance(wanted, torch.Tensor) else wanted)

    def kind_fits(name: str) -> bool:
        wanted, kinds = expected[name], _FLOATS | _INTEGERS
        if isinstance(wanted, torch.Tensor):
            kinds = _FLOATS if wanted.is_floating_point() else _INTEGERS
        return tensors[name].dtype in kinds

    def possible(low: float, high: float) -> bool:
        return low >= -MAX_VALUE and high <= MAX_VALUE  # NaN is neither

    common = [name for name in expected if name in tensors]
    ranges = {
        name: [float(end) for end in tensors[name].aminmax()]
        for name in common
        if tensors[name].dtype in _FLOATS and tensors[name].numel()
    }
    faults = {
        "missing": [name for name in expected if name not in tensors],
        "unexpected": [name for name in tensors if name not in expected],
        "wrong shape": [
            f"{name} {tuple(tensors[name].shape)}, expected {shape(name)}"
            for name in common
            if tuple(tensors[name].shape) != shape(name)
        ],
        "wrong dtype": [f"{name} {tensors[name].dtype}" for name in common if not kind_fits(name)],
        f"not finite, or beyond {MAX_VALUE:g}": [
            name for name, (low, high) in ranges.items() if not possible(low, high)
        ],
        "negative variance": [name for name, (low, _) in ranges.items() if name.endswith("running_var") and low < 0],
    }
    if any(faults.values()):
        parts = [f"{fault}: {_some(names, '; ')}" for fault, names in faults.items() if names]
        raise ValueError(f"{source} does not fit {to}. " + ". ".join(parts))


def fingerprint(config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """16 hex digits that identify a configuration and tensors.

    The order of names does not count, nor the float dtype a value is stored in: values are compared as float32.

    Args:
        config: the part of the configuration that changes results; what JSON can hold.
    """
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, allow_nan=False).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu")
        dtype, stored = (torch.float32, "<f4") if tensor.is_floating_point() else (torch.int64, "<i8")
        digest.update(json.dumps([name, stored, *tensor.shape]).encode())
        digest.update(tensor.to(dtype).numpy().astype(stored, copy=False).tobytes())
    return digest.hexdigest()[:16]


def parse_config(data: bytes, source: Path | str) -> dict[str, Any]:
    """Parse a configuration strictly: a JSON object, no repeated keys, no NaN or infinity.

    Raises:
        ValueError: naming the source.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(names := dict(pairs)) < len(pairs):
            raise ValueError(f"repeated keys among {_some(sorted(names))}")
        return names

    def finite(text: str) -> float:
        if not math.isfinite(value := float(text)):
            raise ValueError(f"{shortened(text)} is not a finite number")
        return value

    if len(data) > MAX_CONFIG_SIZE:
        raise ValueError(f"{source} is longer than {MAX_CONFIG_SIZE} bytes: not a configuration")
    try:
        config = json.loads(data.decode(), object_pairs_hook=unique, parse_float=finite, parse_constant=finite)
    except (ValueError, RecursionError) as error:  # RecursionError: brackets nested thousands deep
        raise ValueError(f"{source} is not a valid configuration: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{source} must hold a JSON object, not a {type(config).__name__}")
    return config


def _some(names: Sequence[str], separator: str = ", ") -> str:
    """The first few names, none of them too long, and how many more there are."""
    more = f"{separator}and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return (separator.join(map(shortened, names[:MAX_NAMES])) + more) or "nothing"


def shortened(text: object, length: int = MAX_LENGTH) -> str:
    """A text for a message: its beginning and its end, where it is long."""
    text = str(text)
    return text if len(text) <= length else f"{text[: length // 2]}...{text[-length // 2 :]}"
