import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import golden
import numpy as np
import pyarrow.parquet
import pytest
import soundfile
import torch

import mtslvr
from mtslvr.cli.parser import main
from mtslvr.encoder import batching
from mtslvr.encoder.config import EncoderConfig
from mtslvr.encoder.model import MTSLVR
from mtslvr.fewshot import linear
from mtslvr.sound.files import find_sounds
from mtslvr.storage import folder
from mtslvr.storage.vectors import Unfinished


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("b/two.flac", "one.wav"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / name, random.normal(0, 0.1, 9000), 22_050)
    (tmp_path / "in" / "notes.txt").write_text("not a sound, and not named like one")
    return tmp_path / "in"


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_embed(sounds: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / f"out{suffix}"
    assert main(["embed", str(sounds), "-o", str(out), "--space", "invariant"]) == 0
    assert "2 embeddings of 500 features" in capsys.readouterr().out
    paths = [str(sounds / "b" / "two.flac"), str(sounds / "one.wav")]
    expected = MTSLVR.from_pretrained().embed(paths, space="invariant")
    if suffix == ".npz":
        with np.load(out) as file:
            assert file["paths"].tolist() == paths
            assert str(file["fingerprint"]) == MTSLVR.from_pretrained().fingerprint
            found = file["embeddings"]
    elif suffix == ".csv":
        with open(out, newline="") as text:
            rows = list(csv.reader(text))
        assert [row[0] for row in rows] == ["path", *paths]
        found = np.array([row[1:] for row in rows[1:]], np.float32)
    else:
        table = pyarrow.parquet.read_table(out)
        assert table["path"].to_pylist() == paths
        assert table.schema.metadata[b"space"] == b"invariant"
        found = np.array(table["embedding"].to_pylist(), np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_bad_file_is_reported_and_skipped(sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sounds / "bad.wav").write_text("no sound")
    assert main(["embed", str(sounds), str(tmp_path / "gone.wav"), "-o", str(tmp_path / "out.npz")]) == 1
    told = capsys.readouterr()
    assert "2 files skipped" in told.out
    assert "bad.wav" in told.err
    assert "gone.wav" in told.err
    assert len(np.load(tmp_path / "out.npz")["paths"]) == 2
    with open(tmp_path / "out.npz.failed.csv", newline="") as file:
        header, *failures = csv.reader(file)
    assert header == ["path", "error"]
    assert [path for path, _ in failures] == [str(sounds / "bad.wav"), str(tmp_path / "gone.wav")]
    assert "is no sound file" in failures[0][1] and "no such file" in failures[1][1]
    shutil.copy(sounds / "one.wav", sounds / "bad.wav")
    assert main(["embed", str(sounds), "-o", str(tmp_path / "out.npz")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.npz"]
    with np.load(tmp_path / "out.npz") as table:
        assert relative(table["embeddings"][1], table["embeddings"][2]) < 1e-5  # bad.wav has become one.wav


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for i in range(200):
        wave = np.random.default_rng(i).normal(0, 0.1, 4000)
        soundfile.write(tmp_path / "in" / f"{i:03d}.wav", wave, 16_000)
    arguments = ["embed", str(tmp_path / "in"), "-o", str(tmp_path / "out.parquet"), "--space", "invariant"]
    code = f"from mtslvr.cli import parser; parser.main({arguments})"
    folder = tmp_path / "out.parquet.parts"
    with subprocess.Popen([sys.executable, "-c", code], cwd=Path(mtslvr.__file__).parent.parent) as process:
        while process.poll() is None and len(list(folder.glob("*/*"))) < 24:
            time.sleep(0.01)
        process.kill()
    assert not (tmp_path / "out.parquet").exists()
    n_kept = len(list(folder.glob("??/" + "?" * 62)))
    assert main([*arguments[:-1], "variant"]) == 2 and "out.parquet.parts holds" in capsys.readouterr().err

    done: list[Path] = []
    real = batching.embed_files
    monkeypatch.setattr(
        batching, "embed_files", lambda model, paths, *a, **k: done.extend(paths) or real(model, paths, *a, **k)
    )
    assert main(arguments) == 0
    assert len(done) == 200 - n_kept < 180
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.parquet"]
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    paths = sorted((tmp_path / "in").iterdir())
    assert table["path"].to_pylist() == [str(path) for path in paths]
    some = slice(0, 200, 20)
    expected = MTSLVR.from_pretrained().embed(paths[some], space="invariant")
    assert relative(np.stack(table["embedding"].to_numpy())[some], expected) < 1e-5


@pytest.mark.slow
def test_ctrl_c_loses_nothing(sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Unfinished.add

    def add(self: Unfinished, path: Path, vector: np.ndarray) -> None:
        real(self, path, vector)
        raise KeyboardInterrupt

    monkeypatch.setattr(Unfinished, "add", add)
    assert main(["embed", str(sounds), "-o", str(tmp_path / "out.npz")]) == 130
    notes = {"space": "combined", "fingerprint": MTSLVR.from_pretrained().fingerprint}
    with Unfinished(tmp_path / "out.npz", notes) as kept:
        assert kept.missing(find_sounds([sounds])) == [sounds / "one.wav"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_a_name_that_is_no_text_and_silence(
    sounds: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.rename(sounds / "one.wav", os.fsencode(sounds) + b"/one\xff.wav")
    soundfile.write(sounds / "silent.wav", np.zeros(9000), 16_000)
    assert main(["embed", str(sounds), "-o", str(tmp_path / f"out{suffix}")]) == 0
    told = capsys.readouterr()
    assert "3 embeddings" in told.out
    assert "silence" in told.err  # a note: neither a failure nor a warning of a library line
    if suffix == ".npz":
        assert np.load(tmp_path / "out.npz")["paths"][1].endswith("one\\xff.wav")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embed", "IN", "-o", "TMP/out.txt"], "expected a name that ends in .npz"),
        (["embed", "IN", "-o", "TMP/none/out.npz"], "folder does not exist"),
        (["embed", "TMP/gone.wav", "-o", "TMP/out.npz"], "none of 1 files"),
        (["embed", "EMPTY", "-o", "TMP/out.npz"], "no sound files"),
        (["embed", "IN", "-o", "TMP/out.npz", "--model", "./nowhere"], "no such folder"),
        (["info", "--model", "TMP"], "not a model folder"),
        (["fit", "IN", "-o", "TMP/clf"], "in none of its sub-folders, such as one.wav"),
        (["fit", "EMPTY", "-o", "TMP/clf"], "expected one sub-folder per class"),
        (["fit", "TMP/none", "-o", "TMP/clf"], "no such folder or CSV"),
        (["fit", "IN", "-o", "IN/one.wav"], "is a file: give the name of a folder"),
        (["fit", "IN", "-o", "TMP/clf", "--report", "TMP/r.pdf"], "expected a name that ends in .png"),
        (["predict", "TMP/none", "IN"], "no such folder"),
        (["predict", "EMPTY", "IN"], "not a model folder"),
        (["predict", "EMPTY", "IN", "-o", "TMP/out.txt"], "expected a name that ends in .csv"),
        (["detect", "EMPTY", "IN/one.wav", "-o", "TMP/out.wav"], "expected a name that ends in .csv, .txt"),
        (["convert", "TMP/none.pt", "TMP/m"], "no such file"),
    ],
)
def test_what_cannot_be_done_says_why(
    sounds: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"IN": str(sounds), "EMPTY": str(tmp_path / "empty")}
    found = [places.get(a, a.replace("TMP", str(tmp_path)).replace("IN/", f"{sounds}/")) for a in arguments]
    assert main(found) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


DEMO = Path(mtslvr.__file__).parent / "assets" / "demo"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier folder, made by the command line from two recordings of each of two classes."""
    root = tmp_path_factory.mktemp("fit")
    for kind in ("drum", "thunder"):
        (root / "examples" / kind).mkdir(parents=True)
        for name in ("1.ogg", "2.ogg"):
            shutil.copy(DEMO / kind / name, root / "examples" / kind / name)
    arguments = ["fit", str(root / "examples"), "-o", str(root / "classifier"), "--report", str(root / "report.png")]
    assert main(arguments) == 0
    assert (root / "report.png").read_bytes().startswith(b"\x89PNG")
    return root / "classifier"


@pytest.mark.slow
def test_fit_from_a_table(classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{DEMO / kind / f'{i}.ogg'},{kind}" for kind in ("drum", "thunder") for i in (1, 2)]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label", *rows]))
    assert main(["fit", str(tmp_path / "clips.csv"), "-o", str(tmp_path / "clf")]) == 0
    text = capsys.readouterr().out
    assert "4 clips of 2 classes" in text and "record next: " in text and "a classifier of 2 classes" in text
    assert (tmp_path / "clf" / "config.json").read_bytes() == (classifier / "config.json").read_bytes()


def test_fit_loads_fits_and_hashes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: done.append(name) or real(*args, **kwargs)  # type: ignore[func-returns-value]

    monkeypatch.setattr(folder, "read", counted("read", folder.read))
    monkeypatch.setattr(folder, "fingerprint", counted("hash", folder.fingerprint))
    monkeypatch.setattr(linear, "fit", counted("fit", linear.fit))
    rows = [f"{DEMO / kind / f'{i}.ogg'},{kind}" for kind in ("drum", "thunder") for i in (1, 2)]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label", *rows]))
    assert main(["fit", str(tmp_path / "clips.csv"), "-o", str(tmp_path / "clf")]) == 0
    assert sorted(done) == ["fit", "hash", "read"]


def test_examples_are_added_to_a_classifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part, kinds, numbers in (("first", ("drum", "thunder"), (1, 2)), ("more", ("drum", "glass"), (3, 4))):
        for kind in kinds:
            (tmp_path / part / kind).mkdir(parents=True)
            for i in numbers:
                shutil.copy(DEMO / kind / f"{i}.ogg", tmp_path / part / kind / f"{i}.ogg")
    out = ["-o", str(tmp_path / "clf")]
    assert main(["fit", str(tmp_path / "first"), *out, "--space", "invariant"]) == 0
    shutil.rmtree(tmp_path / "first")  # only what the folder holds is left
    assert main(["fit", str(tmp_path / "more"), *out, "--add", "--method", "centroid"]) == 2
    assert "--add keeps the classifier's own method: leave out --method" in capsys.readouterr().err
    assert main(["fit", str(tmp_path / "more"), *out, "--add"]) == 0
    assert "8 clips of 3 classes" in capsys.readouterr().out
    grown = mtslvr.FewShotClassifier.from_pretrained(tmp_path / "clf")
    assert grown.space == "invariant" and np.bincount(grown.targets_).tolist() == [4, 2, 2]
    assert grown.predict([str(DEMO / "glass" / "5.ogg")]).tolist() == ["glass"]
    assert main(["fit", str(tmp_path / "more"), "-o", str(tmp_path / "none"), "--add"]) == 2


@pytest.mark.slow
def test_groups_are_kept_apart_and_near_duplicates_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each recording cut into two pieces: with a folder for each the report does not judge one by the other."""
    for kind in ("drum", "thunder"):
        for i in (1, 2, 3):
            wave, rate = soundfile.read(DEMO / kind / f"{i}.ogg")
            for place in (f"apart/{kind}/{i}/", f"mixed/{kind}/{i}-"):
                (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / f"apart/{kind}/{i}").mkdir(parents=True, exist_ok=True)
                soundfile.write(f"{tmp_path}/{place}a.wav", wave, rate)
                soundfile.write(f"{tmp_path}/{place}b.wav", wave * 0.9, rate)
    assert main(["eval", str(tmp_path / "mixed"), "--draws", "3", "--shots", "2"]) == 0
    told = capsys.readouterr().out
    assert (
        "12 clips are near-duplicates within their class" in told
        and "Kept on one side, 2 recordings per class give" in told
    )
    assert main(["eval", str(tmp_path / "apart"), "--draws", "3", "--shots", "2"]) == 0
    told = capsys.readouterr().out
    assert "of 3 groups, none of them on both sides" in told and "near-duplicates" not in told
    assert main(["fit", str(tmp_path / "mixed"), "-o", str(tmp_path / "m")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert (
        "12 clips are near-duplicates within their class, such as" in told and "left out together, accuracy is" in told
    )
    assert main(["fit", str(tmp_path / "apart"), "-o", str(tmp_path / "a")]) == 0
    assert "near-duplicates" not in capsys.readouterr().out
    assert len(set(mtslvr.FewShotClassifier.from_pretrained(tmp_path / "a").groups_)) == 3


@pytest.mark.slow
def test_eval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("drum", "thunder"):
        (tmp_path / "in" / kind).mkdir(parents=True)
        for i in (1, 2, 3):
            shutil.copy(DEMO / kind / f"{i}.ogg", tmp_path / "in" / kind)
    assert main(["eval", str(tmp_path / "in"), "--draws", "2", "--plot", str(tmp_path / "curve.png")]) == 0
    text = capsys.readouterr().out
    assert "6 clips of 2 classes, 2 draws" in text and "recordings per class" in text and "chance is 50.0 %" in text
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert main(["eval", str(tmp_path / "in"), "--shots", "3"]) == 2
    assert "class 'drum' has 3 clips: each class needs at least one clip more than the 3" in capsys.readouterr().err


@pytest.mark.slow
def test_predict(classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.wav").write_text("no sound")
    drum, thunder = str(DEMO / "drum" / "3.ogg"), str(DEMO / "thunder" / "3.ogg")
    assert main(["predict", str(classifier), drum, thunder]) == 0
    header, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert header == ["path", "label", "confidence"]
    assert [row[:2] for row in rows] == [[drum, "drum"], [thunder, "thunder"]]
    assert all(0.5 < float(row[2]) < 1 for row in rows)
    out = tmp_path / "out.csv"
    arguments = ["predict", str(classifier), drum, str(tmp_path), "--reject", "0.001", "-o", str(out)]
    assert main(arguments) == 1
    told = capsys.readouterr()
    assert "1 sounds named; 1 files skipped" in told.out and "bad.wav" in told.err
    with open(out, newline="") as file:
        assert [row[:2] for row in csv.reader(file)] == [["path", "label"], [drum, "unknown"]]
    assert main(["predict", str(classifier), str(tmp_path / "bad.wav")]) == 2


@pytest.mark.slow
def test_detect(classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = str(DEMO / "drum" / "3.ogg")
    assert main(["detect", str(classifier), recording, "--hop", "0.5"]) == 0
    header, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert header == ["start", "end", "label", "confidence"] and [row[2] for row in rows] == ["drum"]
    assert main(["detect", str(classifier), recording, "--hop", "0.5", "--min-duration", "60"]) == 0
    assert capsys.readouterr().out.split() == ["start", "end", "label", "confidence"]
    with pytest.raises(SystemExit):
        main(["detect", str(classifier), recording, "--reject", "abc"])
    assert "'abc' is neither \"auto\" nor a number" in capsys.readouterr().err
    assert main(["detect", str(classifier), recording, "-o", str(tmp_path / "labels.txt"), "--background", "drum"]) == 0
    assert "labels.txt: 0 events" in capsys.readouterr().out and (tmp_path / "labels.txt").exists()


@pytest.mark.slow
def test_a_bad_example_is_an_error_that_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("drum", "thunder"):
        (tmp_path / "in" / kind).mkdir(parents=True)
        shutil.copy(DEMO / kind / "1.ogg", tmp_path / "in" / kind)
    for name in ("broken.wav", "empty.wav"):
        (tmp_path / "in" / "drum" / name).write_text("no sound")
    for command in (["fit", str(tmp_path / "in"), "-o", str(tmp_path / "clf")], ["eval", str(tmp_path / "in")]):
        assert main(command) == 2
        told = capsys.readouterr().err
        assert "broken.wav" in told and "empty.wav" in told and "2 of 4 files could not be read" in told
    assert not (tmp_path / "clf").exists()


@pytest.mark.slow
def test_another_encoder_is_refused(classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    MTSLVR(EncoderConfig("bn", std=0.1)).save_pretrained(tmp_path / "other")
    assert main(["predict", str(classifier), str(DEMO / "drum"), "--model", str(tmp_path / "other")]) == 2
    assert "another: give the one it was fitted with (model=, --model)" in capsys.readouterr().err


@pytest.mark.slow
def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert "combined [1000], invariant [500], variant [500]" in text
    assert "±" not in text and "training.evaluation.evaluate --" not in text  # its tables are in the card
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fingerprint"] in text


@pytest.mark.slow
def test_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(golden.authors_state("series"), tmp_path / "authors.pt")
    assert main(["convert", str(tmp_path / "authors.pt"), str(tmp_path / "m")]) == 0
    assert "adapter series, 2 head(s) of 500" in capsys.readouterr().out
    with torch.no_grad():
        found = MTSLVR.from_pretrained(tmp_path / "m").network(golden.arrays()["spectrogram"])
    expected = golden.outputs("series")
    assert (found - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.slow
def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "demo.png"
    assert main(["demo", "-o", str(picture)]) == 0
    text = capsys.readouterr().out
    right = int(text.split(" of 20 right")[0].split()[-1])
    assert right >= 10  # chance is 4
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    command = f"set -o pipefail; '{sys.executable}' -m mtslvr info | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")


def test_help_and_import_are_fast() -> None:
    code = "import sys, mtslvr, mtslvr.cli; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'sklearn', 'huggingface_hub')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

    def seconds(*command: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        return time.perf_counter() - start

    bare = min(seconds("-c", "pass") for _ in range(3))
    assert min(seconds("-m", "mtslvr", "--help") for _ in range(3)) - bare < 0.4
