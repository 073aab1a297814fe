"""Relaxed against plain gradient descent on planted sums of ReLUs (Ergen & Pilanci, figures 1 and 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anmin.history import Record, Status
from anmin.lab.colours import BLUE, VERMILION
from anmin.lab.planted_sums import PlantedSum, distance, plant, sum_of_relus
from anmin.lab.study import Cell, Claim, Picture, Study, Table, drawn
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows
from anmin.solvers import Problem, RelaxedDescent, solve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_FEATURES = 20
ZERO = 1e-6  # a loss below it counts as zero
_EXACT = 1e-12  # and below it nothing more is to be learnt
_STRIDE = 10  # iterations between two points of a curve
_SOON = 2000  # iterations of the source, and of the pictures
#: By number of neurons, μ of the source for half of the gradient (it has 0.08 of the whole for three neurons).
_STEPS = {1: 0.1, 3: 0.16}
_COLOURS = {True: VERMILION, False: BLUE}
_NAMES = {True: "RGD", False: "GD"}
_PAPER = "Ergen & Pilanci, Convex Optimization for Shallow Neural Networks"


class Case(NamedTuple):
    """A number of neurons and rows, and how many seeds are run for how many iterations."""

    n_neurons: int
    n_rows: int
    n_seeds: int
    max_iter: int


class Size(NamedTuple):
    """What is run with the step beside the mean over rows, and what with that of the printed sum."""

    cases: tuple[Case, ...]
    raw: tuple[Case, ...]


FULL = Size(
    (
        # Few rows close to one another take long.
        *(Case(1, n, 20, max_iter) for n, max_iter in ((10, 12_000), (20, 12_000), (100, 2000))),
        *(Case(3, n, 12, 6000) for n in (10, 20, 40, 100, 200)),
    ),
    tuple(Case(1, n, 10, 2000) for n in (10, 20, 100)),
)
QUICK = Size(
    (*(Case(1, n, 5, 1500) for n in (10, 20, 100)), *(Case(3, n, 5, 600) for n in (10, 20, 100))),
    tuple(Case(1, n, 3, 500) for n in (10, 20, 100)),
)


@dataclass(frozen=True, eq=False)
class Descent:
    """How a descent on a planted sum ended, and its errors on the way.

    Attributes
    ----------
    loss, test_mse : float
        Mean squared error on the rows and on the test rows where it ended; infinite where it diverged.
    off : float
        Distance of the weights from the planted ones.
    losses, test_errors : ndarray
        At every tenth iterate.
    """

    loss: float
    test_mse: float
    off: float
    losses: NDArray
    test_errors: NDArray

    @property
    def fits(self) -> bool:
        """Whether the loss counts as zero."""
        return self.loss < ZERO

    @property
    def fits_soon(self) -> bool:
        """Whether it does after 2,000 iterations already."""
        return bool(self.losses[: _SOON // _STRIDE + 1][-1] < ZERO)


def descend(planted: PlantedSum, relaxation: bool, step_size: float, max_iter: int, seed: int) -> Descent:
    """Descend from weights ~ N(0, 1) of a seed until the loss is zero to rounding, or not finite."""
    problem = Problem(ArrayRows(planted.X, planted.y), planted.W.shape[1], 0.0)
    seen: list[tuple[float, float]] = []
    last: list[tuple[float, ReLUNetwork]] = []

    def test_error(network: ReLUNetwork) -> float:
        return float(np.mean((sum_of_relus(planted.X_test, network.A[1:]) - planted.y_test) ** 2))

    def watch(record: Record, network: ReLUNetwork) -> bool:
        last[:] = [(record.loss, network)]
        if record.iteration % _STRIDE == 0:
            seen.append((record.loss, test_error(network)))
        return record.loss < _EXACT

    solver, rng = RelaxedDescent(step_size, relaxation), np.random.default_rng(seed)
    solution = solve(problem, solver, max_iter=max_iter, tol=0.0, callbacks=[watch], rng=rng)
    losses, errors = np.array(seen).T
    loss, network = last[0]
    if solution.status is Status.NOT_FINITE:
        return Descent(np.inf, np.inf, np.inf, losses, errors)
    return Descent(loss, test_error(network), distance(network.A[1:], planted.W), losses, errors)


def descents(case: Case, seed: int, step_size: float) -> dict[bool, list[Descent]]:
    """Return relaxed (True) and plain (False) descents of the same planted sums from the same starts."""
    found: dict[bool, list[Descent]] = {True: [], False: []}
    for k in range(case.n_seeds):
        planted = plant(case.n_rows, N_FEATURES, case.n_neurons, np.random.default_rng([seed, k, *case[:2]]))
        for relaxation, runs in found.items():
            runs.append(descend(planted, relaxation, step_size, case.max_iter, 1000 + k))
    return found


def run(quick: bool = False, seed: int = 0) -> Study:
    """Compare the two descents with the step beside the mean over rows, and once with the step of the printed rule."""
    cases, printed = QUICK if quick else FULL
    found = {case: descents(case, seed, _STEPS[case.n_neurons]) for case in cases}
    raw = {case: descents(case, seed, _STEPS[1] * case.n_rows) for case in printed}
    return Study(
        "relaxed",
        "Relaxed gradient descent",
        f"Planted sums of one and of three ReLUs of {N_FEATURES} inputs, all entries N(0, 1), fitted by gradient "
        "descent (GD) and by relaxed gradient descent (RGD), in which rows on which no neuron is active pull too. The "
        f"numbers of inputs, rows and neurons are those of the source. Zero means a mean squared error below {ZERO:g}.",
        _claims(found, raw),
        [_rates(found), _recovery(found), _raw_table(raw)],
        [_curves(found, 1), _curves(found, 3)],
        {
            "inputs": N_FEATURES,
            "test rows": 100,
            "step, 1 neuron": _STEPS[1],
            "step, 3 neurons": _STEPS[3],
            "seeds, 1 neuron": cases[0].n_seeds,
            "seeds, 3 neurons": cases[-1].n_seeds,
            "seed": seed,
        },
    )


Found = dict[Case, dict[bool, list[Descent]]]


def _count(runs: Sequence[Descent]) -> int:
    return sum(run.fits for run in runs)


def _claims(found: Found, raw: Found) -> list[Claim]:
    one = {case.n_rows: runs for case, runs in found.items() if case.n_neurons == 1}
    several = {case.n_rows: runs for case, runs in found.items() if case.n_neurons > 1}
    few, most = one[min(one)], one[max(one)]
    seeds = len(few[True])
    fitted = [run for run in few[True] if run.fits]
    told = [
        Claim.judged(
            "With fewer rows than inputs, relaxed descent reaches zero training error always.",
            f"{_PAPER}, theorem and Fig. 1",
            f"n = {min(one)}, one neuron: RGD {_count(few[True])} of {seeds} seeds, GD {_count(few[False])}; by "
            f"iteration {_SOON:,} RGD {sum(run.fits_soon for run in few[True])}.",
            _count(few[True]) == seeds,
        ),
        _no_less_often(one, "one neuron", "Fig. 1"),
        _no_less_often({n: runs for n, runs in several.items() if n <= 40}, "three neurons and few rows", "Fig. 2"),
        _no_less_often({n: runs for n, runs in several.items() if n > 40}, "three neurons and many rows", "Fig. 2"),
        Claim.judged(
            "With many more rows than inputs, relaxed descent finds the planted neuron.",
            f"{_PAPER}, Fig. 1",
            f"n = {max(one)}, {len(most[True])} seeds: test error {_spread([run.test_mse for run in most[True]])}, "
            f"distance to the planted weights {_spread([run.off for run in most[True]])}, median and range.",
            float(np.median([run.test_mse for run in most[True]])) < ZERO,
        ),
        Claim.judged(
            "With fewer rows than inputs, zero training error is not recovery: many networks fit the rows.",
            f"{_PAPER}: its guarantee, for rows of full rank, is of the training error alone",
            f"n = {min(one)} rows of {N_FEATURES} inputs, {len(fitted)} RGD runs at zero training error: distance to "
            f"the planted weights {_spread([run.off for run in fitted])}, test error "
            f"{_spread([run.test_mse for run in fitted])}, median and range.",
            all(run.test_mse > ZERO for run in fitted) if fitted else None,
        ),
    ]
    return [*told, _raw_claim(raw)]


def _no_less_often(found: dict[int, dict[bool, list[Descent]]], neurons: str, figure: str) -> Claim:
    rates = "; ".join(
        f"n = {n}: RGD {_count(runs[True])}, GD {_count(runs[False])} of {len(runs[True])}" for n, runs in found.items()
    )
    return Claim.judged(
        f"Relaxed descent reaches zero training error no less often than gradient descent: {neurons}.",
        f"{_PAPER}, {figure}",
        f"{rates}.",
        all(_count(runs[True]) >= _count(runs[False]) for runs in found.values()),
    )


def _raw_claim(raw: Found) -> Claim:
    parts = [
        f"n = {case.n_rows}: RGD {_count(runs[True])} at zero and {_diverged(runs[True])} diverged, GD "
        f"{_count(runs[False])} and {_diverged(runs[False])}, of {len(runs[True])}"
        for case, runs in raw.items()
    ]
    return Claim.judged(
        f"The step x − μAᵀ(max(Ax, 0) − y), a sum over rows without 1/n, converges with μ = {_STEPS[1]:g}.",
        f"{_PAPER}, the update with the μ of the experiments",
        f"{'; '.join(parts)}. The other claims are of steps with μ/n in its place.",
        all(_count(runs[True]) == len(runs[True]) for runs in raw.values()),
    )


def _diverged(runs: Sequence[Descent]) -> int:
    return sum(run.loss > 1e6 or np.isinf(run.loss) for run in runs)


def _spread(values: Sequence[float]) -> str:
    if not len(values):
        return "none"
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    return f"{middle:.2g} ({low:.2g} to {high:.2g})"


def _rates(found: Found) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            f"{case.n_neurons}",
            case.n_rows,
            case.n_seeds,
            case.max_iter,
            _count(runs[True]),
            _count(runs[False]),
            *(sum(run.fits_soon for run in runs[kind]) for kind in (True, False)),
            *(float(np.median([run.loss for run in runs[kind]])) for kind in (True, False)),
        )
        for case, runs in found.items()
    ]
    return Table(
        "How often the training error becomes zero",
        (
            "neurons",
            "rows n",
            "seeds",
            "iterations",
            "RGD at zero",
            "GD at zero",
            f"RGD by {_SOON:,}",
            f"GD by {_SOON:,}",
            "median loss, RGD",
            "median loss, GD",
        ),
        rows,
    )


def _recovery(found: Found) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            f"{case.n_neurons}",
            case.n_rows,
            _NAMES[kind],
            *(float(np.quantile([run.test_mse for run in runs[kind]], q)) for q in (0.25, 0.5, 0.75)),
            float(np.median([run.off for run in runs[kind]])),
        )
        for case, runs in found.items()
        for kind in (True, False)
    ]
    return Table(
        "Test error and distance to the planted weights at the end",
        ("neurons", "rows n", "method", "test error, lower quartile", "median", "upper quartile", "median distance"),
        rows,
        "Mean squared error on 100 test rows; the distance is that of all weights, neurons in their best order.",
    )


def _raw_table(raw: Found) -> Table:
    return Table(
        "The printed step, one neuron: a sum over rows in the place of the mean",
        ("rows n", "seeds", "RGD at zero", "RGD diverged", "GD at zero", "GD diverged"),
        [
            (
                f"{case.n_rows}",
                case.n_seeds,
                _count(runs[True]),
                _diverged(runs[True]),
                _count(runs[False]),
                _diverged(runs[False]),
            )
            for case, runs in raw.items()
        ],
    )


def _curves(found: Found, n_neurons: int) -> Picture:
    shown = {c: runs for c, runs in found.items() if c.n_neurons == n_neurons and c.n_rows in (10, 20, 100)}
    fitted = {kind: sum(run.fits_soon for runs in shown.values() for run in runs[kind]) for kind in (True, False)}
    of = sum(case.n_seeds for case in shown)
    neurons = "one neuron" if n_neurons == 1 else f"{n_neurons} neurons"
    return drawn(
        f"curves-{n_neurons}",
        f"Planted sum of {neurons}: zero training error in {fitted[True]} of {of} runs by RGD, {fitted[False]} by GD",
        partial(_draw_curves, shown=shown),
        (10.0, 3.9),
    )


def _draw_curves(figure: Figure, shown: Found) -> None:
    axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for ax, (case, runs) in zip(axes, shown.items(), strict=True):
        points = np.arange(0, min(case.max_iter, _SOON) + 1, _STRIDE)
        for kind, found in runs.items():
            for part, dashes, width in (("losses", "-", 1.8), ("test_errors", (0, (2, 1.5)), 1.2)):
                curves = np.array([_padded(getattr(run, part), len(points)) for run in found])
                low, middle, high = np.quantile(np.maximum(curves, _EXACT), [0.25, 0.5, 0.75], axis=0)
                label = f"{_NAMES[kind]}, {'training' if part == 'losses' else 'test'}"
                ax.plot(points, middle, color=_COLOURS[kind], linestyle=dashes, linewidth=width, label=label)
                if part == "losses":
                    ax.fill_between(points, low, high, color=_COLOURS[kind], alpha=0.15, linewidth=0)
        ax.axhline(ZERO, color="#555555", linewidth=0.8, linestyle=":")
        ax.set(yscale="log", xlabel="iteration", title=f"n = {case.n_rows} rows, {case.n_seeds} seeds")
    axes[0].set(ylabel="mean squared error\nmedian and quartiles of seeds", ylim=(1e-10, 1e3))
    axes[0].text(
        0.98,
        ZERO * 1.6,
        "counts as zero",
        color="#555555",
        fontsize=8,
        ha="right",
        transform=axes[0].get_yaxis_transform(),
    )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)


def _padded(values: NDArray, count: int) -> NDArray:
    """Return a curve that stays where it ended; a diverged one leaves the picture."""
    return np.append(values, np.full(max(count - len(values), 0), values[-1]))[:count]
