"""Linear residual networks: no spurious optima near zero, how they converge, and what depth does to a quartic error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from anmin.lab.colours import BLUE, VERMILION
from anmin.lab.linear_residual import (
    SOURCE,
    Framed,
    LinearFit,
    descend,
    gradient,
    gradient_bound,
    logarithmic_factors,
    power_regression,
    product,
    random_orientation,
)
from anmin.lab.study import Claim, Study, Table, drawn, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DEPTHS = (1, 2, 4, 8, 16, 32)
_RATES = 2.0 ** -np.arange(0, 9)
_REACHED = 1e-6


def run(quick: bool = False, seed: int = 0) -> Study:
    """Return the study: the bound of the gradient, targets reached from zero, depth of residual and plain nets."""
    n_targets, n_steps, seeds = (6, 1500, 2) if quick else (40, 4000, 5)
    depths = _DEPTHS[1::2] if quick else _DEPTHS[1:]
    limit = 100 if quick else 300
    ratios = [_ratio(np.random.default_rng([seed, k])) for k in range(200)]
    sizes = _factor_sizes(seed)
    targets = [_from_zero(np.random.default_rng([seed, k]), n_steps) for k in range(n_targets)]
    minus = descend(np.zeros((6, 2, 2)), -np.eye(2), np.eye(2), 0.02, n_steps)
    steps = {
        name: [[_best_steps(residual, depth, limit, [seed, k]) for k in range(seeds)] for depth in depths]
        for name, residual in (("residual", True), ("plain", False))
    }
    convergence = Table(
        f"Steps to {_REACHED:g} of the first loss in excess, best of {len(_RATES)} rates (median of {seeds} seeds)",
        ("factors", *steps),
        [
            (depth, *(_shown(float(np.median(found[k])), limit) for found in steps.values()))
            for k, depth in enumerate(depths)
        ],
    )
    quartic = _quartic(range(seeds), seed, 400 if quick else 1500)
    return Study(
        "residual_linear",
        "Linear residual networks: no spurious optima near zero, and depth that does not slow them",
        "Products of matrices (I + A_i) that learn a matrix R, or, between fixed random layers of width 24, a linear "
        "regression of 20 rows with 5 inputs and 3 outputs; full gradients. Plain nets begin with weights N(0, 1/24), "
        f"residual ones with 0. Quartic errors: 200 rows of 20 inputs of uneven size, {seeds} seeds.",
        [
            *_target_claims(ratios, sizes, targets, minus),
            *_convergence_claims(steps, depths, limit),
            _quartic_claim(quartic),
        ],
        [sizes, convergence, quartic],
        [drawn("depth", "Depth slows plain linear nets, not residual ones", lambda f: _draw(f, steps, depths, limit))],
        {"targets": n_targets, "steps": n_steps, "seeds": seeds, "most steps between layers": limit, "seed": seed},
    )


def _shown(steps: float, limit: int) -> float | str:
    return steps if np.isfinite(steps) else f"over {limit}"


def _ratio(rng: np.random.Generator) -> float:
    """Return ‖∇f‖² over its lower bound at random factors of norms below 1."""
    d, n_factors = int(rng.integers(2, 7)), int(rng.integers(1, 9))
    factors = rng.standard_normal((n_factors, d, d))
    factors *= rng.uniform(0, 0.9) / np.array([np.linalg.norm(A, 2) for A in factors])[:, None, None]
    R, root = rng.standard_normal((d, d)), rng.standard_normal((d, d))
    covariance = root @ root.T
    bound = gradient_bound(factors, R, covariance)
    return float(np.sum(gradient(factors, R, covariance) ** 2)) / bound


def _factor_sizes(seed: int) -> Table:
    rng = np.random.default_rng(seed)
    R = np.eye(6) + 0.3 * rng.standard_normal((6, 6))
    size = float(np.linalg.norm(scipy.linalg.logm(R), 2))
    rows = []
    for n_factors in _DEPTHS:
        factors = logarithmic_factors(R, n_factors)
        error = float(np.abs(product(factors) - R).max())
        rows.append((n_factors, float(np.linalg.norm(factors[0], 2)), size / n_factors, error))
    return Table(
        "Equal factors exp(log R/l) − I of one R", ("l", "‖A_i‖₂", "‖log R‖₂/l", "largest error of the product"), rows
    )


def _from_zero(rng: np.random.Generator, n_steps: int) -> float:
    """Return what is left of the first loss for a random target of positive determinant, four by four, six factors."""
    fit = descend(np.zeros((6, 4, 4)), random_orientation(rng, 4, 0.5), np.eye(4), 0.02, n_steps)
    return float(fit.losses[-1] / fit.losses[0])


def _target_claims(ratios: Sequence[float], sizes: Table, targets: Sequence[float], minus: LinearFit) -> list[Claim]:
    relative = [float(row[1]) / float(row[2]) for row in sizes.rows]
    reached = sum(left < _REACHED for left in targets)
    return [
        Claim.judged(
            "‖∇f‖² >= 4l(1 − τ)^{2l−2} σ_min(Σ)(f − C_opt) where all ‖A_i‖₂ <= τ < 1: no spurious optima there.",
            f"{SOURCE}, equation 31",
            f"Violated in {sum(ratio < 1 - 1e-9 for ratio in ratios)} of {len(ratios)} random draws; the gradient is "
            f"at least {min(ratios):.3g} times its bound.",
            min(ratios) >= 1 - 1e-9,
        ),
        Claim.judged(
            "Any R with a real logarithm is a product of l factors I + A_i whose norms fall as ‖log R‖/l.",
            f"{SOURCE}, the construction; A_i = exp(log R/l) − I",
            f"The product misses R by at most {max(float(row[3]) for row in sizes.rows):.1g}; ‖A_i‖·l/‖log R‖ is "
            f"{relative[0]:.3g} at l = 1 and {relative[-1]:.3g} at l = {_DEPTHS[-1]}.",
            max(float(row[3]) for row in sizes.rows) < 1e-9 and abs(relative[-1] - 1) < 0.1,
        ),
        Claim.judged(
            "Gradient descent from 0 reaches random targets of positive determinant.",
            f"{SOURCE}, linear residual networks",
            f"{reached} of {len(targets)} random 4 × 4 targets (singular values e^±0.5 at most, 6 factors) to "
            f"{_REACHED:g} of the first loss; the worst ends at {max(targets):.1g} of it.",
            reached == len(targets),
        ),
        Claim.judged(
            "It reaches any target of positive determinant.",
            f"{SOURCE}, taken literally",
            f"For R = −I in two dimensions, of determinant 1, the loss ends at {minus.losses[-1]:.3g} of "
            f"{minus.losses[0]:.3g}: from 0 all factors stay equal multiples of I, whose even power is never negative. "
            "Optima without spurious ones nearby do not promise that descent comes near them.",
            bool(minus.losses[-1] < _REACHED * minus.losses[0]),
        ),
    ]


# Between fixed layers


def _framed(rng: np.random.Generator, width: int = 24) -> Framed:
    X = np.linalg.qr(rng.standard_normal((20, 5)))[0].T
    A, B = rng.standard_normal((width, 5)) / np.sqrt(width), rng.standard_normal((3, width)) / np.sqrt(3)
    return Framed(A, B, X, rng.standard_normal((3, 20)))


def _best_steps(residual: bool, depth: int, limit: int, seed: Sequence[int]) -> float:
    rng = np.random.default_rng(seed)
    problem = _framed(rng)
    factors = np.zeros((depth, 24, 24)) if residual else rng.standard_normal((depth, 24, 24)) / np.sqrt(24)
    with np.errstate(all="ignore"):  # rates that are too large end where the loss is no longer finite
        return min(problem.descend(factors, float(rate) / depth, limit, residual).steps_to(_REACHED) for rate in _RATES)


def _convergence_claims(steps: dict[str, list[list[float]]], depths: Sequence[int], limit: int) -> list[Claim]:
    residual, plain = ([float(np.median(found)) for found in steps[name]] for name in ("residual", "plain"))
    problem = _framed(np.random.default_rng(0))
    fit = problem.descend(np.zeros((8, 24, 24)), 0.005, 1000, True)
    early, middle, late = (fit.steps_to(share) for share in (1e-2, 1e-4, 1e-6))
    linear = (late - middle) / (middle - early) if np.isfinite(late) else np.nan
    text: Callable[[Sequence[float]], str] = lambda values: ", ".join(  # noqa: E731
        f"{value:.0f}" if np.isfinite(value) else f"over {limit}" for value in values
    )
    return [
        Claim.judged(
            "Between fixed random layers gradient descent of the residual net from 0 converges linearly.",
            "review of residual networks, after Zou and others",
            f"With 8 factors it takes {middle - early:.0f} steps from 1e-2 to 1e-4 of the first loss and "
            f"{late - middle:.0f} from 1e-4 to 1e-6, a ratio of {linear:.2f}.",
            bool(0.5 < linear < 2) if np.isfinite(linear) else None,
        ),
        Claim.judged(
            "Depth does not slow the residual net, as it does the plain one.",
            "review of residual networks, after Zou and others",
            f"Steps at {', '.join(map(str, depths))} factors: residual {text(residual)}; plain {text(plain)} "
            "(medians, each with its best rate).",
            residual[-1] <= 2 * residual[0] and plain[-1] > 2 * plain[0],
        ),
    ]


# Depth as acceleration


def _quartic(seeds: Sequence[int], seed: int, n_steps: int) -> Table:
    rows = []
    rates = 10.0 ** np.arange(-3, 1, 0.25)
    for k in seeds:
        rng = np.random.default_rng([seed, k])
        X = rng.standard_normal((200, 20)) * np.logspace(0, -1, 20)
        y = X @ rng.standard_normal(20) + 0.1 * rng.standard_normal(200)
        y /= y.std()
        w = rng.standard_normal(20)
        w *= 0.1 / np.linalg.norm(w)
        row: list[float | str] = [f"seed {k}"]
        for depth in (1, 2, 3):
            with np.errstate(all="ignore"):  # as above
                paths = [power_regression(X, y, w, depth, float(rate), n_steps) for rate in rates]
            found = [int(np.argmax(path <= 1e-4 * path[0])) for path in paths if np.any(path <= 1e-4 * path[0])]
            row.append(min(found) if found else n_steps + 1)
        rows.append(tuple(row))
    columns = ("problem", "1 factor", "2 factors", "3 factors")
    note = f"Best of {len(rates)} rates for each; {n_steps + 1} where none came there in {n_steps} steps."
    return Table("Steps to 1e-4 of the first loss of a quartic regression", columns, rows, note)


def _quartic_claim(table: Table) -> Claim:
    one, two, three = ([int(row[k]) for row in table.rows] for k in (1, 2, 3))
    wins = sum(b < a for a, b in zip(one, two, strict=True))
    return Claim.judged(
        "More parameters for the same linear function speed descent up: two factors beat one on a quartic error.",
        "review of residual networks, after Arora, Cohen and Hazan",
        f"Two factors take fewer steps than one on {wins} of {len(one)} problems: {spread(two)} against {spread(one)}, "
        f"three take {spread(three)}.",
        wins > len(one) / 2,
    )


def _draw(figure: Figure, steps: dict[str, list[list[float]]], depths: Sequence[int], limit: int) -> None:
    ax = figure.subplots()
    for (name, found), colour in zip(steps.items(), (BLUE, VERMILION), strict=True):
        values = np.minimum(found, 1.3 * limit)
        ax.plot(depths, np.median(values, axis=1), "o-", color=colour, label=name)
        ax.fill_between(depths, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.12)
    ax.axhline(1.3 * limit, color="#555555", linewidth=0.8, linestyle=":", label=f"not within {limit} steps")
    ax.set(xscale="log", yscale="log", xlabel="factors", ylabel="steps to a millionth of the first loss")
    ax.set_xticks(depths, [str(depth) for depth in depths])
    counts = [n for n in (5, 10, 20, 50, 100, 200, 300) if n <= limit]
    ax.set_yticks(counts, [str(n) for n in counts])
    ax.minorticks_off()
    ax.legend(loc="upper left")
