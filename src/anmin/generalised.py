"""Fits by losses in the units of the targets: the penalty by evidence, then steps until the loss settles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from anmin.checkpoint import Checkpoint
from anmin.history import Status
from anmin.influence import joint_estimate, joint_inverse
from anmin.losses import Huber, Quantile
from anmin.network import ReLUNetwork
from anmin.objective import penalty
from anmin.rows.products import PatternProducts
from anmin.search.restarts import solve_with_restarts
from anmin.search.reweighted import Reweighted, informed, loss_of
from anmin.solvers.levenberg_marquardt import LevenbergMarquardt
from anmin.solvers.loop import Callback, Solution, check_solvable, solve
from anmin.solvers.problem import Problem
from anmin.statistics import PatternStatistics

_ROUNDS, _STEPS = 15, 4  # of the choice of the penalty
_ROBUST_STEPS = 20  # by the absolute error, before the deviation of the residuals is taken
_AGREED = 0.1  # relative difference between the penalty and what is asked for
_AT_ONCE = 4.0  # factor by which the penalty changes in a round, at most
_CUT_SHORT = (Status.INTERRUPTED, Status.MAX_TIME)
_FIRST_SUM, _LEAST_SUM, _MOST_ALPHA = 1.0, 1e-8, 1e3


def fit_by_loss(
    problem: Problem,
    solver: Reweighted,
    alpha: float | None,
    n_restarts: int,
    rng: np.random.Generator,
    *,
    start: ReLUNetwork | None = None,
    begun: float,
    max_time: float | None = None,
    checkpoint: Checkpoint | None = None,
    callbacks: Sequence[Callback] = (),
    **conditions: Any,
) -> tuple[float, Solution, bool]:
    """Return the penalty, given or chosen by evidence, the best solution of ``n_restarts`` starts, and whether the
    choice came to its end.

    Other arguments are as for :func:`anmin.search.restarts.solve_with_restarts`.
    """
    check_solvable(problem, solver)
    interrupted, ended = False, None
    if alpha is None:
        alpha, start, ended = _chosen(problem, solver, start, rng, begun, max_time, checkpoint)
        interrupted = ended is Status.INTERRUPTED
        if ended is not None:
            # It would have come out otherwise with more time: the checkpoint is not told what follows from it.
            checkpoint = None
        max_time = 0.0 if interrupted else max_time
    common: dict[str, Any] = {"begun": begun, "max_time": max_time, "checkpoint": checkpoint, "callbacks": callbacks}
    problem = replace(problem, alpha=alpha)
    solution = solve_with_restarts(problem, solver, n_restarts, rng, start=start, stage="loss", **common, **conditions)
    return alpha, solution.with_status(Status.INTERRUPTED) if interrupted else solution, ended is None


def scaled_to_residuals(
    loss: Huber,
    problem: Problem,
    inner: LevenbergMarquardt,
    start: ReLUNetwork | None,
    rng: np.random.Generator,
    begun: float,
    max_time: float | None,
) -> tuple[Huber, Status | None]:
    """Return the Huber loss with its ``delta``, if it has none, from the residuals of a network, and what cut it short.

    They are those of ``start`` after some steps by the absolute error, which outliers do not spoil.
    """
    if loss.delta is not None:
        return loss, None
    problem = replace(problem, loss=Quantile(0.5, 2.0), alpha=problem.alpha or _FIRST_SUM / problem.rows.n)
    rows = problem.rows
    solution = solve(
        problem, Reweighted(inner), start=start, max_iter=_ROBUST_STEPS, rng=rng, begun=begun, max_time=max_time
    )
    loss = loss.of_residuals(rows.Y - solution.network.predict(rows.X), rows.w)
    return loss, solution.status if solution.status in _CUT_SHORT else None


def asked_alpha(problem: Problem, solver: Reweighted, network: ReLUNetwork) -> float:
    """Return the penalty that the evidence of a network asks for (MacKay, Bayesian interpolation, 1992).

    With γ = tr((H + τ)⁻¹H) for the Gauss–Newton matrix H of the sum of the losses and τ = 2·alpha·n, it is
    φ·γ/(2·n·‖θ‖²), where exp(−ℓ/φ) is a likelihood: φ is 1, or estimated by the loss over n·c − γ.
    """
    assert problem.loss is not None
    rows, loss = problem.rows, problem.loss
    surrogate = informed(problem, loss, network)
    sums = solver.inner.sums(surrogate, network.A)
    if isinstance(sums, PatternProducts):
        effective = joint_estimate(sums, network, surrogate.alpha).effective_parameters
    else:
        assert isinstance(sums, PatternStatistics)
        effective = joint_inverse(sums, network, surrogate.alpha).effective_parameters
    values = rows.n * rows.n_outputs
    effective = float(np.clip(effective, 0.0, 0.95 * values))
    size = max(penalty(network.A, network.B, network.b0), 1e-300)
    dispersion = 1.0
    if loss.dispersion is not None:
        total = rows.n * (loss_of(problem, network) - problem.alpha * size)
        dispersion = loss.dispersion * total / (values - effective)
    return float(np.clip(dispersion * effective / (2 * rows.n * size), _LEAST_SUM / rows.n, _MOST_ALPHA))


def _chosen(
    problem: Problem,
    solver: Reweighted,
    start: ReLUNetwork | None,
    rng: np.random.Generator,
    begun: float,
    max_time: float | None,
    checkpoint: Checkpoint | None,
) -> tuple[float, ReLUNetwork, Status | None]:
    """Return the penalty on which the evidence and the fit agree, the network of that fit, and what cut it short."""
    if checkpoint is not None and "penalty" in checkpoint.decided:
        alpha, network, rng.bit_generator.state = checkpoint.decided["penalty"]
        return alpha, network, None
    alpha, network = problem.alpha or _FIRST_SUM / problem.rows.n, start
    for _ in range(_ROUNDS):
        at = replace(problem, alpha=alpha)
        solution = solve(at, solver, start=network, max_iter=_STEPS, tol=0.0, rng=rng, begun=begun, max_time=max_time)
        network = solution.network
        if solution.status in _CUT_SHORT:
            return alpha, network, solution.status
        try:
            asked = asked_alpha(at, solver, network)
        except KeyboardInterrupt:
            return alpha, network, Status.INTERRUPTED
        if abs(asked - alpha) <= _AGREED * alpha:
            break
        alpha = float(np.clip(asked, alpha / _AT_ONCE, alpha * _AT_ONCE))
    assert network is not None
    if checkpoint is not None:
        checkpoint.decide("penalty", (alpha, network, rng.bit_generator.state))
    return alpha, network, None
