"""The one thing that the tests need and pip cannot install for them: python -m tests.setup, once in a checkout.

torchaudio's filterbank, resampling and effects are the reference of some tests. Its wheel links to CUDA libraries of one release of torch, but its
Python code runs beside any torch. So the wheel is downloaded, and its Python code alone unpacked into build/, where only the tests find it.
Nothing is installed. Without this step the tests that compare with torchaudio are skipped, and say so.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSION = "2.11.0"
TORCHAUDIO = Path(__file__).parent.parent / "build" / f"torchaudio-{VERSION}"


def main() -> int:
    """-> exit code: 0 if torchaudio's Python code is in its place."""
    if TORCHAUDIO.exists():
        print(f"torchaudio {VERSION} is set up already, in {TORCHAUDIO}")
        return 0
    TORCHAUDIO.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TORCHAUDIO.parent) as folder:
        download = ["download", "-q", "--no-deps", "--only-binary", ":all:", "-d", folder, f"torchaudio=={VERSION}"]
        if code := subprocess.call([sys.executable, "-m", "pip", *download]):
            print(f"torchaudio {VERSION} could not be downloaded; the tests that compare with it are skipped")
            return code
        unpacked = Path(folder) / "unpacked"
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            wheel.extractall(unpacked, [name for name in wheel.namelist() if name.endswith(".py")])
        unpacked.rename(TORCHAUDIO)
    print(f"torchaudio {VERSION}: its Python code is in {TORCHAUDIO}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
