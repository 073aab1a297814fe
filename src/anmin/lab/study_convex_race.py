"""Convex programs against SGD and Adam over time, on small tables (Mercklé, Iutzeler & Redko; Mishkin et al.)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anmin.datasets.files import data_folder
from anmin.lab import race
from anmin.lab.colours import AMBER, BLUE, GREEN, GREY, PURPLE, SKY, VERMILION
from anmin.lab.figures import plain_log_ticks
from anmin.lab.results import load_average
from anmin.lab.study import Cell, Claim, Picture, Study, Table, drawn
from anmin.lab.table_race import (
    ADAM,
    AFTER,
    ALPHA,
    BATCH,
    CONVEX,
    METHODS,
    N_NEURONS,
    SGD,
    WIDE,
    Raced,
    Size,
    Synthetic,
    raced,
    synthetic,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETS = ("yacht", "energy", "concrete", "wine_red", "abalone", "power", "bike_sharing")
_WITHOUT_FILES = ("diabetes", "planted")
_SLACK = 1e-6
_EARLIEST = 1e-2  # seconds from which curves are shown
_BLOG = "Mercklé, Iutzeler & Redko, The Hidden Convex Optimization Landscape, of the solver of Mishkin et al."
_SCNN = "Mishkin, Sahiner & Pilanci, Fast Convex Optimization for Two-Layer ReLU Networks, Fig. 1"
_COLOURS = dict(zip(METHODS, (VERMILION, AMBER, PURPLE, GREY, SKY, BLUE, GREEN, "#000000"), strict=True))
FULL = Size(
    7, 2000, 4000, 2.0, 5,
    {"sgd": (0.003, 0.01, 0.03, 0.1, 0.3), "adam": (0.0003, 0.001, 0.003, 0.01, 0.03)},
    100, 10, 12, 600, (250, 50),
)  # fmt: skip
QUICK = Size(3, 600, 800, 0.4, 2, {"sgd": (0.01, 0.1), "adam": (0.001, 0.01)}, 0, 3, 8, 100, (100, 20))


def run(quick: bool = False, seed: int = 0) -> Study:
    """Race the convex programs against descents and the solvers of this package."""
    size = QUICK if quick else FULL
    race.prepare()
    names = SETS if data_folder() is not None else _WITHOUT_FILES
    load = load_average()
    results = [raced(name, size, seed) for name in names[: size.n_sets]]
    repeated = synthetic(size, seed)
    wider = f", and once {size.wide}" if size.wide else ""
    return Study(
        "convex_race",
        "Convex programs against SGD and Adam",
        f"Training loss against seconds on small tables, standardised, at most {size.n_rows:,} rows of each: the "
        f"mean squared error plus {ALPHA:g} times all squared weights, the same for all. SGD and Adam train "
        f"{N_NEURONS} neurons for {size.steps:,} steps at each of several rates; the cone-constrained program has "
        f"{N_NEURONS // 2} random gates, each of which may become two neurons{wider}; the gated program has another "
        "kind of network. "
        + ("" if data_folder() is not None else "The tables of the source are not here (ANMIN_DATA names no folder). "),
        [*_claims(results), _synthetic_claim(repeated, size)],
        [_losses(results), _grid(results), _neurons(results)],
        [_picture(results)],
        {
            "alpha": ALPHA,
            "neurons": N_NEURONS,
            "batch": BATCH,
            "steps of a descent": size.steps,
            "seconds of ReLURegressor and ANMIN": size.max_time,
            "seeds": size.n_seeds,
            "seed": seed,
            "load of the machine": "unknown" if load is None else load,
        },
    )


def _claims(results: Sequence[Raced]) -> list[Claim]:
    lower = [r.final(CONVEX) < r.best_descent() for r in results]
    ends = [float(np.median([curve.seconds[-1] for curve in r.curves[CONVEX]])) for r in results]
    by_then = [
        min(float(np.median([curve.at(end) for curve in r.curves[method]])) for method in (SGD, ADAM))
        for r, end in zip(results, ends, strict=True)
    ]
    sooner = [r.final(CONVEX) < other for r, other in zip(results, by_then, strict=True)]
    spans = [_span(r, "sgd") for r in results] + [_span(r, "adam") for r in results]
    gains = [
        1 - after.final / before.final
        for r in results
        for before, after in zip(r.curves[ADAM], r.curves[AFTER], strict=True)
    ]
    wide = [r for r in results if WIDE in r.curves]
    return [
        Claim.judged(
            "At equal neurons the convex program reaches a lower training loss than SGD and Adam.",
            _BLOG,
            f"Lower than both at their best rates on {sum(lower)} of {len(results)} tables: "
            + "; ".join(f"{r.name} {r.final(CONVEX):.3g} and {r.best_descent():.3g}" for r in results)
            + ". "
            + (
                f"With 100 random gates lower on {sum(r.final(WIDE) < r.best_descent() for r in wide)}. "
                if wide
                else ""
            )
            + f"For the patterns that Adam ends with, on {sum(r.final(AFTER) < r.best_descent() for r in results)}.",
            sum(lower) > len(results) / 2,
        ),
        Claim.judged(
            "The convex program is there sooner: when it ends, SGD and Adam have a higher loss.",
            _BLOG,
            f"On {sum(sooner)} of {len(results)} tables: "
            + "; ".join(
                f"{r.name} after {end:.2g} s {r.final(CONVEX):.3g} and {other:.3g}"
                for r, end, other in zip(results, ends, by_then, strict=True)
            )
            + ".",
            sum(sooner) > len(results) / 2,
        ),
        Claim.judged(
            "SGD and Adam have to be tuned, the convex program has not.",
            _BLOG,
            "Worst over best loss within the grid of rates: median "
            f"{np.median(spans):.3g}, most {max(spans):.3g} (infinite where one diverges), of {len(spans)} grids. "
            "Judged: a median above 1.1.",
            float(np.median(spans)) > 1.1,
        ),
        Claim.judged(
            "The convex program of the patterns of a trained network is at most as high as its loss.",
            _SCNN,
            f"Of Adam's best networks, {len(gains)} in all, the patterns allow a loss lower by {_percent(gains)}, "
            "median and range.",
            min(gains) >= -_SLACK,
        ),
    ]


def _span(result: Raced, kind: str) -> float:
    values = [loss for (optimizer, _), loss in result.grid.items() if optimizer == kind]
    return max(values) / min(values)


def _percent(shares: Sequence[float]) -> str:
    low, middle, high = np.quantile(100 * np.asarray(shares), [0, 0.5, 1])
    return f"{middle:.1f} % ({low:.1f} to {high:.1f})"


def _synthetic_claim(found: Synthetic, size: Size) -> Claim:
    best = min(found.descents)
    n, d = size.shape
    scaled = "" if size.shape == FULL.shape else " (source: n = 250, d = 50)"
    return Claim.judged(
        "Descents from 10 starts end in 10 places, the convex program at or below the lowest.",
        _SCNN,
        f"n = {n}, d = {d}{scaled}, condition number 10, penalty 1e-4, {len(found.descents)} descents by Adam of "
        f"{size.n_neurons} neurons: {best:.6f} to {max(found.descents):.6f}; convex program of their {found.n_gates} "
        f"patterns {found.convex:.6f}.",
        found.convex <= best + _SLACK,
    )


def _losses(results: Sequence[Raced]) -> Table:
    methods = list(results[0].curves)
    rows: list[tuple[Cell, ...]] = []
    for r in results:
        cells: list[Cell] = [r.name, r.shape[0]]
        for method in methods:
            low, middle, high = np.quantile([curve.final for curve in r.curves[method]], [0, 0.5, 1])
            cells.append(f"{middle:.3g} ({low:.3g}–{high:.3g})")
        rows.append(tuple(cells))
    return Table(
        "Lowest training loss, median and range of seeds",
        ("table", "rows", *methods),
        rows,
        "The convex programs end by themselves, that of the patterns of Adam begins where Adam ends. The loss of the "
        "gated program is that of gated networks.",
    )


def _grid(results: Sequence[Raced]) -> Table:
    keys = list(results[0].grid)
    rows: list[tuple[Cell, ...]] = [(r.name, *(float(r.grid[key]) for key in keys)) for r in results]
    columns = ("table", *(f"{ {'sgd': 'SGD', 'adam': 'Adam'}[kind] } {rate:g}" for kind, rate in keys))
    return Table(
        "Lowest training loss by rate, first seed",
        columns,
        rows,
        "PyTorch's own default rate of Adam is 0.001.",
    )


def _neurons(results: Sequence[Raced]) -> Table:
    methods = list(results[0].curves)
    rows: list[tuple[Cell, ...]] = []
    for r in results:
        middle = {method: [curve.n_neurons for curve in curves] for method, curves in r.curves.items()}
        ends = [float(np.median([curve.seconds[-1] for curve in r.curves[m]])) for m in methods]
        rows.append((r.name, *(f"{np.median(middle[m]):g}, {end:.2g} s" for m, end in zip(methods, ends, strict=True))))
    return Table("Neurons in use at the end, and seconds until then, medians", ("table", *methods), rows)


def _picture(results: Sequence[Raced]) -> Picture:
    lower = sum(r.final(CONVEX) < r.best_descent() for r in results)
    columns = min(4, len(results))
    height = -(-len(results) // columns)
    return drawn(
        "curves",
        f"Training loss over time: at equal neurons convex ends below tuned SGD and Adam on {lower} of {len(results)} "
        "tables",
        partial(_draw, results=results, shape=(height, columns)),
        (3.1 * columns + 0.6, 2.9 * height + 1.0),
    )


def _draw(figure: Figure, results: Sequence[Raced], shape: tuple[int, int]) -> None:
    axes = figure.subplots(*shape, squeeze=False)
    flat: NDArray = axes.ravel()
    for ax, result in zip(flat, results, strict=False):
        last = max(curve.seconds[-1] for curves in result.curves.values() for curve in curves)
        for method, curves in result.curves.items():
            for k, curve in enumerate(curves):
                shown = np.isfinite(curve.losses) & (curve.seconds > 0)
                style = {"linewidth": 1.6 if k == 0 else 0.6, "alpha": 1.0 if k == 0 else 0.4}
                seconds, losses = curve.seconds[shown], curve.losses[shown]
                # A level once reached stays.
                label = method if k == 0 else None
                ax.plot([*seconds, last], [*losses, losses[-1]], color=_COLOURS[method], label=label, **style)
                if method == AFTER:  # which has but the right edge
                    ax.plot(seconds[-1], losses[-1], "o", color=_COLOURS[method], markersize=4)
        ax.set(xscale="log", yscale="log", title=f"{result.name}, {result.shape[0]:,} × {result.shape[1]}")
        finals = [result.final(method) for method in result.curves]
        lowest, highest = 0.8 * min(finals), min(1.1, 4 * max(finals))
        ax.set(xlim=(_EARLIEST, 1.1 * last), ylim=(lowest, highest))
        plain_log_ticks(ax.xaxis, _EARLIEST, 1e3)  # powers of ten alone: the panels are narrow
        plain_log_ticks(ax.yaxis, lowest, highest)
    for ax in flat[len(results) :]:
        ax.set_visible(False)
    for row in axes:
        row[0].set_ylabel("lowest training loss")
    for column in range(shape[1]):
        shown_below = [axes[k, column] for k in range(shape[0]) if k * shape[1] + column < len(results)]
        shown_below[-1].set_xlabel("seconds")
    figure.legend(*flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
