"""What shells do to a command: other encodings, pipes, odd names, URLs."""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mtslvr
from mtslvr.cli import parser
from mtslvr.cli.parser import main

DEMO = Path(mtslvr.__file__).parent / "assets" / "demo"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier folder with a label in another script."""
    folder = tmp_path_factory.mktemp("fit") / "classifier"
    clips = [DEMO / kind / f"{i}.ogg" for kind in ("drum", "thunder") for i in (1, 2)]
    mtslvr.fit_fewshot(clips, ["太鼓", "太鼓", "thunder", "thunder"]).save_pretrained(folder)
    return folder


def run(*arguments: str, encoding: str = "utf-8", sound: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    stdin = None if sound is None else sound.read_bytes()
    return subprocess.run(
        [sys.executable, "-m", "mtslvr", *arguments], input=stdin, capture_output=True, env=environment
    )


@pytest.mark.slow
def test_a_label_that_the_terminal_cannot_show_loses_nothing(classifier: Path) -> None:
    done = run(
        "predict", str(classifier), str(DEMO / "drum" / "3.ogg"), str(DEMO / "thunder" / "3.ogg"), encoding="cp1252"
    )
    _, drum, thunder = done.stdout.decode("cp1252").splitlines()
    assert done.returncode == 0, done.stderr
    assert drum.split()[1] == "\\u592a\\u9f13" and thunder.split()[1] == "thunder"


@pytest.mark.slow
def test_standard_input(classifier: Path) -> None:
    done = run("predict", str(classifier), "-", sound=DEMO / "drum" / "3.ogg")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines()[1].split()[:3] == ["standard", "input", "太鼓"]
    done = run("detect", str(classifier), "-", "--hop", "0.5", sound=DEMO / "drum" / "3.ogg")
    assert done.returncode == 0 and "太鼓" in done.stdout.decode()


@pytest.mark.slow
def test_standard_input_in_a_table(tmp_path: Path) -> None:
    done = run("embed", "-", "-o", str(tmp_path / "out.csv"), sound=DEMO / "drum" / "3.ogg")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "out.csv", newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["path", "standard input"]


@pytest.mark.parametrize(
    "command", [["predict", "CLF"], ["embed", "-o", "TMP/out.csv"], ["detect", "CLF"], ["suggest", "CLF"]]
)
def test_a_url_is_told_to_be_one(
    classifier: Path, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"CLF": str(classifier), "TMP/out.csv": str(tmp_path / "out.csv")}
    assert main([*(places.get(a, a) for a in command), "https://example.org/a.wav"]) == 2
    assert "https://example.org/a.wav is a URL: download it first" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_line_end_in_a_name_does_not_break_the_table(
    classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(DEMO / "drum" / "3.ogg", tmp_path / "a\nb\x1b[2J.ogg")
    assert main(["predict", str(classifier), str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert len(told.splitlines()) == 2 and "a\\nb\\x1b[2J.ogg" in told


def test_predict_into_a_table_goes_on_where_it_was(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mtslvr.storage.vectors import Unfinished

    (tmp_path / "in").mkdir()
    for i in (3, 4, 5):
        shutil.copy(DEMO / "drum" / f"{i}.ogg", tmp_path / "in")
    asked: list[str] = []
    real = Unfinished.add

    def add(self: Unfinished, path: Path, vector: object) -> None:
        asked.append(path.name)
        real(self, path, vector)  # type: ignore[arg-type]
        if len(asked) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Unfinished, "add", add)
    command = ["predict", str(classifier), str(tmp_path / "in"), "-o", str(tmp_path / "out.csv")]
    assert main(command) == 130 and not (tmp_path / "out.csv").exists()
    assert main(command) == 0
    assert asked == ["3.ogg", "4.ogg", "5.ogg"]
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.csv"]


def test_suggest_and_find(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "in").mkdir()
    for kind in ("drum", "thunder", "laughter"):
        shutil.copy(DEMO / kind / "4.ogg", tmp_path / "in" / f"{kind}.ogg")
    (tmp_path / "in" / "bad.wav").write_text("no sound")
    assert main(["find", str(DEMO / "drum" / "4.ogg"), str(tmp_path / "in"), "-n", "2"]) == 1
    told = capsys.readouterr()
    lines = [line.split() for line in told.out.splitlines()]
    assert lines[0] == ["path", "similarity"] and len(lines) == 3
    assert lines[1] == [str(tmp_path / "in" / "drum.ogg"), "1.000"], "a copy of it, under another name"
    assert "bad.wav" in told.err
    assert len(list((tmp_path / "cache").rglob("*"))) > 3, "kept"
    assert main(["suggest", str(classifier), str(tmp_path / "in"), "-n", "3", "-o", str(tmp_path / "next.csv")]) == 1
    assert "3 recordings; 1 files skipped" in capsys.readouterr().out
    with open(tmp_path / "next.csv", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["path", "label", "confidence"]
    assert {Path(row[0]).stem for row in rows} == {"drum", "thunder", "laughter"}
    shares = [float(row[2]) for row in rows]
    assert shares[0] == min(shares), "the least sure comes first"
    assert main(["find", str(tmp_path / "in" / "drum.ogg"), str(tmp_path / "in" / "drum.ogg")]) == 2
    assert "are the examples themselves" in capsys.readouterr().err


def test_every_option_says_its_default() -> None:
    commands = next(a for a in parser._parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    assert len(commands) >= 11
    for name, command in commands.items():
        formatter = command._get_formatter()
        for action in command._actions:
            if action.option_strings and not action.required and action.dest != "help":
                text = formatter._expand_help(action)
                assert "default" in text, f"mtslvr {name} {action.option_strings[-1]}: {text}"
