"""The solver that is chosen for the user."""

from __future__ import annotations

from anmin.memory import available_bytes
from anmin.search.initialisation import DEAR, iteration_cost
from anmin.search.recombination import Recombining
from anmin.solvers.matrix_free import MatrixFree
from anmin.solvers.problem import Problem

_PRODUCTS = 30  # of an iteration without the matrix, as many as one usually takes with all its passes
_MUCH_MORE = 10


def automatic_solver(problem: Problem, *, recombine: bool = True) -> Recombining:
    """Return the solver for a problem: the dense one, or that without matrices where it is much cheaper.

    It is :class:`anmin.solvers.MatrixFree` where the memory that is free does not hold what the dense
    :class:`anmin.solvers.Hybrid` needs in its search, or an iteration of that takes some seconds
    (:data:`anmin.search.initialisation.DEAR`) and ten times as long.
    """
    rows, h = problem.rows, problem.n_neurons
    dense = Recombining(recombine=recombine)
    available = available_bytes()
    required = dense.required_bytes(rows.n_features, h, rows.n_outputs, rows.n_rows)
    fits = available is None or required <= available
    n_rows = dense.searched_rows(problem)
    product = 2.0 * n_rows * h * (rows.n_features + 1 + 2 * rows.n_outputs)
    cost = iteration_cost(problem, n_rows)
    if fits and (cost <= DEAR or cost <= _MUCH_MORE * _PRODUCTS * product):
        return dense
    return Recombining(MatrixFree(), recombine=recombine)
