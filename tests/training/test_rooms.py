"""The rooms of training/: imports go one way, without circles; nobody imports a study."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "training"
ROOMS = (  # a module imports only from rooms before its own, and within its room never in a circle
    {"augment"},
    {"corpus"},
    {"evaluation"},
    {
        "config",
        "objectives",
        "learner",
        "views",
        "run",
        "finish",
        "precision",
        "teachers",
        "readout",
        "pretrain",
    },
    {"studies"},
)
MODULES = {
    ".".join(path.relative_to(FOLDER).with_suffix("").parts): path
    for path in sorted(FOLDER.rglob("*.py"))
    if path.name != "__main__.py"
}


def imports(path: Path) -> set[str]:
    """The modules of training that a file imports, wherever in it, also for types alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in names if name.removeprefix("training.") in MODULES} or {node.module}
    return {name.removeprefix("training.") for name in found if name.startswith("training.")}


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    level_of = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
    room = module.split(".")[0]
    for name in imports(MODULES[module]):
        other = name.split(".")[0]
        assert level_of[other] < level_of[room] or other == room or level_of[room] == 3 == level_of[other], (
            f"{module} imports {name}"
        )


def test_imports_have_no_circles() -> None:
    graph = {module: imports(path) for module, path in MODULES.items()}
    assert tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_the_package_never_imports_training() -> None:
    for path in (FOLDER.parent / "mtslvr").rglob("*.py"):
        assert not imports(path), path
