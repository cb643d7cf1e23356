"""What each command of the command line does. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import importlib.util
import json
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import mtslvr
from mtslvr.sound.files import find_sounds, labelled_sounds, text_of
from mtslvr.storage.tables import TABLE_SUFFIXES, check_table, write_rows, write_table

if TYPE_CHECKING:
    import numpy as np

    from mtslvr.encoder.model import MTSLVR

SOME_FAILED = 1  # exit code
STATISTICS = {
    "audioset": (-0.00029522, 0.11652075),
    "fsd50k": (-4.8055e-05, 0.0684828),
}  # paper, of the authors' pretraining sets


def embed(args: Namespace) -> int:
    """Embed files into a table. A bad one is reported and skipped, and a run that was killed goes on where it was."""
    from mtslvr.encoder import batching
    from mtslvr.storage.vectors import Unfinished

    check_table(args.out, TABLE_SUFFIXES)  # before any work is done
    failed = args.out.with_name(f"{args.out.name}.failed.csv")
    paths = find_sounds(args.paths)
    model = _load(args)
    notes = {"space": args.space, "fingerprint": model.fingerprint}
    with Unfinished(args.out, notes) as kept:
        missing = kept.missing(paths)
        n_done = len(paths) - len(missing)
        errors = batching.embed_files(model, missing, args.space, kept.add, batch_size=args.batch_size, n_done=n_done)
        done = _usable(paths, errors)
        write_table(args.out, [text_of(path) for path in done], kept.vectors(done), notes)
        if errors:
            write_rows(failed, ("path", "error"), [(text_of(path), error) for path, error in errors.items()])
            print(f"{failed}: what failed, and why. {kept.folder} is kept, so that to run again tries only these again")
        else:
            kept.remove()
            failed.unlink(missing_ok=True)
    print(f"{args.out}: {len(done)} embeddings of {model.spaces[args.space]} features{_skipped(errors)}")
    return SOME_FAILED if errors else 0


def fit(args: Namespace) -> int:
    """Learn a classifier from labelled files. A bad one is an error: nobody should trust a class that lacks half its clips."""
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"{args.out} is a file: give the name of a folder to write into")
    if not os.access(next(folder for folder in args.out.absolute().parents if folder.exists()), os.W_OK):
        raise ValueError(f"{args.out} cannot be written: there is no permission to write there")
    if args.report is not None:
        check_table(args.report, (".png",))
        _need_matplotlib("--report")
    paths, labels = labelled_sounds(args.examples)
    model = _load(args)
    embeddings = _examples(model, paths, args.space)
    classifier = mtslvr.fit_fewshot(embeddings, labels, model=model, space=args.space, method=args.method, C=args.C)
    report = classifier.report([text_of(path) for path in paths])
    classifier.save_pretrained(args.out)
    print(report)
    if args.report is not None:
        report.plot(args.report)
    print(f"\n{args.out}: a classifier of {len(classifier.classes_)} classes")
    return 0


def predict(args: Namespace) -> int:
    """Name files one after the other; a bad one is reported and skipped."""
    import numpy as np

    from mtslvr.encoder import batching
    from mtslvr.fewshot import novelty

    if args.out is not None:
        check_table(args.out, (".csv",))
    classifier = mtslvr.FewShotClassifier.from_pretrained(args.classifier, model=_load(args))
    novelty.threshold(args.reject, classifier.threshold_)  # before clips are embedded
    paths = find_sounds(args.paths)
    vectors: list[np.ndarray] = []
    encoder = classifier.embedder()
    errors = batching.embed_files(encoder, paths, classifier.space, lambda _, vector: vectors.append(vector))
    done = _usable(paths, errors)
    embeddings = np.stack(vectors)
    named = classifier.predict(embeddings, reject=args.reject)
    confidences = classifier.predict_proba(embeddings).max(1)
    rows = [(text_of(path), str(label), f"{p:.3f}") for path, label, p in zip(done, named, confidences, strict=True)]
    if args.out is None:
        _print_table(("path", "label", "confidence"), rows)
    else:
        write_rows(args.out, ("path", "label", "confidence"), rows)
        print(f"{args.out}: {len(done)} sounds named{_skipped(errors)}")
    return SOME_FAILED if errors else 0


def evaluate(args: Namespace) -> int:
    """Say how good a classifier of labelled files would be, by the number of recordings that it learns from."""
    from mtslvr.cli.learning_curve import learning_curve, plot, text

    if args.plot is not None:
        check_table(args.plot, (".png",))
        _need_matplotlib("--plot")
    paths, labels = labelled_sounds(args.examples)
    model = _load(args)
    points = learning_curve(model, _examples(model, paths, "combined"), labels, shots=args.shots, n_draws=args.draws)
    n_classes = len(set(labels))
    print(f"{len(paths)} clips of {n_classes} classes, {args.draws} draws\n\n{text(points, n_classes)}")
    if args.plot is not None:
        plot(points, n_classes, args.plot)
    return 0


def detect(args: Namespace) -> int:
    """Find the classes' sounds in a recording."""
    from mtslvr.events import detect, write_events

    if args.out is not None:
        check_table(args.out, (".csv", ".txt"))
    classifier = mtslvr.FewShotClassifier.from_pretrained(args.classifier, model=_load(args))
    wanted = {
        name: getattr(args, name) for name in ("window", "hop", "threshold", "reject", "background", "min_duration")
    }
    events = detect(args.recording, classifier, **{name: value for name, value in wanted.items() if value is not None})
    if args.out is None:
        rows = [(f"{e.start:.2f}", f"{e.end:.2f}", str(e.label), f"{e.confidence:.3f}") for e in events]
        _print_table(("start", "end", "label", "confidence"), rows)
    else:
        write_events(args.out, events)
        print(f"{args.out}: {len(events)} events")
    return 0


def info(args: Namespace) -> int:
    """Say what a model is."""
    model = _load(args)
    description = {
        "mtslvr": mtslvr.__version__,
        "model": args.model or "default",
        "fingerprint": model.fingerprint,
        "spaces": dict(model.spaces),
    }
    if args.json:
        print(json.dumps(description | model.config.to_json(), indent=2))
        return 0
    content = model.config.to_json()
    sections = {
        "": description,
        "network": content["network"],
        "preprocessing": content["preprocessing"],
        "training": content["training"],
    }
    for title, section in sections.items():
        if title:
            print(f"\n{title}")
        for name, value in section.items():
            if isinstance(value, list) or name.endswith("_command"):
                continue  # tables, and what gives them: they are in the model card
            shown = (
                ", ".join(f"{space} [{width}]" for space, width in value.items()) if isinstance(value, dict) else value
            )
            print(f"  {name.replace('_', ' '):<28} {shown}")
    return 0


def export(args: Namespace) -> int:
    """Write a model as an ONNX file."""
    from mtslvr.export import export

    sounds = None if args.calibrate is None else find_sounds([args.calibrate])
    fingerprint = export(_load(args), args.out, calibrate=sounds)
    precision = "float32" if sounds is None else "int8"
    print(f"{args.out}: {precision}, {args.out.stat().st_size / 1e6:.0f} MB, fingerprint {fingerprint}")
    return 0


def convert(args: Namespace) -> int:
    """Convert a checkpoint of the authors to a model folder."""
    from mtslvr.encoder.config import EncoderConfig
    from mtslvr.encoder.convert import read_authors_checkpoint
    from mtslvr.encoder.model import MTSLVR

    network, left_over = read_authors_checkpoint(args.checkpoint)
    mean, std = STATISTICS[args.statistics]
    summary = {
        "summary": f"Converted from the authors' checkpoint {Path(args.checkpoint).name} (MT-SLVR, arXiv 2305.17191).",
        "sound": args.statistics,
    }
    model = MTSLVR(EncoderConfig(network.adapter, network.n_heads, network.head_dim, mean, std, summary), network)
    model.save_pretrained(args.folder)
    print(
        f"{args.folder}: adapter {network.adapter}, {network.n_heads} head(s) of {network.head_dim}, fingerprint {model.fingerprint}"
    )
    if left_over:
        print(f"left out {len(left_over)} tensors that are no part of the encoder, such as {left_over[0]}")
    return 0


def demo(args: Namespace) -> int:
    """Five kinds of sound, two examples of each: learn them and name the rest. Or any sounds, in the browser."""
    if args.web is not None:
        from mtslvr.web import serve

        serve(_load(args), args.web or None)
        return 0
    from mtslvr.cli.demo import run

    check_table(args.out, (".png",))
    run(_load(args), args.out)
    return 0


def _load(args: Namespace) -> MTSLVR:
    return mtslvr.MTSLVR.from_pretrained(args.model, revision=args.revision, device=args.device)


def _examples(model: MTSLVR, paths: Sequence[Path], space: str) -> np.ndarray:
    """Embeddings of all files in one space: float32 [n, D].

    Raises:
        ValueError: some cannot be embedded; each is told on stderr.
    """
    import numpy as np

    from mtslvr.encoder import batching

    vectors: list[np.ndarray] = []
    if errors := batching.embed_files(model, paths, space, lambda _, vector: vectors.append(vector)):
        raise ValueError(f"{len(errors)} of {len(paths)} files could not be read (listed above): fix or remove them")
    return np.stack(vectors)


def _usable(paths: Sequence[Path], errors: Mapping[Path, str]) -> list[Path]:
    """The files without an error.

    Raises:
        ValueError: there are none.
    """
    done = [path for path in paths if path not in errors]
    if not done:
        raise ValueError(f"none of {len(paths)} files could be embedded, nothing was written")
    return done


def _skipped(errors: Mapping[Path, str]) -> str:
    return f"; {len(errors)} files skipped" if errors else ""


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns side by side: text to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [
            f"{cell:{'<' if title in ('path', 'label') else '>'}{width}}"
            for title, cell, width in zip(header, row, widths, strict=True)
        ]
        print("  ".join(cells))


def _need_matplotlib(option: str) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError(f'{option} needs matplotlib: pip install "mtslvr[plot]"')
