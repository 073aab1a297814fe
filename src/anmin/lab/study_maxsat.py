"""The semidefinite relaxation of MAXSAT: what its objective counts, what rounding attains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmin.lab.colours import BLUE, VERMILION
from anmin.lab.maxsat import fewest_unsatisfied, n_unsatisfied, relaxed_maxsat
from anmin.lab.study import Claim, Study, Table, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_SOURCE = "review of discrete optimisers as layers, after Wang et al. 2019"
_GUARANTEE = 0.878


def run(quick: bool = False, seed: int = 0) -> Study:
    """Return the study: random instances of two and three literals against brute force."""
    rng = np.random.default_rng(seed)
    n, count = (10, 6) if quick else (14, 20)
    densities = (2, 4, 8) if quick else (1, 2, 3, 4, 6, 8, 12)
    rows: list[tuple] = []
    ratios: list[float] = []
    below: list[bool] = []
    found: dict[int, list[tuple]] = {2: [], 3: []}
    for literals in (2, 3):
        for density in densities:
            best, bounds, lefts = [], [], []
            for _ in range(count):
                clauses = _random(rng, density * n, n, literals)
                relaxed = relaxed_maxsat(clauses, rng)
                best.append(fewest_unsatisfied(clauses))
                bounds.append(relaxed.unsatisfied)
                lefts.append(relaxed.left)
                ratios.append((len(clauses) - relaxed.left) / (len(clauses) - best[-1]))
            if literals == 2:
                below += [bound <= least + 1e-6 for bound, least in zip(bounds, best, strict=True)]
            found[literals].append((density, np.mean(bounds), np.mean(best), np.mean(lefts)))
            rows.append((f"{literals} literals, {density} clauses a variable", *found[literals][-1][1:]))
    errors = {size: _miscounts(size) for size in (1, 2, 3)}
    claims = [
        Claim.judged(
            "The objective of the relaxation counts the clauses left unsatisfied.",
            f"{_SOURCE}, equation of the MAXSAT program",
            f"at vectors ±v_T, largest miscount of a clause of 1, 2 and 3 literals: {errors[1]:.3g}, {errors[2]:.3g} "
            f"and {errors[3]:.3g}. It is a count for up to two literals alone.",
            max(errors.values()) < 1e-12,
        ),
        Claim.judged(
            "The relaxation is a lower bound of the number left unsatisfied.",
            f"{_SOURCE}, for clauses of two literals",
            f"it was in {sum(below)} of {len(below)} random instances, against brute force over {2**n:,} assignments",
            all(below),
        ),
        Claim.judged(
            f"Random rounding satisfies at least {_GUARANTEE} of what can be satisfied.",
            "Goemans and Williamson 1995, as the review has it",
            f"with the best of 50 roundings, between {min(ratios):.3f} and {max(ratios):.3f} of the optimum in "
            f"{len(ratios)} instances",
            min(ratios) >= _GUARANTEE,
        ),
    ]
    columns = ("instances", "relaxation", "least by brute force", "best of 50 roundings")
    return Study(
        "maxsat",
        "MAXSAT as a semidefinite program",
        f"Random clauses over {n} variables, {count} instances of each kind: the mixing method (coordinate descent on "
        "unit vectors) against brute force.",
        claims,
        [Table("Clauses left unsatisfied, means over instances", columns, rows)],
        [
            drawn(
                "bound",
                "The relaxation bounds what brute force finds; rounding is close to it",
                lambda f: _draw(f, found),
            )
        ],
        {"variables": n, "instances of a kind": count, "seed": seed},
    )


def _random(rng: np.random.Generator, m: int, n: int, literals: int) -> NDArray:
    clauses = np.zeros((m, n))
    for row in clauses:
        row[rng.permutation(n)[:literals]] = rng.choice([-1, 1], literals)
    return clauses


def _miscounts(size: int) -> float:
    """Return the largest |objective − unsatisfied| of the clause of all positive literals."""
    worst = 0.0
    for true in range(size + 1):
        values = np.arange(size) < true
        total = -1 + np.where(values, 1, -1).sum()
        objective = (total**2 - (size - 1) ** 2) / (4 * size)
        worst = max(worst, abs(objective - n_unsatisfied(np.ones((1, size)), values)))
    return worst


def _draw(figure: Figure, found: dict[int, list[tuple]]) -> None:
    axes = figure.subplots(1, 2)
    names = (
        ("relaxation", BLUE, "o-"),
        ("brute force", "#000000", "s-"),
        ("best of 50 roundings", VERMILION, "^--"),
    )
    for ax, (literals, values) in zip(axes, found.items(), strict=True):
        densities, *curves = np.array(values).T
        for curve, (name, colour, style) in zip(curves, names, strict=True):
            ax.plot(densities, curve, style, color=colour, label=name, markersize=4)
        ax.set(xlabel="clauses for each variable", title=f"{literals} literals a clause")
    axes[0].set_ylabel("clauses left unsatisfied (mean)")
    axes[0].legend()
