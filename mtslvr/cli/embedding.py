"""mtslvr embed: files into a table of embeddings."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from mtslvr.cli.options import PATHS, SOME_FAILED, SPACES, Commands, load_model, skipped, sounds, usable
from mtslvr.storage.tables import TABLE_SUFFIXES, check_table, write_rows, write_table

if TYPE_CHECKING:
    from mtslvr.encoder.model import MTSLVR
    from mtslvr.storage.vectors import Unfinished


def add_commands(commands: Commands) -> None:
    command = commands.add("embed", embed, "embed files and folders of sound")
    command.add_argument("paths", nargs="+", metavar="PATH", help=PATHS)
    command.add_argument("-o", "--out", required=True, type=Path, help="table to write: .npz, .parquet or .csv")
    command.add_argument("--space", default="combined", choices=SPACES, help="which embeddings")
    command.add_argument("--batch-size", default=16, type=int, help="windows of 5 s computed at a time")


def embed(args: Namespace) -> int:
    """Embed files into a table. A bad one is reported and skipped, and a run that was killed goes on where it was."""
    from mtslvr.storage.vectors import Unfinished

    check_table(args.out, TABLE_SUFFIXES)  # before any work is done
    failed = args.out.with_name(f"{args.out.name}.failed.csv")
    with sounds(args.paths) as names:
        model = load_model(args)
        notes = {"space": args.space, "fingerprint": model.fingerprint}
        with Unfinished(args.out, notes) as kept:
            errors = embed_missing(model, list(names), args.space, kept, args.batch_size)
            done = usable(list(names), errors)
            write_table(args.out, [names[path] for path in done], kept.vectors(done), notes)
            if errors:
                write_rows(failed, ("path", "error"), [(names[path], error) for path, error in errors.items()])
                print(f"{failed}: what failed, and why. {kept.folder} is kept: a second run tries only these again")
            else:
                kept.remove()
                failed.unlink(missing_ok=True)
    print(f"{args.out}: {len(done)} embeddings of {model.spaces[args.space]} features{skipped(errors)}")
    return SOME_FAILED if errors else 0


def embed_missing(
    model: MTSLVR, paths: list[Path], space: str, kept: Unfinished, batch_size: int = 16
) -> dict[Path, str]:
    """Embed the files that are not kept yet; returns what is wrong with those that failed."""
    from mtslvr.encoder import batching

    missing = kept.missing(paths)
    n_done = len(paths) - len(missing)
    return batching.embed_files(model, missing, space, kept.add, batch_size=batch_size, n_done=n_done)
