"""The penalty of a convex program by rows held out, along a path of falling penalties."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from anmin.cross_validation import Part
from anmin.gated_network import GatedNetwork
from anmin.network import ReLUNetwork
from anmin.rows.arrays import ArrayRows

_STEP = 10.0 ** (-1 / 3)  # from one penalty to the next
_LEVELS = 13  # four decades
_PATIENCE, _WORTHWHILE = 2, 0.01
_ROUGH = 0.03  # of the penalty: how far the conditions of optimality may be from holding on the path
_WITHOUT_ROWS = 3  # level that is taken where rows are too few to hold some out


class Program(Protocol):
    """A convex program with its gates, for any rows and penalty."""

    def solve(self, rows: ArrayRows, alpha: float, *, tol: float, max_rounds: int, start: Any = None) -> Any:
        """Return the solution, from that of another penalty on.

        It has an ``objective`` and a ``bound`` of it, a ``residual``, a ``status`` and ``n_rounds``, as
        :class:`anmin.solvers.gated.GatedSolution`.
        """
        ...

    def network(self, solution: Any) -> ReLUNetwork | GatedNetwork:
        """Return the network of a solution."""
        ...

    def largest(self, rows: ArrayRows) -> float:
        """Return about the penalty from which on there are no neurons; 1 where there never are."""
        ...


class Level(NamedTuple):
    """A penalty, the solution for all rows, its network, and the squared error on rows held out, (c,)."""

    alpha: float
    solution: Any
    network: ReLUNetwork | GatedNetwork
    errors: NDArray


@dataclass(frozen=True, eq=False)
class HeldOutPath:
    """Penalties from the largest on, and what was chosen among them.

    Attributes
    ----------
    alphas : ndarray of shape (m,)
    errors : ndarray of shape (m, c)
        Mean squared error of each output on the rows held out; NaN where there were none.
    chosen : Level
        The one of least error, summed over the outputs.
    interrupted : bool
        Whether an interrupt ended the path.
    """

    alphas: NDArray
    errors: NDArray
    chosen: Level
    interrupted: bool


def held_out_path(
    program: Program,
    rows: ArrayRows,
    parts: Sequence[Part],
    *,
    max_rounds: int,
    callback: Callable[[Level], object] = lambda level: None,
) -> HeldOutPath:
    """Solve a program at falling penalties, for all rows and for parts of them, until no part predicts the rest better.

    From :meth:`Program.largest`, at which a constant is left, each penalty is 10^(−1/3) of the one before, and each
    solution begins at the one before. It ends where two penalties have not lowered the error on the rows held out by a
    percent, or after four decades. Of equal errors the larger penalty is taken; without parts it is a tenth of
    the largest. Solutions are as exact as the choice needs.

    Raises
    ------
    KeyboardInterrupt
        If interrupted before the first penalty is done.
    """
    levels: list[Level] = []
    starts: list[Any] = [None] * (len(parts) + 1)
    interrupted, largest = False, program.largest(rows)
    try:
        for k in range(_LEVELS if parts else _WITHOUT_ROWS + 1):
            alpha = largest * _STEP**k
            for number, fitted in enumerate([*(part.fitted for part in parts), rows]):
                starts[number] = program.solve(
                    fitted, alpha, tol=rough_tol(alpha, largest), max_rounds=max_rounds, start=starts[number]
                )
            errors = _errors(program, parts, starts[:-1], rows.n_outputs)
            levels.append(Level(alpha, starts[-1], program.network(starts[-1]), errors))
            callback(levels[-1])
            if parts and _in_vain(levels):
                break
    except KeyboardInterrupt:
        if not levels:
            raise
        interrupted = True
    errors = np.array([level.errors for level in levels])
    best = int(errors.sum(axis=1).argmin()) if parts else len(levels) - 1
    return HeldOutPath(np.array([level.alpha for level in levels]), errors, levels[best], interrupted)


def rough_tol(alpha: float, largest: float) -> float:
    """Return the tolerance at which a solution is near enough to begin at, as a part of the largest penalty."""
    return _ROUGH * min(alpha / largest, 1.0)


def _errors(program: Program, parts: Sequence[Part], solutions: Sequence[Any], n_outputs: int) -> NDArray:
    if not parts:
        return np.full(n_outputs, np.nan)
    total, n = np.zeros(n_outputs), 0.0
    for part, solution in zip(parts, solutions, strict=True):
        rows = part.held_out
        squares = (program.network(solution).predict(rows.X) - rows.Y) ** 2
        total += squares.sum(axis=0) if rows.w is None else rows.w @ squares
        n += rows.n
    return total / n


def _in_vain(levels: Sequence[Level]) -> bool:
    first = max((k for k, level in enumerate(levels) if not level.network.n_neurons), default=0)
    errors = np.array([level.errors.sum() for level in levels[first:]])
    before, last = errors[:-_PATIENCE], errors[-_PATIENCE:]
    return bool(before.size) and last.min() > (1 - _WORTHWHILE) * before.min()
