"""Parts of the method put out of action, for the ablation of :mod:`search`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from anmin import fitting
from anmin.blas import cholesky, cholesky_solve
from anmin.history import Record
from anmin.lab import protocol
from anmin.objective import alpha_from_sum
from anmin.search import Recombining
from anmin.search.initialisation import hyperplanes_through_rows
from anmin.search.recombination import RecombiningState
from anmin.solvers import Problem, State, VarPro
from anmin.solvers.systems import hidden_system, output_layer, projected_system
from anmin.solvers.varpro import VarProState
from anmin.statistics import PatternStatistics

_LEAST_GAIN, _HALVINGS = 1e-4, 50
_DAMPINGS = 10.0 ** np.arange(-12, 1)


class Unavailable(RuntimeError):
    """This version of the package lacks what a variant would put out of action."""


@dataclass(frozen=True)
class WithoutFlips(Recombining):
    """The search without its last resort, neurons turned round: it counts as tried already."""

    def step(self, problem: Problem, state: State) -> RecombiningState:
        """Return the state after one step."""
        assert isinstance(state, RecombiningState)
        return super().step(problem, replace(state, turned=True))


@dataclass(frozen=True)
class HeldOutput(VarPro):
    """Levenberg–Marquardt on the hidden layer with the output layer held, which is then solved: block by block.

    A step differs from that of variable projection by its matrix alone. A trial still has its best output layer.
    """

    def step(self, problem: Problem, state: State) -> VarProState:
        """Return the state after one step that lowers the loss, or the same one, settled, if there is none."""
        with replaced(held_system, "anmin.solvers.varpro.projected_system"):
            return super().step(problem, state)


def held_system(
    statistics: PatternStatistics, A: NDArray, B: NDArray, b0: NDArray, alpha: float
) -> tuple[NDArray, NDArray]:
    """Return matrix and half the gradient of the loss of A at a fixed output layer, as ``projected_system`` does."""
    M, c = hidden_system(statistics, B, b0)
    M[np.diag_indices_from(M)] += alpha
    return M, M @ A.T.reshape(-1) - c


@dataclass(frozen=True)
class Undamped(VarPro):
    """Variable projection by Gauss–Newton steps, halved until the loss falls, in place of damped ones.

    The matrix has the least damping, of its diagonal, with which it can be factored.
    """

    def step(self, problem: Problem, state: State) -> VarProState:
        """Return the state after one step that lowers the loss, or the same one, settled, if there is none."""
        assert isinstance(state, VarProState)
        network, alpha = state.network, problem.alpha
        M, gradient = projected_system(state.statistics, network.A, network.B, network.b0, alpha)
        diagonal = np.maximum(np.diagonal(M), np.finfo(np.float64).eps * np.diagonal(M).max())
        optimality = float(np.max(np.abs(gradient) / np.sqrt(diagonal * max(state.loss, 1e-300))))
        step = gauss_newton_step(M, diagonal, gradient)
        # To first order the loss falls by twice this times the length of the step.
        slope = 0.0 if step is None else float(-gradient @ step)
        if step is None or optimality <= self.optimality_tol or slope <= self.decrease_tol * state.loss:
            return self._settled(state, optimality)
        for length in 0.5 ** np.arange(_HALVINGS):
            A = network.A + length * step.reshape(network.A.T.shape).T
            output = problem.rows.output_statistics(A, problem.negative_slope)
            decrease = state.loss - output.loss(A, *output_layer(output, alpha), alpha)
            if decrease > _LEAST_GAIN * length * slope:
                statistics = problem.rows.statistics(A, problem.negative_slope, state.statistics)
                taken = self._at(problem, A, statistics, Record(optimality=optimality, branch="step"), state.damping)
                # Rounding may differ between the passes, as in VarPro.
                return taken if taken.loss < state.loss else self._settled(state, optimality)
        return self._settled(state, optimality)


def gauss_newton_step(M: NDArray, diagonal: NDArray, gradient: NDArray) -> NDArray | None:
    """Return −M⁻¹·gradient, damped as little as it takes; None where no damping helps."""
    for damping in _DAMPINGS:
        U = cholesky(M + np.diag(damping * diagonal))
        if U is not None:
            return cholesky_solve(U, -gradient)
    return None


@contextmanager
def replaced(value: Any, *places: str) -> Iterator[None]:
    """Let modules find ``value`` by these dotted names, for as long as the context lasts."""
    with ExitStack() as stack:
        for place in places:
            try:
                stack.enter_context(patch(place, value))
            except AttributeError:
                raise Unavailable(f"There is no {place} in this version to be replaced.") from None
        yield


def without_linear_start() -> AbstractContextManager[None]:
    """Return a context in which starts have no linear neurons."""

    def start(problem: Problem, rng: np.random.Generator) -> NDArray:
        return hyperplanes_through_rows(problem.rows, problem.n_neurons, rng)

    return replaced(start, "anmin.search.recombination.starting_weights", "anmin.selection.starting_weights")


@contextmanager
def without_relevance() -> Iterator[None]:
    """Keep the scales of the inputs equal."""
    choose = getattr(fitting, "choose_alpha", None)
    if choose is None or "relevance" not in inspect.signature(choose).parameters:
        raise Unavailable("There is no choice of relevances in this version to be left out.")

    def equal(*arguments: Any, **options: Any) -> Any:
        # The estimator may ask for relevances by name, so a default would not do.
        return choose(*arguments, **{**options, "relevance": False})

    with replaced(equal, "anmin.fitting.choose_alpha"):
        yield


@dataclass(frozen=True)
class Variant:
    """The method without one of its parts.

    Attributes
    ----------
    description : str
        In tables.
    settings : callable
        Takes the number of training rows, returns the parameters of the estimator that differ from its defaults.
    around : callable
        Returns the context of the fit.
    """

    description: str
    settings: Callable[[int], dict[str, Any]] = lambda n_rows: {}
    around: Callable[[], AbstractContextManager] = nullcontext


FULL = "full"
VARIANTS = {
    FULL: Variant("the default"),
    "no_recombination": Variant(
        "no recombination at all: one start, to convergence",
        lambda n_rows: {"relocate": False},
    ),
    "no_relocation": Variant(
        "no relocation: children are joined, not grown",
        lambda n_rows: {"solver": Recombining(grown_often=0.0)},
    ),
    "no_joining": Variant(
        "no joining: all children are grown",
        lambda n_rows: {"solver": Recombining(grown_often=1.0)},
    ),
    "no_flips": Variant("no turning of neurons", lambda n_rows: {"solver": WithoutFlips()}),
    "no_sampling": Variant(
        "no sampling: the search sees all rows from the beginning",
        lambda n_rows: {"solver": Recombining(sample_rows=n_rows)},
    ),
    "no_linear_start": Variant("no linear model in the starts", around=without_linear_start),
    "no_projection": Variant(
        "no projection (nor recombination): steps with the output layer held",
        lambda n_rows: {"solver": HeldOutput(), "relocate": False},
    ),
    "no_damping": Variant(
        "no damping (nor recombination): steps halved until the loss falls",
        lambda n_rows: {"solver": Undamped(), "relocate": False},
    ),
    "paper_penalty": Variant(
        "the paper's penalty in place of the chosen one, and equal scales of the inputs",
        lambda n_rows: {"alpha": alpha_from_sum(protocol.PENALTY, n_rows)},
    ),
    "paper_anmin": Variant("the paper's ANMIN and penalty", lambda n_rows: {"solver": "anmin"}),
    "no_relevance": Variant("no relevance: equal scales of the inputs", around=without_relevance),
    "evidence_penalty": Variant(
        "the evidence's own penalty, not that for a search",
        around=lambda: replaced(lambda choice: choice.alpha, "anmin.selection.searched_alpha"),
    ),
}
