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

from mtslvr.storage.folder import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, read

# The Hub's client is imported where it is used: loading a folder does not wait for it.

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+", re.ASCII)  # a loose shape; the client checks the details
_COMMIT = re.compile(r"[0-9a-f]{40}")

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

    from huggingface_hub import HfApi, constants, errors, hf_hub_download

    repo_id = str(name_or_path)
    revision = revision or constants.DEFAULT_REVISION

    def snapshot(*, offline: bool) -> Path:
        """The cache's folder of one commit: the configuration's, from which the weights are then taken."""
        options: dict[str, Any] = {
            "token": token,
            "cache_dir": cache_dir,
            "force_download": force_download,
            "local_files_only": offline,
        }
        commit = Path(hf_hub_download(repo_id, CONFIG_FILE, revision=revision, **options)).parent.name
        return Path(hf_hub_download(repo_id, WEIGHTS_FILE, revision=commit, **options)).parent

    with _explained(repo_id, revision):
        if local_files_only or (_COMMIT.fullmatch(revision) and not force_download):
            try:
                return snapshot(offline=True)
            except errors.LocalEntryNotFoundError:
                if local_files_only:
                    raise
        # One plain question first: without a network it fails at once, where a download retries for half a minute.
        try:
            HfApi().model_info(repo_id, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT, token=token)
        except _client_errors() as error:
            if force_download or _refused(error):
                raise
            try:
                folder = snapshot(offline=True)
            except errors.LocalEntryNotFoundError:
                raise error from None
            if not isinstance(error, errors.OfflineModeIsEnabled):
                _log.warning("the Hub cannot be reached: using the cached commit %s of %s", folder.name, repo_id)
            return folder
        return snapshot(offline=False)


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


@contextmanager
def _explained(repo_id: str, revision: str) -> Iterator[None]:
    """Turn what the Hub's client raises into a ValueError or OSError that says what to do."""
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{repo_id}"
    login = "pass token= or log in with `hf auth login`"
    try:
        yield
    except errors.HFValidationError as error:
        raise ValueError(f"{repo_id!r} is not a Hub id 'owner/name': {error}") from error
    except errors.LocalEntryNotFoundError as error:  # first: in older clients it is an EntryNotFoundError too
        raise FileNotFoundError(
            f"{repo_id} at revision {revision!r} is not in the cache and was not fetched: {_reason(error)}"
        ) from error
    except errors.GatedRepoError as error:
        raise ValueError(f"{repo_id} is gated: accept its terms at {page}, then {login}") from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(f"no repository {page}, or it is private: check the name, or {login}") from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(f"{repo_id} has no revision {revision!r}: its branches and tags are at {page}") from error
    except errors.EntryNotFoundError as error:
        raise ValueError(
            f"{repo_id} is not an mtslvr model: at revision {revision!r} it lacks {CONFIG_FILE} or {WEIGHTS_FILE}"
        ) from error
    except _client_errors() as error:
        if _refused(error):
            raise ValueError(
                f"the Hub refused {repo_id}: {_reason(error)}. Check the token's rights, or {login}"
            ) from error
        if isinstance(error, OSError) and error.errno is not None:
            raise  # from this machine, such as a full disk
        raise ConnectionError(
            f"no working connection to the Hub for {repo_id} at revision {revision!r}: {_reason(error)}. Try again, or "
            "check the network, HF_ENDPOINT and HF_HUB_OFFLINE; without the Hub, only folders and cached models load"
        ) from error


def _client_errors() -> tuple[type[Exception], ...]:
    """What the Hub's client raises: its own errors, those of the HTTP library it is built on, a login page for JSON."""
    from huggingface_hub.errors import HfHubHTTPError

    # The library differs by version (requests, httpx, httpx2): its base error is found as a base of the client's.
    return (OSError, json.JSONDecodeError, *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)))


def _refused(error: Exception) -> bool:
    """Whether the Hub answered and said no, which a second try or a cached copy would not cure."""
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return 400 <= error.response.status_code < 500 and error.response.status_code not in (408, 429)
    return isinstance(error, errors.LocalTokenNotFoundError)


def _reason(error: Exception) -> str:
    """The client's own words, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(".")
