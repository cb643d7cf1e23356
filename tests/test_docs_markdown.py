"""Every Markdown file parses as it was meant to: what a slip in it would hide from its readers is an error here."""

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md")),
    *sorted(path for folder in ("docs", "training", "mtslvr") for path in (ROOT / folder).rglob("*.md")),
    ROOT / ".github" / "CODE_OF_CONDUCT.md",
]
WIDEST_CODE = 100  # characters: of more a page of the site shows only the beginning
WIDER = 120  # elsewhere: CI runs the commands of README as they stand


def parse(text: str) -> list[Token]:
    return MarkdownIt().enable("table").parse(re.sub(r"\A---\n.*?\n---\n", "\n", text, flags=re.DOTALL))


def faults(text: str, widest: int = WIDEST_CODE) -> list[str]:
    """What would be shown otherwise than it was meant, each in words."""
    found = []
    lines = re.sub(r"\A---\n.*?\n---\n", "\n", text, flags=re.DOTALL).splitlines()
    level = 0
    for token in parse(text):
        first, last = token.map or (0, 0)
        if token.type == "fence":
            if last - first < 2 or lines[last - 1].strip() != token.markup:
                found.append(f"line {first + 1}: a code fence that never closes")
            found += [
                f"line {first + i + 2}: {len(line)} characters of code, more than {widest}"
                for i, line in enumerate(token.content.splitlines())
                if len(line) > widest and token.info != "math"
            ]
        if token.type == "heading_open":
            now = int(token.tag[1:])
            if now > level + 1 or (now == 1) != (level == 0):
                found.append(f"line {first + 1}: a heading of level {now} after one of level {level}")
            level = now
        if token.type == "table_open":
            cells = [len(re.findall(r"(?<!\\)\|", line.strip().strip("|"))) + 1 for line in lines[first:last]]
            found += [
                f"line {first + i + 1}: a row of {n} cells in a table of {cells[0]}"
                for i, n in enumerate(cells)
                if n != cells[0]
            ]
        if token.type == "inline":
            shown = "".join(child.content for child in token.children or [] if child.type == "text")
            if mark := re.search(r"\*\*|\]\(|^\s*\|.*\|\s*$|```", shown, re.MULTILINE):
                found.append(f"line {first + 1}: {mark[0]!r} is shown as it stands")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_markdown_is_whole(page: Path) -> None:
    in_docs = page.relative_to(ROOT).parts[0] == "docs"
    assert not faults(page.read_text(encoding="utf-8"), WIDEST_CODE if in_docs else WIDER)


def test_every_page_of_the_site_is_checked() -> None:
    assert {page.name for page in PAGES} >= {page.name for page in (ROOT / "docs").glob("*.md")}


@pytest.mark.parametrize(
    ("slip", "told"),
    [
        ("# A\n\n```bash\nls\n\nText.\n", "never closes"),
        ("# A\n\n```\nls\n```\ntext\n```\n", "never closes"),
        ("# A\n\n```text\n" + "x" * 101 + "\n```\n", "101 characters"),
        ("# A\n\n| a | b |\n|---|---|\n| 1 | 2 | 3 |\n", "a row of 3 cells in a table of 2"),
        ("# A\n\n| a | b |\n|---|\n| 1 | 2 |\n", "shown as it stands"),
        ("# A\n\nSee [this](a page.md).\n", "shown as it stands"),
        ("# A\n\n**bold **and not\n", "shown as it stands"),
        ("# A\n\n### C\n", "level 3 after one of level 1"),
        ("Text.\n\n## B\n", "level 2 after one of level 0"),
        ("# A\n\n# B\n", "level 1 after one of level 1"),
    ],
)
def test_a_slip_is_found(slip: str, told: str) -> None:
    assert told in "\n".join(faults(slip))
