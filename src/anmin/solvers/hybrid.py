"""Variable projection by the cheaper kind of step: without the matrix far from an optimum, with it near one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from numpy.typing import NDArray

from anmin.rows.products import PatternProducts
from anmin.solvers.levenberg_marquardt import LevenbergMarquardt, VarProState
from anmin.solvers.matrix_free import MatrixFree
from anmin.solvers.problem import PatternSums, Problem, State
from anmin.solvers.varpro import VarPro
from anmin.statistics import OutputStatistics

_PRODUCTS = 6  # pairs of them that a step without the matrix takes
_MUCH_CHEAPER = 2.0
_OF_STEP = ("optimality", "damping", "products", "branch", "pattern_changes")
_OVERHEAD = 3e-3  # seconds of a step without the matrix, however small
_FACTORISATION = 1e-11  # seconds for each of the k³ of a system of order k, with what leads to it


@dataclass(frozen=True)
class Hybrid(LevenbergMarquardt):
    """Levenberg–Marquardt that begins with the steps of MatrixFree, and goes over to those of VarPro.

    Far from an optimum a rough step lowers the loss nearly as much as an exact one, and a neuron's pattern changes on
    many rows, which makes the sums of the exact one dear. So where they are much cheaper
    (:meth:`cheaper_without_matrix`), steps are taken by :class:`anmin.solvers.MatrixFree` until one lowers the loss by
    less than ``rough_until`` times itself, and by :class:`anmin.solvers.VarPro` from then on.

    Parameters
    ----------
    damping : float, default 0.1
        First μ of the rough steps; ``rough`` and ``exact`` bring all other settings of theirs.
    rough_until : float, default 0.01
    rough : MatrixFree
    exact : VarPro
    """

    damping: float = 0.1
    rough_until: float = 0.01
    rough: MatrixFree = field(default_factory=MatrixFree)
    exact: VarPro = field(default_factory=VarPro)

    def check(self, problem: Problem) -> None:
        """Accept every problem."""

    def sums_bytes(self, n_features: int, n_neurons: int, n_outputs: int, n_rows: int) -> int:
        """Return the bytes of the larger of the two kinds of sums."""
        return max(solver.sums_bytes(n_features, n_neurons, n_outputs, n_rows) for solver in (self.rough, self.exact))

    def required_bytes(self, n_features: int, n_neurons: int, n_outputs: int, n_rows: int = 0) -> int:
        """Return the bytes of the needier of the two solvers."""
        solvers = (self.rough, self.exact)
        return max(solver.required_bytes(n_features, n_neurons, n_outputs, n_rows) for solver in solvers)

    def sums(
        self,
        problem: Problem,
        A: NDArray,
        since: PatternSums | None = None,
        tried: OutputStatistics | None = None,
    ) -> PatternSums:
        """Return the sums of the exact steps, unless ``since`` are those of the rough ones."""
        if isinstance(since, PatternProducts):
            return self.rough.sums(problem, A, since, tried)
        return self.exact.sums(problem, A, since, tried)

    def begin(
        self,
        problem: Problem,
        A: NDArray,
        since: PatternSums | None = None,
        tried: OutputStatistics | None = None,
    ) -> VarProState:
        """Return the state at hidden weights A (p, h): of the kind of ``since``, or of the rough kind if that pays."""
        if since is None and self.cheaper_without_matrix(problem):
            return self.at(problem, A, self.rough.sums(problem, A, tried=tried), self.damping)
        if isinstance(since, PatternProducts):
            return self.rough.begin(problem, A, since, tried)
        return self.exact.begin(problem, A, since, tried)

    def step(self, problem: Problem, state: State) -> VarProState:
        """Return the state after one step that lowers the loss, or the same one, settled, if there is none."""
        assert isinstance(state, VarProState)
        if not self.is_rough(state):
            return self.exact.step(problem, state)
        taken = self.rough.step(problem, state)
        if not taken.settled and state.loss - taken.loss >= self.rough_until * state.loss:
            return taken
        A = taken.network.A
        sums = self.exact.sums(problem, A, tried=taken.statistics.output(A))
        exact = self.exact.at(problem, A, sums, taken.damping)
        of_step = {name: getattr(taken.record, name) for name in _OF_STEP}
        return replace(exact, record=replace(exact.record, **of_step))

    def is_rough(self, state: State) -> bool:
        """Return whether the next step will be without the matrix."""
        return isinstance(state.statistics, PatternProducts)

    def cheaper_without_matrix(self, problem: Problem) -> bool:
        """Return whether a step without the matrix takes less than half of the time of one with it."""
        rows, h = problem.rows, problem.n_neurons
        k = h * (rows.n_features + 1)
        rough = 2 * _PRODUCTS * rows.seconds_of_products(h)
        return _MUCH_CHEAPER * (_OVERHEAD + rough) < rows.seconds_of_statistics(h) + _FACTORISATION * k**3
