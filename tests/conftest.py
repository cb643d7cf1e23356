"""What tests of several rooms share."""

import sys
from types import ModuleType

import pytest
from setup import TORCHAUDIO

if TORCHAUDIO.exists():
    sys.path.insert(0, str(TORCHAUDIO))


@pytest.fixture(scope="session")
def torchaudio() -> ModuleType:
    """The reference of some tests, set up by python -m tests.setup."""
    try:
        import torchaudio
    except (ImportError, OSError):
        pytest.skip("needs torchaudio's Python code: python -m tests.setup")
    return torchaudio
