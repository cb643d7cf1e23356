"""Embeddings on disk, so that no clip is embedded twice by one encoder.

    <folder>/<encoder's fingerprint>/<data set>/<16 hex digits>.npz    contents [n] (SHA-256 of each file), vectors float32 [n, D]

A file is only ever added, whole: a killed run keeps what it had, and two runs at once do not disturb each other.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

BATCH = 256  # clips embedded between two writes


class Encoder(Protocol):
    """What can be evaluated: something that turns sound files into vectors."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vectors do."""

    @property
    def spaces(self) -> dict[str, int]:
        """The width of "combined", and of its parts "invariant" and "variant" where there are two heads."""

    def embed(self, paths: Sequence[Path]) -> np.ndarray:
        """Vectors of clips, each independent of the others: float32 [n, D]."""


def default_folder() -> Path:
    """The user's cache folder for embeddings."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mtslvr" / "embeddings"


def embed(encoder: Encoder, name: str, paths: Sequence[Path], folder: Path) -> np.ndarray:
    """Vectors of clips in the space "combined", from the cache where it has them: float32 [n, D].

    Args:
        name: of the data set.
        folder: of the cache; made if need be.

    Raises:
        ValueError: a clip is no usable sound, or its vector is not finite; a file of the cache is damaged.
    """
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    folder = folder / encoder.fingerprint / name
    known: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("*.npz")):
        known.update(_read(path))
    missing = list(
        {content: path for content, path in zip(contents, paths, strict=True) if content not in known}.items()
    )
    with tqdm(total=len(missing), desc=f"{encoder.name}: {name}", unit="clip", delay=2, disable=None) as bar:
        for i in range(0, len(missing), BATCH):
            batch = missing[i : i + BATCH]
            vectors = encoder.embed([path for _, path in batch]).astype(np.float32)
            if len(bad := np.flatnonzero(~np.isfinite(vectors).all(1))):
                raise ValueError(f"{name}: {encoder.name} gives NaN or infinity for {batch[bad[0]][1]}")
            new = [content for content, _ in batch]
            _write(folder, new, vectors)
            known.update(zip(new, vectors, strict=True))
            bar.update(len(batch))
    return np.stack([known[content] for content in contents])


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return dict(zip(file["contents"].tolist(), file["vectors"], strict=True))
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}, a file of cached embeddings, is damaged ({error}): delete it") from error


def _write(folder: Path, contents: list[str], vectors: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(''.join(contents).encode()).hexdigest()[:16]}.npz"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        np.savez(file, contents=np.array(contents), vectors=vectors)
    os.replace(temporary, path)
