"""Labels of a few-shot classifier: what is one, and how they are kept in JSON."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

KINDS = {"str": np.str_, "int": np.int64, "float": np.float64, "bool": np.bool_}  # those that JSON keeps apart
MANY_CLASSES = (
    "The number of unique classes"  # is large for so few samples, scikit-learn warns: that is what few-shot means
)
MAX_CHARACTERS = 10_000_000  # of all labels, each padded to the longest


def numbered(y: Any, n: int) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The classes, sorted, [n_classes], and the class number of each of n examples, [n].

    Raises:
        ValueError: as `check`; another number of labels than of examples; fewer than two classes.
        TypeError: labels of several types.
    """
    labels = check(y)
    if len(labels) != n:
        raise ValueError(f"inconsistent numbers of samples: {n} in X, and {len(labels)} labels in y; give one for each")
    classes, targets = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        found = f"one class only ({classes.tolist()[0]!r})" if len(classes) else "no labels"
        raise ValueError(f"y holds {found}: give examples of at least two classes to tell apart")
    return classes, targets


def check(y: Any) -> NDArray[Any]:
    """Labels as a one-dimensional array, of one type; tuples and other sortable objects stay what they are.

    Raises:
        ValueError: none, NaN, more than one dimension, or continuous values.
        TypeError: labels of several types.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None: give a label for each example")
    if isinstance(y, (list, tuple)) or getattr(y, "dtype", None) == np.dtype(object):
        kinds = {type(label.item() if isinstance(label, np.generic) else label) for label in y}
        if len(kinds) > 1:
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise TypeError(f"y mixes labels of several types ({names}): give labels of one type")
        if kinds == {tuple}:
            labels = np.empty(len(y), dtype=object)
            labels[:] = list(y)
            return labels
    labels = column_or_1d(y, warn=True)
    assert_all_finite(labels, input_name="y")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", MANY_CLASSES)
        check_classification_targets(labels)
    return labels


def to_json(classes: NDArray[Any]) -> dict[str, Any]:
    """The labels in what JSON can hold.

    Raises:
        TypeError: they are not str, int, float or bool.
    """
    values = classes.tolist()
    kind = type(values[0]).__name__
    if kind not in KINDS:
        raise TypeError(f"labels of type {kind} cannot be saved: fit with labels of type {', '.join(KINDS)}")
    return {"type": kind, "objects": classes.dtype == np.dtype(object), "values": values}


def from_json(type: str, objects: bool, values: list[Any]) -> NDArray[Any]:
    """What `to_json` made, checked.

    Raises:
        KeyError, OverflowError, TypeError, ValueError: it is something else.
    """
    dtype = KINDS[type]
    if not isinstance(values, list) or {value.__class__.__name__ for value in values} != {type}:
        raise ValueError(f"labels must be a list, all of type {type}")
    if len(values) < 2 or any(first >= second for first, second in itertools.pairwise(values)):
        raise ValueError("labels must be at least two, sorted and distinct")
    if type == "str" and len(values) * max(map(len, values)) > MAX_CHARACTERS:
        raise ValueError("labels are too long")
    return np.array(values, dtype=object if objects is True else dtype)
