"""Study ``race``: first-order, second-order, convex and exact methods over time on the same two-layer problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from anmin.datasets.files import data_folder
from anmin.lab import method_race
from anmin.lab.figures import PALETTE, plain_log_ticks
from anmin.lab.method_race import ALPHA, CONVEX, DESCENTS, UNTUNED, VARPRO, Raced, Size, of_order, raced
from anmin.lab.results import load_average
from anmin.lab.study import Cell, Claim, Picture, Study, Table, drawn, spread
from anmin.lab.table_race import ANMIN, BATCH, GATED, N_NEURONS, OURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETS = ("horse_sdf", "bike_sharing", "abalone", "digits")
_WITHOUT_FILES = ("sdf-cat", "diabetes", "planted", "digits")
_BARBU = "[000] Barbu, Training a Two Layer ReLU Network Analytically"
_REVIEW = '[004] "A Review of Some Second Order Methods"'
_EARLIEST = 2e-3  # seconds from which curves are shown
_FIRST, _SECOND = of_order(1), of_order(2)
# Those of the lower panels are told apart by group too: second order, convex, exact.
_LINES = {CONVEX: "--", GATED: "--", OURS: "-.", VARPRO: "-.", ANMIN: "-."}
_LOWER = (*_SECOND, CONVEX, GATED, OURS, VARPRO, ANMIN)
FULL = Size(4, 2000, 1.2, 5, 1)
QUICK = Size(2, 600, 0.12, 2, 2)


def run(quick: bool = False, seed: int = 0) -> Study:
    """Race all methods, the descents at the best of their rates."""
    size = QUICK if quick else FULL
    method_race.prepare()
    load = load_average()
    there = data_folder() is not None
    results = [raced(name, size, seed) for name in (SETS if there else _WITHOUT_FILES)[: size.n_sets]]
    n_rates = len(next(iter(DESCENTS.values())).rates[:: size.every])
    return Study(
        "race",
        "All methods over time on the same tables, and what tuning each needed",
        f"Training loss against seconds of {N_NEURONS} neurons on {', '.join(r.name for r in results)}, standardised, "
        f"at most {size.n_rows:,} rows of each: the mean squared error plus {ALPHA:g} times all squared weights, the "
        f"same for all. {len(_FIRST)} first-order and {len(_SECOND)} second-order methods of PyTorch and of this lab "
        f"have {size.seconds:g} s for each run, at the best, for the first seed, of {n_rates} constant rates half a "
        f"decade apart{' (here each second one)' if size.every == 2 else ''}, all else fixed beforehand, batches of "
        f"{BATCH} rows, L-BFGS all rows. "
        f"The solvers of this package have as long and no rate; the convex programs ({N_NEURONS // 2} random "
        f"gates that may become two neurons each, and {N_NEURONS} gates of gated networks, which are another kind) end "
        "by themselves. What concerns all tables is judged by most of them. "
        + ("" if there else "The tables of the source are not here (ANMIN_DATA names no folder). "),
        [*_of_anmin(results, there), _tuning_claim(results), *_of_groups(results)],
        [_losses(results), _tuning(results), _grid(results)],
        [_curves(results), _rates(results)],
        {
            "alpha": ALPHA,
            "neurons": N_NEURONS,
            "batch": BATCH,
            "rows at most": size.n_rows,
            "seconds of a run": size.seconds,
            "rates": n_rates,
            "seeds": size.n_seeds,
            "seed": seed,
            "load of the machine": "unknown" if load is None else load,
        },
    )


def _of_anmin(results: Sequence[Raced], there: bool) -> list[Claim]:
    rivals = ("SGD", "Adam", "L-BFGS")
    named = results[:2]
    lower = [r.final(ANMIN) < min(map(r.final, rivals)) for r in named]
    sooner = [r.final(ANMIN) < min(r.at(method, r.end(ANMIN)) for method in ("SGD", "Adam")) for r in results]
    best = {r.name: min(DESCENTS, key=r.final) for r in results}
    won = [r.final(OURS) < r.final(best[r.name]) for r in results]
    return [
        Claim.judged(
            "ANMIN obtains a lower training loss than SGD, Adam and L-BFGS on SDF and on bike-sharing.",
            f"{_BARBU}, experiments",
            f"Lower than all three on {sum(lower)} of {len(named)}, than SGD and Adam on "
            f"{sum(r.final(ANMIN) < min(r.final('SGD'), r.final('Adam')) for r in named)}: "
            + "; ".join(
                f"{r.name} ANMIN {_spread(r, ANMIN)}, "
                + ", ".join(f"{method} {_spread(r, method)}" for method in rivals)
                for r in named
            )
            + ". Original, on all rows, with errors in other units: SDF 3.53 against 12.35 of Adam, bike-sharing 1457 "
            "against 2465; here all rates are tuned, and L-BFGS has a line search, which the recipe of the source has "
            "not.",
            all(lower) if there else None,
        ),
        Claim.judged(
            "ANMIN is faster than SGD and Adam: when it ends, they have a higher loss.",
            f"{_BARBU}, abstract",
            f"On {sum(sooner)} of {len(results)} tables: "
            + "; ".join(
                f"{r.name} after {r.end(ANMIN):.2g} s {r.final(ANMIN):.3g}, SGD {r.at('SGD', r.end(ANMIN)):.3g}, Adam "
                f"{r.at('Adam', r.end(ANMIN)):.3g}"
                for r in results
            )
            + ". The rates of SGD and Adam were found before, which is not counted.",
            _on_most(sooner),
        ),
        Claim.judged(
            "ReLURegressor by default, without any tuning, ends below every descent at the best of its rates.",
            "what this package is made for; asked by this project",
            f"On {sum(won)} of {len(results)} tables: "
            + "; ".join(f"{r.name} {_spread(r, OURS)}, {best[r.name]} {_spread(r, best[r.name])}" for r in results)
            + ".",
            _on_most(won),
        ),
    ]


def _tuning_claim(results: Sequence[Raced]) -> Claim:
    groups = {"first": _FIRST, "second": _SECOND}
    excess = {name: [r.excess(m) for r in results for m in of] for name, of in groups.items()}
    beside = {name: [r.beside(m) for r in results for m in of] for name, of in groups.items()}
    less = [float(np.median(of["second"])) < float(np.median(of["first"])) for of in (excess, beside)]
    each = ", ".join(f"{m} {np.median([r.beside(m) for r in results]):.3g}" for m in DESCENTS)
    few = len(results[0].grid["SGD"]) < 3
    return Claim.judged(
        "Second-order methods need less tuning of their rates than first-order methods.",
        _REVIEW,
        f"Worst over best loss within the grid of a method: second order {spread(excess['second'])}, first order "
        f"{spread(excess['first'])}. At the rate beside the best, the worse of the two, over that at the best: second "
        f"order {spread(beside['second'])}, first order {spread(beside['first'])}; medians {each}. Judged: whether "
        "both medians are lower for the second order, from three rates on.",
        None if few else True if all(less) else None if any(less) else False,
    )


def _of_groups(results: Sequence[Raced]) -> list[Claim]:
    first = {r.name: min(_FIRST, key=r.final) for r in results}
    second = {r.name: min(_SECOND, key=r.final) for r in results}
    lower = [r.final(second[r.name]) < r.final(first[r.name]) for r in results]
    faster = [r.final("momentum") < r.final("SGD") for r in results]
    convex = [r.final(CONVEX) < min(r.final("SGD"), r.final("Adam")) for r in results]
    return [
        Claim.judged(
            "In as many seconds a second-order method ends lower than every first-order method, each at its best rate.",
            "what they are made for; asked by this project",
            f"On {sum(lower)} of {len(results)} tables: "
            + "; ".join(
                f"{r.name} {second[r.name]} {_spread(r, second[r.name])}, {first[r.name]} {_spread(r, first[r.name])}"
                for r in results
            )
            + ".",
            _on_most(lower),
        ),
        Claim.judged(
            "Momentum speeds up gradient descent.",
            '[004] "The Use of Momentum"',
            f"In as many seconds lower than SGD, each at its best rate, on {sum(faster)} of {len(results)} tables: "
            + "; ".join(f"{r.name} {_spread(r, 'momentum')}, SGD {_spread(r, 'SGD')}" for r in results)
            + ".",
            _on_most(faster),
        ),
        Claim.judged(
            "At equal neurons the convex program ends lower than SGD and Adam.",
            "Mercklé, Iutzeler & Redko, The Hidden Convex Optimization Landscape",
            f"On {sum(convex)} of {len(results)} tables: "
            + "; ".join(
                f"{r.name} {_spread(r, CONVEX)} in {r.end(CONVEX):.2g} s, SGD {r.final('SGD'):.3g}, Adam "
                f"{r.final('Adam'):.3g}"
                for r in results
            )
            + ". Study convex_race has more tables and a larger penalty.",
            _on_most(convex),
        ),
    ]


def _on_most(found: Sequence[bool]) -> bool:
    return sum(found) > len(found) / 2


def _spread(result: Raced, method: str) -> str:
    return spread([curve.final for curve in result.curves[method]])


def _methods() -> Mapping[str, str]:
    groups = {"first order": _FIRST, "second order": _SECOND, "convex": (CONVEX, GATED), "exact": (OURS, VARPRO, ANMIN)}
    return {method: group for group, methods in groups.items() for method in methods}


def _losses(results: Sequence[Raced]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (method, group, *(cell for r in results for cell in (_spread(r, method), f"{r.end(method):.2g}")))
        for method, group in _methods().items()
    ]
    columns = ("method", "group", *(title for r in results for title in (r.name, "seconds")))
    note = (
        "The loss of the gated program is that of gated networks. A method that ends sooner has converged by its own "
        "measure. AdaHessian and LiSSA take several passes for a step."
    )
    return Table("Lowest training loss, median and range of seeds, and seconds until the end", columns, rows, note)


def _tuning(results: Sequence[Raced]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for method, group in _methods().items():
        if method in UNTUNED:
            rows.append((method, group, 0, 0.0, "–", "–", "–"))
            continue
        tried = len(results[0].grid[method])
        rates = ", ".join(_rate(r, method) for r in results)
        seconds = float(np.sum([r.tuning[method] for r in results]))
        excess = float(np.median([r.excess(method) for r in results]))
        beside = float(np.median([r.beside(method) for r in results]))
        rows.append((method, group, tried, seconds, rates, f"{excess:.3g}", f"{beside:.3g}"))
    columns = (
        "method",
        "group",
        "rates tried on each table",
        "seconds of tuning, all tables",
        "best rate of each table",
        "worst over best loss, median",
        "beside the best rate over best, median",
    )
    return Table(
        "What tuning each needed",
        columns,
        rows,
        "* at an end of the grid: a rate beyond may be better. Losses are the lowest on the way, which flatters rates "
        "that diverge. The penalty and the number of neurons are given.",
    )


def _rate(result: Raced, method: str) -> str:
    best, rates = result.best_rate(method), list(result.grid[method])
    return f"{best:g}*" if best in (rates[0], rates[-1]) else f"{best:g}"


def _grid(results: Sequence[Raced]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (method, rate, *(float(r.grid[method][rate]) for r in results))
        for method, of in results[0].grid.items()
        for rate in of
    ]
    columns = ("method", "rate", *(r.name for r in results))
    return Table("Lowest training loss by rate, first seed", columns, rows)


def _curves(results: Sequence[Raced]) -> Picture:
    winners = ", ".join(
        f"{min((m for m in _methods() if m != GATED), key=r.final)} on {r.name}" for r in results
    )  # gated networks are of another kind
    return drawn(
        "curves",
        f"Training loss over time, descents at their best rates; the lowest ReLU network: {winners}",
        partial(_draw_curves, results=results),
        (3.9 * len(results) + 2.6, 7.6),
    )


def _draw_curves(figure: Figure, results: Sequence[Raced]) -> None:
    axes = figure.subplots(2, len(results), squeeze=False, sharex=True)
    last = max(result.end(method) for result in results for method in _methods())
    for column, result in enumerate(results):
        finals = [result.final(method) for method in _methods()]
        lowest, highest = 0.85 * min(finals), min(1.3, 6 * float(np.median(finals)))
        best = min(_FIRST, key=result.final)
        for ax, methods in zip(axes[:, column], (_FIRST, (best, *_LOWER)), strict=True):
            colours = dict(zip(methods if methods is _FIRST else _LOWER, _palette(), strict=False))
            for method in methods:
                seconds = np.geomspace(_EARLIEST, last, 200)
                losses = np.array([result.at(method, at) for at in seconds])
                shown = np.isfinite(losses)
                kind = _LINES.get(method, "-")
                reference = methods is not _FIRST and method in _FIRST
                style = {"color": "#bbbbbb", "linewidth": 3.5} if reference else {"color": colours[method]}
                label = "lowest of the first order" if reference else method
                ax.plot(seconds[shown], losses[shown], kind, label=label, **style)
            ax.set(xscale="log", yscale="log", ylim=(lowest, highest), xlim=(_EARLIEST, last))
            plain_log_ticks(ax.yaxis, lowest, highest)
        axes[0, column].set_title(f"{result.name}, {result.shape[0]:,} × {result.shape[1]}")
        axes[1, column].set_xlabel("seconds")
        plain_log_ticks(axes[1, column].xaxis, _EARLIEST, 1e3)  # powers of ten alone: the panels are narrow
    for row, title in zip(axes, ("First order", "Second order, convex, exact"), strict=True):
        row[0].set_ylabel("lowest training loss, median of seeds")
        row[-1].legend(title=title, loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=9)


def _palette() -> Sequence[str]:
    return (*PALETTE[:7], *PALETTE[:3])


def _rates(results: Sequence[Raced]) -> Picture:
    medians = {m: float(np.median([r.excess(m) for r in results])) for m in DESCENTS}
    least = min(medians, key=medians.__getitem__)
    return drawn(
        "rates",
        f"How much a wrong rate costs: least for {least}, whose worst rate gives {medians[least]:.2g} times "
        "its lowest loss",
        partial(_draw_rates, results=results),
        (8.6, 4.8),
    )


def _draw_rates(figure: Figure, results: Sequence[Raced]) -> None:
    ax = figure.subplots()
    for k, result in enumerate(results):
        for at, method in enumerate(DESCENTS):
            losses = np.array(list(result.grid[method].values()))
            x = np.full(len(losses), at + 0.22 * (k - (len(results) - 1) / 2))
            label = result.name if at == 0 else None
            ax.plot(x, losses / losses.min(), "o-", color=PALETTE[k], markersize=5, linewidth=1, alpha=0.8, label=label)
    ax.axvline(len(_FIRST) - 0.5, color="#777777", linewidth=0.8)
    worst = max(r.excess(m) for r in results for m in DESCENTS)
    ax.set(yscale="log", ylabel="loss over that of the best rate", ylim=(0.95, 1.2 * worst))
    ax.set_xticks(range(len(DESCENTS)), list(DESCENTS), rotation=30, ha="right")
    ax.set_xlabel("method, a point for each rate: first order left of the line, second order right")
    plain_log_ticks(ax.yaxis, 0.95, 1.2 * worst)
    ax.legend(title="table")
