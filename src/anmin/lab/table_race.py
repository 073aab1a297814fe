"""Races of convex programs, descents and the solvers of this package on tables, all on one loss and one clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anmin import datasets
from anmin.lab import race
from anmin.lab.baselines import Recipe
from anmin.lab.race import Curve
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows, Scaling

ALPHA, N_NEURONS = 1e-3, 64
BATCH = 256
_COMPONENTS = 16
#: What takes part, as legends say it.
METHODS = (
    "convex, as many neurons",
    "convex, 100 gates",
    "convex, patterns of Adam",
    "gated, as many gates",
    "SGD, best rate",
    "Adam, best rate",
    "ReLURegressor",
    "ANMIN",
)
CONVEX, WIDE, AFTER, GATED, SGD, ADAM, OURS, ANMIN = METHODS

_DESCENTS: dict[Literal["sgd", "adam"], str] = {"sgd": SGD, "adam": ADAM}


class Size(NamedTuple):
    """Sizes of a run.

    Attributes
    ----------
    n_sets, n_rows : int
        Tables, and rows of each at most.
    steps : int
        Of each descent, about.
    max_time : float
        Seconds of each solver of this package.
    n_seeds : int
        Of the starts and gates; rates are chosen by the first.
    rates : dict
        By optimiser.
    wide : int
        Gates of the larger convex program; 0 for none.
    n_runs, n_neurons, epochs, shape
        Descents of the synthetic problem, their width and epochs, and its rows and inputs.
    """

    n_sets: int
    n_rows: int
    steps: int
    max_time: float
    n_seeds: int
    rates: Mapping[Literal["sgd", "adam"], Sequence[float]]
    wide: int
    n_runs: int
    n_neurons: int
    epochs: int
    shape: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Raced:
    """The curves on a table.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Rows and inputs.
    curves : dict
        By method, one for each seed; that of the patterns of Adam has begun with its descent.
    grid : dict
        The lowest loss of the first seed by optimiser and rate.
    """

    name: str
    shape: tuple[int, int]
    curves: dict[str, list[Curve]]
    grid: dict[tuple[str, float], float]

    def final(self, method: str) -> float:
        """Return the median of the lowest losses of a method."""
        return float(np.median([curve.final for curve in self.curves[method]]))

    def best_descent(self) -> float:
        """Return the lower of the medians of SGD and Adam at their best rates."""
        return min(self.final(SGD), self.final(ADAM))


def standardised_rows(name: str, n_rows: int) -> ArrayRows:
    """Return a table, or ``n_rows`` of its rows drawn at random, with inputs and targets standardised.

    "digits" are the 8 × 8 digits of scikit-learn, by 16 principal components, with an indicator for each digit.
    """
    inputs, targets = _digits() if name == "digits" else _table(name)
    chosen = np.sort(np.random.default_rng(0).permutation(len(inputs))[:n_rows])
    X, Y = inputs[chosen], targets[chosen]
    scaling = Scaling.standard(ArrayRows(X, Y))
    return ArrayRows((X - scaling.x_mean) / scaling.x_scale, (Y - scaling.y_mean) / scaling.y_scale)


def _table(name: str) -> tuple[NDArray, NDArray]:
    data = datasets.load(name)
    return data.X, np.asarray(data.y, dtype=float).reshape(len(data.X), -1)


def _digits() -> tuple[NDArray, NDArray]:
    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA

    pixels, digits = load_digits(return_X_y=True)
    return PCA(_COMPONENTS, random_state=0).fit_transform(pixels), np.eye(10)[digits]


def raced(name: str, size: Size, seed: int) -> Raced:
    """Run all methods on a table."""
    rows = standardised_rows(name, size.n_rows)
    curves: dict[str, list[Curve]] = {method: [] for method in METHODS if size.wide or method != WIDE}
    grid: dict[tuple[str, float], float] = {}
    networks: list[ReLUNetwork] = []

    def descend(kind: Literal["sgd", "adam"], rate: float, k: int) -> tuple[Curve, ReLUNetwork]:
        # Counted in steps, so that what they reach does not depend on what else the machine does.
        epochs = -(-size.steps // -(-rows.n_rows // BATCH))
        return race.descent_curve(rows, N_NEURONS, ALPHA, Recipe(kind, rate, epochs, BATCH, None), seed + k)

    for kind, label in _DESCENTS.items():
        tried = {rate: descend(kind, rate, 0) for rate in size.rates[kind]}
        finals = {rate: curve.final for rate, (curve, _) in tried.items()}
        grid |= {(kind, rate): final for rate, final in finals.items()}
        best = min(finals, key=finals.__getitem__)
        found = [tried[best], *(descend(kind, best, k) for k in range(1, size.n_seeds))]
        curves[label] = [curve for curve, _ in found]
        networks = [network for _, network in found]  # of Adam, which comes last
    for k in range(size.n_seeds):
        # Each gate may become two neurons, one for each sign.
        curves[CONVEX].append(race.convex_curve(rows, race.drawn_gates(rows, N_NEURONS // 2, seed + k), ALPHA))
        curves[GATED].append(race.gated_curve(rows, race.drawn_gates(rows, N_NEURONS, seed + k), ALPHA))
        if size.wide:
            curves[WIDE].append(race.convex_curve(rows, race.drawn_gates(rows, size.wide, seed + k), ALPHA))
        for label, solver in ((OURS, "auto"), (ANMIN, "anmin")):
            curves[label].append(race.solver_curve(rows, N_NEURONS, ALPHA, solver, seed + k, size.max_time)[0])
    for descended, network in zip(curves[ADAM], networks, strict=True):
        convex = race.convex_curve(rows, race.gates_of([network], rows), ALPHA)
        curves[AFTER].append(replace(convex, seconds=descended.seconds[-1] + convex.seconds))
    return Raced(name, rows.X.shape, curves, grid)


class Synthetic(NamedTuple):
    """The losses of descents, and of the convex program of all their patterns, with the number of these."""

    descents: list[float]
    convex: float
    n_gates: int


def synthetic(size: Size, seed: int) -> Synthetic:
    """Repeat Fig. 1 of Mishkin et al.: inputs of condition number 10, a planted network, a penalty of 1e-4."""
    rng = np.random.default_rng([seed, 7])
    (n, d), alpha = size.shape, 1e-4
    left, right = (np.linalg.qr(rng.standard_normal(shape))[0] for shape in ((n, d), (d, d)))
    X = np.sqrt(n) * left * np.linspace(1.0, 0.1, d) @ right.T
    y = np.maximum(X @ rng.standard_normal((d, 100)), 0.0) @ rng.choice([-1.0, 1.0], 100)
    rows = ArrayRows(X, (y - y.mean()) / y.std())
    recipe = Recipe("adam", 0.01, size.epochs, 50, size.epochs // 2)
    found = [race.descent_curve(rows, size.n_neurons, alpha, recipe, seed + k)[1] for k in range(size.n_runs)]
    gates = race.gates_of(found, rows)
    convex = race.convex_curve(rows, gates, alpha, tols=(1e-4,)).final
    return Synthetic([race.loss_of(network, rows, alpha) for network in found], convex, gates.shape[1])
