"""What a clip is: decided once, by `clip_of`, for everything a user may hand over as the sound of one thing."""

from __future__ import annotations

import hashlib
import inspect
import io
import math
import numbers
import os
import re
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from mtslvr.sound.decode import BLOCK, Block, decode
from mtslvr.sound.files import SOUND_SUFFIXES

MAX_CHANNELS = 32
CHUNK = 2**20  # bytes of a file read at a time
FULL_SCALE = {"float16": 1, "float32": 1, "float64": 1, "int16": 2**15, "int32": 2**31}
CLIP_KINDS = (
    "a path, bytes, a binary file, a 1-d NumPy array or torch tensor, (array, rate), "
    '{"array": ..., "sampling_rate": ...}, or an object with get_all_samples()'
)


class Clip(ABC):
    """One clip of a known kind, not read yet."""

    can_wait = False  # may be decoded in a thread, before its turn: an array may be filled anew, and a file come twice

    @abstractmethod
    def blocks(self, name: str) -> Iterator[Block]:
        """Its sound as it is: float32 [frames, channels] and the rate in Hz, unchecked.

        Args:
            name: what the messages call it.

        Raises:
            TypeError, ValueError: what `stream.blocks` says of files, dtypes and shapes.
        """

    def content(self, name: str) -> str:
        """64 hex digits that identify it: of a file the bytes, of anything else the samples and their rate. Raises as `blocks`."""
        digest = hashlib.sha256()
        for block, rate in self.blocks(name):
            digest.update(f"{rate!r} {block.shape}".encode())
            digest.update(np.ascontiguousarray(block).data)
        return digest.hexdigest()

    def kept(self, name: str) -> Clip:
        """A clip that can be read more than once: what comes from a pipe is held in memory. Raises as `blocks`."""
        return self


@dataclass(frozen=True)
class Encoded(Clip):
    """The bytes of a sound file."""

    data: bytes | bytearray | memoryview
    can_wait = True

    def blocks(self, name: str) -> Iterator[Block]:
        return decode(io.BytesIO(self.data), name)

    def content(self, name: str) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Path(Clip):
    """A sound file on disk."""

    path: str

    @property
    def can_wait(self) -> bool:  # type: ignore[override]
        return os.path.isfile(self.path)  # and no pipe, in which a thread could wait for ever

    def blocks(self, name: str) -> Iterator[Block]:
        with self._open(name) as file:
            yield from decode(file, name)

    def content(self, name: str) -> str:
        digest = hashlib.sha256()
        with self._open(name) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def kept(self, name: str) -> Clip:
        if self.can_wait or not os.path.exists(self.path) or os.path.isdir(self.path):
            return self
        with self._open(name) as pipe:
            return Encoded(pipe.read())

    def _open(self, name: str) -> IO[bytes]:
        if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", self.path):
            raise ValueError(f"{name} is a URL; download it first and give the path of the file")
        if os.path.isdir(self.path):
            raise ValueError(f'{name} is a folder; give its files, as in sorted(pathlib.Path("folder").rglob("*.wav"))')
        try:
            return open(self.path, "rb")
        except FileNotFoundError:
            raise ValueError(f"no such file: {name}; looked for in {os.getcwd()}") from None
        except OSError as error:
            raise ValueError(f"{name} cannot be opened: {error.strerror}") from error
        except ValueError as error:  # a zero byte
            raise ValueError(f"{name!r} cannot be opened: {error}") from error


@dataclass(frozen=True)
class Opened(Clip):
    """A binary file that is open, and stays so."""

    file: Any

    def blocks(self, name: str) -> Iterator[Block]:
        self._check(name)
        try:
            if isinstance(self.file, tarfile.ExFileObject):  # says that it can seek, which within a stream it cannot
                yield from decode(io.BytesIO(self.file.read()), name)
            else:
                yield from decode(self.file, name)
        except (tarfile.TarError, EOFError) as error:
            raise ValueError(
                f"{name} cannot be read from its archive: {error}. Read it before the next member"
            ) from error

    def kept(self, name: str) -> Clip:
        self._check(name)
        if hasattr(self.file, "seek") and (not hasattr(self.file, "seekable") or self.file.seekable()):
            self.file.seek(0)
        return Encoded(self.file.read())

    def _check(self, name: str) -> None:
        if getattr(self.file, "closed", False) is True:
            raise ValueError(f"{name} is a file that is closed: give its path, or read it before it is closed")
        if inspect.iscoroutinefunction(self.file.read):
            raise TypeError(f"{name} is a file whose read() is a coroutine: await it, and give the bytes")
        if isinstance(self.file.read(0), str):
            raise TypeError(f'{name} is a file opened as text; open it with open(path, "rb")')


@dataclass(frozen=True)
class Samples(Clip):
    """Samples with a rate in Hz: [samples], [channels, samples] or [samples, channels]."""

    array: Any
    rate: Any

    def blocks(self, name: str) -> Iterator[Block]:
        array = self.array
        if not is_array(array):
            raise TypeError(
                f"{name} is a pair of {type(array).__name__} and {type(self.rate).__name__}; expected (array, rate). A "
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
            raise ValueError(
                f"{name} is an array of shape {shape}; expected [samples], or [channels, samples] with a rate"
            )
        samples = _as_numpy(array, name)
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
            yield block / np.float32(FULL_SCALE[dtype]), self.rate


@dataclass(frozen=True)
class Decoder(Clip):
    """An object that decodes on demand, as torchcodec's AudioDecoder and the Hub's data sets have it."""

    decoder: Any

    def blocks(self, name: str) -> Iterator[Block]:
        samples = self.decoder.get_all_samples()
        return Samples(samples.data, samples.sample_rate).blocks(name)


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
        return Path(os.path.expanduser(path) if path.startswith("~") and not os.path.exists(path) else path)
    if hasattr(x, "read"):
        return Opened(x)
    raise TypeError(f"{name} is of type {type(x).__name__}; expected {CLIP_KINDS}")


def is_clip(x: Any) -> bool:
    """Whether it is one clip, an array without a rate included, by its type alone."""
    by_type = (
        isinstance(x, (Clip, str, bytes, bytearray, memoryview, os.PathLike, Mapping)) or is_array(x) or is_pair(x)
    )
    return by_type or hasattr(x, "read") or hasattr(x, "get_all_samples")


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
    elif isinstance(clip, Path):
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


def _as_numpy(array: Any, name: str) -> np.ndarray:
    if isinstance(array, np.ma.MaskedArray):
        if n_masked := np.ma.count_masked(array):
            raise ValueError(
                f"{name} is a masked array, {n_masked:,} of whose samples are masked: cut them out, or fill them, as in "
                "array.filled(0)"
            )
        return array.data
    if isinstance(array, np.ndarray):
        return array
    try:
        return array.numpy(force=True)
    except (NotImplementedError, TypeError, RuntimeError) as error:  # on the meta device, sparse, quantised, ...
        raise ValueError(f"{name} is a tensor without samples that can be read ({error}); give a dense one") from error
