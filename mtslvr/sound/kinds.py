"""The kinds of clips: each knows how to give its sound as raw blocks [frames, channels], and what identifies it."""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import re
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from mtslvr.sound.decode import BLOCK, Block, decode

MAX_CHANNELS = 32
CHUNK = 2**20  # bytes of a file read at a time
FULL_SCALE = {"float16": 1, "float32": 1, "float64": 1, "int16": 2**15, "int32": 2**31}


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
class OnDisk(Clip):
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


def is_array(x: Any) -> bool:
    """NumPy arrays, and torch tensors told by their looks: torch takes seconds to import."""
    return isinstance(x, np.ndarray) or (hasattr(x, "detach") and hasattr(x, "numpy"))


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
