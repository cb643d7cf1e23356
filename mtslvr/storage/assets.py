"""What lies inside the wheel."""

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).parents[1] / "assets"
MODELS = {name: ASSETS / name for name in ("default", "self-supervised")}
DEFAULT_MODEL = MODELS["default"]
DEMO_RECORDINGS = ASSETS / "demo"  # SOURCES.md beside them says whose they are
