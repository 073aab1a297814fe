"""The gated-ReLU program: a convex problem whose solution is the best network with given gates, of any width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from anmin.history import Status
from anmin.rows.arrays import ArrayRows
from anmin.rows.gated import through
from anmin.solvers.gated_design import GatedDesign
from anmin.solvers.gated_program import GatedProgram, Norm
from anmin.solvers.groups import spectral_norms

_INNER = 0.6  # of the tolerance asked for, for the working set alone
_FALL = 0.3  # of the penalty, from one level to the next
_ROUGHLY = 0.1  # of the residual there is, or of the penalty: how exactly a working set is solved that is not the last
_PENALTIES = 60  # tried between the largest and a millionth of it


@dataclass(frozen=True, eq=False)
class GatedSolution:
    """The solution of the gated program, f(x) = Σ_j 1[x̃ᵀg_j > 0] x̃ᵀV_j + b0.

    Attributes
    ----------
    gates : ndarray of shape (p, P)
        g_j, bias first.
    alpha : float
        The penalty.
    V : ndarray of shape (P, p, c)
        Zero for gates that the solution does without.
    b0 : ndarray of shape (c,)
    objective : float
        What :func:`solve_gated` minimises, at the solution.
    bound : float
        A lower bound of it, from a feasible point of the dual: no weights for these gates have a smaller objective.
        0 without a penalty.
    residual : float
        How far the conditions of optimality are from holding: the length of the least subgradient of half the
        objective, as a part of the penalty at which all weights are zero.
    status : Status
    n_rounds : int
        Visits to the rows.
    """

    gates: NDArray
    alpha: float
    V: NDArray
    b0: NDArray
    objective: float
    bound: float
    residual: float
    status: Status
    n_rounds: int

    @property
    def active(self) -> NDArray:
        """Numbers of the gates in use."""
        return np.flatnonzero(np.any(self.V, axis=(1, 2)))

    def predict(self, X: NDArray) -> NDArray:
        """Return f(x) for the rows of X (N, d), shape (N, c)."""
        used = self.active
        out = np.tile(self.b0, (len(X), 1))
        if used.size:
            rows = ArrayRows(X, np.zeros(len(X)))
            through(rows.X, rows.pattern(self.gates[:, used]), None, self._transposed(used), out, 0.0)
        return out

    def _transposed(self, used: NDArray) -> NDArray:
        return np.ascontiguousarray(self.V[used].transpose(0, 2, 1))

    def neurons(self) -> tuple[NDArray, NDArray, NDArray]:
        """Return the gated neurons: the gate of each (m,), hidden weights A (p, m) and output weights B (m, c).

        V_j = Σ_r σ_r u_r z_rᵀ becomes neurons a = √σ_r u_r, b = √σ_r z_r with the gate g_j, whose penalty ‖a‖² + ‖b‖²
        is 2σ_r.
        """
        gate, a, b = [], [], []
        for j in self.active:
            u, sigma, zt = np.linalg.svd(self.V[j], full_matrices=False)
            for r in np.flatnonzero(sigma > max(self.V[j].shape) * np.finfo(np.float64).eps * sigma[0]):
                gate.append(j)
                a.append(np.sqrt(sigma[r]) * u[:, r])
                b.append(np.sqrt(sigma[r]) * zt[r])
        p, c = self.V.shape[1:]
        return np.array(gate, dtype=int), np.reshape(a, (-1, p)).T, np.reshape(b, (-1, c))


def solve_gated(
    rows: ArrayRows,
    gates: NDArray,
    alpha: float,
    *,
    norm: Norm = "nuclear",
    intercept: bool = True,
    tol: float = 1e-8,
    max_rounds: int = 100,
    start: NDArray | None = None,
) -> GatedSolution:
    """Minimise the loss over all networks whose neurons have the given gates, however many neurons a gate has.

        (1/n) Σ_i w_i ‖f(x_i) − y_i‖² + 2·alpha Σ_j ‖V_j‖ + alpha ‖b0‖²,    f(x) = Σ_j 1[x̃ᵀg_j > 0] x̃ᵀV_j + b0

    With V_j = Σ a bᵀ over the neurons of gate j, 2‖V_j‖ with the nuclear norm is the least Σ ‖a‖² + ‖b‖², so this is
    the loss of :mod:`anmin.objective` at its best (Mishkin, Sahiner & Pilanci 2022, with a bias; β of the convex papers
    is 2·alpha for a loss without their ½). For one output the norm is the Euclidean one.

    An active set: in each round one visit to the rows gives the conditions of optimality of all gates, those that
    violate them most join the working set, and the problem of the working set is solved from where it was: by
    accelerated proximal gradient (:class:`anmin.solvers.accelerated.Accelerated`) through the rows, and where that
    takes longer than forming the sums of squares, from these and with Newton's method
    (:class:`anmin.solvers.group_problem.GroupProblem`).

    One output, or the norm "outputs", may have inputs of any scale. The nuclear norm of several outputs takes a unit of
    every input for equally far in all that is done, so inputs should be of about one size, as they are when
    standardised: from a factor of some thousand between sizes on the rounds may run out, which the status says.

    Parameters
    ----------
    rows : ArrayRows
    gates : ndarray of shape (p, P)
        g_j, bias first. Their lengths do not matter.
    alpha : float >= 0
        At 0 the solution is that of least squares with the least norm.
    norm : {"nuclear", "outputs", "ridge"}
        Of V_j, for several outputs: the sum of its singular values, or of the lengths of its columns, by which no two
        outputs share a neuron. With "ridge" the penalty is alpha Σ_j ‖V_j‖_F² instead, of which no weights are zero.
    intercept : bool
        Whether there is an output bias; b0 is 0 without.
    tol : float >= 0
        Of the residual.
    max_rounds : int >= 1
    start : ndarray of shape (P, p, c), optional
        Weights to start from, such as those of a larger penalty. A ridge penalty has no use for it.

    Raises
    ------
    ValueError
        If a parameter is not as described, a gate is zero, or two have the same direction.
    """
    design = _checked_design(rows, gates, [alpha], norm, intercept)
    shape = (design.gates.shape[1], len(design.gates), rows.n_outputs)
    if start is not None and (np.shape(start) != shape or not np.isfinite(start).all()):
        raise ValueError(f"start must be finite and of shape {shape}; got shape {np.shape(start)}.")
    return _solution(GatedProgram(design, float(alpha), norm), tol, max_rounds, start)


def gated_path(
    rows: ArrayRows,
    gates: NDArray,
    alphas: Sequence[float] | NDArray,
    *,
    norm: Norm = "nuclear",
    intercept: bool = True,
    tol: float = 1e-8,
    max_rounds: int = 100,
) -> list[GatedSolution]:
    """Solve the gated program for several penalties, each from the solution of the one before.

    The sums of the rows are made once for all of them, where the gates in use are the same.

    Parameters
    ----------
    alphas : sequence of float >= 0
        In any order; :func:`largest_alpha` is the one from which on all weights are zero.
    rows, gates, norm, intercept, tol, max_rounds
        As for :func:`solve_gated`.

    Returns
    -------
    list of GatedSolution
        From the largest penalty down.

    Raises
    ------
    ValueError
        As :func:`solve_gated`, or if there are no penalties.
    """
    design = _checked_design(rows, gates, alphas, norm, intercept)
    found: list[GatedSolution] = []
    for alpha in sorted(map(float, alphas), reverse=True):
        start = found[-1].V if found else None
        found.append(_solution(GatedProgram(design, alpha, norm), tol, max_rounds, start))
    return found


def largest_alpha(rows: ArrayRows, gates: NDArray, *, norm: Norm = "nuclear", intercept: bool = True) -> float:
    """Return the penalty from which on all weights V_j are zero; of a ridge penalty, infinity.

    It is the largest alpha with max_j ‖C_j‖ = alpha, where C_j = (1/n) Σ_i w_i 1[x̃_iᵀg_j > 0] x̃_i (y_i − b0)ᵀ, in the
    dual norm, and b0 = Σ_i w_i y_i / (n(1 + alpha)).

    Parameters
    ----------
    rows, gates, norm, intercept
        As for :func:`solve_gated`.
    """
    design = _checked_design(rows, gates, [1.0], norm, intercept)
    if norm == "ridge":
        return np.inf
    everything = np.arange(design.gates.shape[1])

    def excess(alpha: float) -> float:
        C = GatedProgram(design, alpha, norm).groups(design.linear(everything, alpha))
        return float(spectral_norms(C).max()) - alpha

    # Convex in the share of the mean that b0 takes up, 1/(1 + alpha), so it is largest at an end: all, or nothing.
    high = max(excess(0.0), float(spectral_norms(GatedProgram(design, 1.0, norm).groups(design.cross)).max()) / rows.n)
    for low in high * np.geomspace(1.0, 1e-6, _PENALTIES):
        if excess(low) >= 0:
            found = high if low == high else float(brentq(excess, low, high, xtol=1e-15 * high, rtol=1e-14))
            return float(found * (1 + 1e-12))
        high = low
    return float(high)


def _checked_design(
    rows: ArrayRows, gates: NDArray, alphas: Sequence[float] | NDArray, norm: str, intercept: bool
) -> GatedDesign:
    gates = checked_gates(gates, rows.n_features + 1)
    if not len(alphas):
        raise ValueError("alphas must have at least one penalty; got none.")
    for alpha in alphas:
        check_alpha(alpha)
    if norm not in get_args(Norm):
        raise ValueError(f"norm must be one of {', '.join(map(repr, get_args(Norm)))}; got {norm!r}.")
    return GatedDesign(rows, gates, intercept)


def _solution(program: GatedProgram, tol: float, max_rounds: int, start: NDArray | None) -> GatedSolution:
    design, alpha = program.design, program.alpha
    V = np.zeros_like(design.cross) if start is None else np.array(start, dtype=np.float64)
    C = design.linear(np.arange(len(V)), alpha)
    largest, rounds = float(spectral_norms(program.groups(C)).max()), 1
    if alpha == 0 or program.norm == "ridge":
        V = program.smooth(tol * largest)
        look = program.look(V)
        # Solved exactly but for rounding; conjugate gradients may take more steps than they are given.
        converged = program.exactly_smooth or look.residual <= 10 * tol * largest
    else:
        # Down to the penalty asked for by way of larger ones, whose solutions are near each other and have fewer gates.
        level, gradient = alpha if start is not None else max(alpha, _FALL * largest), C
        while level > alpha and rounds < max_rounds:
            rough = GatedProgram(design, level, program.norm)
            V = rough.improved(V, gradient, max(_ROUGHLY * level, tol * largest))
            rounds, level = rounds + 1, max(alpha, _FALL * level)
            gradient = program.look(V).gradient
        look = program.look(V)
        while look.residual > tol * largest and rounds < max_rounds:
            V = program.improved(V, look.gradient, max(_INNER * tol * largest, _ROUGHLY * look.residual))
            look, rounds = program.look(V), rounds + 1
        converged = look.residual <= tol * largest
    residual = look.residual / largest if largest > 0 else 0.0
    status = Status.CONVERGED if converged else Status.MAX_ITER
    return GatedSolution(design.gates, alpha, V, look.b0, look.objective, look.bound, residual, status, rounds)


def check_alpha(alpha: float) -> float:
    """Return alpha as a float, or raise ValueError unless it is finite and at least 0."""
    if not (np.isfinite(alpha) and alpha >= 0):
        raise ValueError(f"alpha must be a finite number of at least 0; got {alpha!r}.")
    return float(alpha)


def checked_gates(gates: NDArray, p: int) -> NDArray:
    """Return gates (p, P) as float64, or raise ValueError if they are none."""
    gates = np.asarray(gates, dtype=np.float64)
    if gates.ndim != 2 or gates.shape[0] != p or gates.shape[1] == 0:
        raise ValueError(
            f"gates must have shape ({p}, gates): one row for the bias and one for each input; got {gates.shape}."
        )
    if not np.isfinite(gates).all():
        raise ValueError("gates must be finite.")
    lengths = np.linalg.norm(gates, axis=0)
    if not lengths.all():
        raise ValueError(f"gates must not be zero; number {np.flatnonzero(lengths == 0)[0]} is.")
    _, first, counts = np.unique(np.round(gates / lengths, 12), axis=1, return_index=True, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"gates must differ in direction; number {first[counts > 1][0]} is there more than once.")
    return gates
