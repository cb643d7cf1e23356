"""For a musician: a folder of samples without order; find what sounds alike, draw a map, sort the files into folders.

    python docs/examples/musician.py                             # 47 samples beside this script, a few seconds
    python docs/examples/musician.py SAMPLES kick-808.wav        # your own folder, and a sound to look for

Draws samples.png if matplotlib is there, and fills sorted/ with copies. Files named like kick-808.wav are of a kind, "kick":
two of each kind, the first ones, are the examples; the other names are only used to judge.
"""

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

import mtslvr
from mtslvr.sound.files import find_sounds

SAMPLES = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "sounds" / "drums"
LIKE = sys.argv[2] if sys.argv[2:] else None if sys.argv[1:] else "snare-drum_snare_hard.ogg"
N_EXAMPLES = 2


def main() -> None:
    paths = find_sounds([SAMPLES])
    kinds = np.array([path.name.split("-")[0] for path in paths])
    model = mtslvr.MTSLVR.from_pretrained()
    embeddings = model.embed(paths)
    directions = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)

    # What sounds like this one? By the angle between embeddings; the first is the sound itself.
    neighbours = NearestNeighbors(n_neighbors=min(6, len(paths)), metric="cosine").fit(directions)
    names = [path.name for path in paths]
    like = LIKE or names[0]
    if like not in names:
        sys.exit(f"{SAMPLES} has no {like}")
    distance, found = neighbours.kneighbors(directions)
    print(f"most like {like}:")
    for d, i in list(zip(distance[names.index(like)], found[names.index(like)], strict=True))[1:]:
        print(f"  {names[i]:<32} {1 - d:.3f}")
    alike, chance = np.mean(kinds[found[:, 1]] == kinds), np.mean([np.mean(kinds == kind) for kind in kinds])
    print(f"the nearest sound is of the same kind for {alike:.0%} of {len(paths)} (chance {chance:.0%})\n")

    # Two of each kind are put into folders by hand, the classifier does the others.
    is_example = np.array([np.sum(kinds[:i] == kind) < N_EXAMPLES for i, kind in enumerate(kinds)])
    classifier = mtslvr.fit_fewshot(embeddings[is_example], kinds[is_example], model=model)
    folder = np.where(is_example, kinds, classifier.predict(embeddings))
    if Path("sorted").exists():
        sys.exit("there is a folder sorted/ already: move it away, and run this again")
    for path, name in zip(paths, folder, strict=True):
        target = Path("sorted") / str(name) / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    right = (folder == kinds)[~is_example]
    print(
        f"{right.sum()} of {len(right)} files in the right folder, from {N_EXAMPLES} examples of each; in the wrong one:"
    )
    for i in np.flatnonzero(~is_example & (folder != kinds)):
        print(f"  {folder[i]}/{names[i]}")

    if importlib.util.find_spec("matplotlib") is not None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 7), layout="constrained")
        axes = figure.subplots()
        place = PCA(2).fit_transform(directions)
        for i, kind in enumerate(sorted(set(kinds))):
            chosen = kinds == kind
            axes.scatter(*place[chosen & ~is_example].T, color=f"C{i}", s=40)
            axes.scatter(*place[chosen & is_example].T, color=f"C{i}", s=170, marker="*", edgecolor="black", label=kind)
        for (x, y), name in zip(place, names, strict=True):
            axes.annotate(Path(name).stem.split("-")[-1], (x, y), (4, 3), textcoords="offset points", fontsize=6)
        axes.set(title="Stars are the examples", xticks=[], yticks=[])
        axes.legend(frameon=False)
        figure.savefig("samples.png", dpi=110)


if __name__ == "__main__":
    main()
