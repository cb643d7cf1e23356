"""The demo in the browser: what a lesson learns, what the page shows, and all of it in a real browser."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

import mtslvr
from mtslvr.cli.parser import main
from mtslvr.storage.assets import DEMO_RECORDINGS
from mtslvr.web.lesson import Lesson, write_zip
from mtslvr.web.page import KINDS
from mtslvr.web.private import _is_meant
from mtslvr.web.view import learned, notice

MODEL = mtslvr.MTSLVR.from_pretrained()
DRUMS, THUNDERS = ([str(DEMO_RECORDINGS / kind / f"{i}.ogg") for i in (1, 2)] for kind in ("drum", "thunder"))
SOUNDS = [("drum", DRUMS), ("thunder", THUNDERS)]


@pytest.fixture
def bad(tmp_path: Path) -> list[str]:
    """Files that are no usable sounds: empty, text, silence, too short."""
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound at all")
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    soundfile.write(tmp_path / "short.wav", np.full(100, 0.1), 16_000)
    return [str(tmp_path / f"{name}.wav") for name in ("empty", "text", "silence", "short")]


@pytest.fixture(scope="module")
def lesson() -> Lesson:
    lesson = Lesson()
    assert lesson.hear(MODEL, DRUMS + THUNDERS) == []
    lesson.learn(MODEL, SOUNDS)
    return lesson


def test_a_lesson_learns_what_fit_fewshot_does(lesson: Lesson) -> None:
    expected = mtslvr.fit_fewshot(DRUMS + THUNDERS, ["drum", "drum", "thunder", "thunder"], model=MODEL)
    assert lesson.classifier is not None
    np.testing.assert_allclose(lesson.classifier.coef_, expected.coef_, rtol=1e-4, atol=1e-6)
    path = str(DEMO_RECORDINGS / "thunder" / "3.ogg")
    named = lesson.name(MODEL, path)
    assert max(named, key=lambda label: named[label]) == "thunder"
    np.testing.assert_allclose(list(named.values()), expected.predict_proba([path])[0], rtol=1e-3)


def test_no_file_is_embedded_twice() -> None:
    embedded: list[int] = []

    def embed(sound: tuple[np.ndarray, int]) -> np.ndarray:
        embedded.append(len(sound[0]))
        return MODEL.embed(sound)

    counted: Any = SimpleNamespace(embed=embed)
    lesson = Lesson()
    for paths in (DRUMS[:1], DRUMS, DRUMS * 2):
        lesson.hear(counted, paths)
    assert len(embedded) == 2


def test_bad_files_are_named_and_the_others_are_learned(bad: list[str]) -> None:
    lesson = Lesson()
    sounds = [("drum", [*bad, *DRUMS]), ("thunder", THUNDERS)]
    for _ in range(2):  # as long as they are there
        wrong = lesson.hear(MODEL, [path for _, paths in sounds for path in paths])
        assert [text.split(".wav")[0] for text in wrong] == ["empty", "text", "silence", "short"]
    assert "0 bytes" in wrong[0] and "no sound file" in wrong[1] and "6 ms; expected 50 ms" in wrong[3]
    assert lesson.learn(MODEL, sounds)[1].names == ["1.ogg", "2.ogg", "1.ogg", "2.ogg"]
    with pytest.raises(ValueError, match=r"^text\.wav is no sound file"):
        lesson.name(MODEL, bad[1])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:7860", "[::1]:7860", "192.168.0.7:80", "demo.local:80"])
def test_hosts_that_are_meant(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SERVER_NAME", "demo.local")
    assert _is_meant(host)
    for other in ("evil.example", f"{host.split(':')[0]}.evil.example", "localhost.evil", "", ":7860", "[::1]x"):
        assert not _is_meant(other)


def test_hours_in_a_small_file_do_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 16_000, 1) as file:
        for _ in range(40):
            file.write(np.full(60 * 16_000, 0.25))
    assert path.stat().st_size < 1_000_000  # of 150 MB of samples
    tracemalloc.start()
    try:
        (wrong,) = Lesson().hear(MODEL, [str(path)])
        assert "long.flac is longer than 10 minutes" in wrong
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()


def test_what_is_missing_is_said(lesson: Lesson) -> None:
    poor = Lesson(dict(lesson.heard), lesson.classifier)
    with pytest.raises(ValueError, match="each of two classes"):
        poor.learn(MODEL, [("drum", []), ("thunder", [])])
    for sounds in ([("drum", DRUMS), ("thunder", [])], [("drum", DRUMS), ("drum", THUNDERS)]):
        with pytest.raises(ValueError, match="class “drum”: add one of a second class"):
            poor.learn(MODEL, sounds)
    with pytest.raises(ValueError, match="not learned anything yet"):
        poor.name(MODEL, DRUMS[0])


def test_the_zip_is_a_classifier(lesson: Lesson, tmp_path: Path) -> None:
    assert lesson.classifier is not None
    path = write_zip(lesson.classifier, tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    shutil.unpack_archive(path, tmp_path)
    assert {file.name for file in (tmp_path / "my-sounds").iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
    }
    loaded = mtslvr.FewShotClassifier.from_pretrained(tmp_path / "my-sounds")
    assert loaded.predict(DRUMS).tolist() == ["drum", "drum"]


def test_what_was_learned_is_shown_as_text_not_as_html() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(7, 4)) + 3 * np.repeat(np.eye(4)[:3], [3, 3, 1], 0)
    X[2] = X[3]  # of class <b>, and like one of class &
    classifier = mtslvr.fit_fewshot(X, ["<b>", "<b>", "<b>", "&", "&", "&", "one"])
    report = classifier.report([f"<script>{i}" for i in range(7)])
    html = learned(report, {"<b>": "red", "&": "blue", "one": "green"})
    assert "<script>" not in html and "<b>" not in html and "&lt;b&gt;" in html and "one: 1 sound" in html
    assert html.count("<circle r='7'") == 7 and html.count("stroke=") == sum(
        report.named[clip] != report.targets[clip] for clip in report.judged
    )
    assert 1 <= html.count("stroke=") < 7
    right = round(report.accuracy * 6)
    assert f"{right} of 6 sounds are named right" in html and "chance is 33%" in html
    assert "Look again at &lt;script&gt;" in html and "Record next: " in html
    assert "&lt;i&gt;" in notice(["<i>"]) and notice([]) == ""


def test_one_sound_of_each_class_cannot_be_judged() -> None:
    classifier = mtslvr.fit_fewshot(np.eye(4)[:2], ["a", "b"])
    html = learned(classifier.report(), {"a": "red", "b": "blue"})
    assert "nan" not in html and "once a class has two sounds" in html


def test_the_demos_kinds() -> None:
    assert sorted(path.name for path in DEMO_RECORDINGS.iterdir() if path.is_dir()) == list(KINDS)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    assert main(["demo", "--web"]) == 2
    assert 'pip install "mtslvr[web]"' in capsys.readouterr().err
    assert "GRADIO_TEMP_DIR" not in os.environ
    with pytest.raises(SystemExit):
        main(["demo", "--web", "-o", "x.png"])


def test_a_port_that_cannot_be_had(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for port in (taken.getsockname()[1], 99_999):
            assert main(["demo", "--web", str(port)]) == 2
            assert f"port {port} cannot be used" in capsys.readouterr().err


# In a browser. The server is the command itself, in a process of its own, whose every connection is written down.

SERVER = """
import sys
def reached(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        address = args[1] if event == "socket.connect" else args[0]
        print("reached", address[0] if isinstance(address, tuple) else address, flush=True)
sys.addaudithook(reached)
from mtslvr.cli.parser import main
sys.exit(main(["demo", "--web", sys.argv[1]]))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address; when it is not needed any more the server is stopped, and must have left nothing and gone nowhere."""
    pytest.importorskip("gradio", reason='needs the extra "web"')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "uploads").mkdir()
    environment = os.environ | {"GRADIO_TEMP_DIR": str(tmp_path / "uploads"), "GRADIO_ANALYTICS_ENABLED": "True"}
    command = [sys.executable, "-c", SERVER, str(port)]
    with (
        open(tmp_path / "log", "w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            address = f"http://127.0.0.1:{port}/"
            while address not in (text := (tmp_path / "log").read_text()):
                assert process.poll() is None, text
                time.sleep(0.1)
            yield address
            assert list((tmp_path / "uploads").glob("*/*/*.ogg"))  # uploads were where they are looked for below
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
    text = (tmp_path / "log").read_text()
    assert {line for line in text.splitlines() if line.startswith("reached")} == {"reached 127.0.0.1"}
    assert "Traceback" not in text, text
    assert list((tmp_path / "uploads").iterdir()) == []


@pytest.fixture
def browser() -> Iterator[Any]:
    """A Chromium with a microphone that beeps."""
    playwright = pytest.importorskip("playwright.sync_api", reason='needs the extra "browser"')
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    if (path := next(filter(None, map(shutil.which, names)), None)) is None:
        pytest.skip(f"none of {', '.join(names)} is installed")
    microphone = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", *microphone])
        yield browser
        browser.close()


@pytest.mark.slow
def test_teach_try_and_take_along(browser: Any, server: str, bad: list[str], tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})  # a phone
    page.set_default_timeout(60_000)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("websocket", lambda websocket: requests.append(websocket.url))
    page.goto(server)
    page.get_by_text("at least one sound to each of two classes").wait_for()

    page.get_by_label("Name of class 1").fill("drum")
    page.locator(".class-0 input[type=file]").set_input_files([*DRUMS, *bad])
    page.get_by_text("class “drum”: add one of a second class").wait_for()
    for path in bad:
        assert page.get_by_text(f"Left out: {Path(path).name} is").is_visible()
    page.get_by_label("Name of class 2").fill("thunder")
    page.locator(".class-1 input[type=file]").set_input_files(THUNDERS)
    page.get_by_text("of 4 sounds are named right").wait_for()
    assert page.get_by_text("Left out: text.wav").is_visible()
    assert page.locator(".shown svg circle[r='7']").count() == 4

    tried = page.get_by_test_id("waveform-Sound to name").locator("input[type=file]")
    tried.set_input_files(DEMO_RECORDINGS / "thunder" / "3.ogg")
    heading = page.get_by_test_id("label-output-value")
    heading.get_by_text("thunder").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the classifier").click()
    zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())).extractall(tmp_path)
    classifier = mtslvr.FewShotClassifier.from_pretrained(tmp_path / "my-sounds", model=MODEL)
    probability = classifier.predict_proba([DEMO_RECORDINGS / "thunder" / "3.ogg"])[0, 1]
    assert page.get_by_test_id("thunder-confidence-set").inner_text().split()[-1] == f"{probability:.0%}"

    page.get_by_label("Clear").last.click()
    page.get_by_test_id("waveform-Sound to name").locator("input[type=file]").set_input_files(bad[1])
    page.get_by_text("text.wav is no sound file").nth(1).wait_for()
    assert not heading.is_visible()

    page.locator(".class-1").get_by_role("button", name="Record").click()
    page.wait_for_timeout(1500)  # it beeps every second, and is silent between
    page.locator(".class-1").get_by_role("button", name="Stop").click()
    page.get_by_text("thunder: 3 of 3 right").or_(page.get_by_text("thunder: 2 of 3 right")).wait_for()
    assert "recording " in page.locator(".class-1").inner_text()

    page.get_by_role("button", name="Load the demo's sounds").click()  # beside what is there
    page.get_by_text("of 17 sounds are named right").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    other = browser.new_page()
    other.goto(server)
    other.get_by_text("at least one sound to each of two classes").wait_for()
    assert other.locator("tr.file").count() == 0
    assert requests and all(url.startswith((server, "blob:", "data:")) for url in requests)


def _event(client: Any, server: str, function: int, data: list[Any]) -> list[Any]:
    """What a function of the page gives, as the page's own script asks for it."""
    join = {"data": data, "fn_index": function, "session_hash": "one", "trigger_id": None}
    client.post(f"{server}gradio_api/queue/join", json=join).raise_for_status()
    with client.stream("GET", f"{server}gradio_api/queue/data", params={"session_hash": "one"}) as lines:
        for line in lines.iter_lines():
            if line.startswith("data:") and (message := json.loads(line[5:]))["msg"] == "process_completed":
                assert message["success"], message
                return list(message["output"]["data"])
    raise AssertionError("no answer")


@pytest.mark.slow
def test_who_is_answered_and_who_is_not(server: str, tmp_path: Path) -> None:
    httpx = pytest.importorskip("httpx")
    with httpx.Client(timeout=60) as one, httpx.Client(timeout=60) as other:
        for client in (one, other):
            assert client.get(server).status_code == 200
        functions = {d["id"]: d for d in one.get(f"{server}config").json()["dependencies"]}

        def upload(path: str) -> dict[str, Any]:
            content = {"files": (Path(path).name, Path(path).read_bytes())}
            (place,) = one.post(f"{server}gradio_api/upload", files=content).raise_for_status().json()
            return {"path": place, "orig_name": Path(path).name, "meta": {"_type": "gradio.FileData"}}

        files = [[upload(path) for path in paths] for _, paths in SOUNDS]
        place = f"{server}gradio_api/file={files[0][0]['path']}"
        assert one.get(place).content == Path(DRUMS[0]).read_bytes()
        for stranger in (other, httpx):
            assert stranger.get(place).status_code == 403
            assert stranger.get(place.replace("/file=", "/file/")).status_code in (403, 404)

        learn = next(i for i, d in functions.items() if len(d["inputs"]) > 20)
        given = [None, "drum", "thunder" + "r" * 1000, *[""] * 8, *files, *[None] * 8]
        _, shown, download = _event(one, server, learn, given)
        assert "of 4 sounds are named right" in shown
        taken = f"{server}gradio_api/file={download['value']['path']}"
        assert zipfile.is_zipfile(io.BytesIO(one.get(taken).content))
        assert other.get(taken).status_code == 403
        missing, *_ = _event(other, server, learn, given)
        assert "Add at least one sound to each of two classes" in missing

        for host in (
            "evil.example",
            "evil.example:7860",
            "127.0.0.1.evil.example",
            "",
        ):  # as of a page that rebinds to it
            for route in ("", "config", "gradio_api/startup-events"):
                assert one.get(server + route, headers={"Host": host}).status_code in (400, 403)
        join = {"data": ["x" * 10_000_000], "fn_index": learn, "session_hash": "one"}
        assert one.post(f"{server}gradio_api/queue/join", json=join).status_code == 413
