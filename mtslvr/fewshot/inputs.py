"""What a few-shot classifier learns from and names: embeddings, or clips, which an encoder embeds first.

Embeddings are a numeric 2-d array, tensor or data frame, one row per clip. Clips are a list, or another iterable, of
anything that `MTSLVR.embed` takes: paths, `(array, rate)`, ...
"""

from __future__ import annotations

import functools
import hashlib
import os
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtslvr.encoder.spaces import Spaces
from mtslvr.sound import stream
from mtslvr.sound.clips import column, is_clip
from mtslvr.sound.kinds import is_array

if TYPE_CHECKING:
    from mtslvr.encoder.model import MTSLVR

MEASURED = 50  # clips whose length is looked at
MAX_FEATURES = 8_000  # columns of embeddings; rows as long as this are waveforms: half a second at 16 kHz


def clips_in(X: Any) -> list[Any] | None:
    """The clips, or None for embeddings, and for what is neither, which scikit-learn then refuses.

    Raises:
        ValueError: one clip instead of a list; none, nested or unordered ones; waveforms as the rows of an array.
    """
    kind = type(X).__name__
    if (items := column(X)) is not None:
        X = items
    shape = tuple(getattr(X, "shape", ()))
    one_clip = f"X is one clip, of type {kind}: wrap it in a list, [clip], or give a list of all clips"
    if len(shape) == 2 and shape[1] >= MAX_FEATURES:
        raise ValueError(
            f"X has {shape[1]} columns: a 2-d array is embeddings, one row per clip, and these look like waveforms. "
            "Give sound as a list of (array, rate), as in [(wave, 16_000) for wave in X]"
        )
    if len(shape) == 1 and (is_array(X) or hasattr(X, "iloc")):  # a column of a data frame
        items = list(X)
        if not (items and is_clip(items[0])) and len(items) >= MAX_FEATURES:
            raise ValueError(one_clip)
        return items if items and is_clip(items[0]) else None
    if is_clip(X) and not shape:
        raise ValueError(one_clip)
    if shape or not isinstance(X, Iterable):
        return None
    if isinstance(X, (set, frozenset)):
        raise ValueError(f"X is a {kind}, which has no order: give a list, so that each clip gets its own label")
    items = list(X)
    if not items:
        raise ValueError(f"X is an empty {kind}: give at least one clip, or one row of embeddings")
    if isinstance(items[0], (list, tuple)) and items[0] and isinstance(items[0][0], (str, os.PathLike)):
        raise ValueError(
            f"X is a {kind} of {type(items[0]).__name__}s of clips: give one flat list, and a label for each"
        )
    return items if is_clip(items[0]) else None


def as_array(X: Any) -> Any:
    """Embeddings for scikit-learn to check: a tensor of any kind and device as an array, anything else as it is."""
    return X.double().numpy(force=True) if hasattr(X, "detach") else X


def embed(clips: list[Any], model: MTSLVR, space: str) -> NDArray[np.float32]:
    """The vectors of clips in one space: float32 [n, D].

    Raises:
        TypeError, ValueError: as `MTSLVR.embed`; the clips are embeddings, in a list.
    """
    lengths = {len(clip) for clip in clips if is_array(clip) and clip.ndim == 1}
    if vectors := lengths & set(model.spaces.values()):
        raise ValueError(
            f"X is a list with arrays of {max(vectors)} numbers, as long as embeddings by {model}: give embeddings as one 2-d "
            "array, np.stack(X), and sound with its rate, as (array, rate)"
        )
    return model.embed(clips, space=space)


def typical_seconds(clips: Sequence[Any]) -> float | None:
    """The median length of clips, of MEASURED of them where there are more; None where all can be read only once."""
    pipes = [isinstance(clip, (str, os.PathLike)) and not os.path.isfile(clip) for clip in clips]
    again = [clip for clip, pipe in zip(clips, pipes, strict=True) if not pipe and not hasattr(clip, "read")]
    some = again[:: -(-len(again) // MEASURED)] if again else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is odd about them was told when they were embedded
        lengths = [sum(map(len, stream.blocks(clip, stream.SAMPLE_RATE))) / stream.SAMPLE_RATE for clip in some]
    return float(np.median(lengths)) if lengths else None


def encoder(model: Any) -> MTSLVR:
    """The model itself; for None the default weights, loaded once a process.

    Raises:
        TypeError: it cannot embed.
    """
    if model is None:
        return _default()
    if isinstance(model, type) or not hasattr(model, "embed"):
        raise TypeError(f"model is {model!r}; expected an MTSLVR, such as MTSLVR.from_pretrained(...), or None")
    return model


def named(model: Any) -> Any:
    """The model itself; that of a folder or Hub repository for a name."""
    if not isinstance(model, (str, os.PathLike)):
        return model
    from mtslvr.encoder.model import MTSLVR

    return MTSLVR.from_pretrained(model)


def check_encoder(model: MTSLVR, fingerprint: str | None, width: int) -> None:
    """Refuse to embed clips for a classifier that was fitted on embeddings of another model, or of another width.

    Raises:
        ValueError: naming both.
    """
    if fingerprint not in (None, model.fingerprint):
        raise ValueError(
            f"the classifier was fitted on embeddings by the model with fingerprint {fingerprint}, and {model} is another: "
            "give the one it was fitted with (model=, --model), or fit again"
        )
    if width != model.spaces["combined"]:
        raise ValueError(
            f"the classifier was fitted on embeddings of {width} features, and {model} embeds clips into "
            f"{model.spaces['combined']}: give the model that made them (model=, --model), or embed clips as you did then"
        )


def spaces_of(width: int, model: MTSLVR | None, n_invariant: int | None) -> Spaces:
    """The spaces of embeddings of `width` columns: as wanted, or as the model has them, or else two heads of one width.

    Args:
        n_invariant: columns of the invariant head; 0 or all of them for embeddings of one head.

    Raises:
        ValueError: the model's embeddings have another width; n_invariant is out of range, or not the model's.
    """
    if model is not None and width not in model.spaces.values():
        raise ValueError(
            f"X has {width} features, and embeddings by {model} do not: give embeddings that this model made, or drop model="
        )
    if n_invariant is None:
        if model is not None:
            return model.spaces if width == model.spaces["combined"] else Spaces(width)
        n_invariant = 0 if width % 2 else width // 2  # an odd number of columns is one head's
    if not isinstance(n_invariant, (int, np.integer)) or not 0 <= n_invariant <= width:
        raise ValueError(f"n_invariant={n_invariant!r}: expected 0 to {width}, the width of the embeddings")
    return Spaces.of(width, int(n_invariant))


def group_numbers(groups: Any, n: int, *, first: int = 0) -> NDArray[np.int64]:
    """A number for the group of each of n examples, [n]: the same name has the same number in every classifier.

    Args:
        groups: a name for each, such as that of its recording or speaker: str, int, ...; None: each is a group of its own.
        first: the number that is given last to those before, which have no name; these are counted down from it.

    Raises:
        ValueError: another number of groups than examples.
    """
    if groups is None:
        return np.arange(first - 1, first - 1 - n, -1)
    names = [name.item() if isinstance(name, np.generic) else name for name in groups]
    if len(names) != n:
        raise ValueError(f"{n} examples in X, and {len(names)} groups: give one for each, or none")
    if missing := [i for i, name in enumerate(names) if name is None or name != name]:
        raise ValueError(
            f"groups: example {missing[0]} has none: give each the name of its recording, speaker or the like"
        )
    # Half of 64 bits are left to those without a name. Names are not kept: a folder that is shared does not tell them.
    digests = {name: hashlib.sha256(repr(name).encode()).digest() for name in set(names)}
    return np.array([int.from_bytes(digests[name][:8], "little") >> 1 for name in names], np.int64)


@functools.cache
def _default() -> MTSLVR:
    from mtslvr.encoder.model import MTSLVR

    return MTSLVR.from_pretrained()
