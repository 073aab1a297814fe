"""Pruning: the least useful neurons go, a few at a time, with solver steps in between."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from anmin.blas import threads_for
from anmin.history import Status
from anmin.network import ReLUNetwork
from anmin.search.relocation import least_useful
from anmin.search.reweighted import Reweighted, surrogate_of
from anmin.solvers.levenberg_marquardt import LevenbergMarquardt, VarProState
from anmin.solvers.loop import Solution, check_solvable, solve
from anmin.solvers.problem import Problem

#: Share of the neurons taken away at a time, and solver steps after each time.
SHARE, STEPS = 0.06, 2
#: Damping, at least, of the first step after neurons were added or taken away.
LEAST_DAMPING = 1e-3


def narrowed(
    problem: Problem, inner: LevenbergMarquardt, state: VarProState, count: int, least_damping: float = LEAST_DAMPING
) -> VarProState:
    """Return the state without the ``count`` least useful neurons; the output layer of the others is solved for again.

    The sums at their pattern are known, so this takes no pass over the rows.
    """
    network, statistics = state.network, state.statistics
    gone = least_useful(network, statistics.output(network.A), problem.alpha, count)
    kept = np.setdiff1d(np.arange(network.n_neurons), gone)
    damping = max(state.damping, least_damping)
    narrower = replace(problem, n_neurons=len(kept))
    return inner.at(narrower, network.A[:, kept], statistics.of_neurons(kept), damping)


def count_to_go(n_neurons: int, width: int, share: float = SHARE) -> int:
    """Return how many neurons of ``n_neurons`` go next on the way to ``width``."""
    return min(n_neurons - width, max(1, round(share * n_neurons)))


def pruned_solution(
    problem: Problem,
    network: ReLUNetwork,
    solver: LevenbergMarquardt | Reweighted,
    *,
    begun: float,
    max_time: float | None = None,
    **conditions: Any,
) -> Solution:
    """Return the solution from ``network`` cut down to the width of the problem, in the problem's coordinates.

    The least useful neurons go, 6 % at a time, with two steps of the solver in between, and what is left is fitted
    until it settles. After ``max_time`` seconds since ``begun`` the others go without steps. Other arguments are as for
    :func:`anmin.solvers.solve`.

    Raises
    ------
    ValueError
        Before any work, if the machine lacks the memory.
    KeyboardInterrupt
        If interrupted before the width is reached.
    """
    check_solvable(replace(problem, n_neurons=network.n_neurons), solver)
    deadline = np.inf if max_time is None else begun + max_time
    cut = _cut_by_loss if isinstance(solver, Reweighted) else _cut_by_squares
    with threads_for((problem.rows.n_features + 1) * network.n_neurons):
        start = cut(problem, network, solver, deadline)  # type: ignore[arg-type]
    return solve(problem, solver, start=start, begun=begun, max_time=max_time, **conditions)


def _cut_by_squares(problem: Problem, network: ReLUNetwork, solver: LevenbergMarquardt, deadline: float) -> ReLUNetwork:
    width = problem.n_neurons
    here = replace(problem, n_neurons=network.n_neurons)
    state = solver.begin(here, network.A)
    while here.n_neurons > width:
        in_time = time.perf_counter() < deadline
        count = count_to_go(here.n_neurons, width) if in_time else here.n_neurons - width
        state = narrowed(here, solver, state, count)
        here = replace(problem, n_neurons=state.network.n_neurons)
        for _ in range(STEPS if in_time else 0):
            state = solver.step(here, state)
    return state.network


def _cut_by_loss(problem: Problem, network: ReLUNetwork, solver: Reweighted, deadline: float) -> ReLUNetwork:
    assert problem.loss is not None
    width = problem.n_neurons
    while network.n_neurons > width:
        in_time = time.perf_counter() < deadline
        count = count_to_go(network.n_neurons, width) if in_time else network.n_neurons - width
        surrogate = surrogate_of(replace(problem, n_neurons=network.n_neurons), problem.loss, network)
        network = narrowed(surrogate, solver.inner, solver.inner.begin(surrogate, network.A), count).network
        here = replace(problem, n_neurons=network.n_neurons)
        if in_time:
            solution = solve(here, solver, start=network, max_iter=STEPS, tol=0.0)
            if solution.status is Status.INTERRUPTED:
                raise KeyboardInterrupt
            network = solution.network
    return network
