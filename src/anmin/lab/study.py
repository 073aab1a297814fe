"""A study of a source: what it claims, what was measured here, and a verdict computed from the figures."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from anmin.inspection.plotting import require_matplotlib
from anmin.lab.figures import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Verdict = Literal["agrees", "differs", "not seen at this scale"]
Cell = str | int | float
_DPI = 110


@dataclass(frozen=True)
class Claim:
    """What a source says, beside what was measured.

    Attributes
    ----------
    claim : str
        The statement of the source, as one sentence.
    source : str
        Where it stands: paper, section, figure or equation.
    measured : str
        One sentence with the figures, their seeds and their spread, from the numbers of this run.
    verdict : {"agrees", "differs", "not seen at this scale"}
    """

    claim: str
    source: str
    measured: str
    verdict: Verdict

    @classmethod
    def judged(cls, claim: str, source: str, measured: str, holds: bool | None) -> Claim:
        """Return a claim with the verdict of a comparison; None: these sizes do not show it either way."""
        verdict: Verdict = "not seen at this scale" if holds is None else "agrees" if holds else "differs"
        return cls(claim, source, measured, verdict)


@dataclass(frozen=True)
class Table:
    """Numbers under headings, the first cell of a row its name; the unit stands in the heading."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: a row has {len(row)} cells for {len(self.columns)} columns: {row}.")

    def texts(self) -> list[tuple[str, ...]]:
        """Return the cells as text: numbers with four digits, as many as runs of a few seeds tell."""
        return [tuple(_text(cell) for cell in row) for row in self.rows]


@dataclass(frozen=True)
class Picture:
    """A figure or an animation.

    Attributes
    ----------
    name : str
        Of the file, without the study and the ending.
    title : str
        What it shows, as a sentence.
    content : bytes
    kind : {"png", "gif"}
    """

    name: str
    title: str
    content: bytes
    kind: Literal["png", "gif"] = "png"


@dataclass(frozen=True)
class Study:
    """The outcome of a study.

    Attributes
    ----------
    name, title : str
        The name that runs it, and what it is about.
    summary : str
        What was done, in a few sentences; where sizes are smaller than those of the source, both sizes.
    settings : mapping
        Sizes, seeds and whatever else makes the run again.
    tables, pictures, claims : sequences
    """

    name: str
    title: str
    summary: str
    claims: Sequence[Claim]
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    settings: Mapping[str, Cell] = field(default_factory=dict)

    def verdicts(self) -> list[dict[str, str]]:
        """Return the claims as objects with the keys study, claim, source, measured and verdict."""
        return [
            {"study": self.name, "claim": c.claim, "source": c.source, "measured": c.measured, "verdict": c.verdict}
            for c in self.claims
        ]

    def document(self) -> dict[str, Any]:
        """Return all but the pictures as an object for JSON."""
        return {
            "study": self.name,
            "title": self.title,
            "summary": self.summary,
            "settings": dict(self.settings),
            "claims": self.verdicts(),
            "tables": [
                {"title": t.title, "columns": list(t.columns), "rows": [list(row) for row in t.rows], "note": t.note}
                for t in self.tables
            ],
        }


def drawn(name: str, title: str, draw: Callable[[Figure], Any], size: tuple[float, float] = (7.0, 4.2)) -> Picture:
    """Return what ``draw`` puts into a figure of this size, in inches, under the title."""
    figure, style = _new(title, size)
    with style:
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI)
    return Picture(name, title, buffer.getvalue())


def animated(
    name: str,
    title: str,
    draw: Callable[[Figure, int], Any],
    n_frames: int,
    size: tuple[float, float] = (6.0, 4.0),
    seconds: float = 0.1,
) -> Picture:
    """Return an endless animation of frames 0, 1, ..., each drawn afresh and shown for so many seconds.

    The last frame stays for two seconds.
    """
    from PIL import Image

    frames = []
    for k in range(n_frames):
        figure, style = _new(title, size)
        with style:
            draw(figure, k)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=80)
        image = Image.open(buffer).convert("RGB")
        # An octree keeps the colours of thin lines, which the median cut mixes, and gives smaller files.
        frames.append(image.quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))
    content = io.BytesIO()
    durations = [round(1000 * seconds)] * (n_frames - 1) + [2000]
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)
    return Picture(name, title, content.getvalue(), "gif")


def spread(values: Sequence[float] | NDArray, digits: int = 3, percent: bool = False) -> str:
    """Return median and range of what several seeds gave, for the sentence of a claim; a dash if there are none."""
    if not len(values):
        return "–"
    factor, unit = (100, "%") if percent else (1, "")
    middle, low, high = (
        f"{factor * float(value):.{digits}g}{unit}" for value in (np.median(values), np.min(values), np.max(values))
    )
    return middle if low == high else f"{middle} (median; {low} to {high})"


def _new(title: str, size: tuple[float, float]) -> tuple[Figure, Any]:
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    style = matplotlib.rc_context(STYLE)
    with matplotlib.rc_context(STYLE):
        # Not through pyplot: a study leaves no figure behind and needs no display.
        figure = Figure(figsize=size, layout="constrained")
        figure.suptitle(title, fontsize=11, wrap=True)
    return figure, style


def _text(cell: Cell) -> str:
    if isinstance(cell, bool | str):
        return str(cell)
    if isinstance(cell, int) or (float(cell).is_integer() and abs(cell) < 1e6):
        return f"{int(cell):,}"
    return f"{cell:.4g}"
