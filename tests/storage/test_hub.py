"""mtslvr.storage.hub, through the real Hub client, against a Hub on the loopback."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from loopback_hub import TOKEN, Client, LoopbackHub, Outcome

from mtslvr.storage import folder
from mtslvr.storage.hub import resolve
from mtslvr.storage.hub_client import watched

NAME = "owner/model"
CONFIG = {"adapter": "parallel", "n": 1}
TENSORS = {"weight": torch.arange(6, dtype=torch.float16).reshape(2, 3)}


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture(scope="module")
def client(server: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Client(server.url, tmp_path_factory.mktemp("home")) as online:
        online.call("mtslvr.storage.hub:resolve", "owner/warm-up")  # imports the client, which is not to be timed
        yield online


@pytest.fixture(scope="module")
def offline(server: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Client(server.url, tmp_path_factory.mktemp("home"), HF_HUB_OFFLINE="1") as offline:
        offline.call("mtslvr.storage.hub:resolve", "owner/warm-up")
        yield offline


@pytest.fixture
def hub(server: LoopbackHub) -> LoopbackHub:
    """The same server, forgetful."""
    server.repositories.clear()
    server.requests.clear()
    server.answers.clear()
    server.on_request.clear()
    server.pause = 0.0
    server.redirect, server.break_after, server.unavailable = None, None, False
    return server


def model_files(tmp_path: Path, config: dict[str, object] = CONFIG, n_values: int = 0) -> dict[str, bytes]:
    tensors = {**TENSORS, **({"bulk": torch.arange(n_values, dtype=torch.float32)} if n_values else {})}
    folder.write(tmp_path / "made", config, tensors, "# a model\n")
    return {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}


def fetch(client: Client, cache: Path, name: str = NAME, **options: object) -> Outcome:
    return client.call("mtslvr.storage.hub:resolve", name, cache_dir=cache / "cache", **options)


def assert_holds_model(outcome: Outcome, commit: str, config: dict[str, object] = CONFIG) -> None:
    assert outcome.error is None, outcome.message
    assert Path(outcome.value).name == commit
    found, tensors = folder.read(outcome.value)
    assert found == config
    assert torch.equal(tensors["weight"], TENSORS["weight"])


def assert_raised(outcome: Outcome, error: str, message: str) -> None:
    """And soon: the bare client retries for 23 s."""
    assert error in (outcome.error or "").split(), outcome
    assert re.search(message, outcome.message), outcome
    assert outcome.seconds < 15


# Downloads


@pytest.mark.slow
@pytest.mark.parametrize("redirect", [None, "hub", "cdn"])
def test_download(hub: LoopbackHub, client: Client, tmp_path: Path, redirect: str | None) -> None:
    commit = hub.commit(NAME, model_files(tmp_path), private=True)
    hub.redirect = redirect

    assert_holds_model(fetch(client, tmp_path, token=TOKEN), commit)

    through_cdn = f"GET /cdn/{commit}/{NAME}/model.safetensors" in hub.requests
    assert through_cdn == (redirect is not None)


def test_revision_is_a_branch_a_tag_or_a_commit(hub: LoopbackHub, client: Client, tmp_path: Path) -> None:
    first = hub.commit(NAME, model_files(tmp_path, {"n": 1}))
    hub.repositories[NAME].refs["v1"] = first
    second = hub.commit(NAME, model_files(tmp_path, {"n": 2}))
    aside = hub.commit(NAME, model_files(tmp_path, {"n": 3}), branch="refs/pr/1")

    assert_holds_model(fetch(client, tmp_path), second, {"n": 2})
    assert_holds_model(fetch(client, tmp_path, revision="v1"), first, {"n": 1})
    assert_holds_model(fetch(client, tmp_path, revision="refs/pr/1"), aside, {"n": 3})
    assert_holds_model(fetch(client, tmp_path, revision=first), first, {"n": 1})


@pytest.mark.parametrize("moment", ["HEAD {}/config.json", "GET {}/config.json", "HEAD {}/model.safetensors"])
def test_all_files_come_from_one_commit(hub: LoopbackHub, client: Client, tmp_path: Path, moment: str) -> None:
    """The branch moves on between two requests."""
    first = hub.commit(NAME, model_files(tmp_path))
    other = model_files(tmp_path, {"n": 2})
    hub.on_request[moment.format(f"/{NAME}/resolve/{first}")] = lambda: hub.commit(NAME, other)

    assert_holds_model(fetch(client, tmp_path), first)

    assert len(hub.repositories[NAME].commits) == 2, "the branch did not move in between"
    assert_holds_model(fetch(client, tmp_path, revision=first), first)
    assert_holds_model(fetch(client, tmp_path), hub.repositories[NAME].refs["main"], {"n": 2})


def test_cache_is_used_again(hub: LoopbackHub, client: Client, tmp_path: Path) -> None:
    commit = hub.commit(NAME, model_files(tmp_path))
    assert_holds_model(fetch(client, tmp_path), commit)
    assert sum(request.startswith("GET /owner") for request in hub.requests) == 2

    hub.requests.clear()
    assert_holds_model(fetch(client, tmp_path), commit)
    assert not any(request.startswith("GET /owner") for request in hub.requests)

    hub.requests.clear()
    assert_holds_model(fetch(client, tmp_path, revision=commit), commit)
    assert_holds_model(fetch(client, tmp_path, local_files_only=True), commit)
    assert hub.requests == []

    assert_holds_model(fetch(client, tmp_path, force_download=True), commit)
    assert sum(request.startswith("GET /owner") for request in hub.requests) == 2


def test_branch_that_moved_is_fetched_anew(hub: LoopbackHub, client: Client, tmp_path: Path) -> None:
    hub.commit(NAME, model_files(tmp_path, {"n": 1}))
    fetch(client, tmp_path)
    second = hub.commit(NAME, model_files(tmp_path, {"n": 2}))
    assert_holds_model(fetch(client, tmp_path), second, {"n": 2})
    assert_holds_model(fetch(client, tmp_path, local_files_only=True), second, {"n": 2})


@pytest.mark.parametrize("redirect", [None, "cdn"])
def test_broken_download_resumes(hub: LoopbackHub, client: Client, tmp_path: Path, redirect: str | None) -> None:
    chunk = 10 * 2**20  # bytes; the client keeps whole chunks of a broken body
    commit = hub.commit(NAME, model_files(tmp_path, n_values=chunk // 4 + 500_000))
    hub.redirect = redirect
    path = f"/cdn/{commit}/{NAME}/model.safetensors" if redirect else f"/{NAME}/resolve/{commit}/model.safetensors"
    hub.on_request[f"GET {path}"] = lambda: setattr(hub, "break_after", chunk + 1000)

    outcome = fetch(client, tmp_path)
    if huggingface_hub.__version__.startswith("0."):  # resumes when asked again
        assert_raised(outcome, "ConnectionError", "Try again")
        outcome = fetch(client, tmp_path)

    assert_holds_model(outcome, commit)
    assert f"GET {path} Range" in hub.requests
    _, tensors = folder.read(outcome.value)
    assert torch.equal(tensors["bulk"], torch.arange(len(tensors["bulk"]), dtype=torch.float32))


def test_nothing_is_printed_into_a_pipe(hub: LoopbackHub, client: Client, tmp_path: Path) -> None:
    before = client.stderr.read_text()
    hub.commit(NAME, model_files(tmp_path))
    fetch(client, tmp_path)
    assert client.stderr.read_text() == before


# Without a network


@pytest.mark.slow
def test_offline_from_the_cache(hub: LoopbackHub, client: Client, offline: Client, tmp_path: Path) -> None:
    commit = hub.commit(NAME, model_files(tmp_path))
    hub.repositories[NAME].refs["v1"] = commit
    fetch(client, tmp_path)
    fetch(client, tmp_path, revision="v1")
    hub.requests.clear()

    for revision in (None, "main", "v1", commit):
        assert_holds_model(fetch(offline, tmp_path, revision=revision), commit)
    assert hub.requests == []


@pytest.mark.parametrize("revision", [None, "v1", "0" * 40])
def test_offline_and_not_cached(hub: LoopbackHub, offline: Client, tmp_path: Path, revision: str | None) -> None:
    outcome = fetch(offline, tmp_path, revision=revision)
    assert_raised(outcome, "ConnectionError", "HF_HUB_OFFLINE")
    assert hub.requests == []


def test_local_files_only_and_not_cached(hub: LoopbackHub, client: Client, tmp_path: Path) -> None:
    hub.commit(NAME, model_files(tmp_path))
    outcome = fetch(client, tmp_path, local_files_only=True)
    assert_raised(outcome, "OSError", "not in the cache")
    assert hub.requests == []
    outcome = fetch(client, tmp_path, local_files_only=True, force_download=True)
    assert_raised(outcome, "ValueError", "contradict")


def test_server_down(hub: LoopbackHub, client: Client, tmp_path: Path) -> None:
    commit = hub.commit(NAME, model_files(tmp_path))
    fetch(client, tmp_path)
    with hub.down():
        cached = fetch(client, tmp_path)
        outcomes = [fetch(client, tmp_path, revision=revision) for revision in ("v1", "0" * 40)]
        outcomes.append(fetch(client, tmp_path, force_download=True))
    assert_holds_model(cached, commit)
    for outcome in outcomes:
        assert_raised(outcome, "ConnectionError", "no working connection")
    assert "using the cached commit" in client.stderr.read_text()


def test_server_unavailable(hub: LoopbackHub, client: Client, tmp_path: Path) -> None:
    commit = hub.commit(NAME, model_files(tmp_path))
    fetch(client, tmp_path)
    hub.unavailable = True
    assert_holds_model(fetch(client, tmp_path), commit)
    outcome = fetch(client, tmp_path, name="owner/other")
    assert_raised(outcome, "ConnectionError", "503")


# Refusals


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("owner/missing", {}, "no repository"),
        (NAME, {"revision": "v9"}, "no revision 'v9'"),
        (NAME, {"revision": "0" * 40}, "no revision '0000"),
        ("owner/no-config", {}, "not an mtslvr model"),
        ("owner/no-weights", {}, "lacks config.json or model.safetensors"),
        ("owner/private", {}, r"private \(HTTP 401\): check the name, or pass token="),
        ("owner/private", {"token": "hf_wrong"}, r"the Hub refused owner/private \(HTTP 401\): .*Invalid credentials"),
        ("owner/gated", {}, "accept its terms at http.*/owner/gated"),
        ("owner/--model", {}, "not a Hub id"),
    ],
)
def test_refusals(
    hub: LoopbackHub, client: Client, tmp_path: Path, name: str, options: dict[str, str], message: str
) -> None:
    files = model_files(tmp_path)
    hub.commit(NAME, files)
    hub.commit("owner/private", files, private=True)
    hub.commit("owner/gated", files, gated=True)
    hub.commit("owner/no-config", {"model.safetensors": files["model.safetensors"]})
    hub.commit("owner/no-weights", {"config.json": files["config.json"], "pytorch_model.bin": b"pickle"})

    outcome = fetch(client, tmp_path, name=name, **options)

    assert_raised(outcome, "ValueError", message)


@pytest.mark.parametrize("kind", ["private", "gated"])
def test_token_opens(hub: LoopbackHub, client: Client, tmp_path: Path, kind: str) -> None:
    commit = hub.commit(NAME, model_files(tmp_path), private=kind == "private", gated=kind == "gated")
    assert_holds_model(fetch(client, tmp_path, token=TOKEN), commit)


def test_refusal_is_not_hidden_by_the_cache(hub: LoopbackHub, client: Client, tmp_path: Path) -> None:
    hub.commit(NAME, model_files(tmp_path))
    fetch(client, tmp_path)
    hub.repositories[NAME].private = True
    assert_raised(fetch(client, tmp_path), "ValueError", "private")


def test_trouble_of_this_machine_is_not_blamed_on_the_network(hub: LoopbackHub, client: Client, tmp_path: Path) -> None:
    hub.commit(NAME, model_files(tmp_path))
    (tmp_path / "cache").write_text("a file where the cache should be")
    outcome = fetch(client, tmp_path)
    assert_raised(outcome, "OSError", "cache")
    assert "ConnectionError" not in (outcome.error or "")


@pytest.mark.parametrize(
    "status", [401, 403, 404, pytest.param(429, marks=pytest.mark.slow), pytest.param(500, marks=pytest.mark.slow)]
)
def test_a_refusal_of_the_weights_alone_says_its_status(
    hub: LoopbackHub, client: Client, tmp_path: Path, status: int
) -> None:
    commit = hub.commit(NAME, model_files(tmp_path))
    for method in ("HEAD", "GET"):
        hub.answers[f"{method} /{NAME}/resolve/{commit}/model.safetensors"] = (status, b"")
    outcome = client.call("mtslvr.storage.hub:resolve", NAME, cache_dir=tmp_path / "cache")
    assert f"HTTP {status}" in outcome.message, outcome
    assert (outcome.error or "").startswith("ConnectionError" if status in (429, 500) else "ValueError")


@pytest.mark.parametrize("body", [b"[" * 100_000, b"[]", b"7", b'{"sha": 7}', b"{}", b"no json", b'{"sha": "main"}'])
def test_an_answer_that_is_not_the_hubs(hub: LoopbackHub, client: Client, tmp_path: Path, body: bytes) -> None:
    hub.commit(NAME, model_files(tmp_path))
    hub.answers[f"GET /api/models/{NAME}/revision/main"] = (200, body)
    outcome = fetch(client, tmp_path)
    assert_raised(outcome, "ConnectionError", "HF_ENDPOINT")
    assert len(outcome.message) < 700


@pytest.mark.parametrize("revision", ["../main", "a/../b", "main?x=1", "-x", "", "a b", "a" * 10_000, "\n"])
def test_revisions_that_cannot_be(hub: LoopbackHub, client: Client, tmp_path: Path, revision: str) -> None:
    outcome = fetch(client, tmp_path, revision=revision)
    assert_raised(outcome, "ValueError", "expected a branch, a tag or the 40 digits of a commit")
    assert len(outcome.message) < 300 and hub.requests == []


@pytest.mark.slow
def test_no_secret_is_repeated(hub: LoopbackHub, client: Client, tmp_path: Path) -> None:
    for token in ("hf_SECRET\n", "hf_SECRET x", "hf_SECRETä", ""):
        outcome = fetch(client, tmp_path, token=token)
        assert_raised(outcome, "ValueError", "token.strip")
        assert "SECRET" not in outcome.message and hub.requests == []
    (tmp_path / "home").mkdir()
    with Client(hub.url.replace("//", "//user:SECRET@"), tmp_path / "home") as other:
        hub.unavailable = True
        for name in ("owner/missing", NAME):
            outcome = fetch(other, tmp_path, name)
            assert outcome.error and "SECRET" not in outcome.message, outcome


def test_a_body_that_drips_is_given_up(hub: LoopbackHub, client: Client, tmp_path: Path) -> None:
    hub.commit(NAME, model_files(tmp_path))
    hub.pause = 0.3
    setting = "import mtslvr.storage.hub as hub; hub.ANSWERED = {}"
    client.call("builtins:exec", setting.format(2.0), {})
    outcome = fetch(client, tmp_path)
    client.call("builtins:exec", setting.format(60.0), {})
    assert_raised(outcome, "ConnectionError", "sent next to nothing for 2 s")


def test_work_is_watched() -> None:
    steps = iter(range(3))
    assert watched(lambda: time.sleep(0.25) or 7, 0.1, lambda: next(steps)) == 7
    with pytest.raises(TimeoutError, match="next to nothing"):
        watched(lambda: time.sleep(1), 0.1)
    with pytest.raises(ZeroDivisionError):
        watched(lambda: 1 / 0, 1.0)


# Push


def push(client: Client, path: Path, name: str = "me/mine", **options: object) -> Outcome:
    return client.call("mtslvr.storage.hub:push", name, path, **{"token": TOKEN, **options})


def test_push_and_load_back(hub: LoopbackHub, client: Client, tmp_path: Path) -> None:
    files = model_files(tmp_path)
    (tmp_path / "made" / "diary.txt").write_text("private")

    pushed = push(client, tmp_path / "made", private=True, commit_message="First")

    assert pushed.error is None, pushed.message
    assert hub.repositories["me/mine"].private
    assert hub.repositories["me/mine"].commits[pushed.value] == {".gitattributes": b"", **files}
    assert_holds_model(fetch(client, tmp_path, name="me/mine", token=TOKEN), pushed.value)

    aside = push(client, tmp_path / "made", revision="trial")
    assert hub.repositories["me/mine"].refs == {"main": pushed.value, "trial": aside.value}
    assert_holds_model(fetch(client, tmp_path, name="me/mine", token=TOKEN, revision="trial"), aside.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("me/mine", {"token": None}, "hf auth login"),
        ("me/mine", {"token": "hf_wrong"}, "refused"),
        ("someone-else/model", {}, "refused"),
        ("me/public", {"private": True}, "is public"),
        ("mine", {}, "expected 'owner/name'"),
    ],
)
def test_push_is_refused(
    hub: LoopbackHub,
    client: Client,
    tmp_path: Path,
    name: str,
    options: dict[str, object],
    message: str,
) -> None:
    model_files(tmp_path)
    public = hub.commit("me/public", {"README.md": b""})
    outcome = push(client, tmp_path / "made", name, **options)
    assert_raised(outcome, "ValueError", message)
    assert hub.repositories["me/public"].refs == {"main": public}


def test_push_needs_a_network_and_a_model(hub: LoopbackHub, client: Client, tmp_path: Path) -> None:
    model_files(tmp_path)
    with hub.down():
        outcome = push(client, tmp_path / "made")
    assert_raised(outcome, "ConnectionError", "no working connection")
    (tmp_path / "made" / "model.safetensors").write_bytes(b"broken")
    outcome = push(client, tmp_path / "made")
    assert_raised(outcome, "ValueError", "damaged")
    assert hub.requests == []


# Local folders: no client, no process


def test_existing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve(tmp_path) == tmp_path
    assert resolve("owner/model") == Path("owner/model")
    with pytest.raises(ValueError, match="revision='v1' is for Hub repositories"):
        resolve("owner/model", revision="v1")


@pytest.mark.parametrize(
    "name",
    ["./foo", "../foo", "/x/y", "~/nothing-here", "C:\\models\\a", "a/b/c", "a//b", "foo", "", "ä/b", "https://h/o/n"],
)
def test_path_to_nothing(name: str) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        resolve(name)


def test_path_objects_are_never_hub_ids() -> None:
    with pytest.raises(ValueError, match="no such folder: 'owner/model'"):
        resolve(Path("owner/model"))


def test_file_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="is a file: give the folder"):
        resolve(tmp_path / "model.safetensors")


@pytest.mark.slow
def test_client_is_imported_only_when_needed(client: Client, tmp_path: Path) -> None:
    model_files(tmp_path)
    code = "import sys, mtslvr.storage.hub; mtslvr.storage.hub.resolve(sys.argv[1]); print('huggingface_hub' in sys.modules)"
    command = [sys.executable, "-c", code, str(tmp_path / "made")]
    assert client.call("subprocess:check_output", command, text=True).value == "False\n"
