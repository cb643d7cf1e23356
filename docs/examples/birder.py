"""For a birder: mark a few calls, let the computer listen to the rest of the recording, look at the result in Audacity.

    python docs/examples/birder.py                              # the forest beside this script, half a minute
    python docs/examples/birder.py EXAMPLES FIELD.wav           # your own sound

EXAMPLES has a folder of short cuts for each bird, and one called "noise": the same forest, with no bird. A text file
beside the recording (FIELD.txt, an Audacity label track) says what is really in it, if you know; then the labels are judged.
Writes birds.txt into this folder: File > Import > Labels in Audacity.
"""

import sys
from pathlib import Path

import mtslvr
from mtslvr.events import Event, write_events
from mtslvr.sound.files import labelled_sounds

SOUNDS = Path(__file__).parent / "sounds" / "birds"
if len(sys.argv) not in (1, 3):
    sys.exit(__doc__)
EXAMPLES, FIELD = map(Path, sys.argv[1:]) if sys.argv[1:] else (SOUNDS / "learn", SOUNDS / "field.ogg")


def read_labels(path: Path) -> list[tuple[float, float, str]]:
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return [(float(start), float(end), label) for start, end, label in rows]


def judge(events: list[Event], labels: list[tuple[float, float, str]], birds: set[str]) -> str:
    """Each label is found by one event at most; what lies on a faint call is neither right nor wrong."""
    missed, wrong = [label for label in labels if label[2] in birds], []
    n_there = len(missed)
    for event in events:
        under = [label for label in labels if label[0] < event.end and event.start < label[1]]
        hits = [label for label in under if label[2] == event.label and label in missed]
        if hits:
            missed.remove(hits[0])
        elif not any(label[2].removesuffix(" (faint)") == event.label for label in under):
            wrong.append(f"{event.label} on {under[0][2] if under else 'nothing'}")
    return f"{n_there - len(missed)} of {n_there} calls, {len(wrong)} wrong: {', '.join(wrong) or '-'}"


def main() -> None:
    clips, labels = labelled_sounds(EXAMPLES)
    classifier = mtslvr.fit_fewshot(clips, labels)
    birds = set(classifier.classes_) - {"noise"}
    truth = read_labels(FIELD.with_suffix(".txt")) if FIELD.with_suffix(".txt").exists() else []
    counts = {str(name): labels.count(name) for name in classifier.classes_}
    print(f"learnt from {counts}; listening to {FIELD.name}\n")

    # With `reject` a window farther than that from all examples is called unknown; its unit is in FewShotClassifier.novelty.
    for reject in (None, 1.0):
        events = mtslvr.detect(FIELD, classifier, background="noise", reject=reject, hop=0.5)
        print(f"reject={reject}: {len(events)} events", f"; {judge(events, truth, birds)}" if truth else "", sep="")
        if reject is None:
            write_events("birds.txt", events)

    print("\nbirds.txt, without reject:")
    for start, end, label in read_labels(Path("birds.txt")):
        print(f"{start:6.2f} to {end:6.2f} s  {label}")


if __name__ == "__main__":
    main()
