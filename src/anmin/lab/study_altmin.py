"""Alternating minimisation on planted networks: recovery, its basin, and the rows that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anmin.history import Record
from anmin.lab.figures import PALETTE
from anmin.lab.planted import Planted, as_network, distance, near_identity, plant
from anmin.lab.studies import STUDIES
from anmin.lab.study import Claim, Study, Table, drawn
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows
from anmin.solvers import AltMin, Anmin, Problem, solve
from anmin.solvers.systems import hidden_system

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "altmin"
_RECOVERED = 1e-8  # distance of what counts as the planted network: far above rounding, far below any other minimum
_SOURCE = "Jagatap & Hegde, Algorithm 1"
_STARTS = ("identity", "random")


def run(quick: bool = False, seed: int = 0) -> Study:
    """Run alternating minimisation on y = Σ relu(w*_qᵀ x) with W* = I + γ N/‖N‖.

    Parameters
    ----------
    quick : bool, default False
        Three seeds, six inputs and fewer settings.
    seed : int, default 0
    """
    n_seeds, d = (3, 6) if quick else (10, 10)
    gammas = (0.5, 1.0, 2.0, 4.0) if quick else (0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
    shares = (1, 2, 10) if quick else (1, 1.25, 1.5, 2, 3, 5, 10)
    seeds = range(seed, seed + n_seeds)
    large = 12 if quick else 20

    curves = {
        (large, 0.1): [distances(_near(large, 0.1, 10, s), "identity", 8) for s in seeds],
        (10, 0.5): [distances(_near(10, 0.5, 10, s), "identity", 8) for s in seeds],
    }
    basin = {
        (start, gamma): [distances(_near(d, gamma, 10, s), start, 60, s)[-1] for s in seeds]
        for start in _STARTS
        for gamma in gammas
    }
    rows = {share: [distances(_near(d, 0.5, share, s), "identity", 60)[-1] for s in seeds] for share in shares}
    generic = [distances(_generic(d, s), "identity", 60)[-1] for s in seeds]
    gap, equal = _step_difference(d, seed), _equal_columns(d, seed)
    rates = {key: _rates(basin, key, gammas) for key in _STARTS}
    row_rates = [_rate(rows[share]) for share in shares]
    return Study(
        NAME,
        STUDIES[NAME][1],
        f"y = Σ relu(w_qᵀ x) over d = k = {d} neurons, rows x ~ N(0, I), W* = I + γ N/‖N‖₂, no noise; recovered "
        "means "
        f"‖W − W*‖/‖W*‖ < {_RECOVERED:g} after at most 60 iterations, {n_seeds} seeds. The curves have d = k = "
        f"{large} "
        "and 10, as the source has d = 20.",
        [
            *_convergence_claims(curves, large),
            _basin_claim(rates["identity"], gammas, n_seeds),
            Claim.judged(
                "The identity is the start of networks near the identity; it is no start for any network.",
                "Jagatap & Hegde, Section 4 (skipped connections)",
                f"At W* ~ N(0, 1) the identity start recovers {_count(generic)} of {n_seeds}; at γ = {gammas[0]:g} "
                f"{round(rates['identity'][0] * n_seeds)} of {n_seeds}, where a random start recovers "
                f"{round(rates['random'][0] * n_seeds)}.",
                None if _rate(generic) == 1.0 else rates["identity"][0] == 1.0,
            ),
            Claim.judged(
                "About d·k² rows are enough, up to logarithms and conditioning.",
                "Jagatap & Hegde, Theorem 1",
                f"At γ = 0.5 all seeds are recovered from {_first_full(shares, row_rates, d)}; d·k² = {d**3:,}.",
                _enough(shares, row_rates) * d * d <= d**3,
            ),
            Claim.judged(
                "A step is ANMIN's solve of the hidden layer with B = 1, b⁰ = 0, no bias and no penalty.",
                "Jagatap & Hegde, Algorithm 1; Barbu, Equation 9",
                f"Largest difference of the weights of the two steps: {gap:.1e}.",
                gap < 1e-10,
            ),
            Claim.judged(
                "Neurons that start equal have equal patterns, so that the system is singular; they stay equal.",
                f"{_SOURCE}; symmetry of the zero start",
                f"After ten steps from equal columns (least-norm solutions) they differ by {equal:.1e}.",
                equal < 1e-8,
            ),
        ],
        [
            Table(
                "Median distance ‖W − W*‖/‖W*‖ after each iteration (identity start, 10·d·k rows)",
                ("iteration", *(f"d = {d}, γ = {g:g}" for d, g in curves)),
                [(i, *(float(np.median([c[i] for c in runs])) for runs in curves.values())) for i in range(9)],
            ),
            Table(
                f"Share of {n_seeds} seeds recovered (10·d·k rows)",
                ("γ", *(f"{start} start" for start in _STARTS)),
                [(g, *(rates[start][i] for start in _STARTS)) for i, g in enumerate(gammas)],
            ),
            Table(
                f"Share of {n_seeds} seeds recovered against rows (identity start, γ = 0.5)",
                ("rows / (d·k)", "rows", "recovered"),
                [(share, round(share * d * d), rate) for share, rate in zip(shares, row_rates, strict=True)],
            ),
        ],
        [
            drawn(
                "convergence",
                "Alternating minimisation reaches rounding in a handful of solves",
                lambda figure: _draw_curves(figure, curves),
            ),
            drawn(
                "basin",
                "The identity start recovers far beyond W* ≈ I, and a few rows per weight are enough",
                lambda figure: _draw_rates(figure, gammas, rates, shares, row_rates),
                (8.4, 4.0),
            ),
        ],
        {"inputs": d, "neurons": d, "seeds": n_seeds, "first seed": seed},
    )


def distances(planted: Planted, start: str, n_iter: int, seed: int = 0) -> list[float]:
    """Return ‖W − W*‖_F/‖W*‖_F at the start and after each of ``n_iter`` iterations; the last stands for later ones.

    Parameters
    ----------
    planted : Planted
    start : "identity" or "random"
    n_iter : int
    seed : int
        Of the random start.
    """
    found: list[float] = []

    def note(record: Record, network: ReLUNetwork) -> bool:
        found.append(distance(network.A[1:], planted.W))
        return found[-1] < 1e-12

    problem = Problem(ArrayRows(planted.X, planted.y), planted.W.shape[1], 0.0)
    solver = AltMin(start="identity" if start == "identity" else "random")
    solve(problem, solver, max_iter=n_iter, tol=0.0, callbacks=[note], rng=np.random.default_rng(seed))
    return found + [found[-1]] * (n_iter + 1 - len(found))


def _near(d: int, gamma: float, rows_per_weight: float, seed: int) -> Planted:
    rng = np.random.default_rng([seed, d])
    return plant(near_identity(d, d, gamma, rng), round(rows_per_weight * d * d), rng)


def _generic(d: int, seed: int) -> Planted:
    rng = np.random.default_rng([seed, d])
    return plant(rng.standard_normal((d, d)), 10 * d * d, rng)


def _step_difference(d: int, seed: int) -> float:
    """Return the largest difference of a step from ANMIN's hidden-layer solve on the same frozen pattern."""
    planted = _near(d, 0.5, 10, seed)
    problem = Problem(ArrayRows(planted.X, planted.y), d, 0.0)
    start = AltMin(start="identity").init(problem, None, np.random.default_rng(seed))
    after = AltMin().step(problem, start).network.A[1:]
    statistics = problem.rows.statistics(start.network.A, 0.0)
    M, c = hidden_system(statistics, start.network.B, start.network.b0)
    inputs = np.arange(d * (d + 1)).reshape(d, d + 1)[:, 1:].ravel()
    a, _ = Anmin().solve_hidden(M[np.ix_(inputs, inputs)], c[inputs], 0.0, statistics.n)
    return float(np.abs(after - a.reshape(d, d).T).max())


def _equal_columns(d: int, seed: int) -> float:
    """Return how far columns that start equal are apart after ten steps."""
    planted = _near(d, 0.5, 10, seed)
    problem = Problem(ArrayRows(planted.X, planted.y), d, 0.0)
    state = AltMin().init(problem, as_network(np.ones((d, d))), np.random.default_rng(seed))
    for _ in range(10):
        state = AltMin().step(problem, state)
    W = state.network.A[1:]
    return float(np.abs(W - W[:, :1]).max())


def _convergence_claims(curves: dict[tuple[int, float], list[list[float]]], large: int) -> list[Claim]:
    last = [runs[-1] for runs in curves[large, 0.1]]
    second = [runs[2] for runs in curves[large, 0.1]]
    # A linear rate keeps the quotient of successive errors; a quadratic one lets it fall.
    quotients = np.array([[r[i + 1] / r[i] for i in range(3)] for r in curves[10, 0.5]])
    first, third = np.median(quotients[:, 0]), np.median(quotients[:, 2])
    return [
        Claim.judged(
            "From the identity it recovers networks near the identity exactly.",
            f"{_SOURCE}, Theorem for skipped connections",
            f"d = {large}, γ = 0.1: distance {np.median(second):.1e} after two iterations (median; {min(second):.1e} "
            f"to {max(second):.1e}), at most {max(last):.0e} after eight, over {len(last)} seeds.",
            max(last) < _RECOVERED,
        ),
        Claim.judged(
            "It converges linearly.",
            "Jagatap & Hegde, Theorem 1",
            f"d = 10, γ = 0.5: an iteration multiplies the distance by {first:.2g} at first and by {third:.2g} at "
            "the "
            f"third (medians of {len(quotients)} seeds): at least linearly, and faster the nearer it is.",
            bool(third <= first < 1.0),
        ),
    ]


def _basin_claim(rates: Sequence[float], gammas: Sequence[float], n_seeds: int) -> Claim:
    full = [g for g, rate in zip(gammas, rates, strict=True) if rate == 1.0]
    lost = [g for g, rate in zip(gammas, rates, strict=True) if rate < 1.0]
    return Claim.judged(
        "Recovery needs a start close to W*, within a constant share of its norm.",
        "Jagatap & Hegde, Theorem 1",
        f"All {n_seeds} seeds are recovered from the identity at γ = {', '.join(f'{g:g}' for g in full) or 'none'}; "
        f"not all at γ = {', '.join(f'{g:g}' for g in lost) or 'none'} (at γ = {gammas[-1]:g}: {rates[-1]:.0%}).",
        bool(full) and rates[-1] < rates[0] if lost else None,
    )


def _rates(basin: dict[tuple[str, float], list[float]], start: str, gammas: Sequence[float]) -> list[float]:
    return [_rate(basin[start, gamma]) for gamma in gammas]


def _rate(found: Sequence[float]) -> float:
    return _count(found) / len(found)


def _count(found: Sequence[float]) -> int:
    return sum(value < _RECOVERED for value in found)


def _enough(shares: Sequence[float], rates: Sequence[float]) -> float:
    """Return the least share from which on all seeds are recovered; infinity if there is none."""
    kept = np.inf
    for share, rate in zip(reversed(shares), reversed(rates), strict=True):
        if rate < 1.0:
            break
        kept = share
    return kept


def _first_full(shares: Sequence[float], rates: Sequence[float], d: int) -> str:
    share = _enough(shares, rates)
    return "no number of rows tried" if np.isinf(share) else f"{round(share * d * d):,} rows ({share:g}·d·k)"


def _draw_curves(figure: Figure, curves: dict[tuple[int, float], list[list[float]]]) -> None:
    ax = figure.subplots()
    for colour, ((d, gamma), runs) in zip(PALETTE, curves.items(), strict=False):
        values: NDArray = np.maximum(np.array(runs), 1e-16)
        ax.fill_between(np.arange(values.shape[1]), values.min(0), values.max(0), color=colour, alpha=0.2, lw=0)
        ax.plot(np.median(values, axis=0), "o-", color=colour, label=f"d = k = {d}, γ = {gamma:g}")
    ax.set(yscale="log", xlabel="iteration (one solve of all weights)", ylabel="distance ‖W − W*‖ / ‖W*‖")
    ax.legend(title="median and range over seeds")


def _draw_rates(
    figure: Figure,
    gammas: Sequence[float],
    rates: dict[str, list[float]],
    shares: Sequence[float],
    row_rates: Sequence[float],
) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    for colour, (start, values) in zip(PALETTE, rates.items(), strict=False):
        left.plot(gammas, values, "o-", color=colour, label=f"start: {start}")
    left.set(xlabel="γ, distance of W* from the identity (spectral norm)", ylabel="share of seeds recovered")
    left.legend()
    right.plot(shares, row_rates, "o-", color=PALETTE[0], label="start: identity, γ = 0.5")
    right.set(xlabel="rows per hidden weight, N / (d·k)", ylim=(-0.05, 1.05), xscale="log")
    whole = [share for share in shares if share == int(share)]
    right.set_xticks(whole, [f"{share:g}" for share in whole])
    right.minorticks_off()
    right.legend()
