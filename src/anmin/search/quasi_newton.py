"""Fits by losses that are minus the logarithm of a probability: both layers at once, by a quasi-Newton method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from anmin.blas import product, threads_for
from anmin.history import Record
from anmin.losses import Likelihood
from anmin.network import ReLUNetwork, activation
from anmin.objective import penalty
from anmin.rows.arrays import ArrayRows
from anmin.search.initialisation import rows_are_few
from anmin.search.reweighted import FEW_STEPS, loss_of, starting_network, surrogate_of
from anmin.solvers.problem import Problem, State
from anmin.solvers.systems import output_layer
from anmin.statistics import OutputStatistics
from anmin.threads import in_threads

_BLOCK_ENTRIES, _STRANDS = 2**18, 8  # of the rows × neurons of a block; sums that are added up side by side
_SUFFICIENT, _FLATTER = 1e-4, 0.9  # of the slope: by how much a step lowers the loss, and how flat it has become
_TRIALS = 40  # of the length of a step


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of the pattern at a network: they are :class:`anmin.solvers.problem.PatternSums`, made on demand.

    Attributes
    ----------
    rows : ArrayRows
    negative_slope : float
    bits : ndarray of shape (N, ceil(h/8)), uint8
        Which neurons are active on which rows.
    active : ndarray of shape (h,), integer
    flips : int
        As in :class:`anmin.statistics.PatternStatistics`.
    """

    rows: ArrayRows
    negative_slope: float
    bits: NDArray
    active: NDArray
    flips: int = 0

    def output(self, A: NDArray) -> OutputStatistics:
        """Return the output-layer sums at hidden weights A (p, h), by a pass over the rows."""
        return self.rows.output_statistics(A, self.negative_slope)

    def of_neurons(self, index: NDArray) -> Seen:
        """Return what is known of the neurons of these numbers alone."""
        on = np.unpackbits(self.bits, axis=1, count=len(self.active))[:, index]
        return replace(self, bits=np.packbits(on, axis=1), active=self.active[index], flips=0)


@dataclass(frozen=True, eq=False)
class QuasiNewtonState(State):
    """Where a :class:`QuasiNewton` stands.

    Attributes
    ----------
    gradient : ndarray of shape (k,)
        Of the loss, by A, B and b0 one after the other, each in C order.
    steps, changes : tuple of ndarray of shape (k,)
        The latest steps, and how the gradient changed in each; the latest is last.
    left : int or None
        Steps that are left where the rows are few.
    """

    gradient: NDArray
    steps: tuple[NDArray, ...] = ()
    changes: tuple[NDArray, ...] = ()
    left: int | None = None


class At(NamedTuple):
    """The loss at a network with its penalty, its gradient (k,), the mean squared error and the pattern."""

    network: ReLUNetwork
    loss: float
    gradient: NDArray
    mse: float
    seen: Seen


@dataclass(frozen=True)
class QuasiNewton:
    """The BFGS method of limited memory on all weights, for losses with ∂ℓ/∂f = mean(f) − y.

    A step goes along −H g, with the gradient g of the loss and the H that the latest steps give (Nocedal 1980). Its
    length is 1, or found by bisection: the loss itself must fall by at least 1e-4 of what the slope promises, and the
    slope become flatter (weak Wolfe conditions, which suit kinks: Lewis & Overton 2013). So the loss falls in every
    iteration. Where no length lowers it, the step goes down the gradient, and if that does not either, it has
    converged. Where the rows are few (:func:`anmin.search.initialisation.rows_are_few`), it takes some steps and no
    more.

    It begins at the best constant with hyperplanes through the data, and the output layer that would be best if each
    row's loss were a quadratic with the mean curvature there.

    Parameters
    ----------
    memory : int, default 10
        Steps that are remembered.

    References
    ----------
    Nocedal, Updating quasi-Newton matrices with limited storage, 1980. Lewis & Overton, Nonsmooth optimization via
    quasi-Newton methods, 2013.
    """

    memory: int = 10

    default_max_iter = None

    def check(self, problem: Problem) -> None:
        """Raise ValueError if the problem has no loss of its own, or one that is no logarithm of a probability."""
        if problem.loss is None or problem.loss.in_units:
            raise ValueError(
                "QuasiNewton lowers losses that are minus the logarithm of a probability; "
                f"got {'the squared one' if problem.loss is None else problem.loss}."
            )

    def required_bytes(self, n_features: int, n_neurons: int, n_outputs: int, n_rows: int = 0) -> int:
        """Return the bytes of the steps remembered, of the sums, and of what is known of the rows."""
        weights = n_neurons * (n_features + 1 + n_outputs) + n_outputs
        block = min(n_rows, max(256, _BLOCK_ENTRIES // n_neurons)) * (n_features + 4 * n_neurons + 4 * n_outputs)
        return 8 * ((2 * self.memory + 8 + _STRANDS) * weights + _STRANDS * block) + n_rows * n_neurons // 4

    def init(self, problem: Problem, network: ReLUNetwork | None, rng: np.random.Generator) -> QuasiNewtonState:
        """Return the state at ``network``, or at the start, with balanced neurons."""
        with threads_for(problem.n_neurons):
            at = evaluated(problem, _balanced(_start(problem, rng) if network is None else network))
        left = FEW_STEPS if rows_are_few(problem) else None
        return QuasiNewtonState(**_shown(problem, at), gradient=at.gradient, left=left)

    def step(self, problem: Problem, state: State) -> QuasiNewtonState:
        """Return the state after one step that lowers the loss, or the same one, settled, if there is none."""
        assert isinstance(state, QuasiNewtonState)
        with threads_for(problem.n_neurons):
            found = None if state.left == 0 else self._found(problem, state)
        if found is None:
            record = replace(state.record, pattern_changes=0, branch="settled")
            return replace(state, record=record, settled=True)
        step, change = weights_of(found.network) - weights_of(state.network), found.gradient - state.gradient
        steps, changes = state.steps, state.changes
        if step @ change > np.finfo(np.float64).eps * (change @ change):
            # Else there is no positive definite H that tells of this step.
            steps, changes = (*steps, step)[-self.memory :], (*changes, change)[-self.memory :]
        left = None if state.left is None else state.left - 1
        return QuasiNewtonState(
            **_shown(problem, found, state), gradient=found.gradient, steps=steps, changes=changes, left=left
        )

    def _found(self, problem: Problem, state: QuasiNewtonState) -> At | None:
        """Return where a step leads to, or None where neither it nor one down the gradient lowers the loss."""
        g = state.gradient
        if not g.any():
            return None
        found = None
        if state.steps:
            found = searched(problem, state, -times_inverse(g, state.steps, state.changes))
        # A first step of one unit in all.
        return searched(problem, state, -g / max(1.0, float(np.abs(g).sum()))) if found is None else found


def times_inverse(g: NDArray, steps: Sequence[NDArray], changes: Sequence[NDArray]) -> NDArray:
    """Return H g for the inverse Hessian H that BFGS makes of sᵀy/yᵀy·I by steps s and changes y, the latest last."""
    q, factors = g.copy(), []
    for s, y in zip(reversed(steps), reversed(changes), strict=True):
        factors.append(float(s @ q) / float(s @ y))
        q -= factors[-1] * y
    q *= float(steps[-1] @ changes[-1]) / float(changes[-1] @ changes[-1])
    for s, y, factor in zip(steps, changes, reversed(factors), strict=True):
        q += (factor - float(y @ q) / float(s @ y)) * s
    return q


def searched(problem: Problem, state: QuasiNewtonState, direction: NDArray) -> At | None:
    """Return where a step along a direction (k,) leads to, of a length by the weak Wolfe conditions, or None.

    If trials run out, it is where the loss was lowered enough last.
    """
    slope = float(state.gradient @ direction)
    if not slope < 0:
        return None
    theta, low, high, length = weights_of(state.network), 0.0, np.inf, 1.0
    best: At | None = None
    for _ in range(_TRIALS):
        at = evaluated(problem, network_of(theta + length * direction, state.network))
        if not at.loss <= state.loss + _SUFFICIENT * length * slope or not at.loss < state.loss:
            high = length
        elif float(at.gradient @ direction) < _FLATTER * slope:
            best, low = at, length
        else:
            return at
        length = (low + high) / 2 if np.isfinite(high) else 2 * length
    return best


def evaluated(problem: Problem, network: ReLUNetwork) -> At:
    """Return the loss of a network with its gradient, by one pass over the rows."""
    loss, rows, slope = cast(Likelihood, problem.loss), problem.rows, network.negative_slope
    A, B, b0, n, h = network.A, network.B, network.b0, rows.n_rows, network.n_neurons
    step = rows.block_rows or max(256, _BLOCK_ENTRIES // h)
    places = [slice(start, min(start + step, n)) for start in range(0, n, step)]
    strands = min(_STRANDS, len(places))
    bits = np.empty((n, -(-h // 8)), dtype=np.uint8)
    losses, squares, active = np.zeros(strands), np.zeros(strands), np.zeros((strands, h), dtype=np.int64)
    gradients = np.zeros((strands, network.n_parameters))

    def visit(place: slice, strand: int) -> None:
        X, Y = (values[place].astype(np.float64, copy=False) for values in (rows.X, rows.Y))
        Z = product(X, A[1:])
        Z += A[0]
        on = Z > 0
        S = activation(Z, slope)
        F = product(S, B)
        F += b0
        values, R = loss.slopes(F, Y)
        wR = R
        if rows.w is not None:
            values, wR = values * rows.w[place], R * rows.w[place, None]
        back = product(wR, B.T)
        back *= np.where(on, 1.0, slope) if slope else on
        losses[strand] += values.sum()
        squares[strand] += np.vdot(wR, R)
        active[strand] += on.sum(axis=0)
        bits[place] = np.packbits(on, axis=1)
        parts = (back.sum(axis=0), product(X.T, back).ravel(), product(S.T, wR).ravel(), wR.sum(axis=0))
        gradients[strand] += np.concatenate(parts)

    def task(part: int, parts: int) -> None:
        for strand in range(part, strands, parts):
            for place in places[strand::strands]:
                visit(place, strand)

    with np.errstate(over="ignore", invalid="ignore"):
        in_threads(task, operations=float(n) * h * (rows.n_features + 1))
        total = float(losses.sum()) / rows.n + problem.alpha * penalty(A, B, b0)
        gradient = gradients.sum(axis=0) / rows.n + 2 * problem.alpha * weights_of(network)
    seen = Seen(rows, slope, bits, active.sum(axis=0))
    finite = np.isfinite(total) and bool(np.isfinite(gradient).all())
    return At(network, total if finite else np.inf, gradient, float(squares.sum()) / (rows.n * rows.n_outputs), seen)


def weights_of(network: ReLUNetwork) -> NDArray:
    """Return A, B and b0 as one vector (k,)."""
    return np.concatenate([network.A.ravel(), network.B.ravel(), network.b0])


def network_of(theta: NDArray, like: ReLUNetwork) -> ReLUNetwork:
    """Return the network with the weights (k,) of :func:`weights_of`, and everything else as of another."""
    first, last = like.A.size, like.A.size + like.B.size
    A, B = theta[:first].reshape(like.A.shape), theta[first:last].reshape(like.B.shape)
    return replace(like, A=A, B=B, b0=theta[last:])


def _start(problem: Problem, rng: np.random.Generator) -> ReLUNetwork:
    assert problem.loss is not None
    network = starting_network(problem, rng)
    surrogate = surrogate_of(problem, problem.loss, network)
    output = surrogate.rows.output_statistics(network.A, network.negative_slope)
    B, b0 = output_layer(output, surrogate.alpha)
    solved = replace(network, B=B, b0=b0)
    finite = np.isfinite(B).all() and np.isfinite(b0).all()
    return solved if finite and loss_of(problem, solved) < loss_of(problem, network) else network


def _balanced(network: ReLUNetwork) -> ReLUNetwork:
    """Return the network balanced, but for neurons without output, which keep their hyperplanes."""
    balanced = network.balanced()
    return replace(balanced, A=np.where(np.any(balanced.A, axis=0), balanced.A, network.A))


def _shown(problem: Problem, at: At, before: QuasiNewtonState | None = None) -> dict[str, Any]:
    """Return what every state holds, at a network; ``before`` is the state that a step led from."""
    seen = at.seen
    if before is not None:
        assert isinstance(before.statistics, Seen)
        seen = replace(seen, flips=int(np.bitwise_count(seen.bits ^ before.statistics.bits).sum()))
    record = Record(
        loss=at.loss,
        mse=at.mse,
        pattern_changes=seen.flips,
        dead_neurons=int(np.count_nonzero(seen.active == 0)),
        optimality=float(np.abs(at.gradient).max()),
        branch="step",
        n_rows=problem.rows.n_rows,
    )
    return {"network": at.network, "statistics": seen, "loss": at.loss, "record": record}
