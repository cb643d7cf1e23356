"""The scripts of docs/examples.md, run as their readers run them, on the sound that lies beside them."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"
SOUNDS = EXAMPLES / "sounds"


def run(name: str, folder: Path, *arguments: object) -> str:
    """What the script prints, run in `folder` on one core."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def numbers(pattern: str, text: str) -> list[float]:
    found = re.search(pattern, text)
    assert found, f"{pattern!r} is not in:\n{text}"
    return [float(number) for number in found.groups()]


def test_birder(tmp_path: Path) -> None:
    printed = run("birder.py", tmp_path)
    found, there, wrong = numbers(r"reject=None: \d+ events; (\d+) of (\d+) calls, (\d+) wrong", printed)
    assert there == 9 and found >= 7 and wrong <= 3
    assert numbers(r"reject=1.0: \d+ events; \d+ of \d+ calls, (\d+) wrong", printed)[0] <= wrong
    rows = [line.split("\t") for line in (tmp_path / "birds.txt").read_text().splitlines()]
    assert all(0 <= float(start) < float(end) <= 64 and label in {"whistle", "whip"} for start, end, label in rows)
    assert len(rows) >= 7


def test_factory(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    printed = run("factory.py", tmp_path)
    assert numbers(r"under the ROC curve (\S+)", printed)[0] > 0.75
    alarms, faulty, false, fine = numbers(r"classifier: alarm in (\d+) of (\d+) .*, (\d+) of (\d+) normal", printed)
    assert faulty == 24 and fine == 90 and alarms >= 12 and false <= 9
    assert (tmp_path / "factory.png").read_bytes().startswith(b"\x89PNG")


def test_speech(tmp_path: Path) -> None:
    run("speech.py", tmp_path)
    with open(tmp_path / "speech.csv", encoding="utf-8", newline="") as file:
        table = {(row["question"], row["speakers"]): float(row["combined"]) for row in csv.DictReader(file)}
    assert table["who speaks", "heard before"] > 80
    assert 60 < table["man or woman", "new"] < table["man or woman", "heard before"]
    assert 60 < table["which language", "new"] < table["which language", "heard before"]


def test_musician(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    printed = run("musician.py", tmp_path)
    assert numbers(r"same kind for (\d+)%", printed)[0] >= 65
    right, asked = numbers(r"(\d+) of (\d+) files in the right folder", printed)
    assert asked == 35 and right >= 17
    copies = {path.name: path.read_bytes() for path in (tmp_path / "sorted").glob("*/*")}
    assert copies == {path.name: path.read_bytes() for path in (SOUNDS / "drums").iterdir()}
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")


def test_app(tmp_path: Path) -> None:
    for module in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(module)
    printed = run("app.py", tmp_path)
    same, asked, difference = numbers(r"(\d+) of (\d+) answers are the same .* differ by (\S+) at most", printed)
    assert same == asked == 20 and difference < 1e-4
    assert numbers(r"(\d+) of 20 are right", printed)[0] >= 14
    # Another model than the classifier was fitted with is refused.
    config = tmp_path / "app" / "config.json"
    config.write_text(re.sub(r'"encoder": "\w+"', '"encoder": "0123456789abcdef"', config.read_text()))
    with pytest.raises(AssertionError, match="fitted with another model"):
        run("app.py", tmp_path, tmp_path / "app")


def test_the_sounds_are_small_and_their_sources_stated() -> None:
    files = list(SOUNDS.rglob("*.ogg"))
    assert sum(path.stat().st_size for path in files) < 2_000_000
    stated = (SOUNDS / "SOURCES.md").read_text(encoding="utf-8")
    assert not [path.name for path in (SOUNDS / "drums").iterdir() if f"`{path.name}`" not in stated]
    assert {path.name for path in SOUNDS.iterdir() if path.is_dir()} == set(re.findall(r"## (\w+)/", stated))
