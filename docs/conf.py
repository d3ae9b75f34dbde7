"""The documentation site: ``make docs``."""

import re
import sys
from importlib.metadata import version as installed
from pathlib import Path

import bayesglm as bg

sys.path.append(str(Path(__file__).parent / "_ext"))
sys.modules["bayesglm.plot"] = bg.plot  # an attribute to users; autodoc wants a module

project = "bayesglm"
author = "The bayesglm authors"
copyright = author
release = installed("bayesglm")

extensions = [
    "gallery",
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
myst_enable_extensions = ["amsmath", "dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks hold their outputs; `make notebooks` runs them again
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections hold the types, in words
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
suppress_warnings = ["mystnb.unknown_mime_type"]

html_theme = "pydata_sphinx_theme"
html_title = "bayesglm"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_theme_options = {
    "show_nav_level": 2,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
}

_LITERAL = re.compile(r"(``.*?``|`[^`]+`|\*\*[^*]+\*\*|(?<![\w*])\*\w[^*]*\*(?!\w))")


def _plain(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings hold equations as plain text: a bar or a star there is no markup."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...", ".. ")):
            parts = _LITERAL.split(line)
            lines[i] = "".join(part if n % 2 else re.sub(r"(?<!\\)([|*])", r"\\\1", part) for n, part in enumerate(parts))


def setup(app: object) -> None:
    app.connect("autodoc-process-docstring", _plain, priority=400)  # before numpydoc
