"""More rows, larger errors: linear regression by least norms, with its exact bias and variance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from anmin.lab.colours import BLUE, GREEN, VERMILION
from anmin.lab.double_descent import SOURCE, Risk, descended, exact_risk, limiting_risk
from anmin.lab.study import Claim, Study, Table, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOISE = 0.1
_RATIOS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.96, 1.0, 1.04, 1.1, 1.2, 1.5, 2.0)
_GATE = 0.2  # |γ − 1| from which means of a few dozen draws settle
_BUDGETS = (30, 300, None)


def run(quick: bool = False, seed: int = 0) -> Study:
    """Return the study: measured bias, variance and error over n/d beside the exact and the printed formulas."""
    d, draws = (100, 60) if quick else (100, 400)
    sizes = [round(ratio * d) for ratio in _RATIOS]
    found = [_measured(n, d, draws, seed) for n in sizes]
    risks = Table(
        f"‖β̂ − β‖² for d = {d}, ‖β‖ = 1, noise {_NOISE:g}: mean over {draws} draws",
        ("n", "bias", "exact bias", "variance", "exact variance", "printed variance", "median error"),
        [
            (n, measured.bias, exact.bias, measured.variance, exact.variance, printed.variance, float(np.median(all_)))
            for n, (measured, errors), exact, printed in zip(
                sizes, found, _exact(sizes, d), _printed(sizes, d), strict=True
            )
            for all_ in [errors[None]]
        ],
        "Where |n − d| <= 1 the exact mean is infinite and a measured one means nothing; read the median there.",
    )
    budgets = Table(
        "Median ‖β̂ − β‖² of gradient descent from 0",
        ("n", *("without end" if steps is None else f"{steps} steps" for steps in _BUDGETS)),
        [
            (n, *(float(np.median(errors[steps])) for steps in _BUDGETS))
            for n, (_, errors) in zip(sizes, found, strict=True)
        ],
    )
    return Study(
        "double_descent_linear",
        "More rows, larger errors: double descent of linear regression",
        f"Inputs N(0, I) of {d} dimensions, y = xᵀβ + {_NOISE:g}·ε, the solution of least norm; scaled from the 1,000 "
        "dimensions of the source. Errors are in excess of the noise. β is drawn once, of norm 1.",
        _claims(sizes, d, [measured for measured, _ in found], risks, budgets),
        [risks, budgets],
        [
            drawn("risk", "The error peaks at n = d, by variance", lambda f: _draw_risk(f, sizes, d, risks)),
            drawn("budget", "Ending descent early lowers the peak", lambda f: _draw_budgets(f, d, budgets)),
        ],
        {"inputs": d, "draws": draws, "noise": _NOISE, "seed": seed},
    )


def _measured(n: int, d: int, draws: int, seed: int) -> tuple[Risk, dict[int | None, list[float]]]:
    """Return bias and variance of least norms, and ‖β̂ − β‖² of each draw after each budget of steps."""
    rng = np.random.default_rng([seed, n])
    beta = np.random.default_rng(seed).standard_normal(d)
    beta /= np.linalg.norm(beta)
    errors: dict[int | None, list[float]] = {steps: [] for steps in _BUDGETS}
    estimates = np.empty((draws, d))
    for k in range(draws):
        X = rng.standard_normal((n, d))
        y = X @ beta + _NOISE * rng.standard_normal(n)
        after = descended(X, y, _BUDGETS)
        for steps, error in zip(_BUDGETS, np.sum((after - beta) ** 2, axis=1), strict=True):
            errors[steps].append(float(error))
        estimates[k] = after[-1]  # without end
    variance = float(estimates.var(axis=0, ddof=1).sum())
    # The mean of so many draws still varies; without that share the bias of unbiased estimates is 0 on average.
    bias = float(np.sum((estimates.mean(axis=0) - beta) ** 2)) - variance / draws
    return Risk(bias, variance), errors


def _exact(sizes: Sequence[int], d: int) -> list[Risk]:
    return [exact_risk(n, d, 1.0, _NOISE) for n in sizes]


def _printed(sizes: Sequence[int], d: int) -> list[Risk]:
    return [limiting_risk(n, d, 1.0, _NOISE) for n in sizes]


def _claims(sizes: Sequence[int], d: int, measured: Sequence[Risk], risks: Table, budgets: Table) -> list[Claim]:
    medians = np.array([float(row[-1]) for row in risks.rows])
    peak = sizes[int(np.argmax(medians[sizes.index(round(0.8 * d)) :])) + sizes.index(round(0.8 * d))]
    at, before = medians[sizes.index(d)], medians[sizes.index(round(0.8 * d))]
    far = [k for k, n in enumerate(sizes) if abs(n / d - 1) >= _GATE - 1e-9]
    errors = [abs(measured[k].total / _exact(sizes, d)[k].total - 1) for k in far]
    printed = [abs(measured[k].total / _printed(sizes, d)[k].total - 1) for k in far]
    near = d - 2
    exact, limit = exact_risk(near, d, 1.0, _NOISE), limiting_risk(near, d, 1.0, _NOISE)
    top = dict(zip(budgets.columns[1:], map(float, budgets.rows[sizes.index(d)][1:]), strict=True))
    curves = np.array([[float(cell) for cell in row] for row in budgets.rows])
    falls = [name for name, curve in zip(budgets.columns, curves.T, strict=True) if np.all(np.diff(curve) < 0)]
    biases = [abs(measured[k].bias - _exact(sizes, d)[k].bias) for k in far]
    return [
        Claim.judged(
            "With more rows the error first falls, then rises to a peak where there are as many rows as inputs, then "
            "falls for good.",
            f"{SOURCE}, sample-wise, Figure 12",
            f"From 0.8·d rows on, the median error is {before:.3g} there, largest at n = {peak} (d = {d}) with "
            f"{at:.3g}, and {medians[-1]:.3g} at n = {sizes[-1]}.",
            peak == d and at > before and medians[-1] < before,
        ),
        Claim.judged(
            "Bias² and variance add up to the error: for n < d it is (1 − n/d)‖β‖² + σ²n/(d − n − 1), for n > d it is "
            "σ²d/(n − d − 1), within 10% where |γ − 1| >= 0.2.",
            "derived: exact for finite n and d",
            f"Off by at most {100 * max(errors):.1f}% at {len(far)} sizes.",
            max(errors) <= 0.1,
        ),
        Claim.judged(
            "The bias falls as (1 − γ)²‖β‖² and is 0 from n = d on.",
            f"{SOURCE}, formulas of the bias",
            f"Measured and printed bias differ by at most {max(biases):.2g} where |γ − 1| >= 0.2.",
            max(biases) <= 0.03,
        ),
        Claim.judged(
            "V ≈ γ(1 − γ)‖β‖² + σ²γ/(1 − γ) for γ < 1, σ²/(γ − 1) for γ > 1.",
            f"{SOURCE}, formulas of the variance",
            f"Bias and variance of these formulas are off by at most {100 * max(printed):.1f}% where |γ − 1| >= 0.2.",
            max(printed) <= 0.1,
        ),
        Claim.judged(
            "The same formulas hold near the peak.",
            f"{SOURCE}, formulas of the variance",
            f"At n = d − 2 = {near} the printed variance is {limit.variance:.3g} and the exact one "
            f"{exact.variance:.3g}: the 1 that the limit drops doubles the noise's share. One row from the peak the "
            "mean is infinite.",
            abs(limit.variance / exact.variance - 1) <= 0.1,
        ),
        Claim.judged(
            "A peak measured by gradient descent may be far lower than that of least norms: descent had ended before.",
            f"{SOURCE}, Figure 13, explained by derivation",
            "Median error at n = d: "
            + ", ".join(f"{value:.3g} ({name})" for name, value in top.items())
            + f". With {' and '.join(falls) or 'none of them'} there is no peak: it falls with every row.",
            max(top[name] for name in budgets.columns[1:-1]) < top["without end"] / 2,
        ),
    ]


def _draw_risk(figure: Figure, sizes: Sequence[int], d: int, risks: Table) -> None:
    ax = figure.subplots()
    counts = np.array([n for n in range(2, 2 * d + 1) if abs(n - d) > 1])
    exact = [exact_risk(int(n), d, 1.0, _NOISE) for n in counts]
    for left in (True, False):
        side = (counts < d) == left
        for name, colour in (("total", BLUE), ("bias", GREEN), ("variance", VERMILION)):
            values = np.array([getattr(risk, name) for risk in exact])[side]
            # On a logarithmic axis a bias of 0 is no line.
            if name != "bias" or left:
                ax.plot(counts[side] / d, values, color=colour, label=f"exact {name}" if left else None)
    means = [row for row in risks.rows if abs(int(row[0]) - d) > 1]
    ratios = [float(row[0]) / d for row in means]
    ax.plot(ratios, [float(row[1]) + float(row[3]) for row in means], "o", color=BLUE, label="measured total")
    ax.plot(
        [float(row[0]) / d for row in risks.rows],
        [float(row[-1]) for row in risks.rows],
        "k_",
        markersize=9,
        label="median",
    )
    ax.set(yscale="log", xlabel="rows for each input, n/d", ylabel="‖β̂ − β‖², in ‖β‖²", ylim=(4e-3, None))
    ax.legend(fontsize=8)


def _draw_budgets(figure: Figure, d: int, budgets: Table) -> None:
    ax = figure.subplots()
    ratios = [float(row[0]) / d for row in budgets.rows]
    for k, colour in zip(range(1, len(budgets.columns)), (GREEN, VERMILION, BLUE), strict=True):
        ax.plot(
            ratios, [float(row[k]) for row in budgets.rows], "o-", color=colour, label=budgets.columns[k], markersize=4
        )
    ax.set(yscale="log", xlabel="rows for each input, n/d", ylabel="median ‖β̂ − β‖², in ‖β‖²")
    ax.legend(title="gradient descent")
