"""The rules of the house that a machine can check."""

import ast
import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

import mtslvr

ROOT = Path(__file__).parent.parent
LAYERS = {  # a module imports only from layers before its own
    0: {"decode", "sources", "audio", "frontend", "resnet", "folder", "hub", "table", "card", "files"}
    | {"labels", "linear", "novelty", "report"},
    1: {"adapters"},
    2: {"convert", "config"},
    3: {"bulk", "model", "exported", "export"},
    4: {"examples", "fewshot_folder", "fewshot"},
    5: {"cache", "embedder", "events", "learning_curve", "parts"},
    6: {"demo", "commands", "cli", "__init__", "__main__"},
}
WITHIN_LAYER = {
    "sources": {"decode"},
    "audio": {"sources", "decode"},
    "hub": {"folder"},
    "model": {"bulk", "exported"},
    "bulk": {"model"},  # for its type
    "linear": {"labels"},
    "novelty": {"linear"},
    "report": {"linear"},
    "fewshot": {"examples", "fewshot_folder"},
    "fewshot_folder": {"examples", "fewshot"},
    "exported": {"model"},
    "export": {"model"},
    "embedder": {"cache"},
    "__main__": {"cli"},
    "cli": {"commands"},
    "commands": {"demo"},
}
MODULES = sorted((ROOT / "mtslvr").glob("*.py"))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | (
                {f"mtslvr.{alias.name}" for alias in node.names} if node.module == "mtslvr" else set()
            )
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports_go_one_way(path: Path) -> None:
    layer_of = {name: layer for layer, names in LAYERS.items() for name in names}
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("mtslvr.")}
    for name in ours - {"__version__"}:
        lower = layer_of[name] < layer_of[path.stem]
        assert lower or name in WITHIN_LAYER.get(path.stem, set()), f"{path.stem} imports {name}"
    assert not {name.split(".")[0] for name in imports(path)} & {"training", "torchaudio", "joblib"}


def test_only_convert_reads_pickles() -> None:
    users = {path.stem for path in MODULES if re.search(r"torch\.load|\bpickle\b|joblib", path.read_text())}
    assert users - {"folder"} == {"convert"}  # folder only says that it does not
    assert "weights_only=True" in (ROOT / "mtslvr" / "convert.py").read_text()


def test_public_names() -> None:
    for path in MODULES:
        if path.stem not in ("__init__", "__main__"):
            importlib.import_module(f"mtslvr.{path.stem}")
    for name in mtslvr.__all__:  # a module of the same name, once imported, would be found in its place
        assert not isinstance(getattr(mtslvr, name), ModuleType)
    assert dir(mtslvr) == sorted(mtslvr.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'embed'"):
        _ = mtslvr.embed


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
