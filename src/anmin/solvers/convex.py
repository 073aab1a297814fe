"""The cone-constrained program: a convex problem whose solution is the best ReLU network with given patterns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from anmin.history import Status
from anmin.network import ReLUNetwork
from anmin.rows.arrays import ArrayRows
from anmin.rows.patterns import octets
from anmin.solvers.convex_program import ConvexProgram, Look
from anmin.solvers.decomposition import split
from anmin.solvers.gated import check_alpha, checked_gates, solve_gated

ConvexMethod = Literal["augmented_lagrangian", "decomposition", "reference"]


@dataclass(frozen=True, eq=False)
class ConvexSolution:
    """The solution of the cone-constrained program, f_k(x) = Σ_j σ(x̃ᵀu_jk) − σ(x̃ᵀv_jk) + b0_k on its rows.

    Attributes
    ----------
    gates : ndarray of shape (p, P)
        g_j, bias first; without one, for a program without biases, of shape (d, P).
    U, V : ndarray of shape (P, p, c)
        In the cones of the gates' patterns; zero where the solution does without.
    b0 : ndarray of shape (c,)
    objective : float
        What :func:`solve_convex` minimises, at the solution.
    bound : float
        A lower bound of it, from a feasible point of the dual: no weights with these patterns have a smaller objective.
        0 without a penalty.
    residual : float
        How far the conditions of optimality are from holding: the largest step ‖z − prox(z + t·g)‖/t of a u_jk or v_jk
        against half the gradient g of the squared error, projections on the cone included, with 1/t the mean square of
        ‖x̃‖; as a part of the penalty at which all weights are zero.
    violation : float
        Largest −(2·1[x̃_iᵀg_j > 0] − 1) x̃_iᵀu_jk/(‖x̃_i‖ ‖u_jk‖), of v_jk also; 0 if there is none.
    status : Status
    n_rounds : int
        Visits to the rows.
    """

    gates: NDArray
    U: NDArray
    V: NDArray
    b0: NDArray
    objective: float
    bound: float
    residual: float
    violation: float
    status: Status
    n_rounds: int
    bias: bool = True

    def network(self) -> ReLUNetwork:
        """Return the network of these weights, whose loss on the rows is the objective.

        u gives a neuron with hidden weights u/√‖u‖ and output weight √‖u‖, and v one with the output weight −√‖v‖, each
        for one output.
        """
        hidden, output = [], []
        for sign, Z in ((1.0, self.U), (-1.0, self.V)):
            for j, k in np.argwhere(Z.any(axis=1)):
                root = np.sqrt(np.linalg.norm(Z[j, :, k]))
                hidden.append(Z[j, :, k] / root)
                output.append(sign * root * np.eye(len(self.b0))[k])
        p, c = len(self.gates), len(self.b0)
        A = np.reshape(hidden, (-1, p)).T
        if not self.bias:
            A = np.vstack([np.zeros(A.shape[1]), A])
        return ReLUNetwork(A, np.reshape(output, (-1, c)), self.b0)

    @classmethod
    def from_network(cls, network: ReLUNetwork, rows: ArrayRows, alpha: float, *, tol: float = 1e-8) -> ConvexSolution:
        """Return a network's weights as those of the program whose gates they are, u = |b|·a or v = |b|·a.

        The predictions on the rows are the network's, but for the output bias, which is the best one. The objective is
        at most its loss, and less where neurons are not balanced; with several outputs it may be more, since each
        neuron is spread over them. The status is CONVERGED where the residual is at most ``tol``, so that no network
        with these patterns is better, else SCHEDULE_DONE. A neuron on the boundary between patterns has one of them,
        for which it need not be optimal.

        Raises
        ------
        ValueError
            If the network has another number of inputs or outputs, or a negative slope, or alpha is not as it must be.
        """
        sizes = (rows.n_features, rows.n_outputs)
        if network.negative_slope != 0 or (network.n_features, network.n_outputs) != sizes:
            raise ValueError(
                f"The network must have {sizes[0]} inputs, {sizes[1]} outputs and a negative slope of 0; it has "
                f"{network.n_features}, {network.n_outputs} and {network.negative_slope}."
            )
        program = _program(rows, network.A, check_alpha(alpha), True)
        A = network.A.T[:, :, None] * np.any(program.on, axis=1)[:, None, None]
        U, V = A * np.maximum(network.B, 0.0)[:, None, :], A * np.maximum(-network.B, 0.0)[:, None, :]
        return _solution(program, network.A, U, V, program.look(U, V), 1, tol, Status.SCHEDULE_DONE)


def solve_convex(
    rows: ArrayRows,
    gates: NDArray,
    alpha: float,
    *,
    method: ConvexMethod = "augmented_lagrangian",
    tol: float = 1e-8,
    max_rounds: int = 50,
    start: tuple[NDArray, NDArray] | None = None,
    bias: bool = True,
) -> ConvexSolution:
    """Minimise the loss over all ReLU networks whose neurons have the patterns of the given gates on the rows.

        (1/n) Σ_i w_i ‖f(x_i) − y_i‖² + 2·alpha Σ_jk (‖u_jk‖ + ‖v_jk‖) + alpha ‖b0‖²
        f_k(x_i) = Σ_j D_j(i) x̃_iᵀ(u_jk − v_jk) + b0_k,      (2D_j(i) − 1) x̃_iᵀu_jk >= 0, the same for v_jk

    with D_j(i) = 1[x̃_iᵀg_j > 0]. For one output this is the loss of :mod:`anmin.objective` at its best for networks of
    any width with these patterns (Pilanci & Ergen 2020, with a bias; β of the convex papers is 2·alpha for a loss
    without their ½). For several outputs each neuron serves one output, so it is an upper bound: of the best network
    with shared neurons the penalty would be a norm that is intractable.

    Parameters
    ----------
    rows : ArrayRows
    gates : ndarray of shape (p, P)
        g_j, bias first; (d, P) if there is no ``bias``. Only their patterns matter.
    alpha : float >= 0
    method : {"augmented_lagrangian", "decomposition", "reference"}
        "augmented_lagrangian" solves the program (:class:`anmin.solvers.cone_problem.ConeProblem`). "decomposition"
        solves the gated program and splits its weights into u and v: feasible, optimal at alpha = 0 alone. "reference"
        is CVXPY with Clarabel, of the extra ``convex``, for small problems.
    tol : float >= 0
        Of the residual.
    max_rounds : int >= 1
    start : tuple of ndarray of shape (P, p, c), optional
        U and V to start from, such as those of another penalty.
    bias : bool, default True
        Whether neurons and outputs have biases.

    Raises
    ------
    ValueError
        If a parameter is not as described, a gate is zero, or two have the same direction.
    """
    program = convex_program(rows, gates, alpha, bias=bias)
    gates = np.asarray(gates, dtype=np.float64)
    shape = (gates.shape[1], gates.shape[0], rows.n_outputs)
    if method not in get_args(ConvexMethod):
        raise ValueError(f"method must be one of {', '.join(map(repr, get_args(ConvexMethod)))}; got {method!r}.")
    if start is not None and (
        len(start) != 2 or any(np.shape(part) != shape or not np.isfinite(part).all() for part in start)
    ):
        raise ValueError(f"start must be two finite arrays, U and V, of shape {shape}.")
    if method == "decomposition" and not bias:
        raise ValueError("method='decomposition' starts from the gated program, which has a bias; got bias=False.")
    U, V = (np.zeros(shape), np.zeros(shape)) if start is None else (np.array(part, dtype=float) for part in start)
    if method == "augmented_lagrangian":
        U, V, look, rounds = program.solved(*program.inside(U, V), tol, max_rounds)
    else:
        if method == "reference":
            from anmin.solvers.convex_reference import solve_by_cvxpy

            U, V = program.inside(*solve_by_cvxpy(program))
        else:
            U, V = _decomposed(program, rows, gates, tol, max_rounds)
        look, rounds = program.look(U, V), 1
    short = Status.MAX_ITER if method == "augmented_lagrangian" else Status.SCHEDULE_DONE
    return _solution(program, gates, U, V, look, rounds, tol, short)


def _decomposed(
    program: ConvexProgram, rows: ArrayRows, gates: NDArray, tol: float, max_rounds: int
) -> tuple[NDArray, NDArray]:
    """Return the weights of the gated program, split."""
    W = solve_gated(rows, gates, program.alpha, norm="outputs", tol=tol, max_rounds=max_rounds).V
    U, V = np.zeros_like(W), np.zeros_like(W)
    for j, k in np.argwhere(W.any(axis=1)):
        normals = program.cones.rows * program.cones.signs(j)[:, None]
        U[j, :, k], V[j, :, k] = split(W[j, :, k], normals)
    return U, V


def convex_program(rows: ArrayRows, gates: NDArray, alpha: float, *, bias: bool = True) -> ConvexProgram:
    """Return the program of these rows and gates (p, P), or raise ValueError as :func:`solve_convex` does."""
    gates = checked_gates(gates, rows.n_features + int(bias))
    return _program(rows, gates, check_alpha(alpha), bias)


def _program(rows: ArrayRows, gates: NDArray, alpha: float, bias: bool) -> ConvexProgram:
    X = rows.X.astype(np.float64, copy=False)
    Y = rows.Y.astype(np.float64, copy=False)
    if not bias:
        gates = np.vstack([np.zeros(gates.shape[1]), gates])
    bits = octets(rows.pattern(gates).bits)
    on = np.unpackbits(bits, axis=1, count=gates.shape[1], bitorder="little").astype(bool)
    X = np.column_stack([np.ones(len(X)), X]) if bias else X
    return ConvexProgram(X, np.ascontiguousarray(on.T), Y, rows.w, alpha, bias)


def _solution(
    program: ConvexProgram,
    gates: NDArray,
    U: NDArray,
    V: NDArray,
    look: Look,
    rounds: int,
    tol: float,
    short: Status,
) -> ConvexSolution:
    largest = program.largest
    residual = look.residual / largest if largest > 0 else 0.0
    both = np.concatenate([U, V]).transpose(2, 0, 1).reshape(-1, U.shape[1])
    violation = program.cones.violation(both, np.tile(np.arange(len(U)), 2 * U.shape[2]))
    status = Status.CONVERGED if residual <= tol else short
    return ConvexSolution(
        gates, U, V, look.b0, look.objective, look.bound, residual, violation, status, rounds, program.bias
    )
