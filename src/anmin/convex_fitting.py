"""What the estimators of the convex programs share: settings, rows, gates, the penalty, and fitted attributes."""

from __future__ import annotations

import time
from abc import abstractmethod
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from anmin.cross_validation import Part, parts_of
from anmin.devices import on_host
from anmin.gates import all_gates, given_gates, sampled_gates
from anmin.held_out import Level, Program, held_out_path, rough_tol
from anmin.history import History, Record, Status
from anmin.reporting import warn_of
from anmin.rows import ArrayRows, Scaling
from anmin.rows.dask import is_dask
from anmin.rows.parts import RowsInParts
from anmin.validation import (
    CheckedSettings,
    check_alone,
    checked_inputs,
    checked_targets,
    column_names,
    is_integer,
    is_number,
)

_FOLDS = 5  # one round of them, at most


class Ended(NamedTuple):
    """The last level of a fit, how it ended, and the rounds that the solution took."""

    level: Level
    status: Status
    rounds: int


class BaseConvex(MultiOutputMixin, RegressorMixin, CheckedSettings, BaseEstimator):
    """An estimator whose network is the solution of a convex program with given gates."""

    n_gates: int
    gates: Any
    alpha: float | Literal["auto"]
    tol: float
    max_iter: int
    standardize: bool
    validation_fraction: float | None
    verbose: int
    random_state: Any

    @abstractmethod
    def _program(self, gates: NDArray) -> Program:
        """Return the program with gates (p, P)."""

    @np.errstate(under="ignore")  # the default of NumPy, which packages such as emlearn change when imported
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : array, tensor or data frame of shape (N, d), or rows
            Inputs; or :class:`anmin.rows.ArrayRows`, which bring targets and weights with them.
        y : array, tensor or data frame of shape (N,) or (N, c)
            Targets; None if X are rows.
        sample_weight : array or tensor of shape (N,), optional
            Non-negative row weights.

        Returns
        -------
        self
            Also after an interrupt (Ctrl-C), with the best network so far, ``status_`` INTERRUPTED and a warning: that
            of the penalty preferred until then, or one that has not converged. An interrupt before there is a network
            is passed on.

        Raises
        ------
        ValueError, TypeError
            Before any work, if a parameter or the data are not as described.
        """
        begun = time.perf_counter()
        self._check_settings()
        rows, y_is_1d = self._rows(X, y, sample_weight)
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        scaling = Scaling.standard(rows) if self.standardize else Scaling.identity(rows.n_features, rows.n_outputs)
        scaled = scaling.apply(rows)
        gates = self._gates_for(rows, scaled, scaling, rng)
        fit = _Fit(self, self._program(gates), scaled, scaling.y_scale, begun)
        with ExitStack() as stack:
            if self.verbose:
                from anmin.progress import ProgressBar

                fit.bar = stack.enter_context(ProgressBar(None, f"Solving with {gates.shape[1]:,} gates"))
            ended = fit.chosen(rng) if self.alpha == "auto" else fit.at(float(self.alpha))
            fit.record(ended.level)
        names = getattr(self, "feature_names_in_", None)
        network = replace(
            scaling.fold(ended.level.network),
            feature_names=None if names is None else tuple(names),
            output_names=column_names(y),
        )
        self._y_is_1d = y_is_1d
        self._set_fitted(network)
        self.n_neurons_, self.n_outputs_ = network.n_neurons, network.n_outputs
        self.scaling_, self.gates_ = scaling, scaling.fold_hidden(gates)
        self.alphas_ = np.array([level.alpha for level in fit.levels])
        self.held_out_mse_ = np.array([fit.raw(level.errors) for level in fit.levels])
        self._set_solution(ended)
        self.history_ = History(tuple(fit.records))
        warn_of(ended.status)
        return self

    def _set_solution(self, ended: Ended) -> None:
        solution = ended.level.solution
        self.alpha_ = ended.level.alpha
        self.loss_, self.bound_, self.residual_ = solution.objective, solution.bound, solution.residual
        self.gap_ = (self.loss_ - self.bound_) / self.loss_ if self.loss_ > 0 else 0.0
        self.n_iter_, self.status_ = ended.rounds, ended.status

    def _set_fitted(self, network: Any) -> None:
        self.network_ = network

    def predict(self, X: Any) -> NDArray:
        """Return the network's output for each row of X (N, d): shape (N,) if y had one dimension, else (N, c)."""
        check_is_fitted(self)
        inputs = X.X if isinstance(X, ArrayRows) else checked_inputs(self, X, reset=False)
        predictions = self.network_.predict(inputs)
        return predictions[:, 0] if self._y_is_1d else predictions

    def _check_settings(self) -> None:
        """Raise ValueError for the first parameter that is not as documented."""
        self._require("n_gates", is_integer(self.n_gates, 1), "an integer of at least 1")
        named = not isinstance(self.gates, str) or self.gates in ("sample", "all")
        self._require("gates", named and self.gates is not None, '"sample", "all" or an array of shape (d + 1, gates)')
        automatic = isinstance(self.alpha, str) and self.alpha == "auto"
        self._require("alpha", automatic or is_number(self.alpha, 0), 'a finite number of at least 0, or "auto"')
        self._require("tol", is_number(self.tol, 0), "a finite number of at least 0")
        self._require("max_iter", is_integer(self.max_iter, 1), "an integer of at least 1")
        fraction = self.validation_fraction
        self._require(
            "validation_fraction",
            fraction is None or (is_number(fraction) and 0 < fraction < 1),
            "None or a number between 0 and 1",
        )

    def _rows(self, X: Any, y: Any, sample_weight: Any) -> tuple[ArrayRows, bool]:
        """Return the checked rows, and whether y had one dimension."""
        if is_dask(X) or isinstance(X, RowsInParts):
            raise TypeError(
                f"{type(self).__name__} takes arrays, in memory; got {type(X).__name__}. Give it a sample of the rows."
            )
        if isinstance(X, ArrayRows):
            check_alone(y, sample_weight)
            if X.n_rows < 2:
                raise ValueError(f"{type(self).__name__} needs at least two rows of positive weight; got one.")
            self.n_features_in_ = X.n_features
            self.__dict__.pop("feature_names_in_", None)
            return X, X.n_outputs == 1
        inputs = checked_inputs(self, X, reset=True)
        targets = checked_targets(self, inputs, y)
        return ArrayRows(inputs, targets, on_host(sample_weight)), targets.ndim == 1

    def _gates_for(self, rows: ArrayRows, scaled: ArrayRows, scaling: Scaling, rng: np.random.Generator) -> NDArray:
        """Return the gates (p, P) in the coordinates of the scaling."""
        if not isinstance(self.gates, str):
            return given_gates(self.gates, rows, scaling)
        return all_gates(scaled) if self.gates == "all" else sampled_gates(scaled, int(self.n_gates), rng)


class _Fit:
    """One fit: what it works on, and the solutions and records that it leaves behind."""

    def __init__(
        self,
        settings: BaseConvex,
        program: Program,
        rows: ArrayRows,
        y_scale: NDArray,
        begun: float,
    ) -> None:
        self._tol, self._max_iter = float(settings.tol), int(settings.max_iter)
        self._fraction = settings.validation_fraction
        self._program, self._rows, self._y_scale = program, rows, y_scale
        self._largest, self._begun = program.largest(rows), begun
        self.levels: list[Level] = []
        self.records: list[Record] = []
        self._recorded: Level | None = None
        self.bar: Any = None

    def chosen(self, rng: np.random.Generator) -> Ended:
        """Return the solution at the penalty that predicts rows held out best."""
        parts = parts_of(self._rows, rng)[:_FOLDS] if self._fraction is None else [self._split(self._fraction, rng)]
        path = held_out_path(self._program, self._rows, parts, max_rounds=self._max_iter, callback=self._add)
        if path.interrupted:
            return Ended(path.chosen, Status.INTERRUPTED, path.chosen.solution.n_rounds)
        return self._to_the_end(path.chosen, rough_tol(path.chosen.alpha, self._largest))

    def at(self, alpha: float) -> Ended:
        """Return the solution at a penalty: first about, so that an interrupt need not lose all."""
        tol = max(self._tol, rough_tol(alpha, self._largest)) if alpha > 0 else self._tol
        solution = self._program.solve(self._rows, alpha, tol=tol, max_rounds=self._max_iter)
        level = Level(alpha, solution, self._program.network(solution), np.full(self._rows.n_outputs, np.nan))
        self._add(level)
        return self._to_the_end(level, tol)

    def raw(self, errors: NDArray) -> float:
        """Return mean squared errors of the outputs (c,) as one, in squared units of y."""
        return float(np.mean(errors * self._y_scale**2))

    def _to_the_end(self, level: Level, tol: float) -> Ended:
        """Return the solution to the tolerance asked for from one to ``tol`` on."""
        rough = level.solution
        if tol <= self._tol or rough.residual <= self._tol:
            return Ended(level, rough.status, rough.n_rounds)
        left = self._max_iter - rough.n_rounds
        if left < 1:
            return Ended(level, Status.MAX_ITER, rough.n_rounds)
        try:
            solution = self._program.solve(self._rows, level.alpha, tol=self._tol, max_rounds=left, start=rough)
        except KeyboardInterrupt:
            return Ended(level, Status.INTERRUPTED, rough.n_rounds)
        level = level._replace(solution=solution, network=self._program.network(solution))
        return Ended(level, solution.status, rough.n_rounds + solution.n_rounds)

    def _add(self, level: Level) -> None:
        self.levels.append(level)
        self.record(level)

    def record(self, level: Level) -> None:
        """Add a record of a solution, unless it has the last one."""
        if level is self._recorded:
            return
        self._recorded, rows = level, self._rows
        squares = (level.network.predict(rows.X) - rows.Y) ** 2
        mse = self.raw(np.average(squares, axis=0, weights=rows.w))
        self.records.append(
            Record(
                iteration=len(self.records),
                seconds=time.perf_counter() - self._begun,
                loss=level.solution.objective,
                mse=mse,
                validation_mse=self.raw(level.errors),
                branch=f"alpha {level.alpha:.3g}",
                n_rows=rows.n_rows,
            )
        )
        if self.bar is not None:
            self.bar(self.records[-1], level.network)

    def _split(self, fraction: float, rng: np.random.Generator) -> Part:
        fitted, held_out = train_test_split(
            np.arange(self._rows.n_rows), test_size=fraction, random_state=int(rng.integers(2**31))
        )
        return Part(self._rows.subset(np.sort(fitted)), self._rows.subset(np.sort(held_out)))
