"""The documentation as a site: sphinx-build -W -n -c docs . build/docs, from the root of the repository.

The source is the whole repository, so that the links between its Markdown files lead to the same places here as on GitHub.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.ext.napoleon import Config, GoogleDocstring

import mtslvr

project = "mtslvr"
version = release = mtslvr.__version__
copyright = "the authors of mtslvr"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
root_doc = "docs/index"
include_patterns = ["docs/**.md", "training/*.md", "CHANGELOG.md", "mtslvr/assets/*/*.md"]
exclude_patterns = ["build", "dist", ".*"]
nitpick_ignore_regex = [  # what is not ours, and what is not public, has no page to lead to
    ("py:.*", r"(?!mtslvr\.).*"),
    ("py:.*", r"mtslvr\.encoder\.adapters\..*"),
]
highlight_language = "none"  # of fences that do not say

myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]  # as on GitHub
myst_disable_syntax = ["myst_line_comment"]  # on GitHub a line that begins with % is a line
smartquotes = False  # values are quoted as in Python
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {name: name for name in ("ArrayLike", "AudioLike", "ClipsLike")}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
pygments_dark_style = "github-dark"  # the theme's own underlines imports, as if they were links
html_title = f"mtslvr {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "redirect.html"}  # the address of the site itself
templates_path = ["_templates"]


def as_restructured_text(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are written for the eye: Google's sections, and `code` in single quotes."""
    kind = "method" if what == "property" else what  # of a property napoleon takes all before a colon for its type
    quoted = [re.sub(r"`([^`]+)`", r"``\1``", line) for line in lines]
    lines[:] = GoogleDocstring(quoted, Config(), app, kind, name, obj, options).lines()


def with_whole_figures(app: Any, name: str, source: list[str]) -> None:
    """A figure and its interval stay on one line of a table's cell."""
    source[0] = source[0].replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")


def setup(app: Any) -> None:
    app.connect("source-read", with_whole_figures)
    app.connect("autodoc-process-docstring", as_restructured_text)
