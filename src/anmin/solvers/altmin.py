"""Alternating minimisation of a sum of ReLUs (Jagatap & Hegde, arXiv 1806.07863, Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anmin.history import Record
from anmin.network import ReLUNetwork
from anmin.solvers.problem import Problem, State
from anmin.solvers.systems import hidden_system, solve_semidefinite
from anmin.statistics import PatternStatistics


@dataclass(frozen=True)
class AltMin:
    """Fit f(x) = Σ_q σ(w_qᵀ x): all output weights are 1, there is no bias, and y has one column.

    Each iteration freezes the activation pattern and solves the least-squares problem ‖[D_1 X … D_h X] vec W − y‖²
    (plus n·alpha·‖W‖² where alpha > 0) for all hidden weights at once, with D_q = diag(1[X w_q > 0]); the solution of
    least norm where it is singular. It is ANMIN's hidden-layer solve with B = 1, b0 = 0 and no constant input. Made
    for recovering planted networks of this kind; since f >= 0, fit it without centring y (``standardize=False``).

    Parameters
    ----------
    start : "random" or "identity", default "random"
        W ~ N(0, 1), or the first h columns of the identity (the paper's start for W near I), which needs h <= d.
    """

    start: Literal["random", "identity"] = "random"

    default_max_iter = 100

    def __post_init__(self) -> None:
        if self.start not in ("random", "identity"):
            raise ValueError(f"start must be 'random' or 'identity'; got {self.start!r}.")

    def check(self, problem: Problem) -> None:
        """Raise ValueError if there are several outputs, or more neurons than inputs for the identity start."""
        if problem.rows.n_outputs != 1:
            raise ValueError(f"The solver 'altmin' fits one output; got y with {problem.rows.n_outputs} columns.")
        if self.start == "identity" and problem.n_neurons > problem.rows.n_features:
            raise ValueError(
                f"AltMin(start='identity') needs at most as many neurons as inputs; "
                f"got {problem.n_neurons} neurons and {problem.rows.n_features} inputs."
            )

    def required_bytes(self, n_features: int, n_neurons: int, n_outputs: int, n_rows: int = 0) -> int:
        """Return the bytes of the statistics with their pattern, the system and its factor."""
        k = (n_features + 1) * n_neurons
        return 8 * (4 * k**2 + 4 * k * (n_outputs + 1)) + 4 * n_rows * n_neurons

    def init(self, problem: Problem, network: ReLUNetwork | None, rng: np.random.Generator) -> State:
        """Return the state at the chosen start, or at the hidden weights of ``network`` without their biases."""
        d, h = problem.rows.n_features, problem.n_neurons
        if network is not None:
            W = network.A[1:]
        else:
            W = rng.standard_normal((d, h)) if self.start == "random" else np.eye(d, h)
        return self._at(problem, W, None, Record())

    def step(self, problem: Problem, state: State) -> State:
        """Return the state after one hidden-layer solve, with one pass over the rows."""
        network, statistics = state.network, state.statistics
        assert isinstance(statistics, PatternStatistics)
        h, p = statistics.s.shape
        M, c = hidden_system(statistics, network.B, network.b0)
        # The system of the inputs alone: without the constant's row and column of every neuron.
        inputs = np.arange(h * p).reshape(h, p)[:, 1:].ravel()
        system = M[np.ix_(inputs, inputs)]
        w = solve_semidefinite(system + problem.alpha * np.eye(len(system)), c[inputs])
        if not np.isfinite(w).all():
            return replace(state, loss=np.nan)
        W = w.reshape(h, p - 1).T
        A = np.vstack([np.zeros(h), W])
        frozen_loss = statistics.output(A).loss(A, network.B, network.b0, problem.alpha)
        return self._at(problem, W, statistics, Record(frozen_loss=frozen_loss, branch="least squares"))

    def _at(self, problem: Problem, W: NDArray, since: PatternStatistics | None, record: Record) -> State:
        h = problem.n_neurons
        network = ReLUNetwork(np.vstack([np.zeros(h), W]), np.ones((h, 1)), np.zeros(1), problem.negative_slope)
        statistics = problem.rows.statistics(network.A, problem.negative_slope, since)
        return State.at(problem, network, statistics, statistics.output(network.A), record)
