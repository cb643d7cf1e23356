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
    | {"fewshot.labels", "fewshot.linear", "fewshot.novelty", "fewshot.report"},
    1: {"adapters", "packed"},
    2: {"convert", "config"},
    3: {"bulk", "model", "exported", "export"},
    4: {"fewshot.examples", "fewshot.saved", "fewshot.classifier", "fewshot"},
    5: {"cache", "embedder", "events", "hear", "learning_curve", "parts", "web.view"},
    6: {"demo", "integrations", "web", "web.lesson", "web.page", "commands", "cli", "__init__", "__main__"},
}
WITHIN_LAYER = {
    "sources": {"decode"},
    "audio": {"sources", "decode"},
    "hub": {"folder"},
    "model": {"bulk", "exported"},
    "bulk": {"model"},  # for its type
    "fewshot": {"fewshot.classifier"},
    "fewshot.linear": {"fewshot.labels"},
    "fewshot.novelty": {"fewshot.linear"},
    "fewshot.report": {"fewshot.linear"},
    "fewshot.classifier": {"fewshot.examples", "fewshot.saved"},
    "fewshot.saved": {"fewshot.examples", "fewshot.classifier"},
    "exported": {"model"},
    "export": {"model"},
    "embedder": {"cache"},
    "__main__": {"cli"},
    "cli": {"commands"},
    "commands": {"demo", "web"},
    "web": {"web.page"},
    "web.page": {"demo", "web.lesson"},
}
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


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    layer_of = {name: layer for layer, names in LAYERS.items() for name in names}
    found = imports(MODULES[module])
    for name in {name.removeprefix("mtslvr.") for name in found if name.startswith("mtslvr.")}:
        lower = layer_of[name] < layer_of[module]
        assert lower or name in WITHIN_LAYER.get(module, set()), f"{module} imports {name}"
    assert not {name.split(".")[0] for name in found} & {"training", "torchaudio", "joblib"}


def test_only_convert_reads_pickles() -> None:
    users = {name for name, path in MODULES.items() if re.search(r"torch\.load|\bpickle\b|joblib", path.read_text())}
    assert users - {"folder"} == {"convert"}  # folder only says that it does not
    assert "weights_only=True" in MODULES["convert"].read_text()


def test_public_names() -> None:
    for name in MODULES:
        if name not in ("__init__", "__main__"):
            importlib.import_module(f"mtslvr.{name}")
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
