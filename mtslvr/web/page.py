"""The page of the demo in the browser, in gradio, and its server."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from mtslvr.encoder.model import MTSLVR
from mtslvr.storage.assets import DEMO_RECORDINGS
from mtslvr.web.lesson import Lesson, write_zip
from mtslvr.web.private import COOKIE, Owners, Private
from mtslvr.web.view import CARD_COLOURS, COLOURS, learned, notice

N_CLASSES = len(COLOURS)  # that there is room for
N_CARDS = 2  # classes on the page when it opens
N_EXAMPLES = 4  # of the demo's six recordings of a kind are to learn from; the last is to try
KINDS = ("drum", "glass", "laughter", "splash", "thunder")  # of the demo
MAX_LABEL = 60  # characters
MAX_UPLOAD = 200 * 2**20  # bytes of a file
UPLOADS_AGE = 24 * 3600  # seconds that they are kept at most, while the server runs
FONT = ("system-ui", "sans-serif")  # of the visitor's machine: none is fetched
INTRODUCTION = """# Teach it sounds
Name two or more kinds of sound and give a few recordings of each. It learns as they come. Nothing leaves this machine.
"""


def serve(model: MTSLVR, port: int | None = None) -> None:
    """Serve the page to this machine until Ctrl-C or SIGTERM. To be called from the main thread, which alone may listen for the latter.

    What visitors upload lies in a temporary folder, which goes with the server; GRADIO_TEMP_DIR names it from then on.

    Args:
        port: None takes the first that is free from 7860 on, as gradio does.

    Raises:
        ImportError: gradio is not installed.
        OSError: the port is taken, or is none.
    """
    if port is not None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except (OSError, OverflowError) as error:  # the latter beyond 65535
                raise OSError(f"port {port} cannot be used ({error}): choose another, as in --web 7861") from error
    if importlib.util.find_spec("gradio") is None:
        raise ImportError('the demo in the browser needs gradio: pip install "mtslvr[web]"')
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the uploads would stay
    with tempfile.TemporaryDirectory(prefix="mtslvr-", dir=os.environ.get("GRADIO_TEMP_DIR")) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        blocks = page(model, Path(folder))
        print(f"{launch(blocks, port)} (Ctrl-C stops it)", flush=True)
        blocks.block_thread()


def launch(blocks: Any, port: int | None = None) -> str:
    """Start the server and return its address. No public link is made, and gradio's makers are neither asked nor told anything."""
    theme = importlib.import_module("gradio").themes.Soft(
        primary_hue="teal", neutral_hue="slate", font=FONT, font_mono=FONT
    )
    middleware = importlib.import_module("starlette.middleware").Middleware(Private, owners=blocks.owners)
    features = ("share", "ssr_mode", "mcp_server", "pwa", "run_history", "enable_monitoring")
    _, address, _ = blocks.launch(
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        theme=theme,
        css=CARD_COLOURS,
        css_paths=Path(__file__).with_name("page.css"),
        footer_links=[],
        allowed_paths=[str(DEMO_RECORDINGS)],
        max_file_size=MAX_UPLOAD,
        app_kwargs={"middleware": [middleware]},
        **dict.fromkeys(features, False),
    )
    return str(address)


def page(model: MTSLVR, folder: Path) -> Any:
    """The page, a gradio.Blocks. What it writes goes into a folder, which must be GRADIO_TEMP_DIR."""
    gr: Any = importlib.import_module("gradio")
    owners = Owners()

    def learn(request: Any, lesson: Lesson, *given: Any) -> list[Any]:
        """What follows from the names and files on all cards."""
        visitor = request.cookies.get(COOKIE, "")
        sounds = [(label, [path for path in paths if owners.may(visitor, path)]) for label, paths in _sounds(given)]
        lines = [f"Left out: {text}" for text in lesson.hear(model, (path for _, paths in sounds for path in paths))]
        try:
            classifier, report = lesson.learn(model, sounds)
        except ValueError as error:
            return [notice([*lines, str(error)]), "", gr.update(visible=False)]
        colours: dict[str, str] = {}
        for (label, _), colour in zip(sounds, COLOURS, strict=True):
            colours.setdefault(label, colour)
        shown = learned(report, colours)
        file = write_zip(classifier, tempfile.mkdtemp(dir=folder))
        owners.add(visitor, [file])
        return [notice(lines), shown, gr.update(value=str(file), visible=True)]

    def name(request: Any, lesson: Lesson, path: str | None) -> list[Any]:
        """What the sound that is tried is called."""
        try:
            if path and owners.may(request.cookies.get(COOKIE, ""), path):
                return [gr.update(value=lesson.name(model, path), visible=True), ""]
            text = ""
        except ValueError as error:
            text = notice([str(error)])
        return [gr.update(visible=False), text]

    def record(request: Any, files: list[str] | None, recording: str | None) -> list[Any]:
        """A recording joins the files on its card."""
        visitor = request.cookies.get(COOKIE, "")
        kept = list(map(str, files or []))
        if recording and owners.may(visitor, recording):
            place = (
                Path(tempfile.mkdtemp(dir=folder)) / f"{time.strftime('recording %H.%M.%S')}{Path(recording).suffix}"
            )
            kept.append(str(shutil.copy(recording, place)))
            owners.add(visitor, [place])
        return [kept, None]

    def show(n_cards: int) -> list[Any]:
        """So many cards, and whether there may be more."""
        cards = [gr.update(visible=i < n_cards) for i in range(N_CLASSES)]
        return [n_cards, gr.update(interactive=n_cards < N_CLASSES), *cards]

    def load(*given: Any) -> list[Any]:
        """The demo's recordings, on cards behind those that have sounds."""
        rows = [(label, paths) for label, paths in _sounds(given) if paths]
        taken = {label for label, _ in rows}
        for kind in KINDS:
            if kind not in taken:
                rows.append((kind, [str(path) for path in sorted((DEMO_RECORDINGS / kind).glob("*.ogg"))[:N_EXAMPLES]]))
        rows = rows[:N_CLASSES]
        labels, files = zip(*rows, *[("", None)] * (N_CLASSES - len(rows)), strict=True)
        return [*show(len(rows)), *labels, *files]

    for function in (learn, name, record):
        function.__annotations__["request"] = gr.Request  # by which gradio knows whom to give it to
    bare = {"show_label": False}
    sound = {"type": "filepath", "editable": False, "buttons": [], **bare}  # one of the buttons would share on the Hub
    with gr.Blocks(title="mtslvr", analytics_enabled=False, delete_cache=(3600, UPLOADS_AGE)) as blocks:
        blocks.owners = owners
        lesson, n_cards = gr.State(Lesson()), gr.State(N_CARDS)  # a copy for each visitor
        gr.Markdown(INTRODUCTION)
        cards, labels, files, microphones = [], [], [], []
        with gr.Row(elem_id="cards"):
            for i in range(N_CLASSES):
                with gr.Column(visible=i < N_CARDS, elem_classes=["card", f"class-{i}"]) as card:
                    hint = _hint(i)
                    labels.append(
                        gr.Textbox(
                            label=f"Name of {hint}", placeholder=hint, max_length=MAX_LABEL, container=False, **bare
                        )
                    )
                    files.append(gr.File(label=f"Sounds of {hint}", file_count="multiple", **bare))
                    microphones.append(gr.Audio(label=f"Record for {hint}", sources=["microphone"], **sound))
                cards.append(card)
        with gr.Row():
            another = gr.Button("Add a class", size="md")
            example = gr.Button("Load the demo's sounds", size="md")
        with gr.Row():
            with gr.Column(scale=6, min_width=320, elem_classes="card"):
                gr.Markdown("### What it learned")
                missing, shown = gr.HTML(), gr.HTML()
                download = gr.DownloadButton("Download the classifier", variant="primary", visible=False)
            with gr.Column(scale=5, min_width=320, elem_classes="card"):
                gr.Markdown("### Try it")
                tried = gr.Audio(label="Sound to name", sources=["upload", "microphone"], **sound)
                last = [[str(sorted((DEMO_RECORDINGS / kind).glob("*.ogg"))[-1])] for kind in KINDS]
                gr.Examples(
                    last, tried, example_labels=list(KINDS), label="Or one of the demo's", api_visibility="private"
                )
                verdict = gr.Label(label="What it is", num_top_classes=5, visible=False, **bare)
                wrong = gr.HTML()

        hidden = {"api_visibility": "private"}
        turn = {"concurrency_id": "encoder", "trigger_mode": "always_last", **hidden}
        named = [event for box in labels for event in (box.blur, box.submit)]
        changed = [blocks.load, *(box.change for box in files), *named]
        given, seen = [*labels, *files], [missing, shown, download]
        progress = {"show_progress": "minimal", "show_progress_on": missing}
        lesson_learned = gr.on(changed, learn, [lesson, *given], seen, **progress, **turn)
        for event in (lesson_learned.then, tried.change):
            event(name, [lesson, tried], [verdict, wrong], show_progress="hidden", **turn)
        for file, microphone in zip(files, microphones, strict=True):
            microphone.stop_recording(record, [file, microphone], [file, microphone], **hidden)
        another.click(lambda n: show(n + 1), n_cards, [n_cards, another, *cards], **hidden)
        example.click(load, given, [n_cards, another, *cards, *given], **hidden)
    return blocks


def _hint(card: int) -> str:
    """What a class is called that was given no name."""
    return f"class {card + 1}"


def _sounds(given: tuple[Any, ...]) -> list[tuple[str, list[str]]]:
    """Label and paths of each card, from the values of all boxes for names and then all those for files."""
    labels = [(label or "")[:MAX_LABEL].strip() or _hint(i) for i, label in enumerate(given[:N_CLASSES])]
    paths = [list(map(str, files or [])) for files in given[N_CLASSES:]]
    return list(zip(labels, paths, strict=True))
