"""The penalty of a loss that is minus the logarithm of a probability, by what rows that were held out say of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anmin.checkpoint import Checkpoint
from anmin.generalised import asked_alpha
from anmin.history import Status
from anmin.network import ReLUNetwork
from anmin.rows.arrays import ArrayRows
from anmin.search.quasi_newton import QuasiNewton
from anmin.search.reweighted import Reweighted, local_solver
from anmin.solvers.loop import solve
from anmin.solvers.problem import Problem

_FOLDS, _MOST_FITS = 5, 10
_ENOUGH_ROWS = 800  # held out, in as many fits as it takes
_SAMPLE_ROWS = 20_000
_STEP = np.sqrt(10.0)  # from one penalty to the next
_SPREAD = np.log(2.0)  # of the logarithm of the penalty about the one that the evidence asks for
_MOST_STEPS = 12
_TOL, _MOST_ITERATIONS = 1e-4, 300
_ROUNDS, _AGREED = 3, np.log(1.5)  # of evidence and fit
_LEAST_RELEVANCE = 1e-3
_EQUAL = 1e-9  # relative difference between projections of equal rows
_GONE = 1e-3  # sum of squares of hidden weights that predict a constant, from which no fit gets away
_CUT_SHORT = (Status.INTERRUPTED, Status.MAX_TIME)


@dataclass(frozen=True, eq=False)
class Weighed:
    """A penalty, and what the inputs are to be multiplied by for it.

    Attributes
    ----------
    alpha : float
    relevance : ndarray of shape (d,)
        With mean square 1; ones unless it was asked for, and held-out rows are predicted better with it.
    cut_short : Status or None
        What ended the choice before its time.
    """

    alpha: float
    relevance: NDArray
    cut_short: Status | None = None


class CutShortError(Exception):
    """The time was up, or an interrupt came: ``status`` says which."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.value)
        self.status = status


def cross_validated(
    problem: Problem,
    rng: np.random.Generator,
    *,
    relevance: bool = False,
    deadline: float | None = None,
    checkpoint: Checkpoint | None = None,
) -> Weighed:
    """Return the penalty that is the most probable by rows held out, to two digits.

    With q_i(α) the probability of the held-out row i by a network fitted to the other folds at the same α·n, and the
    penalty α₀ on which evidence and fit about agree (:func:`anmin.generalised.asked_alpha`), the logarithm of a
    pseudo-posterior of α is

        Σ_i w_i log q_i(α) − log²(α/α₀)/(2·log² 2)

    The sum stands for the logarithm of the evidence (Geisser & Eddy 1979), and counts what Laplace's approximation does
    not: that the pattern was chosen, and that the weights are not normally distributed where classes are far apart, so
    that it asks for too much. Where rows are few, the sum says little of α, and says it by the few rows that are
    predicted worst; there the evidence has its say, as if it were right within a factor of two.

    From α₀ it goes on by factors of √10 as long as that raises the sum, each fit from the one before, and ends with the
    vertex of the parabola through the best three. Of the rows a fifth is held out at a time, until that makes 800, or
    10 fits; of more than 20,000 rows a sample is taken. Equal rows are held out together, so that rows may be weighted
    or repeated, and come in any order.

    With ``relevance``, the inputs are multiplied by the norms of their hidden weights in a fit at α₀, if that raises
    the sum: as one penalty for all takes a unit of every input for equally far, those of little use get a larger one
    (after automatic relevance determination: MacKay 1994). For the sum they come from the rows that are not held out.

    Parameters
    ----------
    problem : Problem
        Its loss must be a :class:`anmin.losses.Likelihood`; ``problem.alpha`` is not used.
    rng : numpy.random.Generator
    relevance : bool, default False
    deadline : float, optional
        Reading of ``time.perf_counter()`` at which the best so far is taken.
    checkpoint : Checkpoint, optional
        Where the choice is kept, unless it was cut short, and found.

    Returns
    -------
    Weighed
        Also after an interrupt: what it has come to then.

    References
    ----------
    Geisser & Eddy, A predictive approach to model selection, 1979. MacKay, Bayesian non-linear modelling for the
    prediction competition, 1994.
    """
    if checkpoint is not None and "weighed" in checkpoint.decided:
        alpha, factors, rng.bit_generator.state = checkpoint.decided["weighed"]
        return Weighed(alpha, factors)
    chosen = _chosen(problem, rng, relevance, deadline)
    if checkpoint is not None and chosen.cut_short is None:
        checkpoint.decide("weighed", (chosen.alpha, chosen.relevance, rng.bit_generator.state))
    return chosen


def _chosen(problem: Problem, rng: np.random.Generator, relevance: bool, deadline: float | None) -> Weighed:
    rows = ArrayRows(problem.rows.X, problem.rows.Y, problem.rows.w).sample(_SAMPLE_ROWS, rng)
    fits = _Fits(replace(problem, rows=rows, alpha=1 / (2 * rows.n)), int(rng.integers(2**31)), deadline)
    factors, found, cut = np.ones(rows.n_features), {0: np.inf}, None
    try:
        network = fits.agreed()
        parts = parts_of(rows, rng)
        found[0], first = fits.scored(parts, [None] * len(parts), 0)
        if relevance and parts:
            of_parts = [relevance_of(one) for one in first]
            scaled = [part.scaled(own) for part, own in zip(parts, of_parts, strict=True)]
            starts = [_divided(one, own) for one, own in zip(first, of_parts, strict=True)]
            score, networks = fits.scored(scaled, starts, 0)
            if score < found[0]:
                parts, first, found[0], factors = scaled, networks, score, relevance_of(network)
        for step in (-1, 1) if parts else ():
            level, networks = 0, first
            while abs(level) < _MOST_STEPS:
                found[level + step], networks = fits.scored(parts, networks, level + step)
                if not found[level + step] < found[level]:
                    break
                level += step
            if level:
                break
    except CutShortError as error:
        cut = error.status
    except KeyboardInterrupt:
        cut = Status.INTERRUPTED
    alpha = fits.problem.alpha * _STEP ** _lowest(found) * rows.n / problem.rows.n
    return Weighed(float(f"{alpha:.1e}"), factors, cut)


class Part(NamedTuple):
    """Rows to fit, and rows held out."""

    fitted: ArrayRows
    held_out: ArrayRows

    def scaled(self, factors: NDArray) -> Part:
        """Return both with the inputs multiplied by factors (d,)."""
        return Part(*(ArrayRows(rows.X * factors, rows.Y, rows.w) for rows in self))


class _Fits:
    """Fits of a problem to some of its rows, at its penalty times some factor."""

    def __init__(self, problem: Problem, seed: int, deadline: float | None) -> None:
        self.problem, self._seed, self._deadline = problem, seed, deadline

    def at(self, rows: ArrayRows, start: ReLUNetwork | None, factor: float = 1.0) -> ReLUNetwork:
        """Return the network fitted to rows, at the same penalty of a sum over them; raise CutShortError."""
        now = time.perf_counter()
        solution = solve(
            replace(self.problem, rows=rows, alpha=self.problem.alpha * factor * self.problem.rows.n / rows.n),
            QuasiNewton(),
            start=start if start is not None and np.vdot(start.A, start.A) > _GONE else None,
            tol=_TOL,
            max_iter=_MOST_ITERATIONS,
            rng=np.random.default_rng(self._seed),
            max_time=None if self._deadline is None else self._deadline - now,
        )
        if solution.status in _CUT_SHORT:
            raise CutShortError(solution.status)
        return solution.network

    def agreed(self) -> ReLUNetwork:
        """Set the penalty to what the evidence of a fit with it about asks for, and return the network of that fit."""
        for _ in range(_ROUNDS):
            network = self.at(self.problem.rows, None)
            asked = asked_alpha(self.problem, Reweighted(local_solver(self.problem)), network)
            agreed = abs(np.log(asked / self.problem.alpha)) <= _AGREED
            self.problem = replace(self.problem, alpha=asked)
            if agreed:
                break
        return network

    def scored(
        self, parts: Sequence[Part], starts: Sequence[ReLUNetwork | None], level: int
    ) -> tuple[float, list[ReLUNetwork]]:
        """Return minus the logarithm of the pseudo-posterior at √10 to the power of a level, and the networks."""
        loss, total, n = self.problem.loss, 0.0, 0.0
        assert loss is not None
        networks = [self.at(part.fitted, start, _STEP**level) for part, start in zip(parts, starts, strict=True)]
        for part, network in zip(parts, networks, strict=True):
            rows = part.held_out
            values = loss.values(network.predict(rows.X), rows.Y)
            total += float(values.sum() if rows.w is None else rows.w @ values)
            n += rows.n
        total *= self.problem.rows.n / max(n, 1.0)
        total += (level * np.log(_STEP) / _SPREAD) ** 2 / 2
        return (total if np.isfinite(total) else np.inf), networks


def dealt(rows: ArrayRows, count: int, rng: np.random.Generator) -> tuple[NDArray, int]:
    """Return the number of the fold of each row (N,), of ``count``, and how many different rows there are.

    Of each ``count`` rows that follow each other in the order of their targets, and of a random direction where these
    are equal, one goes into each fold. Equal rows go into the same.
    """
    along = rows.X.astype(np.float64, copy=False) @ rng.standard_normal(rows.n_features)
    order = np.lexsort((along, *rows.Y.T))
    new = np.any(rows.Y[order[1:]] != rows.Y[order[:-1]], axis=1)
    new |= np.diff(along[order]) > _EQUAL * np.abs(along).max()
    place = np.concatenate([[0], np.cumsum(new)])
    groups = int(place[-1]) + 1
    deals = np.concatenate([rng.permutation(count) for _ in range(-(-groups // count))])
    fold = np.empty(rows.n_rows, dtype=np.int64)
    fold[order] = deals[place]
    return fold, groups


def relevance_of(network: ReLUNetwork) -> NDArray:
    """Return the norms of the hidden weights of each input, over their root mean square, shape (d,); none is zero."""
    norms = np.linalg.norm(network.A[1:], axis=1)
    mean = float(np.sqrt(np.mean(norms**2)))
    relevances = np.maximum(norms / mean, _LEAST_RELEVANCE) if mean > 0 else np.ones(len(norms))
    return np.array([float(f"{value:.1e}") for value in relevances])


def parts_of(rows: ArrayRows, rng: np.random.Generator) -> list[Part]:
    """Return rows to fit and rows to hold out, for each fit; none where there are fewer different rows than folds."""
    fold, groups = dealt(rows, _FOLDS, rng)
    fits = min(_MOST_FITS, -(-_ENOUGH_ROWS * _FOLDS // groups)) if groups >= _FOLDS else 0
    parts: list[Part] = []
    for fit in range(fits):
        if fit and fit % _FOLDS == 0:
            fold, _ = dealt(rows, _FOLDS, rng)
        held_out = fold == fit % _FOLDS
        parts.append(Part(rows.subset(np.flatnonzero(~held_out)), rows.subset(np.flatnonzero(held_out))))
    return parts


def _divided(network: ReLUNetwork, factors: NDArray) -> ReLUNetwork:
    """Return the same function of inputs multiplied by factors (d,)."""
    return replace(network, A=network.A / np.concatenate([[1.0], factors])[:, None])


def _lowest(found: dict[int, float]) -> float:
    """Return where the parabola through the lowest value and its neighbours is lowest, or the lowest without both."""
    best = min(found, key=lambda level: found[level])
    below, above = (found.get(best + step, np.inf) for step in (-1, 1))
    bend = below - 2 * found[best] + above
    return best + (0.5 * (below - above) / bend if np.isfinite(bend) and bend > 0 else 0.0)
