"""The Hub's client: how long it is waited for, and what is told of what it raises."""

from __future__ import annotations

import json
import queue
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from mtslvr.storage.folder import CONFIG_FILE, WEIGHTS_FILE

T = TypeVar("T")


def watched(work: Callable[[], T], limit: float, progress: Callable[[], object] = lambda: None) -> T:
    """What `work` returns, or raises. The client waits for each byte anew: one that comes now and then would hold it for ever.

    Args:
        limit: seconds in which it must end, or `progress` give another value.

    Raises:
        TimeoutError: it did neither. The work goes on in a thread that ends with the process.
    """
    done: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put((True, work()))
        except BaseException as error:
            done.put((False, error))

    threading.Thread(target=run, daemon=True).start()
    seen = progress()
    while True:
        try:
            succeeded, result = done.get(timeout=limit)
        except queue.Empty:
            if (now := progress()) == seen:
                raise TimeoutError(f"the Hub sent next to nothing for {limit:g} s") from None
            seen = now
            continue
        if succeeded:
            return cast("T", result)
        raise result


@contextmanager
def explained(repo_id: str, revision: str) -> Iterator[None]:
    """Turn what the Hub's client raises into a ValueError or OSError that says what to do, and repeats no secret."""
    from huggingface_hub import constants

    try:
        yield
    except client_errors() as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # from this machine, such as a full disk
        told = _told(error, repo_id, revision)
        raise told from (error if _safe(constants.ENDPOINT) == constants.ENDPOINT else None)


def _told(error: Exception, repo_id: str, revision: str) -> Exception:
    """What to raise in place of an error of the Hub's client."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError):
        if not isinstance(error.__cause__, client_errors()):
            return FileNotFoundError(f"{repo_id} at revision {revision!r} is not in the cache and was not fetched")
        error = error.__cause__  # what the Hub answered to a file
    status = f" (HTTP {_status(error)})" if _status(error) else ""
    page = _safe(f"{constants.ENDPOINT}/{repo_id}")
    login = "pass token= or log in with `hf auth login`"
    if isinstance(error, errors.HFValidationError):
        return ValueError(f"{repo_id!r} is not a Hub id 'owner/name': {_reason(error)}")
    if isinstance(error, errors.GatedRepoError):
        return ValueError(f"{repo_id} is gated{status}: accept its terms at {page}, then {login}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return ValueError(f"no repository {page}, or it is private{status}: check the name, or {login}")
    if isinstance(error, errors.RevisionNotFoundError):
        return ValueError(f"{repo_id} has no revision {revision!r}{status}: its branches and tags are at {page}")
    if isinstance(error, errors.EntryNotFoundError):
        lacks = f"at revision {revision!r} it lacks {CONFIG_FILE} or {WEIGHTS_FILE}"
        return ValueError(f"{repo_id} is not an mtslvr model: {lacks}{status}")
    if refused(error):
        return ValueError(f"the Hub refused {repo_id}{status}: {_reason(error)}. Check the token's rights, or {login}")
    if _status(error) == 429:
        return ConnectionError(f"the Hub has had too many requests{status}: wait some minutes, or {login}")
    return ConnectionError(
        f"no working connection to the Hub for {repo_id} at revision {revision!r}{status}: {_reason(error)}. Try again, or "
        "check the network, HF_ENDPOINT and HF_HUB_OFFLINE; without the Hub, only folders and cached models load"
    )


def client_errors() -> tuple[type[Exception], ...]:
    """What the Hub's client raises: its own errors, those of the HTTP library it is built on, a login page for JSON."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # The library differs by version (requests, httpx, httpx2): its base error is found as a base of the client's.
    library = (base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception))
    return (OSError, json.JSONDecodeError, HFValidationError, *library)


def _status(error: Exception) -> int | None:
    """The HTTP status that the Hub answered with, if it answered."""
    return getattr(getattr(error, "response", None), "status_code", None)


def refused(error: Exception) -> bool:
    """Whether the Hub answered and said no, which a second try or a cached copy would not cure."""
    from huggingface_hub import errors

    status = _status(error)
    return isinstance(error, errors.LocalTokenNotFoundError) or (
        status is not None and 400 <= status < 500 and status not in (408, 429)
    )


def _reason(error: Exception) -> str:
    """The client's own words, on one line."""
    return _safe(" ".join(f"{type(error).__name__}: {error}".split()))[:300].rstrip(".")


def _safe(text: str) -> str:
    """Without the passwords in addresses."""
    return re.sub(r"//[^/\s]*@", "//***@", text)
