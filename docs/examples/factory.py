"""For a factory: a motor runs, a microphone listens; tell knocks and squeaks from normal, and raise a hand at what is new.

    python docs/examples/factory.py                              # the motor beside this script, half a minute
    python docs/examples/factory.py EXAMPLES RECORDING.wav       # your own

EXAMPLES has a folder of one-second clips for each fault, and one called "normal". A label track beside the recording
(RECORDING.txt: start, end, name, with tabs between) says what really happened; then the alarms are judged.
Draws factory.png if matplotlib is there.
"""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

import mtslvr
from mtslvr.sound.files import labelled_sounds

SOUNDS = Path(__file__).parent / "sounds" / "machine"
if len(sys.argv) not in (1, 3):
    sys.exit(__doc__)
EXAMPLES, RECORDING = map(Path, sys.argv[1:]) if sys.argv[1:] else (SOUNDS / "learn", SOUNDS / "stream.ogg")


def main() -> None:
    model = mtslvr.MTSLVR.from_pretrained()
    clips, labels = labelled_sounds(EXAMPLES)
    names = np.array(labels)
    if "normal" not in labels:
        sys.exit(f"{EXAMPLES} has no folder called normal, only {', '.join(sorted(set(labels)))}")
    examples = model.embed(clips)
    # A window at a time as they come from a microphone: embed((samples, rate)) gives the same vectors.
    windows, times = model.embed_windows(RECORDING, window=1.0, hop=0.5)

    # 1. Before any fault was ever heard: how far is a window from the nearest normal clip?
    normal = NearestNeighbors(n_neighbors=1).fit(examples[names == "normal"])
    distance = normal.kneighbors(windows)[0][:, 0]
    # 2. With a few examples of two faults: which is it? 3. And what is unlike all of them?
    classifier = mtslvr.fit_fewshot(examples, names, model=model)
    named = classifier.predict(windows)
    with_unknown = classifier.predict(windows, reject="auto")
    print(f"learnt from {dict(Counter(names.tolist()))}; {len(windows)} windows: {dict(Counter(named.tolist()))}")

    truth = RECORDING.with_suffix(".txt")
    rows = [line.split("\t") for line in truth.read_text(encoding="utf-8").splitlines()] if truth.exists() else []
    faults = [(float(start), float(end), name) for start, end, name in rows]
    if faults:
        heard = np.array([[min(end, b) - max(start, a) for a, b, _ in faults] for start, end in times])  # seconds
        is_fault, is_normal = (heard > 0.2).any(1), (heard <= 0).all(1)  # a mere edge of a fault is not judged
        judged = is_fault | is_normal
        area = roc_auc_score(is_fault[judged], distance[judged])
        print(f"\ndistance to normal, no fault ever heard: area under the ROC curve {area:.2f}")
        for how, answers in (("classifier", named), ("classifier with reject", with_unknown)):
            faulty, fine = (answers != "normal")[is_fault], (answers != "normal")[is_normal]
            print(
                f"{how}: alarm in {faulty.sum()} of {len(faulty)} windows with a fault, {fine.sum()} of {len(fine)} normal ones"
            )
        for (start, _, name), column in zip(faults, heard.T, strict=True):
            new = "" if name in classifier.classes_ else " (never learnt)"
            print(f"{start:5.1f} s  {name + new:<22} named {', '.join(named[column > 0.2])}")

    if importlib.util.find_spec("matplotlib") is not None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 3.2), layout="constrained")
        axes = figure.subplots()
        middle = times.mean(1)
        axes.plot(middle, distance, color="grey", label="distance to normal")
        for name in sorted(set(named) - {"normal"}):
            chosen = named == name
            axes.plot(middle[chosen], distance[chosen], "o", label=f"named {name}")
        for start, end, name in faults:
            axes.axvspan(start, end, color="C3", alpha=0.25)
            axes.annotate(name, (start, 1.01), xycoords=("data", "axes fraction"))
        axes.set(xlabel="s", ylabel="distance to the nearest normal clip", xlim=(0, times[-1, 1]))
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
        figure.savefig("factory.png", dpi=100)


if __name__ == "__main__":
    main()
