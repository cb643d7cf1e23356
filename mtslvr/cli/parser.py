"""The command line: one function for each command, in the modules beside this one."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

import mtslvr
from mtslvr.cli import detecting, embedding, models, searching, showing, teaching
from mtslvr.cli.options import Commands

FAILED = 2  # exit code; argparse uses it too
CUT_OFF = 141  # of a process that a closed pipe ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 1 if some files failed, 2 if the command could not be done."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a label that the terminal cannot show must not lose the others
        sys.stdout.reconfigure(errors="backslashreplace")
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
    commands = Commands(parser.add_subparsers(dest="name", required=True, metavar="COMMAND"))
    for module in (embedding, teaching, detecting, searching, models, showing):
        module.add_commands(commands)
    return parser
