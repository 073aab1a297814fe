"""Choosing the penalty from the data, without held-out rows."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from anmin.influence import joint_inverse
from anmin.network import ReLUNetwork
from anmin.objective import penalty
from anmin.search.initialisation import rows_are_few, starting_weights
from anmin.solvers.loop import Callback
from anmin.solvers.problem import Problem
from anmin.solvers.varpro import VarPro
from anmin.statistics import PatternStatistics

_FIRST_ALPHA, _MOST_ALPHA = 1e-3, 1e2
# Of alpha·n. Data without noise, or with fewer rows than weights, would take the penalty to nothing.
_LEAST_SUM = 1e-4


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

    Returns
    -------
    Choice
        Also after an interrupt, once there is a first network: what it has come to then.
    """
    rows = problem.rows.sample(sample_rows, rng)
    fitted = replace(problem, rows=rows, alpha=_FIRST_ALPHA)
    solver = VarPro()
    state = solver.begin(fitted, starting_weights(fitted, rng))
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
    network = first if rows_are_few(problem) else state.network
    return Choice(float(f"{fitted.alpha * rows.n / problem.rows.n:.1e}"), network, interrupted)
