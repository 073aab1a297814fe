"""ANMIN: alternate the exact solutions of the two layers (Barbu, arXiv 2304.02972, Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from anmin import objective
from anmin.blas import Matrix, norm_1
from anmin.history import Record
from anmin.network import ReLUNetwork
from anmin.solvers.problem import Problem, State
from anmin.solvers.systems import hidden_system, output_layer
from anmin.statistics import PatternStatistics


@dataclass(frozen=True)
class Anmin:
    """Algorithm 1 of the paper.

    Start with A ~ N(0, 1) and the best output layer for it. In each iteration freeze the activation pattern, solve for
    the hidden layer, (M + alpha·I) a = c (Eq. 9), then for the output layer. The loss may rise, because the pattern
    changes after the solve; the loop keeps the best iterate, the first included.

    Parameters
    ----------
    log_determinant_threshold : float, default -10_000
        τ: where log det(M + alpha·I) is not above it, or the matrix is not positive definite to rounding (its
        log-determinant not a finite number), the system counts as degenerate.
    eigenvalue_floor : float, default 1e-4
        A degenerate system is solved by its eigendecomposition, with eigenvalues below this raised to it.
    penalty_scaling : "sum" or "mean", default "sum"
        Whether the two settings above refer to the system of the unnormalised loss, n·(M + alpha·I), as in the paper's
        experiments, or to M + alpha·I, as its text has it. The solution of a regular system is the same.
    system_dtype : "float64" or "float32", default "float64"
        Precision in which the system is factored. The paper's experiments used float32, in which degenerate systems
        are met; in float64 the penalty keeps every eigenvalue above alpha, and they are not.

    Notes
    -----
    The paper inverts a degenerate system by a singular value decomposition M = U D Vᵀ. For a positive semidefinite
    matrix that is its eigendecomposition; eigenvalues that rounding made negative are raised to the floor here, where
    a singular value would keep their size and lose their sign.
    """

    log_determinant_threshold: float = -10_000.0
    eigenvalue_floor: float = 1e-4
    penalty_scaling: Literal["sum", "mean"] = "sum"
    system_dtype: Literal["float64", "float32"] = "float64"

    default_max_iter = 30

    def __post_init__(self) -> None:
        if self.penalty_scaling not in ("sum", "mean"):
            raise ValueError(f"penalty_scaling must be 'sum' or 'mean'; got {self.penalty_scaling!r}.")
        if self.system_dtype not in ("float64", "float32"):
            raise ValueError(f"system_dtype must be 'float64' or 'float32'; got {self.system_dtype!r}.")
        if not self.eigenvalue_floor > 0:
            raise ValueError(f"eigenvalue_floor must be positive; got {self.eigenvalue_floor!r}.")

    def check(self, problem: Problem) -> None:
        """Accept every problem."""

    def required_bytes(self, n_features: int, n_neurons: int, n_outputs: int, n_rows: int = 0) -> int:
        """Return the bytes of the statistics with their pattern, the system and its factor."""
        k = (n_features + 1) * n_neurons
        return 8 * (3 * k**2 + 4 * k * (n_outputs + 1)) + 4 * n_rows * n_neurons

    def init(self, problem: Problem, network: ReLUNetwork | None, rng: np.random.Generator) -> State:
        """Return the state at A ~ N(0, 1), or at the hidden layer of ``network``, with the best output layer."""
        shape = (problem.rows.n_features + 1, problem.n_neurons)
        A = rng.standard_normal(shape) if network is None else network.A
        return self._at(problem, A, None, Record())

    def step(self, problem: Problem, state: State) -> State:
        """Return the state after one hidden-layer and one output-layer solve, with one pass over the rows."""
        network, statistics = state.network, state.statistics
        assert isinstance(statistics, PatternStatistics)
        h, p = statistics.s.shape
        M, c = hidden_system(statistics, network.B, network.b0)
        a, record = self.solve_hidden(M, c, problem.alpha, statistics.n, problem.rows.device)
        if not np.isfinite(a).all():
            return replace(state, loss=np.nan, record=record)
        A = a.reshape(h, p).T
        frozen_loss = statistics.output(A).loss(A, network.B, network.b0, problem.alpha)
        return self._at(problem, A, statistics, replace(record, frozen_loss=frozen_loss))

    def solve_hidden(
        self, M: NDArray, c: NDArray, alpha: float, n: float, device: str | None = None
    ) -> tuple[NDArray, Record]:
        """Solve (M + alpha·I) a = c and report log-determinant, condition number and branch. M is overwritten.

        A large matrix is factored on the ``device``, where one is given.
        """
        scale = n if self.penalty_scaling == "sum" else 1.0
        if self.penalty_scaling == "sum":
            M *= scale
            alpha = objective.sum_from_alpha(alpha, n)
        M[np.diag_indices_from(M)] += alpha
        M = M.astype(self.system_dtype, copy=False)
        right = (c * scale).astype(self.system_dtype)
        norm = norm_1(M)
        if not np.isfinite(norm):
            return np.full(len(c), np.nan), Record(branch="not finite")
        log_determinant = np.nan
        factor = Matrix.placed(M, device).factor()
        if factor is not None:
            log_determinant = 2 * float(np.log(factor.diagonal.astype(np.float64)).sum())
            regular = log_determinant > self.log_determinant_threshold
            # Every eigenvalue is at least alpha: with that above the floor, raising them to it changes nothing, and
            # the factor at hand gives the same solution as the eigendecomposition, far more cheaply.
            if regular or alpha >= self.eigenvalue_floor:
                reciprocal = factor.reciprocal_condition(norm)
                return factor.solve(right).astype(np.float64), Record(
                    log_determinant=log_determinant,
                    condition_number=float(1 / reciprocal) if reciprocal > 0 else np.inf,
                    branch="regular" if regular else "degenerate",
                )
        values, vectors = eigh(M, check_finite=False)
        a = vectors @ ((vectors.T @ right) / np.maximum(values, self.eigenvalue_floor))
        smallest = float(np.abs(values).min())
        return a.astype(np.float64), Record(
            log_determinant=log_determinant,
            condition_number=float(np.abs(values).max()) / smallest if smallest > 0 else np.inf,
            branch="degenerate",
        )

    def _at(self, problem: Problem, A: NDArray, since: PatternStatistics | None, record: Record) -> State:
        """Visit the rows at hidden weights A and solve for the output layer."""
        statistics = problem.rows.statistics(A, problem.negative_slope, since)
        output = statistics.output(A)
        B, b0 = output_layer(output, problem.alpha)
        if not (np.isfinite(B).all() and np.isfinite(b0).all()):
            network = ReLUNetwork(A, np.zeros_like(B), np.zeros_like(b0), problem.negative_slope)
            return State(network, statistics, np.nan, record)
        return State.at(problem, ReLUNetwork(A, B, b0, problem.negative_slope), statistics, output, record)
