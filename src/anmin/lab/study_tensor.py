"""Tensor initialisation of planted ReLU networks, then gradient descent or our own solver from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad

from anmin.lab.figures import PALETTE
from anmin.lab.planted import Planted, as_network, distance, orthonormal, plant, relu_sum
from anmin.lab.studies import STUDIES
from anmin.lab.study import Claim, Study, Table, drawn
from anmin.lab.tensor_initialisation import network_of, population_moments, tensor_initialisation
from anmin.rows import ArrayRows
from anmin.solvers import Problem, VarPro, solve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "tensor"
_SOURCE = "Zhong et al., Algorithm 4"
_D = 10
_ROWS, _STEPS, _RATE = 2000, 300, 0.5  # of the descent that follows
#: Arguments of the initialisation: of the source, and with what is ours.
_VARIANTS: dict[str, dict[str, int]] = {
    "as in the source": {"subtract": False, "n_slices": 1},
    "ten slices": {"subtract": False, "n_slices": 10},
    "ten slices, quadratic part taken from y": {"subtract": True, "n_slices": 10},
}
_SOURCE_WAY, _, _OURS = _VARIANTS
_EQUAL, _MIXED = (1.0, 1.0, 1.0), (1.0, -1.0, 1.0)  # output weights of three neurons


def run(quick: bool = False, seed: int = 0) -> Study:
    """Run tensor initialisation on y = Σ relu(w*_jᵀ x) with orthonormal W*, ten inputs, and descend from it.

    Parameters
    ----------
    quick : bool, default False
        Three seeds and up to 20,000 rows.
    seed : int, default 0
    """
    seeds = range(seed, seed + (3 if quick else 10))
    sizes = (2000, 20_000) if quick else (2000, 5000, 20_000, 50_000, 200_000)
    found = {
        (k, n, name): [_initial_distance(k, n, name, s) for s in seeds]
        for k in (2, 3)
        for n in sizes
        for name in _VARIANTS
    }
    exact = [_exact(s) for s in seeds]
    largest = sizes[-1]
    curves = {
        f"{start}, v = {'(1, 1, 1)' if signs is _EQUAL else '(1, −1, 1)'}": [
            descent(*_problem(3, largest, s, signs), s, start) for s in seeds
        ]
        for signs in (_EQUAL, _MIXED)
        for start in ("tensor", "random")
    }
    ours = {kind: [_solved(*_problem(3, largest, s, _MIXED), s, kind) for s in seeds] for kind in ("tensor", "random")}
    return Study(
        NAME,
        STUDIES[NAME][1],
        f"y = Σ v_j relu(w_jᵀ x), v = 1 unless said otherwise, with k orthonormal neurons in d = {_D} inputs, x ~ "
        f"N(0, I), no noise, {len(seeds)} "
        "seeds. The "
        f"distance is ‖W − W*‖_F/‖W*‖_F. Gradient descent (rate {_RATE}) and the solver go on with {_ROWS:,} of the "
        "rows.",
        [
            _third_moment_claim(),
            Claim.judged(
                "From exact moments the network is recovered exactly.",
                _SOURCE,
                f"Distance at most {max(exact):.0e} over {len(exact)} networks of 4 neurons of both signs, not "
                "orthogonal.",
                max(exact) < 1e-8,
            ),
            _start_claim(found, largest, len(seeds), quick),
            _rows_claim(found, sizes, len(seeds)),
            *_descent_claims(curves),
            Claim.judged(
                "The solver by variable projection ends at the planted network from the same start (mixed signs).",
                "anmin.solvers.VarPro",
                f"Distance below 1e-6 in {_count(ours['tensor'], 1e-6)} of {len(seeds)} seeds from the tensor "
                "start, at "
                f"most {max(d for d, _ in ours['tensor']):.0e}, in a median of "
                f"{np.median([i for _, i in ours['tensor']]):g} "
                f"iterations (from random ones {_count(ours['random'], 1e-6)} of {len(seeds)}, in "
                f"{np.median([i for _, i in ours['random']]):g}), where descent takes {_STEPS} for 1e-5 or so.",
                _count(ours["tensor"], 1e-6) >= 0.8 * len(seeds),
            ),
        ],
        [
            Table(
                f"Median distance of the start ({len(seeds)} seeds; in brackets how many are below 0.5)",
                ("rows", *(f"k = {k}, {name}" for k in (2, 3) for name in _VARIANTS)),
                [(f"{n:,}", *(_cell(found[k, n, name]) for k in (2, 3) for name in _VARIANTS)) for n in sizes],
                "The source splits the rows into three; so do all of these.",
            ),
            Table(
                f"Gradient descent, k = 3, {_ROWS:,} rows: distance",
                ("step", *(f"{name}, {which}" for name in curves for which in ("median", "worst"))),
                [
                    (i, *(f([c[i] for c in runs]) for runs in curves.values() for f in (_median, max)))
                    for i in range(0, _STEPS + 1, 60)
                ],
            ),
        ],
        [
            drawn(
                "rows",
                "The initialisation needs far fewer rows once the quadratic part is taken from y",
                lambda figure: _draw_rows(figure, found, sizes),
                (8.4, 4.2),
            ),
            drawn(
                "descent",
                "From the tensor start gradient descent converges, whatever the output signs",
                lambda figure: _draw_curves(figure, curves),
            ),
        ],
        {"inputs": _D, "largest number of rows": largest, "seeds": len(seeds), "first seed": seed},
    )


def descent(planted: Planted, rng: np.random.Generator, seed: int, start: str) -> list[float]:
    """Return the distance from W* before and after each of 300 steps of gradient descent on 2,000 of the rows.

    Parameters
    ----------
    planted : Planted
    rng : numpy.random.Generator
        Of the start.
    seed : int
        Of the random start.
    start : "tensor" or "random"
    """
    W, v = _start(planted, rng, seed, start)
    X, y = planted.X[:_ROWS], planted.y[:_ROWS]
    found = [_signed_distance(W * v, planted)]
    for _ in range(_STEPS):
        error = relu_sum(X, W, v) - y
        W = W - _RATE * X.T @ ((X @ W > 0) * error[:, None] * v) / len(X)
        found.append(_signed_distance(W * v, planted))
    return found


def _signed_distance(weights: NDArray, planted: Planted) -> float:
    """Return the distance of v_j w_j: an orthonormal neuron of the wrong sign is far from each of its own."""
    return distance(weights, planted.W * planted.v)


def _problem(k: int, n: int, seed: int, v: Sequence[float] | None = None) -> tuple[Planted, np.random.Generator]:
    rng = np.random.default_rng([seed, k, n])
    return plant(orthonormal(_D, k, rng), n, rng, v=v), rng


def _start(planted: Planted, rng: np.random.Generator, seed: int, start: str) -> tuple[NDArray, NDArray]:
    k = planted.W.shape[1]
    if start == "tensor":
        return tensor_initialisation(planted.X, planted.y, k, rng)
    # Of the norms of the planted columns, in expectation; signs are known only where all are equal.
    guess = np.random.default_rng([seed, 99])
    W = guess.standard_normal((_D, k)) / np.sqrt(_D)
    return W, np.ones(k) if np.all(planted.v > 0) else guess.choice([-1.0, 1.0], k)


def _initial_distance(k: int, n: int, name: str, seed: int) -> float:
    planted, rng = _problem(k, n, seed)
    options = _VARIANTS[name]
    W, _ = tensor_initialisation(
        planted.X, planted.y, k, rng, subtract=bool(options["subtract"]), n_slices=options["n_slices"]
    )
    return distance(W, planted.W)


def _exact(seed: int) -> float:
    rng = np.random.default_rng(seed)
    W, v = rng.standard_normal((_D, 4)), np.array([1.0, -1.0, 1.0, -1.0])
    found, signs = network_of(population_moments(W, v), rng)
    return distance(found * signs, W * v)


def _solved(planted: Planted, rng: np.random.Generator, seed: int, start: str) -> tuple[float, int]:
    """Return the distance at which VarPro ends on 2,000 of the rows, and its iterations."""
    W, v = _start(planted, rng, seed, start)
    problem = Problem(ArrayRows(planted.X[:_ROWS], planted.y[:_ROWS]), W.shape[1], 0.0)
    solution = solve(problem, VarPro(), start=as_network(W, v), max_iter=300, tol=1e-12)
    network = solution.network
    # relu is homogeneous: the norm may stand in either layer.
    return _signed_distance(network.A[1:] * network.B[:, 0], planted), solution.n_iter


def _third_moment_claim() -> Claim:
    """Compare the Hermite coefficients of the ReLU, by numerical integration, with their closed forms."""

    def coefficient(m: int) -> float:
        hermite = np.polynomial.hermite_e.HermiteE.basis(m)
        return float(quad(lambda z: z * hermite(z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi), 0, 40)[0])

    values = [coefficient(m) for m in (1, 2, 3, 4)]
    known = [0.5, 1 / math.sqrt(2 * math.pi), 0.0, -1 / math.sqrt(2 * math.pi)]
    return Claim.judged(
        "The third moment of the ReLU is zero, so that the tensor must be a slice of the fourth.",
        f"{_SOURCE}; squared ReLUs have the third",
        "E[relu(z) He_m(z)] for m = 1, 2, 3, 4 is " + ", ".join(f"{v:.4f}" for v in np.round(values, 12) + 0.0) + ".",
        bool(np.allclose(values, known, atol=1e-8)),
    )


def _start_claim(found: dict[tuple[int, int, str], list[float]], n: int, n_seeds: int, quick: bool) -> Claim:
    def text(name: str) -> str:
        return " and ".join(f"{_below(found[k, n, name])} of {n_seeds} (k = {k})" for k in (2, 3))

    fair = all(_below(found[k, n, _SOURCE_WAY]) >= 0.8 * n_seeds for k in (2, 3))
    return Claim.judged(
        "Enough rows start it within half of the norm of the network, with high probability.",
        f"{_SOURCE} and its theorem",
        f"At {n:,} rows the distance is below 0.5 in {text(_SOURCE_WAY)} of the seeds as in the source, whose one "
        "slice "
        f"may miss a neuron; in {text(_OURS)} with ten slices and the quadratic part of y taken off.",
        None if quick and not fair else fair,
    )


def _rows_claim(found: dict[tuple[int, int, str], list[float]], sizes: Sequence[int], n_seeds: int) -> Claim:
    def enough(name: str) -> float:
        good = [n for n in sizes if _below(found[3, n, name]) >= 0.8 * n_seeds]
        return min(good, default=math.inf)

    source, ours = enough(_SOURCE_WAY), enough(_OURS)

    def text(n: float) -> str:
        return f"more than {sizes[-1]:,} rows" if math.isinf(n) else f"{n:,} rows"

    return Claim.judged(
        "What has no share in the moments, but most of their variance, may be taken from y first (not in the source).",
        "anmin.lab.tensor_initialisation",
        f"k = 3: four of five seeds start below 0.5 with {text(ours)}; as in the source with {text(source)}.",
        ours < source,
    )


def _descent_claims(curves: dict[str, list[list[float]]]) -> list[Claim]:
    tensor, random, tensor_mixed, random_mixed = ([run[-1] for run in runs] for runs in curves.values())
    all_tensor = tensor + tensor_mixed
    halves = [run[_STEPS // 2] for run in next(iter(curves.values()))]
    n = len(tensor)
    return [
        Claim.judged(
            "Gradient descent from this start converges linearly to the planted network.",
            "Zhong et al., theorem of local convergence",
            f"Distance after {_STEPS} steps: median {_median(tensor):.0e} for v = 1 and {_median(tensor_mixed):.0e} "
            "for "
            f"mixed signs; below 1e-5 in {sum(d < 1e-5 for d in tensor)} and {sum(d < 1e-5 for d in tensor_mixed)} "
            "of "
            f"{n} seeds (after half of the steps the median for v = 1 is {_median(halves):.0e}).",
            sum(d < 1e-5 for d in all_tensor) >= 0.8 * len(all_tensor),
        ),
        Claim.judged(
            "Without such a start gradient descent may end elsewhere.",
            "Zhong et al., introduction",
            f"From random starts {_near(random)} of {n} seeds come within 1e-2 in {_STEPS} steps where all signs are "
            f"known to be equal, and {_near(random_mixed)} of {n} where they are mixed and guessed; from tensor "
            "starts "
            f"{_near(tensor)} and {_near(tensor_mixed)}.",
            _near(random_mixed) + _near(random) < _near(all_tensor),
        ),
    ]


def _near(found: Sequence[float]) -> int:
    return sum(d < 1e-2 for d in found)


def _below(found: Sequence[float]) -> int:
    return sum(d < 0.5 for d in found)


def _count(found: Sequence[tuple[float, int]], most: float) -> int:
    return sum(d < most for d, _ in found)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _cell(found: Sequence[float]) -> str:
    return f"{_median(found):.2f} ({_below(found)})"


def _draw_rows(figure: Figure, found: dict[tuple[int, int, str], list[float]], sizes: Sequence[int]) -> None:
    axes = figure.subplots(1, 2, sharey=True)
    for ax, k in zip(axes, (2, 3), strict=True):
        for colour, name in zip(PALETTE, _VARIANTS, strict=False):
            values = np.array([found[k, n, name] for n in sizes])
            low, middle, high = np.quantile(values, [0.1, 0.5, 0.9], axis=1)
            ax.fill_between(sizes, low, high, color=colour, alpha=0.15, lw=0)
            ax.plot(sizes, middle, "o-", color=colour, label=name)
        ax.axhline(0.5, color="#555555", lw=0.8, ls=":")
        ax.set(xscale="log", yscale="log", xlabel="rows", title=f"k = {k} neurons")
    axes[0].set_ylabel("distance of the start (dotted: 0.5)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, title="median, 10 to 90 %")


def _draw_curves(figure: Figure, curves: dict[str, list[list[float]]]) -> None:
    ax = figure.subplots()
    for k, (name, runs) in enumerate(curves.items()):
        for i, run in enumerate(runs):
            style: dict[str, Any] = {"color": PALETTE[k % 2], "ls": "-" if k < 2 else "--"}
            ax.plot(run, alpha=0.6, lw=1, label=f"start: {name}" if i == 0 else None, **style)
    ax.set(yscale="log", xlabel="step of gradient descent", ylabel="distance ‖W − W*‖ / ‖W*‖")
    ax.legend(title="a line for each seed", fontsize=8)
