"""A Hugging Face Hub on this machine's loopback, for the real client: the few routes that downloads and pushes use.

with LoopbackHub() as hub:
    commit = hub.commit("me/model", {"config.json": b"{}"})
    with Client(hub.url, home=tmp_path) as client:       # HF_ENDPOINT is read at import: a process of its own
        outcome = client.call("mtslvr.storage.hub:resolve", "me/model")
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_loopback"  # the one account's, which may do anything


@dataclass
class Repository:
    private: bool = False
    gated: bool = False
    refs: dict[str, str] = field(default_factory=dict)  # branch or tag -> commit
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)  # commit -> path -> content


class LoopbackHub:
    """The Hub and, on another port, its CDN. Attributes set the behaviour of the requests that follow."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []  # "METHOD /path", with " Range" after it where one was asked for
        self.redirect: str | None = None  # weights come by a redirect to the "hub" or to the "cdn"
        self.break_after: int | None = None  # bytes after which the next download breaks off, once
        self.unavailable = False  # answer everything with 503
        self.pause = 0.0  # seconds between two bytes of a body
        self.answers: dict[str, tuple[int, bytes]] = {}  # "METHOD /path" -> status and body in place of the right ones
        self.on_request: dict[str, Any] = {}  # "METHOD /path" -> called once, before that request is answered
        self._servers = [self._serve(0), self._serve(0)]
        self._ports = [server.server_port for server in self._servers]
        # Two names of this machine: the client must take the CDN for another host, which gets no token.
        self.url, self.cdn = f"http://127.0.0.1:{self._ports[0]}", f"http://localhost:{self._ports[1]}"

    def __enter__(self) -> LoopbackHub:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def commit(
        self,
        repo_id: str,
        files: dict[str, bytes],
        *,
        branch: str = "main",
        private: bool = False,
        gated: bool = False,
    ) -> str:
        """Add a commit that changes these files on a branch. `private` and `gated` are for a new repository."""
        repository = self.repositories.setdefault(repo_id, Repository(private, gated))
        files = {**repository.commits.get(repository.refs.get(branch, ""), {}), **files}
        commit = hashlib.sha1(f"{repo_id} {len(repository.commits)}".encode()).hexdigest()
        repository.commits[commit] = files
        repository.refs[branch] = commit
        return commit

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections for a while."""
        self._stop()
        yield
        self._servers = [self._serve(port) for port in self._ports]

    def _serve(self, port: int) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"hub": self}))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def _stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        self.hub.requests.append(f"{self.command} {path}" + " Range" * ("Range" in self.headers))
        self.hub.on_request.pop(f"{self.command} {path}", lambda: None)()
        token = self.headers.get("Authorization")
        match [unquote(part) for part in path.strip("/").split("/")]:
            case _ if self.hub.unavailable:
                self._send(503)
            case _ if answer := self.hub.answers.get(f"{self.command} {path}"):
                self._send(answer[0], {"Content-Type": "application/json"}, answer[1])
            case ["cdn", commit, owner, name, file]:
                assert token is None or self.hub.redirect == "hub", "the client gave its token to the CDN"
                content = self.hub.repositories[f"{owner}/{name}"].commits[commit][file]
                self._download(content, {"ETag": '"of-the-cdn"', "X-Repo-Commit": commit})
            case _ if token not in (None, f"Bearer {TOKEN}"):
                self._send(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
            case ["api", "validate-yaml"]:
                self._json({"errors": [], "warnings": []})
            case ["api", "repos", "create"] if token is None:
                self._send(401, {"X-Error-Message": "Invalid username or password."})
            case ["api", "repos", "create"]:
                self._create(json.loads(body))
            case ["api", "models", owner, name, *rest]:
                self._api(f"{owner}/{name}", rest, body)
            case [owner, name, "resolve", revision, file]:
                self._file(f"{owner}/{name}", revision, file)
            case _:
                self._send(404)

    def _repository(self, repo_id: str) -> Repository | None:
        """The repository, unless it is missing or hidden from this client: then the answer is sent."""
        repository = self.hub.repositories.get(repo_id)
        if repository is None or (repository.private and "Authorization" not in self.headers):
            self._send(401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return None
        return repository

    def _create(self, wanted: dict[str, Any]) -> None:
        repo_id = f"{wanted['organization']}/{wanted['name']}"
        if repo_id.startswith("someone-else/"):
            return self._send(403, {"X-Error-Message": "You don't have the rights to create a model there"})
        if repo_id in self.hub.repositories:
            return self._json({"error": "You already created this model repo", "url": f"{self.hub.url}/{repo_id}"}, 409)
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.hub.commit(repo_id, {".gitattributes": b""}, private=private)
        self._json({"url": f"{self.hub.url}/{repo_id}"})

    def _api(self, repo_id: str, route: list[str], body: bytes) -> None:
        if (repository := self._repository(repo_id)) is None:
            return
        match route:
            case [] | ["revision", _]:
                revision = route[1] if route else "main"
                commit = revision if revision in repository.commits else repository.refs.get(revision)
                if commit is None:
                    return self._send(404, {"X-Error-Code": "RevisionNotFound"})
                self._json({"id": repo_id, "sha": commit, "private": repository.private, "siblings": []})
            case ["branch", branch]:
                repository.refs.setdefault(branch, repository.refs["main"])
                self._json({})
            case ["preupload", _]:
                paths = [file["path"] for file in json.loads(body)["files"]]
                self._json({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]})
            case ["commit", branch]:
                values = [item["value"] for line in body.splitlines() if (item := json.loads(line))["key"] == "file"]
                files = {value["path"]: base64.b64decode(value["content"]) for value in values}
                commit = self.hub.commit(repo_id, files, branch=branch)
                url = f"{self.hub.url}/{repo_id}/commit/{commit}"
                self._json({"success": True, "commitOid": commit, "commitUrl": url})
            case _:
                self._send(404)

    def _file(self, repo_id: str, revision: str, file: str) -> None:
        if (repository := self._repository(repo_id)) is None:
            return
        if repository.gated and "Authorization" not in self.headers:
            return self._send(403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        commit = revision if revision in repository.commits else repository.refs.get(revision)
        if commit is None:
            return self._send(404, {"X-Error-Code": "RevisionNotFound"})
        if (content := repository.commits[commit].get(file)) is None:
            return self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        etag = hashlib.sha256(content).hexdigest()
        if self.hub.redirect is None or not file.endswith(".safetensors"):
            return self._download(content, {"ETag": f'"{etag}"', "X-Repo-Commit": commit})
        location = f"{self.hub.cdn if self.hub.redirect == 'cdn' else self.hub.url}/cdn/{commit}/{repo_id}/{file}"
        linked = {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content)), "X-Repo-Commit": commit}
        self._send(302, {"Location": location, **linked})

    def _download(self, content: bytes, headers: dict[str, str]) -> None:
        start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0]) if "Range" in self.headers else 0
        if start:
            headers = {**headers, "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        breaks = self.command == "GET" and self.hub.break_after is not None
        end = self.hub.break_after if breaks else None
        self._send(206 if start else 200, headers, content[start:], end)
        if breaks:
            self.hub.break_after = None

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def _send(
        self, status: int, headers: dict[str, str] | None = None, body: bytes = b"", end: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and self.hub.pause:
            try:
                for byte in body[:end]:
                    self.wfile.write(bytes([byte]))
                    time.sleep(self.hub.pause)
            except OSError:  # the client had enough
                pass
        elif self.command != "HEAD":
            self.wfile.write(body[:end])


@dataclass(frozen=True)
class Outcome:
    """What a call in the client's process returned, or raised."""

    value: Any  # as JSON can hold it, or its str()
    error: str | None  # the names of the exception's class and its bases, by spaces
    message: str
    seconds: float


class Client:
    """A Python process whose huggingface_hub talks to one endpoint, with a home and a cache of its own."""

    def __init__(self, endpoint: str, home: Path, **environment: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        self.stderr = home / "stderr.txt"
        with open(self.stderr, "w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _WORKER],
                env={
                    **inherited,
                    "HF_ENDPOINT": endpoint,
                    "HF_HOME": str(home),
                    "HF_HUB_DISABLE_TELEMETRY": "1",
                    "HF_HUB_DISABLE_XET": "1",
                    "NO_PROXY": "127.0.0.1,localhost",
                    "no_proxy": "127.0.0.1,localhost",
                    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
                    **environment,
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def call(self, function: str, *args: Any, **kwargs: Any) -> Outcome:
        """Call "module:name" there. Arguments are what JSON can hold, or paths, which arrive as strings."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps([function, args, kwargs], default=str), file=self._process.stdin, flush=True)
        return Outcome(**json.loads(self._process.stdout.readline()))


_WORKER = """
import importlib, json, sys, time
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    function, args, kwargs = json.loads(line)
    module, name = function.split(":")
    call = getattr(importlib.import_module(module), name)
    start, value, error, message = time.perf_counter(), None, None, ""
    try:
        value = call(*args, **kwargs)
    except Exception as raised:
        error, message = " ".join(base.__name__ for base in type(raised).__mro__), str(raised)
    outcome = dict(value=value, error=error, message=message, seconds=time.perf_counter() - start)
    print(json.dumps(outcome, default=str), file=answers, flush=True)
"""
