"""Recombination: join two networks, let the solver fit the joint one, and prune it back to the width asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anmin.network import ReLUNetwork
from anmin.search.flips import without_linear_part
from anmin.search.initialisation import DEAR, iteration_cost, rows_are_few, starting_weights
from anmin.search.pruning import LEAST_DAMPING, SHARE, STEPS, count_to_go, narrowed
from anmin.search.relocation import promising
from anmin.solvers.hybrid import Hybrid
from anmin.solvers.levenberg_marquardt import LevenbergMarquardt, VarProState
from anmin.solvers.problem import Problem, State
from anmin.solvers.systems import output_layer
from anmin.statistics import PatternStatistics

_SAMPLED_PER_WEIGHT = 10
_MOST_SAMPLED, _MOST_PER_WEIGHT = 50_000, 100
_NEWS = 0.01  # relative decrease of the loss on a sample for which all rows are visited
_CHEAP = 1e9  # cost of an iteration below which more children in vain are borne
_ALIKE = 1e-6  # relative difference of the losses of two networks taken for the same


class Member(NamedTuple):
    """A network of the pool: its number, its hidden weights (p, h) and its loss on the rows of the present stage."""

    number: int
    A: NDArray
    loss: float


@dataclass(frozen=True, eq=False)
class RecombiningState(State):
    """The best network so far, and where the search stands.

    Attributes
    ----------
    pool : tuple of Member
        The networks that are recombined.
    work : VarProState or None
        The network in the making, None between two.
    phase : str
        What is done with it: "parent", "joined", "pruned", "child" or "finish"; or "only" with one network for all.
    steps : int
        Solver steps that the phase may still take.
    staged : Problem
        The problem on the sample of rows that the search is at; the last one has all rows.
    stage : int
        Number of that sample.
    made : int
        Networks begun so far, which seeds the next and numbers it.
    children : int
        Children made at this stage.
    failures : int
        Children since the last that was worth its while.
    tried : frozenset of pairs of int
        Members that have been joined.
    parents : pair of int
        Numbers of those now joined.
    shown : float
        Loss on the sample of the network that was last tried on all rows.
    turned, turning : bool
        Whether the last resort has been tried since the last worthwhile child, and whether it is to be tried now.
    """

    seed: int
    staged: Problem
    pool: tuple[Member, ...] = ()
    work: VarProState | None = None
    phase: str = "parent"
    steps: int = 0
    stage: int = 0
    made: int = 0
    children: int = 0
    failures: int = 0
    tried: frozenset[tuple[int, int]] = frozenset()
    parents: tuple[int, int] = (-1, -1)
    shown: float = np.inf
    turned: bool = False
    turning: bool = False


@dataclass(frozen=True)
class Recombining:
    """A local solver that fits several networks and goes on by joining two of them at a time.

    ``parents`` networks are fitted from different starts. Then, again and again, the hidden layers of two are put side
    by side, or one is grown by new neurons where they gain most (:func:`anmin.search.relocation.promising`); after a
    few solver steps at that width the least useful neurons are taken away, a few at a time with solver steps in
    between, until the width is as before. The child takes the place of a parent, or of the worst network, if it is
    better. Untried pairs of low loss come first; where none is left, a new parent joins the pool. After
    ``max_failures`` children in a row none of which lowered the loss by ``worthwhile`` times itself, and a last one
    whose neurons are turned round to do without a linear part (:func:`anmin.search.flips.without_linear_part`), the
    best network is fitted until it settles; neurons that are active nowhere, or equal to another, find a new place.

    Large data are climbed in stages: parents and the first children see a sample of ``sample_rows`` rows, the next
    children four times as many, and so on until the last ones see all, or 100 rows for each weight: where there are
    more than twice as many, only the last fit sees all. The network and the loss that a state shows are of the best
    network so far on all rows, so no iteration raises the loss. One iteration is one solver step. Where
    the rows are few (:func:`anmin.search.initialisation.rows_are_few`), or a single iteration takes some seconds, there
    is one network and no more.

    Parameters
    ----------
    inner : Hybrid, VarPro or MatrixFree
        The local solver.
    parents : int, default 4
    parent_steps, joined_steps, pruned_steps, child_steps : int
        Solver steps for a parent, at twice the width, after each pruning, and at the end.
    pruned_share : float, default 0.06
        Share of the neurons taken away at a time.
    stall : float, default 3e-3
        Relative decrease of the loss below which no more steps are taken with a parent; a third of it for a child.
    least_damping : float, default 1e-3
        Of the first step after neurons were added or taken away.
    sample_rows : int, default 5000
        Rows of the first stage, or ten for each weight (of each output) if that is more.
    sampled_children : int, default 16
        Children at each stage before the last.
    worthwhile : float, default 2e-3
    max_failures : int, default 4
        Up to four times as many where a pass and a solve cost little.
    grown_often, grown_share : float, default 0.5 and 0.25
        How often a child is grown, and by what share of the neurons.
    steepest : bool, default False
        Whether neurons of growth and revival are sought among the ends of climbs too, the steepest neuron first.
    recombine : bool, default True
        False leaves one parent, fitted on all rows until it settles.
    """

    inner: LevenbergMarquardt = field(default_factory=Hybrid)
    parents: int = 4
    parent_steps: int = 30
    joined_steps: int = 6
    pruned_steps: int = STEPS
    child_steps: int = 15
    pruned_share: float = SHARE
    stall: float = 3e-3
    least_damping: float = LEAST_DAMPING
    sample_rows: int = 5000
    sampled_children: int = 16
    worthwhile: float = 2e-3
    max_failures: int = 4
    grown_share: float = 0.25
    grown_often: float = 0.5
    steepest: bool = False
    recombine: bool = True

    default_max_iter = None

    def check(self, problem: Problem) -> None:
        """Accept what the solver inside accepts."""
        self.inner.check(problem)

    def searches(self, problem: Problem) -> bool:
        """Return whether there will be more than one network."""
        return self.recombine and not rows_are_few(problem) and self._cost(problem) <= DEAR

    def searched_rows(self, problem: Problem) -> int:
        """Return how many rows the networks of the search see at most."""
        return self._stages(problem)[-1]

    def _cost(self, problem: Problem) -> float:
        return iteration_cost(problem, self.searched_rows(problem))

    def required_bytes(self, n_features: int, n_neurons: int, n_outputs: int, n_rows: int = 0) -> int:
        """Return the bytes of the solver inside at twice the width, and of the best network's sums."""
        k = (n_features + 1) * n_neurons
        width = 2 * n_neurons if self.recombine and k**3 < DEAR else n_neurons
        best = self.inner.sums_bytes(n_features, n_neurons, n_outputs, n_rows)
        return self.inner.required_bytes(n_features, width, n_outputs, n_rows) + best

    def init(self, problem: Problem, network: ReLUNetwork | None, rng: np.random.Generator) -> RecombiningState:
        """Return the state at ``network``, or at hyperplanes through the data with the best linear model among them."""
        A = starting_weights(problem, rng) if network is None else network.A
        begun = self.inner.begin(problem, A)
        seed = int(rng.integers(2**63))
        state = RecombiningState(**_public(begun), seed=seed, staged=problem, settled=False)
        if rows_are_few(problem):
            return replace(state, work=begun, phase="only", steps=self.parent_steps)
        if not self.searches(problem):
            return replace(state, work=begun, phase="finish")
        state = self._at_stage(problem, state, 0)
        work = begun if state.staged is problem else self.inner.begin(state.staged, A)
        return replace(state, work=work, steps=self.parent_steps, made=1)

    def step(self, problem: Problem, state: State) -> RecombiningState:
        """Return the state after one step of the solver inside, with all that can be decided after it."""
        assert isinstance(state, RecombiningState)
        if state.work is None:
            return self._next(problem, state)
        before = self._revived(problem, state.work, state) if state.phase == "finish" else state.work
        working = replace(state.staged, n_neurons=before.network.n_neurons)
        work = self.inner.step(working, before)
        state = replace(state, work=work, steps=state.steps - 1)
        if state.phase == "finish":
            return replace(self._shown(problem, state, work), settled=True if work.settled else None)
        stall = {"only": self.stall, "parent": self.stall, "child": self.stall / 3}.get(state.phase, 0.0)
        stalled = bool(work.settled) or before.loss - work.loss <= stall * work.loss
        if work.network.n_neurons == problem.n_neurons:
            state = self._shown(problem, state, work)
        else:
            state = _unchanged(state, state.phase)
        if state.steps > 0 and not stalled:
            return state
        if work.network.n_neurons > problem.n_neurons:
            return self._pruned(working, problem.n_neurons, state)
        if state.phase == "pruned":
            return replace(state, phase="child", steps=self.child_steps)
        if state.phase == "only":
            return replace(state, settled=True)
        return self._finished(problem, state)

    def _pruned(self, problem: Problem, width: int, state: RecombiningState) -> RecombiningState:
        assert state.work is not None
        network = state.work.network
        count = count_to_go(network.n_neurons, width, self.pruned_share)
        if state.turning:
            rng = np.random.default_rng([state.seed, 2, state.made])
            A = without_linear_part(network, state.work.statistics.active, problem.rows.n_rows, rng)
            if width <= A.shape[1] < network.n_neurons:
                work = self.inner.begin(replace(problem, n_neurons=A.shape[1]), A)
                return replace(state, work=work, phase="pruned", steps=self.joined_steps, turning=False)
        work = narrowed(problem, self.inner, state.work, count, self.least_damping)
        return replace(state, work=work, phase="pruned", steps=self.pruned_steps)

    def _finished(self, problem: Problem, state: RecombiningState) -> RecombiningState:
        """Take the finished network into the pool."""
        work, pool = state.work, list(state.pool)
        assert work is not None
        best = min((member.loss for member in pool), default=np.inf)
        member = Member(state.made, work.network.A, work.loss)
        if state.staged is problem or work.loss < min(best, (1 - _NEWS) * state.shown):
            state = replace(self._shown(problem, state, work, always=True), shown=work.loss)
        if state.phase == "parent":
            pool.append(member)
            return replace(state, pool=tuple(pool), work=None)
        worthwhile = work.loss < best * (1 - self.worthwhile)
        failures = 0 if worthwhile else state.failures + 1
        state = replace(state, turned=state.turned and not worthwhile, turning=False)
        new = all(abs(work.loss - other.loss) > _ALIKE * work.loss for other in pool)
        worst = max(pool, key=lambda other: other.loss)
        worse = max((other for other in pool if other.number in state.parents), key=lambda other: other.loss)
        replaced = worse if work.loss < worse.loss else worst
        if new and work.loss < replaced.loss:
            pool[pool.index(replaced)] = member
        if len(pool) > self.parents:
            pool.remove(max(pool, key=lambda other: other.loss))
        return replace(state, pool=tuple(pool), work=None, failures=failures, children=state.children + 1)

    def _next(self, problem: Problem, state: RecombiningState) -> RecombiningState:
        """Begin the next network: a parent, a child, or at the end the best once more."""
        rng = np.random.default_rng([state.seed, state.made])
        if len(state.pool) < self.parents and state.stage == 0:
            return self._new_parent(state, rng)
        last = state.stage == len(self._stages(problem)) - 1
        if state.failures >= self._patience(problem) if last else state.children >= self.sampled_children:
            if last and state.turned:
                return self._finish(problem, state)
            if last:
                return replace(self._grown(state, rng), turned=True, turning=True)
            climbed = self._at_stage(problem, replace(state, failures=0, children=0, shown=np.inf), state.stage + 1)
            return _unchanged(climbed, "stage")
        if self.grown_share > 0 and rng.random() < self.grown_often:
            return self._grown(state, rng)
        pairs = [
            (first, second)
            for i, first in enumerate(state.pool)
            for second in state.pool[:i]
            if _pair(first, second) not in state.tried
        ]
        if not pairs:
            return self._new_parent(state, rng)
        first, second = min(pairs, key=lambda pair: pair[0].loss + pair[1].loss)
        if rng.random() < 0.3:
            first, second = pairs[rng.integers(len(pairs))]
        state = replace(state, tried=state.tried | {_pair(first, second)}, parents=(first.number, second.number))
        return self._joined(state, np.hstack([first.A, second.A]), "join")

    def _grown(self, state: RecombiningState, rng: np.random.Generator) -> RecombiningState:
        """Begin a child of one member of the pool, with new neurons beside its own."""
        member = min(state.pool, key=lambda other: other.loss)
        if rng.random() < 0.3:
            member = state.pool[rng.integers(len(state.pool))]
        staged = state.staged
        output = staged.rows.output_statistics(member.A, staged.negative_slope)
        network = ReLUNetwork(member.A, *output_layer(output, staged.alpha), staged.negative_slope)
        V = promising(staged, network, max(1, round(self.grown_share * staged.n_neurons)), rng, steepest=self.steepest)
        state = replace(state, parents=(member.number, member.number))
        return self._joined(state, np.hstack([member.A, V]), "grow")

    def _joined(self, state: RecombiningState, A: NDArray, what: str) -> RecombiningState:
        work = self.inner.begin(replace(state.staged, n_neurons=A.shape[1]), A)
        work = replace(work, damping=self.least_damping)
        state = replace(state, work=work, phase="joined", steps=self.joined_steps, made=state.made + 1)
        return _unchanged(state, what)

    def _new_parent(self, state: RecombiningState, rng: np.random.Generator) -> RecombiningState:
        work = self.inner.begin(state.staged, starting_weights(state.staged, rng))
        state = replace(state, work=work, phase="parent", steps=self.parent_steps, made=state.made + 1)
        return _unchanged(state, "start")

    def _finish(self, problem: Problem, state: RecombiningState) -> RecombiningState:
        """Begin to fit the best network to the end, on all rows."""
        best = min(state.pool, key=lambda member: member.loss)
        work = self.inner.begin(problem, state.network.A if state.staged is problem else best.A)
        if not work.loss < state.loss and state.staged is not problem:
            work = self.inner.begin(problem, state.network.A)
        return self._shown(problem, replace(state, staged=problem, work=work, phase="finish"), work)

    def _revived(self, problem: Problem, work: VarProState, state: RecombiningState) -> VarProState:
        """Put neurons that are active on no row, or have the direction of another, where they gain most."""
        alike = work.network.first_alike() != np.arange(work.network.n_neurons)
        spare = np.flatnonzero((work.statistics.active == 0) | alike)
        if not spare.size:
            return work
        rng = np.random.default_rng([state.seed, 1, state.record.iteration])
        V = promising(problem, work.network, len(spare), rng, steepest=self.steepest)
        A = work.network.A.copy()
        A[:, spare[: V.shape[1]]] = V
        revived = self.inner.begin(problem, A, work.statistics)
        # With a large penalty nothing that a neuron could do may be worth its weights.
        return revived if revived.loss < work.loss else work

    def _shown(
        self, problem: Problem, state: RecombiningState, work: VarProState, *, always: bool = False
    ) -> RecombiningState:
        """Show ``work`` if it is better than what the state shows, on all rows.

        Before the last stage its loss on all rows is found out only if told so.
        """
        if state.staged is not problem:
            if not always:
                return _unchanged(state, state.phase)
            A = work.network.A
            since = state.statistics if isinstance(state.statistics, PatternStatistics) else None
            output = problem.rows.output_statistics(A, problem.negative_slope, since)
            if not output.loss(A, *output_layer(output, problem.alpha), problem.alpha) < state.loss:
                return _unchanged(state, state.phase)
            work = self.inner.begin(problem, A, state.statistics, output)
        if not work.loss < state.loss:
            return _unchanged(state, state.phase)
        record = replace(work.record, branch=state.phase)
        return replace(state, **{**_public(work), "record": record})

    def _patience(self, problem: Problem) -> float:
        """Return how many children in vain end the search: more where they cost next to nothing."""
        return self.max_failures * min(max(1.0, (_CHEAP / self._cost(problem)) ** 0.5), 4.0)

    def _stages(self, problem: Problem) -> list[int]:
        """Return the numbers of rows of the stages of the search."""
        n_rows, n_outputs = problem.rows.n_rows, problem.rows.n_outputs
        n_weights = problem.n_neurons * (problem.rows.n_features + 1 + n_outputs)
        rows = max(self.sample_rows, _SAMPLED_PER_WEIGHT * n_weights // n_outputs)
        most = max(_MOST_SAMPLED, _MOST_PER_WEIGHT * n_weights // n_outputs, rows)
        last = n_rows if n_rows <= 2 * most else most
        stages = []
        while 2 * rows < last:
            stages.append(rows)
            rows *= 4
        return [*stages, last]

    def staged(self, problem: Problem, seed: int, stage: int) -> Problem:
        """Return the problem on the sample of rows of a stage, or itself where that is all rows."""
        count = self._stages(problem)[stage]
        if count >= problem.rows.n_rows:
            return problem
        sample = problem.rows.sample(count, np.random.default_rng([seed, 0, stage]))
        return replace(problem, rows=sample)

    def _at_stage(self, problem: Problem, state: RecombiningState, stage: int) -> RecombiningState:
        """Return the state at another stage, with the losses of the pool on its rows."""
        staged = self.staged(problem, state.seed, stage)
        pool = []
        for member in state.pool:
            output = staged.rows.output_statistics(member.A, staged.negative_slope)
            loss = output.loss(member.A, *output_layer(output, staged.alpha), staged.alpha)
            pool.append(member._replace(loss=loss))
        return replace(state, staged=staged, stage=stage, pool=tuple(pool))


def _pair(first: Member, second: Member) -> tuple[int, int]:
    return min(first.number, second.number), max(first.number, second.number)


def _public(work: VarProState) -> dict:
    return {"network": work.network, "statistics": work.statistics, "loss": work.loss, "record": work.record}


def _unchanged(state: RecombiningState, what: str) -> RecombiningState:
    return replace(state, record=replace(state.record, pattern_changes=0, branch=what))
