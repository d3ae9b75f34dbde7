"""The page itself: sections, tables and figures in one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

_DOTS = 130  # an inch of a figure
_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: #222; background: #fff;
  max-width: 62rem; margin: 0 auto; padding: 1rem 1.2rem 4rem; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .6rem 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; padding-top: .5rem; border-top: 1px solid #ddd; }
h3 { font-size: 1.02rem; margin: 1.4rem 0 .3rem; }
p { margin: .5rem 0; }
nav { font-size: .9rem; margin: .8rem 0; }
nav a { margin-right: .9rem; white-space: nowrap; }
a { color: #0b5c8f; }
.wide { overflow-x: auto; max-width: 100%; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .86rem; line-height: 1.35; }
th, td { text-align: left; vertical-align: top; padding: .22rem .7rem .22rem 0; border-bottom: 1px solid #eee; }
th { font-weight: 600; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
figure { margin: 1rem 0; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption, .small { font-size: .86rem; color: #555; }
.checks td:last-child { font-weight: 600; }
.advice td { border-bottom: 1px solid #ddd; padding: 0 0 .5rem 1rem; color: #555; }
.checks .advice td { font-weight: 400; }
pre { overflow-x: auto; background: #f6f6f6; padding: .7rem .9rem; font-size: .82rem; line-height: 1.4; }
.equation { font-family: "STIX Two Math", "Cambria Math", Georgia, serif; font-size: 1.05rem; line-height: 1.9; margin: .6rem 0; }
.short { background: #f3f7fa; border-left: 4px solid #0b5c8f; padding: .6rem 1rem; margin: 1rem 0; }
.short.warning { border-color: #b8690a; background: #fdf6ec; }
.short.bad { border-color: #b3261e; background: #fdf0ef; }
.short p { margin: .25rem 0; }
@media (max-width: 40rem) { body { font-size: 15px; padding: .6rem .8rem 3rem; } h1 { font-size: 1.4rem; } }
@media print { body { max-width: none; font-size: 10.5pt; } nav { display: none; } h2 { break-after: avoid; } figure, tr { break-inside: avoid; }
  .wide { overflow: visible; } a { color: inherit; text-decoration: none; } }
"""


class Section(NamedTuple):
    """A titled part of the page."""

    title: str
    body: str

    @property
    def anchor(self) -> str:
        return self.title.lower().replace(" ", "-")


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole page."""
    links = " ".join(f'<a href="#{section.anchor}">{text(section.title)}</a>' for section in sections)
    parts = "\n".join(f'<section id="{section.anchor}"><h2>{text(section.title)}</h2>\n{section.body}</section>' for section in sections)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{text(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><h1>{text(title)}</h1>\n{lead}\n<nav>{links}</nav>\n{parts}\n</body></html>\n'


def text(value: Any) -> str:
    """Safe for HTML."""
    return html.escape(str(value))


def paragraph(value: Any, kind: str = "") -> str:
    return f"<p{f' class={kind!r}' if kind else ''}>{text(value)}</p>"


def wide(inner: str) -> str:
    """What may be wider than a phone: it scrolls by itself."""
    return f'<div class="wide">{inner}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; cells are text."""
    top = "".join(f"<th>{text(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return wide(f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>" if top else f"<table><tbody>{body}</tbody></table>")


def record(value: Any) -> str:
    """A record's own notebook view."""
    return wide(value._repr_html_())


def picture(figure: Any, alt: str, caption: str = "") -> str:
    """A matplotlib figure as an image inside the page."""
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=_DOTS)
    data = base64.b64encode(held.getvalue()).decode()
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return f'<figure><img alt="{text(alt)}" src="data:image/png;base64,{data}">{below}</figure>'


def code(value: str) -> str:
    return f"<pre>{text(value)}</pre>"
