"""The residual network of one layer of Li and Yuan: its expected gradient and the two phases of its descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anmin.lab.arguments import checked_array, checked_count, checked_positive
from anmin.lab.figures import PALETTE
from anmin.lab.kernels import population_gradient
from anmin.lab.planted import distance, relu_sum
from anmin.lab.studies import STUDIES
from anmin.lab.study import Claim, Study, Table, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "residual_one_layer"
_SOURCE = "Li & Yuan"
_D = 20
_NORM, _RATE = 0.1, 0.05
_REACHED = 1e-2  # distance that counts as on its way to W*, beside starts at 0.3 and more
_REPORTED = (0, 50, 100, 300, 1000, 3000)  # steps in the table


def run(quick: bool = False, seed: int = 0) -> Study:
    """Descend on E[(Σ relu(⟨e_i + w_i, x⟩) − Σ relu(⟨e_i + w*_i, x⟩))²] over x ~ N(0, I) in 20 inputs.

    Parameters
    ----------
    quick : bool, default False
        Two seeds and fewer rows for the Monte-Carlo gradient.
    seed : int, default 0
    """
    seeds = range(seed, seed + (2 if quick else 10))
    n_rows = 200_000 if quick else 4_000_000
    runs = [population_descent(*_pair(s, _NORM), _RATE, _REPORTED[-1]) for s in seeds]
    potentials = np.array([[abs(g) for g in run[0]] for run in runs])
    distances = np.array([run[1] for run in runs])
    error, printed = zip(*(_monte_carlo(n_rows, s) for s in seeds[:5]), strict=True)
    stochastic = np.array([_stochastic(s, 3000 if quick else 10_000) for s in seeds])
    norms = (0.1, 0.5, 1.0) if quick else (0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
    reached = {norm: [population_descent(*_pair(s, norm), _RATE, 3000)[1][-1] for s in seeds] for norm in norms}
    plain = [population_descent(*_plain(s), _RATE, 3000)[1][-1] for s in seeds]

    def median(values: NDArray, step: int) -> float:
        return float(np.median(values[:, step]))

    ends = [float(np.mean(np.array(reached[norm]) < _REACHED)) for norm in norms]
    return Study(
        NAME,
        STUDIES[NAME][1],
        f"f(x) = Σ relu(⟨e_i + w_i, x⟩) in d = {_D} inputs, ‖W₀‖₂ = ‖W*‖₂ = {_NORM} with Gaussian directions, "
        "gradient "
        f"descent on the expected loss, rate {_RATE}, {len(seeds)} seeds. The potential is g = Σ (‖e_i + w*_i‖ − "
        "‖e_i + w_i‖).",
        [
            Claim.judged(
                "The expected gradient has the closed form of the source.",
                f"{_SOURCE}, gradient of the loss",
                f"Relative difference from the mean over {n_rows:,} rows: median {np.median(error):.2%}, at most "
                f"{max(error):.2%}.",
                max(error) < (0.03 if quick else 0.005),
            ),
            Claim.judged(
                "The line of the review is that gradient.",
                "review, residual networks; equation 30 prints w_i + w_i for e_i + w_i",
                f"Printed times −π of the gradient: it is {np.median(printed):.2f} of its length away (π + 1 = "
                "4.14), and "
                "descent along it would climb.",
                max(printed) < 0.1,
            ),
            Claim.judged(
                "Phase I: the potential |g| falls, well before the weights are near.",
                f"{_SOURCE}, two phases",
                f"Median |g| {median(potentials, 0):.3f} at first and {median(potentials, 50):.0e} after 50 steps, "
                "when "
                f"the distance has only gone from {median(distances, 0):.2f} to {median(distances, 50):.2f}.",
                bool(np.all(potentials[:, 50] < 0.05 * potentials[:, 0])),
            ),
            Claim.judged(
                "Phase II: with a small potential the weights converge to W*.",
                f"{_SOURCE}, two phases",
                f"Median ‖W − W*‖_F: {median(distances, 300):.2g} after 300 steps, {median(distances, 1000):.0e} "
                "after "
                f"1,000, {median(distances, 3000):.0e} after 3,000 (worst {distances[:, 3000].max():.0e}).",
                bool(np.all(distances[:, 3000] < 1e-8)),
            ),
            Claim.judged(
                "Stochastic gradient descent converges as well.",
                f"{_SOURCE}, theorem",
                f"With batches of 200 fresh rows the median distance falls from {np.median(stochastic[:, 0]):.2f} to "
                f"{np.median(stochastic[:, 1]):.0e} in {3000 if quick else 10_000:,} steps.",
                bool(np.all(stochastic[:, 1] < 1e-2 * stochastic[:, 0])),
            ),
            Claim.judged(
                "The weights must be small beside the identity (spectral norms below a constant).",
                f"{_SOURCE}, theorem",
                "Share of seeds that reach W* in 3,000 steps: "
                + ", ".join(f"{share:.0%} at ‖W*‖₂ = {norm:g}" for norm, share in zip(norms, ends, strict=True))
                + ".",
                ends[-1] < ends[0] if ends[-1] < 1.0 else None,
            ),
            Claim.judged(
                "Without the identity, from a random start, such a network is not found.",
                f"{_SOURCE}, introduction",
                "With the same W* and a start of Gaussian columns of norm about 1, "
                f"{sum(d < _REACHED for d in plain)} "
                "of "
                f"{len(plain)} seeds reach it, up to the order of neurons, in 3,000 steps (median distance "
                f"{np.median(plain):.1g}).",
                _count_reached(plain) <= len(plain) / 2,
            ),
        ],
        [
            Table(
                "Medians over seeds along the descent",
                ("step", "|g|", "‖W − W*‖_F", "worst ‖W − W*‖_F"),
                [(i, median(potentials, i), median(distances, i), float(distances[:, i].max())) for i in _REPORTED],
                "Checked once before, with one seed: |g| 0.089 and 9e-5 (50 steps); distance 0.33, 0.016 (300), 3e-5 "
                "(1,000), 1e-12 (3,000).",
            ),
            Table(
                f"Share of seeds that reach W* (distance < {_REACHED:g} in 3,000 steps)",
                ("‖W₀‖₂ = ‖W*‖₂", "share", "median distance at the end"),
                [(norm, share, float(np.median(reached[norm]))) for norm, share in zip(norms, ends, strict=True)],
            ),
        ],
        [
            drawn(
                "phases",
                "First the potential falls, then the weights converge",
                lambda figure: _draw_phases(figure, potentials, distances),
                (8.4, 4.0),
            )
        ],
        {"inputs": _D, "rate": _RATE, "seeds": len(seeds), "first seed": seed},
    )


def population_descent(W: NDArray, W_star: NDArray, rate: float, n_steps: int) -> tuple[list[float], list[float]]:
    """Descend on the expected loss of Σ relu(w_jᵀ x) against that of W*, which for residual weights are I + W, I + W*.

    Parameters
    ----------
    W, W_star : ndarray of shape (d, k)
    rate : float
    n_steps : int

    Returns
    -------
    potentials : list of float
        g = Σ ‖w*_j‖ − Σ ‖w_j‖ before each step and after the last.
    distances : list of float
        ‖W − W*‖_F there; up to the order of neurons at the last, if the descent did not start near W* in this order.

    Raises
    ------
    ValueError
        If the shapes disagree, ``rate`` is not above 0 or ``n_steps`` not a count.
    """
    W_star = checked_array("W_star", W_star, "d", "k")
    W = checked_array("W", W, *W_star.shape)
    rate = checked_positive("rate", rate)
    norm = float(np.linalg.norm(W_star, axis=0).sum())
    potentials, distances = [], []
    for step in range(checked_count("n_steps", n_steps) + 1):
        potentials.append(norm - float(np.linalg.norm(W, axis=0).sum()))
        distances.append(float(np.linalg.norm(W - W_star)))
        if step < n_steps:
            W = W - rate * population_gradient(W, W_star)
    distances[-1] = distance(W, W_star) * float(np.linalg.norm(W_star))
    return potentials, distances


def _count_reached(distances: Sequence[float]) -> int:
    return sum(d < _REACHED for d in distances)


def _pair(seed: int, norm: float) -> tuple[NDArray, NDArray]:
    """Return I + W₀ and I + W* with Gaussian W₀, W* of that spectral norm."""
    rng = np.random.default_rng([seed, _D])
    first, second = rng.standard_normal((2, _D, _D))
    eye = np.eye(_D)
    return eye + norm * first / np.linalg.norm(first, 2), eye + norm * second / np.linalg.norm(second, 2)


def _plain(seed: int) -> tuple[NDArray, NDArray]:
    """Return a random start without the identity, and the same I + W* as ever."""
    start = np.random.default_rng([seed, _D, 1]).standard_normal((_D, _D)) / np.sqrt(_D)
    return start, _pair(seed, _NORM)[1]


def _monte_carlo(n: int, seed: int) -> tuple[float, float]:
    """Return the relative distances of the closed form, and of it times −π, from a mean over n rows."""
    W, W_star = _pair(seed, _NORM)
    # Of weights farther apart than those of the descent: beside its own noise a small gradient would not be seen.
    W = W + 0.5 * np.random.default_rng([seed, 3]).standard_normal(W.shape)
    rng = np.random.default_rng([seed, n])
    found, block = np.zeros_like(W), 50_000
    for _ in range(n // block):
        X = rng.standard_normal((block, _D))
        found += _batch_gradient(X, W, W_star) * block / n
    exact = population_gradient(W, W_star)
    size = np.linalg.norm(exact)
    return float(np.linalg.norm(found - exact) / size), float(np.linalg.norm(-np.pi * exact - found) / size)


def _batch_gradient(X: NDArray, W: NDArray, W_star: NDArray) -> NDArray:
    error = relu_sum(X, W) - relu_sum(X, W_star)
    gradient: NDArray = 2 * X.T @ ((X @ W > 0) * error[:, None]) / len(X)
    return gradient


def _stochastic(seed: int, n_steps: int) -> tuple[float, float]:
    """Return the distances before and after steps on batches of 200 fresh rows."""
    W, W_star = _pair(seed, _NORM)
    rng = np.random.default_rng([seed, 5])
    first = float(np.linalg.norm(W - W_star))
    for _ in range(n_steps):
        W = W - _RATE / 5 * _batch_gradient(rng.standard_normal((200, _D)), W, W_star)
    return first, float(np.linalg.norm(W - W_star))


def _draw_phases(figure: Figure, potentials: NDArray, distances: NDArray) -> None:
    left, right = figure.subplots(1, 2)
    for ax, last in ((left, 150), (right, potentials.shape[1])):
        for colour, label, values in (
            (PALETTE[1], "potential |g|", potentials),
            (PALETTE[0], "distance ‖W − W*‖", distances),
        ):
            shown = np.maximum(values[:, :last], 1e-14)  # the rounding of g
            ax.fill_between(np.arange(shown.shape[1]), shown.min(0), shown.max(0), color=colour, alpha=0.2, lw=0)
            ax.plot(np.median(shown, axis=0), color=colour, label=label)
        ax.set(yscale="log", xlabel="step of gradient descent")
    left.set(title="Phase I", ylim=(1e-5, 1), ylabel="median and range of seeds")
    right.set(title="Phase II")
    right.legend()
