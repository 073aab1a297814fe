"""What is done around a solver to find a deeper optimum."""

from anmin.search.automatic import automatic_solver
from anmin.search.recombination import Recombining
from anmin.search.restarts import solve_with_restarts

__all__ = ["Recombining", "automatic_solver", "solve_with_restarts"]
