"""Fetch model folders from the Hugging Face Hub, and push them there.

`resolve` turns the name of a folder or of a Hub repository into a folder on this disk, for `folder.read`.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mtslvr.storage import atomic
from mtslvr.storage.folder import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, read, shortened

# The Hub's client is imported where it is used: loading a folder does not wait for it.

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+", re.ASCII)  # a loose shape; the client checks the details
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"\w[\w./@+=#-]{0,249}")
_TOKEN = re.compile(r"[!-~]+")

_log = logging.getLogger(__name__)


def resolve(
    name_or_path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
) -> Path:
    """Find a model folder: one on this disk, or a Hub repository, downloaded into the cache.

    A string names an existing folder or else a Hub id "owner/name"; a Path is always a folder on this disk. All files
    of a repository come from one commit, even if its branch moves meanwhile. A commit in the cache needs no network,
    and without a network (or with HF_HUB_OFFLINE=1) a branch or tag means the commit it was last seen at.

    Args:
        revision: branch, tag or commit (40 hex digits) of a Hub repository; "main" by default.
        token: of a Hub account; None takes the one saved by `hf auth login`, False sends none.
        cache_dir: where downloads are kept; the Hub's shared cache by default.
        force_download: download again what the cache holds.
        local_files_only: ask nothing of the network.

    Raises:
        ValueError: no such folder, repository, revision or file; access refused (private or gated).
        OSError: the Hub cannot be reached, and the cache does not hold the model.
    """
    if (folder := _local_folder(name_or_path)) is not None:
        if revision is not None:
            raise ValueError(f"revision={revision!r} is for Hub repositories, and {name_or_path} is a folder: drop it")
        return folder
    if force_download and local_files_only:
        raise ValueError("force_download=True and local_files_only=True contradict each other: drop one of them")

    _check_revision(revision)
    _check_token(token)

    from huggingface_hub import HfApi, constants, errors, hf_hub_download

    repo_id = str(name_or_path)
    revision = revision or constants.DEFAULT_REVISION

    def snapshot(commit: str, *, offline: bool) -> Path:
        """The cache's folder of one commit; offline also of a branch or tag, as it was last seen."""
        options: dict[str, Any] = {
            "token": token,
            "cache_dir": cache_dir,
            "force_download": force_download,
            "local_files_only": offline,
        }
        folder = Path(hf_hub_download(repo_id, CONFIG_FILE, revision=commit, **options)).parent
        return Path(hf_hub_download(repo_id, WEIGHTS_FILE, revision=folder.name, **options)).parent

    with _explained(repo_id, revision):
        if local_files_only or (_COMMIT.fullmatch(revision) and not force_download):
            try:
                return snapshot(revision, offline=True)
            except errors.LocalEntryNotFoundError:
                if local_files_only:
                    raise
        # One plain question first: without a network it fails at once, where a download retries for half a minute. Its answer
        # names the commit that all files are of: a branch may move between two requests.
        try:
            api = HfApi()
            commit = api.model_info(repo_id, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT, token=token).sha
        except _client_errors() as error:
            if force_download or _refused(error):
                raise
            try:
                folder = snapshot(revision, offline=True)
            except errors.LocalEntryNotFoundError:
                raise error from None
            if not isinstance(error, errors.OfflineModeIsEnabled):
                _log.warning("the Hub cannot be reached: using the cached commit %s of %s", folder.name, repo_id)
            return folder
        except (TypeError, AttributeError, KeyError, RecursionError) as error:  # JSON, but not the Hub's
            raise ConnectionError(f"the answer to {repo_id} is not the Hub's: check HF_ENDPOINT") from error
        if not _COMMIT.fullmatch(str(commit)):
            raise ConnectionError(f"the answer to {repo_id} names no commit: check HF_ENDPOINT")
        folder = snapshot(str(commit), offline=False)
        if revision != commit:  # remembered as the client does, for when there is no network
            reference = folder.parents[1] / "refs" / revision
            reference.parent.mkdir(parents=True, exist_ok=True)
            atomic.write({reference: str(commit).encode()})
        return folder


def push(
    repo_id: str,
    folder: str | os.PathLike[str],
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str = "Upload model",
) -> str:
    """Upload a model folder's three files to the Hub as one commit, creating the repository if need be.

    Args:
        private: of a new repository; None takes the account's default.
        revision: the branch, created if need be; "main" by default.

    Returns:
        The commit, 40 hex digits: `resolve(repo_id, revision=commit)` gets exactly these files.

    Raises:
        ValueError: the folder is not a model folder; access refused; private=True, but the repository is public.
        OSError: the Hub cannot be reached.
    """
    if not _HUB_ID.fullmatch(repo_id):
        raise ValueError(f"{repo_id!r} is not a Hub id: expected 'owner/name'")
    _check_revision(revision)
    _check_token(token)
    read(folder)  # nothing broken leaves this machine

    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with _explained(repo_id, revision or "main"):
        api.create_repo(repo_id, private=private, exist_ok=True)
        if private and api.model_info(repo_id).private is False:
            raise ValueError(f"{repo_id} exists and is public: make it private on its settings page, or push elsewhere")
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=Path(folder),
            revision=revision,
            commit_message=commit_message,
            allow_patterns=[CONFIG_FILE, WEIGHTS_FILE, CARD_FILE],  # and nothing else that lies in the folder
        )
    return commit.oid


def _local_folder(name_or_path: str | os.PathLike[str]) -> Path | None:
    """The existing folder that is meant, or None for a Hub id.

    Raises:
        ValueError: it can be neither, or is a path to nothing or to a file.
    """
    path = Path(name_or_path).expanduser()
    if name_or_path != "":  # which Path would take for the current folder
        if path.is_dir():
            return path
        if path.exists():
            raise ValueError(f"{path} is a file: give the folder that holds {CONFIG_FILE} and {WEIGHTS_FILE}")
        if isinstance(name_or_path, str) and _HUB_ID.fullmatch(name_or_path):
            return None
    raise ValueError(f"no such folder: {str(name_or_path)!r}; a model on the Hub is written 'owner/name'")


def _check_revision(revision: str | None) -> None:
    """Raises ValueError: no name that a branch, tag or commit can have."""
    if revision is not None and (not _REVISION.fullmatch(str(revision)) or ".." in revision):
        raise ValueError(
            f"revision is {shortened(repr(revision))}: expected a branch, a tag or the 40 digits of a commit"
        )


def _check_token(token: str | bool | None) -> None:
    """Raises ValueError: it cannot be sent. The message does not repeat it."""
    if isinstance(token, str) and not _TOKEN.fullmatch(token):
        raise ValueError(
            "the token is empty, or has a space, a line end or a letter that no token has: try token.strip()"
        )


@contextmanager
def _explained(repo_id: str, revision: str) -> Iterator[None]:
    """Turn what the Hub's client raises into a ValueError or OSError that says what to do, and repeats no secret."""
    from huggingface_hub import constants

    try:
        yield
    except _client_errors() as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # from this machine, such as a full disk
        told = _told(error, repo_id, revision)
        raise told from (error if _safe(constants.ENDPOINT) == constants.ENDPOINT else None)


def _told(error: Exception, repo_id: str, revision: str) -> Exception:
    """What to raise in place of an error of the Hub's client."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError):
        if not isinstance(error.__cause__, _client_errors()):
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
    if _refused(error):
        return ValueError(f"the Hub refused {repo_id}{status}: {_reason(error)}. Check the token's rights, or {login}")
    if _status(error) == 429:
        return ConnectionError(f"the Hub has had too many requests{status}: wait some minutes, or {login}")
    return ConnectionError(
        f"no working connection to the Hub for {repo_id} at revision {revision!r}{status}: {_reason(error)}. Try again, or "
        "check the network, HF_ENDPOINT and HF_HUB_OFFLINE; without the Hub, only folders and cached models load"
    )


def _client_errors() -> tuple[type[Exception], ...]:
    """What the Hub's client raises: its own errors, those of the HTTP library it is built on, a login page for JSON."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # The library differs by version (requests, httpx, httpx2): its base error is found as a base of the client's.
    library = (base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception))
    return (OSError, json.JSONDecodeError, HFValidationError, *library)


def _status(error: Exception) -> int | None:
    """The HTTP status that the Hub answered with, if it answered."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _refused(error: Exception) -> bool:
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
