"""The gated-ReLU program: a convex problem whose solution is the best network with given gates, of any width."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from anmin.history import Status
from anmin.rows.arrays import ArrayRows
from anmin.rows.gated import through
from anmin.rows.patterns import Pattern
from anmin.solvers.groups import GroupProblem, nuclear_norms, residuals, spectral_norms

Norm = Literal["nuclear", "outputs"]
_FEWEST_ADDED = 16  # gates that join the working set in a round, at least
_INNER = 0.3  # of the tolerance asked for, for the working set alone
_FALL = 0.3  # of the penalty, from one level to the next
_ROUGHLY = 0.1  # of the residual there is: how exactly a working set is solved that is not the last


@dataclass(frozen=True, eq=False)
class GatedSolution:
    """The solution of the gated program, f(x) = Σ_j 1[x̃ᵀg_j > 0] x̃ᵀV_j + b0.

    Attributes
    ----------
    gates : ndarray of shape (p, P)
        g_j, bias first.
    V : ndarray of shape (P, p, c)
        Zero for gates that the solution does without.
    b0 : ndarray of shape (c,)
    objective : float
        What :func:`solve_gated` minimises, at the solution.
    bound : float
        A lower bound of it, from a feasible point of the dual: no weights for these gates have a smaller objective.
        0 without a penalty.
    residual : float
        How far the conditions of optimality are from holding, as a part of the penalty at which all weights are zero.
    status : Status
    n_rounds : int
        Visits to the rows.
    """

    gates: NDArray
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
    violate them most join the working set, and the problem of the working set is solved from its sums alone
    (:class:`anmin.solvers.groups.GroupProblem`), from where it was.

    Inputs should be of about one size, as they are when standardised: the norms take a unit of every input for equally
    far, and from a factor of some thousand between sizes on the rounds may run out.

    Parameters
    ----------
    rows : ArrayRows
    gates : ndarray of shape (p, P)
        g_j, bias first. Their lengths do not matter.
    alpha : float >= 0
        At 0 the solution is that of least squares with the least norm.
    norm : {"nuclear", "outputs"}
        Of V_j, for several outputs: the sum of its singular values, or of the lengths of its columns, by which no two
        outputs share a neuron.
    tol : float >= 0
        Of the residual.
    max_rounds : int >= 1
    start : ndarray of shape (P, p, c), optional
        Weights to start from, such as those of a larger penalty.

    Raises
    ------
    ValueError
        If a parameter is not as described, a gate is zero, or two have the same direction.
    """
    gates = checked_gates(gates, rows.n_features + 1)
    p, P = gates.shape
    shape = (P, p, rows.n_outputs)
    alpha = check_alpha(alpha)
    if norm not in get_args(Norm):
        raise ValueError(f"norm must be one of {', '.join(map(repr, get_args(Norm)))}; got {norm!r}.")
    if start is not None and (np.shape(start) != shape or not np.isfinite(start).all()):
        raise ValueError(f"start must be finite and of shape {shape}; got shape {np.shape(start)}.")
    program = _Program(rows, gates, alpha, norm)
    V = np.zeros(shape) if start is None else np.array(start, dtype=np.float64)
    largest = program.look(np.zeros(shape)).largest
    if alpha == 0:
        V = program.without_penalty()
    look, rounds = program.look(V), 1
    # Down to the penalty asked for by way of larger ones, whose solutions are near each other and have fewer gates.
    level = alpha if start is not None else max(alpha, _FALL * largest)
    while level > alpha > 0 and rounds < max_rounds:
        rough = replace(program, alpha=level)
        V = rough.improved(V, rough.look(V), _ROUGHLY * level)
        rounds, level = rounds + 1, max(alpha, _FALL * level)
    look = program.look(V)
    while alpha > 0 and look.residual > tol * largest and rounds < max_rounds:
        V = program.improved(V, look, max(_INNER * tol * largest, _ROUGHLY * look.residual))
        look, rounds = program.look(V), rounds + 1
    converged = alpha == 0 or look.residual <= tol * largest
    residual = look.residual / largest if largest > 0 else 0.0
    status = Status.CONVERGED if converged else Status.MAX_ITER
    return GatedSolution(gates, V, look.b0, look.objective, look.bound, residual, status, rounds)


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


class _Look(NamedTuple):
    """What a visit to the rows tells: −½ times the gradient of the squared error, and what follows from it."""

    gradient: NDArray
    b0: NDArray
    objective: float
    bound: float
    residual: float
    largest: float  # dual norm of the gradient


@dataclass(frozen=True, eq=False)
class _Program:
    rows: ArrayRows
    gates: NDArray
    alpha: float
    norm: Norm

    @cached_property
    def pattern(self) -> Pattern:
        return self.rows.pattern(self.gates)

    @cached_property
    def Y(self) -> NDArray:
        return self.rows.Y.astype(np.float64, copy=False)

    @cached_property
    def y_sum(self) -> NDArray:
        w = self.rows.w
        return (self.Y if w is None else self.Y * w[:, None]).sum(axis=0)

    @cached_property
    def sums(self) -> NDArray:
        """Σ_i w_i 1[x̃_iᵀg_j > 0] x̃_i, (P, p)."""
        rows = self.rows
        return through(rows.X, self.pattern, rows.w, None, np.ones((rows.n_rows, 1)), 0.0)[:, 0]

    def look(self, V: NDArray) -> _Look:
        """Visit the rows."""
        rows, n, alpha = self.rows, self.rows.n, self.alpha
        b0 = (self.y_sum - np.einsum("jp,jpc->c", self.sums, V)) / (n * (1 + alpha))
        R = b0 - self.Y
        gradient = -through(rows.X, self.pattern, rows.w, np.ascontiguousarray(V.transpose(0, 2, 1)), R, 0.0) / n
        gradient = np.ascontiguousarray(gradient.transpose(0, 2, 1))
        WR = R if rows.w is None else R * rows.w[:, None]
        sse, with_y, mean = float(np.vdot(WR, R)), float(np.vdot(WR, self.Y)), WR.sum(axis=0) / n
        groups, slopes = self._groups(V), self._groups(gradient)
        objective = sse / n + 2 * alpha * float(nuclear_norms(groups).sum()) + alpha * float(b0 @ b0)
        largest = float(spectral_norms(slopes).max())
        bound = 0.0
        if alpha > 0:
            # From (f − y)² >= 2z(f − y) − z² with z = θ(f − y): feasible where θ·largest <= alpha.
            square = sse / n + float(mean @ mean) / alpha
            theta = max(-with_y / n / square, 0.0) if square > 0 else 0.0
            theta = min(theta, alpha / largest) if largest > 0 else theta
            bound = max(-2 * theta * with_y / n - theta**2 * square, 0.0)
        residual = float(residuals(groups, slopes, alpha).max())
        return _Look(gradient, b0, objective, bound, residual, largest)

    def improved(self, V: NDArray, look: _Look, tol: float) -> NDArray:
        """Return the solution for the gates in use and those that are missed most."""
        slopes = self._groups(look.gradient)
        missed = np.maximum(spectral_norms(slopes) - self.alpha, 0.0).reshape(len(V), -1).max(axis=1)
        used = np.flatnonzero(np.any(V, axis=(1, 2)))
        missed[used] = 0.0
        worst = np.argsort(-missed, kind="stable")[: max(_FEWEST_ADDED, len(used))]
        working = np.union1d(used, worst[missed[worst] > 0])
        after = np.zeros_like(V)
        after[working] = self._solved(working, V[working], tol)
        return after

    def without_penalty(self) -> NDArray:
        """Return the weights of least norm that minimise the squared error."""
        H, C = self._sums_of(np.arange(self.gates.shape[1]))
        return GroupProblem(H, C, 0.0).least_squares()

    def _solved(self, working: NDArray, V: NDArray, tol: float) -> NDArray:
        H, C = self._sums_of(working)
        if self.norm == "nuclear" or V.shape[2] == 1:
            return GroupProblem(H, C, self.alpha).solved(V, tol)
        columns = [
            GroupProblem(H, C[:, :, k : k + 1], self.alpha).solved(V[:, :, k : k + 1], tol) for k in range(V.shape[2])
        ]
        return np.concatenate(columns, axis=2)

    def _sums_of(self, working: NDArray) -> tuple[NDArray, NDArray]:
        """Return H and C of :class:`GroupProblem` with the output bias solved out."""
        sums = self.rows.statistics(self.gates[:, working])
        m, p = sums.s.shape
        s, n, shrink = sums.s.reshape(m * p), sums.n, 1 / (sums.n * (1 + self.alpha))
        H = (sums.U.reshape(m * p, m * p) - shrink * np.outer(s, s)) / n
        C = (sums.V - shrink * sums.s[:, :, None] * sums.y_sum) / n
        return H, C

    def _groups(self, V: NDArray) -> NDArray:
        """Return the groups whose norms are added up, each as a matrix."""
        if self.norm == "nuclear" or V.shape[2] == 1:
            return V
        return V.transpose(0, 2, 1).reshape(-1, V.shape[1], 1)
