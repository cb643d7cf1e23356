"""What lies inside the wheel."""

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).parents[1] / "assets"
DEFAULT_MODEL = ASSETS / "default"
DEMO_RECORDINGS = ASSETS / "demo"  # SOURCES.md beside them says whose they are
