"""The one place that imports Matplotlib, and the colours that all pictures share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACCENT = "#2a6fdb"
MUTED = "#8a8f98"


def require_matplotlib() -> None:
    """Raise ImportError, with one sentence that names the extra, unless Matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError('Pictures need Matplotlib: pip install "anmin[plots]"') from None


def new_axes(count: int = 1, width: float = 4.6, height: float = 3.8) -> list[Axes]:
    """Return ``count`` axes side by side in a new pyplot figure."""
    require_matplotlib()
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, count, figsize=(width * count, height), layout="constrained", squeeze=False)
    return list(axes[0])


def stacked_axes(heights: Sequence[float], width: float = 5.6, height: float = 4.8) -> list[Axes]:
    """Return axes above one another in a new pyplot figure, of these relative heights, with one x-axis for all."""
    require_matplotlib()
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(
        len(heights), figsize=(width, height), height_ratios=heights, sharex=True, layout="constrained", squeeze=False
    )
    return list(axes[:, 0])


def readable_ticks(ax: Axes, y: NDArray) -> None:
    """Label a logarithmic axis with plain numbers where it spans less than two decades."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    span = float(np.nanmax(y) / np.nanmin(y))
    if span < 100:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if span >= 8 else MaxNLocator(6))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())


def shortened(name: str) -> str:
    """Return the name of a column in one line, cut where it is long."""
    line = "".join(c if c.isprintable() else " " for c in name)
    return line if len(line) <= 40 else line[:37] + "..."


def label(name: str) -> str:
    """Return the name of a column as Matplotlib text: a dollar sign is no formula, and long names are cut."""
    return shortened(name).replace("$", r"\$")


def colour_range(values: NDArray) -> dict[str, Any]:
    """Return cmap, vmin and vmax for a field: diverging about 0 if it has both signs, else sequential.

    The range is that of the values without their most extreme thousandth, so that one wild value takes no contrast.
    """
    low, high = np.quantile(values, [0.0005, 0.9995])
    if low < 0 < high:
        # Anchored at 0 and symmetric, so that the sign is read from the hue.
        reach = max(-low, high)
        return {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach}
    if low == high:
        low, high = low - 0.5, high + 0.5
    return {"cmap": "viridis", "vmin": low, "vmax": high}
