"""What a release holds: the changelog names its version, its files are all there, and anyone builds the same bytes."""

from __future__ import annotations

import datetime
import email
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mtslvr
from mtslvr.storage.assets import MODELS

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parent.parent
HEADINGS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}  # https://keepachangelog.com/en/1.1.0/
MAX_WHEEL = 80e6  # bytes; the weights of two models


def test_changelog() -> None:
    """The newest release is this version; above it at most what is not released."""
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    releases = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    if releases[0] == "[Unreleased]":
        del releases[0]
    matches = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)", release) for release in releases]
    assert all(matches), f"expected '## [1.2.3] - 2026-01-31': {releases}"
    versions = [tuple(map(int, match.groups()[:3])) for match in matches if match]
    dates = [datetime.date.fromisoformat(match[4]) for match in matches if match]
    assert ".".join(map(str, versions[0])) == mtslvr.__version__
    assert versions == sorted(set(versions), reverse=True) and dates == sorted(dates, reverse=True)
    assert {line.removeprefix("### ") for line in lines if line.startswith("### ")} <= HEADINGS


def build(source: Path, out: Path) -> dict[str, Path]:
    """-> {"sdist": path, "wheel": path}"""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    subprocess.run(command, cwd=source, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return {"sdist": next(out.glob("*.tar.gz")), "wheel": next(out.glob("*.whl"))}


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return email.message_from_bytes(archive.read(f"mtslvr-{mtslvr.__version__}.dist-info/METADATA"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def sdist(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, unpacked."""
    out = tmp_path_factory.mktemp("sdist")
    subprocess.run(["tar", "xzf", built["sdist"], "-C", out, "--strip-components", "1"], check=True)
    return out


def test_the_sdist_builds_the_same_bytes(built: dict[str, Path], sdist: Path, tmp_path: Path) -> None:
    again = build(sdist, tmp_path / "dist")
    for kind, path in built.items():
        assert again[kind].name == path.name and again[kind].read_bytes() == path.read_bytes(), kind


def test_the_sdist_is_the_repository(built: dict[str, Path]) -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode != 0:
        pytest.skip("not a git repository, such as an unpacked sdist")
    with tarfile.open(built["sdist"]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {name for name in tracked.stdout.splitlines() if (ROOT / name).exists()} <= names


def test_the_wheel_is_the_package(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as archive:
        names = set(archive.namelist())
    about = f"mtslvr-{mtslvr.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"mtslvr", about}
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "mtslvr").rglob("*.py")} <= names
    assert sum(name.endswith(".ogg") for name in names) == 30
    assert {"mtslvr/py.typed", *(f"mtslvr/assets/{model}/model.safetensors" for model in MODELS)} <= names
    for name in ("LICENSE", "mtslvr/assets/demo/SOURCES.md", *(f"mtslvr/assets/{model}/README.md" for model in MODELS)):
        assert f"{about}/licenses/{name}" in names
    assert built["wheel"].stat().st_size < MAX_WHEEL


def test_the_licence_is_that_of_code_weights_and_recordings(built: dict[str, Path]) -> None:
    metadata = metadata_of(built["wheel"])
    assert metadata["Version"] == mtslvr.__version__
    assets = ROOT / "mtslvr" / "assets"
    weights = json.loads((assets / "default" / "config.json").read_text())["training"]["license"]
    column = re.findall(r"\| (CC[^|(]*?) *(?:\([^|]*)?\|$", (assets / "demo" / "SOURCES.md").read_text(), re.MULTILINE)
    recordings = {"CC0-1.0" if licence == "CC0" else licence.replace(" ", "-") for licence in column}
    assert len(column) == 30
    found = metadata["License-Expression"].lower().split(" and ")
    assert sorted(found) == sorted({"apache-2.0", weights, *map(str.lower, recordings)})


def test_the_constraints_pin_all_that_the_tests_need(built: dict[str, Path]) -> None:
    """Its first lines say how to refresh it."""
    lines = (ROOT / "tests" / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    versions = {canonicalize_name(name): version for name, version in pins.items()}
    for text in metadata_of(built["wheel"]).get_all("Requires-Dist", []):
        wanted = Requirement(text)
        if wanted.marker is None or wanted.marker.evaluate({"extra": "test", "python_version": "3.11"}):
            assert wanted.specifier.contains(versions.get(canonicalize_name(wanted.name), "0")), text
