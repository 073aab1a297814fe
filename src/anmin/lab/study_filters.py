"""Learning one convolutional filter: patches, Convotron, similar patches, clustered inputs, and output weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anmin.lab.figures import PALETTE
from anmin.lab.filters import (
    convotron,
    cross_term,
    filter_descent,
    filter_output,
    image_patch_gram,
    image_patch_matrices,
    patch_gram,
    patch_matrices,
)
from anmin.lab.studies import STUDIES
from anmin.lab.study import Claim, Study, Table, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "filters"
_LAYERS = ((5, 3, 1), (7, 3, 2), (10, 3, 1), (20, 5, 2), (20, 5, 5))  # inputs, filter, stride
_LEARNT = _LAYERS[2:]
_PASSES = 10
_FOUND = 1e-3  # squared error, as a share of the variance of y
_PATCHES, _LENGTH = 5, 10  # of the similar patches
_ANGLES = (0.05, 0.2, 0.5, 1.0, 1.5)  # ρ in radians; π/2 makes the patches independent
_OUTPUTS = ("random", "positive", "of sum 0")


def run(quick: bool = False, seed: int = 0) -> Study:
    """Learn planted filters of norm 1 by Convotron and by gradient descent.

    Parameters
    ----------
    quick : bool, default False
        Three seeds, and fewer starts and steps.
    seed : int, default 0
    """
    seeds = range(seed, seed + (3 if quick else 10))
    starts, steps = (4, 300) if quick else (20, 2000)
    grams = {layer: np.linalg.eigvalsh(patch_gram(*layer)) for layer in _LAYERS}
    gap = max(_gram_difference(layer) for layer in _LAYERS)
    image = _image_difference()
    curves = {
        (layer, slope): np.array([_convotron(layer, slope, s) for s in seeds])
        for layer in _LEARNT
        for slope in (0.0, 0.1)
    }
    ends = {key: float(values[:, -1].max()) for key, values in curves.items()}
    similar = {rho: [similar_patches(rho, s) for s in seeds] for rho in _ANGLES}
    needed = {rho: float(np.median([found[0] for found in runs])) for rho, runs in similar.items()}
    crosses = {rho: float(np.median([found[1] for found in runs])) for rho, runs in similar.items()}
    gammas = {rho: float(np.median([found[2] for found in runs])) for rho, runs in similar.items()}
    kinds = {"Gaussian": 0, "16 clusters": 16, "8 clusters": 8, "4 clusters": 4}
    shares = {name: [_reached_from(m, s, starts, steps) for s in seeds] for name, m in kinds.items()}
    joint = {kind: np.array([_joint(kind, s, starts) for s in seeds]) for kind in _OUTPUTS}
    restarts = {kind: _best_of(found) for kind, found in joint.items()}
    medians = {name: float(np.mean(values)) for name, values in shares.items()}
    return Study(
        NAME,
        STUDIES[NAME][1],
        f"y = Σ v_i σ(w*ᵀ P_i x), ‖w*‖ = 1, one filter over all patches, {len(seeds)} seeds. Convotron goes "
        f"{_PASSES} times "
        "through 2,000 rows, one at a time; gradient descent has all of its rows in each step. Found means a "
        "squared error "
        f"below {_FOUND:g} of the variance of y.",
        [
            Claim.judged(
                "P = Σ P_i P_jᵀ has the entry k − a where |i − j| = a·stride; images have the product of two such "
                "factors.",
                "Goel et al., patch matrices (the review's P_i has one zero too many)",
                f"Largest difference from the sum: {gap:g}, for images {image:g}. Eigenvalues of (5, 3, 1): "
                f"{_list(grams[5, 3, 1])}; of (7, 3, 2): {_list(grams[7, 3, 2])}.",
                gap == 0.0 and image == 0.0,
            ),
            Claim.judged(
                "Convotron learns a filter with overlapping patches.",
                "Goel et al.",
                f"Largest ‖w − w*‖ after {_PASSES} passes: "
                + "; ".join(f"{layer} {ends[layer, 0.0]:.0e}, leaky {ends[layer, 0.1]:.0e}" for layer in _LEARNT)
                + ".",
                max(ends.values()) < 1e-3,
            ),
            Claim.judged(
                "Its rate rests on the least eigenvalue of P.",
                "Goel et al., theorem",
                "Median ‖w − w*‖ after one pass: "
                + "; ".join(
                    f"λ_min/trace {grams[layer][0] / grams[layer].sum():.3f}: {np.median(curves[layer, 0.0][:, 1]):.0e}"
                    for layer in sorted(_LEARNT, key=_conditioning)
                )
                + ".",
                _falls([float(np.median(curves[layer, 0.0][:, 1])) for layer in sorted(_LEARNT, key=_conditioning)]),
            ),
            Claim.judged(
                "The closer the patches of an input are, the fewer steps gradient descent needs.",
                "Du et al. 2018a",
                "Median steps to ‖w − w*‖ < 0.01: "
                + ", ".join(f"{needed[rho]:g} at ρ = {rho:g}" for rho in _ANGLES)
                + f". At the start the cross term is {crosses[_ANGLES[0]] / gammas[_ANGLES[0]]:.2g} of γ at the "
                f"smallest ρ and {crosses[_ANGLES[-1]] / gammas[_ANGLES[-1]]:.2g} of it at the largest.",
                _falls([needed[rho] for rho in reversed(_ANGLES)]),
            ),
            Claim.judged(
                "Where γ is large beside the cross term, every step contracts ‖w − w*‖.",
                "Du et al. 2018a, equation 29 of the review",
                f"The distance falls in {np.mean([f[3] for rho in _ANGLES[:2] for f in similar[rho]]):.1%} of the "
                "steps at "
                f"the two smallest ρ, in {np.mean([f[3] for runs in similar.values() for f in runs]):.1%} over all "
                "ρ.",
                all(f[3] == 1.0 for rho in _ANGLES[:2] for f in similar[rho]),
            ),
            Claim.judged(
                "Without overlap Gaussian inputs are learnt from any start; clustered inputs leave more starts stuck.",
                "Brutzkus & Globerson",
                f"Share of starts found in {steps:,} steps (four patches of four): "
                + ", ".join(f"{name} {share:.0%}" for name, share in medians.items())
                + ".",
                medians["Gaussian"] == 1.0 and max(list(medians.values())[1:]) < 1.0,
            ),
            Claim.judged(
                "A filter with its output weights has spurious minima; a few random restarts find the planted one.",
                "Du et al. 2018b",
                "Share of single starts found: "
                + ", ".join(f"{restarts[kind][0]:.0%} (v* {kind})" for kind in _OUTPUTS)
                + f"; of the best of {len(restarts['random'])}: "
                + ", ".join(f"{restarts[kind][-1]:.0%}" for kind in _OUTPUTS)
                + ".",
                bool(min(r[0] for r in restarts.values()) < 1.0 and np.mean([r[-1] for r in restarts.values()]) > 0.9),
            ),
        ],
        [
            Table(
                "Patches: (inputs, filter, stride)",
                ("layer", "k", "first row of P", "eigenvalues"),
                [
                    (str(layer), len(patch_matrices(*layer)), _list(patch_gram(*layer)[0]), _list(grams[layer]))
                    for layer in _LAYERS
                ],
            ),
            Table(
                "Convotron: ‖w − w*‖ after passes through 2,000 rows (median; worst at the end)",
                ("layer", "slope", *(f"{i} passes" for i in (1, 3, 5, _PASSES)), "worst"),
                [
                    (str(layer), slope, *(float(np.median(v[:, i])) for i in (1, 3, 5, _PASSES)), ends[layer, slope])
                    for (layer, slope), v in curves.items()
                ],
            ),
            Table(
                f"Similar patches: {_PATCHES} patches of {_LENGTH} at angles about ρ (medians)",
                ("ρ", "steps, all rows", "steps, batches of 50", "γ at the start", "cross term at the start"),
                [
                    (rho, needed[rho], float(np.median([f[4] for f in runs])), gammas[rho], crosses[rho])
                    for rho, runs in similar.items()
                ],
            ),
            Table(
                "Filter and output weights: share of seeds found by the best of so many random starts",
                ("starts", *(f"v* {kind}" for kind in _OUTPUTS)),
                [(m, *(restarts[kind][m - 1] for kind in _OUTPUTS)) for m in (1, 2, 4, 8, 16) if m <= starts],
            ),
        ],
        [
            drawn("convotron", "Convotron converges linearly", lambda figure: _draw_convotron(figure, curves)),
            drawn(
                "conditions",
                "What makes a filter easy to learn: close patches, Gaussian inputs, restarts",
                lambda figure: _draw_conditions(figure, needed, medians, restarts),
                (10.0, 3.9),
            ),
        ],
        {"seeds": len(seeds), "starts": starts, "steps": steps, "first seed": seed},
    )


def similar_patches(rho: float, seed: int) -> tuple[float, float, float, float, float]:
    """Descend on a filter over patches cos ρ · z + sin ρ · g_i, with z common to all patches of a row.

    Returns
    -------
    steps : float
        Until ‖w − w*‖ < 0.01, at most 400.
    cross, gamma : float
        :func:`anmin.lab.filters.cross_term` at the start.
    falling : float
        Share of the steps before that in which the distance fell.
    stochastic : float
        Steps with batches of 50 rows.
    """
    rng = np.random.default_rng([seed, round(1000 * rho)])
    common = rng.standard_normal((1000, 1, _LENGTH))
    Z = np.cos(rho) * common + np.sin(rho) * rng.standard_normal((1000, _PATCHES, _LENGTH))
    w_star, w = rng.standard_normal((2, _LENGTH))
    w_star /= np.linalg.norm(w_star)
    w *= 0.1 / np.linalg.norm(w)
    y = filter_output(Z, w_star) / _PATCHES
    at_start = cross_term(Z, w, w_star)
    distances = np.linalg.norm(filter_descent(Z, y, w, 0.5, 400).filters - w_star, axis=1)
    steps = _first_below(distances)
    falling = float(np.mean(np.diff(distances[: int(steps) + 1]) < 0))
    batches = filter_descent(Z, y, w, 0.2, 1000, batch=50, rng=rng).filters
    stochastic = _first_below(np.linalg.norm(batches - w_star, axis=1))
    return steps, at_start.cross, at_start.gamma, falling, stochastic


def _first_below(distances: NDArray) -> float:
    below = np.flatnonzero(distances < 0.01)
    return float(below[0]) if len(below) else float(len(distances) - 1)


def _gram_difference(layer: tuple[int, int, int]) -> float:
    patches = patch_matrices(*layer)
    total = patches.sum(axis=0)
    return float(np.abs(total @ total.T - patch_gram(*layer)).max())


def _image_difference() -> float:
    sizes, filters, strides = (6, 7), (3, 2), (2, 1)
    total = image_patch_matrices(sizes, filters, strides).sum(axis=0)
    return float(np.abs(total @ total.T - image_patch_gram(sizes, filters, strides)).max())


def _conditioning(layer: tuple[int, int, int]) -> float:
    eigenvalues = np.linalg.eigvalsh(patch_gram(*layer))
    return float(eigenvalues[0] / eigenvalues.sum())


def _convotron(layer: tuple[int, int, int], slope: float, seed: int) -> NDArray:
    """Return ‖w − w*‖ before and after each pass."""
    rng = np.random.default_rng([seed, *layer])
    patches = patch_matrices(*layer)
    w_star = rng.standard_normal(layer[1])
    w_star /= np.linalg.norm(w_star)
    Z = np.einsum("krn,in->ikr", patches, rng.standard_normal((2000, layer[0])))
    # E‖Σ P_i x‖² = trace P, and f sees all k patches: a step larger than this may overshoot.
    rate = 1 / (np.trace(patch_gram(*layer)) * len(patches))
    found = convotron(Z, filter_output(Z, w_star, None, slope), rate, _PASSES, rng, negative_slope=slope)
    distances: NDArray = np.linalg.norm(found - w_star, axis=1)
    return distances


def _reached_from(n_clusters: int, seed: int, starts: int, steps: int) -> float:
    """Return the share of random starts from which a filter over four patches is found; 0 clusters: Gaussian "
    "inputs."""
    rng = np.random.default_rng([seed, n_clusters])
    if n_clusters:
        centres = rng.standard_normal((n_clusters, 4, 4))
        Z = centres[rng.integers(n_clusters, size=300)] + 0.05 * rng.standard_normal((300, 4, 4))
    else:
        Z = rng.standard_normal((300, 4, 4))
    w_star = rng.standard_normal(4)
    y = filter_output(Z, w_star / np.linalg.norm(w_star)) / 4
    found = 0
    for _ in range(starts):
        w = rng.standard_normal(4)
        path = filter_descent(Z, y, w / np.linalg.norm(w), 0.5, steps)
        found += np.mean((filter_output(Z, path.filters[-1]) / 4 - y) ** 2) < _FOUND * y.var()
    return found / starts


def _joint(kind: str, seed: int, starts: int) -> NDArray:
    """Return for each random start whether a filter of six entries and its eight output weights are found."""
    rng = np.random.default_rng([seed, _OUTPUTS.index(kind), 8])
    Z = rng.standard_normal((500, 8, 6))
    w_star, v_star = rng.standard_normal(6), rng.standard_normal(8)
    if kind == "positive":
        v_star = np.abs(v_star)
    elif kind == "of sum 0":
        v_star -= v_star.mean()
    y = filter_output(Z, w_star / np.linalg.norm(w_star), v_star)
    found = []
    for _ in range(starts):
        w, v = rng.standard_normal(6), rng.standard_normal(8) / np.sqrt(8)
        path = filter_descent(Z, y, w / np.linalg.norm(w), 0.1, 400, v=v)
        end = filter_output(Z, path.filters[-1], path.weights[-1])
        found.append(bool(np.mean((end - y) ** 2) < _FOUND * y.var()))
    return np.array(found)


def _best_of(found: NDArray) -> list[float]:
    """Return the share of seeds (rows) with a success among the first 1, 2, ... starts; of one start, over all."""
    within = np.maximum.accumulate(found, axis=1).mean(axis=0)
    return [float(found.mean()), *map(float, within[1:])]


def _falls(values: Sequence[float]) -> bool:
    return all(b <= a for a, b in pairwise(values)) and values[-1] < values[0]


def _list(values: NDArray) -> str:
    return ", ".join(f"{value:.4f}".rstrip("0").rstrip(".") for value in values)


def _draw_convotron(figure: Figure, curves: Mapping[tuple[tuple[int, int, int], float], NDArray]) -> None:
    ax = figure.subplots()
    for (layer, slope), values in curves.items():
        colour = PALETTE[_LEARNT.index(layer)]
        label = f"{layer}, slope {slope:g}"
        shown = np.maximum(np.median(values, axis=0), 1e-16)
        ax.plot(shown, "o--" if slope else "o-", ms=4, color=colour, label=label)
    ax.axhline(1e-3, color="#555555", lw=0.8, ls=":")
    ax.set(yscale="log", xlabel="passes through 2,000 rows", ylabel="‖w − w*‖, median of seeds (dotted: 1e-3)")
    ax.legend(title="(inputs, filter, stride)", fontsize=8)


def _draw_conditions(
    figure: Figure, needed: Mapping[float, float], shares: Mapping[str, float], restarts: Mapping[str, Sequence[float]]
) -> None:
    left, middle, right = figure.subplots(1, 3)
    left.plot(list(needed), list(needed.values()), "o-", color=PALETTE[0], label="gradient descent")
    left.set(xlabel="ρ, angle of the patches (radians)", ylabel="steps to ‖w − w*‖ < 0.01", ylim=(0, None))
    left.set_title("close patches", fontsize=10)
    left.legend()
    middle.bar(range(len(shares)), list(shares.values()), color=PALETTE[2], label="from random starts")
    middle.set_xticks(range(len(shares)), [name.replace(" ", "\n") for name in shares])
    middle.set(ylabel="share of starts found", ylim=(0, 1.25), xlabel="inputs")
    middle.set_title("Gaussian inputs", fontsize=10)
    middle.legend()
    for colour, (kind, values) in zip(PALETTE, restarts.items(), strict=False):
        right.plot(range(1, len(values) + 1), values, "o-", ms=4, color=colour, label=f"v* {kind}")
    right.set(xlabel="random starts", ylabel="share of seeds found by the best", ylim=(0, 1.05))
    right.set_title("filter and output weights: restarts", fontsize=10)
    right.legend()
