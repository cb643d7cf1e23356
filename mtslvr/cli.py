"""The command line: mtslvr embed, info, convert, demo. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import mtslvr

if TYPE_CHECKING:
    from mtslvr.model import MTSLVR

SOUND_SUFFIXES = {
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64", ".rf64"),
    *(".m4a", ".mp4", ".aac", ".webm", ".wma"),
}
SOME_FAILED, ALL_FAILED = 1, 2  # exit codes; argparse uses 2 too
STATISTICS = {
    "audioset": (-0.00029522, 0.11652075),
    "fsd50k": (-4.8055e-05, 0.0684828),
}  # paper, of the authors' pretraining sets


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 1 if some files failed, 2 if the command could not be done."""
    args = _parser().parse_args(arguments)
    try:
        return int(args.command(args))
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"mtslvr {args.name}: {error}", file=sys.stderr)
        return ALL_FAILED
    except KeyboardInterrupt:
        return 130


def embed(args: argparse.Namespace) -> int:
    """Embed files one after the other; a bad one is reported and skipped."""
    from mtslvr.table import check_table, write_table

    check_table(args.out)  # before any work is done
    paths = find_sounds(args.paths)
    from tqdm import tqdm

    model = _load(args)
    vectors, done, failed = [], [], 0
    for path in tqdm(paths, "embedding", unit="file", delay=2, disable=None):
        try:
            with warnings.catch_warnings(record=True) as notes:
                warnings.simplefilter("always")
                vectors.append(model.embed(path, space=args.space))
            for note in notes:
                tqdm.write(f"note: {note.message}", file=sys.stderr)
            done.append(os.fsencode(path).decode(errors="backslashreplace"))  # a name need not be text, a table must
        except (ValueError, TypeError, OSError) as error:
            failed += 1
            tqdm.write(f"skipped: {error}", file=sys.stderr)
    if not done:
        raise ValueError(f"none of {len(paths)} files could be embedded, nothing was written")
    write_table(args.out, done, vectors, {"space": args.space, "fingerprint": model.fingerprint})
    print(
        f"{args.out}: {len(done)} embeddings of {len(vectors[0])} features"
        + (f"; {failed} files skipped" if failed else "")
    )
    return SOME_FAILED if failed else 0


def info(args: argparse.Namespace) -> int:
    """Say what a model is."""
    model = _load(args)
    description = {
        "mtslvr": mtslvr.__version__,
        "model": args.model or "default",
        "fingerprint": model.fingerprint,
        "spaces": model.spaces,
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
            if name == "results":
                continue  # a table; it is in the model card
            shown = (
                ", ".join(f"{space} [{width}]" for space, width in value.items()) if isinstance(value, dict) else value
            )
            print(f"  {name.replace('_', ' '):<28} {shown}")
    return 0


def convert(args: argparse.Namespace) -> int:
    """Convert a checkpoint of the authors to a model folder."""
    from mtslvr.config import EncoderConfig
    from mtslvr.convert import read_authors_checkpoint
    from mtslvr.model import MTSLVR

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


def demo(args: argparse.Namespace) -> int:
    """Five kinds of sound, two examples of each: learn them and name the rest."""
    from mtslvr.demo import run

    run(_load(args), args.out)
    return 0


def find_sounds(paths: Sequence[str]) -> list[Path]:
    """The files among `paths`, and those in its folders and theirs that are named like sound, sorted.

    Raises:
        ValueError: a folder without any.
    """
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(
                file for file in path.rglob("*") if file.suffix.lower() in SOUND_SUFFIXES and file.is_file()
            )
            if not inside:
                raise ValueError(f"no sound files in {path}: looked for {' '.join(sorted(SOUND_SUFFIXES))}")
            found += inside
        else:
            found.append(path)  # a missing or unreadable one is reported when its turn comes
    return found


def _load(args: argparse.Namespace) -> MTSLVR:
    from mtslvr.model import MTSLVR

    return MTSLVR.from_pretrained(args.model, revision=args.revision, device=args.device)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mtslvr", description="Sound to embeddings for few-shot classification (MT-SLVR)."
    )
    parser.add_argument("--version", action="version", version=f"mtslvr {mtslvr.__version__}")
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")

    model = argparse.ArgumentParser(add_help=False)
    model.add_argument("--model", help="folder or Hub id (owner/name); the default weights if not given")
    model.add_argument("--revision", help="branch, tag or commit of a Hub model")
    model.add_argument("--device", default="cpu", help="such as cpu or cuda (default: cpu)")

    command = commands.add_parser(
        "embed", parents=[model], help="embed files and folders", description="Embed files and folders of sound."
    )
    command.add_argument("paths", nargs="+", metavar="PATH", help="sound file, or folder (searched through)")
    command.add_argument("-o", "--out", required=True, type=Path, help="table to write: .npz, .parquet or .csv")
    command.add_argument("--space", default="combined", choices=["combined", "invariant", "variant"])
    command.set_defaults(command=embed)

    command = commands.add_parser("info", parents=[model], help="say what a model is")
    command.add_argument("--json", action="store_true", help="as JSON")
    command.set_defaults(command=info)

    command = commands.add_parser("convert", help="convert a checkpoint of the paper's authors")
    command.add_argument("checkpoint", metavar="AUTHORS.pt")
    command.add_argument("folder", metavar="FOLDER", help="model folder to write")
    command.add_argument(
        "--statistics",
        choices=sorted(STATISTICS),
        default="audioset",
        help="what it was pretrained on (default: audioset)",
    )
    command.set_defaults(command=convert)

    command = commands.add_parser("demo", parents=[model], help="classify real recordings that came with the package")
    command.add_argument(
        "-o", "--out", type=Path, default=Path("mtslvr-demo.png"), help="picture to write (default: %(default)s)"
    )
    command.set_defaults(command=demo)
    return parser
