"""The code of a page of the documentation, and how it is run: python tests/page.py PAGE, in a folder that holds what it names.

All ```python blocks, and the `mtslvr` commands of all ```bash blocks, from top to bottom in this one process. A block after
<!-- not run: why --> is passed over.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from mtslvr.cli import parser


@dataclass(frozen=True)
class Block:
    language: str | None  # None of an indented block, which cannot say
    code: str
    line: int  # number of its first line on the page
    why_not_run: str | None

    @property
    def commands(self) -> list[str]:
        """The lines of shell, without comments, those that end in a backslash joined."""
        lines = self.code.replace("\\\n", " ").splitlines()
        return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    why = None
    for token in MarkdownIt().parse(page.read_text()):
        if token.type in ("fence", "code_block") and token.map is not None:
            fenced = token.type == "fence"
            found.append(Block(token.info.strip() if fenced else None, token.content, token.map[0] + 1 + fenced, why))
        comment = re.fullmatch(r"\s*<!-- not run: (.+) -->\s*", token.content)
        why = comment[1] if comment and token.type == "html_block" else None
    return found


def run(page: Path) -> None:
    names = {"__name__": "__main__"}
    for block in blocks(page):
        if block.why_not_run is None and block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.code, page, "exec"), names)
        elif block.why_not_run is None and block.language == "bash":
            for command in block.commands:
                _, *arguments = shlex.split(command, comments=True)
                if code := parser.main(arguments):
                    sys.exit(f"{page}, line {block.line}: {command}: exit code {code}")


if __name__ == "__main__":
    run(Path(sys.argv[1]))
