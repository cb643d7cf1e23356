"""The gate: python -m tests. Format, lint, types, documentation, tests; CI runs this same command.

torchaudio is the reference of some tests. Its release needs CUDA libraries that a CPU build of torch lacks, but its Python code does not: it is
installed into a folder of its own without them, for the tests alone. Further arguments go to pytest.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TORCHAUDIO = ROOT / "build" / "torchaudio-2.11.0"


def call(*command: str) -> None:
    print("$", *command, flush=True)
    if code := subprocess.call(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(TORCHAUDIO)}):
        sys.exit(code)


def main() -> None:
    python = sys.executable
    if not TORCHAUDIO.exists():
        call(python, "-m", "pip", "install", "-q", "--no-deps", "--target", str(TORCHAUDIO), "torchaudio==2.11.0")
        for library in (TORCHAUDIO / "torchaudio" / "lib").glob("*.so"):
            library.unlink()
    call(python, "-m", "ruff", "format", "--check", ".")
    call(python, "-m", "ruff", "check", ".")
    call(python, "-m", "mypy")
    call(python, "-m", "sphinx", "-q", "-E", "-n", "-W", "--keep-going", "-c", "docs", ".", "build/docs")
    call(python, "-m", "pytest", *sys.argv[1:])


if __name__ == "__main__":
    main()
