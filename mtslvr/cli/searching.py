"""mtslvr suggest and find: unlabelled recordings, by what a classifier or an example says of them."""

from __future__ import annotations

import functools
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtslvr.cli.options import (
    CLASSIFIER,
    PATHS,
    SOME_FAILED,
    Commands,
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

    from mtslvr.encoder.model import MTSLVR


def add_commands(commands: Commands) -> None:
    command = commands.add("suggest", suggest, "say which unlabelled recordings to label next for a classifier")
    command.add_argument("classifier", metavar="CLASSIFIER", help=CLASSIFIER)
    command.add_argument("paths", nargs="+", metavar="PATH", help=PATHS)
    command.add_argument("-n", "--number", type=int, default=10, help="how many to suggest")
    command.add_argument("-o", "--out", type=Path, help="table to write, .csv (default: it is printed)")

    command = commands.add("find", find, "find the recordings that are most like an example")
    command.add_argument(
        "example", metavar="EXAMPLE", help="sound file, or folder of several: the most similar one counts"
    )
    command.add_argument("paths", nargs="+", metavar="PATH", help=PATHS)
    command.add_argument("-n", "--number", type=int, default=10, help="how many to find")
    command.add_argument("-o", "--out", type=Path, help="table to write, .csv (default: it is printed)")


def suggest(args: Namespace) -> int:
    """The recordings that a classifier is unsure of, each unlike the others."""
    from mtslvr.fewshot import search

    if args.out is not None:
        check_table(args.out, (".csv",))
    classifier = load_classifier(args)
    with sounds(args.paths) as names:
        paths, embeddings, errors = _embedded(classifier.embedder(), list(names))
    chosen = search.suggest(classifier, embeddings, args.number)
    named, confidences = classifier.predict(embeddings[chosen]), classifier.predict_proba(embeddings[chosen]).max(1)
    rows = [
        (names[paths[i]], str(label), f"{confidence:.3f}")
        for i, label, confidence in zip(chosen, named, confidences, strict=True)
    ]
    return _give(args, ("path", "label", "confidence"), rows, errors)


def find(args: Namespace) -> int:
    """The recordings whose embeddings lie nearest to an example's."""
    from mtslvr.fewshot import search

    if args.out is not None:
        check_table(args.out, (".csv",))
    model = load_model(args)
    with sounds([args.example]) as examples:
        _, wanted, errors = _embedded(model, list(examples))
    if errors:
        raise ValueError(f"{len(errors)} of {len(examples)} examples could not be read (listed above)")
    with sounds(args.paths) as names:
        same = {path.resolve() for path in examples}
        others = [path for path in names if path.resolve() not in same]  # each is most like itself
        if not others:
            raise ValueError("the recordings to search are the examples themselves: give others")
        paths, embeddings, errors = _embedded(model, others)
    rows, similarities = search.most_similar(wanted, embeddings, args.number)
    table = [(names[paths[i]], f"{similarity:.3f}") for i, similarity in zip(rows, similarities, strict=True)]
    return _give(args, ("path", "similarity"), table, errors)


def _embedded(model: MTSLVR, paths: list[Path]) -> tuple[list[Path], np.ndarray, dict[Path, str]]:
    """The usable files, their embeddings, float32 [n, D], and what is wrong with the others, told on stderr.

    Embeddings are kept in the user's cache folder, by the files' content: to ask again takes no time.
    """
    import numpy as np
    from tqdm import tqdm

    from mtslvr.storage import cache

    folder = cache.default_folder() / model.fingerprint
    encode = functools.partial(model.embed, progress=False)
    try:
        return paths, cache.embed(encode, paths, folder), {}
    except (ValueError, TypeError):
        pass  # at least one of them is no usable sound: find out which, one by one; those before it are in the cache
    errors: dict[Path, str] = {}
    vectors = []
    for path in tqdm(paths, "embedding", unit="file", delay=2, disable=None):
        try:
            vectors.append(cache.embed(encode, [path], folder)[0])
        except (ValueError, TypeError) as error:
            errors[path] = str(error)
            print(f"skipped: {error}", file=sys.stderr)
    return usable(paths, errors), np.stack(vectors), errors


def _give(args: Namespace, header: Sequence[str], rows: Sequence[Sequence[str]], errors: dict[Path, str]) -> int:
    if args.out is None:
        print_table(header, rows)
    else:
        write_rows(args.out, header, rows)
        print(f"{args.out}: {len(rows)} recordings{skipped(errors)}")
    return SOME_FAILED if errors else 0
