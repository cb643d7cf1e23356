"""The rules of the house that a machine can check."""

import ast
import functools
import graphlib
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import mtslvr

ROOT = Path(__file__).parent.parent
ROOMS = (  # a module imports only from rooms before its own, and within its room never in a circle
    {"sound"},
    {"storage"},
    {"encoder"},
    {"fewshot", "onnx"},
    {"export"},
    {"detection", "export_classifier"},
    {"embedder", "events", "hear"},
    {"integrations"},
    {"web"},
    {"cli"},
    {"__init__", "__main__"},
)
PACKAGE = ROOT / "mtslvr"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}".removeprefix("mtslvr.") for alias in node.names}
            found |= {f"mtslvr.{name}" for name in names & set(MODULES)} or {node.module}
    return found


@functools.cache
def graph() -> dict[str, set[str]]:
    """The modules of the package that each imports, wherever in the file, also for types alone."""
    return {
        module: {name.removeprefix("mtslvr.") for name in imports(path) if name.startswith("mtslvr.")}
        for module, path in MODULES.items()
    }


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    level_of = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
    room = module.split(".")[0]
    for name in graph()[module]:
        other = name.split(".")[0]
        assert other == room or level_of[other] < level_of[room], f"{module} imports {name}"
    assert not {name.split(".")[0] for name in imports(MODULES[module])} & {"training", "torchaudio", "joblib"}


def test_imports_have_no_circles() -> None:
    assert tuple(graphlib.TopologicalSorter(graph()).static_order())  # raises CycleError, which names the circle


def test_only_convert_reads_pickles() -> None:
    users = {name for name, path in MODULES.items() if re.search(r"torch\.load|\bpickle\b|joblib", path.read_text())}
    assert users - {"storage.folder"} == {"encoder.convert"}  # folder only says that it does not
    assert "weights_only=True" in MODULES["encoder.convert"].read_text()


def test_public_names() -> None:
    for name in MODULES:
        if name not in ("__init__", "__main__"):
            importlib.import_module(f"mtslvr.{name}")
    for name in mtslvr.__all__:  # a module of the same name, once imported, would be found in its place
        assert not isinstance(getattr(mtslvr, name), ModuleType)
    assert dir(mtslvr) == sorted(mtslvr.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'embed'"):
        _ = mtslvr.embed


@pytest.mark.slow
def test_no_global_state_is_touched() -> None:
    code = """
import random, numpy, torch, mtslvr
random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
before = random.random(), numpy.random.random(), torch.rand(1).item()
random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
clips = [(numpy.sin(k * numpy.arange(8000, dtype="float32")), 16000) for k in (0.1, 0.11, 0.5, 0.51)]
classifier = mtslvr.fit_fewshot(clips, ["low", "low", "high", "high"])
classifier.report(), classifier.predict_proba(clips), mtslvr.MTSLVR.from_pretrained().embed(clips[0])
assert before == (random.random(), numpy.random.random(), torch.rand(1).item())
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)


def test_every_demo_recording_is_credited() -> None:
    demo = ROOT / "mtslvr" / "assets" / "demo"
    sources = (demo / "SOURCES.md").read_text()
    recordings = sorted(demo.glob("*/*.ogg"))
    assert len(recordings) == 30
    for path in recordings:
        assert f"`{path.parent.name}/{path.name}`" in sources


def test_links_between_documents_lead_somewhere() -> None:
    for path in [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "training").glob("*.md"),
    ]:
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
            if not target.startswith("http"):
                assert (path.parent / target).exists(), f"{path.name}: {target}"
