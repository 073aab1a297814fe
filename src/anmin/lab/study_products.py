"""Products of weights as one variable: scalar convex programs, and the factor of their penalty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anmin.lab.colours import AMBER, BLUE, GREEN, SKY, VERMILION
from anmin.lab.descent import SOURCE, descend
from anmin.lab.landscapes import best_convex_1d, best_network, best_of, local_minima
from anmin.lab.study import Claim, Picture, Study, Table, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_X, _Y = np.array([[-1.0], [1.0]]), np.array([1.0, 2.0])
_LAMBDA = 0.1
_LAMBDAS = (0.1, 0.5, 1.0, 1.5, 2.0, 3.0)
_TOLERANCE = 1e-6


def run(quick: bool = False, seed: int = 0) -> Study:
    """Minimise the non-convex problems and the convex programs numerically and compare their optima."""
    n_starts = 20 if quick else 200
    rng = np.random.default_rng(seed)
    claims, table = _claims(n_starts, rng)
    ends = _ends_of_two(3 * n_starts, rng)
    return Study(
        "products",
        "A product of two weights as one variable, and the penalty that belongs to it",
        "The problem min (xy − 1)² with a ridge penalty, and networks of two and of six neurons with output weights on "
        "the points (−1, 1), (1, 2), beside the convex programs with the products as variables. Every optimum is found "
        "numerically, from random starts where the problem is not convex. The sizes are those of the source.",
        [*claims, *_claims_of_two(ends, 3 * n_starts)],
        [table, _table_of_ends(ends)],
        [_picture()],
        {"random starts": n_starts, "starts of descent": 3 * n_starts, "seed": seed},
    )


def scalar_values(lambda_: float, rng: np.random.Generator) -> tuple[float, float, float]:
    """Return the minima of (xy − 1)² + (λ/2)(x² + y²) and of (z − 1)² + λ|z|, and the z of the second."""

    def product(v: NDArray) -> tuple[float, NDArray]:
        x, y = v
        r = 2 * (x * y - 1)
        return float((x * y - 1) ** 2 + lambda_ / 2 * (x * x + y * y)), np.array(
            [r * y + lambda_ * x, r * x + lambda_ * y]
        )

    _, value = best_of(product, list(2 * rng.standard_normal((20, 2))))
    z, convex = min(local_minima(lambda z: (z - 1) ** 2 + lambda_ * np.abs(z), -3, 3), key=lambda found: found[1])
    return value, convex, z


def _claims(n_starts: int, rng: np.random.Generator) -> tuple[list[Claim], Table]:
    found = np.array([scalar_values(value, rng) for value in _LAMBDAS])
    formula = np.array([value - value**2 / 4 if value < 2 else 1.0 for value in _LAMBDAS])
    apart = float(max(np.abs(found[:, 0] - found[:, 1]).max(), np.abs(found[:, 1] - formula).max()))
    columns = ("λ", "min over x, y", "min over z", "z", "λ − λ²/4 (1 from λ = 2)")
    rows = [(value, *map(float, row), float(f)) for value, row, f in zip(_LAMBDAS, found, formula, strict=True)]
    network = best_network(_X, _Y, 2, _LAMBDA, rng, n_starts)
    more = best_network(_X, _Y, 6, _LAMBDA, rng, n_starts)
    printed, doubled = (best_convex_1d(_X[:, 0], _Y, beta) for beta in (_LAMBDA, 2 * _LAMBDA))
    nonconvex = f"The network's optimum is {network:.6f} (best of {n_starts} starts)"
    claims = [
        Claim.judged(
            "min (xy − 1)² + (λ/2)(x² + y²) and min (z − 1)² + λ|z| have one value.",
            f'{SOURCE}, "Multiplicative non-convexity from the second layer"',
            f"For λ from {_LAMBDAS[0]} to {_LAMBDAS[-1]} they differ by at most {apart:.1g}, and equal λ − λ²/4 up to "
            "λ = 2, with z = 1 − λ/2.",
            apart < _TOLERANCE,
        ),
        Claim.judged(
            "The convex program with the penalty λ Σ(|u| + |v|) has the optimum of the network with λ Σ(w² + α²).",
            f'{SOURCE}, "Equivalent convex problem with two neurons" and the general case',
            f"{nonconvex}, that of the printed program {printed:.6f}, on (−1, 1), (1, 2) with λ = {_LAMBDA}: the "
            "factor is wrong by 2.",
            abs(printed - network) < _TOLERANCE,
        ),
        Claim.judged(
            "With the penalty 2λ Σ(|u| + |v|) the optima are equal.",
            "derived: ‖w‖² + α² >= 2 ‖w‖ |α|, with equality where both are equal",
            f"{nonconvex}, that of this program {doubled:.6f}, and 6λ − 2λ² = {6 * _LAMBDA - 2 * _LAMBDA**2:.6f}.",
            abs(doubled - network) < _TOLERANCE,
        ),
        Claim.judged(
            "More neurons than patterns do not lower the optimum.",
            f'{SOURCE}, "1-D example, many neurons"',
            f"With 6 neurons instead of 2 the best loss found is {more:.6f} instead of {network:.6f}.",
            abs(more - network) < _TOLERANCE,
        ),
    ]
    return claims, Table("Products of two weights as one variable", columns, rows)


# The ends of descent with two neurons


def _ends_of_two(n_starts: int, rng: np.random.Generator) -> dict[tuple[bool, float], tuple[NDArray, NDArray]]:
    """Return losses and u_j = w_j a_j (starts, 2), sorted, at the end of descent on (−1, 1), (1, 2) without bias.

    The keys say whether the output weights are trained, and the penalty. They start positive: those that are negative
    only shrink, which gives the same ends with a neuron less.
    """
    W = rng.standard_normal((n_starts, 1, 2))
    ends = {}
    for trained in (False, True):
        a = np.abs(rng.standard_normal((n_starts, 2))) if trained else np.ones((n_starts, 2))
        for decay in (0.0, 0.1):
            *_, last = descend(_X, _Y, W, a, 0.02, 6000, decay=decay, train_output=trained)
            ends[trained, decay] = last.loss, np.sort(last.W[:, 0] * last.a, axis=1)
    return ends


def n_distinct(points: NDArray, tol: float = 1e-3) -> int:
    """Return how many of the points (k, p) differ from every one before that was kept by more than ``tol``."""
    kept: list[NDArray] = []
    for point in points:
        if all(np.abs(point - other).max() > tol for other in kept):
            kept.append(point)
    return len(kept)


def _table_of_ends(ends: dict) -> Table:
    rows = [
        (
            "both layers" if trained else "hidden layer",
            decay,
            ", ".join(f"{value:.4f}" for value in np.unique(losses.round(4))),
            n_distinct(points),
        )
        for (trained, decay), (losses, points) in ends.items()
    ]
    return Table(
        "Where descent with two neurons on (−1, 1), (1, 2) ends",
        ("trained", "penalty λ", "losses", "different ends (u₁, u₂)"),
        rows,
    )


def _claims_of_two(ends: dict, n_starts: int) -> list[Claim]:
    where = f'{SOURCE}, "1-D example, two neurons"'
    number = {key: n_distinct(points) for key, (_, points) in ends.items()}
    values = {key: len(np.unique(losses.round(4))) for key, (losses, _) in ends.items()}
    return [
        Claim.judged(
            "Two neurons have three local minima if there is some regularisation, and infinitely many without, where "
            "the hidden layer alone is trained.",
            where,
            f"From {n_starts} starts descent ends at {number[False, 0.1]} points with λ = 0.1, and at "
            f"{number[False, 0.0]} without, up to the order of the neurons.",
            number[False, 0.1] == 3 and number[False, 0.0] > 3,
        ),
        Claim.judged(
            "Some regularisation leaves three local minima where both layers are trained, too.",
            where,
            f"With λ = 0.1 descent ends at {number[True, 0.1]} points of {values[True, 0.1]} losses. Two neurons of "
            "one pattern with products u₁ and u₂ have the penalty 2λ(|u₁| + |u₂|), which depends on their sum alone: "
            "where both are on one side the minima are still lines. There are three values, not three minima.",
            number[True, 0.1] == 3,
        ),
    ]


# Picture


def _picture() -> Picture:
    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        z = np.linspace(-0.5, 1.5, 401)
        for value, colour in ((0.1, SKY), (0.5, BLUE), (1.0, GREEN), (2.0, VERMILION)):
            left.plot(z, (z - 1) ** 2 + value * np.abs(z), color=colour, label=f"λ = {value:g}")
            best = max(1 - value / 2, 0)
            left.plot(best, value - value**2 / 4, "o", color=colour)
        left.set(xlabel="z = xy", ylabel="(z − 1)² + λ|z|", title="one variable for a product", ylim=(0, 3))
        left.set_xticks([-0.5, 0, 0.5, 1, 1.5])
        left.legend()
        rng = np.random.default_rng(0)
        some = np.linspace(0.05, 1.0, 9)
        fine = np.linspace(0.01, 1.0, 50)
        for factor, colour, note in ((1, AMBER, " (printed)"), (2, BLUE, "")):
            values = [best_convex_1d(_X[:, 0], _Y, factor * value) for value in fine]
            right.plot(fine, values, color=colour, label=f"convex, β = {'' if factor == 1 else factor}λ{note}")
        values = [best_network(_X, _Y, 2, value, rng, 10) for value in some]
        right.plot(some, values, "o", color="black", markersize=4, label="network, λ Σ(w² + α²)")
        right.set(xlabel="penalty λ", ylabel="optimal loss", title="which β belongs to λ")
        right.legend()

    return drawn("optima", "Convex programs with the optimum of the network", draw, size=(9.0, 4.2))
