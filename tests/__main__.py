"""The gate: python -m tests. Format, lint, types, version, tests; CI runs this same command.

torchaudio is the reference of some tests. Its release needs CUDA libraries that a CPU build of torch lacks, but its Python code does not: it is
installed into a folder of its own without them, for the tests alone. Further arguments go to pytest.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import mtslvr

ROOT = Path(__file__).parent.parent
TORCHAUDIO = ROOT / "build" / "torchaudio-2.11.0"


def call(*command: str) -> None:
    print("$", *command, flush=True)
    if code := subprocess.call(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(TORCHAUDIO)}):
        sys.exit(code)


def main() -> None:
    changelog = re.search(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    if changelog is None or changelog[1] != mtslvr.__version__:
        sys.exit(f"CHANGELOG.md begins with {changelog and changelog[1]}, the version is {mtslvr.__version__}")
    python = sys.executable
    if not TORCHAUDIO.exists():
        call(python, "-m", "pip", "install", "-q", "--no-deps", "--target", str(TORCHAUDIO), "torchaudio==2.11.0")
        for library in (TORCHAUDIO / "torchaudio" / "lib").glob("*.so"):
            library.unlink()
    call(python, "-m", "ruff", "format", "--check", ".")
    call(python, "-m", "ruff", "check", ".")
    call(python, "-m", "mypy")
    call(python, "-m", "pytest", *sys.argv[1:])


if __name__ == "__main__":
    main()
