"""What a clip is: decided once, by `clip_of`, for everything a user may hand over as the sound of one thing."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from mtslvr.sound.files import SOUND_SUFFIXES
from mtslvr.sound.kinds import Clip, Decoder, Encoded, OnDisk, Opened, Samples, is_array

if TYPE_CHECKING:  # torch takes seconds to import
    import torch


class HasSamples(Protocol):
    """What torchcodec and the data sets of the Hub decode with."""

    def get_all_samples(self) -> Any: ...


# One clip, in any of the ways that people hold sound: what each means is in `stream.blocks`.
AudioLike: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | np.ndarray | torch.Tensor"
    " | tuple[np.ndarray | torch.Tensor, float] | Mapping[str, Any] | HasSamples | Clip"
)
ClipsLike: TypeAlias = (
    "Iterable[AudioLike] | np.ndarray | torch.Tensor"  # several: a list of clips, or [clips, samples]
)

CLIP_KINDS = (
    "a path, bytes, a binary file, a 1-d NumPy array or torch tensor, (array, rate), "
    '{"array": ..., "sampling_rate": ...}, or an object with get_all_samples()'
)


def clip_of(x: Any, name: str) -> Clip:
    """What one clip is. An array without a rate is none: see `stream.clips`.

    Raises:
        TypeError: of no accepted kind.
        ValueError: a dictionary that holds no sound, or several.
    """
    if isinstance(x, Clip):
        return x
    if hasattr(x, "get_all_samples"):
        return Decoder(x)
    if isinstance(x, Mapping):
        return _from_mapping(x, name)
    if is_pair(x):
        return Samples(*x)
    if isinstance(x, (bytes, bytearray, memoryview)):
        return Encoded(x)
    if isinstance(x, (str, os.PathLike)):
        path = os.fsdecode(x)
        return OnDisk(os.path.expanduser(path) if path.startswith("~") and not os.path.exists(path) else path)
    if hasattr(x, "read"):
        return Opened(x)
    raise TypeError(f"{name} is of type {type(x).__name__}; expected {CLIP_KINDS}")


def is_clip(x: Any) -> bool:
    """Whether it is one clip, an array without a rate included, by its type alone."""
    by_type = (
        isinstance(x, (Clip, str, bytes, bytearray, memoryview, os.PathLike, Mapping)) or is_array(x) or is_pair(x)
    )
    return by_type or hasattr(x, "read") or hasattr(x, "get_all_samples")


def is_rate(x: Any) -> bool:
    return (isinstance(x, numbers.Real) and not isinstance(x, bool)) or (is_array(x) and x.ndim == 0)


def is_pair(x: Any) -> bool:
    """(array, rate). An array with something that is neither a rate nor a clip is one too, to be told so."""
    return (
        isinstance(x, tuple)
        and len(x) == 2
        and (is_rate(x[1]) or (is_array(x[0]) and (not is_clip(x[1]) or _is_no_clip(x[1]))))
    )


def column(x: Any) -> list[Any] | None:
    """The items of a column of paths, such as a string array of NumPy, pandas, polars or pyarrow; None of anything else."""
    if isinstance(x, np.ndarray):
        if x.ndim != 1 or x.dtype.kind not in "OSTU":
            return None
        return [os.fsdecode(item) for item in x.tolist()] if x.dtype.kind == "S" else x.tolist()
    for method in ("to_pylist", "to_list", "tolist"):  # of pyarrow, polars and pandas
        if hasattr(x, method) and not is_array(x) and not isinstance(x, memoryview):
            items = getattr(x, method)()
            return items if items and is_clip(items[0]) else None
    return None


def path_of(clip: Any) -> str:
    """The path of a clip that has one, or nothing."""
    if isinstance(clip, Mapping):
        clip = clip.get("path")
    elif isinstance(clip, OnDisk):
        clip = clip.path
    elif hasattr(clip, "read"):
        clip = getattr(clip, "name", None)
    return os.fsdecode(clip) if isinstance(clip, (str, os.PathLike)) else ""


def _is_no_clip(x: Any) -> bool:
    """A rate that came as text or as an array of one number: of a pair, to be told so, and never a clip of its own."""
    return (isinstance(x, str) and x.replace(".", "", 1).isdigit()) or (is_array(x) and math.prod(x.shape) == 1)


def _from_mapping(x: Mapping[Any, Any], name: str) -> Clip:
    """The clip in a dictionary: an example of the Hub's data sets, a row of them, or a sample of webdataset."""
    keys = sorted(map(str, x))
    for key in ("array", "raw"):
        if (array := x.get(key)) is not None:
            rate = x.get("sampling_rate", x.get("sample_rate"))
            if rate is None:
                raise ValueError(f'{name} is a dictionary without "sampling_rate"; its keys are {keys}')
            return Samples(np.asarray(array) if isinstance(array, list) else array, rate)
    for key in ("bytes", "path"):
        if x.get(key) is not None:
            return clip_of(x[key], name)
    sounds = [key for key in x if key == "audio" or f".{str(key).rsplit('.', 1)[-1]}".lower() in SOUND_SUFFIXES]
    if len(sounds) == 1 and is_clip(x[sounds[0]]) and not is_array(x[sounds[0]]):
        return clip_of(x[sounds[0]], name)
    expected = '"array" (or "raw") and "sampling_rate", or one of "bytes", "path", "audio", "wav", "flac", ...'
    raise ValueError(f"{name} is a dictionary with the keys {keys}; expected {expected}")
