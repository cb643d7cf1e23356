"""The demo: learn five kinds of sound from two recordings of each, and name twenty others."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtslvr.encoder.model import MTSLVR
from mtslvr.fewshot import FewShotClassifier, fit_fewshot
from mtslvr.storage.assets import DEMO_RECORDINGS

N_SUPPORT = 2  # recordings of each kind to learn from


def run(model: MTSLVR, picture: Path) -> float:
    """Embed, fit, classify; print a table, draw a picture (if matplotlib is there).

    Returns:
        The share of the query recordings that were named right.
    """
    paths = sorted(DEMO_RECORDINGS.glob("*/*.ogg"))
    kinds = np.array([path.parent.name for path in paths])
    is_support = np.array([int(path.stem) <= N_SUPPORT for path in paths])
    embeddings = model.embed(paths)  # of all at once, as the picture shows them all
    classifier = fit_fewshot(embeddings[is_support], kinds[is_support], model=model)
    probabilities = classifier.predict_proba(embeddings[~is_support])
    named = classifier.classes_[probabilities.argmax(1)]
    right = named == kinds[~is_support]

    print(
        f"learned {len(classifier.classes_)} classes from {N_SUPPORT} recordings of each; naming {len(named)} others\n"
    )
    print(f"{'recording':<16} {'named':<10} {'probability':>11}")
    for path, name, p, ok in zip(np.array(paths)[~is_support], named, probabilities.max(1), right, strict=True):
        print(f"{path.parent.name + '/' + path.name:<16} {name:<10} {p:>11.2f} {'' if ok else '  wrong'}")
    print(f"\n{right.sum()} of {len(right)} right.")
    print(
        "A demonstration, not a benchmark: docs/benchmarks.md has accuracies on sets that the weights have never seen."
    )
    if importlib.util.find_spec("matplotlib") is None:
        print('For the picture: pip install "mtslvr[plot]"')
    else:
        draw(embeddings, kinds, is_support, named, classifier, picture)
        print(f"picture: {picture}")
    return float(right.mean())


def draw(
    embeddings: NDArray[np.float32],
    kinds: NDArray[Any],
    is_support: NDArray[np.bool_],
    named: NDArray[Any],
    classifier: FewShotClassifier,
    picture: Path,
) -> None:
    """A map of all recordings, and which kind was taken for which, as a PNG."""
    from matplotlib.figure import Figure  # not pyplot: a library changes no global state
    from sklearn.decomposition import PCA

    classes = list(classifier.classes_)
    # Principal components know no labels: what lies together here lies together in the embedding.
    place = PCA(2).fit_transform(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    chart, matrix = figure.subplots(1, 2, width_ratios=[3, 2])

    colours = [f"C{i}" for i in range(len(classes))]
    queries = np.flatnonzero(~is_support)
    for kind, colour in zip(classes, colours, strict=True):
        chosen = is_support & (kinds == kind)
        chart.scatter(
            *place[chosen].T, s=170, marker="*", color=colour, edgecolor="black", linewidth=0.8, label=kind, zorder=3
        )
    for i, name in zip(queries, named, strict=True):
        chart.scatter(
            *place[i], s=46, color=colours[classes.index(kinds[i])], edgecolor=colours[classes.index(name)], linewidth=2
        )
    chart.set(title="Stars: examples. Rings: colour of the predicted class", xticks=[], yticks=[])
    chart.legend(frameon=False)

    counts = np.array([[np.sum((kinds[queries] == row) & (named == column)) for column in classes] for row in classes])
    matrix.imshow(counts, cmap="Blues", vmin=0, vmax=counts.sum(1).max())
    for (row, column), count in np.ndenumerate(counts):
        if count:
            matrix.text(
                column,
                row,
                str(count),
                ha="center",
                va="center",
                color="white" if count > counts.max() / 2 else "black",
            )
    matrix.set(title=f"{np.trace(counts)} of {counts.sum()} named right", xlabel="named", ylabel="recording of")
    matrix.set_xticks(range(len(classes)), classes, rotation=30, ha="right")
    matrix.set_yticks(range(len(classes)), classes)
    figure.savefig(picture, dpi=110)
