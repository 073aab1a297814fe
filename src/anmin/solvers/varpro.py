"""Variable projection: Levenberg–Marquardt on the hidden layer, with the output layer solved out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from anmin.blas import Matrix
from anmin.devices import DeviceMatrix
from anmin.solvers.levenberg_marquardt import LevenbergMarquardt, VarProState, floored
from anmin.solvers.problem import PatternSums, Problem, State
from anmin.solvers.systems import projected_system
from anmin.statistics import OutputStatistics, PatternStatistics


@dataclass(frozen=True)
class VarPro(LevenbergMarquardt):
    """Levenberg–Marquardt with the output layer projected out, on the dense matrix M of (h·p)² numbers.

    An accepted step is followed by a heavy pass over the rows, which gives M, and each damping takes a factorisation.
    The steps, the settings, and when it has converged are those of
    :class:`anmin.solvers.levenberg_marquardt.LevenbergMarquardt`.

    Notes
    -----
    Measured against these steps at equal processor time (``benchmarks/steps.py``): the exact Newton matrix of the
    frozen pattern, which the same sums give, is indefinite far from an optimum and gains nothing near one; several
    inner steps at a frozen pattern for each pass save passes but not time; a search along the step, by trials or exact
    on the piecewise quadratic, saves neither.
    """

    def check(self, problem: Problem) -> None:
        """Accept every problem."""

    def sums_bytes(self, n_features: int, n_neurons: int, n_outputs: int, n_rows: int) -> int:
        """Return the bytes of the matrix U of the statistics."""
        return 8 * ((n_features + 1) * n_neurons) ** 2

    def required_bytes(self, n_features: int, n_neurons: int, n_outputs: int, n_rows: int = 0) -> int:
        """Return the bytes of the statistics with their pattern, the system and its damped factor."""
        k = (n_features + 1) * n_neurons
        return 8 * (4 * k**2 + 4 * k * (n_neurons + n_outputs + 1)) + 4 * n_rows * n_neurons

    def sums(
        self,
        problem: Problem,
        A: NDArray,
        since: PatternSums | None = None,
        tried: OutputStatistics | None = None,
    ) -> PatternStatistics:
        """Return the statistics at hidden weights A (p, h): the heavy pass, or an update of ``since``."""
        assert since is None or isinstance(since, PatternStatistics)
        return problem.rows.statistics(A, problem.negative_slope, since, tried)

    def step(self, problem: Problem, state: State) -> VarProState:
        """Return the state after one step that lowers the loss, or the same one, settled, if there is none."""
        assert isinstance(state, VarProState)
        assert isinstance(state.statistics, PatternStatistics)
        network = state.network
        M, gradient = projected_system(state.statistics, network.A, network.B, network.b0, problem.alpha)
        diagonal = floored(np.diagonal(M).copy())
        system = DenseSystem(Matrix.placed(M, problem.rows.device), gradient, diagonal)
        return self.damped_step(problem, state, system)


@dataclass(frozen=True, eq=False)
class DenseSystem:
    """The projected Gauss–Newton matrix M (h·p, h·p), formed, half the gradient, and the diagonal of M."""

    M: Matrix | DeviceMatrix
    gradient: NDArray
    diagonal: NDArray
    products: ClassVar[int] = 0

    def solve(self, damping: float) -> NDArray | None:
        """Solve (M + damping·diag) δ = −gradient; None where the matrix is not positive definite to rounding."""
        factor = self.M.factor(damping * self.diagonal)
        return None if factor is None else factor.solve(-self.gradient)
