"""Choosing the penalty, and how much each input counts, from the data, without held-out rows."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anmin.blas import threads_for
from anmin.history import Status
from anmin.influence import Estimate, JointInverse, joint_estimate, joint_inverse
from anmin.network import ReLUNetwork
from anmin.objective import penalty
from anmin.rows.arrays import ArrayRows
from anmin.rows.products import PatternProducts
from anmin.search.initialisation import DEAR, iteration_cost, rows_are_few, starting_weights
from anmin.search.recombination import Recombining
from anmin.search.restarts import solve_with_restarts
from anmin.solvers.hybrid import Hybrid
from anmin.solvers.levenberg_marquardt import LevenbergMarquardt
from anmin.solvers.loop import Callback, Solution, check_solvable, check_start, solve
from anmin.solvers.matrix_free import MatrixFree
from anmin.solvers.problem import PatternSums, Problem, State
from anmin.statistics import PatternStatistics

_FIRST_ALPHA, _MOST_ALPHA = 1e-3, 1e2
# Of alpha·n. Data without noise, or with fewer rows than weights, would take the penalty to nothing.
_LEAST_SUM = 1e-5
_NEARLY_EXACT = 1e-3
_MUCH_LESS = 5.0
_DEAR_ITERATIONS = 6  # where one takes several seconds
_MATRIX_FREE_ITERATIONS = 9  # where the evidence takes longer than they do
_RELEVANCE_TOL = 0.1
# The first iterations see few rows, until one lowers the loss by less than a share of itself.
_FEW_ROWS, _FEW_PER_WEIGHT, _FEW_ITERATIONS, _STALLED, _ROUGH_STALLED = 2000, 4, 15, 0.05, 0.02
# Targets for each weight, below which the evidence is asked from the first steps on: where they are few and noisy, it
# agrees with a small penalty too, which a fit that has not been told falls to, and overfits.
_TOLD_PER_WEIGHT = 5
_ROUGH_SHARE = 0.15  # of the weights, taken for effective as long as the evidence is not asked for
# The size of the weights of an input is known to sqrt(2/h) or so; of fewer it says too little.
_ENOUGH_NEURONS = 16
_IRRELEVANT = 0.02  # least relevance, where the mean square is 1


@dataclass(frozen=True, eq=False)
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
    input_alphas : ndarray of shape (d,)
        The penalty that the weights of each input would have were it their own, σ²·γ_k/(n·Σ_j A_kj²): large for an
        input that the network makes little use of; from :class:`anmin.rows.products.PatternProducts`, which do not tell
        inputs apart, ``alpha`` for every one (automatic relevance determination: MacKay, Bayesian non-linear
        modelling for the prediction competition, 1994; Neal, Bayesian learning for neural networks, 1996).
    """

    effective_parameters: float
    noise: float
    alpha: float
    log_evidence: float
    input_alphas: NDArray


def evidence(statistics: PatternSums, network: ReLUNetwork, alpha: float) -> Evidence:
    """Return the evidence of a network with the best output layer at ``alpha``, from the sums at its pattern.

    From :class:`anmin.rows.products.PatternProducts` it is an estimate (:func:`anmin.influence.joint_estimate`).
    The activation pattern is taken as given: that it was chosen too is not counted.
    """
    A, B, b0 = network.A, network.B, network.b0
    output, c = statistics.output(A), network.n_outputs
    n = output.n
    joint: JointInverse | Estimate
    if isinstance(statistics, PatternProducts):
        joint = joint_estimate(statistics, network, alpha)
    else:
        assert isinstance(statistics, PatternStatistics)
        joint = joint_inverse(statistics, network, alpha)
    effective = float(np.clip(joint.effective_parameters, 0.0, 0.95 * n * c))
    squares = float(output.sse(B, b0).sum())
    noise = squares / (n * c - effective)
    size = max(penalty(A, B, b0), 1e-300)
    wanted = float(np.clip(noise * effective / (n * size), _LEAST_SUM / n, _MOST_ALPHA))
    input_alphas = np.full(network.n_features, wanted)
    if isinstance(joint, JointInverse):
        of_inputs = joint.determined.reshape(A.T.shape).sum(axis=0)[1:]
        sizes = np.maximum(np.sum(A[1:] ** 2, axis=1), 1e-300)
        input_alphas = np.clip(noise * of_inputs / (n * sizes), _LEAST_SUM / n, _MOST_ALPHA)
    # A perfect fit without a penalty has no finite evidence.
    log_loss = np.log(max(squares / n + alpha * size, 1e-300))
    return Evidence(
        effective,
        noise,
        wanted,
        float(-0.5 * (n * c * log_loss + joint.log_determinant)),
        input_alphas,
    )


@dataclass(frozen=True, eq=False)
class Choice:
    """A penalty, the coordinates it is for, and the network to go on from.

    Attributes
    ----------
    alpha : float
    relevance : ndarray of shape (d,)
        What the inputs are to be multiplied by, with mean square 1; ones unless it was asked for.
    effective_share : float
        γ/(n·c), the effective parameters over the target values.
    network : ReLUNetwork
        The one fitted on the way, in coordinates with the inputs so multiplied; where the rows are few, the one that
        the way began at.
    interrupted : bool
        Whether an interrupt cut the way short.
    """

    alpha: float
    relevance: NDArray
    effective_share: float
    network: ReLUNetwork
    interrupted: bool = False


def choose_alpha(
    problem: Problem,
    rng: np.random.Generator,
    *,
    solver: LevenbergMarquardt | None = None,
    relevance: bool = False,
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
    solver : Hybrid, VarPro or MatrixFree, optional
        What the fit is by; by default ``Hybrid()``.
    relevance : bool, default False
        Whether to choose how much the inputs count, too. One penalty for all weights takes a unit of every input for
        equally far. Where the evidence asks for more on the weights of one input than on all together, that input is
        made smaller, which comes to the same. Left out where rows or neurons are few, a dense iteration takes seconds,
        or the solver does without matrices.
    sample_rows, max_iter : int
    tol : float
    deadline : float, optional
        Reading of ``time.perf_counter()`` after which no further iteration begins.
    callback : callable, optional
        Called as ``callback(record, network)`` after each iteration, in coordinates that change on the way if
        ``relevance``.

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
    solver = solver or Hybrid()
    check_solvable(fitted, solver)
    if isinstance(solver, MatrixFree):
        max_iter, relevance = min(max_iter, _MATRIX_FREE_ITERATIONS), False
    elif iteration_cost(fitted, fitted.rows.n_rows) > DEAR:
        max_iter, relevance = min(max_iter, _DEAR_ITERATIONS), False
    relevance = relevance and problem.n_neurons >= _ENOUGH_NEURONS and not rows_are_few(fitted)
    with threads_for((problem.rows.n_features + 1) * problem.n_neurons):
        chosen = _agreed(fitted, solver, rng, relevance, max_iter, tol, deadline, callback)
    return replace(chosen, alpha=_rounded(chosen.alpha * fitted.rows.n / problem.rows.n))


def _agreed(
    fitted: Problem,
    solver: LevenbergMarquardt,
    rng: np.random.Generator,
    relevance: bool,
    max_iter: int,
    tol: float,
    deadline: float | None,
    callback: Callback | None,
) -> Choice:
    final = fitted.rows
    n_weights = fitted.n_neurons * (final.n_features + 1 + final.n_outputs)
    if isinstance(solver, Hybrid) and final.n_rows * final.n_outputs < _TOLD_PER_WEIGHT * n_weights:
        solver = solver.exact
    rows = _few_rows(fitted, rng)
    fitted = replace(fitted, rows=rows)
    state = solver.begin(fitted, starting_weights(fitted, rng))
    check_start(state)
    first, agreed, interrupted = state.network, 0, False
    relevances, share = np.ones(rows.n_features), 0.0
    try:
        for iteration in range(1, max_iter + 1):
            if deadline is not None and time.perf_counter() >= deadline:
                break
            before = state.loss
            state = solver.step(fitted, state)
            if callback is not None:
                callback(replace(state.record, iteration=iteration), state.network)
            is_rough = isinstance(solver, Hybrid) and solver.is_rough(state)
            stalled = before - state.loss < (_ROUGH_STALLED if is_rough else _STALLED) * before
            if rows is not final and (iteration >= _FEW_ITERATIONS or stalled):
                following = replace(fitted, rows=_scaled(final, relevances), alpha=fitted.alpha * rows.n / final.n)
                at = replace(solver.begin(following, state.network.A), damping=state.damping)
                fitted, state, rows = following, at, final
                continue
            if is_rough:
                fitted = replace(fitted, alpha=min(fitted.alpha, _rough_alpha(fitted, state)))
                state = solver.at(fitted, state.network.A, state.statistics, state.damping)
                continue
            if iteration % 3 and not state.settled:
                continue
            found = evidence(state.statistics, state.network, fitted.alpha)
            share = found.effective_parameters / (rows.n * rows.n_outputs)
            change = np.ones(rows.n_features)
            if relevance:
                change = _relevances(found, relevances) / relevances
            # What is of no use fades for ever; that does not keep the others from agreeing.
            settled = np.abs(np.log(change[relevances * change > _IRRELEVANT])) < _RELEVANCE_TOL
            close = abs(np.log(found.alpha / fitted.alpha)) < tol and settled.all()
            agreed = agreed + 1 if close else 0
            if agreed == 3:
                break
            following = replace(fitted, alpha=found.alpha)
            A, statistics = state.network.A, state.statistics
            if relevance:
                assert isinstance(statistics, PatternStatistics)
                following = replace(following, rows=_scaled(rows, relevances * change))
                A, statistics = _divided(A, change), statistics.scaled(change)
            # All at once, so that an interrupt leaves a network in coordinates that are known.
            at = solver.at(following, A, statistics, state.damping)
            fitted, state, relevances = following, at, relevances * change
    except KeyboardInterrupt:
        interrupted = True
    network = first if rows_are_few(fitted) else state.network
    rounded = np.array([_rounded(value) for value in relevances])
    network = replace(network, A=_divided(network.A, rounded / relevances))
    return Choice(fitted.alpha * rows.n / final.n, rounded, share, network, interrupted)


def _rough_alpha(problem: Problem, state: State) -> float:
    """Return what the evidence would ask for were a small share of the weights effective, while steps are rough."""
    network, rows = state.network, problem.rows
    effective = _ROUGH_SHARE * min(network.n_parameters, rows.n * rows.n_outputs)
    size = max(penalty(network.A, network.B, network.b0), 1e-300)
    squares = (state.loss - problem.alpha * size) * rows.n
    noise = squares / (rows.n * rows.n_outputs - effective)
    return float(np.clip(noise * effective / (rows.n * size), _LEAST_SUM / rows.n, _MOST_ALPHA))


def _few_rows(problem: Problem, rng: np.random.Generator) -> ArrayRows:
    """Return rows enough for the first steps, which are far from where any sample would draw the line."""
    rows = problem.rows
    n_weights = problem.n_neurons * (rows.n_features + 1 + rows.n_outputs)
    count = max(_FEW_ROWS, _FEW_PER_WEIGHT * n_weights // rows.n_outputs)
    return rows.sample(count, rng) if 2 * count < rows.n_rows else rows


def solve_chosen(
    problem: Problem,
    choice: Choice,
    solver: Recombining,
    n_restarts: int,
    rng: np.random.Generator,
    *,
    start: ReLUNetwork | None = None,
    max_time: float | None = None,
    **conditions: Any,
) -> tuple[float, Solution]:
    """Solve with the penalty of :func:`choose_alpha`, and solve on where :func:`reconsidered_alpha` is less.

    Arguments are as for :func:`anmin.search.solve_with_restarts`, except that the rows of ``problem`` have the
    relevances of the choice applied, and that ``problem.alpha`` is not used. Before a search the penalty is that of
    :func:`searched_alpha`. An interrupt of the choice leaves the network that it had come to. Returns the penalty used
    and the solution.
    """
    alpha = searched_alpha(choice) if solver.searches(problem) else choice.alpha
    problem = replace(problem, alpha=alpha)
    # With no time left, one look at all rows makes a network.
    conditions |= {"max_time": 0.0 if choice.interrupted else max_time}
    solution = solve_with_restarts(
        problem, solver, n_restarts, rng, start=choice.network if start is None else start, **conditions
    )
    if choice.interrupted:
        return alpha, solution.with_status(Status.INTERRUPTED)
    if solution.status is not Status.CONVERGED:
        return alpha, solution
    try:
        less = reconsidered_alpha(problem, solution.network, solver.inner)
        if less < alpha:
            # A smaller penalty lowers the loss of the same network: the history still never rises.
            problem, solver = replace(problem, alpha=less), replace(solver, recombine=False)
            if conditions.get("max_iter") is not None:
                conditions["max_iter"] -= solution.n_iter
            more = solve(problem, solver, start=solution.network, rng=rng, stage="reconsidered", **conditions)
            if more.score < solution.score:
                return less, solution.followed_by(more)
    except KeyboardInterrupt:
        solution = solution.with_status(Status.INTERRUPTED)
    return alpha, solution


def searched_alpha(choice: Choice) -> float:
    """Return the penalty for a fit with a search, which goes deeper than the one that the evidence was asked of.

    It is alpha·2·(1 − γ/(n·c))⁴. Twice, because γ does not count that the pattern is chosen too, and a search chooses
    among very many. Less where the weights are many for the rows: there the evidence takes much of what a single fit
    leaves for noise, RSS/(n·c − γ), and by a penalty for that the search would not find what can still be found. Both
    numbers are observations (docs/choosing-alpha.md), not theorems.
    """
    return _rounded(choice.alpha * 2 * (1 - choice.effective_share) ** 4)


def reconsidered_alpha(problem: Problem, network: ReLUNetwork, solver: LevenbergMarquardt) -> float:
    """Return ``problem.alpha``, or a much smaller penalty that a network found with it asks for.

    Where there is next to no noise, what the first fit leaves is the misfit of a middling optimum, and its evidence
    asks for far too much. So if a later network leaves less than a thousandth of the variance of the targets, and its
    evidence asks for less than a fifth of the penalty, that is returned.
    """
    statistics = solver.sums(problem, network.A)
    output = statistics.output(network.A)
    error = float(output.sse(network.B, network.b0).sum())
    variation = float(np.sum(output.y_square - output.y_sum**2 / output.n))
    if rows_are_few(problem) or error >= _NEARLY_EXACT * variation:
        return problem.alpha
    wanted = evidence(statistics, network, problem.alpha).alpha
    return _rounded(wanted) if wanted < problem.alpha / _MUCH_LESS else problem.alpha


def _relevances(found: Evidence, relevances: NDArray) -> NDArray:
    """Return the relevances that evidence in coordinates with the present ones asks for."""
    wanted = relevances * np.sqrt(found.alpha / found.input_alphas)
    return np.maximum(wanted / np.sqrt(np.mean(wanted**2)), _IRRELEVANT)


def _scaled(rows: ArrayRows, factors: NDArray) -> ArrayRows:
    c = rows.n_outputs
    return rows.standardized(np.zeros(len(factors)), 1 / factors, np.zeros(c), np.ones(c), rows.X.dtype)


def _divided(A: NDArray, factors: NDArray) -> NDArray:
    return A / np.concatenate([[1.0], factors])[:, None]


def _rounded(value: float) -> float:
    return float(f"{value:.1e}")
