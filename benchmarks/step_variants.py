"""Other steps than the plain one of variable projection, for :mod:`steps`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from anmin.blas import Matrix
from anmin.history import Record
from anmin.rows import ArrayRows
from anmin.solvers import Problem, State, VarPro
from anmin.solvers.levenberg_marquardt import LEAST_DAMPING, LEAST_GAIN, MOST_DAMPING
from anmin.solvers.systems import cross_terms, output_layer, output_system, projected_system, solve_semidefinite
from anmin.solvers.varpro import DenseSystem, VarProState
from anmin.statistics import OutputStatistics, PatternStatistics

LONGEST, LINE_PASSES, NARROW = 8.0, 8, 0.1  # the range of the line searches, in steps, and when the sampled one ends
TRUSTED = 0.75  # share of the decrease at the frozen pattern from which its damping is taken over


@dataclass(frozen=True)
class Varied(VarPro):
    """Variable projection with a choice of how far to go along a step that would be taken; here, no further."""

    def step(self, problem: Problem, state: State) -> VarProState:
        """Return the state after one step that lowers the loss, or the same one, settled, if there is none."""
        assert isinstance(state, VarProState)
        M, gradient = system(projected_system, problem, state)
        return self.descend(problem, state, M, np.diagonal(M), gradient, "step")

    def descend(
        self, problem: Problem, state: VarProState, M: NDArray, diagonal: NDArray, gradient: NDArray, branch: str
    ) -> VarProState:
        """Return the state after a step with this matrix, damped by this diagonal, in the way of VarPro."""
        A0, slope = state.network.A, problem.negative_slope
        diagonal = np.maximum(diagonal, np.finfo(np.float64).eps * diagonal.max(initial=np.finfo(np.float64).tiny))
        optimality = float(np.max(np.abs(gradient) / np.sqrt(diagonal * max(state.loss, 1e-300))))
        damping, growth = state.damping, 2.0
        while damping <= MOST_DAMPING and optimality > self.optimality_tol:
            step = DenseSystem(Matrix(M), gradient, diagonal).solve(damping)
            if step is not None:
                predicted = float(step @ (damping * diagonal * step - gradient))
                if predicted <= self.decrease_tol * state.loss:
                    break
                A = A0 + step.reshape(A0.T.shape).T
                loss, B, b0 = value(problem, A)
                gain = (state.loss - loss) / predicted
                if gain > LEAST_GAIN:
                    length = self.length(problem, A0, A, B, b0, loss)
                    if length != 1.0:
                        A, branch = A0 + length * (A - A0), "line"
                    after = problem.rows.statistics(A, slope, state.statistics)
                    record = Record(optimality=optimality, damping=damping, branch=branch)
                    taken = self._at(problem, A, after, record, changed_damping(damping, gain))
                    return taken if taken.loss < state.loss else self._settled(state, optimality)
            damping, growth = damping * growth, growth * 2
        return self._settled(state, optimality)

    def length(self, problem: Problem, A0: NDArray, A: NDArray, B: NDArray, b0: NDArray, loss: float) -> float:
        """Return how far to go from A0 to A, in units of that step; at A, with (B, b0), the loss is lower."""
        return 1.0


@dataclass(frozen=True, eq=False)
class LateState(VarProState):
    """A state with the share of the loss by which the last step lowered it."""

    fall: float = math.inf


@dataclass(frozen=True)
class NewtonLate(Varied):
    """Steps with the exact matrix of the frozen pattern, once a step lowers the loss by less than this share of it.

    Where no damping of it gives a lower loss, the iteration takes the Gauss–Newton step. The damping is in units of the
    Gauss–Newton diagonal, which is positive.
    """

    below: float = 1e-2

    def step(self, problem: Problem, state: State) -> LateState:
        """Return the state after one step that lowers the loss, or the same one, settled, if there is none."""
        assert isinstance(state, VarProState)
        M, gradient = system(projected_system, problem, state)
        diagonal, after = np.diagonal(M).copy(), None
        if isinstance(state, LateState) and state.fall < self.below:
            after = self.descend(problem, state, system(newton_matrix, problem, state, M), diagonal, gradient, "newton")
        if after is None or after.settled:
            after = self.descend(problem, state, M, diagonal, gradient, "step")
        return LateState(**{**vars(after), "fall": 1 - after.loss / state.loss})


@dataclass(frozen=True)
class Inner(VarPro):
    """Several steps at the frozen pattern, from its sums alone, tried together; if they fail, the first of them.

    If that fails too, the step is a plain one with more damping. The damping is that of the last inner step where the
    loss falls about as far as at the frozen pattern, otherwise it changes by the ratio of the two.
    """

    count: int = 2

    def step(self, problem: Problem, state: State) -> VarProState:
        """Return the state after one step that lowers the loss, or the same one, settled, if there is none."""
        assert isinstance(state, VarProState)
        frozen = replace(problem, rows=cast(ArrayRows, Frozen(state.statistics, problem.rows.n_rows)))
        inner = [state]
        while len(inner) <= self.count and not inner[-1].settled:
            inner.append(super().step(frozen, inner[-1]))
        inner = [one for one in inner[1:] if not one.settled]
        for tried in inner[:0:-1][:1] + inner[:1]:
            promised = state.loss - tried.loss
            gain = (state.loss - value(problem, tried.network.A)[0]) / promised
            if gain > LEAST_GAIN:
                A = tried.network.A
                after = problem.rows.statistics(A, problem.negative_slope, state.statistics)
                damping = tried.damping if gain > TRUSTED else changed_damping(state.damping, gain)
                record = replace(tried.record, branch="step" if tried is inner[0] else "inner")
                taken = self._at(problem, A, after, record, damping)
                return taken if taken.loss < state.loss else self._settled(state, record.optimality)
        return super().step(problem, replace(state, damping=2 * state.damping) if inner else state)


@dataclass(frozen=True)
class Frozen:
    """Rows of which only the sums at one pattern are known: they stand for that pattern wherever the weights are."""

    sums: PatternStatistics
    n_rows: int
    device: str | None = None

    def statistics(self, *_: Any) -> PatternStatistics:
        """Return the sums."""
        return self.sums

    def output_statistics(self, A: NDArray, negative_slope: float, *_: Any) -> OutputStatistics:
        """Return the output-layer sums of the frozen-pattern model."""
        return self.sums.output(A)


@dataclass(frozen=True)
class LineSearch(Varied):
    """Steps of a length with nearly the least loss along them, found by light passes: doubling, then golden section."""

    def length(self, problem: Problem, A0: NDArray, A: NDArray, B: NDArray, b0: NDArray, loss: float) -> float:
        """Return the best length that was tried."""
        low, best, high, passes = 0.0, 1.0, 2.0, LINE_PASSES

        def at(t: float) -> float:
            return value(problem, A0 + t * (A - A0))[0]

        while (further := at(high)) < loss:
            passes -= 1
            low, best, loss, high = best, high, further, 2 * high
            if high > LONGEST:
                return best
        for _ in range(passes - 1):
            if high - low <= NARROW * best:
                break
            upper = high - best > best - low
            t = best + 0.382 * ((high if upper else low) - best)
            if (tried := at(t)) < loss:
                low, best, high, loss = (best, t, high, tried) if upper else (low, t, best, tried)
            else:
                low, high = (low, t) if upper else (t, high)
        return best


@dataclass(frozen=True)
class ExactLine(Varied):
    """Steps of the length with the least loss along them for the output layer that is best at length 1."""

    def length(self, problem: Problem, A0: NDArray, A: NDArray, B: NDArray, b0: NDArray, loss: float) -> float:
        """Return the best length."""
        return best_length(problem, A0, A - A0, B, b0)


def system(function: Callable, problem: Problem, state: VarProState, *rest: Any) -> Any:
    """Return a function of the statistics, the network and the penalty."""
    network = state.network
    return function(state.statistics, network.A, network.B, network.b0, problem.alpha, *rest)


def value(problem: Problem, A: NDArray) -> tuple[float, NDArray, NDArray]:
    """Return the loss of A with its best output layer, and that layer: a light pass."""
    output = problem.rows.output_statistics(A, problem.negative_slope)
    B, b0 = output_layer(output, problem.alpha)
    return output.loss(A, B, b0, problem.alpha), B, b0


def changed_damping(damping: float, gain: float) -> float:
    """Return the next damping by Nielsen's rule, as VarPro has it."""
    return max(damping * max(1 / 3, 1 - (2 * min(gain, 1.0) - 1) ** 3), LEAST_DAMPING)


def newton_matrix(
    statistics: PatternStatistics, A: NDArray, B: NDArray, b0: NDArray, alpha: float, M: NDArray
) -> NDArray:
    """Return half the second derivative (h·p, h·p) of the frozen-pattern loss with the output layer solved out.

    With halves throughout, H_AA − H_Aθ H_θθ⁻¹ H_θA has, for each output k, H_θθ = K and the column m of H_Aθ

        Ĉ_(j),m b_jk + [j = m] r_jk,        r_j = Ĉ_(j) [B; b0] − V_j/n    (p, c)

    of which the Gauss–Newton matrix M lacks the residual terms r. What is left of their products with K⁻¹ are products
    of entries, for they belong to one neuron each.
    """
    h, p = statistics.s.shape
    C = cross_terms(statistics, A)
    r = C @ np.vstack([B, b0]) - statistics.V / statistics.n
    inverse = solve_semidefinite(output_system(statistics.output(A), alpha)[0], np.eye(h + 1))
    mixed = (C @ inverse)[:, :, :h, None] * np.einsum("jk,lqk->jlq", B, r)[:, None]
    flat = r.reshape(h * p, -1)
    squared = (flat @ flat.T).reshape(h, p, h, p) * inverse[:h, None, :h, None]
    mixed = mixed.reshape(h * p, h * p)
    return M - mixed - mixed.T - squared.reshape(h * p, h * p)


def best_length(problem: Problem, A: NDArray, step: NDArray, B: NDArray, b0: NDArray) -> float:
    """Return t in (0, 8] of the least loss of A + t·step with the output layer (B, b0).

    A neuron that a row switches at t_ij = −z_ij/dz_ij adds (1 − negative_slope) |dz_ij| (t − t_ij)₊ b_j to that row's
    residuals, so the loss is quadratic between the sorted t_ij.
    """
    rows, slope = problem.rows, problem.negative_slope
    Xt = np.column_stack([np.ones(rows.n_rows), rows.X])
    w = np.full(rows.n_rows, 1 / rows.n) if rows.w is None else rows.w / rows.n
    Z, D = Xt @ A, Xt @ step
    G = np.where((Z > 0) | ((Z == 0) & (D > 0)), 1.0, slope)
    residual, change = (G * Z) @ B + b0 - rows.Y, (G * D) @ B
    row, neuron = np.nonzero((Z * D < 0) & (np.abs(Z) < LONGEST * np.abs(D)))
    switch = -Z[row, neuron] / D[row, neuron]
    order = np.lexsort((switch, row))
    row, neuron, switch = row[order], neuron[order], switch[order]
    kink = (1 - slope) * np.abs(D[row, neuron])[:, None] * B[neuron]
    # Intercept and slope of each row's residuals before and after each of its switches.
    first = np.searchsorted(row, row)
    parts = []
    for jump, start in ((-kink * switch[:, None], residual), (kink, change)):
        total = np.vstack([np.zeros((1, B.shape[1])), np.cumsum(jump, axis=0)])
        before = start[row] + total[:-1] - total[first]
        parts.append((before, before + jump))
    (r, r_after), (d, d_after) = parts
    jumps = np.stack([r_after**2 - r**2, 2 * (r_after * d_after - r * d), d_after**2 - d**2]).sum(axis=2) * w[row]
    order = np.argsort(switch)
    whole = np.stack([residual**2, 2 * residual * change, change**2]).sum(axis=2) @ w
    whole += problem.alpha * np.array([np.sum(A**2), 2 * np.sum(A * step), np.sum(step**2)])
    c0, c1, c2 = whole[:, None] + np.hstack([np.zeros((3, 1)), np.cumsum(jumps[:, order], axis=1)])
    ends = np.concatenate([[0.0], switch[order], [LONGEST]])
    t = np.clip(-c1 / np.maximum(2 * c2, np.finfo(np.float64).tiny), ends[:-1], ends[1:])
    return float(t[np.argmin(c0 + t * (c1 + t * c2))])


PLAIN = "gauss_newton"
VARIANTS: dict[str, tuple[VarPro, str]] = {
    PLAIN: (VarPro(), "plain: Gauss–Newton matrix, one step a pass"),
    "newton_late_2": (NewtonLate(below=1e-2), "Newton matrix after steps of less than 1e-2 of the loss"),
    "newton_late_3": (NewtonLate(below=1e-3), "Newton matrix after steps of less than 1e-3 of the loss"),
    "inner_2": (Inner(count=2), "2 inner steps at the frozen pattern"),
    "inner_5": (Inner(count=5), "5 inner steps at the frozen pattern"),
    "line_search": (LineSearch(), "line search by light passes"),
    "exact_line": (ExactLine(), "exact line search at a fixed output layer"),
}
