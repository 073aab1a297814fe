"""The scikit-learn face: checks what the user gives, lets the solvers work, and sets the fitted attributes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, column_or_1d

from anmin.certificate import Certificate, certified
from anmin.devices import device_of, on_host
from anmin.fitting import BaseReLU, is_here
from anmin.history import History
from anmin.losses import Huber, Loss, Poisson, Quantile
from anmin.reporting import reported, with_callbacks
from anmin.rows import ArrayRows
from anmin.rows.dask import DaskRows, is_dask, predicted
from anmin.rows.parts import RowsInParts
from anmin.solvers import Solver
from anmin.streaming import updated
from anmin.validation import check_alone, checked_inputs, checked_targets, column_names, is_number


def _by_squares(estimator: ReLURegressor) -> bool:
    """Return whether the loss is the squared error, or raise AttributeError: rows add up under no other."""
    if estimator.loss != "squared":
        raise AttributeError(f"Rows are added and taken away with loss='squared' only; got {estimator.loss!r}.")
    return True


def _is_certifiable(estimator: ReLURegressor) -> bool:
    """Return whether the loss is the squared error, or raise AttributeError: there is no certificate under others."""
    if estimator.loss != "squared":
        raise AttributeError(f"There are certificates with loss='squared' only; got {estimator.loss!r}.")
    return True


class ReLURegressor(MultiOutputMixin, RegressorMixin, BaseReLU):
    """Regression by a two-layer ReLU network whose weights are solved for.

    The network f(x) = σ((1, x)ᵀ A) B + b0, σ(t) = max(t, 0) + negative_slope · min(t, 0), minimises

        (1/n) Σ_i w_i ‖f(x_i) − y_i‖² + alpha · (‖A‖² + ‖B‖² + ‖b0‖²),    n = Σ_i w_i

    (Barbu, arXiv 2304.02972, Eq. 1). There is no learning rate, batch size or number of epochs.

    Parameters
    ----------
    n_neurons : int, default 64
        Number of hidden neurons, h.
    solver : {"auto", "anmin", "varpro", "matrix_free", "altmin", "relaxed"} or solver object, default "auto"
        "varpro" is Levenberg–Marquardt on the hidden layer with the output layer solved out, within a search that
        joins, grows and prunes networks (:class:`anmin.search.Recombining`); its loss never rises. "matrix_free" takes
        the same steps by conjugate gradients (:class:`anmin.solvers.MatrixFree`), for many neurons and inputs: time and
        memory grow with their product instead of its square. "anmin" is the
        paper's Algorithm 1: quicker, and much less deep. "altmin" fits a sum of ReLUs without output weights and
        biases (one output; use it with ``standardize=False``), and so does "relaxed", by gradient descent
        (:class:`anmin.solvers.RelaxedDescent`; it needs y >= 0). "auto" is "varpro", whose first
        steps are those of "matrix_free" where these are much cheaper (:class:`anmin.solvers.Hybrid`), or "matrix_free"
        where matrices do not fit in memory or a step with them would take much longer
        (:func:`anmin.search.automatic_solver`). An object from
        :mod:`anmin.solvers` or :mod:`anmin.search`, such as ``Anmin(system_dtype="float32")``, brings its own settings.
    alpha : float >= 0 or "auto", default "auto"
        Penalty of the weights, in the coordinates solved in. "auto" is the paper's 0.001/n with "anmin", "altmin" and
        "relaxed";
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
        of its search, and on rows that are not in memory at least 1e-5.
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
        Fraction of the rows to hold out, at random; the iterate with the least squared error on them is kept. The fit
        ends early, with ``status_`` HELD_OUT, where that error has not fallen for 200 iterations, and for as many as it
        took to fall to its least.
    device : None, "cpu", or device or devices of PyTorch, default None
        Where the passes over the rows are made, and large systems factored: "cuda", "cuda:1", or several such names for
        equal shares of the rows (:class:`anmin.rows.TorchRows`). By default in the threads of this process, or where X
        lies if it is a tensor on a GPU.
    dtype : {"float64", "float32"}, default "float64"
        Type in which the rows are held during the fit. Sums and weights are float64 always.
    warm_start : bool, default False
        Start from the network of the previous fit: the loss begins where that ended, the search anew. The penalty, if
        automatic, is chosen anew for the squared error; by another loss it stays, as does what scales a Huber loss. A
        checkpoint goes on with the search too.
    checkpoint : path, optional
        File in which the whole state of the fit is kept, written every few seconds as it goes on. Fitting again with it
        goes on from there, after whatever end, and comes to the same network to the last bit on the same machine as if
        the fit had never stopped; of a fit that had converged it returns the network. ``max_iter`` and ``max_time``,
        which count what was done before, may then be larger, and ``callbacks``, ``verbose`` and ``warm_start`` others;
        all else, and the data, must be the same. With ``random_state=None`` the random numbers are those of the file.
        While fitting in the main thread, SIGTERM is an interrupt like Ctrl-C.
    callbacks : callable or sequence of callables, optional
        Called as ``callback(record, network)`` after each iteration, with an :class:`anmin.history.Record` and the
        network in raw units; a true result stops the fit. Where scikit-learn has callbacks of its own (1.9 or newer),
        ``set_callbacks`` takes those: each iteration is a task of theirs.
    verbose : int, default 0
        1 or more shows a progress bar if the fit takes longer than a second.
    random_state : int, RandomState instance or None, default None
        Source of the random starts and of the held-out rows.
    loss : {"squared", "absolute", "huber", "quantile", "poisson"} or loss object, default "squared"
        What is minimised, ℓ in (1/n) Σ_i w_i ℓ(y_i, f(x_i)) + alpha·‖θ‖². "absolute" is Σ_k |y_k − f_k|, whose minimum
        is the median; "quantile" the pinball loss, whose minimum is the ``quantile``; "huber" is quadratic for small
        and absolute for large errors (:class:`anmin.losses.Huber`, which may be given with its ``delta``); "poisson"
        takes counts, and predictions are rates, exp(f). Others than "squared" are lowered by weighted least squares,
        again and again (:class:`anmin.search.reweighted.Reweighted`), from a fit by the squared error; "poisson" by a
        quasi-Newton method instead (:class:`anmin.search.quasi_newton.QuasiNewton`), with the penalty and how much each
        input counts in it chosen by rows held out (:func:`anmin.cross_validation.cross_validated`). They need rows in
        memory.
    quantile : float in (0, 1), default 0.5
        With ``loss="quantile"``.

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
    loss_rise_ : float
        Of a model that comes from :meth:`pruned`.
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
        loss: str | Loss = "squared",
        quantile: float = 0.5,
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
        self.loss = loss
        self.quantile = quantile

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
        return self._fit(X, y, sample_weight)

    @with_callbacks
    def _fit(self, X: Any, y: Any, sample_weight: Any, wide: ReLURegressor | None = None) -> Self:
        begun = time.perf_counter()
        loss = self._loss()
        solver = self._check_settings(loss)
        rows, self._y_is_1d = self._rows(X, y, sample_weight)
        if loss is not None:
            self._check_rows(rows)
        if wide is not None:
            self._check_pruned(rows, wide)
        if isinstance(rows, RowsInParts):
            output_names = None if rows.column_names is None else rows.column_names[1]
        else:
            output_names = column_names(y)
        with reported(self, X, y, sample_weight, self._attributes_of) as reports:
            self._fit_rows(rows, solver, loss, output_names, begun, reports, wide)
        return self

    @np.errstate(under="ignore")
    def pruned(self, n_neurons: int, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Return a fitted estimator of fewer neurons: what is left of this network, fitted again.

        The neurons without which the loss rises least go, 6 % at a time, with steps of variable projection in between
        (:mod:`anmin.search.pruning`), and what is left is fitted until its loss settles. Scaling, relevances and the
        penalty stay. It takes a small part of the time of a fit to that width, and comes out about as good (see
        docs/model-surgery.md). This estimator stays as it is.

        Parameters
        ----------
        n_neurons : int
            From 1 to the number there are.
        X, y, sample_weight
            The rows to fit to, as for :meth:`fit`; rows of files or of Dask must be a sample that is in memory.

        Returns
        -------
        ReLURegressor
            With the settings of this one, and ``loss_rise_``: by how much its loss exceeds that of the network it was
            made from, on these rows.

        Raises
        ------
        ValueError, TypeError
            As for :meth:`fit`, and if there are not so many neurons, or the rows have other columns than those of the
            fit.
        KeyboardInterrupt
            If interrupted before the width is reached; after that as for :meth:`fit`.
        """
        return self._narrower(n_neurons)._fit(X, y, sample_weight, self)

    def _check_pruned(self, rows: ArrayRows | RowsInParts, wide: ReLURegressor) -> None:
        if isinstance(rows, RowsInParts):
            raise ValueError("Pruning needs rows in memory; give it a sample of these rows.")
        shape, own = (rows.n_features, rows.n_outputs), (wide.n_features_in_, wide.n_outputs_)
        if shape != own:
            raise ValueError(f"The rows must have the {own[0]} inputs and {own[1]} outputs of the fit; got {shape}.")

    @available_if(_by_squares)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Add rows to those fitted, and solve for the output layer again; an estimator that is not fitted is fitted.

        What is exact: the output weights and biases are those that minimise the loss over all rows so far, to rounding,
        as if they were all there, and ``loss_`` and the history's "mse" are of all of them. What is not: the hidden
        layer, the scaling and the relevances stay as the last :meth:`fit` left them, so this is not what a fit to all
        rows would give. alpha·n stays, so ``alpha_`` falls as rows are added.

        The history gets a record, whose "validation_mse" is the error on the new rows before they were added: where it
        is well above "mse", the data have drifted from what the hidden layer was made for, and it is time to fit again.

        Parameters
        ----------
        X : array, tensor or data frame of shape (N, d), or rows
            As for :meth:`fit`; of rows that are not in memory the sums take one visit.
        y : array, tensor or data frame of shape (N,) or (N, c)
        sample_weight : array or tensor of shape (N,), optional

        Raises
        ------
        ValueError, TypeError
            If the rows are not as described, or have other columns than those of the fit.
        """
        if not hasattr(self, "network_"):
            return self.fit(X, y, sample_weight)
        return self._changed(X, y, sample_weight, add=True)

    @available_if(_by_squares)
    def forget(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
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
    def _changed(self, X: Any, y: Any, sample_weight: Any, *, add: bool) -> Self:
        rows = self._rows_to_change(X, y, sample_weight)
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

    @available_if(_is_certifiable)
    @np.errstate(under="ignore")
    def certificate(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, rounds: int = 0, max_visits: float = 3e8
    ) -> Certificate:
        """Bound the loss of the best network of any width from below, and say how near this one comes to it.

        The loss is ``loss_``, in the coordinates solved in, with the penalty ``alpha_``, if the rows are those of the
        fit; of other rows it is the loss of this network on them.

        Parameters
        ----------
        X, y, sample_weight
            The rows, as for :meth:`fit`; they must be in memory.
        rounds : int >= 0, default 0
            Rounds in which a wider network is made for a better bound.
        max_visits : float > 0, default 3e8
            Limit of the search for the steepest neuron. Both are as for :func:`anmin.certificate.certificate`.

        Returns
        -------
        Certificate
            Its ``neuron`` is in the coordinates solved in; its ``best`` network takes and gives raw units.

        Raises
        ------
        ValueError, TypeError
            If the rows or a parameter are not as described, the rows have other columns than those of the fit, or the
            fit was without a penalty.
        """
        check_is_fitted(self)
        rows = self._rows_to_change(X, y, sample_weight)
        if isinstance(rows, RowsInParts) or rows.device is not None:
            raise ValueError("A certificate needs rows in memory, not on a device; give it a sample of these rows.")
        scaling = self.scaling_
        found = certified(
            scaling.unfold(self.network_), scaling.apply(rows), self.alpha_, rounds=rounds, max_visits=max_visits
        )
        return replace(found, best=scaling.fold(found.best))

    def _rows_to_change(self, X: Any, y: Any, sample_weight: Any) -> ArrayRows:
        if is_dask(X):
            return self._rows_to_change(DaskRows(X, y, sample_weight), None, None)
        if isinstance(X, ArrayRows | RowsInParts):
            check_alone(y, sample_weight)
            self._check_columns(X)
            return cast(ArrayRows, X)  # either offers the pass that is needed
        inputs = checked_inputs(self, X, reset=False)
        return ArrayRows(inputs, checked_targets(self, inputs, y), on_host(sample_weight))

    def _check_columns(self, rows: ArrayRows | RowsInParts) -> None:
        """Raise ValueError unless rows have the inputs of the fit."""
        if rows.n_features != self.n_features_in_:
            raise ValueError(f"The rows must have the {self.n_features_in_} inputs of the fit; got {rows.n_features}.")
        names, own = list(getattr(self, "feature_names_in_", ())), None
        if isinstance(rows, RowsInParts):
            own = rows.column_names
        if names and own is not None and list(own[0]) != names:
            raise ValueError(
                f"The rows must have the inputs of the fit, in order: {', '.join(names)}; got {', '.join(own[0])}."
            )

    def predict(self, X: Any) -> NDArray:
        """Return the network's output for each row of X (N, d): shape (N,) if y had one dimension, else (N, c).

        Rows in files are read part by part, and only the predictions are held; they must be the files that were there
        when the rows were made. Of Dask arrays and data frames the predictions are a Dask array, not computed yet; of
        tensors they are NumPy's.
        """
        check_is_fitted(self)
        if is_dask(X):
            names = list(getattr(self, "feature_names_in_", ()))
            found = predicted(self.network_, X, names, one_dimension=self._y_is_1d)
            return np.exp(found) if isinstance(self._loss(), Poisson) else found
        if isinstance(X, ArrayRows | RowsInParts):
            self._check_columns(X)
            parts = X.inputs() if isinstance(X, RowsInParts) else [X.X]
            predictions = np.concatenate([self.network_.predict(part) for part in parts])
        else:
            predictions = self.network_.predict(checked_inputs(self, X, reset=False))
        loss = self._loss()
        if loss is not None:
            predictions = loss.mean(predictions)
        return predictions[:, 0] if self._y_is_1d else predictions

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        counts = isinstance(self.loss, Poisson) or (isinstance(self.loss, str) and self.loss == "poisson")
        tags.target_tags.positive_only = counts
        # Several outputs are fitted too, but who asks for several does not look whether they must be positive.
        tags.target_tags.multi_output = not counts
        return tags

    def _loss(self) -> Loss | None:
        """Return the loss, None for the squared one; raise ValueError if there is none of that name."""
        q = self.quantile
        self._require("quantile", is_number(q, 0) and 0 < q < 1, "a number between 0 and 1")
        named: dict[str, Loss | None] = {
            "squared": None,
            "absolute": Quantile(0.5, 2.0),
            "huber": Huber(),
            "quantile": Quantile(float(q)),
            "poisson": Poisson(),
        }
        loss = named.get(self.loss, "") if isinstance(self.loss, str) else self.loss
        usable = loss is None or (hasattr(loss, "quadratic") and not isinstance(loss, type))
        self._require("loss", usable, f"one of {', '.join(map(repr, named))} or a loss from anmin.losses")
        return cast("Loss | None", loss)

    def _check_rows(self, rows: ArrayRows | RowsInParts) -> None:
        """Raise ValueError if a loss other than the squared one cannot be fitted to these rows."""
        if isinstance(rows, RowsInParts):
            raise ValueError(f"loss={self.loss!r} needs rows in memory; fit it to a sample of these rows.")
        if isinstance(self._loss(), Poisson) and (rows.Y < 0).any():
            raise ValueError(f"loss='poisson' needs y >= 0; {np.count_nonzero(rows.Y < 0)} values are negative.")

    def _rows(self, X: Any, y: Any, sample_weight: Any) -> tuple[ArrayRows | RowsInParts, bool]:
        """Return the checked rows where their passes are to be made, and whether y had one dimension."""
        rows, y_is_1d = self._rows_here(X, y, sample_weight)
        device = device_of(X) if self.device is None else self.device
        return (rows if is_here(device) else rows.on(device)), y_is_1d

    def _rows_here(self, X: Any, y: Any, sample_weight: Any) -> tuple[ArrayRows | RowsInParts, bool]:
        if is_dask(X):
            if y is None:
                raise ValueError(f"{type(self).__name__} requires y to be passed, as a Dask array or series.")
            y_is_1d = isinstance(y, str) or getattr(y, "ndim", 2) == 1
            return self._rows_here(DaskRows(X, y, sample_weight), None, None)[0], y_is_1d
        if isinstance(X, ArrayRows | RowsInParts):
            check_alone(y, sample_weight)
            if X.n_rows < 2:
                raise ValueError(f"{type(self).__name__} needs at least two rows of positive weight; got one.")
            if self.validation_fraction is not None and isinstance(X, RowsInParts):
                raise ValueError("validation_fraction needs rows in memory; hold rows out in another file instead.")
            self.n_features_in_ = X.n_features
            self.__dict__.pop("feature_names_in_", None)
            if isinstance(X, RowsInParts) and X.column_names is not None:
                self.feature_names_in_ = np.array(X.column_names[0], dtype=object)
            return X, X.n_outputs == 1
        inputs = checked_inputs(self, X, reset=True)
        targets = checked_targets(self, inputs, y)
        if targets.shape[1:] == (1,) and not self.__sklearn_tags__().target_tags.multi_output:
            targets = column_or_1d(targets, warn=True)
        return ArrayRows(inputs, targets, on_host(sample_weight)), targets.ndim == 1
