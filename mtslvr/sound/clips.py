"""One clip of any kind a user may hand over, as raw blocks [frames, channels] at its own rate.

Here is told what a clip is, and which axis of an array is its channels; sound files go on to decode.py.
"""

from __future__ import annotations

import io
import math
import numbers
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mtslvr.sound.decode import BLOCK, Block, decode

MAX_CHANNELS = 32
FULL_SCALE = {"float16": 1, "float32": 1, "float64": 1, "int16": 2**15, "int32": 2**31}
CLIP_KINDS = (
    "a path, bytes, a binary file, a 1-d NumPy array or torch tensor, (array, rate), "
    '{"array": ..., "sampling_rate": ...}, or an object with get_all_samples()'
)


def is_array(x: Any) -> bool:
    """NumPy arrays, and torch tensors told by their looks: torch takes seconds to import."""
    return isinstance(x, np.ndarray) or (hasattr(x, "detach") and hasattr(x, "numpy"))


def is_rate(x: Any) -> bool:
    return (isinstance(x, numbers.Real) and not isinstance(x, bool)) or (is_array(x) and x.ndim == 0)


def is_pair(x: Any) -> bool:
    """(array, rate). An array with something that is neither a rate nor a clip is one too, to be told so."""
    return (
        isinstance(x, tuple)
        and len(x) == 2
        and (is_rate(x[1]) or (is_array(x[0]) and (not is_clip(x[1]) or _is_no_clip(x[1]))))
    )


def _is_no_clip(x: Any) -> bool:
    """A rate that came as text or as an array of one number: of a pair, to be told so, and never a clip of its own."""
    return (isinstance(x, str) and x.replace(".", "", 1).isdigit()) or (is_array(x) and math.prod(x.shape) == 1)


def is_clip(x: Any) -> bool:
    by_type = isinstance(x, (str, bytes, bytearray, memoryview, os.PathLike, Mapping)) or is_array(x) or is_pair(x)
    return by_type or hasattr(x, "read") or hasattr(x, "get_all_samples")


def path_of(clip: Any) -> str:
    """The path of a clip that has one, or nothing."""
    if isinstance(clip, Mapping):
        clip = clip.get("path")
    elif hasattr(clip, "read"):
        clip = getattr(clip, "name", None)
    return os.fsdecode(clip) if isinstance(clip, (str, os.PathLike)) else ""


def raw_blocks(clip: Any, name: str) -> Iterator[Block]:
    """Take one clip apart, unchecked but for its kind.

    Args:
        clip: any kind that audio.blocks accepts, but for an array without a rate.
        name: what the messages call it.

    Yields:
        float32 [frames, channels] and the rate, in Hz, as it was given.

    Raises:
        TypeError: no accepted kind of clip or dtype.
        ValueError: a wrong shape; a file that is missing or cannot be decoded.
    """
    if hasattr(clip, "get_all_samples"):
        samples = clip.get_all_samples()
        clip = (samples.data, samples.sample_rate)
    elif isinstance(clip, Mapping):
        clip = _from_mapping(clip, name)
    if is_pair(clip):
        return _array_blocks(clip[0], clip[1], name)
    if isinstance(clip, (bytes, bytearray, memoryview)):
        return decode(io.BytesIO(clip), name)
    if isinstance(clip, (str, os.PathLike)):
        return _file_blocks(os.fsdecode(clip), name)
    if hasattr(clip, "read"):
        if isinstance(clip.read(0), str):
            raise TypeError(f'{name} is a file opened as text; open it with open(path, "rb")')
        return decode(clip, name)
    raise TypeError(f"{name} is of type {type(clip).__name__}; expected {CLIP_KINDS}")


def _from_mapping(clip: Mapping[str, Any], name: str) -> Any:
    """The pair, bytes or path in a dictionary, as the Hub's data sets hold them."""
    keys = sorted(map(str, clip))
    for key in ("array", "raw"):
        if (array := clip.get(key)) is not None:
            rate = clip.get("sampling_rate", clip.get("sample_rate"))
            if rate is None:
                raise ValueError(f'{name} is a dictionary without "sampling_rate"; its keys are {keys}')
            return np.asarray(array) if isinstance(array, list) else array, rate
    for key in ("bytes", "path"):
        if clip.get(key) is not None:
            return clip[key]
    expected = '"array" (or "raw") and "sampling_rate", or "bytes", or "path"'
    raise ValueError(f"{name} is a dictionary with the keys {keys}; expected {expected}")


def _file_blocks(path: str, name: str) -> Iterator[Block]:
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", path):
        raise ValueError(f"{name} is an address on the network; download it first and give the path of the file")
    if os.path.isdir(path):
        raise ValueError(f'{name} is a folder; give its files, as in sorted(pathlib.Path("folder").rglob("*.wav"))')
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below: errors while decoding are not errors of opening)
    except FileNotFoundError:
        raise ValueError(f"no such file: {name}; looked for in {os.getcwd()}") from None
    except OSError as error:
        raise ValueError(f"{name} cannot be opened: {error.strerror}") from error
    with file:
        yield from decode(file, name)


def _array_blocks(array: Any, rate: Any, name: str) -> Iterator[Block]:
    if not is_array(array):
        raise TypeError(
            f"{name} is a pair of {type(array).__name__} and {type(rate).__name__}; expected (array, rate). A "
            "file knows its own rate: give it alone"
        )
    dtype = str(getattr(array.dtype, "name", array.dtype)).removeprefix("torch.")
    if dtype not in FULL_SCALE:
        raise TypeError(
            f"{name} is an array of {dtype}; expected {', '.join(FULL_SCALE)}. Convert it to float32 in [-1, 1]; "
            "16-bit samples held as wider integers with .astype(np.int16)"
        )
    shape = list(array.shape)
    if len(shape) not in (1, 2):
        raise ValueError(f"{name} is an array of shape {shape}; expected [samples], or [channels, samples] with a rate")
    samples = array if isinstance(array, np.ndarray) else array.numpy(force=True)
    if samples.ndim == 1:
        samples = samples[:, None]
    elif shape[0] <= shape[1]:
        samples = samples.T
    if samples.shape[1] > MAX_CHANNELS:
        raise ValueError(
            f"{name} is an array of shape {shape}: {samples.shape[1]} channels, expected at most {MAX_CHANNELS}. "
            "If these are several clips, give the bare array [clips, samples] and sample_rate="
        )
    for start in range(0, len(samples), BLOCK):
        with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is found as that
            block = samples[start : start + BLOCK].astype(np.float32)
        yield block / np.float32(FULL_SCALE[dtype]), rate
