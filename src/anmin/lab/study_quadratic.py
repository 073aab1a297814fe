"""Quadratic activations: exact and approximate rank-one matrix methods, their rows, and a sign of the source."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anmin.lab.figures import PALETTE
from anmin.lab.quadratic import (
    debiased_gradient,
    exact_projection,
    factored,
    krylov_projection,
    low_rank_iterates,
    quadratic_form,
)
from anmin.lab.studies import STUDIES
from anmin.lab.study import Claim, Study, Table, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "quadratic"
_SOURCE = "Soltani & Hegde"
_ITERATIONS = 60
_RANK = 2
#: Methods by their names: of the source, and what else is shown beside them.
_EXACT, _HEAD_R, _HEAD_2R, _LITERAL, _FRESH = (
    "EP-ROM",
    "AP-ROM, head of rank r",
    "AP-ROM, head of rank 2r",
    "EP-ROM as printed",
    "EP-ROM, fresh rows in each step",
)


def run(quick: bool = False, seed: int = 0) -> Study:
    """Run EP-ROM and AP-ROM on y = xᵀ L* x with L* of rank 2 and rows x ~ N(0, I).

    Parameters
    ----------
    quick : bool, default False
        Three seeds and smaller matrices in the timing.
    seed : int, default 0
    """
    p = 20
    seeds = range(seed, seed + (3 if quick else 10))
    shares = (5, 10, 20, 40) if quick else (5, 10, 15, 20, 30, 40, 60)
    curves = {
        name: np.array([errors(name, p, 40 * p * _RANK, s) for s in seeds])
        for name in (_EXACT, _HEAD_R, _HEAD_2R, _LITERAL, _FRESH)
    }
    ends = {
        (name, share): np.array([errors(name, p, share * p * _RANK, s)[-1] for s in seeds])
        for name in (_EXACT, _HEAD_2R)
        for share in shares
    }
    identical = _exact_ap_rom_difference(p, seed)
    recovered = np.array([_read_back(p, s) for s in seeds])
    seconds = {size: _seconds(size) for size in ((50, 200) if quick else (50, 100, 200, 400, 800))}
    at20 = {name: np.median(values[:, 20]) for name, values in curves.items()}
    literal = np.nanmin(np.where(np.isfinite(curves[_LITERAL][:, -1]), curves[_LITERAL][:, -1], np.inf))
    rates = [float(np.mean(ends[_EXACT, share] < 1e-6)) for share in shares]
    return Study(
        NAME,
        STUDIES[NAME][1],
        f"y = xᵀ L* x with L* = Σ a_j w_j w_jᵀ, a = (1, −1), p = {p} inputs, r = {_RANK} neurons, x ~ N(0, I), "
        f"m = 40·p·r = {40 * p * _RANK:,} rows used in every step, {len(seeds)} seeds. The error is ‖L − "
        "L*‖_F/‖L*‖_F.",
        [
            Claim.judged(
                "EP-ROM converges linearly to L*.",
                f"{_SOURCE}, Algorithm 2 and its theorem",
                f"Median error {at20[_EXACT]:.1e} after 20 iterations and {np.median(curves[_EXACT][:, -1]):.0e} "
                "after "
                f"{_ITERATIONS} (worst seed {curves[_EXACT][:, -1].max():.0e}), with the same rows in all.",
                bool(curves[_EXACT][:, -1].max() < 1e-8),
            ),
            Claim.judged(
                "The bracket as printed: the trace is added to the gradient instead of taken off.",
                f"{_SOURCE}, Algorithm 2, as printed in the review",
                f"With the printed sign the error is at least {literal:.0e} after {_ITERATIONS} iterations: it "
                "diverges. E[(xᵀΔx)xxᵀ] = 2Δ + tr(Δ)I wants the other sign, which is used here.",
                bool(literal < 1.0),
            ),
            Claim.judged(
                "AP-ROM, with approximate projections, converges as well.",
                f"{_SOURCE}, Algorithm 3",
                f"Median error after 20 iterations {at20[_HEAD_R]:.1e} with a head of rank r and "
                f"{at20[_HEAD_2R]:.1e} "
                f"with 2r; worst after {_ITERATIONS}: {curves[_HEAD_R][:, -1].max():.0e} and "
                f"{curves[_HEAD_2R][:, -1].max():.0e}.",
                bool(max(curves[_HEAD_R][:, -1].max(), curves[_HEAD_2R][:, -1].max()) < 1e-8),
            ),
            Claim.judged(
                "AP-ROM is EP-ROM where its tail is exact and its head the identity.",
                f"{_SOURCE}, Algorithms 2 and 3",
                f"Largest difference of the iterates: {identical:.0e}.",
                identical == 0.0,
            ),
            Claim.judged(
                "Fresh rows in each step, as the theory draws them, serve as well as the same ones.",
                f"{_SOURCE}, proofs",
                f"Median error after 20 iterations {at20[_FRESH]:.1e} with fresh rows, {at20[_EXACT]:.1e} with "
                "the same.",
                bool(curves[_FRESH][:, -1].max() < 1e-8),
            ),
            Claim.judged(
                "About p·r² rows are enough, up to logarithms.",
                f"{_SOURCE}, theorem of EP-ROM",
                f"All seeds are recovered from {_least(shares, rates)}·p·r rows; p·r² is {_RANK}·p·r, so the "
                "constant is large. Shares of seeds: "
                + ", ".join(f"{c} {r:.0%}" for c, r in zip(shares, rates, strict=True))
                + ".",
                rates[-1] == 1.0,
            ),
            Claim.judged(
                "Approximate projections are the faster ones.",
                f"{_SOURCE}, Algorithm 3",
                "Eigendecomposition against block Krylov in milliseconds: "
                + "; ".join(f"p = {size}: {1e3 * a:.2g} and {1e3 * b:.2g}" for size, (a, b) in seconds.items())
                + ".",
                _faster(seconds),
            ),
            Claim.judged(
                "The network is read back from the matrix.",
                f"{_SOURCE}, Section 2",
                f"Its predictions on new rows differ by at most {recovered.max():.0e} of the standard deviation of "
                "y; "
                "the neurons themselves are known up to rotations among equal signs.",
                bool(recovered.max() < 1e-8),
            ),
        ],
        [
            Table(
                "Median error ‖L − L*‖/‖L*‖ (40·p·r rows)",
                ("iteration", *curves),
                [
                    (i, *(float(min(np.median(v[:, i]), 1e99)) for v in curves.values()))
                    for i in range(0, _ITERATIONS + 1, 10)
                ],
            ),
            Table(
                f"Seeds of {len(seeds)} recovered (error < 1e-6 after {_ITERATIONS} iterations)",
                ("rows / (p·r)", _EXACT, _HEAD_2R),
                [(c, *(int(np.sum(ends[name, c] < 1e-6)) for name in (_EXACT, _HEAD_2R))) for c in shares],
            ),
            Table(
                "Seconds of one projection to rank 2 (one core where BLAS has one)",
                ("p", "eigendecomposition", "block Krylov"),
                [(size, a, b) for size, (a, b) in seconds.items()],
            ),
        ],
        [
            drawn(
                "convergence",
                "EP-ROM and AP-ROM converge linearly; with the sign as printed the iteration diverges",
                lambda figure: _draw_curves(figure, curves),
            ),
            drawn(
                "rows",
                "Rows for each of the p·r unknowns decide between recovery and divergence",
                lambda figure: _draw_rows(figure, shares, ends, len(seeds)),
            ),
        ],
        {"inputs": p, "rank": _RANK, "rows": 40 * p * _RANK, "seeds": len(seeds), "first seed": seed},
    )


def planted_matrix(p: int, seed: int) -> NDArray:
    """Return L* = w₁w₁ᵀ − w₂w₂ᵀ with Gaussian w of expected norm 1, (p, p)."""
    W = np.random.default_rng([seed, p]).standard_normal((p, _RANK)) / np.sqrt(p)
    return (W * np.array([1.0, -1.0])) @ W.T


def errors(name: str, p: int, n_rows: int, seed: int) -> NDArray:
    """Return ‖L − L*‖_F/‖L*‖_F of a method's iterates 0, 1, ..., 60, as (61,); infinity once it has left 1e30."""
    L_star, rng = planted_matrix(p, seed), np.random.default_rng([seed, n_rows])
    X = rng.standard_normal((n_rows, p))
    y = quadratic_form(X, L_star)
    found = np.full(_ITERATIONS + 1, np.inf)
    for i, L in enumerate(islice(_iterates(name, X, y, L_star, rng), _ITERATIONS + 1)):
        found[i] = np.linalg.norm(L - L_star) / np.linalg.norm(L_star)
        if found[i] > 1e30:
            found[i:] = np.inf
            break
    return found


def _iterates(name: str, X: NDArray, y: NDArray, L_star: NDArray, rng: np.random.Generator) -> Iterator[NDArray]:
    def approximate(rank: int) -> Callable[[NDArray], NDArray]:
        return lambda M: krylov_projection(M, rank, rng)

    def exact(M: NDArray) -> NDArray:
        return exact_projection(M, _RANK)

    if name == _FRESH:
        L = np.zeros_like(L_star)
        while True:
            yield L
            fresh = rng.standard_normal(X.shape)
            L = exact(L - debiased_gradient(fresh, quadratic_form(fresh, L - L_star)))
    head = {_HEAD_R: approximate(_RANK), _HEAD_2R: approximate(2 * _RANK)}.get(name)
    tail = exact if head is None else approximate(_RANK)
    gradient = _printed_gradient if name == _LITERAL else debiased_gradient
    for L, _ in low_rank_iterates(X, y, tail, head, gradient):
        yield L


def _printed_gradient(X: NDArray, errors: NDArray) -> NDArray:
    """Return the gradient with the trace added, as the review prints it."""
    return debiased_gradient(X, errors) + np.mean(errors) * np.eye(X.shape[1])


def _exact_ap_rom_difference(p: int, seed: int) -> float:
    L_star, rng = planted_matrix(p, seed), np.random.default_rng(seed)
    X = rng.standard_normal((40 * p * _RANK, p))
    y = quadratic_form(X, L_star)

    def tail(M: NDArray) -> NDArray:
        return exact_projection(M, _RANK)

    pairs = zip(low_rank_iterates(X, y, tail), low_rank_iterates(X, y, tail, lambda M: M), strict=True)
    return max(float(np.abs(a - b).max()) for (a, _), (b, _) in islice(pairs, 20))


def _read_back(p: int, seed: int) -> float:
    """Return the largest error of the network read back from the recovered matrix, in deviations of y."""
    from anmin.lab.quadratic import QuadraticRegressor

    L_star, rng = planted_matrix(p, seed), np.random.default_rng([seed, 1])
    X, fresh = rng.standard_normal((40 * p * _RANK, p)), rng.standard_normal((500, p))
    model = QuadraticRegressor(_RANK).fit(X, quadratic_form(X, L_star))
    y = quadratic_form(fresh, L_star)
    W, a = factored(model.L_, _RANK)
    return float(np.abs((fresh @ W) ** 2 @ a - y).max() / y.std())


def _seconds(p: int) -> tuple[float, float]:
    """Return the seconds of an exact and of a randomised projection of a p × p matrix, the least of five."""
    rng = np.random.default_rng(p)
    M = rng.standard_normal((p, p))
    M += M.T
    return _least_seconds(lambda: exact_projection(M, _RANK)), _least_seconds(lambda: krylov_projection(M, _RANK, rng))


def _least_seconds(work: Callable[[], NDArray]) -> float:
    found = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def _faster(seconds: dict[int, tuple[float, float]]) -> bool | None:
    exact, approximate = seconds[max(seconds)]
    return approximate < exact


def _least(shares: Sequence[int], rates: Sequence[float]) -> str:
    kept = "more than any"
    for share, rate in zip(reversed(shares), reversed(rates), strict=True):
        if rate < 1.0:
            break
        kept = f"{share}"
    return kept


def _draw_curves(figure: Figure, curves: dict[str, NDArray]) -> None:
    ax = figure.subplots()
    for colour, style, (name, values) in zip(PALETTE, ("-", "-", "-", "--", ":"), curves.items(), strict=False):
        median = np.clip(np.median(values, axis=0), 1e-17, 1e12)
        shown = np.median(values, axis=0) < 1e6
        ax.plot(np.flatnonzero(shown), median[shown], style, color=colour, label=name)
    ax.set(yscale="log", xlabel="iteration", ylabel="‖L − L*‖ / ‖L*‖, median of seeds", ylim=(1e-17, 1e6))
    ax.legend()


def _draw_rows(figure: Figure, shares: Sequence[int], ends: dict[tuple[str, int], NDArray], n_seeds: int) -> None:
    ax = figure.subplots()
    for colour, shift, name in zip(PALETTE, (-0.03, 0.03), (_EXACT, _HEAD_2R), strict=False):
        for share in shares:
            values = np.clip(ends[name, share], 1e-16, 1e4)
            ax.plot([share * (1 + shift)] * n_seeds, values, "o", color=colour, alpha=0.6, ms=5)
        ax.plot([], [], "o", color=colour, label=name)
    ax.set(
        xscale="log", yscale="log", xlabel="rows per unknown, m / (p·r)", ylim=(3e-17, 3e5),
        ylabel=f"‖L − L*‖ / ‖L*‖ after {_ITERATIONS} iterations\n(1e4: diverged)",
    )  # fmt: skip
    ax.set_xticks(shares, [f"{share:g}" for share in shares])
    ax.minorticks_off()
    ax.legend(title="a point for each seed", loc="upper right")
