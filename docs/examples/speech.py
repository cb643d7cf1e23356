"""For a speech researcher: three questions to the same voices, asked of speakers that were heard and of speakers that were not.

    python docs/examples/speech.py                  # six voices beside this script, a few seconds
    python docs/examples/speech.py VOICES           # your own: VOICES/<language>/<sex>/*.wav, a folder a speaker

A random split puts a speaker on both sides, and a classifier that knows the voice seems to know the language.
GroupKFold does not. Prints both, for each space of the model. Writes speech.csv.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

import mtslvr
from mtslvr.sound.files import find_sounds

VOICES = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "sounds" / "voices"


def main() -> None:
    if not VOICES.is_dir():
        sys.exit(f"no such folder: {VOICES}")
    paths = np.array([str(path) for path in find_sounds([VOICES])])
    language = np.array([Path(path).parts[-3] for path in paths])
    sex = np.array([Path(path).parts[-2] for path in paths])
    speaker = np.char.add(np.char.add(language, " "), sex)
    mixed = StratifiedKFold(5, shuffle=True, random_state=0)
    questions = [  # what is asked, the answers, who is kept apart, the split
        ("who speaks", speaker, None, mixed),
        ("man or woman", sex, None, mixed),
        ("man or woman", sex, language, GroupKFold(len(set(language)))),  # a language's speakers are on one side
        ("which language", language, None, mixed),
        ("which language", language, sex, GroupKFold(len(set(sex)))),  # learnt from women, asked of men; and back
    ]
    rows = []
    print(f"{len(paths)} clips of {len(set(speaker))} speakers. Accuracy, %:\n")
    print(f"{'question':<16}{'speakers asked':<16}{'chance':>7}{'combined':>10}{'invariant':>11}{'variant':>9}")
    for question, answers, groups, split in questions:
        accuracies = []
        for space in ("combined", "invariant", "variant"):
            embedder = mtslvr.AudioEmbedder(
                memory="speech-embeddings"
            )  # each clip is embedded once, whatever the split
            pipeline = make_pipeline(embedder, mtslvr.FewShotClassifier(space=space))
            scores = cross_val_score(pipeline, paths, answers, groups=groups, cv=split)
            accuracies.append(100 * scores.mean())
        chance = 100 / len(set(answers))
        asked = "heard before" if groups is None else "new"
        rows.append([question, asked, f"{chance:.0f}", *(f"{accuracy:.0f}" for accuracy in accuracies)])
        print(
            f"{question:<16}{asked:<16}{chance:>7.0f}{accuracies[0]:>10.0f}{accuracies[1]:>11.0f}{accuracies[2]:>9.0f}"
        )
    with open("speech.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["question", "speakers", "chance", "combined", "invariant", "variant"], *rows])


if __name__ == "__main__":
    main()
