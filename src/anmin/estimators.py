"""The scikit-learn face: checks what the user gives, lets the solvers work, and sets the fitted attributes."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from anmin.checkpoint import Checkpoint, can_be_kept, digests, opened_checkpoint, remembered
from anmin.devices import checked_devices, device_of, on_host
from anmin.history import History, Record, Status
from anmin.interrupts import termination_interrupts
from anmin.network import ReLUNetwork, check_negative_slope
from anmin.objective import alpha_from_sum
from anmin.rows import ArrayRows, Scaling
from anmin.rows.dask import DaskRows, is_dask, predicted
from anmin.rows.parts import RowsInParts
from anmin.search import Recombining, automatic_solver, solve_with_restarts
from anmin.search.sampling import check_final, fitted_to_all, sampled
from anmin.selection import Choice, choose_alpha, solve_chosen
from anmin.solvers import SOLVERS, Problem, Solution, Solver
from anmin.solvers.levenberg_marquardt import LevenbergMarquardt
from anmin.solvers.loop import check_solvable
from anmin.streaming import updated
from anmin.validation import checked_inputs, checked_targets, column_names, is_integer, is_number

if TYPE_CHECKING:
    from anmin.progress import ProgressBar

_PAPER_LAMBDA = 0.001  # the penalty of the paper's experiments, in the unnormalised loss
_SHARE_OF_SAMPLE = 0.7  # of the time for a fit to rows that are not in memory
# What a fit that goes on from a checkpoint may have different; the seed is compared apart from the settings.
_OF_ONE_RUN = {"max_iter", "max_time", "warm_start", "checkpoint", "callbacks", "verbose", "random_state"}
_WORTH_A_WARNING = {Status.MAX_ITER, Status.MAX_TIME, Status.INTERRUPTED, Status.ROWS_LOST, Status.NOT_FINITE}


class _Fitted(NamedTuple):
    """What a fit comes to: the loss and the penalty are in the coordinates of the scaling."""

    scaling: Scaling
    relevance: NDArray
    alpha: float
    solution: Solution


class ReLURegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Regression by a two-layer ReLU network whose weights are solved for.

    The network f(x) = σ((1, x)ᵀ A) B + b0, σ(t) = max(t, 0) + negative_slope · min(t, 0), minimises

        (1/n) Σ_i w_i ‖f(x_i) − y_i‖² + alpha · (‖A‖² + ‖B‖² + ‖b0‖²),    n = Σ_i w_i

    (Barbu, arXiv 2304.02972, Eq. 1). There is no learning rate, batch size or number of epochs.

    Parameters
    ----------
    n_neurons : int, default 64
        Number of hidden neurons, h.
    solver : {"auto", "anmin", "varpro", "matrix_free", "altmin"} or solver object, default "auto"
        "varpro" is Levenberg–Marquardt on the hidden layer with the output layer solved out, within a search that
        joins, grows and prunes networks (:class:`anmin.search.Recombining`); its loss never rises. "matrix_free" takes
        the same steps by conjugate gradients (:class:`anmin.solvers.MatrixFree`), for many neurons and inputs: time and
        memory grow with their product instead of its square. "anmin" is the
        paper's Algorithm 1: quicker, and much less deep. "altmin" fits a sum of ReLUs without output weights and
        biases (one output; use it with ``standardize=False``). "auto" is "varpro", whose first
        steps are those of "matrix_free" where these are much cheaper (:class:`anmin.solvers.Hybrid`), or "matrix_free"
        where matrices do not fit in memory or a step with them would take much longer
        (:func:`anmin.search.automatic_solver`). An object from
        :mod:`anmin.solvers` or :mod:`anmin.search`, such as ``Anmin(system_dtype="float32")``, brings its own settings.
    alpha : float >= 0 or "auto", default "auto"
        Penalty of the weights, in the coordinates solved in. "auto" is the paper's 0.001/n with "anmin" and "altmin";
        with "varpro" it is chosen from the data by their evidence, and where the inputs are standardised so is how
        much each of them counts (:func:`anmin.selection.choose_alpha`, :func:`anmin.selection.searched_alpha`); with
        "matrix_free" by an estimate of it, and the inputs count alike.
    negative_slope : float in [0, 1), default 0.0
        Slope of the activation for negative arguments.
    max_iter : int >= 1, optional
        Largest number of iterations. By default 30 for "anmin", as its paper prescribes; "varpro" runs until its
        search no longer pays and the loss settles.
    tol : float >= 0, default 1e-6
        Relative change of the loss between two iterations at which the fit has converged; with "varpro", at the end
        of its search.
    max_time : float > 0, optional
        Seconds after which no further iteration begins; the best network until then is kept.
    n_restarts : int >= 1, default 1
        Number of random starts, of which the best network is kept.
    relocate : bool, default True
        Whether "varpro" searches for a deeper optimum than the one it comes to first; the other solvers never do.
    standardize : bool, default True
        Solve with inputs and outputs shifted and scaled to weighted mean 0 and deviation 1. The scaling is folded into
        the weights afterwards: ``network_`` takes and gives raw units. With ``alpha="auto"`` and "varpro" the inputs
        are then multiplied by ``relevance_``.
    validation_fraction : float in (0, 1), optional
        Fraction of the rows to hold out, at random; the iterate with the least squared error on them is kept.
    device : None, "cpu", or device or devices of PyTorch, default None
        Where the passes over the rows are made, and large systems factored: "cuda", "cuda:1", or several such names for
        equal shares of the rows (:class:`anmin.rows.TorchRows`). By default in the threads of this process, or where X
        lies if it is a tensor on a GPU.
    dtype : {"float64", "float32"}, default "float64"
        Type in which the rows are held during the fit. Sums and weights are float64 always.
    warm_start : bool, default False
        Start from the network of the previous fit: the loss begins where that ended, the search anew. A checkpoint goes
        on with the search too.
    checkpoint : path, optional
        File in which the whole state of the fit is kept, written every few seconds as it goes on. Fitting again with it
        goes on from there, after whatever end, and comes to the same network to the last bit on the same machine as if
        the fit had never stopped; of a fit that had converged it returns the network. ``max_iter`` and ``max_time``,
        which count what was done before, may then be larger, and ``callbacks``, ``verbose`` and ``warm_start`` others;
        all else, and the data, must be the same. With ``random_state=None`` the random numbers are those of the file.
        While fitting in the main thread, SIGTERM is an interrupt like Ctrl-C.
    callbacks : callable or sequence of callables, optional
        Called as ``callback(record, network)`` after each iteration, with an :class:`anmin.history.Record` and the
        network in raw units; a true result stops the fit.
    verbose : int, default 0
        1 or more shows a progress bar if the fit takes longer than a second.
    random_state : int, RandomState instance or None, default None
        Source of the random starts and of the held-out rows.

    Attributes
    ----------
    network_ : ReLUNetwork
        The fitted network, in raw units.
    coefs_ : list of two ndarrays, of shape (d, h) and (h, c)
        Weights of the two layers, as in scikit-learn's MLPRegressor.
    intercepts_ : list of two ndarrays, of shape (h,) and (c,)
        Biases of the two layers.
    n_layers_, n_outputs_, out_activation_ : int, int, str
        3, c and "identity".
    alpha_ : float
        The penalty used.
    relevance_ : ndarray of shape (d,)
        How much a deviation of each input counts in the penalty, with mean square 1, where it was chosen; else ones.
        An input of small relevance is one that the network had better make little use of.
    scaling_ : Scaling
        Between raw units and the coordinates solved in.
    loss_ : float
        The loss of ``network_``, in the coordinates solved in.
    n_iter_ : int
        Iterations run.
    history_ : History
        One record per iteration; its "mse" is in squared units of y.
    status_ : Status
        How the fit ended; ``status_.value`` says it in words.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If X had column names that are all text.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from anmin import ReLURegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = ReLURegressor(n_neurons=8, random_state=0).fit(X, y)
    >>> model.predict(X).shape
    (442,)
    """

    def __init__(
        self,
        n_neurons: int = 64,
        *,
        solver: str | Solver = "auto",
        alpha: float | Literal["auto"] = "auto",
        negative_slope: float = 0.0,
        max_iter: int | None = None,
        tol: float = 1e-6,
        max_time: float | None = None,
        n_restarts: int = 1,
        relocate: bool = True,
        standardize: bool = True,
        validation_fraction: float | None = None,
        device: Any = None,
        dtype: str = "float64",
        warm_start: bool = False,
        checkpoint: str | os.PathLike | None = None,
        callbacks: Callable | Sequence[Callable] | None = None,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.n_neurons = n_neurons
        self.solver = solver
        self.alpha = alpha
        self.negative_slope = negative_slope
        self.max_iter = max_iter
        self.tol = tol
        self.max_time = max_time
        self.n_restarts = n_restarts
        self.relocate = relocate
        self.standardize = standardize
        self.validation_fraction = validation_fraction
        self.device = device
        self.dtype = dtype
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.callbacks = callbacks
        self.verbose = verbose
        self.random_state = random_state

    @np.errstate(under="ignore")  # the default of NumPy, which packages such as emlearn change when imported
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : array, tensor or data frame of shape (N, d), or rows
            Inputs; or rows that bring targets and weights with them, such as :class:`anmin.rows.ParquetRows`. Rows that
            are not in memory, also Dask arrays and data frames (:class:`anmin.rows.DaskRows`), are fitted by a sample
            of at most 262,144 of them and then, in at most 15 visits, by all (:mod:`anmin.search.sampling`); the loss
            is that of all.
        y : array, tensor or data frame of shape (N,) or (N, c)
            Targets, of Dask if X is; None if X are rows.
        sample_weight : array or tensor of shape (N,), optional
            Non-negative row weights.

        Returns
        -------
        self
            Also after an interrupt (Ctrl-C), with the best network so far, ``status_`` INTERRUPTED and a warning. An
            interrupt before there is a network is passed on.

        Raises
        ------
        ValueError, TypeError
            Before any work, if a parameter or the data are not as described, there is no such device, or memory would
            not suffice; or if the checkpoint is in use, damaged, or that of another fit, whose difference is named.
        ImportError
            If a device needs PyTorch, or rows need Dask, which is not installed.
        """
        begun = time.perf_counter()
        solver = self._check_settings()
        rows, y_is_1d = self._rows(X, y, sample_weight)
        if isinstance(rows, RowsInParts):
            output_names = None if rows.column_names is None else rows.column_names[1]
        else:
            output_names = column_names(y)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        previous = self._previous_network(rows)
        with ExitStack() as stack:
            checkpoint: Checkpoint | None = None
            if self.checkpoint is not None:
                stack.enter_context(termination_interrupts())
                checkpoint = stack.enter_context(self._opened_checkpoint(rows, seed, begun))
                seed, begun = checkpoint.seed, checkpoint.begun
                previous = remembered(checkpoint, "start", lambda: previous)
            bar = stack.enter_context(self._progress_bar(solver)) if self.verbose else None
            fitted = self._fitted(rows, solver, np.random.default_rng(seed), previous, begun, bar, checkpoint)
        solution = fitted.solution
        names = getattr(self, "feature_names_in_", None)
        self._set_fitted(
            replace(
                fitted.scaling.fold(solution.network),
                feature_names=None if names is None else tuple(names),
                output_names=output_names,
            )
        )
        self._y_is_1d = y_is_1d
        self.scaling_ = fitted.scaling
        self.relevance_ = fitted.relevance
        self.alpha_ = fitted.alpha
        self.loss_ = solution.loss
        self.n_iter_ = solution.n_iter
        self.history_ = solution.history
        self.status_ = solution.status
        self._sums = solution.sums
        if solution.status in _WORTH_A_WARNING:
            warnings.warn(solution.status.value, ConvergenceWarning, stacklevel=2)
        return self

    def _fitted(
        self,
        rows: ArrayRows | RowsInParts,
        solver: Solver,
        rng: np.random.Generator,
        previous: ReLUNetwork | None,
        begun: float,
        bar: ProgressBar | None,
        checkpoint: Checkpoint | None,
    ) -> _Fitted:
        rows, held_out = self._split(rows, rng)
        scaling = Scaling.standard(rows) if self.standardize else Scaling.identity(rows.n_features, rows.n_outputs)
        whole = Problem(
            scaling.apply(rows, self.dtype), int(self.n_neurons), 0.0, float(self.negative_slope), scaling.y_scale
        )
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
            deadline = None if self.max_time is None else begun + self.max_time
            choice, checkpoint = self._choice(problem, solver.inner, rng, deadline, bar, checkpoint)
            scaling = scaling.emphasised(choice.relevance)
            whole = replace(whole, rows=scaling.apply(rows, self.dtype))
            problem = sampled(whole)
        callbacks = [_in_raw_units(callback, scaling) for callback in self._callbacks()]
        if bar is not None:
            callbacks.append(bar)
        share = _SHARE_OF_SAMPLE if by_sample else 1.0
        common: dict[str, Any] = {"callbacks": callbacks, "begun": begun, "checkpoint": checkpoint}
        conditions = common | {
            "start": None if previous is None else scaling.unfold(previous),
            "max_iter": self.max_iter,
            "tol": self.tol,
            "max_time": None if self.max_time is None else share * self.max_time,
            "validation": None if held_out is None else scaling.apply(held_out, self.dtype),
        }
        if choice is not None and isinstance(solver, Recombining):
            alpha, solution = solve_chosen(problem, choice, solver, self.n_restarts, rng, **conditions)
        else:
            alpha = alpha_from_sum(_PAPER_LAMBDA, rows.n) if self.alpha == "auto" else float(self.alpha)
            problem = replace(problem, alpha=alpha)
            solution = solve_with_restarts(problem, solver, self.n_restarts, rng, **conditions)
        if by_sample:
            # What was chosen on the sample is alpha·n.
            whole = replace(whole, alpha=alpha if choice is None else alpha * problem.rows.n / whole.rows.n)
            solution = fitted_to_all(whole, solver, solution, self.tol, max_time=self.max_time, **common)
            if solution.history[-1].n_rows == whole.rows.n_rows:  # else it is still the solution of the sample
                alpha = whole.alpha
        relevance = np.ones(rows.n_features) if choice is None else choice.relevance
        return _Fitted(scaling, relevance, alpha, solution)

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

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Add rows to those fitted, and solve for the output layer again; an estimator that is not fitted is fitted.

        What is exact: the output weights and biases are those that minimise the loss over all rows so far, to rounding,
        as if they were all there, and ``loss_`` and the history's "mse" are of all of them. What is not: the hidden
        layer, the scaling and the relevances stay as the last :meth:`fit` left them, so this is not what a fit to all
        rows would give. alpha·n stays, so ``alpha_`` falls as rows are added.

        The history gets a record, whose "validation_mse" is the error on the new rows before they were added: where it
        is well above "mse", the data have drifted from what the hidden layer was made for, and it is time to fit again.

        Parameters
        ----------
        X : array or data frame of shape (N, d)
        y : array of shape (N,) or (N, c)
        sample_weight : array of shape (N,), optional

        Raises
        ------
        ValueError, TypeError
            If the rows are not as described, or have other columns than those of the fit.
        """
        if not hasattr(self, "network_"):
            return self.fit(X, y, sample_weight)
        return self._changed(X, y, sample_weight, add=True)

    def forget(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Take rows away that were fitted or added, and solve for the output layer again.

        Exact in the sense of :meth:`partial_fit`, but for rounding: what the rows have told about the output layer is
        gone, while the hidden layer, the scaling and the penalty that they helped to choose stay.

        Raises
        ------
        ValueError, TypeError
            As for :meth:`partial_fit`, and if none would be left or the rows cannot have been among those fitted.
        """
        check_is_fitted(self)
        return self._changed(X, y, sample_weight, add=False)

    @np.errstate(under="ignore")
    def _changed(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, *, add: bool) -> Self:
        inputs = checked_inputs(self, X, reset=False)
        targets = checked_targets(self, inputs, y)
        rows = ArrayRows(inputs, targets, on_host(sample_weight))
        if rows.n_outputs != self.n_outputs_:
            raise ValueError(f"y must have the {self.n_outputs_} outputs of the fit; got {rows.n_outputs}.")
        scaling, last = self.scaling_, self.history_[-1]
        changed = updated(
            scaling.unfold(self.network_), self._sums, self.alpha_, scaling.apply(rows), scaling.y_scale, add=add
        )
        self._set_fitted(scaling.fold(changed.network))
        self._sums, self.alpha_, self.loss_ = changed.sums, changed.alpha, changed.loss
        n_rows = last.n_rows + rows.n_rows if add else max(0, last.n_rows - rows.n_rows)
        record = replace(changed.record, iteration=last.iteration + 1, seconds=last.seconds, n_rows=n_rows)
        self.history_ = History((*self.history_, record))
        return self

    def predict(self, X: Any) -> NDArray:
        """Return the network's output for each row of X (N, d): shape (N,) if y had one dimension, else (N, c).

        Rows in files are read part by part, and only the predictions are held. Of Dask arrays and data frames the
        predictions are a Dask array, not computed yet; of tensors they are NumPy's.
        """
        check_is_fitted(self)
        if is_dask(X):
            names = list(getattr(self, "feature_names_in_", ()))
            return predicted(self.network_, X, names, one_dimension=self._y_is_1d)
        if isinstance(X, RowsInParts):
            predictions = np.concatenate([self.network_.predict(part) for part in X.inputs()])
        else:
            predictions = self.network_.predict(checked_inputs(self, X, reset=False))
        return predictions[:, 0] if self._y_is_1d else predictions

    @property
    def activation(self) -> str:
        """Name of the hidden activation as in MLPRegressor: "relu", or "leaky_relu" for a negative slope above 0."""
        return "relu" if self.negative_slope == 0 else "leaky_relu"

    def _set_fitted(self, network: ReLUNetwork) -> None:
        self.network_ = network
        self.coefs_ = [network.A[1:], network.B]
        self.intercepts_ = [network.A[0], network.b0]
        self.n_layers_ = 3
        self.n_outputs_ = network.n_outputs
        self.out_activation_ = "identity"

    def _check_settings(self) -> Solver:
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
        if not _is_here(self.device):
            checked_devices(self.device)
        self._require("dtype", self.dtype in ("float64", "float32"), '"float64" or "float32"')
        place = self.checkpoint
        self._require(
            "checkpoint", place is None or _can_be_written(place), "None or the path of a file that may be written"
        )
        if place is not None and not can_be_kept(cast(Solver, solver)):
            raise ValueError(f"A checkpoint needs one of anmin's own solvers; got {solver!r}.")
        self._require("callbacks", all(map(callable, self._callbacks())), "a callable or a sequence of them")
        return cast(Solver, solver)

    def _require(self, name: str, holds: bool, requirement: str) -> None:
        if not holds:
            raise ValueError(
                f"The {name!r} parameter of {type(self).__name__} must be {requirement}; got {getattr(self, name)!r}."
            )

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

    def _rows(self, X: Any, y: Any, sample_weight: Any) -> tuple[ArrayRows | RowsInParts, bool]:
        """Return the checked rows where their passes are to be made, and whether y had one dimension."""
        rows, y_is_1d = self._rows_here(X, y, sample_weight)
        device = device_of(X) if self.device is None else self.device
        return (rows if _is_here(device) else rows.on(device)), y_is_1d

    def _rows_here(self, X: Any, y: Any, sample_weight: Any) -> tuple[ArrayRows | RowsInParts, bool]:
        if is_dask(X):
            if y is None:
                raise ValueError(f"{type(self).__name__} requires y to be passed, as a Dask array or series.")
            y_is_1d = isinstance(y, str) or getattr(y, "ndim", 2) == 1
            return self._rows_here(DaskRows(X, y, sample_weight), None, None)[0], y_is_1d
        if isinstance(X, ArrayRows | RowsInParts):
            if y is not None or sample_weight is not None:
                raise ValueError("Rows bring their own targets and weights; y and sample_weight must be None.")
            if self.validation_fraction is not None and isinstance(X, RowsInParts):
                raise ValueError("validation_fraction needs rows in memory; hold rows out in another file instead.")
            self.n_features_in_ = X.n_features
            self.__dict__.pop("feature_names_in_", None)
            if isinstance(X, RowsInParts) and X.column_names is not None:
                self.feature_names_in_ = np.array(X.column_names[0], dtype=object)
            return X, X.n_outputs == 1
        inputs = checked_inputs(self, X, reset=True)
        targets = checked_targets(self, inputs, y)
        return ArrayRows(inputs, targets, on_host(sample_weight)), targets.ndim == 1

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


def _is_here(device: Any) -> bool:
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
