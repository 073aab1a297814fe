"""The methods that find the weights; each is a frozen dataclass of settings, run by :func:`anmin.solvers.solve`."""

from anmin.solvers.altmin import AltMin
from anmin.solvers.anmin import Anmin
from anmin.solvers.hybrid import Hybrid
from anmin.solvers.loop import Solution, solve
from anmin.solvers.matrix_free import MatrixFree
from anmin.solvers.problem import Problem, Solver, State
from anmin.solvers.relaxed import RelaxedDescent
from anmin.solvers.varpro import VarPro

#: Solvers by the names that estimators and the command line take; "auto" is what the user gets unless the problem is
#: too large for it (:func:`anmin.search.automatic_solver`).
SOLVERS: dict[str, Solver] = {
    "auto": Hybrid(),
    "anmin": Anmin(),
    "varpro": VarPro(),
    "matrix_free": MatrixFree(),
    "altmin": AltMin(),
    "relaxed": RelaxedDescent(),
}

__all__ = [
    "SOLVERS",
    "AltMin",
    "Anmin",
    "Hybrid",
    "MatrixFree",
    "Problem",
    "RelaxedDescent",
    "Solution",
    "Solver",
    "State",
    "VarPro",
    "solve",
]
