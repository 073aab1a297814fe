"""One HTML page without external parts: its sections, tables and embedded pictures."""

from __future__ import annotations

import base64
import datetime
import hashlib
import html
import io
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from anmin.atomic import written_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK = {"light": "#1c2026", "dark": "#e6e9ee"}
_DPI = 144


def write_page(
    path: str | os.PathLike,
    *,
    title: str,
    lead: str,
    status: str = "",
    tiles: Sequence[tuple[str, str]] = (),
    tables: Sequence[str] = (),
    sections: Sequence[str] = (),
    script: str = "",
) -> None:
    """Write a page; the file appears whole or not at all.

    The page forbids itself everything from outside, and every script but its own, by a content security policy with
    the digest of the script.

    Parameters
    ----------
    path : path
    title, lead, status : str
        Plain text: it is escaped here.
    tiles : sequence of (value, label)
        Plain text of the large numbers at the top.
    tables, sections : sequences of str
        HTML of :func:`section`, the first ones small and side by side.
    script : str
        Run at the end of the page.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    page = Template(files("anmin.inspection").joinpath("report.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        lead=html.escape(lead),
        status=f'<p class="status">{html.escape(status)}</p>' if status else "",
        tiles="\n".join(
            f'<div class="tile"><b>{html.escape(value)}</b><span>{html.escape(label)}</span></div>'
            for value, label in tiles
        ),
        tables="\n".join(tables),
        sections="\n".join(sections),
        footer=html.escape(f"Written by anmin {_version()} on {datetime.date.today().isoformat()}."),
        allowed=f"'sha256-{digest}'" if script else "'none'",
        script=f"<script>{script}</script>" if script else "",
    )
    with written_atomically(path) as temporary:
        # A title, such as the name of a file, may hold half of a surrogate pair, which no encoding has.
        temporary.write_text(page, encoding="utf-8", errors="replace")


def section(heading: str, content: str, note: str = "") -> str:
    """Return a section of HTML content under a heading, with a note below; heading and note are plain text."""
    noted = f'<p class="note">{html.escape(note)}</p>' if note else ""
    return f"<section><h2>{html.escape(heading)}</h2>{content}{noted}</section>"


def table(rows: Iterable[tuple[str, ...]], head: Sequence[str] = ()) -> str:
    """Return a table of plain text, the first cell of each row its name."""
    lines = []
    for name, *values in rows:
        cells = "".join(f"<td>{html.escape(value)}</td>" for value in values)
        lines.append(f"<tr><th>{html.escape(name)}</th>{cells}</tr>")
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    top = f"<thead><tr>{heads}</tr></thead>" if head else ""
    return f"<table>{top}<tbody>{''.join(lines)}</tbody></table>"


def picture(draw: Callable[[Figure], Any], size: tuple[float, float], description: str) -> str:
    """Return a <picture> with a light and a dark drawing of the same figure, embedded."""
    import matplotlib
    from matplotlib.figure import Figure

    sources = {}
    for mode, ink in _INK.items():
        style: Any = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), ink)
        style |= {"axes.edgecolor": "#8a8f98", "axes.facecolor": "none", "axes.titlesize": "medium"}
        with matplotlib.rc_context(style), warnings.catch_warnings():
            # A name may have letters that the font lacks; the page around the picture shows them.
            warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
            # Not through pyplot: a report leaves no figure behind and needs no display.
            figure = Figure(figsize=size, layout="constrained", facecolor="none")
            draw(figure)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=_DPI, facecolor="none")
        sources[mode] = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<picture><source srcset="{sources["dark"]}" media="(prefers-color-scheme: dark)">'
        f'<img src="{sources["light"]}" alt="{html.escape(description, quote=True)}"></picture>'
    )


def _version() -> str:
    from anmin import __version__

    return __version__
