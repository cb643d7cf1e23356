"""mtslvr fit, predict and eval: classifiers of a few labelled files."""

from __future__ import annotations

import contextlib
import os
from argparse import Namespace
from pathlib import Path

import mtslvr
from mtslvr.cli.embedding import embed_missing
from mtslvr.cli.options import (
    CLASSIFIER,
    EXAMPLES,
    PATHS,
    REJECT,
    SOME_FAILED,
    SPACES,
    Commands,
    auto_or_number,
    embed_all,
    load_classifier,
    load_model,
    need_matplotlib,
    print_table,
    skipped,
    sounds,
    usable,
)
from mtslvr.sound.files import grouped_sounds, text_of
from mtslvr.storage.tables import check_table, write_rows


def add_commands(commands: Commands) -> None:
    command = commands.add("fit", fit, "learn a classifier from a few labelled files")
    command.add_argument("examples", metavar="EXAMPLES", help=EXAMPLES)
    command.add_argument("-o", "--out", required=True, type=Path, help="classifier folder to write")
    command.add_argument(
        "--add", action="store_true", help="add the examples to the classifier that is there (default: no)"
    )
    command.add_argument("--space", choices=SPACES, help="embeddings used (default: combined)")
    command.add_argument(
        "--method", choices=["ridge", "logistic", "centroid"], help="kind of classifier (default: ridge)"
    )
    command.add_argument("--C", type=float, help="inverse strength of the penalty (default: 10)")
    command.add_argument(
        "--report", type=Path, metavar="REPORT.png", help="picture of the support set to write (default: none)"
    )

    command = commands.add("predict", predict, "name files with a classifier")
    command.add_argument("classifier", metavar="CLASSIFIER", help=CLASSIFIER)
    command.add_argument("paths", nargs="+", metavar="PATH", help=PATHS)
    command.add_argument("-o", "--out", type=Path, help="table to write, .csv (default: it is printed)")
    command.add_argument("--reject", type=auto_or_number, help=REJECT)

    command = commands.add("eval", evaluate, "print the learning curve: accuracy by the recordings per class")
    command.add_argument("examples", metavar="EXAMPLES", help=EXAMPLES)
    command.add_argument("--shots", type=int, nargs="+", default=[1, 2, 5, 10, 20], help="recordings per class")
    command.add_argument("--draws", type=int, default=100, help="random choices of them")
    command.add_argument("--plot", type=Path, metavar="CURVE.png", help="picture to write (default: none)")


def fit(args: Namespace) -> int:
    """Learn a classifier from labelled files, or add them to one. A bad one is an error: nobody should trust a class that lacks half its clips."""
    from mtslvr.fewshot import inputs

    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"{args.out} is a file: give the name of a folder to write into")
    if not os.access(next(folder for folder in args.out.absolute().parents if folder.exists()), os.W_OK):
        raise ValueError(f"{args.out} cannot be written: there is no permission to write there")
    if args.report is not None:
        check_table(args.report, (".png",))
        need_matplotlib("--report")
    options = {name: value for name in ("space", "method", "C") if (value := getattr(args, name)) is not None}
    if args.add and options:
        raise ValueError(f"--add keeps the classifier's own {', '.join(options)}: leave out --{' --'.join(options)}")
    paths, labels, groups = grouped_sounds(args.examples)
    names = [text_of(path) for path in paths]
    model = load_model(args)
    if args.add:
        classifier = mtslvr.FewShotClassifier.from_pretrained(args.out, model=model)
        names = [f"earlier clip {i}" for i in range(len(classifier.targets_))] + names
        classifier.add(embed_all(model, paths, classifier.space), labels, groups)
    else:
        vectors = embed_all(model, paths, options.get("space", "combined"))
        classifier = mtslvr.fit_fewshot(vectors, labels, groups=groups, model=model, **options)
        classifier.seconds_ = inputs.typical_seconds(paths)  # the vectors do not tell
    report = classifier.report(names)
    classifier.save_pretrained(args.out)
    print(report)
    if args.report is not None:
        report.plot(args.report)
    print(f"\n{args.out}: a classifier of {len(classifier.classes_)} classes")
    return 0


def predict(args: Namespace) -> int:
    """Name files one after the other; a bad one is reported and skipped, and a run into a table goes on where it was killed."""
    import numpy as np

    from mtslvr.encoder import batching
    from mtslvr.fewshot import novelty
    from mtslvr.storage.vectors import Unfinished

    if args.out is not None:
        check_table(args.out, (".csv",))
    classifier = load_classifier(args)
    novelty.threshold(args.reject, classifier.threshold_)  # before clips are embedded
    with sounds(args.paths) as names, contextlib.ExitStack() as unfinished:
        model, paths = classifier.embedder(), list(names)
        vectors: list[np.ndarray] = []
        if args.out is None:
            errors = batching.embed_files(model, paths, classifier.space, lambda _, vector: vectors.append(vector))
            done = usable(paths, errors)
        else:
            kept = unfinished.enter_context(
                Unfinished(args.out, {"space": classifier.space, "fingerprint": model.fingerprint})
            )
            errors = embed_missing(model, paths, classifier.space, kept)
            done = usable(paths, errors)
            vectors.extend(kept.vectors(done))
        embeddings = np.stack(vectors)
        named = classifier.predict(embeddings, reject=args.reject)
        confidences = classifier.predict_proba(embeddings).max(1)
        header = ("path", "label", "confidence")
        rows = [(names[path], str(label), f"{p:.3f}") for path, label, p in zip(done, named, confidences, strict=True)]
        if args.out is None:
            print_table(header, rows)
        else:
            write_rows(args.out, header, rows)
            kept.remove()
            print(f"{args.out}: {len(done)} sounds named{skipped(errors)}")
    return SOME_FAILED if errors else 0


def evaluate(args: Namespace) -> int:
    """Say how good a classifier of labelled files would be, by the number of recordings that it learns from."""
    from mtslvr.cli.learning_curve import duplicates_note, learning_curve, plot, text

    if args.plot is not None:
        check_table(args.plot, (".png",))
        need_matplotlib("--plot")
    paths, labels, groups = grouped_sounds(args.examples)
    model = load_model(args)
    vectors = embed_all(model, paths, "combined")
    points = learning_curve(model, vectors, labels, groups, shots=args.shots, n_draws=args.draws)
    n_classes = len(set(labels))
    of = "" if groups is None else f", of {len(set(groups))} groups, none of them on both sides"
    print(f"{len(paths)} clips of {n_classes} classes{of}, {args.draws} draws\n\n{text(points, n_classes)}")
    names = [text_of(path) for path in paths]
    if groups is None and (told := duplicates_note(model, vectors, labels, names, points[-1], args.draws)):
        print(f"\n{told}")
    if args.plot is not None:
        plot(points, n_classes, args.plot)
    return 0
