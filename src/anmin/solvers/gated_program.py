"""The gated program at one penalty: its conditions of optimality, and steps towards them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anmin.solvers.accelerated import Accelerated
from anmin.solvers.gated_design import MOST_FORMED, GatedDesign, RowQuadratic
from anmin.solvers.group_problem import GroupProblem
from anmin.solvers.groups import nuclear_norms, residuals, spectral_norms
from anmin.solvers.systems import solve_semidefinite

Norm = Literal["nuclear", "outputs", "ridge"]
_FEWEST_ADDED = 16  # gates that join the working set in a round, at least
_FEWEST_STEPS, _MOST_STEPS = 20, 20_000
_CONJUGATE_STEPS = 10_000
_PATIENCE = 1.5  # with products by the rows, of the time that forming H takes


class Look(NamedTuple):
    """What a visit to the rows tells: −½ times the gradient of the squared error, and what follows from it.

    ``residual`` is the length of the least subgradient of half the objective, and ``largest`` the dual norm of the
    gradient, the largest over the groups.
    """

    gradient: NDArray
    b0: NDArray
    objective: float
    bound: float
    residual: float
    largest: float


@dataclass(frozen=True, eq=False)
class GatedProgram:
    """The program of :func:`anmin.solvers.gated.solve_gated` at one penalty."""

    design: GatedDesign
    alpha: float
    norm: Norm

    @property
    def matrices(self) -> bool:
        """Whether the groups are the matrices V_j, or else their columns."""
        return self.norm == "nuclear" and self.design.rows.n_outputs > 1

    def look(self, V: NDArray) -> Look:
        """Visit the rows."""
        design, n, alpha = self.design, self.design.rows.n, self.alpha
        w = design.rows.w
        b0 = design.shrink(alpha) * (design.y_sum - np.einsum("jp,jpc->c", design.sums, V))
        R = design.along(V)
        R += b0 - design.Y
        gradient = design.against(R) / -n
        WR = R if w is None else R * w[:, None]
        sse, with_y, mean = float(np.vdot(WR, R)), float(np.vdot(WR, design.Y)), WR.sum(axis=0) / n
        groups, slopes = self.groups(V), self.groups(gradient)
        largest = float(spectral_norms(slopes).max())
        loss = sse / n + alpha * float(b0 @ b0)
        if self.norm == "ridge" or alpha == 0:
            residual = float(np.linalg.norm(gradient - alpha * V))
            objective = loss + alpha * float(np.vdot(V, V))
            # Half the objective has a curvature of at least alpha.
            bound = max(objective - residual**2 / alpha, 0.0) if alpha > 0 else 0.0
            return Look(gradient, b0, objective, bound, residual, largest)
        # From (f − y)² >= 2z(f − y) − z² with z = θ(f − y): feasible where θ·largest <= alpha.
        square = sse / n + (float(mean @ mean) / alpha if design.intercept else 0.0)
        theta = max(-with_y / n / square, 0.0) if square > 0 else 0.0
        theta = min(theta, alpha / largest) if largest > 0 else theta
        bound = max(-2 * theta * with_y / n - theta**2 * square, 0.0)
        objective = loss + 2 * alpha * float(nuclear_norms(groups).sum())
        residual = float(np.linalg.norm(residuals(groups, slopes, alpha)))
        return Look(gradient, b0, objective, bound, residual, largest)

    def improved(self, V: NDArray, gradient: NDArray, tol: float) -> NDArray:
        """Return the solution for the gates in use and those that are missed most at V, whose gradient this is."""
        missed = np.maximum(spectral_norms(self.groups(gradient)) - self.alpha, 0.0).reshape(len(V), -1).max(axis=1)
        used = np.flatnonzero(np.any(V, axis=(1, 2)))
        missed[used] = 0.0
        worst = np.argsort(-missed, kind="stable")[: max(_FEWEST_ADDED, len(used))]
        working = np.union1d(used, worst[missed[worst] > 0])
        after = np.zeros_like(V)
        if working.size:
            after[working] = self._solved(working, V[working], tol)
        return after

    def _solved(self, working: NDArray, V: NDArray, tol: float) -> NDArray:
        """Return the solution with these gates alone: by the rows, until forming H would have taken no longer."""
        design, m = self.design, len(working)
        by_rows = RowQuadratic(design, working, self.alpha)
        first = Accelerated(by_rows, self.alpha, self.matrices)
        quicker = design.rows_are_quicker(m)
        # Without single columns there is no Newton's method, for which alone a matrix would be formed.
        forming = np.inf if quicker and self.matrices else 0.0 if design.knows(working) else design.seconds_to_form(m)
        steps = min(float(_MOST_STEPS), _PATIENCE * forming / design.seconds_of_product(m))
        if forming > 0 or quicker:
            steps = max(steps, _FEWEST_STEPS)
        found = first.solved(V, tol, int(steps))
        if found.residual <= tol or forming == np.inf:
            return found.V
        H = design.formed(working, self.alpha)
        problem = GroupProblem(H, by_rows.C, self.alpha, self.matrices, by_rows if quicker else None)
        return problem.solved(found.V, tol, found.curvature).V

    @property
    def exactly_smooth(self) -> bool:
        """Whether :meth:`smooth` solves a system that is formed."""
        return self.design.gates.size <= MOST_FORMED

    def smooth(self, tol: float) -> NDArray:
        """Return the solution of the ridge penalty, or of none, where it is that of least norm."""
        P, p = self.design.gates.shape[::-1]
        everything = np.arange(P)
        if not self.exactly_smooth:
            return self._by_conjugate_gradients(RowQuadratic(self.design, everything, self.alpha), tol)
        H = self.design.formed(everything, self.alpha)
        H[np.diag_indices_from(H)] += self.alpha
        C = self.design.linear(everything, self.alpha)
        return solve_semidefinite(H, C.reshape(P * p, -1)).reshape(C.shape)

    def _by_conjugate_gradients(self, quadratic: RowQuadratic, tol: float) -> NDArray:
        """Return the solution of (H + alpha·I)V = C, from zero on: where H is singular, that of least norm."""
        V = np.zeros_like(quadratic.C)
        rest, along = quadratic.C.copy(), quadratic.C.copy()
        square = np.einsum("jpc,jpc->c", rest, rest)
        for _ in range(_CONJUGATE_STEPS):
            if np.sqrt(square.sum()) <= tol:
                break
            curved = quadratic.product(along) + self.alpha * along
            slope = np.einsum("jpc,jpc->c", along, curved)
            share = np.divide(square, slope, out=np.zeros_like(square), where=slope > 0)
            V += share * along
            rest -= share * curved
            before, square = square, np.einsum("jpc,jpc->c", rest, rest)
            along = rest + np.divide(square, before, out=np.zeros_like(square), where=before > 0) * along
        return V

    def groups(self, V: NDArray) -> NDArray:
        """Return the groups whose norms are added up, each as a matrix."""
        if self.matrices or V.shape[2] == 1:
            return V
        return V.transpose(0, 2, 1).reshape(-1, V.shape[1], 1)
