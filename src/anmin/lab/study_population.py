"""Expected losses and gradients in closed form, and what the first weights of a network do to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anmin.lab.figures import PALETTE
from anmin.lab.kernels import (
    filter_gradient,
    filter_loss,
    one_neuron_gradient,
    population_gradient,
    population_loss,
    relu_kernel,
    sample_gradient,
)
from anmin.lab.planted import relu_sum
from anmin.lab.studies import STUDIES
from anmin.lab.study import Claim, Study, Table, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "population"
_DEPTH, _WIDTH = 20, 256  # of the network through which signals are sent
#: Variance of a weight by the numbers of a layer's inputs and outputs.
_VARIANCES: dict[str, Callable[[int, int], float]] = {
    "1 (standard normal)": lambda m, n: 1.0,
    "1/m (as the review prints He)": lambda m, n: 1.0 / m,
    "2/(m + n) (Xavier)": lambda m, n: 2.0 / (m + n),
    "2/m (He)": lambda m, n: 2.0 / m,
}
_NORMAL, _PRINTED, _XAVIER, _HE = _VARIANCES


def run(quick: bool = False, seed: int = 0) -> Study:
    """Compare closed forms over x ~ N(0, I) with drawn rows and finite differences, and initialisations with depth.

    Parameters
    ----------
    quick : bool, default False
        Fewer rows and seeds.
    seed : int, default 0
    """
    seeds = range(seed, seed + (3 if quick else 10))
    sizes = (1000, 10_000, 100_000) if quick else (1000, 10_000, 100_000, 1_000_000)
    samples = {n: [_monte_carlo(n, s) for s in seeds] for n in sizes}
    differences = {name: max(_finite_difference(name, s) for s in seeds) for name in ("network", "neuron", "filter")}
    masked = max(_masked(s) for s in seeds)
    signals = {name: np.array([_signal(name, s) for s in seeds]) for name in _VARIANCES}
    last = {name: float(np.median(values[:, -1])) for name, values in signals.items()}
    zero, equal = _zero_start(seed), _equal_start(seed)
    names = ("kernel E[relu relu]", "gradient of a network", "gradient of a neuron", "gradient of a filter")
    errors = {n: np.median(np.array(found), axis=0) for n, found in samples.items()}
    return Study(
        NAME,
        STUDIES[NAME][1],
        f"x ~ N(0, I) in five inputs, networks f(x) = Σ relu(w_jᵀ x) with random W and W*, {len(seeds)} seeds; "
        "signals go "
        f"through {_DEPTH} layers of {_WIDTH} ReLUs.",
        [
            Claim.judged(
                "Expected losses and gradients over Gaussian inputs have these closed forms.",
                "Tian; Brutzkus & Globerson; Li & Yuan; Cho & Saul",
                f"With {sizes[-1]:,} rows their relative errors are "
                f"{', '.join(f'{e:.1e}' for e in errors[sizes[-1]])} "
                f"({'; '.join(names)}), and fall like 1/√N: {errors[sizes[0]][1]:.1e} at {sizes[0]:,} rows.",
                bool(np.all(errors[sizes[-1]] < 10 / np.sqrt(sizes[-1]))),
            ),
            Claim.judged(
                "The gradients are those of the losses.",
                "the same",
                "Largest difference from central differences: "
                + ", ".join(f"{value:.0e} ({name})" for name, value in differences.items())
                + ".",
                max(differences.values()) < 1e-6,
            ),
            Claim.judged(
                "The gradient by masked second moments Σ̂(u, v) is the ordinary gradient of half the mean squared "
                "error.",
                "Zhang et al.",
                f"Largest difference {masked:.0e}.",
                masked < 1e-12,
            ),
            Claim.judged(
                "He's initialisation draws weights with the variance 1/m.",
                "review, initialisations",
                f"After {_DEPTH} layers the mean square of a signal is {last[_PRINTED]:.1e} of its first with 1/m, "
                f"{last[_HE]:.2g} with 2/m: a ReLU halves it, which the 2 makes good.",
                0.1 < last[_PRINTED] < 10,
            ),
            Claim.judged(
                "Weights of variance 1, or of Xavier's 2/(m + n), do not keep the signal through many ReLU layers.",
                "He et al.; review, initialisations",
                f"Mean squares after {_DEPTH} layers: {last[_NORMAL]:.0e} and {last[_XAVIER]:.0e}.",
                not 0.1 < last[_NORMAL] < 10 and not 0.1 < last[_XAVIER] < 10,
            ),
            Claim.judged(
                "A network of zeros does not learn, and neurons that start equal stay equal.",
                "review, initialisations",
                f"Largest weight after 200 steps of gradient descent from zero: {zero:g}; largest difference of two "
                f"neurons that started equal: {equal:.0e}.",
                zero == 0.0 and equal < 1e-12,
            ),
        ],
        [
            Table(
                f"Relative error of a mean over N rows, median of {len(seeds)} seeds",
                ("rows N", *names),
                [(n, *map(float, errors[n])) for n in sizes],
            ),
            Table(
                f"Mean square of the signal after layers of {_WIDTH} ReLUs, relative to the inputs (median)",
                ("variance of a weight", "1 layer", f"{_DEPTH // 2} layers", f"{_DEPTH} layers"),
                [
                    (name, *(float(np.median(values[:, i])) for i in (1, _DEPTH // 2, _DEPTH)))
                    for name, values in signals.items()
                ],
            ),
        ],
        [
            drawn(
                "convergence",
                "Means over rows approach the closed forms like 1/√N",
                lambda figure: _draw_errors(figure, sizes, names, errors),
            ),
            drawn(
                "signals",
                "Only the variance 2/m keeps a signal through layers of ReLUs",
                lambda figure: _draw_signals(figure, signals),
            ),
        ],
        {"inputs": 5, "largest number of rows": sizes[-1], "seeds": len(seeds), "first seed": seed},
    )


def _weights(seed: int) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng([seed, 5])
    return rng.standard_normal((5, 3)), rng.standard_normal((5, 3))


def _monte_carlo(n: int, seed: int) -> list[float]:
    """Return the relative errors of means over n rows: kernel, gradients of a network, a neuron and a filter."""
    W, W_star = _weights(seed)
    w, w_star = W[:, 0], W_star[:, 0]
    X = np.random.default_rng([seed, n]).standard_normal((n, 5))
    hidden, hidden_star = np.maximum(X @ W, 0), np.maximum(X @ W_star, 0)
    kernel = hidden.T @ hidden_star / n
    error = hidden.sum(axis=1) - hidden_star.sum(axis=1)
    network = 2 * X.T @ ((X @ W > 0) * error[:, None]) / n
    neuron = X.T @ ((hidden[:, 0] - hidden_star[:, 0]) * (X @ w > 0)) / n
    patches = np.random.default_rng([seed, n, 1]).standard_normal((n, 4, 5))
    gap = np.mean(np.maximum(patches @ w, 0) - np.maximum(patches @ w_star, 0), axis=1)
    of_filter = 2 * np.einsum("i,ij,ijm->m", gap, patches @ w > 0, patches, optimize=True) / (4 * n)
    pairs = [
        (kernel, relu_kernel(W, W_star)),
        (network, population_gradient(W, W_star)),
        (neuron, one_neuron_gradient(w, w_star, 1)),
        (of_filter, filter_gradient(w, w_star, 4)),
    ]
    return [float(np.linalg.norm(found - exact) / np.linalg.norm(exact)) for found, exact in pairs]


def _finite_difference(name: str, seed: int) -> float:
    W, W_star = _weights(seed)
    w_star = W_star[:, 0]
    if name == "network":
        return _gap(lambda U: population_loss(U, W_star), population_gradient(W, W_star), W)
    w = W[:, 0]
    if name == "filter":
        return _gap(lambda u: filter_loss(u, w_star, 4), filter_gradient(w, w_star, 4), w)
    return _gap(lambda u: population_loss(u[:, None], w_star[:, None]) / 2, one_neuron_gradient(w, w_star, 1), w)


def _gap(loss: Callable[[NDArray], float], gradient: NDArray, at: NDArray, h: float = 1e-5) -> float:
    largest = 0.0
    for index in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[index] = h
        slope = (loss(at + step) - loss(at - step)) / (2 * h)
        largest = max(largest, abs(slope - float(gradient[index])))
    return largest


def _masked(seed: int) -> float:
    W, W_star = _weights(seed)
    rng = np.random.default_rng([seed, 7])
    X, noise = rng.standard_normal((500, 5)), rng.standard_normal(500)
    error = relu_sum(X, W) - relu_sum(X, W_star) - noise
    ordinary = X.T @ ((X @ W >= 0) * error[:, None]) / len(X)
    return float(np.abs(sample_gradient(X, W, W_star, noise) - ordinary).max())


def _signal(name: str, seed: int) -> list[float]:
    """Return the mean square of the signal before the first layer and after each, relative to the first."""
    rng = np.random.default_rng([seed, 11])
    Z = rng.standard_normal((_WIDTH, 64))
    deviation = np.sqrt(_VARIANCES[name](_WIDTH, _WIDTH))
    found = [float(np.mean(Z**2))]
    for _ in range(_DEPTH):
        Z = np.maximum(deviation * rng.standard_normal((_WIDTH, _WIDTH)) @ Z, 0)
        found.append(float(np.mean(Z**2)))
    return [value / found[0] for value in found]


def _descended(A: NDArray, b: NDArray, seed: int) -> tuple[NDArray, NDArray]:
    """Return the weights of Σ b_j relu(a_jᵀ x) after 200 steps of gradient descent on both layers."""
    rng = np.random.default_rng([seed, 13])
    X = rng.standard_normal((200, 5))
    y = np.sin(X[:, 0])
    for _ in range(200):
        hidden = np.maximum(X @ A, 0)
        error = (hidden @ b - y) / len(X)
        A, b = A - 0.1 * X.T @ ((X @ A > 0) * error[:, None] * b), b - 0.1 * hidden.T @ error
    return A, b


def _zero_start(seed: int) -> float:
    return float(max(np.abs(part).max() for part in _descended(np.zeros((5, 4)), np.zeros(4), seed)))


def _equal_start(seed: int) -> float:
    A, b = _descended(np.full((5, 4), 0.3), np.full(4, 0.3), seed)
    return float(max(np.abs(A - A[:, :1]).max(), np.abs(b - b[0]).max()))


def _draw_errors(figure: Figure, sizes: tuple[int, ...], names: tuple[str, ...], errors: dict[int, NDArray]) -> None:
    ax = figure.subplots()
    for k, (colour, name) in enumerate(zip(PALETTE, names, strict=False)):
        ax.plot(sizes, [errors[n][k] for n in sizes], "o-", color=colour, label=name)
    first = errors[sizes[0]].max() * np.sqrt(sizes[0])
    ax.plot(sizes, first / np.sqrt(sizes), ":", color="#555555", label="1/√N")
    ax.set(xscale="log", yscale="log", xlabel="rows N", ylabel="relative error, median of seeds")
    ax.legend()


def _draw_signals(figure: Figure, signals: dict[str, NDArray]) -> None:
    ax = figure.subplots()
    for colour, (name, values) in zip(PALETTE, signals.items(), strict=False):
        # Layers of equal width: Xavier's variance is 1/m there, and lies on that curve.
        ax.plot(np.median(values, axis=0), "--" if name == _XAVIER else "-", lw=2, color=colour, label=name)
    ax.set(
        yscale="log", xlabel="layers passed", ylabel="mean square of the signal / that of the inputs", ylim=(1e-8, 1e8)
    )
    ax.legend(title="variance of a weight of m inputs, n outputs", fontsize=8)
