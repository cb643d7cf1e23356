"""mtslvr detect: events in recordings."""

from __future__ import annotations

import hashlib
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtslvr.cli.options import (
    REJECT,
    SOME_FAILED,
    Commands,
    auto_or_number,
    load_classifier,
    load_model,
    print_table,
    skipped,
    sounds,
    usable,
)
from mtslvr.storage.tables import check_table, write_rows

if TYPE_CHECKING:
    import numpy as np

    from mtslvr.events import Event

USAGE = """mtslvr detect [options] CLASSIFIER RECORDING [RECORDING ...]
       mtslvr detect [options] --examples LABELS RECORDING"""
COLUMNS = ("start", "end", "label", "confidence")
OPTIONS = ("window", "hop", "threshold", "min_duration", "batch_size")  # those given, of both ways to detect
NONE = "none"


def add_commands(commands: Commands) -> None:
    command = commands.add(
        "detect", detect, "find a classifier's sounds in recordings, or more of what is marked in one"
    )
    command.usage = USAGE
    command.add_argument("classifier", metavar="CLASSIFIER", help="classifier folder or Hub id; not with --examples")
    command.add_argument(
        "recordings", nargs="*", metavar="RECORDING", help="sound file of any length, or folder; - reads standard input"
    )
    command.add_argument(
        "--examples",
        type=Path,
        metavar="LABELS",
        help="a few events of the recording, whose like is to be found in the rest: a label track (Audacity), selection table "
        "(Raven) or .csv (default: a classifier is used)",
    )
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        help="events to write: .csv; of one recording also .txt (Audacity) or .selections.txt (Raven) (default: they are printed)",
    )
    command.add_argument(
        "--clips", type=Path, metavar="FOLDER", help="cut the events out, into a sub-folder per label (default: not)"
    )
    command.add_argument(
        "--window", type=float, help="seconds classified at a time (default: as the examples, 0.5 to 5; 1 if unknown)"
    )
    command.add_argument("--hop", type=float, help="seconds between windows (default: a quarter of one, at most 0.5)")
    command.add_argument(
        "--threshold",
        type=float,
        help="minimum probability of an event (default: 0.5; with --several 0.25, with --examples 0.7)",
    )
    command.add_argument(
        "--min-duration", type=float, default=0.5, help="seconds of the shortest event and of the shortest gap in one"
    )
    command.add_argument(
        "--several",
        action="store_true",
        help="several classes may sound at once (default: the likeliest alone)",
    )
    command.add_argument("--reject", type=auto_or_number, help=REJECT)
    command.add_argument(
        "--background",
        metavar="LABEL",
        action="append",
        help='class that makes no event; "auto": learned from the recording itself; "none"; may be repeated (default: auto)',
    )
    command.add_argument("--batch-size", default=16, type=int, help="windows computed at a time")


def detect(args: Namespace) -> int:
    """Find events in one recording, or in many into one table; a bad one of many is skipped, and a killed run goes on."""
    if args.out is not None:
        check_table(args.out, (".csv", ".txt"))
    search, recordings, known = (_by_examples if args.examples else _by_classifier)(args)
    with sounds(recordings) as names:
        if len(names) > 1 or Path(recordings[0]).is_dir():
            return _many(args, search, names, known)
        ((path, name),) = names.items()
        with _notes_told():
            events = search(path)
        if args.clips is not None:
            _cut(path, name, events, args.clips)
    if args.out is None:
        print_table(COLUMNS, [_cells(event, 2) for event in events])
    else:
        from mtslvr.events import write_events

        write_events(args.out, events)
        print(f"{args.out}: {len(events)} events")
    return 0


Search = Callable[[Path], "list[Event]"]


def _by_classifier(args: Namespace) -> tuple[Search, list[str], dict[str, str]]:
    """What finds events, the recordings, and what the events follow from."""
    from mtslvr.events import detect

    if not args.recordings:
        raise ValueError("no recording: give a classifier and at least one, or --examples LABELS and one")
    classifier = load_classifier(args)
    background = args.background
    if background is not None:
        background = [label for label in background if label != NONE or label in classifier.classes_]
    given = (
        _given(args)
        | ({} if background is None else {"background": background})
        | {"reject": args.reject, "exclusive": not args.several}
    )
    learned = classifier.coef_.tobytes() + repr(classifier.classes_.tolist()).encode()
    known = {"classifier": hashlib.sha256(learned).hexdigest()[:16], "options": repr(sorted(given.items()))}
    return lambda path: detect(path, classifier, **given), args.recordings, known


def _by_examples(args: Namespace) -> tuple[Search, list[str], dict[str, str]]:
    from mtslvr.events import detect_like, read_events

    recordings = [args.classifier, *args.recordings]
    if len(recordings) > 1 or Path(recordings[0]).is_dir():
        raise ValueError("--examples are of one recording: give that one, and no classifier")
    if args.background is not None or args.reject is not None or args.several:
        raise ValueError("--background, --reject and --several are for classifiers: leave them out, or --examples")
    examples = read_events(args.examples)
    model = load_model(args)
    return lambda path: detect_like(path, examples, model=model, **_given(args)), recordings, {}


def _many(args: Namespace, search: Search, names: dict[Path, str], known: dict[str, str]) -> int:
    """Events of all recordings in one table, with the column path."""
    from tqdm import tqdm

    from mtslvr.storage.vectors import Unfinished

    if args.out is not None:
        check_table(args.out, (".csv",))
    found: dict[Path, list[tuple[str, ...]]] = {}
    errors: dict[Path, str] = {}
    with ExitStack() as stack:
        kept = None if args.out is None else stack.enter_context(Unfinished(args.out, known))
        missing = set(names) if kept is None else set(kept.missing(list(names)))
        stack.enter_context(_notes_told())
        for path in tqdm(names, "detecting", unit="recording", delay=2, disable=None):
            if path not in missing and kept is not None:
                found[path] = _unpacked(next(kept.vectors([path])))
                continue
            try:
                events = search(path)
                if args.clips is not None:
                    _cut(path, names[path], events, args.clips)
            except (ValueError, TypeError, OSError) as error:
                errors[path] = str(error)
                print(f"skipped: {error}", file=sys.stderr)
                continue
            found[path] = [_cells(event, 3) for event in events]
            if kept is not None:
                kept.add(path, _packed(found[path]))
        done = usable(list(names), errors)
        rows = [(names[path], *cells) for path in done for cells in found[path]]
        if args.out is None:
            print_table(("path", *COLUMNS), rows)
        else:
            write_rows(args.out, ("path", *COLUMNS), rows)
            if kept is not None:
                kept.remove()
            print(f"{args.out}: {len(rows)} events in {len(done)} recordings{skipped(errors)}")
    return SOME_FAILED if errors else 0


def _given(args: Namespace) -> dict[str, Any]:
    return {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}


def _cells(event: Event, digits: int) -> tuple[str, ...]:
    return f"{event.start:.{digits}f}", f"{event.end:.{digits}f}", str(event.label), f"{event.confidence:.3f}"


def _packed(rows: list[tuple[str, ...]]) -> np.ndarray:
    """Rows of text as what an unfinished table keeps, a float32 for each byte: few, beside the vectors it is made for."""
    import numpy as np

    text = "\x1e".join(["", *("\x1f".join(row) for row in rows)])
    return np.frombuffer(text.encode() or b"\0", np.uint8).astype(np.float32)


def _unpacked(vector: np.ndarray) -> list[tuple[str, ...]]:
    import numpy as np

    text = vector.astype(np.uint8).tobytes().decode().strip("\0")
    return [tuple(row.split("\x1f")) for row in text.split("\x1e")[1:]]


def _cut(path: Path, name: str, events: list[Event], folder: Path) -> None:
    from mtslvr.detection.cutting import save_clips

    saved = save_clips(path, events, folder)
    print(f"{folder}: {len(saved)} clips of {name}")


@contextmanager
def _notes_told() -> Iterator[None]:
    """Warnings as notes on stderr, each once."""
    told: set[str] = set()

    def tell(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in told:
            told.add(str(message))
            print(f"note: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = tell  # type: ignore[assignment]
        yield
