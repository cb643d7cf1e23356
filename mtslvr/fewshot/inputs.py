"""What a few-shot classifier learns from and names: embeddings, or clips, which an encoder embeds first.

Embeddings are a numeric 2-d array, tensor or data frame, one row a clip. Clips are a list, or another iterable, of
anything that `MTSLVR.embed` takes: paths, `(array, rate)`, ...
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from mtslvr.sound.clips import is_array, is_clip

if TYPE_CHECKING:
    from mtslvr.encoder.model import MTSLVR

SPACES = ("combined", "invariant", "variant")
MAX_FEATURES = 8_000  # columns of embeddings; rows as long as this are waveforms: half a second at 16 kHz


def clips_in(X: Any) -> list[Any] | None:
    """The clips, or None for embeddings, and for what is neither, which scikit-learn then refuses.

    Raises:
        ValueError: one clip instead of a list; none, nested or unordered ones; waveforms as the rows of an array.
    """
    kind, shape = type(X).__name__, tuple(getattr(X, "shape", ()))
    one_clip = f"X is one clip, of type {kind}: give a list, [clip], or of all clips at once"
    if len(shape) == 2 and shape[1] >= MAX_FEATURES:
        raise ValueError(
            f"X has {shape[1]} columns: a 2-d array is embeddings, a row a clip, and these look like waveforms. "
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


def embeddings(X: Any, clips: list[Any] | None, model: MTSLVR | None) -> Any:
    """Embeddings, for scikit-learn to check: of the clips by the model, or X itself, a tensor of any kind as an array.

    Raises:
        TypeError, ValueError: as `MTSLVR.embed`; the clips are embeddings, in a list.
    """
    if clips is None or model is None:
        return X.double().numpy(force=True) if hasattr(X, "detach") else X
    lengths = {len(clip) for clip in clips if is_array(clip) and clip.ndim == 1}
    if vectors := lengths & set(model.spaces.values()):
        raise ValueError(
            f"X is a list with arrays of {max(vectors)} numbers, as long as embeddings by {model}: give embeddings as one 2-d "
            "array, np.stack(X), and sound with its rate, as (array, rate)"
        )
    return model.embed(clips)


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


def invariant_width(width: int, model: MTSLVR | None, wanted: int | None) -> int:
    """Columns of the invariant head, of embeddings of `width`: as wanted, or as the model has them, or else half.

    Raises:
        ValueError: the model's embeddings have another width.
    """
    if model is not None and width not in model.spaces.values():
        raise ValueError(
            f"X has {width} features, and embeddings by {model} do not: give embeddings that this model made, or drop model="
        )
    if wanted is not None:
        return wanted
    if model is not None:
        return model.spaces.get("invariant", 0) if width == model.spaces["combined"] else 0
    return 0 if width % 2 else width // 2  # an odd number of columns is one head's


def check_space(space: str) -> None:
    """Refuse what is not one of SPACES with ValueError."""
    if space not in SPACES:
        raise ValueError(f"space={space!r}: expected one of {', '.join(SPACES)}")


def heads(space: str, width: int, n_invariant: int) -> dict[str, slice]:
    """Columns of each head that a space uses, of embeddings of `width` columns whose first `n_invariant` are invariant.

    Raises:
        ValueError: n_invariant is out of range; one head of two is wanted where there are not two.
    """
    if not isinstance(n_invariant, (int, np.integer)) or not 0 <= n_invariant <= width:
        raise ValueError(f"n_invariant={n_invariant!r}: expected 0 to {width}, the width of the embeddings")
    if n_invariant in (0, width):
        if space != "combined":
            raise ValueError(
                f"space={space!r} needs embeddings of two heads, and these have {width} columns of one: "
                "use space='combined', or say with n_invariant how many columns are the invariant head's"
            )
        return {"combined": slice(0, width)}
    both = {"invariant": slice(0, int(n_invariant)), "variant": slice(int(n_invariant), width)}
    return both if space == "combined" else {space: both[space]}


@functools.cache
def _default() -> MTSLVR:
    from mtslvr.encoder.model import MTSLVR

    return MTSLVR.from_pretrained()
