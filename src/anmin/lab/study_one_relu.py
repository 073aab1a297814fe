"""One ReLU by projected gradient descent: its rate, and rows far fewer than inputs where the weights are sparse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anmin.lab.figures import PALETTE
from anmin.lab.one_relu import keep_largest, project_on_l1_ball, projected_descent
from anmin.lab.studies import STUDIES
from anmin.lab.study import Claim, Study, Table, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "one_relu"
_SOURCE = "Soltanolkotabi"
_DENSE, _DENSE_ROWS = 100, 2000
_SPARSE, _NONZERO, _SPARSE_ROWS = 200, 5, 150
_STEPS = 300
_RATE, _GATED = 0.6, 10  # error at most 0.6^τ after τ steps, up to so many
_SETS = ("no set", "ℓ1 ball", "5-sparse")
_RATES = (1.0, 0.5)  # of a step: of the source, and half of it


def run(quick: bool = False, seed: int = 0) -> Study:
    """Run projected gradient descent on y = relu(w*ᵀ x), ‖w*‖ = 1, x ~ N(0, I).

    Parameters
    ----------
    quick : bool, default False
        Three seeds and fewer numbers of rows.
    seed : int, default 0
    """
    seeds = range(seed, seed + (3 if quick else 20))
    rows = (50, 150, 800) if quick else (30, 50, 75, 100, 150, 250, 400, 600, 800, 1200)
    dense = np.array([errors("ℓ1 ball", _DENSE, _DENSE_ROWS, None, s)[:21] for s in seeds])
    sparse = np.array([errors("5-sparse", _SPARSE, _SPARSE_ROWS, _NONZERO, s) for s in seeds])
    shares = {
        (name, rate): [
            float(np.mean([errors(name, _SPARSE, n, _NONZERO, s, rate)[-1] < 1e-3 for s in seeds])) for n in rows
        ]
        for name in _SETS
        for rate in _RATES
    }
    best = {name: [max(pair) for pair in zip(*(shares[name, rate] for rate in _RATES), strict=True)] for name in _SETS}
    averaged = [_averaged(s) for s in seeds]
    gate = _RATE ** np.arange(21)
    within = float(np.mean(np.all(dense[:, : _GATED + 1] <= gate[: _GATED + 1] + 1e-12, axis=1)))
    to_20 = float(np.mean(np.all(dense <= gate + 1e-12, axis=1)))
    later = (dense[:, 20] / dense[:, 10]) ** 0.1
    first = np.median(dense, axis=0)
    return Study(
        NAME,
        STUDIES[NAME][1],
        f"y = relu(w*ᵀ x), ‖w*‖ = 1, x ~ N(0, I), rate 1 from w = 0, {len(seeds)} seeds; dense w* in {_DENSE} "
        "inputs with "
        f"{_DENSE_ROWS:,} rows, {_NONZERO}-sparse w* in {_SPARSE} inputs. The error is ‖w − w*‖.",
        [
            Claim.judged(
                "From zero the error falls geometrically with the rate 1.",
                f"{_SOURCE}, Theorem 1",
                f"Median errors after 1 to 4 steps {', '.join(f'{e:.2g}' for e in first[1:5])}; at most {_RATE}^τ "
                "for "
                f"all τ up to {_GATED} in {within:.0%} of the seeds, up to 20 in {to_20:.0%}. From step 10 to 20 a "
                "step multiplies the error "
                "by "
                f"{later.min():.2f} to {later.max():.2f}: the rows are the same in all steps.",
                within == 1.0,
            ),
            Claim.judged(
                "Where w* is sparse, fewer rows than inputs are enough, and it is found exactly.",
                f"{_SOURCE}, Theorem 1 and its corollary",
                f"{_NONZERO}-sparse in {_SPARSE} inputs with {_SPARSE_ROWS} rows: largest error after {_STEPS} steps "
                f"{sparse[:, -1].max():.0e}.",
                bool(sparse[:, -1].max() < 1e-10),
            ),
            Claim.judged(
                "A set that knows more about w* needs fewer rows.",
                f"{_SOURCE}, minimal number of samples by the descent cone",
                "Rows from which at least nine of ten seeds are found to 1e-3: "
                + ", ".join(f"{_enough(rows, best[name])} with {name}" for name in _SETS)
                + ".",
                _ordered([_first(rows, best[name]) for name in reversed(_SETS)]),
            ),
            Claim.judged(
                "The rate 1 serves any number of rows that is enough.",
                f"{_SOURCE}, Theorem 1 (rate 1)",
                "Rows from which at least nine of ten seeds are found with the rates 1 and 0.5: "
                + "; ".join(
                    f"{name} {' and '.join(_enough(rows, shares[name, rate]) for rate in _RATES)}" for name in _SETS
                )
                + ". Near the least number of rows the rate 1 overshoots on convex sets; sparse ones like it best.",
                all(_first(rows, shares[name, 1.0]) <= _first(rows, shares[name, 0.5]) for name in _SETS),
            ),
            Claim.judged(
                "The loss of the review's Definition 2.11, which averages predictions before it squares, is the loss.",
                "review, Definition 2.11",
                f"It is {max(loss for loss, _ in averaged):.0e} at random vectors that are only scaled to the mean "
                "of y, "
                f"at a median distance of {np.median([gap for _, gap in averaged]):.2g} from w*: it knows no "
                "direction.",
                max(loss for loss, _ in averaged) > 1e-6,
            ),
        ],
        [
            Table(
                f"Dense w*: error after each step ({len(seeds)} seeds)",
                ("step", "median", "worst", f"{_RATE}^step"),
                [(t, float(first[t]), float(dense[:, t].max()), float(gate[t])) for t in (*range(7), 10, 20)],
                "Checked once before: 0.55, 0.20, 0.087, 0.039 after 1 to 4 steps.",
            ),
            Table(
                f"Share of seeds found (error < 1e-3 in {_STEPS} steps), {_NONZERO}-sparse w* in {_SPARSE} inputs",
                ("rows", *(f"{name}, rate {rate:g}" for name, rate in shares)),
                [(n, *(values[i] for values in shares.values())) for i, n in enumerate(rows)],
            ),
        ],
        [
            drawn(
                "rate",
                f"The error of one ReLU falls like {_RATE}^τ",
                lambda figure: _draw_errors(figure, dense, gate),
            ),
            drawn(
                "rows",
                "A set that knows that w* is sparse lets fewer rows than inputs be enough",
                lambda figure: _draw_shares(figure, rows, shares),
            ),
        ],
        {"rate": 1, "steps": _STEPS, "seeds": len(seeds), "first seed": seed},
    )


def errors(name: str, d: int, n_rows: int, n_nonzero: int | None, seed: int, rate: float = 1.0) -> NDArray:
    """Return ‖w − w*‖ after 0, 1, ..., 300 steps, (301,), with a random w* of norm 1.

    Parameters
    ----------
    name : str
        The set projected on: "no set", "ℓ1 ball" or "5-sparse".
    d, n_rows : int
        Inputs and rows.
    n_nonzero : int or None
        Entries of w* other than zero; None for all.
    seed : int
    rate : float, default 1.0
    """
    rng = np.random.default_rng([seed, d, n_rows])
    w_star = rng.standard_normal(d)
    if n_nonzero is not None:
        w_star = keep_largest(w_star, n_nonzero)
    w_star /= np.linalg.norm(w_star)
    X = rng.standard_normal((n_rows, d))
    iterates = projected_descent(X, np.maximum(X @ w_star, 0), _projection(name, w_star), _STEPS, rate=rate)
    found: NDArray = np.linalg.norm(iterates - w_star, axis=1)
    return found


def _projection(name: str, w_star: NDArray) -> Callable[[NDArray], NDArray]:
    radius = float(np.abs(w_star).sum())
    projections: dict[str, Callable[[NDArray], NDArray]] = {
        "no set": lambda w: w,
        "ℓ1 ball": lambda w: project_on_l1_ball(w, radius),
        "5-sparse": lambda w: keep_largest(w, _NONZERO),
    }
    return projections[name]


def _averaged(seed: int) -> tuple[float, float]:
    """Return (mean relu(wᵀx) − mean y)² at a random w scaled to make it small, and ‖w − w*‖."""
    rng = np.random.default_rng([seed, 211])
    X = rng.standard_normal((_DENSE_ROWS, _DENSE))
    w_star, w = rng.standard_normal((2, _DENSE))
    w_star /= np.linalg.norm(w_star)
    y = np.maximum(X @ w_star, 0)
    w *= y.mean() / np.maximum(X @ w, 0).mean()
    return float((np.maximum(X @ w, 0).mean() - y.mean()) ** 2), float(np.linalg.norm(w - w_star))


def _first(rows: Sequence[int], shares: Sequence[float]) -> float:
    """Return the least number of rows from which at least nine of ten seeds are found, infinity if there is none."""
    found = np.inf
    for n, share in zip(reversed(rows), reversed(shares), strict=True):
        if share < 0.9:
            break
        found = n
    return found


def _enough(rows: Sequence[int], shares: Sequence[float]) -> str:
    first = _first(rows, shares)
    return f"more than {rows[-1]:,}" if np.isinf(first) else f"{first:,}"


def _ordered(values: Sequence[float]) -> bool:
    return all(a <= b for a, b in pairwise(values)) and values[0] < values[-1]


def _draw_errors(figure: Figure, dense: NDArray, gate: NDArray) -> None:
    ax = figure.subplots()
    steps = np.arange(len(gate))
    ax.fill_between(steps, dense.min(0), dense.max(0), color=PALETTE[0], alpha=0.2, lw=0)
    ax.plot(steps, np.median(dense, axis=0), "o-", color=PALETTE[0], label="error, median and range of seeds")
    ax.plot(steps, gate, "--", color=PALETTE[1], label=f"{_RATE}^τ")
    ax.set(yscale="log", xlabel="step τ", ylabel="‖w − w*‖ (‖w*‖ = 1)")
    ax.set_xticks(range(0, len(gate), 5))
    ax.legend()


def _draw_shares(figure: Figure, rows: Sequence[int], shares: dict[tuple[str, float], list[float]]) -> None:
    ax = figure.subplots()
    for (name, rate), values in shares.items():
        style = "o-" if rate == 1.0 else "s--"
        ax.plot(rows, values, style, ms=5, color=PALETTE[_SETS.index(name)], label=f"{name}, rate {rate:g}")
    ax.axvline(_SPARSE, color="#555555", lw=0.8, ls=":", label=f"{_SPARSE} inputs")
    ax.set(xscale="log", xlabel="rows", ylabel="share of seeds found (error < 1e-3)", ylim=(-0.05, 1.05))
    ax.set_xticks(rows, [f"{n:,}" for n in rows], fontsize=8)
    ax.minorticks_off()
    figure.legend(loc="outside right center", title="projected on", fontsize=8)
