"""All methods that train the same network on the same table for the same seconds, and what tuning each has needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from anmin.lab import race
from anmin.lab.arguments import check_positive
from anmin.lab.baselines import one_thread
from anmin.lab.digits import adahessian
from anmin.lab.finite_sum import FiniteSum
from anmin.lab.lissa import LiSSA
from anmin.lab.pytorch import Tensor, torch
from anmin.lab.race import Curve
from anmin.lab.sqgn import SQGN
from anmin.lab.table_race import ANMIN, BATCH, GATED, N_NEURONS, OURS, standardised_rows
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows

ALPHA = 1e-4
CONVEX, VARPRO = "convex, half as many gates", "varpro"
#: What a descent keeps of its weights, at most, and the second of the first of these.
_POINTS, _FIRST = 50, 2e-3
_ROUGH_TOLS = (1e-1, 1e-2)  # of a convex program with several outputs, which takes long


class Descent(NamedTuple):
    """A method of PyTorch.

    Attributes
    ----------
    order : {1, 2}
        Whether it asks for curvature, or estimates it.
    make : function
        From the objective, a rate and a seed to its optimiser.
    rates : sequence of float
        Of which the best is taken, increasing.
    takes : {"gradient", "graph", "closure", "itself"}
        What it is given before a step: the gradient of a batch, the same to be differentiated again, a function of all
        rows, or nothing, as it draws its own batches.
    """

    order: Literal[1, 2]
    make: Callable[[FiniteSum, float, int], Any]
    rates: Sequence[float]
    takes: Literal["gradient", "graph", "closure", "itself"] = "gradient"


def _first(name: str, rates: Sequence[float], **settings: Any) -> Descent:
    kind = getattr(torch.optim, name)
    return Descent(1, lambda objective, rate, _: kind(objective.parameters, lr=rate, **settings), rates)


#: The descents by name. Settings beside the rate are usual ones or those of :mod:`anmin.lab.digits`, but for the
#: scale of LiSSA; none of them was tuned.
DESCENTS: dict[str, Descent] = {
    "SGD": _first("SGD", (0.03, 0.1, 0.3, 1.0), fused=True),
    "momentum": _first("SGD", (0.01, 0.03, 0.1, 0.3), momentum=0.9, fused=True),
    "Nesterov": _first("SGD", (0.01, 0.03, 0.1, 0.3), momentum=0.9, nesterov=True, fused=True),
    "AdaGrad": _first("Adagrad", (0.01, 0.03, 0.1, 0.3), fused=True),
    "RMSProp": _first("RMSprop", (0.001, 0.003, 0.01, 0.03)),
    "Adam": _first("Adam", (0.001, 0.003, 0.01, 0.03), fused=True),
    "NAdam": _first("NAdam", (0.001, 0.003, 0.01, 0.03)),
    "L-BFGS": Descent(
        2,
        lambda objective, rate, _: torch.optim.LBFGS(
            objective.parameters, rate, max_iter=5, history_size=20, line_search_fn="strong_wolfe"
        ),
        (0.1, 0.3, 1.0, 3.0),
        "closure",
    ),
    "AdaHessian": Descent(
        2, lambda objective, rate, _: adahessian()(objective.parameters, lr=rate), (0.03, 0.1, 0.3, 1.0), "graph"
    ),
    "SQGN": Descent(
        2,
        lambda objective, rate, seed: SQGN(
            objective, rate, batch=BATCH, hessian_batch=BATCH, start_scale=0.1, seed=seed
        ),
        (0.1, 0.3, 1.0, 3.0),
        "itself",
    ),
    "LiSSA": Descent(
        2,
        lambda objective, rate, seed: LiSSA(objective, rate, depth=10, batch=BATCH, scale=20.0, seed=seed),
        (0.1, 0.3, 1.0, 3.0),
        "itself",
    ),
}  # fmt: skip
#: What has no rate.
UNTUNED = (CONVEX, GATED, OURS, VARPRO, ANMIN)


class Size(NamedTuple):
    """Sizes of a run.

    Attributes
    ----------
    n_sets, n_rows : int
        Tables, and rows of each at most.
    seconds : float
        Of each descent and each solver; the convex programs end by themselves.
    n_seeds : int
        Of the starts and gates; rates are chosen by the first.
    every : int
        Of the rates of a descent, each so many-th is tried.
    """

    n_sets: int
    n_rows: int
    seconds: float
    n_seeds: int
    every: int


@dataclass(frozen=True, eq=False)
class Raced:
    """The curves on a table.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Rows and inputs.
    curves : dict
        By method, one for each seed.
    grid : dict
        By descent and rate, the lowest loss of the first seed.
    tuning : dict
        By descent, the seconds that its grid took.
    """

    name: str
    shape: tuple[int, int]
    curves: Mapping[str, Sequence[Curve]]
    grid: Mapping[str, Mapping[float, float]]
    tuning: Mapping[str, float]

    def final(self, method: str) -> float:
        """Return the median of the lowest losses of a method."""
        return float(np.median([curve.final for curve in self.curves[method]]))

    def at(self, method: str, seconds: float) -> float:
        """Return the median of the lowest losses of a method by then."""
        return float(np.median([curve.at(seconds) for curve in self.curves[method]]))

    def end(self, method: str) -> float:
        """Return the median of the seconds at which a method has ended."""
        return float(np.median([curve.seconds[-1] for curve in self.curves[method]]))

    def best_rate(self, method: str) -> float:
        """Return the rate of the lowest loss."""
        return min(self.grid[method], key=self.grid[method].__getitem__)

    def excess(self, method: str) -> float:
        """Return the worst loss of the grid over its best."""
        losses = self.grid[method].values()
        return max(losses) / min(losses)

    def beside(self, method: str) -> float:
        """Return the loss at the rate next to the best, the worse if there are two, over that of the best."""
        losses = list(self.grid[method].values())
        at = int(np.argmin(losses))
        return max(losses[max(at - 1, 0) : at + 2]) / losses[at]


def of_order(order: int) -> tuple[str, ...]:
    """Return the names of the descents of an order."""
    return tuple(name for name, descent in DESCENTS.items() if descent.order == order)


def descent_curve(
    rows: ArrayRows, n_neurons: int, alpha: float, method: str, rate: float, seed: int, seconds: float
) -> Curve:
    """Return the curve of a descent on the loss of :mod:`anmin.objective` from PyTorch's start.

    Batches of :data:`~anmin.lab.table_race.BATCH` rows in random order, in float32 on one thread; L-BFGS takes all
    rows, in float64, as its line search needs the digits. The losses are computed afterwards and take no time.

    Parameters
    ----------
    rows : ArrayRows
        Without weights.
    n_neurons : int
    alpha : float >= 0
    method : str
        One of :data:`DESCENTS`.
    rate, seconds : float
        The learning rate, and the time after which it ends, if its weights are finite so long.
    seed : int

    Raises
    ------
    ImportError
        If PyTorch or a package of the method is missing.
    ValueError
        If there is no such method, or a number is not positive.
    """
    if method not in DESCENTS:
        raise ValueError(f"method must be one of {', '.join(DESCENTS)}; got {method!r}.")
    check_positive(rate=rate, seconds=seconds)
    kind = DESCENTS[method]
    objective = _objective(rows, n_neurons, alpha, seed, torch.float64 if kind.takes == "closure" else torch.float32)
    optimizer, batches = kind.make(objective, rate, seed), _batches(rows.n_rows, seed)
    wanted = np.geomspace(min(_FIRST, seconds), seconds, _POINTS)
    path = [(0.0, objective.weights)]

    def closure() -> Tensor:
        objective.leave_gradient()
        return torch.tensor(objective.value(), dtype=torch.float64)

    with one_thread(torch), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for the signs that AdaHessian draws
        started, now = time.perf_counter(), 0.0
        while now < seconds:
            if kind.takes == "closure":
                optimizer.step(closure)
            else:
                if kind.takes != "itself":
                    objective.leave_gradient(next(batches), again=kind.takes == "graph")
                optimizer.step()
            now = time.perf_counter() - started
            if now >= wanted[0]:
                wanted = wanted[wanted > now]
                path.append((now, objective.weights))
                if not _is_finite(path[-1][1]):
                    break
    losses = [
        race.loss_of(_network(w, n_neurons, rows.Y.shape[1]), rows, alpha) if _is_finite(w) else np.inf for _, w in path
    ]
    return Curve.of([at for at, _ in path], losses, n_neurons)


def raced(name: str, size: Size, seed: int) -> Raced:
    """Run all methods on a table."""
    rows = standardised_rows(name, size.n_rows)
    curves: dict[str, list[Curve]] = {}
    grid: dict[str, dict[float, float]] = {}
    tuning: dict[str, float] = {}
    for method, kind in DESCENTS.items():
        rates = kind.rates[:: size.every]
        tried = {rate: descent_curve(rows, N_NEURONS, ALPHA, method, rate, seed, size.seconds) for rate in rates}
        grid[method] = {rate: curve.final for rate, curve in tried.items()}
        tuning[method] = sum(float(curve.seconds[-1]) for curve in tried.values())
        best = min(rates, key=grid[method].__getitem__)
        more = range(seed + 1, seed + size.n_seeds)
        curves[method] = [
            tried[best],
            *(descent_curve(rows, N_NEURONS, ALPHA, method, best, k, size.seconds) for k in more),
        ]
    solvers = {OURS: "auto", VARPRO: "varpro", ANMIN: "anmin"}
    seeds = range(seed, seed + size.n_seeds)
    # A gate may become two neurons, one for each sign.
    tols = race.TOLS if rows.n_outputs == 1 else _ROUGH_TOLS
    curves[CONVEX] = [race.convex_curve(rows, race.drawn_gates(rows, N_NEURONS // 2, k), ALPHA, tols) for k in seeds]
    curves[GATED] = [race.gated_curve(rows, race.drawn_gates(rows, N_NEURONS, k), ALPHA, tols) for k in seeds]
    for label, solver in solvers.items():
        curves[label] = [race.solver_curve(rows, N_NEURONS, ALPHA, solver, k, size.seconds)[0] for k in seeds]
    return Raced(name, rows.X.shape, curves, grid, tuning)


def prepare() -> None:
    """Let everything compile and load, so that the first curve takes no longer than the next."""
    race.prepare()
    rng = np.random.default_rng(0)
    rows = ArrayRows(rng.standard_normal((60, 2)), rng.standard_normal((60, 1)))
    race.solver_curve(rows, 3, ALPHA, "varpro", 0, 0.5)
    for method, kind in DESCENTS.items():
        descent_curve(rows, 3, ALPHA, method, kind.rates[0], 0, 0.02)


def _objective(rows: ArrayRows, n_neurons: int, alpha: float, seed: int, dtype: Any) -> FiniteSum:
    """Return the loss divided by the number of outputs, by which PyTorch's mean is divided too."""
    X, y = torch.as_tensor(race.with_ones(rows.X), dtype=dtype), torch.as_tensor(rows.Y, dtype=dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hidden = torch.nn.Linear(X.shape[1], n_neurons, bias=False)  # the constant is an input
        model = torch.nn.Sequential(hidden, torch.nn.ReLU(), torch.nn.Linear(n_neurons, y.shape[1])).to(dtype)
    return FiniteSum(model, torch.nn.MSELoss(), X, y, alpha / y.shape[1])


def _is_finite(w: Tensor) -> bool:
    return bool(torch.isfinite(w).all())


def _network(w: Tensor, n_neurons: int, n_outputs: int) -> ReLUNetwork:
    values = w.numpy().astype(float)
    at = len(values) - n_outputs * (n_neurons + 1)
    A, B = values[:at].reshape(n_neurons, -1).T, values[at:-n_outputs].reshape(n_outputs, n_neurons).T
    return ReLUNetwork(A, B, values[-n_outputs:])


def _batches(n_rows: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(n_rows, generator=generator).split(BATCH)
