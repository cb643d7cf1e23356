import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import golden
import numpy as np
import pyarrow.parquet
import pytest
import soundfile
import torch

from mtslvr.cli import main
from mtslvr.model import MTSLVR


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("b/two.flac", "one.wav"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / name, random.normal(0, 0.1, 9000), 22_050)
    (tmp_path / "in" / "notes.txt").write_text("not a sound, and not named like one")
    return tmp_path / "in"


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
        (["convert", "TMP/none.pt", "TMP/m"], "no such file"),
    ],
)
def test_what_cannot_be_done_says_why(
    sounds: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"IN": str(sounds), "EMPTY": str(tmp_path / "empty")}
    assert main([places.get(a, a.replace("TMP", str(tmp_path))) for a in arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert "combined [1000], invariant [500], variant [500]" in text
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fingerprint"] in text


def test_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(golden.authors_state("series"), tmp_path / "authors.pt")
    assert main(["convert", str(tmp_path / "authors.pt"), str(tmp_path / "m")]) == 0
    assert "adapter series, 2 head(s) of 500" in capsys.readouterr().out
    with torch.no_grad():
        found = MTSLVR.from_pretrained(tmp_path / "m").network(golden.arrays()["spectrogram"])
    expected = golden.outputs("series")
    assert (found - expected).norm() < 1e-5 * expected.norm()


def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "demo.png"
    assert main(["demo", "-o", str(picture)]) == 0
    text = capsys.readouterr().out
    right = int(text.split(" of 20 right")[0].split()[-1])
    assert right >= 10  # chance is 4
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_help_and_import_are_fast() -> None:
    code = "import sys, mtslvr, mtslvr.cli; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'sklearn', 'huggingface_hub')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

    def seconds(*command: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        return time.perf_counter() - start

    bare = min(seconds("-c", "pass") for _ in range(3))
    assert min(seconds("-m", "mtslvr", "--help") for _ in range(3)) - bare < 0.4
