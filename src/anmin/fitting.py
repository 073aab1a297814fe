"""What the estimators share: they check their settings, let the solvers work, and set the fitted attributes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from anmin.checkpoint import Checkpoint, can_be_kept, digests, opened_checkpoint, remembered
from anmin.cross_validation import cross_validated
from anmin.devices import checked_devices
from anmin.generalised import fit_by_loss, scaled_to_residuals
from anmin.history import Record, Status
from anmin.interrupts import termination_interrupts
from anmin.losses import Huber, Loss
from anmin.network import ReLUNetwork, check_negative_slope
from anmin.objective import alpha_from_sum
from anmin.reporting import CallbackSupportMixin, warn_of
from anmin.rows import ArrayRows, Scaling
from anmin.rows.parts import RowsInParts
from anmin.search import Recombining, automatic_solver, solve_with_restarts
from anmin.search.pruning import pruned_solution
from anmin.search.quasi_newton import QuasiNewton
from anmin.search.reweighted import Reweighted, local_solver, loss_of
from anmin.search.sampling import check_final, fitted_to_all, sampled
from anmin.selection import Choice, choose_alpha, solve_chosen
from anmin.solvers import SOLVERS, MatrixFree, Problem, Solution, Solver, VarPro
from anmin.solvers.levenberg_marquardt import LevenbergMarquardt
from anmin.solvers.loop import check_solvable
from anmin.validation import CheckedSettings, is_integer, is_number

if TYPE_CHECKING:
    from anmin.progress import ProgressBar

_PAPER_LAMBDA = 0.001  # the penalty of the paper's experiments, in the unnormalised loss
_SHARE_OF_START = 0.6  # of the time for the fit by the squared error that another loss begins with
_SHARE_OF_CHOICE = 0.5  # of the time for the penalty of a loss by rows held out
_SHARE_OF_SAMPLE = 0.7  # of the time for a fit to rows that are not in memory
# What a fit that goes on from a checkpoint may have different; the seed is compared apart from the settings.
_OF_ONE_RUN = {"max_iter", "max_time", "warm_start", "checkpoint", "callbacks", "verbose", "random_state"}


class _Fitted(NamedTuple):
    """What a fit comes to: the loss and the penalty are in the coordinates of the scaling."""

    scaling: Scaling
    relevance: NDArray
    alpha: float
    solution: Solution


class _Given(NamedTuple):
    """What a fit begins with: rows, those held out, what a former one came to, when, and what follows its progress."""

    rows: ArrayRows
    held_out: ArrayRows | None
    previous: ReLUNetwork | None
    chosen: tuple[Loss, float, NDArray] | None  # what a former fit by the same loss found: loss, alpha, relevance
    begun: float
    bar: ProgressBar | None
    checkpoint: Checkpoint | None
    callbacks: list[Callable]


class _ByLoss(NamedTuple):
    """What a fit by a loss other than the squared one was asked for, what it found, and whether that was to the end."""

    asked: Loss
    loss: Loss
    alpha: float
    relevance: NDArray
    decided: bool


class BaseReLU(CallbackSupportMixin, CheckedSettings, BaseEstimator):
    """An estimator whose network is solved for; its settings are those of :class:`anmin.ReLURegressor`."""

    n_neurons: int
    solver: str | Solver
    alpha: float | Literal["auto"]
    negative_slope: float
    max_iter: int | None
    tol: float
    max_time: float | None
    n_restarts: int
    relocate: bool
    standardize: bool
    validation_fraction: float | None
    device: Any
    dtype: str
    warm_start: bool
    checkpoint: str | os.PathLike | None
    callbacks: Callable | Sequence[Callable] | None
    verbose: int
    random_state: Any

    _by_loss: _ByLoss | None = None

    def _fit_rows(
        self,
        rows: ArrayRows | RowsInParts,
        solver: Solver,
        loss: Loss | None,
        output_names: tuple[str, ...] | None,
        begun: float,
        reports: Sequence[Callable] = (),
        wide: BaseReLU | None = None,
    ) -> None:
        """Fit the network to checked rows, by the squared error or another loss, and set the fitted attributes.

        It is what is left of the network of ``wide`` where that is given.
        """
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        previous = self._previous_network(rows)
        former, chosen = self._by_loss, None
        if previous is not None and former is not None and former.decided and former.asked == loss:
            chosen = former.loss, former.alpha, former.relevance
        with ExitStack() as stack:
            checkpoint: Checkpoint | None = None
            if self.checkpoint is not None:
                stack.enter_context(termination_interrupts())
                checkpoint = stack.enter_context(self._opened_checkpoint(rows, seed, begun))
                seed, begun = checkpoint.seed, checkpoint.begun
                previous, chosen = remembered(checkpoint, "start", lambda: (previous, chosen))
            bar = stack.enter_context(self._progress_bar(solver)) if self.verbose else None
            rng = np.random.default_rng(seed)
            rows, held_out = self._split(rows, rng)
            told = [*self._callbacks(), *reports]
            given = _Given(rows, held_out, previous, chosen, begun, bar, checkpoint, told)
            self._by_loss = None
            if wide is not None:
                fitted = self._pruned_from(wide, given, solver)
            elif loss is None:
                fitted = self._fitted(given, solver, rng, self.max_iter, self.max_time)
            else:
                fit = self._fitted_by if loss.in_units else self._fitted_by_likelihood
                fitted = fit(loss, given, solver, rng)
        solution = fitted.solution
        names = getattr(self, "feature_names_in_", None)
        self._set_fitted(
            replace(
                fitted.scaling.fold(solution.network),
                feature_names=None if names is None else tuple(names),
                output_names=output_names,
            )
        )
        self.scaling_ = fitted.scaling
        self.relevance_ = fitted.relevance
        self.alpha_ = fitted.alpha
        self.loss_ = solution.loss
        self.n_iter_ = solution.n_iter
        self.history_ = solution.history
        self.status_ = solution.status
        self._sums = solution.sums
        warn_of(solution.status)

    def _fitted(
        self, given: _Given, solver: Solver, rng: np.random.Generator, max_iter: int | None, max_time: float | None
    ) -> _Fitted:
        """Fit by the squared error."""
        rows, begun, bar, checkpoint = given.rows, given.begun, given.bar, given.checkpoint
        scaling = Scaling.standard(rows) if self.standardize else Scaling.identity(rows.n_features, rows.n_outputs)
        whole = self._problem(rows, scaling)
        problem = sampled(whole)
        if isinstance(self.solver, str) and self.solver == "auto":
            # Remembered, because it depends on the memory that is free.
            solver = remembered(checkpoint, "solver", lambda: automatic_solver(problem, recombine=self.relocate))
        elif isinstance(solver, LevenbergMarquardt):
            solver = Recombining(solver, recombine=self.relocate)
        if not isinstance(solver, Recombining):
            problem = whole  # the method of a paper is that of all rows
        by_sample = problem is not whole
        if by_sample:
            check_final(whole, solver)
        choice: Choice | None = None
        if self.alpha == "auto" and isinstance(solver, Recombining):
            check_solvable(problem, solver)
            deadline = None if max_time is None else begun + max_time
            choice, checkpoint = self._choice(problem, solver.inner, rng, deadline, bar, checkpoint)
            scaling = scaling.emphasised(choice.relevance)
            whole = replace(whole, rows=scaling.apply(rows, self.dtype))
            problem = sampled(whole)
        share = _SHARE_OF_SAMPLE if by_sample else 1.0
        common: dict[str, Any] = {"callbacks": self._called(scaling, given), "begun": begun, "checkpoint": checkpoint}
        conditions = common | self._conditions(given, scaling, max_iter)
        conditions["max_time"] = None if max_time is None else share * max_time
        if choice is not None and isinstance(solver, Recombining):
            alpha, solution = solve_chosen(problem, choice, solver, self.n_restarts, rng, **conditions)
        else:
            alpha = alpha_from_sum(_PAPER_LAMBDA, rows.n) if self.alpha == "auto" else float(self.alpha)
            problem = replace(problem, alpha=alpha)
            solution = solve_with_restarts(problem, solver, self.n_restarts, rng, **conditions)
        if by_sample:
            # What was chosen on the sample is alpha·n.
            whole = replace(whole, alpha=alpha if choice is None else alpha * problem.rows.n / whole.rows.n)
            previous = conditions["start"]
            solution = fitted_to_all(whole, solver, solution, self.tol, previous=previous, max_time=max_time, **common)
            if solution.history[-1].n_rows == whole.rows.n_rows:  # else it is still the solution of the sample
                alpha = whole.alpha
        relevance = np.ones(rows.n_features) if choice is None else choice.relevance
        return _Fitted(scaling, relevance, alpha, solution)

    def _fitted_by(self, loss: Loss, given: _Given, solver: Solver, rng: np.random.Generator) -> _Fitted:
        """Fit by a loss other than the squared one, in the units of the targets, from a fit by that."""
        rows, checkpoint = given.rows, given.checkpoint
        scaling = Scaling.standard(rows) if self.standardize else Scaling.identity(rows.n_features, rows.n_outputs)
        asked, alpha = loss, None if self.alpha == "auto" else float(self.alpha)
        relevance = np.ones(rows.n_features)
        if given.chosen is not None:
            loss = given.chosen[0]
            if alpha is None:
                _, alpha, relevance = given.chosen
                scaling = scaling.emphasised(relevance)
        problem = self._problem(rows, scaling)
        before: _Fitted | None = None
        max_iter, max_time = self.max_iter, self.max_time
        if given.previous is None and (max_iter is None or max_iter > 1):
            half = None if max_iter is None else max_iter // 2
            before = self._fitted(given, solver, rng, half, None if max_time is None else _SHARE_OF_START * max_time)
            scaling, relevance = before.scaling, before.relevance
            problem = replace(problem, rows=scaling.apply(rows, self.dtype), alpha=before.alpha / 2)
            max_iter = None if max_iter is None else max_iter - min(before.solution.n_iter, max_iter - 1)
        conditions = self._conditions(given, scaling, max_iter)
        own = conditions.pop("start")
        start = own if before is None else before.solution.network
        ended = None if before is None else before.solution.status
        stopped = ended if ended in (Status.INTERRUPTED, Status.STOPPED) else None
        if stopped is not None:
            # The loss is found out, and no more. A checkpoint is to go on with the first part.
            checkpoint, max_time = None, 0.0
        local = Reweighted(self._local_solver(solver, problem))
        if isinstance(loss, Huber):
            robust = problem if alpha is None else replace(problem, alpha=alpha)
            if checkpoint is not None and "loss" in checkpoint.decided:
                loss, rng.bit_generator.state = checkpoint.decided["loss"]
            else:
                loss, cut = scaled_to_residuals(loss, robust, local.inner, start, rng, given.begun, max_time)
                if checkpoint is not None and cut is None:
                    checkpoint.decide("loss", (loss, rng.bit_generator.state))
                elif cut is not None:
                    checkpoint = None
                if cut is Status.INTERRUPTED:
                    stopped, max_time = cut, 0.0
        problem = replace(problem, loss=loss)
        alpha, solution, decided = fit_by_loss(
            problem,
            local,
            alpha,
            self.n_restarts if start is None else 1,
            rng,
            start=start,
            max_time=max_time,
            begun=given.begun,
            callbacks=self._called(scaling, given),
            checkpoint=checkpoint,
            **conditions,
        )
        self._by_loss = _ByLoss(asked, loss, alpha, relevance, decided and stopped is None)
        if stopped is not None:
            solution = solution.with_status(stopped)
        if before is not None:
            solution = before.solution.followed_by(solution, other_rows=True)
        return _Fitted(scaling, relevance, alpha, solution)

    def _fitted_by_likelihood(self, loss: Loss, given: _Given, solver: Solver, rng: np.random.Generator) -> _Fitted:
        """Fit by minus the logarithm of a probability, whose parameter has a scale of its own."""
        rows, checkpoint, max_time = given.rows, given.checkpoint, self.max_time
        scaling = identity = Scaling.identity(rows.n_features, rows.n_outputs)
        if self.standardize:
            scaling = replace(Scaling.standard(rows), y_mean=identity.y_mean, y_scale=identity.y_scale)
        problem = replace(self._problem(rows, scaling), loss=loss)
        local: Solver = Reweighted(self._local_solver(solver, problem))
        if self.solver == "auto" and rows.device is None:
            local = QuasiNewton()
        check_solvable(problem, local)
        relevance, cut = np.ones(rows.n_features), None
        if self.alpha == "auto" and given.chosen is not None:
            _, alpha, relevance = given.chosen
            scaling = scaling.emphasised(relevance)
            problem = replace(problem, rows=scaling.apply(rows, self.dtype))
        elif self.alpha == "auto":
            deadline = None if max_time is None else given.begun + _SHARE_OF_CHOICE * max_time
            chosen = cross_validated(problem, rng, relevance=self.standardize, deadline=deadline, checkpoint=checkpoint)
            alpha, relevance, cut = chosen.alpha, chosen.relevance, chosen.cut_short
            # With more time it would have come out otherwise: a checkpoint is not told what follows from it.
            checkpoint = checkpoint if cut is None else None
            scaling = scaling.emphasised(relevance)
            problem = replace(problem, rows=scaling.apply(rows, self.dtype))
        else:
            alpha = float(self.alpha)
        conditions = self._conditions(given, scaling, self.max_iter)
        solution = solve_with_restarts(
            replace(problem, alpha=alpha),
            local,
            self.n_restarts if given.previous is None else 1,
            rng,
            max_time=0.0 if cut is Status.INTERRUPTED else max_time,
            begun=given.begun,
            callbacks=self._called(scaling, given),
            checkpoint=checkpoint,
            stage="loss",
            **conditions,
        )
        self._by_loss = _ByLoss(loss, loss, alpha, relevance, cut is None)
        if cut is Status.INTERRUPTED:
            solution = solution.with_status(cut)
        return _Fitted(scaling, relevance, alpha, solution)

    def _problem(self, rows: ArrayRows, scaling: Scaling) -> Problem:
        n_neurons, slope = int(self.n_neurons), float(self.negative_slope)
        return Problem(scaling.apply(rows, self.dtype), n_neurons, 0.0, slope, scaling.y_scale)

    def _pruned_from(self, wide: BaseReLU, given: _Given, solver: Solver) -> _Fitted:
        """Cut the network of a fitted estimator down, at its scaling, penalty and loss."""
        scaling, rows = wide.scaling_, given.rows
        network = scaling.unfold(wide.network_)
        scaled = scaling.apply(rows, self.dtype)
        self._by_loss = wide._by_loss
        # That of the fit, which may have found out its delta.
        loss = None if wide._by_loss is None else wide._by_loss.loss
        problem = Problem(scaled, int(self.n_neurons), wide.alpha_, float(self.negative_slope), scaling.y_scale, loss)
        inner = self._local_solver(solver, replace(problem, n_neurons=network.n_neurons))
        conditions = self._conditions(given, scaling, self.max_iter)
        del conditions["start"]
        solution = pruned_solution(
            problem,
            network,
            inner if loss is None else Reweighted(inner),
            max_time=self.max_time,
            begun=given.begun,
            callbacks=self._called(scaling, given),
            **conditions,
        )
        if loss is None:
            sums = scaled.output_statistics(network.A, network.negative_slope)
            before = sums.loss(network.A, network.B, network.b0, wide.alpha_)
        else:
            before = loss_of(problem, network)
        self.loss_rise_ = solution.loss - before
        return _Fitted(scaling, wide.relevance_, wide.alpha_, solution)

    def _local_solver(self, solver: Solver, problem: Problem) -> LevenbergMarquardt:
        """Return the solver for steps outside of a search."""
        inner = solver.inner if isinstance(solver, Recombining) else solver
        if isinstance(inner, VarPro | MatrixFree) and self.solver != "auto":
            return inner
        return local_solver(problem)

    def _narrower(self, n_neurons: Any) -> Self:
        """Return an unfitted estimator of fewer neurons, for what is left of this one's network."""
        check_is_fitted(self)
        most = self.network_.n_neurons
        if not is_integer(n_neurons, 1) or n_neurons > most:
            raise ValueError(f"n_neurons must be an integer from 1 to {most}, those of the model; got {n_neurons!r}.")
        return clone(self).set_params(n_neurons=int(n_neurons), checkpoint=None, warm_start=False)

    def _conditions(self, given: _Given, scaling: Scaling, max_iter: int | None) -> dict[str, Any]:
        return {
            "start": None if given.previous is None else scaling.unfold(given.previous),
            "max_iter": max_iter,
            "tol": self.tol,
            "validation": None if given.held_out is None else scaling.apply(given.held_out, self.dtype),
        }

    def _called(self, scaling: Scaling, given: _Given) -> list[Callable]:
        """Return what is called after each iteration, with networks in the coordinates of the scaling."""
        callbacks = [_in_raw_units(callback, scaling) for callback in given.callbacks]
        return callbacks if given.bar is None else [*callbacks, given.bar]

    def _choice(
        self,
        problem: Problem,
        solver: LevenbergMarquardt,
        rng: np.random.Generator,
        deadline: float | None,
        bar: ProgressBar | None,
        checkpoint: Checkpoint | None,
    ) -> tuple[Choice, Checkpoint | None]:
        """Return the chosen penalty, and the checkpoint if what follows from the choice is worth keeping."""
        if checkpoint is not None and "choice" in checkpoint.decided:
            choice, rng.bit_generator.state = checkpoint.decided["choice"]
            return choice, checkpoint
        choice = choose_alpha(problem, rng, solver=solver, relevance=self.standardize, deadline=deadline, callback=bar)
        if choice.interrupted or (deadline is not None and time.perf_counter() >= deadline):
            # It would have come out otherwise with more time: fitting again begins again.
            return choice, None
        if checkpoint is not None:
            checkpoint.decide("choice", (choice, rng.bit_generator.state))
        return choice, checkpoint

    @property
    def activation(self) -> str:
        """Name of the hidden activation as in MLPRegressor: "relu", or "leaky_relu" for a negative slope above 0."""
        return "relu" if self.negative_slope == 0 else "leaky_relu"

    def _set_fitted(self, network: ReLUNetwork) -> None:
        self.__dict__.update(self._attributes_of(network))

    def _attributes_of(self, network: ReLUNetwork) -> dict[str, Any]:
        """Return the fitted attributes that are a network's, with which the estimator predicts by it."""
        return layout_of(network)

    def _check_settings(self, loss: Loss | None) -> Solver:
        """Return the solver, or raise ValueError or TypeError for the first parameter that is not as documented."""
        self._require("n_neurons", is_integer(self.n_neurons, 1), "an integer of at least 1")
        solver = SOLVERS.get(self.solver) if isinstance(self.solver, str) else self.solver
        usable = hasattr(solver, "step") and not isinstance(solver, type)
        self._require("solver", usable, f"one of {', '.join(map(repr, SOLVERS))} or a solver from anmin.solvers")
        automatic = isinstance(self.alpha, str) and self.alpha == "auto"
        self._require("alpha", automatic or is_number(self.alpha, 0), 'a finite number of at least 0, or "auto"')
        check_negative_slope(self.negative_slope)
        self._require(
            "max_iter", self.max_iter is None or is_integer(self.max_iter, 1), "None or an integer of at least 1"
        )
        self._require("tol", is_number(self.tol, 0), "a finite number of at least 0")
        self._require(
            "max_time",
            self.max_time is None or (is_number(self.max_time, 0) and self.max_time > 0),
            "None or a positive number of seconds",
        )
        self._require("n_restarts", is_integer(self.n_restarts, 1), "an integer of at least 1")
        fraction = self.validation_fraction
        self._require(
            "validation_fraction",
            fraction is None or (is_number(fraction) and 0 < fraction < 1),
            "None or a number between 0 and 1",
        )
        if not is_here(self.device):
            checked_devices(self.device)
        self._require("dtype", self.dtype in ("float64", "float32"), '"float64" or "float32"')
        place = self.checkpoint
        self._require(
            "checkpoint", place is None or _can_be_written(place), "None or the path of a file that may be written"
        )
        if place is not None and not can_be_kept(cast(Solver, solver)):
            raise ValueError(f"A checkpoint needs one of anmin's own solvers; got {solver!r}.")
        if loss is not None and not isinstance(solver, LevenbergMarquardt | Recombining):
            raise ValueError(
                f"A loss other than the squared one needs solver='auto', 'varpro' or 'matrix_free'; "
                f"got {self.solver!r}."
            )
        self._require("callbacks", all(map(callable, self._callbacks())), "a callable or a sequence of them")
        return cast(Solver, solver)

    def _opened_checkpoint(
        self, rows: ArrayRows | RowsInParts, seed: int, begun: float
    ) -> AbstractContextManager[Checkpoint]:
        settings = {name: value for name, value in self.get_params(deep=False).items() if name not in _OF_ONE_RUN}
        settings["estimator"] = type(self).__name__
        assert self.checkpoint is not None
        return opened_checkpoint(
            self.checkpoint, settings, digests(rows), seed, begun, any_seed=self.random_state is None
        )

    def _progress_bar(self, solver: Solver) -> ProgressBar:
        from anmin.progress import ProgressBar

        total = solver.default_max_iter if self.max_iter is None else int(self.max_iter)
        return ProgressBar(None if total is None else total * self.n_restarts)

    def _callbacks(self) -> list[Callable]:
        if self.callbacks is None:
            return []
        return list(self.callbacks) if isinstance(self.callbacks, Iterable) else [self.callbacks]

    def _split(self, rows: ArrayRows | RowsInParts, rng: np.random.Generator) -> tuple[ArrayRows, ArrayRows | None]:
        if isinstance(rows, RowsInParts):
            # Few enough to be held: then they are. Others offer all passes that a solver needs.
            return (rows.sample() if rows.is_held else cast(ArrayRows, rows)), None
        if self.validation_fraction is None:
            return rows, None
        fitted, held_out = train_test_split(
            np.arange(rows.n_rows), test_size=self.validation_fraction, random_state=int(rng.integers(2**31))
        )
        return rows.subset(np.sort(fitted)), rows.subset(np.sort(held_out))

    def _previous_network(self, rows: ArrayRows | RowsInParts) -> ReLUNetwork | None:
        """Return the network to start from, in raw units, or None; raise ValueError if it is of another shape."""
        network = getattr(self, "network_", None) if self.warm_start else None
        if network is None:
            return None
        shape = (rows.n_features, self.n_neurons, rows.n_outputs)
        old = (network.n_features, network.n_neurons, network.n_outputs)
        if shape != old:
            raise ValueError(
                "warm_start=True needs the numbers of inputs, neurons and outputs of the previous fit, "
                f"{old}; got {shape}."
            )
        return replace(network, negative_slope=float(self.negative_slope))


def layout_of(network: ReLUNetwork) -> dict[str, Any]:
    """Return the fitted attributes that are a network's, in the layout of scikit-learn's MLPRegressor."""
    return {
        "network_": network,
        "coefs_": [network.A[1:], network.B],
        "intercepts_": [network.A[0], network.b0],
        "n_layers_": 3,
        "n_outputs_": network.n_outputs,
        "out_activation_": "identity",
    }


def is_here(device: Any) -> bool:
    """Return whether the passes are to be made in this process."""
    return device is None or str(device) == "cpu"


def _can_be_written(place: Any) -> bool:
    if not isinstance(place, str | os.PathLike) or not str(place):
        return False
    path = Path(place)
    return path.parent.is_dir() and os.access(path.parent, os.W_OK) and not path.is_dir()


def _in_raw_units(callback: Callable, scaling: Scaling) -> Callable:
    def call(record: Record, network: ReLUNetwork) -> bool | None:
        return callback(record, scaling.fold(network))

    return call
