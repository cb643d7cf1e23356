"""Embeddings on disk, so that no clip is embedded twice by one model.

The key is the SHA-256 of the clip's content, so that neither a renamed nor a changed file is mistaken. A killed run keeps
what it had, and processes that share a folder do not disturb each other; see vectors.py.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mtslvr.sound import stream
from mtslvr.sound.kinds import OnDisk
from mtslvr.storage.vectors import Vectors

BATCH = 32  # clips embedded between two writes


def default_folder() -> Path:
    """The user's cache folder for embeddings."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mtslvr" / "embeddings"


def embed(
    encoder: Callable[[list[Any]], np.ndarray],
    clips: Any,
    folder: str | os.PathLike[str],
    *,
    description: str = "embedding",
) -> np.ndarray:
    """Vectors of clips, from the folder where it has them: float32 [n, D].

    Args:
        encoder: turns a list of clips into vectors [n, D], each independent of the others; asked for what the folder lacks.
        clips: several, of any kind that `stream.clips` accepts.
        folder: of this model alone, named by its fingerprint, say; made if need be.
        description: what the progress bar says.

    Raises:
        TypeError, ValueError: not several clips; a clip is no usable sound, or its vector is not finite.
        OSError: the folder cannot be written.
    """
    kept = Vectors(Path(folder))
    one, named = stream.clips(clips)
    if one:
        raise TypeError(f"expected several clips, and got one {type(clips).__name__}: give a list, such as [clip]")
    found: list[np.ndarray] = []
    total = len(clips) if hasattr(clips, "__len__") else None
    with tqdm(total=total, desc=description, unit="clip", delay=2, disable=None) as bar:
        while batch := [(name, clip.kept(name)) for name, clip in itertools.islice(named, BATCH)]:
            contents = [clip.content(name) for name, clip in batch]
            known = {digest: kept.read(digest) for digest in set(contents)}
            missing = {digest: pair for digest, pair in zip(contents, batch, strict=True) if known[digest] is None}
            if missing:
                vectors = _embed(encoder, missing.values())
                for (digest, (name, clip)), vector in zip(missing.items(), vectors, strict=True):
                    if not np.isfinite(vector).all():
                        raise ValueError(f"the embedding of {name} holds NaN or infinity")
                    if clip.content(name) == digest:  # or else the file has changed since
                        kept.write(digest, vector)
                    known[digest] = vector
            found += [vector for digest in contents if (vector := known[digest]) is not None]
            bar.update(len(batch))
    return np.stack(found)


def _embed(encoder: Callable[[list[Any]], np.ndarray], named: Collection[tuple[str, Any]]) -> np.ndarray:
    # An encoder of anybody's knows paths; the kinds of clips are ours.
    clips = [Path(clip.path) if isinstance(clip, OnDisk) else clip for _, clip in named]
    try:
        return np.asarray(encoder(clips), dtype=np.float32)
    except (TypeError, ValueError):
        for name, clip in named:  # the encoder counted these only: find which it was, to call it by its name
            for _ in stream.blocks(clip, name=name):
                pass
        raise
