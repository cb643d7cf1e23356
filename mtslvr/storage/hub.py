"""Fetch model folders from the Hugging Face Hub, and push them there.

`resolve` turns the name of a folder or of a Hub repository into a folder on this disk, for `folder.read`.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

from mtslvr.storage import atomic
from mtslvr.storage.assets import MODELS
from mtslvr.storage.folder import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, read, shortened
from mtslvr.storage.hub_client import client_errors, explained, refused, watched

# The Hub's client is imported where it is used: loading a folder does not wait for it.

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+", re.ASCII)  # a loose shape; the client checks the details
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"\w[\w./@+=#-]{0,249}")
_TOKEN = re.compile(r"[!-~]+")

ANSWERED = 60.0  # seconds that the answer to a question may take
STALLED = 600.0  # seconds in which a part of a download, 10 MB, must come

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
        blobs = (
            Path(cache_dir or constants.HF_HUB_CACHE).expanduser() / f"models--{repo_id.replace('/', '--')}" / "blobs"
        )

        def written() -> object:
            return {(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in blobs.glob("*")}

        def fetch(file: str, commit: str) -> Path:
            return Path(watched(lambda: hf_hub_download(repo_id, file, revision=commit, **options), STALLED, written))

        folder = fetch(CONFIG_FILE, commit).parent
        return fetch(WEIGHTS_FILE, folder.name).parent

    with explained(repo_id, revision):
        if local_files_only or (_COMMIT.fullmatch(revision) and not force_download):
            try:
                return snapshot(revision, offline=True)
            except errors.LocalEntryNotFoundError:
                if local_files_only:
                    raise
        # One plain question first: without a network it fails at once, where a download retries for half a minute. Its answer
        # names the commit that all files are of: a branch may move between two requests.
        try:
            wait: dict[str, Any] = {"timeout": constants.HF_HUB_ETAG_TIMEOUT, "token": token}
            commit = watched(lambda: HfApi().model_info(repo_id, revision=revision, **wait), ANSWERED).sha
        except client_errors() as error:
            if force_download or refused(error):
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
    with explained(repo_id, revision or "main"):
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
    raise ValueError(
        f"no such folder: {str(name_or_path)!r} (models in the package: {', '.join(MODELS)}; on the Hub: 'owner/name')"
    )


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
