"""Relocation: take the least useful neurons away and put them where they gain most."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import inv

from anmin.network import ReLUNetwork
from anmin.rows.arrays import ArrayRows
from anmin.search.initialisation import draw, rows_are_few, starting_weights
from anmin.solvers.problem import Problem, State
from anmin.solvers.systems import output_system
from anmin.solvers.varpro import VarPro, VarProState
from anmin.statistics import OutputStatistics

_MOST_CORRELATED = 0.95  # of the outputs of two neurons placed together


@dataclass(frozen=True, eq=False)
class RelocatingState(State):
    """The state of the solver inside, and how relocation has fared.

    ``moved`` neurons are tried at a time; ``attempts`` counts the trials, of which the last ``failures`` were in vain.
    """

    inner: VarProState
    seed: int
    stalled: bool = False
    moved: int = 1
    attempts: int = 0
    failures: int = 0


@dataclass(frozen=True)
class Relocating:
    """A local solver that moves neurons elsewhere whenever it stalls.

    When an iteration lowers the loss by less than ``stall`` times itself, the neurons whose removal costs least,
    Σ_k B_jk²/(K⁻¹)_jj, are replaced by those of many candidates that gain most, ‖φᵀR‖²/(φᵀφ − φᵀS₁K⁻¹S₁ᵀφ), where φ
    is the candidate's output on the rows, R the residuals, and S₁, K those of the output layer. After a few solver
    steps the move is kept if the loss is lower than before, and undone otherwise. Many neurons are moved at first,
    fewer when that fails. After ``max_failures`` moves in vain the solver runs on alone until it settles.

    No iteration raises the loss. Given no start, it begins at :func:`anmin.search.initialisation.starting_weights`.

    Parameters
    ----------
    inner : VarPro
        The local solver.
    stall : float, default 3e-3
        Relative decrease of the loss below which a relocation is tried.
    trial_steps : int, default 6
        Solver steps given to a relocation before it is judged.
    candidates : int, default 192
        Number of hyperplanes proposed; as many again come from one step of ascent of |rᵀσ(X̃v)| from each.
    sample_rows : int, default 10_000
        Rows that candidates are proposed and first judged on.
    finalists : int, default 128
        Candidates judged on all rows.
    least_trial_damping : float, default 1e-3
        Of the first solver step after a move, whose damping is otherwise that of the last step before it.
    first_moved : int, default 8
        Neurons moved at a time at first, at most an eighth of all.
    max_failures : int, default 12
        Relocations in vain, one after another, after which no more are tried.
    """

    inner: VarPro = field(default_factory=VarPro)
    stall: float = 3e-3
    trial_steps: int = 6
    candidates: int = 192
    sample_rows: int = 10_000
    finalists: int = 128
    least_trial_damping: float = 1e-3
    first_moved: int = 8
    max_failures: int = 12

    default_max_iter = None

    def check(self, problem: Problem) -> None:
        """Accept what the solver inside accepts."""
        self.inner.check(problem)

    def required_bytes(self, n_features: int, n_neurons: int, n_outputs: int) -> int:
        """Return the bytes of the solver inside, of a second set of statistics for trials, and of the candidates."""
        k = (n_features + 1) * n_neurons
        candidates = 8 * self.sample_rows * (n_neurons + 2 * self.candidates)
        return self.inner.required_bytes(n_features, n_neurons, n_outputs) + 8 * k**2 + candidates

    def init(self, problem: Problem, network: ReLUNetwork | None, rng: np.random.Generator) -> RelocatingState:
        """Return the state at ``network``, or at hyperplanes through the data with the best linear model among them."""
        if network is None:
            network = _network(starting_weights(problem, rng), problem)
        inner = self.inner.init(problem, network, rng)
        seed = int(rng.integers(2**63))
        moved = max(1, min(self.first_moved, problem.n_neurons // 8))
        failures = self.max_failures if rows_are_few(problem) else 0
        state = RelocatingState(**_public(inner), inner=inner, seed=seed, moved=moved, failures=failures, settled=False)
        return _around(inner, state)

    def step(self, problem: Problem, state: State) -> RelocatingState:
        """Return the state after a step of the solver inside, or after a relocation."""
        assert isinstance(state, RelocatingState)
        finishing = state.failures >= self.max_failures
        if finishing or not state.stalled:
            inner = self.inner.step(problem, state.inner)
            stalled = bool(inner.settled) or state.loss - inner.loss <= self.stall * inner.loss
            settled = inner.settled if finishing else False
            return _around(inner, replace(state, stalled=stalled, settled=settled))
        rng = np.random.default_rng([state.seed, state.attempts])
        trial = self._trial(problem, state, rng)
        if trial.loss < state.loss:
            record = replace(trial.record, branch=f"moved {state.moved}")
            kept = replace(state, stalled=False, attempts=state.attempts + 1, failures=0)
            return _around(replace(trial, record=record), kept)
        failures = state.failures + 1
        # Single moves are the most likely to help late; a larger one now and then leaves what they cannot.
        moved = max(1, state.moved // 2) if state.moved > 1 or failures % 4 else min(4, problem.n_neurons)
        record = replace(state.record, pattern_changes=0, branch=f"undid {state.moved}")
        return replace(state, attempts=state.attempts + 1, failures=failures, moved=moved, record=record)

    def _trial(self, problem: Problem, state: RelocatingState, rng: np.random.Generator) -> VarProState:
        A = self._moved(problem, state, rng)
        trial = self.inner.begin(problem, A, state.statistics)
        trial = replace(trial, damping=max(state.inner.damping, self.least_trial_damping))
        for remaining in range(self.trial_steps - 1, -1, -1):
            before, trial = trial.loss, self.inner.step(problem, trial)
            done = self.trial_steps - remaining
            # Enough if the move has paid off, or would not even if each step left took off as much as the last.
            hopeless = trial.loss - remaining * (before - trial.loss) > state.loss
            if trial.settled or (done > 2 and (hopeless or trial.loss < state.loss)):
                break
        return trial

    def _moved(self, problem: Problem, state: RelocatingState, rng: np.random.Generator) -> NDArray:
        network = state.network
        V = promising(
            problem,
            network,
            state.moved,
            rng,
            candidates=self.candidates,
            sample_rows=self.sample_rows,
            finalists=self.finalists,
        )
        A = network.A.copy()
        A[:, least_useful(network, state.statistics.output(A), problem.alpha, V.shape[1])] = V
        return A


def least_useful(network: ReLUNetwork, output: OutputStatistics, alpha: float, count: int) -> NDArray:
    """Return the numbers of ``count`` neurons, each of least use once those before it are gone.

    Taking neuron j away, with the best output layer for the others, raises the loss by Σ_k B_jk²/(K⁻¹)_jj, with K of
    :func:`anmin.solvers.systems.output_system`; then K⁻¹ and the output layer follow by elimination.
    ``output`` are the sums at the network's hidden weights, whose output layer must be the best one.
    """
    K, _ = output_system(output, alpha)
    inverse, theta = _inverse(K), np.vstack([network.B, network.b0])
    left = np.arange(network.n_neurons)
    gone = []
    for _ in range(count):
        cost = np.sum(theta[left] ** 2, axis=1) / np.diagonal(inverse)[left]
        j = left[np.argmin(cost)]
        gone.append(j)
        left = left[left != j]
        column = inverse[:, j] / inverse[j, j]
        theta = theta - np.outer(column, theta[j])
        inverse = inverse - np.outer(column, inverse[j])
    return np.array(gone, dtype=int)


def promising(
    problem: Problem,
    network: ReLUNetwork,
    count: int,
    rng: np.random.Generator,
    *,
    candidates: int = 192,
    sample_rows: int = 10_000,
    finalists: int = 128,
) -> NDArray:
    """Return hidden weights (p, m) of at most ``count`` neurons that would gain most beside those of ``network``.

    Of the 2·``candidates`` proposed and judged on a sample of rows, ``finalists`` are judged on all. They are fewer
    than ``count`` where not so many are unlike each other.
    """
    sample = problem.rows.sample(sample_rows, rng)
    V = propose(sample, network, candidates, rng)
    gains, _ = candidate_gains(sample, network, V, problem.alpha)
    V = V[:, np.argsort(-gains)[:finalists]]
    gains, similarity = candidate_gains(problem.rows, network, V, problem.alpha)
    chosen: list[int] = []
    for i in map(int, np.argsort(-gains)):
        if len(chosen) == count:
            break
        if np.all(similarity[i, chosen] < _MOST_CORRELATED):
            chosen.append(i)
    return V[:, chosen]


def propose(rows: ArrayRows, network: ReLUNetwork, count: int, rng: np.random.Generator) -> NDArray:
    """Return 2·count candidate neurons (p, 2·count) of unit length.

    Hyperplanes through rows drawn in proportion to their squared error: in random directions, through a second such
    row, and in directions near those of the network's neurons, a third each; and each of them after a step of ascent
    of ‖Σ_i w_i r_i σ(x̃_iᵀv)‖ at its pattern.
    """
    d = rows.n_features
    X = rows.X.astype(np.float64, copy=False)
    w = np.ones(len(X)) if rows.w is None else rows.w
    residuals = rows.Y - network.predict(X)
    errors = w * np.sum(residuals**2, axis=1)
    through, second = (X[draw(X, errors, count, rng)] for _ in range(2))
    directions = rng.standard_normal((count, d))
    kinds = np.arange(count) % 3
    if d > 1:
        between = through - second
        squares = np.sum(between**2, axis=1)
        along = np.where(squares > 0, np.sum(directions * between, axis=1) / np.where(squares > 0, squares, 1.0), 0.0)
        directions = np.where((kinds == 1)[:, None], directions - along[:, None] * between, directions)
    near = network.A[1:, rng.integers(network.n_neurons, size=count)].T
    near = near / np.maximum(np.linalg.norm(near, axis=1, keepdims=True), 1e-300)
    directions = np.where((kinds == 2)[:, None], near + 0.3 * directions / np.sqrt(d), directions)
    V = _unit(np.vstack([-np.sum(through * directions, axis=1), directions.T]))
    Xt = np.column_stack([np.ones(len(X)), X])
    G = np.where(Xt @ V > 0, 1.0, network.negative_slope) * w[:, None]
    # Σ_k (vᵀC_k) C_k with C_k = Σ_i w_i G_i x̃_i r_ik: the gradient of half the squared norm.
    C = np.stack([(G * r[:, None]).T @ Xt for r in _leading(residuals).T], axis=2)
    ascent = np.einsum("mpk,mk->pm", C, np.einsum("pm,mpk->mk", V, C))
    return np.hstack([V, _unit(V + 0.3 * _unit(ascent))])


def candidate_gains(rows: ArrayRows, network: ReLUNetwork, V: NDArray, alpha: float) -> tuple[NDArray, NDArray]:
    """Return what each candidate (p, m) would take off the loss with the best output layer, and how alike they are.

    The gain, shape (m,), is ‖φᵀR‖²/(φᵀφ + alpha − φᵀS₁K⁻¹S₁ᵀφ), all per unit of weight; the likeness, shape (m, m), is
    the absolute cosine of the candidates' outputs.
    """
    h = network.n_neurons
    K, right = output_system(rows.output_statistics(np.hstack([network.A, V]), network.negative_slope), alpha)
    new = np.arange(h, h + V.shape[1])
    old = np.r_[np.arange(h), h + V.shape[1]]
    theta = np.vstack([network.B, network.b0])
    cross = K[np.ix_(new, old)]
    square = np.diagonal(K)[new]
    left = square - np.einsum("ij,ij->i", cross @ _inverse(K[np.ix_(old, old)]), cross)
    correlation = right[new] - cross @ theta
    gains = np.sum(correlation**2, axis=1) / np.maximum(left, 1e-9 * square + 1e-300)
    norms = np.sqrt(np.maximum(square, 1e-300))
    return gains, np.abs(K[np.ix_(new, new)]) / np.outer(norms, norms)


def _around(inner: VarProState, state: RelocatingState) -> RelocatingState:
    return replace(
        state, inner=inner, network=inner.network, statistics=inner.statistics, loss=inner.loss, record=inner.record
    )


def _public(inner: VarProState) -> dict:
    return {"network": inner.network, "statistics": inner.statistics, "loss": inner.loss, "record": inner.record}


def _network(A: NDArray, problem: Problem) -> ReLUNetwork:
    h, c = A.shape[1], problem.rows.n_outputs
    return ReLUNetwork(A, np.zeros((h, c)), np.zeros(c), problem.negative_slope)


def _leading(residuals: NDArray, most: int = 8) -> NDArray:
    """Return the residuals in their leading directions, at most ``most`` columns: enough to climb by."""
    if residuals.shape[1] <= most:
        return residuals
    _, vectors = np.linalg.eigh(residuals.T @ residuals)
    return residuals @ vectors[:, -most:]


def _unit(V: NDArray) -> NDArray:
    return V / np.maximum(np.linalg.norm(V, axis=0), 1e-300)


def _inverse(K: NDArray) -> NDArray:
    # With alpha = 0 the matrix may be singular; a relative 1e-12 on its diagonal makes no difference otherwise.
    return inv(K + 1e-12 * np.trace(K) / len(K) * np.eye(len(K)))
