"""What the documentation shows runs as it stands. That it builds, and that its links lead somewhere, is a step of the gate."""

import doctest
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import golden
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile
import torch
from loopback_hub import TOKEN, LoopbackHub
from page import blocks

import mtslvr
from mtslvr.sound.stream import SAMPLE_RATE, read
from mtslvr.storage.assets import DEFAULT_MODEL, DEMO_RECORDINGS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
CODE = ("mtslvr ", "python ", "pip ", "import ", "from ", ">>> ", "$ ")  # how lines of code begin, of output not


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages name. Laughter is the dog, and a splash the rain."""
    folder = tmp_path_factory.mktemp("desk")
    rng = np.random.default_rng(0)
    dogs = [read(DEMO_RECORDINGS / "laughter" / f"{i}.ogg") for i in (1, 2, 3, 4)]
    rains = [read(DEMO_RECORDINGS / "splash" / f"{i}.ogg") for i in (1, 2, 3, 4)]
    noise = 0.01 * rng.standard_normal((2, SAMPLE_RATE), np.float32)
    an_hour = np.zeros(60 * SAMPLE_RATE, np.float32)  # digital silence costs `detect` nothing
    for second, wave in ((3, dogs[2]), (20, rains[2]), (40, dogs[3])):
        an_hour[second * SAMPLE_RATE :][: len(wave)] = wave
    sounds = {
        **{f"dog{i}.wav": dogs[i - 1] for i in (1, 2)},
        **{f"rain{i}.wav": rains[i - 1] for i in (1, 2)},
        **{f"noise{i}.wav": noise[i - 1] for i in (1, 2)},
        **{f"examples/dog/{i}.wav": wave for i, wave in enumerate(dogs, 1)},
        **{f"examples/rain/{i}.wav": wave for i, wave in enumerate(rains, 1)},
        **{f"recordings/{i}.wav": wave for i, wave in enumerate((*dogs[2:], *rains[2:]), 1)},
        **{"x.wav": dogs[2], "y.wav": rains[2], "what_is_this.wav": dogs[3], "what_is_this.mp3": dogs[3]},
        **{"dog1.flac": dogs[0], "an_hour.wav": an_hour},
    }
    for name, wave in sounds.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, wave, SAMPLE_RATE)
    (folder / "marked.txt").write_text(f"3.0\t{3 + len(dogs[2]) / SAMPLE_RATE:.2f}\tdog\n")
    torch.save(golden.authors_state("parallel"), folder / "AUTHORS.pt")
    row = {"audio": {"bytes": (folder / "dog1.wav").read_bytes()}, "category": "dog", "src_file": 1}
    (folder / "downloaded").mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), folder / "downloaded" / "0.parquet")
    return folder


@pytest.fixture(scope="session")
def hub() -> Iterator[LoopbackHub]:
    """A Hub that holds somebody's model."""
    with LoopbackHub() as hub:
        model = {path.name: path.read_bytes() for path in DEFAULT_MODEL.iterdir()}
        for branch in ("main", "v1.2"):
            hub.commit("someone/their-model", model, branch=branch)
        yield hub


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_code_runs(page: Path, desk: Path, hub: LoopbackHub, tmp_path: Path) -> None:
    shutil.copytree(desk, tmp_path / "desk")
    client = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "tests" / "page.py"), str(page)],
        cwd=tmp_path / "desk",
        env=os.environ | client,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_code_is_left_out_unsaid(page: Path) -> None:
    for block in blocks(page):
        where = f"{page.name}, line {block.line}"
        assert block.language is not None, f"{where}: indented; put it into a fence that says python, bash or text"
        if block.language == "bash" and block.why_not_run is None:
            for command in block.commands:
                assert command.startswith("mtslvr "), (
                    f"{where}: cannot run {command!r}; <!-- not run: why --> before it"
                )
        elif not block.language.startswith(("python", "bash", "{")):
            assert not block.code.startswith(CODE), f"{where}: code that does not say whether it is python or bash"


@pytest.mark.parametrize("name", [name for name in mtslvr.__all__ if not name.startswith("_")])
def test_examples_of_docstrings(name: str, desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(desk, tmp_path / "desk")
    monkeypatch.chdir(tmp_path / "desk")
    names = {name: getattr(mtslvr, name) for name in mtslvr.__all__}
    own = [one for one in getattr(names[name], "__mro__", [names[name]]) if one.__module__.startswith("mtslvr.")]
    found = [test for one in own for test in doctest.DocTestFinder().find(one, one.__name__, globs=names)]
    failed = [one.name for one in found if doctest.DocTestRunner(verbose=False).run(one).failed]
    assert not failed
    assert any(one.examples for one in found) or name == "EncoderConfig", f"{name} has no example"


def test_every_picture_says_how_it_is_made() -> None:
    told = (DOCS / "contributing.md").read_text()
    for picture in (DOCS / "images").iterdir():
        assert f"| `{picture.name}` |" in told, f"docs/contributing.md does not say what makes {picture.name}"
