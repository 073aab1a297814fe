"""Growth: a network made wider by its steepest neurons and solved again, towards the best one of any width."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from anmin.arrangements import patterns_of
from anmin.network import ReLUNetwork
from anmin.solvers.convex import solve_convex
from anmin.solvers.group_problem import GroupProblem
from anmin.solvers.problem import Problem
from anmin.solvers.steepest import NO_LENGTH, directions_of
from anmin.solvers.varpro import VarPro

_FEWEST_ADDED, _MOST_PATTERNS = 16, 32
_FEW_ENTRIES = 2e4  # rows × patterns of a convex program that takes a second or so
_CONVEX_TOL = 1e-10
_ASIDE, _ALIKE = 1e-9, 1e-9
_STEPS, _STALL = 15, 1e-4
_MOST_CHOSEN, _CHOSEN_TOL = 400, 1e-6  # neurons of a program whose superfluous ones are found out, and of the penalty


@dataclass(frozen=True, eq=False)
class Grown:
    """A network that grows, and the gates (p, m) of its neurons: vectors inside the cells of their patterns."""

    network: ReLUNetwork
    gates: NDArray

    @classmethod
    def from_network(cls, network: ReLUNetwork) -> Self:
        """Return the network as it is, before it grows."""
        return cls(network, _aside(directions_of(network.A)))


def grown(problem: Problem, before: Grown, candidates: NDArray) -> Grown | None:
    """Return the network with neurons added, solved for all, and without those that are of no use any more.

    With one output, a ReLU and few rows: the best network of any width whose neurons have the patterns of those there
    are and of the candidates, by :func:`anmin.solvers.convex.solve_convex`; from a finite number of patterns the best
    network of all comes out in a finite number of rounds. Otherwise steps of variable projection from all of them
    together, and then the best output layer with a penalty that most neurons do not stand up to.

    Parameters
    ----------
    problem : Problem
        Its number of neurons is of no account.
    before : Grown
    candidates : ndarray of shape (p, k)
        Unit vectors steeper than the penalty (:func:`anmin.solvers.steepest.steepest_neuron`), the steepest first.

    Returns
    -------
    Grown or None
        None if no candidate is new.
    """
    rows = problem.rows
    few = rows.n_rows * (before.gates.shape[1] + _MOST_PATTERNS) <= _FEW_ENTRIES
    if few and rows.n_outputs == 1 and problem.negative_slope == 0:
        return _by_patterns(problem, before.gates, candidates[:, :_MOST_PATTERNS])
    used = directions_of(before.network.A)
    new = candidates[:, : max(_FEWEST_ADDED, used.shape[1])]
    return Grown.from_network(_by_steps(problem, np.hstack([used, new]))) if new.shape[1] else None


def _by_patterns(problem: Problem, gates: NDArray, candidates: NDArray) -> Grown | None:
    rows = problem.rows
    Xt = np.column_stack([np.ones(rows.n_rows), rows.X])
    known = patterns_of(Xt, gates).without_zero() if gates.shape[1] else ()
    patterns = patterns_of(Xt, np.hstack([gates, _aside(candidates)])).without_zero()
    if len(patterns) == len(known):
        return None
    solution = solve_convex(rows, patterns.vectors, problem.alpha, tol=_CONVEX_TOL)
    # The weights of the solution may lie on hyperplanes, where patterns are not to be told: the gates stand for them.
    used = np.any(solution.U, axis=(1, 2)) | np.any(solution.V, axis=(1, 2))
    return Grown(solution.network(), solution.gates[:, used])


def _aside(V: NDArray) -> NDArray:
    """Return unit vectors (p, m) moved off the hyperplanes that they lie on, into a cell beside them."""
    return V + _ASIDE * np.random.default_rng(0).standard_normal(V.shape)


def _by_steps(problem: Problem, A: NDArray) -> ReLUNetwork:
    working, solver = replace(problem, n_neurons=A.shape[1]), VarPro()
    state = solver.begin(working, A)
    for _ in range(_STEPS):
        before, state = state.loss, solver.step(working, state)
        if state.settled or before - state.loss <= _STALL * state.loss:
            break
    if A.shape[1] > _MOST_CHOSEN:
        return state.network
    chosen, loss = _chosen(problem, state.network.merged(_ALIKE))
    return chosen if loss <= state.loss else state.network


def _chosen(problem: Problem, network: ReLUNetwork) -> tuple[ReLUNetwork, float]:
    """Return a network with the best output layer for its directions, without neurons of no use to it, and its loss.

    For fixed directions v_j of length 1 the loss is convex in b_j, with the penalty 2·alpha Σ_j ‖b_j‖, and most b_j of
    its solution may be zero.
    """
    rows, alpha = problem.rows, problem.alpha
    lengths = np.linalg.norm(network.A, axis=0)
    there = lengths > NO_LENGTH
    V = network.A[:, there] / lengths[there]
    sums = rows.output_statistics(V, problem.negative_slope)
    n, shrink = sums.n, 1 / (sums.n * (1 + alpha))
    H = (sums.gram - shrink * np.outer(sums.sums, sums.sums)) / n
    C = (sums.cross - shrink * np.outer(sums.sums, sums.y_sum)) / n
    start = (network.B * lengths[:, None])[there][:, None]
    B = GroupProblem(H, C[:, None], alpha).solved(start, _CHOSEN_TOL * alpha).V[:, 0]
    b0 = (sums.y_sum - sums.sums @ B) * shrink
    sizes = np.linalg.norm(B, axis=1)
    used = sizes > 0
    root = np.sqrt(sizes[used])
    chosen = ReLUNetwork(V[:, used] * root, B[used] / root[:, None], b0, problem.negative_slope)
    loss = rows.output_statistics(chosen.A, problem.negative_slope).loss(chosen.A, chosen.B, b0, alpha)
    return chosen, float(loss)
