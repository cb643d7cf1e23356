"""mtslvr demo: the package at work on real recordings."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from mtslvr.cli.options import Commands, load_model
from mtslvr.storage.tables import check_table


def add_commands(commands: Commands) -> None:
    command = commands.add("demo", demo, "classify real recordings that came with the package")
    group = command.add_mutually_exclusive_group()
    group.add_argument("-o", "--out", type=Path, default=Path("mtslvr-demo.png"), help="picture to write")
    group.add_argument(
        "--web",
        type=int,
        nargs="?",
        const=0,
        metavar="PORT",
        help="teach it your own sounds, in the browser (default: not; PORT: any free one)",
    )


def demo(args: Namespace) -> int:
    """Five kinds of sound, two examples of each: learn them and name the rest. Or any sounds, in the browser."""
    if args.web is not None:
        from mtslvr.web import serve

        serve(load_model(args), args.web or None)
        return 0
    from mtslvr.cli.demo import run

    check_table(args.out, (".png",))
    run(load_model(args), args.out)
    return 0
