"""The command line: mtslvr embed, fit, predict, detect, eval, info, export, convert, demo. Here it is parsed; commands.py does it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import mtslvr
from mtslvr.cli import commands

EXAMPLES = "folder with one sub-folder per class, or CSV with the columns path, label"
REJECT = 'sounds more novel than this number, or than "auto" finds, are of no class'
FAILED = 2  # exit code; argparse uses it too
CUT_OFF = 141  # of a process that a closed pipe ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 1 if some files failed, 2 if the command could not be done."""
    args = _parser().parse_args(arguments)
    try:
        code = int(args.command(args))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read has seen enough, as in `mtslvr info | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at exit
        return CUT_OFF
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"mtslvr {args.name}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"mtslvr {args.name}: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mtslvr", description="Sound to embeddings for few-shot classification (MT-SLVR)."
    )
    parser.add_argument("--version", action="version", version=f"mtslvr {mtslvr.__version__}")
    parsers = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")

    model = argparse.ArgumentParser(add_help=False)
    model.add_argument("--model", help="encoder: folder or Hub id (owner/name); the default weights if not given")
    model.add_argument("--revision", help="branch, tag or commit of a Hub encoder")
    model.add_argument("--device", default="cpu", help="such as cpu or cuda (default: cpu)")

    command = parsers.add_parser(
        "embed", parents=[model], help="embed files and folders", description="Embed files and folders of sound."
    )
    command.add_argument("paths", nargs="+", metavar="PATH", help="sound file, or folder (searched through)")
    command.add_argument("-o", "--out", required=True, type=Path, help="table to write: .npz, .parquet or .csv")
    command.add_argument("--space", default="combined", choices=["combined", "invariant", "variant"])
    command.add_argument("--batch-size", default=16, type=int, help="windows of 5 s computed at a time (default: 16)")
    command.set_defaults(command=commands.embed)

    command = parsers.add_parser("fit", parents=[model], help="learn a classifier from a few labelled files")
    command.add_argument("examples", metavar="EXAMPLES", help=EXAMPLES)
    command.add_argument("-o", "--out", required=True, type=Path, help="classifier folder to write")
    command.add_argument("--space", default="combined", choices=["combined", "invariant", "variant"])
    command.add_argument("--method", default="ridge", choices=["ridge", "logistic", "centroid"])
    command.add_argument("--C", default=10.0, type=float, help="inverse strength of the penalty (default: 10)")
    command.add_argument("--report", type=Path, metavar="REPORT.png", help="picture of the support set to write")
    command.set_defaults(command=commands.fit)

    command = parsers.add_parser("predict", parents=[model], help="name files with a classifier")
    command.add_argument("classifier", metavar="CLASSIFIER", help="folder or Hub id (owner/name)")
    command.add_argument("paths", nargs="+", metavar="PATH", help="sound file, or folder (searched through)")
    command.add_argument("-o", "--out", type=Path, help="table to write, .csv; printed if not given")
    command.add_argument("--reject", type=_auto_or_number, help=REJECT)
    command.set_defaults(command=commands.predict)

    command = parsers.add_parser("detect", parents=[model], help="find a classifier's sounds in a recording")
    command.add_argument("classifier", metavar="CLASSIFIER", help="folder or Hub id (owner/name)")
    command.add_argument("recording", metavar="RECORDING", help="sound file of any length")
    command.add_argument("-o", "--out", type=Path, help="events to write, .csv, or .txt as Audacity's labels")
    command.add_argument("--window", type=float, help="seconds of sound that are named at a time")
    command.add_argument("--hop", type=float, help="seconds from one window to the next")
    command.add_argument("--threshold", type=float, help="probability from which on a sound is an event")
    command.add_argument("--min-duration", type=float, help="seconds of the shortest event, and of the shortest gap")
    command.add_argument("--reject", type=_auto_or_number, help=REJECT)
    command.add_argument("--background", metavar="LABEL", action="append", help="class that makes no event")
    command.set_defaults(command=commands.detect)

    command = parsers.add_parser(
        "eval", parents=[model], help="say how good a classifier would be, by the number of recordings it learns from"
    )
    command.add_argument("examples", metavar="EXAMPLES", help=EXAMPLES)
    command.add_argument(
        "--shots", type=int, nargs="+", default=[1, 2, 5, 10, 20], help="recordings per class (default: 1 2 5 10 20)"
    )
    command.add_argument("--draws", type=int, default=100, help="random choices of them (default: 100)")
    command.add_argument("--plot", type=Path, metavar="CURVE.png", help="picture to write")
    command.set_defaults(command=commands.evaluate)

    command = parsers.add_parser("info", parents=[model], help="say what a model is")
    command.add_argument("--json", action="store_true", help="as JSON")
    command.set_defaults(command=commands.info)

    command = parsers.add_parser("export", parents=[model], help="write a model as one ONNX file, sound to embeddings")
    command.add_argument("-o", "--out", required=True, type=Path, help="file to write, .onnx")
    command.add_argument(
        "--calibrate", type=Path, metavar="FOLDER", help="compute in int8, with ranges measured on these sounds"
    )
    command.set_defaults(command=commands.export)

    command = parsers.add_parser("convert", help="convert a checkpoint of the paper's authors")
    command.add_argument("checkpoint", metavar="AUTHORS.pt")
    command.add_argument("folder", metavar="FOLDER", help="model folder to write")
    command.add_argument(
        "--statistics",
        choices=sorted(commands.STATISTICS),
        default="audioset",
        help="what it was pretrained on (default: audioset)",
    )
    command.set_defaults(command=commands.convert)

    command = parsers.add_parser("demo", parents=[model], help="classify real recordings that came with the package")
    group = command.add_mutually_exclusive_group()
    group.add_argument(
        "-o", "--out", type=Path, default=Path("mtslvr-demo.png"), help="picture to write (default: %(default)s)"
    )
    group.add_argument(
        "--web", type=int, nargs="?", const=0, metavar="PORT", help="teach it your own sounds, in the browser"
    )
    command.set_defaults(command=commands.demo)
    return parser


def _auto_or_number(text: str) -> str | float:
    try:
        return text if text == "auto" else float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r} is neither "auto" nor a number') from error
