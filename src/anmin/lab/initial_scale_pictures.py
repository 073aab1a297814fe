"""Pictures of descents from initial weights of a given size: curves, shares and animations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmin.lab.colours import AMBER, BLUE, GREEN, VERMILION
from anmin.lab.initial_scale import POINTS, TARGETS, Path, alignment, gathered, growing, predicted_point
from anmin.lab.neuron_pictures import draw_fit, draw_neurons, output
from anmin.lab.study import Picture, Table, animated, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RANGE = 3.2  # of inputs that are drawn, on both sides


def phases(path: Path) -> Picture:
    """Return curves of the loss, the alignment of neurons, and their norms, until the loss has fallen."""
    begins, ends = path.step_below(0.95), path.step_below(0.05)
    last = min(len(path.losses) - 1, ends + (ends - begins))
    steps = sorted(step for step in path.kept if step <= last)

    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True)
        upper.plot(path.losses[: last + 1] / path.losses[0], color=VERMILION, linewidth=2, label="loss / first loss")
        medians = [float(np.median(alignment(path.kept[step]))) for step in steps]
        there = [gathered(path.kept[step]).sum() / growing(path.kept[step]).sum() for step in steps]
        upper.plot(steps, medians, color=BLUE, label="median cosine with the early direction")
        upper.plot(steps, there, color=GREEN, label="share of neurons at the predicted point, which moves in the fit")
        upper.axvspan(0, begins, color=AMBER, alpha=0.12, linewidth=0, label="alignment (loss above 95%)")
        upper.set(ylabel="share or cosine", ylim=(-0.05, 1.05))
        figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
        norms = [np.quantile(np.linalg.norm(path.kept[step].W, axis=0), (0.5, 1.0)) for step in steps]
        for values, name, colour in zip(np.transpose(norms), ("median", "largest"), (GREEN, BLUE), strict=True):
            lower.plot(steps, values, color=colour, label=f"{name} norm of a neuron")
        lower.axvspan(0, begins, color=AMBER, alpha=0.12, linewidth=0)
        lower.set(yscale="log", ylabel="norm ‖w‖", xlabel=f"step (rate {path.rate:g})", xlim=(0, last))
        lower.legend(loc="upper left", fontsize=9)

    title = "Tiny weights: neurons turn first, and fit once they are large enough"
    return drawn("phases", title, draw, size=(7.6, 6.2))


def shares_by_scale(scales: Table) -> Picture:
    """Return the shares of neurons that changed their pattern, medians and ranges, by the initial norm."""

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        columns = np.array(scales.rows, dtype=float).T
        for k, colour, name in ((1, BLUE, "random signs"), (4, AMBER, "mirrored: output 0 at first")):
            ax.plot(columns[0], 100 * columns[k], "o-", color=colour, label=name, markersize=4)
            ax.fill_between(
                columns[0], 100 * columns[k + 1], 100 * columns[k + 2], color=colour, alpha=0.2, linewidth=0
            )
        ax.axhline(5, color=VERMILION, linewidth=1, linestyle=":", label="5%")
        ax.set(
            xscale="log", xlabel="norm of a neuron at first", ylabel="neurons of another pattern (%)", ylim=(0, None)
        )
        ax.legend()

    return drawn("scales", "The larger the weights, the fewer neurons change their pattern", draw)


def animation(name: str, title: str, path: Path, n_frames: int, logarithmic: bool) -> Picture:
    """Return up to ``n_frames`` frames of the output with the points, and of each neuron's activation point and norm.

    They are evenly spaced in steps until the loss is next to nothing; with ``logarithmic`` in their logarithm, and the
    axis of norms is linear then, since it is the descent from large weights that is fast at first and keeps norms.
    """
    steps = np.array(sorted(path.kept))
    end = path.step_below(1e-4 / path.losses[0])
    wanted = np.concatenate([[0], np.geomspace(1, end, n_frames - 1)]) if logarithmic else np.linspace(0, end, n_frames)
    chosen = list(dict.fromkeys(int(steps[np.argmin(np.abs(steps - at))]) for at in wanted))
    norms = np.concatenate([np.linalg.norm(path.kept[step].W, axis=0) for step in chosen])
    room = 0.1 * (norms.max() - norms.min())
    limits = (norms.min() - room, norms.max() + room) if logarithmic else (norms.min() / 2, norms.max() * 3)
    # Of what the output may be at first, show what it comes to around the points, and some more.
    ends = output(path.last.W, path.last.a, np.linspace(-1.5, 1.5, 200))
    low, high = min(ends.min(), -0.5), max(ends.max(), 2.5)

    def draw(figure: Figure, k: int) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        W, a, loss = path.kept[chosen[k]]
        draw_fit(upper, POINTS, TARGETS, W, a, (-_RANGE, _RANGE))
        upper.set(ylabel="output", ylim=(low - 0.2 * (high - low), high + 0.5 * (high - low)))
        upper.set_title(
            f"step {chosen[k]:,}, loss {loss:,.0f}" if loss > 100 else f"step {chosen[k]:,}, loss {loss:.2g}"
        )
        upper.legend(loc="upper left", fontsize=8)
        if not logarithmic:
            lower.axvline(predicted_point(), color=AMBER, linewidth=1.2, label="predicted activation point")
            lower.legend(loc="upper right", fontsize=8)
        draw_neurons(lower, W, np.linalg.norm(W, axis=0), s=14, alpha=0.5)
        lower.set(xlabel="input x; activation point of a neuron (triangle)", ylabel="norm ‖w‖", ylim=limits)
        lower.set_yscale("linear" if logarithmic else "log")

    return animated(name, title, draw, len(chosen), size=(6.0, 5.0), seconds=0.15)
