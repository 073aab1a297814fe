"""Fits along a grid of penalties, each from the one before, with the errors by which to choose among them."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from anmin.estimators import ReLURegressor
from anmin.history import Status
from anmin.influence import influence_in
from anmin.memory import check_memory
from anmin.network import ReLUNetwork, check_negative_slope
from anmin.rows import ArrayRows, Scaling
from anmin.search.initialisation import starting_weights
from anmin.selection import choose_alpha, evidence
from anmin.solvers import Problem, Solution, VarPro, solve
from anmin.validation import checked_inputs, checked_targets, column_names, is_integer, is_number

Criterion = Literal["held_out", "leave_one_out", "gcv", "evidence"]

# About the evidence's own choice: what generalises best is rarely far from it, and the ends show what lies beyond.
_DECADES_ABOVE, _DECADES_BELOW, _STEPS_PER_DECADE = 2, 3, 2


@dataclass(frozen=True, eq=False)
class AlphaPath:
    """Networks fitted at falling penalties.

    Errors are means over rows (weighted) and outputs, in squared units of y.

    Attributes
    ----------
    alphas : ndarray of shape (m,)
        Penalties, from the largest to the smallest, in the coordinates solved in.
    train_mse : ndarray of shape (m,)
        On the rows fitted.
    held_out_mse : ndarray of shape (m,)
        On the rows held out; NaN if there are none.
    leave_one_out_mse, gcv : ndarray of shape (m,)
        Of leave-one-out at the frozen pattern, and generalised cross-validation, (train error)/(1 − γ/(n·c))². Neither
        counts that the pattern was fitted too, so they are too low, most of all where alpha is small. See
        :mod:`anmin.influence`.
    effective_parameters : ndarray of shape (m,)
        γ, the effective degrees of freedom of both layers at the frozen pattern.
    wanted_alphas : ndarray of shape (m,)
        What the evidence of each fit asks for (:func:`anmin.selection.evidence`).
    log_evidence : ndarray of shape (m,)
        The logarithm of the evidence of each fit, up to a constant (:class:`anmin.selection.Evidence`).
    networks : tuple of m ReLUNetwork
        In raw units.
    statuses : tuple of m Status
        How each fit ended.
    interrupted : bool
        Whether an interrupt ended the path before the last penalty.
    """

    alphas: NDArray
    train_mse: NDArray
    held_out_mse: NDArray
    leave_one_out_mse: NDArray
    gcv: NDArray
    effective_parameters: NDArray
    wanted_alphas: NDArray
    log_evidence: NDArray
    networks: tuple[ReLUNetwork, ...]
    statuses: tuple[Status, ...]
    interrupted: bool = False

    def __len__(self) -> int:
        return len(self.alphas)

    @property
    def best(self) -> int:
        """Position of the network of least error on the rows held out: ``path.networks[path.best]``."""
        return self.choose("held_out")

    def choose(self, criterion: Criterion) -> int:
        """Return the position of the network that a criterion prefers.

        "held_out", "leave_one_out" and "gcv" prefer the least of these errors, "evidence" the largest evidence; among
        equals the largest penalty.

        Raises
        ------
        ValueError
            If there is no such criterion, or no row was held out.
        """
        costs = {
            "held_out": self.held_out_mse,
            "leave_one_out": self.leave_one_out_mse,
            "gcv": self.gcv,
            "evidence": -self.log_evidence,
        }
        if criterion not in costs:
            raise ValueError(f"criterion must be one of {', '.join(costs)}; got {criterion!r}.")
        values = costs[criterion]
        if np.isnan(values).all():
            raise ValueError(f"This path cannot be chosen from by {criterion!r}: no row was held out for it.")
        return int(np.nanargmin(values))

    def to_dict(self) -> dict[str, list]:
        """Return all but the networks as lists of Python numbers and text, ready for a data frame or JSON."""
        numbers = {
            name: getattr(self, name).tolist()
            for name in (
                "alphas", "train_mse", "held_out_mse", "leave_one_out_mse", "gcv", "effective_parameters",
                "wanted_alphas", "log_evidence",
            )
        }  # fmt: skip
        return {**numbers, "statuses": [status.name for status in self.statuses]}


def alpha_path(
    X: ArrayLike,
    y: ArrayLike,
    *,
    alphas: ArrayLike | None = None,
    n_neurons: int = 64,
    sample_weight: ArrayLike | None = None,
    validation_fraction: float | None = 0.2,
    X_val: ArrayLike | None = None,
    y_val: ArrayLike | None = None,
    standardize: bool = True,
    negative_slope: float = 0.0,
    max_iter: int = 100,
    tol: float = 1e-4,
    verbose: int = 0,
    random_state: Any = None,
) -> AlphaPath:
    """Fit networks by variable projection at falling penalties, each starting from the network before it.

    The first starts at :func:`anmin.search.initialisation.starting_weights`, and so does one after a penalty so large
    that it left nothing but a constant. Neurons are not moved elsewhere: the fits differ by their penalty alone.

    Parameters
    ----------
    X : array or data frame of shape (N, d)
        Inputs.
    y : array or data frame of shape (N,) or (N, c)
        Targets.
    alphas : array of shape (m,), optional
        Penalties >= 0, in any order, in the coordinates solved in. By default eleven, from 100 times to a thousandth
        of what the evidence chooses (:func:`anmin.selection.choose_alpha`), that one included.
    n_neurons : int, default 64
    sample_weight : array of shape (N,), optional
        Non-negative row weights.
    validation_fraction : float in (0, 1) or None, default 0.2
        Fraction of the rows to hold out, at random, unless ``X_val`` is given: those that a
        :class:`~anmin.ReLURegressor` of the same ``random_state`` holds out. None: none.
    X_val, y_val : arrays of shape (M, d) and (M,) or (M, c), optional
        Rows to hold out in place of a part of X.
    standardize : bool, default True
        Solve in coordinates of mean 0 and deviation 1 of the fitted rows.
    negative_slope : float in [0, 1), default 0.0
    max_iter : int >= 1, default 100
        Largest number of iterations at each penalty.
    tol : float >= 0, default 1e-4
        A fit has converged when the loss falls by at most ``tol`` times itself in an iteration.
    verbose : int, default 0
        1 or more shows a progress bar if the path takes longer than a second.
    random_state : int, RandomState instance or None, default None
        Source of the start and of the held-out rows.

    Returns
    -------
    AlphaPath
        Also after an interrupt (Ctrl-C) once a penalty is done, with those done and a warning.

    Raises
    ------
    ValueError, TypeError
        Before any work, if a parameter or the data are not as described, or memory would not suffice.
    KeyboardInterrupt
        If interrupted before the first penalty is done.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from anmin.path import alpha_path
    >>> path = alpha_path(*load_diabetes(return_X_y=True), alphas=[0.1, 0.01], n_neurons=4, random_state=0)
    >>> path.alphas
    array([0.1 , 0.01])
    """
    _check_settings(n_neurons=n_neurons, max_iter=max_iter, tol=tol, validation_fraction=validation_fraction)
    check_negative_slope(negative_slope)
    if (X_val is None) != (y_val is None):
        raise ValueError("X_val and y_val must be given together; got one of them.")
    wanted = None if alphas is None else _checked_alphas(alphas)
    rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
    data = _data(X, y, sample_weight, X_val, y_val, validation_fraction, rng)
    rows = data.rows
    required = VarPro().required_bytes(rows.n_features, n_neurons, rows.n_outputs, rows.n_rows)
    check_memory(required, n_neurons, rows.n_features)
    scaling = Scaling.standard(rows) if standardize else Scaling.identity(rows.n_features, rows.n_outputs)
    problem = Problem(scaling.apply(rows), int(n_neurons), 0.0, float(negative_slope), scaling.y_scale)
    held_out = None if data.held_out is None else scaling.apply(data.held_out)
    if wanted is None:
        chosen = choose_alpha(problem, rng).alpha
        steps = np.arange(_DECADES_ABOVE * _STEPS_PER_DECADE, -_DECADES_BELOW * _STEPS_PER_DECADE - 1, -1)
        wanted = chosen * 10.0 ** (steps / _STEPS_PER_DECADE)
    points: list[_Point] = []
    interrupted = False
    with ExitStack() as stack:
        callbacks = []
        if verbose:
            from anmin.progress import ProgressBar

            callbacks.append(stack.enter_context(ProgressBar(int(max_iter) * len(wanted), "Fitting the path")))
        start: ReLUNetwork | None = None
        try:
            for alpha in wanted:
                here = replace(problem, alpha=float(alpha))
                start = _start(here, rng) if start is None else start
                solution = solve(here, VarPro(), start=start, max_iter=int(max_iter), tol=tol, callbacks=callbacks)
                if solution.status is Status.INTERRUPTED:
                    raise KeyboardInterrupt
                points.append(_point(here, solution, held_out))
                # With no more than the constants left, the next fit would not find out of it.
                start = solution.network if points[-1].effective_parameters > rows.n_outputs else None
        except KeyboardInterrupt:
            if not points:
                raise
            interrupted = True
            warnings.warn(
                f"The path was interrupted after {len(points)} of {len(wanted)} penalties; these were kept.",
                ConvergenceWarning,
                stacklevel=2,
            )
    columns = {name: np.array([getattr(point, name) for point in points]) for name in _Point._fields[:-2]}
    networks = tuple(
        replace(scaling.fold(point.network), feature_names=data.feature_names, output_names=data.output_names)
        for point in points
    )
    return AlphaPath(
        **columns, networks=networks, statuses=tuple(point.status for point in points), interrupted=interrupted
    )


class _Point(NamedTuple):
    alphas: float
    train_mse: float
    held_out_mse: float
    leave_one_out_mse: float
    gcv: float
    effective_parameters: float
    wanted_alphas: float
    log_evidence: float
    network: ReLUNetwork
    status: Status


def _point(problem: Problem, solution: Solution, held_out: ArrayRows | None) -> _Point:
    network, alpha = solution.network, problem.alpha
    found = influence_in(network, problem.rows, alpha, problem.y_scale)
    asked = evidence(problem.rows.statistics(network.A, network.negative_slope), network, alpha)
    held_out_mse = np.nan
    if held_out is not None:
        held_out_mse = problem.mse(held_out.output_statistics(network.A, network.negative_slope), network)
    return _Point(
        alpha,
        found.mse,
        held_out_mse,
        found.leave_one_out_mse,
        found.generalised_cross_validation,
        found.effective_degrees_of_freedom,
        asked.alpha,
        asked.log_evidence,
        network,
        solution.status,
    )


def _start(problem: Problem, rng: np.random.Generator) -> ReLUNetwork:
    A, c = starting_weights(problem, rng), problem.rows.n_outputs
    return ReLUNetwork(A, np.zeros((A.shape[1], c)), np.zeros(c), problem.negative_slope)


class _Data(NamedTuple):
    rows: ArrayRows
    held_out: ArrayRows | None
    feature_names: tuple[str, ...] | None
    output_names: tuple[str, ...] | None


def _data(
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    X_val: ArrayLike | None,
    y_val: ArrayLike | None,
    fraction: float | None,
    rng: np.random.Generator,
) -> _Data:
    columns = ReLURegressor()  # remembers the names of the columns
    inputs = checked_inputs(columns, X, reset=True)
    targets = checked_targets(columns, inputs, y)
    rows = ArrayRows(inputs, targets, sample_weight)
    held_out = None
    if X_val is not None:
        inputs = checked_inputs(columns, X_val, reset=False)
        held_out = ArrayRows(inputs, checked_targets(columns, inputs, y_val))
        if held_out.n_outputs != rows.n_outputs:
            raise ValueError(f"y_val must have {rows.n_outputs} columns, as y; got {held_out.n_outputs}.")
    elif fraction is not None:
        fitted, others = train_test_split(
            np.arange(rows.n_rows), test_size=fraction, random_state=int(rng.integers(2**31))
        )
        rows, held_out = rows.subset(np.sort(fitted)), rows.subset(np.sort(others))
    names = getattr(columns, "feature_names_in_", None)
    return _Data(rows, held_out, None if names is None else tuple(names), column_names(y))


def _check_settings(**given: Any) -> None:
    fraction = given["validation_fraction"]
    checks = {
        "n_neurons": (is_integer(given["n_neurons"], 1), "an integer of at least 1"),
        "max_iter": (is_integer(given["max_iter"], 1), "an integer of at least 1"),
        "tol": (is_number(given["tol"], 0), "a finite number of at least 0"),
        "validation_fraction": (
            fraction is None or (is_number(fraction) and 0 < fraction < 1),
            "None or a number between 0 and 1",
        ),
    }
    for name, (holds, requirement) in checks.items():
        if not holds:
            raise ValueError(f"{name} must be {requirement}; got {given[name]!r}.")


def _checked_alphas(alphas: ArrayLike) -> NDArray:
    """Return the penalties from the largest to the smallest, each once."""
    try:
        values = np.asarray(alphas, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"alphas must be a sequence of numbers; got {alphas!r}.") from None
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"alphas must be a sequence of at least one penalty; got {alphas!r}.")
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError(f"alphas must be finite and at least 0; got {alphas!r}.")
    return np.unique(values)[::-1]
