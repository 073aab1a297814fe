"""Choosing the penalty from the data, without held-out rows."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from anmin.blas import threads_for_products
from anmin.history import Status
from anmin.influence import joint_inverse
from anmin.network import ReLUNetwork
from anmin.objective import penalty
from anmin.search.initialisation import DEAR, iteration_cost, rows_are_few, starting_weights
from anmin.search.recombination import Recombining
from anmin.search.restarts import solve_with_restarts
from anmin.solvers.loop import Callback, Solution, check_solvable, check_start, solve
from anmin.solvers.problem import Problem
from anmin.solvers.varpro import VarPro
from anmin.statistics import PatternStatistics

_FIRST_ALPHA, _MOST_ALPHA = 1e-3, 1e2
# Of alpha·n. Data without noise, or with fewer rows than weights, would take the penalty to nothing.
_LEAST_SUM = 1e-5
_NEARLY_EXACT = 1e-3
_MUCH_LESS = 10.0
_DEAR_ITERATIONS = 6  # where one takes several seconds


@dataclass(frozen=True)
class Evidence:
    """What a fit says about its penalty.

    Attributes
    ----------
    effective_parameters : float
        γ = tr((H + alpha·I)⁻¹ H) of the joint Gauss–Newton matrix H of both layers, at the frozen pattern.
    noise : float
        σ² = RSS/(n·c − γ), the variance of the noise in squared units of the targets solved for.
    alpha : float
        The penalty that this evidence asks for, σ²·γ/(n·‖θ‖²) with all weights θ (MacKay, Bayesian interpolation,
        1992, Eq. 4.9 and 4.10).
    log_evidence : float
        −(n·c/2) log L − ½ log det(I + H/alpha), L the loss: the logarithm of the probability of the targets, up to a
        constant of the data, of weights of prior variance σ²/(alpha·n), with the noise σ² that makes it largest, by
        Laplace's approximation. It compares fits to the same rows at any alpha and width; at its largest over alpha
        the evidence asks for that alpha.
    """

    effective_parameters: float
    noise: float
    alpha: float
    log_evidence: float


def evidence(statistics: PatternStatistics, network: ReLUNetwork, alpha: float) -> Evidence:
    """Return the evidence of a network with the best output layer at ``alpha``, from the sums at its pattern.

    The activation pattern is taken as given: that it was chosen too is not counted.
    """
    A, B, b0 = network.A, network.B, network.b0
    n, c = statistics.n, network.n_outputs
    inverse = joint_inverse(statistics, network, alpha)
    effective = float(np.clip(inverse.effective_parameters, 0.0, 0.95 * n * c))
    squares = float(statistics.output(A).sse(B, b0).sum())
    noise = squares / (n * c - effective)
    size = max(penalty(A, B, b0), 1e-300)
    wanted = float(np.clip(noise * effective / (n * size), _LEAST_SUM / n, _MOST_ALPHA))
    # A perfect fit without a penalty has no finite evidence.
    log_loss = np.log(max(squares / n + alpha * size, 1e-300))
    return Evidence(effective, noise, wanted, float(-0.5 * (n * c * log_loss + inverse.log_determinant)))


class Choice(NamedTuple):
    """A penalty, the network to go on from, and whether an interrupt cut the way to it short.

    The network is the one fitted on the way; where the rows are few, the one that the way began at.
    """

    alpha: float
    network: ReLUNetwork
    interrupted: bool = False


def choose_alpha(
    problem: Problem,
    rng: np.random.Generator,
    *,
    sample_rows: int = 20_000,
    max_iter: int = 60,
    tol: float = 0.02,
    deadline: float | None = None,
    callback: Callback | None = None,
) -> Choice:
    """Return the penalty at which a fit by variable projection and its evidence agree, and its network.

    The fit starts at :func:`anmin.search.initialisation.starting_weights` on at most ``sample_rows`` rows; every third
    iteration the penalty is replaced by what the evidence asks for, until it changes by less than ``tol`` times itself
    thrice. alpha·n is carried over from the sample to all rows, and rounded to two digits: it means no more, and equal
    data in another order then get the same. ``problem.alpha`` is not used.

    Parameters
    ----------
    problem : Problem
    rng : numpy.random.Generator
    sample_rows, max_iter : int
    tol : float
    deadline : float, optional
        Reading of ``time.perf_counter()`` after which no further iteration begins.
    callback : callable, optional
        Called as ``callback(record, network)`` after each iteration, in the problem's coordinates.

    Raises
    ------
    ValueError
        Before any work, if the machine lacks the memory, or the values are too large to square.

    Returns
    -------
    Choice
        Also after an interrupt, once there is a first network: what it has come to then.
    """
    fitted = replace(problem, rows=problem.rows.sample(sample_rows, rng), alpha=_FIRST_ALPHA)
    check_solvable(fitted, VarPro())
    if iteration_cost(fitted) > DEAR:
        max_iter = min(max_iter, _DEAR_ITERATIONS)
    with threads_for_products((problem.rows.n_features + 1) * problem.n_neurons):
        chosen = _agreed(fitted, rng, max_iter, tol, deadline, callback)
    return chosen._replace(alpha=_rounded(chosen.alpha * fitted.rows.n / problem.rows.n))


def _agreed(
    fitted: Problem,
    rng: np.random.Generator,
    max_iter: int,
    tol: float,
    deadline: float | None,
    callback: Callback | None,
) -> Choice:
    solver = VarPro()
    state = solver.begin(fitted, starting_weights(fitted, rng))
    check_start(state)
    first, agreed, interrupted = state.network, 0, False
    try:
        for iteration in range(1, max_iter + 1):
            if deadline is not None and time.perf_counter() >= deadline:
                break
            state = solver.step(fitted, state)
            if callback is not None:
                callback(replace(state.record, iteration=iteration), state.network)
            if iteration % 3 and not state.settled:
                continue
            alpha = evidence(state.statistics, state.network, fitted.alpha).alpha
            agreed = agreed + 1 if abs(np.log(alpha / fitted.alpha)) < tol else 0
            if agreed == 3:
                break
            fitted = replace(fitted, alpha=alpha)
            state = solver.at(fitted, state.network.A, state.statistics, state.damping)
    except KeyboardInterrupt:
        interrupted = True
    return Choice(fitted.alpha, first if rows_are_few(fitted) else state.network, interrupted)


def solve_choosing_alpha(
    problem: Problem,
    solver: Recombining,
    n_restarts: int,
    rng: np.random.Generator,
    *,
    start: ReLUNetwork | None = None,
    max_time: float | None = None,
    begun: float | None = None,
    progress: Callback | None = None,
    **conditions: Any,
) -> tuple[float, Solution]:
    """Choose the penalty (:func:`choose_alpha`), solve, and solve on where :func:`reconsidered_alpha` is less.

    Arguments are as for :func:`anmin.search.solve_with_restarts`, except that ``problem.alpha`` is not used and that
    ``progress`` is called in each iteration of the choice. The time for the choice is part of ``max_time``. An
    interrupt of the choice leaves the network that it had come to.
    """
    begun = time.perf_counter() if begun is None else begun
    check_solvable(problem, solver)
    deadline = None if max_time is None else begun + max_time
    alpha, chosen, interrupted = choose_alpha(problem, rng, deadline=deadline, callback=progress)
    problem = replace(problem, alpha=alpha)
    # With no time left, one look at all rows makes a network.
    conditions |= {"max_time": 0.0 if interrupted else max_time, "begun": begun}
    solution = solve_with_restarts(
        problem, solver, n_restarts, rng, start=chosen if start is None else start, **conditions
    )
    if interrupted:
        return alpha, solution.with_status(Status.INTERRUPTED)
    if solution.status is not Status.CONVERGED:
        return alpha, solution
    try:
        less = reconsidered_alpha(problem, solution.network)
        if less < alpha:
            # A smaller penalty lowers the loss of the same network: the history still never rises.
            problem, solver = replace(problem, alpha=less), replace(solver, recombine=False)
            if conditions.get("max_iter") is not None:
                conditions["max_iter"] -= solution.n_iter
            more = solve(problem, solver, start=solution.network, rng=rng, **conditions)
            if more.score < solution.score:
                return less, solution.followed_by(more)
    except KeyboardInterrupt:
        solution = solution.with_status(Status.INTERRUPTED)
    return alpha, solution


def reconsidered_alpha(problem: Problem, network: ReLUNetwork) -> float:
    """Return ``problem.alpha``, or a much smaller penalty that a network found with it asks for.

    Where there is next to no noise, what the first fit leaves is the misfit of a middling optimum, and its evidence
    asks for far too much. So if a later network leaves less than a thousandth of the variance of the targets, and its
    evidence asks for less than a tenth of the penalty, that is returned.
    """
    statistics = problem.rows.statistics(network.A, problem.negative_slope)
    error = float(statistics.output(network.A).sse(network.B, network.b0).sum())
    variation = float(np.sum(statistics.y_square - statistics.y_sum**2 / statistics.n))
    if rows_are_few(problem) or error >= _NEARLY_EXACT * variation:
        return problem.alpha
    wanted = evidence(statistics, network, problem.alpha).alpha
    return _rounded(wanted) if wanted < problem.alpha / _MUCH_LESS else problem.alpha


def _rounded(alpha: float) -> float:
    return float(f"{alpha:.1e}")
