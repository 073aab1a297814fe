"""Variable projection: Levenberg–Marquardt on the hidden layer, with the output layer solved out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky

from anmin.blas import threads_for_factors
from anmin.history import Record
from anmin.network import ReLUNetwork
from anmin.solvers.problem import Problem, State
from anmin.solvers.systems import output_layer, projected_system
from anmin.statistics import PatternStatistics

_LEAST_DAMPING, _MOST_DAMPING = 1e-12, 1e12
_LEAST_GAIN = 1e-4  # of a step that is taken: actual over predicted decrease of the loss


@dataclass(frozen=True, eq=False)
class VarProState(State):
    """A state with the damping of its next step and the factor by which a refused step raises it."""

    damping: float = 1e-2


@dataclass(frozen=True)
class VarPro:
    """Levenberg–Marquardt on the hidden weights A of the loss with the best output layer for each A.

    In each iteration, (M + μ·diag M) δ = −g with the projected Gauss–Newton matrix M and half the gradient g
    (:func:`anmin.solvers.systems.projected_system`); the step is tried by a light pass over the rows, whose loss is the
    true one of A + δ with its best output layer, and taken only if that is lower. Then follows a heavy pass. The
    damping μ falls or rises by the ratio of actual to predicted decrease (Nielsen's rule), by many orders if need be.
    Before each iteration the neurons are balanced, ‖a_j‖ = ‖b_j‖, which changes no prediction and lowers the penalty.

    No iteration raises the loss. It has converged when the optimality, max_j |g_j| / sqrt(M_jj · loss), falls to
    ``optimality_tol``, when no damping gives a lower loss, or by the loop's ``tol``.

    Parameters
    ----------
    damping : float, default 1e-2
        First μ.
    optimality_tol : float, default 1e-9
    decrease_tol : float, default 1e-10
        A step that promises to lower the loss by less than this times itself is not tried: it has converged.

    Notes
    -----
    Measured against these steps at equal processor time (``benchmarks/steps.py``): the exact Newton matrix of the
    frozen pattern, which the same sums give, is indefinite far from an optimum and gains nothing near one; several
    inner steps at a frozen pattern for each pass save passes but not time; a search along the step, by trials or exact
    on the piecewise quadratic, saves neither.

    References
    ----------
    Golub & Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems whose variables
    separate, 1973. Kaufman, A variable projection method for solving separable nonlinear least squares problems, 1975.
    Nielsen, Damping parameter in Marquardt's method, 1999.
    """

    damping: float = 1e-2
    optimality_tol: float = 1e-9
    decrease_tol: float = 1e-10

    default_max_iter = None

    def __post_init__(self) -> None:
        if not self.damping > 0:
            raise ValueError(f"damping must be positive; got {self.damping!r}.")
        if not self.optimality_tol >= 0:
            raise ValueError(f"optimality_tol must be at least 0; got {self.optimality_tol!r}.")

    def check(self, problem: Problem) -> None:
        """Accept every problem."""

    def required_bytes(self, n_features: int, n_neurons: int, n_outputs: int) -> int:
        """Return the bytes of the statistics, the system and its damped factor."""
        k = (n_features + 1) * n_neurons
        return 8 * (4 * k**2 + 4 * k * (n_neurons + n_outputs + 1))

    def init(self, problem: Problem, network: ReLUNetwork | None, rng: np.random.Generator) -> VarProState:
        """Return the state at A ~ N(0, 1), or at the hidden layer of ``network``, with the best output layer."""
        shape = (problem.rows.n_features + 1, problem.n_neurons)
        A = rng.standard_normal(shape) if network is None else network.A
        return self.begin(problem, A)

    def step(self, problem: Problem, state: State) -> VarProState:
        """Return the state after one step that lowers the loss, or the same one, settled, if there is none."""
        assert isinstance(state, VarProState)
        network, alpha = state.network, problem.alpha
        h, p = state.statistics.s.shape
        M, gradient = projected_system(state.statistics, network.A, network.B, network.b0, alpha)
        diagonal = np.diagonal(M).copy()
        diagonal = np.maximum(diagonal, np.finfo(np.float64).eps * diagonal.max(initial=np.finfo(np.float64).tiny))
        optimality = float(np.max(np.abs(gradient) / np.sqrt(diagonal * max(state.loss, 1e-300))))
        if optimality <= self.optimality_tol:
            return self._settled(state, optimality)
        damping, growth = state.damping, 2.0
        while damping <= _MOST_DAMPING:
            step = _damped_step(M, diagonal, gradient, damping)
            if step is not None:
                # The model of the loss falls by −2 gᵀδ − δᵀMδ = δᵀ(μ diag M δ − g).
                predicted = float(step @ (damping * diagonal * step - gradient))
                if predicted <= self.decrease_tol * state.loss:
                    return self._settled(state, optimality)
                A = network.A + step.reshape(h, p).T
                output = problem.rows.output_statistics(A, problem.negative_slope, state.statistics)
                B, b0 = output_layer(output, alpha)
                decrease = state.loss - output.loss(A, B, b0, alpha)
                gain = decrease / predicted
                if decrease > 0 and gain > _LEAST_GAIN:
                    after = problem.rows.statistics(A, problem.negative_slope, state.statistics, output)
                    factor = max(1 / 3, 1 - (2 * min(gain, 1.0) - 1) ** 3)
                    record = Record(optimality=optimality, damping=damping, branch="step")
                    taken = self._at(problem, A, after, record, max(damping * factor, _LEAST_DAMPING))
                    # Rounding may differ between the passes; a loss that did not fall by the second was no step.
                    return taken if taken.loss < state.loss else self._settled(state, optimality)
            damping, growth = damping * growth, growth * 2
        return self._settled(state, optimality)

    def begin(self, problem: Problem, A: NDArray, since: PatternStatistics | None = None) -> VarProState:
        """Return the state at hidden weights A (p, h); ``since`` may be earlier statistics of the same rows."""
        statistics = problem.rows.statistics(A, problem.negative_slope, since)
        return self._at(problem, A, statistics, Record(), self.damping)

    def at(self, problem: Problem, A: NDArray, statistics: PatternStatistics, damping: float) -> VarProState:
        """Return the state at hidden weights A (p, h) whose statistics are known, for example at another alpha."""
        return self._at(problem, A, statistics, Record(), damping)

    def _settled(self, state: VarProState, optimality: float) -> VarProState:
        record = replace(state.record, optimality=optimality, pattern_changes=0, branch="settled")
        return replace(state, record=record, settled=True)

    def _at(
        self, problem: Problem, A: NDArray, statistics: PatternStatistics, record: Record, damping: float
    ) -> VarProState:
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


def _damped_step(M: NDArray, diagonal: NDArray, gradient: NDArray, damping: float) -> NDArray | None:
    """Solve (M + damping·diag) δ = −gradient; None where the matrix is not positive definite to rounding."""
    damped = M.copy()
    damped[np.diag_indices_from(damped)] += damping * diagonal
    with threads_for_factors(len(damped)):
        try:
            L = cholesky(damped, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            return None
        return cho_solve((L, True), -gradient, check_finite=False)
