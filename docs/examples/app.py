"""For an app developer: a classifier learnt here, that runs on a device without torch and without this package.

    pip install "mtslvr[onnx]"
    python docs/examples/app.py                     # makes app/, runs it in a second process, compares; a minute
    python docs/examples/app.py app                 # the second process: what your app has to do, in any language

app/ then holds all that is needed: model.onnx (int8, 27 MB), config.json and model.safetensors (the classifier). The
second process imports onnxruntime, numpy, safetensors and json; it takes mono sound at 16 kHz, at most 5 s long.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

WINDOW = 80_000  # samples, 5 s: a shorter clip is repeated until it is as long


def on_the_device(app: Path) -> None:
    """Names the clips in app/clips.npz; writes app/answers.json."""
    import onnxruntime
    from safetensors.numpy import load_file

    config, saved = json.loads((app / "config.json").read_text(encoding="utf-8")), load_file(app / "model.safetensors")
    session = onnxruntime.InferenceSession(app / "model.onnx", providers=["CPUExecutionProvider"])
    if session.get_modelmeta().custom_metadata_map["fingerprint"] != config["encoder"]:
        raise ValueError("the classifier was fitted with another model than model.onnx")

    answers = {}
    for name, wave in np.load(app / "clips.npz").items():  # from the microphone, in an app
        (vector,) = session.run(["combined"], {"waves": np.resize(wave, WINDOW)[None]})
        heads = np.split(vector[0].astype(np.float64), 2)  # the invariant head and the variant one, each of unit length
        features = np.hstack([head / np.linalg.norm(head) for head in heads])
        scores = features @ saved["coef"].T + saved["intercept"]
        exponents = np.exp((scores - scores.max()) / config["numbers"]["temperature"])
        probabilities = exponents / exponents.sum()
        answers[name] = config["labels"]["values"][probabilities.argmax()], float(probabilities.max())
    if strangers := {"torch", "mtslvr", "sklearn"} & set(sys.modules):
        raise RuntimeError(f"this process was to run without {strangers}")
    (app / "answers.json").write_text(json.dumps(answers), encoding="utf-8")


def main() -> None:
    import mtslvr
    from mtslvr.export import export
    from mtslvr.sound.stream import SAMPLE_RATE, read
    from mtslvr.storage.assets import DEMO_RECORDINGS

    app = Path("app")
    app.mkdir(exist_ok=True)
    paths = sorted(DEMO_RECORDINGS.glob("*/*.ogg"))
    learnt, asked = [path for path in paths if path.stem in "12"], [path for path in paths if path.stem not in "12"]

    # Fitted with the very file that will run: an int8 model's embeddings are a little different.
    export(mtslvr.MTSLVR.from_pretrained(), app / "model.onnx", calibrate=learnt)
    model = mtslvr.MTSLVR.from_pretrained(app / "model.onnx")
    classifier = mtslvr.fit_fewshot(learnt, [path.parent.name for path in learnt], model=model)
    classifier.save_pretrained(app)

    names, waves = [f"{path.parent.name}-{path.stem}" for path in asked], [read(path) for path in asked]
    np.savez(app / "clips.npz", **dict(zip(names, waves, strict=True)))
    subprocess.run([sys.executable, __file__, str(app)], check=True)
    answers = json.loads((app / "answers.json").read_text(encoding="utf-8"))

    ours = classifier.predict_proba([(wave, SAMPLE_RATE) for wave in waves])
    labels, theirs = zip(*(answers[name] for name in names), strict=True)
    same = sum(classifier.classes_[ours.argmax(1)] == labels)
    right = sum(path.parent.name == label for path, label in zip(asked, labels, strict=True))
    print(f"{same} of {len(asked)} answers are the same with torch and without;", end=" ")
    print(f"probabilities differ by {np.abs(ours.max(1) - theirs).max():.1e} at most")
    print(f"{right} of {len(asked)} are right, from two examples of each of {len(classifier.classes_)} kinds")
    for path in sorted(app.iterdir()):
        print(f"  {path}  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    on_the_device(Path(sys.argv[1])) if sys.argv[1:] else main()
