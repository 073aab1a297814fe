"""Neurons align in gradient descent, and the convex optimum of their patterns (Mercklé, Iutzeler & Redko)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from anmin.arrangements import patterns_of
from anmin.lab.colours import BLUE, GREY, VERMILION
from anmin.lab.descent import descend
from anmin.lab.study import Cell, Claim, Picture, Study, Table, drawn
from anmin.rows import ArrayRows
from anmin.solvers.convex import solve_convex

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_ROWS, N_FEATURES, N_NEURONS, N_STEPS = 100, 10, 20, 300
ALPHA, RATE, SCALE = 5e-3, 0.05, 1e-4
_SCALES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
_FEW = 10  # patterns at most, for neurons to count as aligned
_SLACK = 1e-6  # relative, of a convex optimum
_PAPER = "Mercklé, Iutzeler & Redko, The Hidden Convex Optimization Landscape"


class Size(NamedTuple):
    """How many seeds are run, and the steps from one convex optimum to the next."""

    n_seeds: int
    every: int


FULL, QUICK = Size(5, 5), Size(2, 30)


@dataclass(frozen=True, eq=False)
class Path:
    """A descent: at all steps its loss and number of patterns, and at some the convex optimum of these patterns.

    Attributes
    ----------
    losses, counts : ndarray of shape (steps + 1,)
    steps, optima : ndarray
        Where the optimum was computed, and what it is there.
    """

    losses: NDArray
    counts: NDArray
    steps: NDArray
    optima: NDArray

    @property
    def passed(self) -> int | None:
        """The first step at which the loss is below the convex optimum of the first patterns."""
        below = np.flatnonzero(self.losses < self.optima[0])
        return int(below[0]) if below.size else None


def linear_rows(seed: int) -> tuple[NDArray, NDArray]:
    """Return inputs ~ N(0, I) and a linear function of them whose mean square is 1."""
    rng = np.random.default_rng([seed, 0])
    X = rng.standard_normal((N_ROWS, N_FEATURES))
    y = X @ rng.standard_normal(N_FEATURES)
    return X, y / np.sqrt(np.mean(y**2))


def optimum(X: NDArray, y: NDArray, W: NDArray, alpha: float) -> float:
    """Return the least loss of networks without biases whose neurons have the patterns on X of columns of W (d, m)."""
    vectors = patterns_of(X, W).without_zero().vectors
    return solve_convex(ArrayRows(X, y), vectors, alpha, bias=False).objective


def descent_path(seed: int, scale: float, every: int | None = None) -> Path:
    """Descend from weights ~ N(0, scale²); with ``every``, the optimum is found at steps 0, every, 2·every, ..."""
    X, y = linear_rows(seed)
    rng = np.random.default_rng([seed, 1])
    W, b = scale * rng.standard_normal((N_FEATURES, N_NEURONS)), scale * rng.standard_normal(N_NEURONS)
    losses, counts, steps, optima = [], [], [], []
    # Divided by √n, the sum of squares of the descent is the mean of the loss.
    points = descend(X / np.sqrt(N_ROWS), y / np.sqrt(N_ROWS), W, b, RATE, N_STEPS, decay=ALPHA)
    for step, point in enumerate(points):
        losses.append(float(point.loss))
        counts.append(len(patterns_of(X, point.W)))
        if every and step % every == 0:
            steps.append(step)
            optima.append(optimum(X, y, point.W, ALPHA))
    return Path(*map(np.array, (losses, counts, steps, optima)))


def run(quick: bool = False, seed: int = 0) -> Study:
    """Follow the patterns of full-batch descent, and the convex optimum that they allow."""
    size = QUICK if quick else FULL
    seeds = range(seed, seed + size.n_seeds)
    paths = [descent_path(k, SCALE, size.every) for k in seeds]
    scales = {scale: [descent_path(k, scale) for k in seeds] for scale in _SCALES}
    return Study(
        "alignment",
        "Alignment of neurons in gradient descent",
        f"{N_NEURONS} neurons without biases fit a linear function of {N_FEATURES} inputs on {N_ROWS} rows by gradient "
        f"descent on all rows, from weights of size {SCALE:g}. Counted are the different patterns of the neurons; the "
        "convex program of the patterns of a step gives the least loss that neurons with these patterns can have. The "
        "sizes are those of the source; it does not print its penalty, step and start, which are chosen here so that "
        "the loss falls within its 300 steps.",
        _claims(paths, size),
        [_by_seed(paths), _by_scale(scales)],
        [_picture(paths)],
        {
            "rows": N_ROWS,
            "inputs": N_FEATURES,
            "neurons": N_NEURONS,
            "steps": N_STEPS,
            "step size": RATE,
            "alpha": ALPHA,
            "scale of the start": SCALE,
            "seeds": size.n_seeds,
            "seed": seed,
        },
    )


def _claims(paths: Sequence[Path], size: Size) -> list[Claim]:
    ends = [int(path.counts[-1]) for path in paths]
    trends = [float(spearmanr(np.arange(len(path.counts)), path.counts).statistic) for path in paths]
    above = [float(np.max(path.optima / path.losses[path.steps])) for path in paths]
    passed = [path.passed for path in paths]
    reached = [step for step in passed if step is not None]
    return [
        Claim.judged(
            "Neurons align during descent: 20 neurons of 20 patterns have 5 patterns after 300 steps.",
            f"{_PAPER}, the section on the dynamics",
            f"{_median(ends)} patterns after {N_STEPS} steps of {paths[0].counts[0]} at the start, median and range "
            f"of {len(paths)} seeds; rank correlation of step and number {max(trends):.2f} or less. Judged: it "
            f"falls, to a median of at most {_FEW}.",
            max(trends) < 0 and float(np.median(ends)) <= _FEW,
        ),
        Claim.judged(
            "At each step the convex optimum of the current patterns is at most the loss of the network.",
            f"{_PAPER}, the section on the dynamics",
            f"At every {size.every}th step of {len(paths)} seeds the optimum is at most {max(above):.6f} times the "
            f"loss; at the start it is {_median([path.optima[0] for path in paths])} beside a loss of "
            f"{_median([path.losses[0] for path in paths])} (source: 0.1 beside 1.0).",
            max(above) <= 1 + _SLACK,
        ),
        Claim.judged(
            "Descent ends below the convex optimum of its first patterns, which it passes near step 175.",
            f"{_PAPER}, the section on the dynamics",
            f"{len(reached)} of {len(paths)} seeds, "
            + (f"at step {_median(reached)}; " if reached else "")
            + f"last loss {_median([path.losses[-1] for path in paths])}, optimum of the first patterns "
            f"{_median([path.optima[0] for path in paths])}.",
            len(reached) == len(paths),
        ),
    ]


def _median(values: Sequence[float]) -> str:
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


def _by_seed(paths: Sequence[Path]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            f"{k}",
            int(path.counts[-1]),
            float(path.optima[0]),
            "never" if path.passed is None else path.passed,
            float(path.losses[-1]),
            float(path.optima[-1]),
        )
        for k, path in enumerate(paths)
    ]
    columns = (
        "seed",
        "patterns, end",
        "optimum, first patterns",
        "passed at step",
        "loss, end",
        "optimum, last patterns",
    )
    return Table("Descents from the tiny start", columns, rows)


def _by_scale(scales: dict[float, list[Path]]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for scale, paths in scales.items():
        low, middle, high = np.quantile([path.counts[-1] for path in paths], [0, 0.5, 1])
        loss = float(np.median([path.losses[-1] for path in paths]))
        rows.append((f"{scale:g}", float(low), float(middle), float(high), loss))
    return Table(
        f"Different patterns after {N_STEPS} steps by the size of the start",
        ("scale of the start", "fewest", "median", "most", "median loss"),
        rows,
        "Neurons align while the loss has not yet begun to fall, which takes the longer the smaller the start is.",
    )


def _picture(paths: Sequence[Path]) -> Picture:
    return drawn(
        "path",
        "Neurons align, and descent passes the convex optimum of its first patterns",
        partial(_draw, paths=paths),
        (10.0, 4.0),
    )


def _draw(figure: Figure, paths: Sequence[Path]) -> None:
    left, right = figure.subplots(1, 2)
    for k, path in enumerate(paths):
        # The first seed in full, the others thin.
        style = {"linewidth": 2.0, "alpha": 1.0} if k == 0 else {"linewidth": 0.8, "alpha": 0.45}
        labels = ("loss of the network", "convex optimum of its patterns", "convex optimum of the first patterns")
        loss, best, first = labels if k == 0 else 3 * (None,)
        left.plot(path.losses, color=BLUE, label=loss, **style)
        left.plot(path.steps, path.optima, color=VERMILION, label=best, **style)
        if k == 0:
            left.axhline(path.optima[0], color=GREY, linestyle=(0, (4, 2)), linewidth=1.2, label=first)
        right.plot(
            path.counts, color=BLUE, label="first seed" if k == 0 else "other seeds" if k == 1 else None, **style
        )
    left.set(yscale="log", xlabel="step", ylabel="loss (mean squared error and penalty)")
    right.set(
        xlabel="step",
        ylabel="different patterns of the neurons",
        ylim=(0, N_NEURONS + 1),
        yticks=range(0, N_NEURONS + 1, 5),
    )
    right.legend(loc="lower left")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
