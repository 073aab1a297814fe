"""Classification by a network whose weights are solved for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

from anmin.devices import device_of, on_host
from anmin.fitting import BaseReLU, is_here
from anmin.losses import Logistic, Loss, Softmax
from anmin.network import ReLUNetwork
from anmin.reporting import reported, with_callbacks
from anmin.rows import ArrayRows
from anmin.rows.arrays import check_weights
from anmin.rows.parts import RowsInParts
from anmin.solvers import Solver
from anmin.validation import checked_inputs, checked_labels


class ReLUClassifier(ClassifierMixin, BaseReLU):
    """Classification by a two-layer ReLU network whose weights are solved for.

    The network gives the log odds of the second class of two, or the logarithms of the probabilities of several classes
    up to a constant, and minimises

        (1/n) Σ_i w_i (−log p(y_i | x_i)) + alpha · (‖A‖² + ‖B‖² + ‖b0‖²),    n = Σ_i w_i

    with a quasi-Newton method on all weights (:class:`anmin.search.quasi_newton.QuasiNewton`), whose start solves for
    the output layer: the loss falls in every iteration. The penalty, and how much each input counts in it, are chosen
    by rows held out (:func:`anmin.cross_validation.cross_validated`), near what the evidence asks for.

    Parameters
    ----------
    n_neurons : int, default 64
        Number of hidden neurons, h.
    loss : {"log", "squared"}, default "log"
        "squared" is the paper's: the squared error of the indicators of the classes, of all but the first where there
        are two, minimised as :class:`anmin.ReLURegressor` does. Its predictions, cut to [0, 1] and scaled to a sum of
        one, stand for probabilities.
    class_weight : dict, "balanced" or None, default None
        Weights of the classes, by which those of the rows are multiplied; "balanced" are N/(K·N_k).
    solver, alpha, negative_slope, max_iter, tol, max_time, n_restarts, relocate, standardize, validation_fraction, \
    device, dtype, warm_start, checkpoint, callbacks, verbose, random_state
        As for :class:`anmin.ReLURegressor`; ``loss="log"`` takes the solvers "auto", "varpro" and "matrix_free", of
        which the latter two, like "auto" with a ``device``, solve weighted least squares again and again
        (:class:`anmin.search.reweighted.Reweighted`), and ``relocate`` is of no effect then. Inputs alone are
        standardised. With ``alpha="auto"`` at most half of ``max_time`` goes to its choice.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
    network_ : ReLUNetwork
        The fitted network, of raw inputs, with one output for two classes, else K.
    alpha_, loss_, n_iter_, history_, status_, scaling_, relevance_, coefs_, intercepts_, n_layers_, n_outputs_, \
    n_features_in_, feature_names_in_
        As for :class:`anmin.ReLURegressor`; the history's "mse" is of probabilities and indicators.
    out_activation_ : str
        "logistic" or "softmax"; "identity" with ``loss="squared"``.

    References
    ----------
    Barbu, Training a two-layer ReLU network analytically, arXiv 2304.02972. Geisser & Eddy, A predictive approach to
    model selection, 1979. MacKay, The evidence framework applied to classification networks, 1992.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from anmin import ReLUClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = ReLUClassifier(n_neurons=8, random_state=0).fit(X, y)
    >>> model.predict_proba(X).shape
    (150, 3)
    """

    def __init__(
        self,
        n_neurons: int = 64,
        *,
        loss: str = "log",
        class_weight: dict | Literal["balanced"] | None = None,
        solver: str | Solver = "auto",
        alpha: float | Literal["auto"] = "auto",
        negative_slope: float = 0.0,
        max_iter: int | None = None,
        tol: float = 1e-5,
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
        self.loss = loss
        self.class_weight = class_weight
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

    @np.errstate(under="ignore")
    def fit(self, X: Any, y: ArrayLike, sample_weight: Any = None) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : array, tensor or data frame of shape (N, d)
        y : array of shape (N,)
            Classes: numbers, text or booleans, at least two different ones.
        sample_weight : array of shape (N,), optional
            Non-negative row weights.

        Returns
        -------
        self
            Also after an interrupt, as :meth:`anmin.ReLURegressor.fit`.

        Raises
        ------
        ValueError, TypeError, ImportError
            As :meth:`anmin.ReLURegressor.fit`, and if y has less than two classes, or is no list of classes.
        """
        return self._fit(X, y, sample_weight)

    @np.errstate(under="ignore")
    def pruned(self, n_neurons: int, X: Any, y: ArrayLike, sample_weight: Any = None) -> Self:
        """Return a fitted classifier of fewer neurons: what is left of this network, fitted again.

        As :meth:`anmin.ReLURegressor.pruned`; the classes must be those of the fit.
        """
        return self._narrower(n_neurons)._fit(X, y, sample_weight, self)

    @with_callbacks
    def _fit(self, X: Any, y: Any, sample_weight: Any, wide: ReLUClassifier | None = None) -> Self:
        begun = time.perf_counter()
        self._require("loss", self.loss in ("log", "squared"), 'one of "log" and "squared"')
        solver = self._check_settings(Softmax() if self.loss == "log" else None)
        if isinstance(X, ArrayRows | RowsInParts):
            raise TypeError(f"{type(self).__name__} takes arrays and classes, in memory; got {type(X).__name__}.")
        inputs = checked_inputs(self, X, reset=True)
        labels = checked_labels(self, inputs, y)
        weights = None if sample_weight is None else check_weights(on_host(sample_weight), len(inputs))
        used = labels if weights is None else labels[weights > 0]
        self.classes_ = np.unique(used)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes in y; got only one class, {self.classes_[0]!r}."
            )
        if wide is not None:
            self._check_pruned(wide)
        if weights is not None:
            inputs, labels, weights = inputs[weights > 0], used, weights[weights > 0]
        if self.class_weight is not None:
            by_class = compute_sample_weight(self.class_weight, labels)
            weights = by_class if weights is None else by_class * weights
        indicators = (labels[:, None] == self.classes_).astype(np.float64)
        targets = indicators if len(self.classes_) > 2 else indicators[:, 1:]
        of_classes: Loss = Softmax() if len(self.classes_) > 2 else Logistic()
        loss = of_classes if self.loss == "log" else None
        rows = ArrayRows(inputs, targets, weights)
        device = device_of(X) if self.device is None else self.device
        names = tuple(map(str, self.classes_[-targets.shape[1] :]))
        rows = rows if is_here(device) else rows.on(device)
        with reported(self, X, y, sample_weight, self._attributes_of) as reports:
            self._fit_rows(rows, solver, loss, names, begun, reports, wide)
        return self

    def _check_pruned(self, wide: ReLUClassifier) -> None:
        if self.n_features_in_ != wide.n_features_in_ or not np.array_equal(self.classes_, wide.classes_):
            raise ValueError(
                f"The rows must have the {wide.n_features_in_} inputs and the classes of the fit, "
                f"{wide.classes_.tolist()}; got {self.n_features_in_} inputs and {self.classes_.tolist()}."
            )

    def _attributes_of(self, network: ReLUNetwork) -> dict[str, Any]:
        of_classes = "softmax" if len(self.classes_) > 2 else "logistic"
        shown = "identity" if self.loss == "squared" else of_classes
        return {**super()._attributes_of(network), "out_activation_": shown}

    def decision_function(self, X: Any) -> NDArray:
        """Return the network's outputs: (N,) log odds of the second of two classes, else (N, K).

        With ``loss="squared"`` they are predictions of the indicators, less a half where there are two classes.
        """
        check_is_fitted(self)
        scores = self.network_.predict(checked_inputs(self, X, reset=False))
        if len(self.classes_) > 2:
            return scores
        return scores[:, 0] - (0.5 if self.loss == "squared" else 0.0)

    def predict_proba(self, X: Any) -> NDArray:
        """Return the probabilities of the classes, shape (N, K), in the order of ``classes_``."""
        scores = self.decision_function(X)
        binary = scores.ndim == 1
        if self.loss == "squared":
            shares = np.clip(scores[:, None] + 0.5 if binary else scores, 0.0, 1.0)
            if not binary:
                total = shares.sum(axis=1, keepdims=True)
                return np.where(total > 0, shares, 1.0) / np.where(total > 0, total, len(self.classes_))
        else:
            shares = Logistic().mean(scores[:, None]) if binary else Softmax().mean(scores)
        return np.hstack([1 - shares, shares]) if binary else shares

    def predict_log_proba(self, X: Any) -> NDArray:
        """Return the logarithms of :meth:`predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: Any) -> NDArray:
        """Return the most probable class of each row, shape (N,)."""
        scores = self.decision_function(X)
        best = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[best]
