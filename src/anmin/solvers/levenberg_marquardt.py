"""Levenberg–Marquardt on the hidden layer with the output layer solved out, however its systems are solved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anmin.history import Record
from anmin.network import ReLUNetwork
from anmin.solvers.problem import PatternSums, Problem, State
from anmin.solvers.systems import output_layer
from anmin.statistics import OutputStatistics, PatternStatistics

LEAST_DAMPING, MOST_DAMPING = 1e-12, 1e12
#: What an iteration says that has tried as many dampings as it may, none of which lowered the loss.
GIVEN_UP = "no step"
LEAST_GAIN = 1e-4  # of a step that is taken: actual over predicted decrease of the loss


@dataclass(frozen=True, eq=False)
class VarProState(State):
    """A state with the damping of its next step, and whatever else its solver keeps from one step for the next."""

    damping: float = 1e-2
    kept: Any = None


class DampedSystem(Protocol):
    """A projected Gauss–Newton matrix M, half the gradient g, and a way to solve (M + μ·diag) δ = −g."""

    @property
    def gradient(self) -> NDArray:
        """Half the gradient of the loss, (h·p,), ordered as in :func:`anmin.solvers.systems.hidden_system`."""
        ...

    @property
    def diagonal(self) -> NDArray:
        """The positive diagonal (h·p,) that is added in units of the damping."""
        ...

    @property
    def products(self) -> int:
        """Number of products with M taken so far."""
        ...

    def solve(self, damping: float) -> NDArray | None:
        """Return δ (h·p,), or None where the damped matrix is not positive definite to rounding."""
        ...


@dataclass(frozen=True)
class LevenbergMarquardt(ABC):
    """Levenberg–Marquardt on the hidden weights A of the loss with the best output layer for each A.

    In each iteration, (M + μ·diag M) δ = −g with the projected Gauss–Newton matrix M and half the gradient g
    (:func:`anmin.solvers.systems.projected_system`); the step is tried by a light pass over the rows, whose loss is the
    true one of A + δ with its best output layer, and taken only if that is lower. The damping μ falls or rises by the
    ratio of actual to predicted decrease (Nielsen's rule), by many orders if need be. Before each iteration the neurons
    are balanced, ‖a_j‖ = ‖b_j‖, which changes no prediction and lowers the penalty.

    No iteration raises the loss. It has converged when the optimality, max_j |g_j| / sqrt(M_jj · loss), falls to
    ``optimality_tol``, when no damping gives a lower loss, or by the loop's ``tol``.

    Parameters
    ----------
    damping : float, default 1e-2
        First μ.
    optimality_tol : float, default 1e-9
    decrease_tol : float, default 1e-10
        A step that promises to lower the loss by less than this times itself is not tried: it has converged.
    most_trials : int, default 60
        Dampings that are tried for one step, each at the cost of a pass; then it has converged.

    References
    ----------
    Golub & Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems whose variables
    separate, 1973. Kaufman, A variable projection method for solving separable nonlinear least squares problems, 1975.
    Nielsen, Damping parameter in Marquardt's method, 1999.
    """

    damping: float = 1e-2
    optimality_tol: float = 1e-9
    decrease_tol: float = 1e-10
    most_trials: int = 60

    default_max_iter = None

    def __post_init__(self) -> None:
        if not self.damping > 0:
            raise ValueError(f"damping must be positive; got {self.damping!r}.")
        if not self.optimality_tol >= 0:
            raise ValueError(f"optimality_tol must be at least 0; got {self.optimality_tol!r}.")

    @abstractmethod
    def check(self, problem: Problem) -> None:
        """Raise ValueError, before any work, if the method cannot solve this kind of problem."""

    @abstractmethod
    def sums(
        self,
        problem: Problem,
        A: NDArray,
        since: PatternSums | None = None,
        tried: OutputStatistics | None = None,
    ) -> PatternSums:
        """Return what a step needs of the rows at hidden weights A (p, h).

        ``since`` may be what it was before, and ``tried`` the sums of a light pass at A.
        """

    @abstractmethod
    def step(self, problem: Problem, state: State) -> VarProState:
        """Return the state after one step that lowers the loss, or the same one, settled, if there is none."""

    @abstractmethod
    def sums_bytes(self, n_features: int, n_neurons: int, n_outputs: int, n_rows: int) -> int:
        """Return the bytes of what :meth:`sums` returns."""

    @abstractmethod
    def required_bytes(self, n_features: int, n_neurons: int, n_outputs: int, n_rows: int = 0) -> int:
        """Return an estimate of the memory that a fit takes beyond the rows."""

    def init(self, problem: Problem, network: ReLUNetwork | None, rng: np.random.Generator) -> VarProState:
        """Return the state at A ~ N(0, 1), or at the hidden layer of ``network``, with the best output layer."""
        shape = (problem.rows.n_features + 1, problem.n_neurons)
        A = rng.standard_normal(shape) if network is None else network.A
        return self.begin(problem, A)

    def begin(
        self,
        problem: Problem,
        A: NDArray,
        since: PatternSums | None = None,
        tried: OutputStatistics | None = None,
    ) -> VarProState:
        """Return the state at hidden weights A (p, h); ``since`` and ``tried`` are as for :meth:`sums`."""
        return self._at(problem, A, self.sums(problem, A, since, tried), Record(), self.damping)

    def at(self, problem: Problem, A: NDArray, statistics: PatternSums, damping: float) -> VarProState:
        """Return the state at hidden weights A (p, h) whose sums are known, for example at another alpha."""
        return self._at(problem, A, statistics, Record(), damping)

    def damped_step(self, problem: Problem, state: VarProState, system: DampedSystem) -> VarProState:
        """Return the state after the first damped step that lowers the loss, or the same one, settled."""
        network, alpha = state.network, problem.alpha
        gradient, diagonal = system.gradient, system.diagonal
        # Two roots, because the product under one could vanish.
        optimality = float(np.max(np.abs(gradient) / (np.sqrt(diagonal) * np.sqrt(max(state.loss, 1e-300)))))
        if optimality <= self.optimality_tol:
            return self._settled(state, optimality)
        since = state.statistics if isinstance(state.statistics, PatternStatistics) else None
        damping, growth, trials = state.damping, 2.0, 0
        while damping <= MOST_DAMPING and trials < self.most_trials:
            step = system.solve(damping)
            if step is not None:
                # The model of the loss falls by −2 gᵀδ − δᵀMδ = δᵀ(μ diag M δ − g), also for the δ of conjugate
                # gradients cut short, whose residual is orthogonal to it.
                predicted = float(step @ (damping * diagonal * step - gradient))
                if predicted <= self.decrease_tol * state.loss:
                    return self._settled(state, optimality)
                trials += 1
                A = network.A + step.reshape(network.A.T.shape).T
                output = problem.rows.output_statistics(A, problem.negative_slope, since)
                B, b0 = output_layer(output, alpha)
                decrease = state.loss - output.loss(A, B, b0, alpha)
                gain = decrease / predicted
                if decrease > 0 and gain > LEAST_GAIN:
                    after = self.sums(problem, A, state.statistics, output)
                    factor = max(1 / 3, 1 - (2 * min(gain, 1.0) - 1) ** 3)
                    record = Record(optimality=optimality, damping=damping, products=system.products, branch="step")
                    taken = self._at(problem, A, after, record, max(damping * factor, LEAST_DAMPING))
                    # Rounding may differ between the passes; a loss that did not fall by the second was no step.
                    return taken if taken.loss < state.loss else self._settled(state, optimality)
            damping, growth = damping * growth, growth * 2
        return self._settled(state, optimality, "settled" if damping > MOST_DAMPING else GIVEN_UP)

    def _settled(self, state: VarProState, optimality: float, branch: str = "settled") -> VarProState:
        record = replace(state.record, optimality=optimality, pattern_changes=0, branch=branch)
        return replace(state, record=record, settled=True)

    def _at(self, problem: Problem, A: NDArray, statistics: PatternSums, record: Record, damping: float) -> VarProState:
        """Balance the neurons, which keeps the pattern, and solve for the output layer."""
        B, b0 = output_layer(statistics.output(A), problem.alpha)
        if np.isfinite(B).all() and np.isfinite(b0).all():
            # A neuron without output keeps its hyperplane, for later steps to use.
            balanced = ReLUNetwork(A, B, b0, problem.negative_slope).balanced().A
            A = np.where(np.any(balanced, axis=0), balanced, A)
            output = statistics.output(A)
            B, b0 = output_layer(output, problem.alpha)
        if not (np.isfinite(B).all() and np.isfinite(b0).all()):
            network = ReLUNetwork(A, np.zeros_like(B), np.zeros_like(b0), problem.negative_slope)
            return VarProState(network, statistics, np.nan, record, damping)
        network = ReLUNetwork(A, B, b0, problem.negative_slope)
        return VarProState.at(problem, network, statistics, output, record, damping=damping)


def floored(diagonal: NDArray) -> NDArray:
    """Return the diagonal with entries at the level of rounding raised to it, so that all are positive."""
    numbers = np.finfo(np.float64)
    return np.maximum(diagonal, max(numbers.eps * float(diagonal.max(initial=0.0)), float(numbers.tiny)))
