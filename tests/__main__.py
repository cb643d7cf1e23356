"""The gate. CI runs the same command.

python -m tests            sets up the reference of some tests (tests/setup.py), then format, lint, types, documentation, and all tests
python -m tests --fast     format, lint, types, and the tests that are not marked slow, on all cores

Further arguments go to pytest: python -m tests --fast tests/encoder -k alone
"""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PARALLEL = ("-n", "auto") if importlib.util.find_spec("xdist") else ()
SITE = ("sphinx", "-q", "-E", "-n", "-W", "--keep-going", "-c", "docs", ".", "build/docs")


def call(*module: str) -> int:
    """Run `python -m ...` in the root of the repository -> its exit code."""
    print("$ python -m", *module, flush=True)
    start = time.monotonic()
    code = subprocess.call([sys.executable, "-m", *module], cwd=ROOT)
    print(f"  {'ok' if code == 0 else 'FAILED'}, {time.monotonic() - start:.0f} s", flush=True)
    return code


def main(arguments: list[str]) -> int:
    """-> exit code of the first step that fails, or 0."""
    fast = "--fast" in arguments
    selection = [argument for argument in arguments if argument != "--fast"]
    if fast:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core per process
    else:
        call("tests.setup")  # without a network its tests are skipped, and the others run
    checks = [("ruff", "format", "--check", "."), ("ruff", "check", "."), ("mypy",)]
    tests = ("pytest", *(("-m", "not slow", *PARALLEL) if fast else ()), *selection)
    for step in (*checks, *(() if fast else (SITE,)), tests):
        if code := call(*step):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
