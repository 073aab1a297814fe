"""Certificates: a lower bound of the loss of every network, of any width, and how near a network comes to it.

Of any values z_i in R^c, from ‖f − y‖² >= 2zᵀ(f − y) − ‖z‖², the loss of every network is at least

    D(z) = −(2/n) Σ_i w_i z_iᵀy_i − (1/n) Σ_i w_i ‖z_i‖² − ‖m‖²/alpha,      m = (1/n) Σ_i w_i z_i,

if no neuron is steeper than the penalty: ‖(1/n) Σ_i w_i z_i σ(x̃_iᵀv)‖ <= alpha for all ‖v‖ <= 1. For then neuron j
adds 2b_jᵀ(1/n) Σ_i w_i z_i σ(x̃_iᵀa_j) >= −2·alpha ‖a_j‖ ‖b_j‖ >= −alpha (‖a_j‖² + ‖b_j‖²), which its penalty makes up
for, and 2b0ᵀm + alpha ‖b0‖² >= −‖m‖²/alpha. It is the dual of the convex program over all neurons (Pilanci & Ergen,
Neural networks are convex regularizers, 2020), with a bias. The best network of unlimited width attains it with
z_i = f(x_i) − y_i.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.network import ReLUNetwork
from anmin.objective import loss
from anmin.rows.arrays import ArrayRows
from anmin.search.growth import Grown, grown
from anmin.search.initialisation import hyperplanes_through_rows
from anmin.solvers.problem import Problem
from anmin.solvers.steepest import Method, Steepest, steepest_neuron
from anmin.validation import is_integer, is_number

#: Relative gap at which no more rounds of growth are made.
CLOSED = 1e-8
_STARTS = 192
_LEAST_TOL, _MOST_TOL, _SHARE = 1e-10, 1e-3, 0.05
_STEEPER = 1 + 1e-9


@dataclass(frozen=True, eq=False)
class Certificate:
    """How near a network comes to the best one of any width, proved.

    Attributes
    ----------
    loss : float
        Of the network (see :mod:`anmin.objective`), on the rows and with the penalty given.
    bound : float
        No network has a smaller loss, of whatever width, on these rows with this penalty; to rounding.
    gap : float
        (loss − bound)/loss: the part of the loss that more neurons, or better ones, could take away at most. 0 where
        the loss is 0.
    estimate : float
        What the bound would be if no neuron were steeper than the steepest that was found. Where that is not proved,
        this is no bound, though it may be near the best one that this method can give.
    neuron : ndarray of shape (p,)
        The steepest neuron that was found beside the network: the unit vector v, bias first, with the largest slope
        ‖(1/n) Σ_i w_i r_i σ(x̃_iᵀv)‖, r_i = f(x_i) − y_i.
    violation : float
        Its slope divided by alpha, minus 1. Above 0, adding that neuron lowers the loss; at the best network of
        unlimited width it is 0.
    largest : float
        A bound of all slopes, divided by the largest found, for the residuals that give the bound: how well the maximum
        is known from above.
    method : {"sweep", "branch and bound", "spectral"}
        What proves that no neuron is steeper (:func:`anmin.solvers.steepest.steepest_neuron`).
    best : ReLUNetwork
        The network of least loss that was met, which may have more neurons than that of the certificate.
    best_loss : float
    rounds : int
        Rounds of growth that were made.
    """

    loss: float
    bound: float
    estimate: float
    neuron: NDArray
    violation: float
    largest: float
    method: Method
    best: ReLUNetwork
    best_loss: float
    rounds: int

    @property
    def gap(self) -> float:
        """(loss − bound)/loss."""
        return (self.loss - self.bound) / self.loss if self.loss > 0 else 0.0

    @property
    def kind(self) -> str:
        """In words, what ``bound`` is a bound for, and how it was proved."""
        how = {
            "sweep": "The steepest neuron is known exactly, by a sweep over the rows.",
            "branch and bound": f"No neuron is more than {self.largest:.7g} times as steep as the steepest found, by "
            "branch and bound.",
            "spectral": f"How steep a neuron can be is only bounded by spectral norms, {self.largest:.3g} times the "
            "steepest found: the bound is valid, but loose; the estimate takes the steepest found for the steepest and "
            "is no bound.",
        }
        return (
            f"No ReLU network of any width has a loss below {self.bound:.6g} on these rows with this penalty. "
            + how[self.method]
        )


def certificate(
    network: ReLUNetwork,
    X: ArrayLike,
    y: ArrayLike,
    alpha: float,
    sample_weight: ArrayLike | None = None,
    *,
    rounds: int = 0,
    max_visits: float = 3e8,
) -> Certificate:
    """Bound the loss of the best network of any width from below, and say how near a network comes to it.

    The loss is that of :mod:`anmin.objective`, with the squared error. The bound comes from the residuals of the
    network, scaled until no neuron is steeper than the penalty (:mod:`anmin.certificate` has the formula). It is good
    where the network is near the best of any width, which a narrow one is not: ``rounds`` of growth add neurons where
    they are steepest and solve for all, as in the Frank–Wolfe method on measures, until the relative gap of that wider
    network is below 1e-8. Its residuals give a better bound, which holds for every network as before.

    Parameters
    ----------
    network : ReLUNetwork
        In the coordinates of the rows; any slope, width and number of outputs.
    X : array of shape (N, d)
    y : array of shape (N,) or (N, c)
    alpha : float > 0
        Penalty of the weights, in these coordinates.
    sample_weight : array of shape (N,), optional
        Non-negative row weights.
    rounds : int >= 0, default 0
        Rounds of growth. Each about doubles the width as long as more neurons are of use, and costs some steps of
        variable projection at that width.
    max_visits : float > 0, default 3e8
        Of rows, by the search for the steepest neuron, with two inputs or more: some 5e7 take a second on one core
        (:func:`anmin.solvers.steepest.steepest_neuron`).

    Returns
    -------
    Certificate
        With one input the steepest neuron is exact, with two and three proved by branch and bound, mostly to 1e-9 for
        some hundreds of rows and 1e-3 for some ten thousands; with more inputs it is bounded, and ``largest`` says how
        well: for more than some hundreds of rows so loosely that the bound on the loss is of little use.

    Raises
    ------
    ValueError
        If the shapes do not fit, a value is not finite, a parameter is not as described, or alpha is 0: without a
        penalty a network wide enough passes through all rows but those of equal inputs.
    """
    return certified(network, ArrayRows(X, y, sample_weight), alpha, rounds=rounds, max_visits=max_visits)


def certified(
    network: ReLUNetwork, rows: ArrayRows, alpha: float, *, rounds: int = 0, max_visits: float = 3e8
) -> Certificate:
    """Return the certificate of a network on rows in memory, in their coordinates: see :func:`certificate`."""
    _check(network, rows, alpha, rounds, max_visits)
    problem = Problem(rows, network.n_neurons, float(alpha), network.negative_slope)
    rng = np.random.default_rng(0)
    first = look = proof = best = _look(problem, network, rng, max_visits)
    growing, estimate, made = Grown.from_network(network), first.estimate, 0
    while made < rounds and best.loss - proof.bound > CLOSED * best.loss:
        steepest = look.steepest
        wider = grown(problem, growing, steepest.candidates[:, steepest.slopes > _STEEPER * alpha])
        if wider is None:
            break
        growing, made = wider, made + 1
        look = _look(problem, growing.network, rng, max_visits)
        estimate = max(estimate, look.estimate)
        proof = max(proof, look, key=lambda one: one.bound)
        best = min(best, look, key=lambda one: one.loss)
    slope = proof.steepest.slope
    return Certificate(
        loss=first.loss,
        bound=min(proof.bound, best.loss),  # rounding alone could put it above
        estimate=min(estimate, best.loss),
        neuron=first.steepest.vector,
        violation=first.steepest.slope / alpha - 1,
        largest=proof.steepest.bound / slope if slope > 0 else 1.0,
        method=proof.steepest.method,
        best=best.network,
        best_loss=best.loss,
        rounds=made,
    )


def _check(network: ReLUNetwork, rows: ArrayRows, alpha: float, rounds: int, max_visits: float) -> None:
    own, given = (network.n_features, network.n_outputs), (rows.n_features, rows.n_outputs)
    if own != given:
        raise ValueError(f"The rows must have the {own[0]} inputs and {own[1]} outputs of the network; got {given}.")
    if not is_number(alpha, 0) or not np.isfinite(alpha):
        raise ValueError(f"alpha must be a finite number above 0; got {alpha!r}.")
    if alpha == 0:
        raise ValueError(
            "A certificate needs alpha > 0; got 0. Without a penalty a wide enough network passes through all rows but "
            "those of equal inputs, and there is nothing to prove."
        )
    if not is_integer(rounds, 0):
        raise ValueError(f"rounds must be an integer of at least 0; got {rounds!r}.")
    if not is_number(max_visits, 0) or not max_visits > 0:
        raise ValueError(f"max_visits must be a number above 0; got {max_visits!r}.")


class _Look(NamedTuple):
    """A network, its loss, its steepest neuron, and the bounds that follow: as proved, and as from the slope found."""

    network: ReLUNetwork
    loss: float
    steepest: Steepest
    bound: float
    estimate: float


def _look(problem: Problem, network: ReLUNetwork, rng: np.random.Generator, max_visits: float) -> _Look:
    rows, alpha = problem.rows, problem.alpha
    R = network.predict(rows.X) - rows.Y
    dual = _Dual.of(rows, R, alpha)
    here = loss(dual.square_error * rows.n, rows.n, alpha, network.A, network.B, network.b0)
    through = hyperplanes_through_rows(rows, _STARTS // 2, rng)
    starts = np.hstack([network.A, through, -through])

    def steepest(tol: float, starts: NDArray) -> Steepest:
        return steepest_neuron(
            rows, R, network.negative_slope, starts=starts, tol=tol, enough=dual.enough, max_visits=max_visits
        )

    found = steepest(_MOST_TOL, starts)
    # What is not known of the slope is to be a small part of what is missing at the bound.
    tol = float(np.clip(_SHARE * (1 - dual.at(found.slope) / here), _LEAST_TOL, _MOST_TOL)) if here > 0 else _MOST_TOL
    if tol < _MOST_TOL and found.bound > (1 + tol) * found.slope:
        found = steepest(tol, found.candidates[:, :1])
    return _Look(network, here, found, dual.at(found.bound), dual.at(found.slope))


class _Dual(NamedTuple):
    """D(θr) = −2θ·with_y − θ²·square for the residuals r of a network."""

    with_y: float
    square: float
    square_error: float
    alpha: float

    @classmethod
    def of(cls, rows: ArrayRows, R: NDArray, alpha: float) -> _Dual:
        WR = R if rows.w is None else R * rows.w[:, None]
        error, mean = float(np.vdot(WR, R)) / rows.n, WR.sum(axis=0) / rows.n
        return cls(float(np.vdot(WR, rows.Y)) / rows.n, error + float(mean @ mean) / alpha, error, alpha)

    @property
    def most(self) -> float:
        """The θ of the largest D."""
        return max(-self.with_y / self.square, 0.0) if self.square > 0 else 0.0

    @property
    def enough(self) -> float:
        """Slope of r below which no slope keeps θ from that."""
        return self.alpha / self.most if self.most > 0 else 0.0

    def at(self, slope: float) -> float:
        """Return the largest D(θr) for which θ·slope <= alpha."""
        theta = min(self.most, self.alpha / slope) if slope > 0 else self.most
        return float(max(-2 * theta * self.with_y - theta**2 * self.square, 0.0))
