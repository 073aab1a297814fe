"""Gradient descent on a sum of ReLUs whose inactive rows pull too (Ergen & Pilanci, relaxed gradient descent)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvalsh

from anmin.blas import product
from anmin.history import Record
from anmin.network import ReLUNetwork
from anmin.rows.products import PatternProducts, products_bytes, working_bytes
from anmin.solvers.problem import Problem, State
from anmin.validation import is_number

# Of the relaxed loss: while dead rows pull and it changes by more, the descent is under way, whatever the loss says.
_STANDSTILL = 1e-9


@dataclass(frozen=True, eq=False)
class RelaxedState(State):
    """A state with the step size of the descent, and the relaxed loss (the loss, for plain gradient descent)."""

    step_size: float = 0.0
    relaxed: float = np.nan


@dataclass(frozen=True)
class RelaxedDescent:
    """Fit f(x) = Σ_j σ(w_jᵀ x), all output weights 1 and no bias, by gradient descent on a relaxed loss.

    With z_ij = x_iᵀ w_j, t_i = Σ_j z_ij, r_i = f(x_i) − y_i and s the negative slope, an iteration is

        w_j ← w_j − step_size · ((1/n) Σ_i w_i Ĝ_ij r_i x_i + alpha·w_j)

    where Ĝ_ij is the gate, 1 if z_ij > 0 and s otherwise, but 1 for all neurons on rows on which none is active. Plain
    gradient descent gets nothing from such rows if s = 0, and stays where it is dead. It is half the gradient of

        (1/n) [Σ_alive w_i r_i² + Σ_dead w_i (s t_i² − 2 y_i t_i + y_i²)] + alpha·(‖W‖² + h)

    (:func:`relaxed_loss`; Ergen & Pilanci, Convex Optimization for Shallow Neural Networks, Eq. 14, which has s = 0).
    Where y >= 0 it is nowhere below the loss, and equal to it where no row is dead. For one neuron it is convex,
    (1/n) Σ_i w_i (σ(z_i)² − 2 y_i z_i + y_i²) if s = 0; for several it jumps where a row loses its last active neuron.
    It is made for recovering planted networks of this kind; fit it without centring y (``standardize=False``).

    Parameters
    ----------
    step_size : float > 0, optional
        By default 1/(h·λ + alpha), with λ the largest eigenvalue of XᵀWX/n: at a frozen pattern no such step raises
        the loss. The experiments of the source have 0.1 for one neuron and, as 0.08 of the whole gradient, 0.16 for
        three, with inputs ~ N(0, 1).
    relaxation : bool, default True
        False is plain gradient descent on the loss, to compare with.

    Raises
    ------
    ValueError
        If a parameter is not as documented.
    """

    step_size: float | None = None
    relaxation: bool = True

    default_max_iter = 2000

    def __post_init__(self) -> None:
        if self.step_size is not None and not (is_number(self.step_size, 0) and self.step_size > 0):
            raise ValueError(f"step_size must be None or a positive number; got {self.step_size!r}.")
        if not isinstance(self.relaxation, bool):
            raise ValueError(f"relaxation must be True or False; got {self.relaxation!r}.")

    def check(self, problem: Problem) -> None:
        """Raise ValueError if there are several outputs, rows not in memory, or, to be relaxed, negative targets."""
        rows = problem.rows
        if rows.n_outputs != 1:
            raise ValueError(f"The solver 'relaxed' fits one output; got y with {rows.n_outputs} columns.")
        if not rows.in_memory:
            raise ValueError(
                "The solver 'relaxed' visits single rows, which must be in memory; got rows in parts. "
                "Load them into arrays, or take another solver."
            )
        least = float(rows.Y.min())
        if self.relaxation and least < 0:
            raise ValueError(
                "The solver 'relaxed' needs targets of at least 0, since otherwise its relaxed loss has no minimum; "
                f"got {least:.6g}. Fit them without centring (standardize=False), or take another solver."
            )

    def required_bytes(self, n_features: int, n_neurons: int, n_outputs: int, n_rows: int = 0) -> int:
        """Return the bytes of the products before and after a step, the inputs' matrix, and the dead rows."""
        sizes = n_features, n_neurons, n_outputs, n_rows
        return 2 * products_bytes(*sizes) + working_bytes(*sizes) + 8 * (3 * n_features**2 + n_rows * n_features)

    def init(self, problem: Problem, network: ReLUNetwork | None, rng: np.random.Generator) -> RelaxedState:
        """Return the state at W ~ N(0, 1), or at the hidden weights of ``network`` without their biases."""
        d, h = problem.rows.n_features, problem.n_neurons
        W = rng.standard_normal((d, h)) if network is None else network.A[1:]
        step_size = self._safe_step_size(problem) if self.step_size is None else self.step_size
        return self._at(problem, W, step_size)

    def step(self, problem: Problem, state: State) -> RelaxedState:
        """Return the state after one descent step."""
        assert isinstance(state, RelaxedState)
        assert isinstance(state.statistics, PatternProducts)
        W = state.network.A[1:]
        with np.errstate(over="ignore", invalid="ignore"):  # too large a step: the loop ends it when it sees the loss
            W = W - state.step_size * (descent_gradient(problem, state.statistics, self.relaxation) / 2)
        if not np.isfinite(W).all():
            return replace(state, loss=np.nan)
        return self._at(problem, W, state.step_size, state)

    def _safe_step_size(self, problem: Problem) -> float:
        rows = problem.rows
        X = rows.X.astype(np.float64, copy=False)
        gram = product((X if rows.w is None else X * rows.w[:, None]).T, X) / rows.n
        if not np.isfinite(gram).all():
            return 0.0  # and the loss of the start is not finite either, which ends the solve
        curvature = problem.n_neurons * float(eigvalsh(gram)[-1]) + problem.alpha
        return 1.0 / curvature if curvature > 0 else 1.0

    def _at(self, problem: Problem, W: NDArray, step_size: float, before: RelaxedState | None = None) -> RelaxedState:
        h = problem.n_neurons
        network = ReLUNetwork(np.vstack([np.zeros(h), W]), np.ones((h, 1)), np.zeros(1), problem.negative_slope)
        since = None if before is None else before.statistics
        assert since is None or isinstance(since, PatternProducts)
        with np.errstate(over="ignore", invalid="ignore"):
            # Not of the rows' own kind: what those of a GPU take is on it.
            products = PatternProducts.at(problem.rows, network.A, problem.negative_slope, since)
            state = RelaxedState.at(problem, network, products, products.sums, Record(), step_size=step_size)
            relaxed = relaxed_loss(problem, products) if self.relaxation else state.loss
        # Dead rows move at a steady pace, and as long as none comes to life the loss may stand still to the last digit.
        pulled = before is not None and relaxed != state.loss
        moving = before is not None and abs(before.relaxed - relaxed) > _STANDSTILL * abs(relaxed)
        return replace(state, relaxed=relaxed, settled=False if pulled and moving else None)


def relaxed_loss(problem: Problem, products: PatternProducts) -> float:
    """Return the loss with its dead rows relaxed (see :class:`RelaxedDescent`), of a network of output weights 1."""
    h = products.A.shape[1]
    loss = products.sums.loss(products.A, np.ones((h, 1)), np.zeros(1), problem.alpha)
    _, w, t, y = _dead_rows(problem, products)
    s = problem.negative_slope
    # What the relaxation adds: s t² − 2 y t + y² in the place of (s t − y)².
    return loss + (1 - s) * float(w @ (s * t**2 - 2 * y * t)) / problem.rows.n


def descent_gradient(problem: Problem, products: PatternProducts, relaxation: bool = True) -> NDArray:
    """Return the gradient (d, h) of the relaxed loss, or of the loss itself, along the weights of the inputs."""
    rows, h = problem.rows, products.A.shape[1]
    ones = np.ones((h, 1))
    gradient = products.backward(-rows.Y, ones, np.vstack([ones, [[0.0]]]), products.A)[1:]
    if relaxation:
        X, w, t, y = _dead_rows(problem, products)
        s = problem.negative_slope
        # The gates of these rows are s in the products; here they become 1.
        gradient += (1 - s) * ((w * (s * t - y)) @ X)[:, None]
    return 2 * (gradient / rows.n + problem.alpha * products.A[1:])


def _dead_rows(problem: Problem, products: PatternProducts) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return X (m, d), weights, Σ_j x_iᵀ w_j and y (m,) of the rows on which no neuron is active."""
    rows = problem.rows
    dead = ~products.pattern.bits.any(axis=1)
    X = rows.X[dead].astype(np.float64)
    w = np.ones(len(X)) if rows.w is None else rows.w[dead]
    return X, w, X @ products.A[1:].sum(axis=1), rows.Y[dead, 0]
