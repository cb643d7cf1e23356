"""The one writer of files: each is there whole or not at all. And folders that one process writes at a time.

Temporary files are made anew under names of their own, so that two writers never share one, and no link that lies in wait
is followed. A kill may leave one behind: `.mtslvr-*.tmp*` can be deleted wherever nothing runs.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where folders cannot be locked so
    fcntl = None  # type: ignore[assignment]


@contextmanager
def whole(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary file beside `path`, empty, which takes its place once it is written; its name has the same suffix.

    Args:
        durable: make sure that a power cut leaves no name without its content. False where whoever reads the file can tell.

    Raises:
        OSError: it cannot be written.
    """
    with _temporary(path) as temporary:
        yield temporary
        if durable:
            _sync(temporary)
        os.replace(temporary, path)


def write(contents: Mapping[Path, bytes], *, durable: bool = True) -> None:
    """Write files, each whole or not at all. None takes its place before all are written; then they do in this order.

    Raises:
        OSError: one cannot be written.
    """
    with ExitStack() as stack:
        written = {path: stack.enter_context(_temporary(path)) for path in contents}
        for path, temporary in written.items():
            temporary.write_bytes(contents[path])
            if durable:
                _sync(temporary)
        for path, temporary in written.items():
            os.replace(temporary, path)


@contextmanager
def locked(folder: Path, doing: str) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if need be, until the block ends, be it by a kill.

    Where the system has no such locks (Windows, some network drives) nobody is kept out.

    Args:
        doing: what the message says of the other process.

    Raises:
        ValueError: another process has the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ValueError(f"another process is {doing} {folder}: wait until it ends, or write elsewhere") from error
    except OSError:
        pass  # a drive without locks
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    temporary = path.with_name(f".mtslvr-{secrets.token_hex(8)}.tmp{path.suffix}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file)
