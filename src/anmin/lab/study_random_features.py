"""Random Fourier features: a peak of error and of coefficients where there are as many features as rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anmin.lab.colours import BLUE, GREEN, VERMILION
from anmin.lab.double_descent import SOURCE, descended, effective_complexity, least_norm
from anmin.lab.random_features import fit_fourier, fourier_features
from anmin.lab.study import Claim, Study, Table, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHARES = (1 / 30, 0.1, 0.25, 0.4, 0.5, 0.6, 0.8, 0.95, 1.0, 1.05, 1.25, 2.0, 4.0, 10.0)


@dataclass(frozen=True)
class _Sweep:
    """Medians over seeds at each number of frequencies: test error, share of wrong digits (or nan), ‖a‖."""

    name: str
    n: int
    counts: list[int]
    errors: NDArray
    wrong: NDArray
    norms: NDArray

    @property
    def peak(self) -> int:
        return self.counts[int(np.argmax(self.errors))]


@dataclass(frozen=True)
class _Data:
    """Rows to train on, rows to test on, and the width of the kernel."""

    X: NDArray
    Y: NDArray
    X_test: NDArray
    Y_test: NDArray
    width: float


def run(quick: bool = False, seed: int = 0) -> Study:
    """Return the study: errors and norms over the number of features, and the effective complexity."""
    n, seeds, digit_seeds = (100, 4, 2) if quick else (200, 8, 5)
    n_digits = 150 if quick else 300
    synthetic = _sweep("synthetic", lambda rng: _synthetic(rng, n), seeds, seed)
    pairs = _sweep("synthetic, cos and sin", lambda rng: _synthetic(rng, n), seeds, seed, paired=True)
    digits = _sweep("digits", lambda rng: _digits(rng, n_digits), digit_seeds, seed)
    complexities = _complexities((10, 20) if quick else (10, 20, 40), seed)
    columns = ("frequencies", "over n", "test error", "wrong digits", "‖a‖")
    tables = [
        Table(
            f"{sweep.name}, n = {sweep.n}: medians of seeds",
            columns,
            [
                (N, N / sweep.n, float(error), "–" if np.isnan(wrong) else f"{100 * wrong:.1f}%", float(norm))
                for N, error, wrong, norm in zip(sweep.counts, sweep.errors, sweep.wrong, sweep.norms, strict=True)
            ],
        )
        for sweep in (synthetic, pairs, digits)
    ]
    return Study(
        "random_features",
        "Random Fourier features: the peak where features are as many as rows",
        f"Complex features e^{{i⟨v, x⟩}} with output weights of least norm, {seeds} seeds of a smooth function of 10 "
        f"inputs (n = {n}, noise 0.1) and {digit_seeds} of the 8×8 digits of scikit-learn (n = {n_digits}, one-hot "
        "targets); scaled from 10,000 MNIST digits. Errors are squared, on held-out rows.",
        [*_claims(synthetic, pairs, digits), *_complexity_claims(complexities)],
        [*tables, complexities],
        [
            drawn("peak", "Error and coefficients peak where N = n", lambda f: _draw(f, synthetic, digits), (8.5, 6)),
            drawn(
                "pairs",
                "Real pairs interpolate at half as many frequencies",
                lambda f: _draw_pairs(f, synthetic, pairs),
            ),
        ],
        {"n": n, "seeds": seeds, "digits": n_digits, "seeds of digits": digit_seeds, "seed": seed},
    )


def _synthetic(rng: np.random.Generator, n: int) -> _Data:
    X, direction = rng.standard_normal((n + 500, 10)), rng.standard_normal(10) / np.sqrt(10)
    clean = np.sin(X @ direction)[:, None]
    return _Data(X[:n], clean[:n] + 0.1 * rng.standard_normal((n, 1)), X[n:], clean[n:], 3.0)


def _digits(rng: np.random.Generator, n: int) -> _Data:
    from sklearn.datasets import load_digits

    X, labels = load_digits(return_X_y=True)
    X = X - X.mean(axis=0)
    X /= np.sqrt(np.mean(np.sum(X**2, axis=1)))
    order = rng.permutation(len(X))
    train, test = order[:n], order[n:]
    Y = np.eye(10)[labels]
    return _Data(X[train], Y[train], X[test], Y[test], 0.5)


def _sweep(
    name: str, data: Callable[[np.random.Generator], _Data], seeds: int, seed: int, paired: bool = False
) -> _Sweep:
    errors: list[NDArray] = []
    wrong: list[NDArray] = []
    norms: list[NDArray] = []
    for k in range(seeds):
        drawn_data = data(np.random.default_rng([seed, k]))
        n = len(drawn_data.X)
        counts = [max(1, round(share * n)) for share in _SHARES]
        found = []
        for N in counts:
            rng = np.random.default_rng([seed, k, N])
            fit = fit_fourier(drawn_data.X, drawn_data.Y, N, drawn_data.width, rng, paired)
            output, Y = fit.predict(drawn_data.X_test), drawn_data.Y_test
            missed = np.mean(output.argmax(axis=1) != Y.argmax(axis=1)) if Y.shape[1] > 1 else np.nan
            found.append((np.mean(np.sum((output - Y) ** 2, axis=1)), missed, fit.norm))
        for values, column in zip((errors, wrong, norms), np.transpose(found), strict=True):
            values.append(column)
    return _Sweep(name, n, counts, *(np.median(values, axis=0) for values in (errors, wrong, norms)))


def _claims(synthetic: _Sweep, pairs: _Sweep, digits: _Sweep) -> list[Claim]:
    claims = []
    for sweep in (synthetic, digits):
        at = int(np.argmax(sweep.errors))
        left = float(np.min(sweep.errors[: sweep.counts.index(round(0.8 * sweep.n)) + 1]))
        claims += [
            Claim.judged(
                f"The test error peaks where there are as many features as rows ({sweep.name}).",
                f"{SOURCE}, random Fourier features",
                f"Largest at N = {sweep.peak} (n = {sweep.n}) with {sweep.errors[at]:.3g}; {sweep.errors[-1]:.3g} at "
                f"N = 10n. The original had n = 10,000.",
                abs(sweep.peak / sweep.n - 1) <= 0.1 and sweep.errors[-1] < sweep.errors[at] / 10,
            ),
            Claim.judged(
                f"So does the norm of the coefficients ({sweep.name}).",
                f"{SOURCE}, random Fourier features",
                f"‖a‖ is largest at N = {sweep.counts[int(np.argmax(sweep.norms))]} with {np.max(sweep.norms):.3g}, "
                f"and {sweep.norms[-1]:.2g} at N = 10n.",
                abs(sweep.counts[int(np.argmax(sweep.norms))] / sweep.n - 1) <= 0.1,
            ),
            Claim.judged(
                f"Many more features than rows are better than the best number of fewer ones ({sweep.name}).",
                f"{SOURCE}, random Fourier features",
                f"At N = 10n the error is {sweep.errors[-1]:.3g}, the least up to N = 0.8n is {left:.3g}.",
                bool(sweep.errors[-1] < left),
            ),
        ]
    claims.append(
        Claim.judged(
            "Features as real pairs of cosine and sine have their peak at n frequencies too.",
            "as the source counts features; a pair is two of them",
            f"With pairs the error is largest at {pairs.peak} frequencies for n = {pairs.n}: at n/2, where there are "
            "n real coefficients.",
            abs(pairs.peak / pairs.n - 1) <= 0.1,
        )
    )
    return claims


# How many rows a procedure fits


def _complexities(counts: Sequence[int], seed: int) -> Table:
    """Return the most rows of random targets that are fitted, for several procedures with N features."""
    rows = []
    for N in counts:
        cells = []
        for error in (_complex_error, _pairs_error, _descent_error):
            mean = partial(_mean, error=error, N=N, seed=seed)
            cells.append(effective_complexity(mean, range(1, 2 * N + 4), 1e-6))
        rows.append((N, *cells))
    columns = ("N", "complex features", "real pairs", "N real inputs, 100 steps of descent")
    return Table("Effective complexity: most rows fitted to a mean squared error of 1e-6", columns, rows)


def _mean(n: int, error: Callable[[np.random.Generator, int, int], float], N: int, seed: int) -> float:
    return float(np.mean([error(np.random.default_rng([seed, n, k]), n, N) for k in range(3)]))


def _complex_error(rng: np.random.Generator, n: int, N: int, paired: bool = False) -> float:
    features = fourier_features(rng.standard_normal((n, 10)), rng.standard_normal((10, N)) / 3, paired)
    y = rng.standard_normal(n)
    return float(np.mean(np.abs(features @ least_norm(features, y) - y) ** 2))


def _pairs_error(rng: np.random.Generator, n: int, N: int) -> float:
    return _complex_error(rng, n, N, paired=True)


def _descent_error(rng: np.random.Generator, n: int, N: int, steps: int = 100) -> float:
    X, y = rng.standard_normal((n, N)), rng.standard_normal(n)
    return float(np.mean((X @ descended(X, y, [steps])[0] - y) ** 2))


def _complexity_claims(table: Table) -> list[Claim]:
    found = [tuple(int(cell) for cell in row) for row in table.rows]
    return [
        Claim.judged(
            "The effective complexity of least norms with N features is N.",
            f"{SOURCE}, definition of the effective model complexity; derived",
            "; ".join(f"N = {N}: {fitted} rows (real pairs {pairs})" for N, fitted, pairs, _ in found) + ".",
            all(fitted == N and pairs == 2 * N for N, fitted, pairs, _ in found),
        ),
        Claim.judged(
            "It depends on the training and not on the number of parameters alone: ending early lowers it.",
            f"{SOURCE}, definition of the effective model complexity",
            "; ".join(f"N = {N}: {ended} rows after 100 steps of descent" for N, *_, ended in found) + ".",
            all(ended < N for N, *_, ended in found),
        ),
    ]


# Pictures


def _draw(figure: Figure, synthetic: _Sweep, digits: _Sweep) -> None:
    axes = figure.subplots(2, 2, sharex=True)
    for column, sweep in zip(axes.T, (synthetic, digits), strict=True):
        shares = np.array(sweep.counts) / sweep.n
        for ax, values, name, colour in zip(
            column, (sweep.errors, sweep.norms), ("test error", "‖a‖"), (BLUE, VERMILION), strict=True
        ):
            ax.plot(shares, values, "o-", color=colour, markersize=4, label=f"median {name}")
            ax.axvline(1, color="#555555", linewidth=0.8, linestyle=":")
            ax.set(xscale="log", yscale="log", ylabel=f"{name}{' (squared)' if name == 'test error' else ''}")
            ax.legend()
        column[0].set_title(f"{sweep.name}, n = {sweep.n}")
        column[1].set_xlabel("features for each row, N/n")


def _draw_pairs(figure: Figure, synthetic: _Sweep, pairs: _Sweep) -> None:
    ax = figure.subplots()
    for sweep, name, colour in ((synthetic, "complex", BLUE), (pairs, "cos and sin", GREEN)):
        ax.plot(np.array(sweep.counts) / sweep.n, sweep.errors, "o-", color=colour, markersize=4, label=name)
    ax.set(xscale="log", yscale="log", xlabel="frequencies for each row, N/n", ylabel="median test error (squared)")
    ax.legend()
