"""Several random starts, of which the best is kept."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from anmin.history import Status
from anmin.network import ReLUNetwork
from anmin.rows.arrays import ArrayRows
from anmin.solvers.loop import Callback, Keeper, Solution, solve
from anmin.solvers.problem import Problem, Solver


def solve_with_restarts(
    problem: Problem,
    solver: Solver,
    n_restarts: int,
    rng: np.random.Generator,
    *,
    start: ReLUNetwork | None = None,
    max_iter: int | None = None,
    tol: float = 1e-6,
    max_time: float | None = None,
    validation: ArrayRows | None = None,
    callbacks: Sequence[Callback] = (),
    begun: float | None = None,
    checkpoint: Keeper | None = None,
    stage: str = "start",
) -> Solution:
    """Solve from ``n_restarts`` starts and return the best solution; other arguments as for :func:`solve`.
    ``stage`` is what each is called in the checkpoint, with its number.

    The first start is ``start`` if it is given, the others are the method's own. The clock runs on from start to
    start: ``max_time`` is for all together. An interrupt, or a callback that asks to stop, ends them all, with the best
    solution so far and a status that says so.
    """
    clock = time.perf_counter() if begun is None else begun
    best: Solution | None = None
    for restart in range(n_restarts):
        if best is not None and max_time is not None and time.perf_counter() - clock >= max_time:
            return best.with_status(Status.MAX_TIME)
        try:
            solution = solve(
                problem,
                solver,
                start=start if restart == 0 else None,
                max_iter=max_iter,
                tol=tol,
                max_time=max_time,
                validation=validation,
                callbacks=callbacks,
                rng=rng,
                begun=clock,
                checkpoint=checkpoint,
                stage=f"{stage} {restart}",
            )
        except KeyboardInterrupt:
            if best is None:
                raise
            return best.with_status(Status.INTERRUPTED)
        if best is None or solution.score < best.score:
            best = solution
        if solution.status in (Status.INTERRUPTED, Status.STOPPED):
            return best.with_status(solution.status)
    if best is None:
        raise ValueError(f"n_restarts must be at least 1; got {n_restarts}.")
    return best
