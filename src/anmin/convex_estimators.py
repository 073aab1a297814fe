"""Estimators whose fit is a convex program: the best network with given gates, of as many neurons as it takes."""

from __future__ import annotations

from typing import Any, Literal, get_args

from numpy.typing import NDArray

from anmin.convex_fitting import BaseConvex, Ended
from anmin.convex_forms import GatedForm, ReLUForm
from anmin.fitting import layout_of
from anmin.held_out import Program
from anmin.solvers.convex import ConvexMethod
from anmin.solvers.gated_program import Norm


class ConvexReLURegressor(BaseConvex):
    """Regression by the best two-layer ReLU network of given patterns, the solution of a convex program.

    A gate g_j is open for the rows with x̃ᵀg_j > 0, x̃ = (1, x), and a neuron has its pattern if it is active on these
    rows and no others. Of all networks f(x) = Σ_j max(x̃ᵀa_j, 0) b_j + b0 whose neurons have the patterns of the given
    gates, however many neurons, it is one that minimises

        (1/n) Σ_i w_i ‖f(x_i) − y_i‖² + alpha · (‖A‖² + ‖B‖² + ‖b0‖²),    n = Σ_i w_i

    the loss of :class:`anmin.ReLURegressor` (Pilanci & Ergen 2020, with biases). Most patterns are left without
    neurons: how many there are comes out of ``alpha``. The loss is at its global minimum for these patterns, to
    ``gap_``; with ``gates="all"`` no network of any width has a smaller one. With several outputs each neuron is of one
    output, and the minimum is over such networks.

    Parameters
    ----------
    n_gates : int >= 1, default 64
        With ``gates="sample"``, how many to begin with: the one that is open for every row, and random ones.
    gates : {"sample", "all"} or array of shape (d + 1, P), default "sample"
        "sample" draws gates g ~ N(0, I), in the coordinates solved in. "all" takes one for every pattern that the rows
        allow (:func:`anmin.arrangements.all_patterns`); there are about n^d of them, so rows and inputs must be few. An
        array has gates of its own in its columns, for raw inputs, the bias first: those of ``network_.A`` of another
        network give the best network of its patterns.
    alpha : float >= 0 or "auto", default "auto"
        Penalty, in the coordinates solved in. "auto" is the one of a path of falling penalties by which rows that are
        held out are predicted with the least error (:func:`anmin.held_out.held_out_path`): those of five folds in turn,
        or of as many of them as it takes for 800 rows. All rows are fitted with it.
    method : {"augmented_lagrangian", "decomposition", "reference"}, default "augmented_lagrangian"
        How the program is solved (:func:`anmin.solvers.convex.solve_convex`). "decomposition" splits the solution of
        the gated program into neurons of the patterns; it has the same predictions on the rows, but not the least
        penalty. "reference" is CVXPY, of the extra ``convex``, for small problems.
    tol : float >= 0, default 1e-8
        How far the conditions of optimality may be from holding, as a part of the penalty at which all weights are
        zero.
    max_iter : int >= 1, default 50
        Largest number of rounds of the solver, each a visit to the rows.
    standardize : bool, default True
        Solve with inputs and outputs shifted and scaled to weighted mean 0 and deviation 1. The scaling is folded into
        the weights afterwards: ``network_`` takes and gives raw units.
    validation_fraction : float in (0, 1), optional
        With ``alpha="auto"``, the fraction of the rows to hold out, at random and once, in place of folds.
    verbose : int, default 0
        1 or more shows a progress bar if the fit takes longer than a second.
    random_state : int, RandomState instance or None, default None
        Source of the gates and of the rows held out.

    Attributes
    ----------
    network_ : ReLUNetwork
        The fitted network, in raw units.
    gates_ : ndarray of shape (d + 1, P)
        The gates that there were, in raw units.
    coefs_ : list of two ndarrays, of shape (d, h) and (h, c)
        Weights of the two layers, as in scikit-learn's MLPRegressor.
    intercepts_ : list of two ndarrays, of shape (h,) and (c,)
        Biases of the two layers.
    n_layers_, n_outputs_, out_activation_ : int, int, str
        3, c and "identity".
    n_neurons_ : int
        h.
    alpha_ : float
        The penalty used.
    loss_, bound_ : float
        The loss of ``network_``, in the coordinates solved in, and what no network of these patterns can be below; 0
        where ``alpha_`` is 0.
    gap_ : float
        (``loss_`` − ``bound_``)/``loss_``.
    residual_ : float
        How far the conditions of optimality are from holding, in the measure of ``tol``.
    violation_ : float
        By how much a neuron leaves its pattern at most (:class:`anmin.solvers.convex.ConvexSolution`).
    alphas_ : ndarray of shape (m,)
        The penalties tried, from the largest on.
    held_out_mse_ : ndarray of shape (m,)
        Mean squared error with them on the rows held out, in squared units of y; NaN where none were.
    scaling_ : Scaling
        Between raw units and the coordinates solved in.
    n_iter_ : int
        Rounds of the solver at ``alpha_``.
    history_ : History
        A record for each penalty tried, and one for the last solution where that is another.
    status_ : Status
        How the fit ended; ``status_.value`` says it in words.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If X had column names that are all text.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from anmin import ConvexReLURegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = ConvexReLURegressor(n_gates=20, alpha=0.1, random_state=0).fit(X, y)
    >>> model.gap_ < 1e-4
    True
    """

    activation = "relu"  # as in MLPRegressor

    def __init__(
        self,
        n_gates: int = 64,
        *,
        gates: Literal["sample", "all"] | NDArray = "sample",
        alpha: float | Literal["auto"] = "auto",
        method: ConvexMethod = "augmented_lagrangian",
        tol: float = 1e-8,
        max_iter: int = 50,
        standardize: bool = True,
        validation_fraction: float | None = None,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.n_gates = n_gates
        self.gates = gates
        self.alpha = alpha
        self.method = method
        self.tol = tol
        self.max_iter = max_iter
        self.standardize = standardize
        self.validation_fraction = validation_fraction
        self.verbose = verbose
        self.random_state = random_state

    def _program(self, gates: NDArray) -> Program:
        return ReLUForm(gates, self.method)

    def _set_fitted(self, network: Any) -> None:
        self.__dict__.update(layout_of(network))

    def _set_solution(self, ended: Ended) -> None:
        super()._set_solution(ended)
        self.violation_ = ended.level.solution.violation

    def _check_settings(self) -> None:
        super()._check_settings()
        methods = get_args(ConvexMethod)
        self._require("method", self.method in methods, f"one of {', '.join(map(repr, methods))}")


class GatedReLURegressor(BaseConvex):
    """Regression by a network of neurons with fixed gates, the solution of a convex program.

    Of all networks f(x) = Σ_j 1[x̃ᵀg_j > 0] (x̃ᵀa_j) b_j + b0, x̃ = (1, x), whose neurons have the given gates g_j,
    however many neurons a gate has, it is one that minimises

        (1/n) Σ_i w_i ‖f(x_i) − y_i‖² + alpha · (Σ_j ‖a_j‖² + ‖b_j‖² + ‖b0‖²),    n = Σ_i w_i

    (Mishkin, Sahiner & Pilanci 2022, with biases). Most gates are left without neurons: how many there are comes out of
    ``alpha``. The loss is at its global minimum for these gates, to ``gap_``. f may jump where a gate opens.

    Parameters
    ----------
    n_gates : int >= 1, default 128
        With ``gates="sample"``, how many to begin with: the one that is open for every row, and random ones.
    gates : {"sample", "all"} or array of shape (d + 1, P), default "sample"
        "sample" draws gates g ~ N(0, I), in the coordinates solved in. "all" takes one for every set of rows that a
        gate can be open for (:func:`anmin.arrangements.all_patterns`); there are about n^d of them, so rows and inputs
        must be few. An array has gates of its own in its columns, for raw inputs, the bias first.
    alpha : float >= 0 or "auto", default "auto"
        Penalty, in the coordinates solved in. "auto" is the one of a path of falling penalties by which rows that are
        held out are predicted with the least error (:func:`anmin.held_out.held_out_path`): those of five folds in turn,
        or of as many of them as it takes for 800 rows. All rows are fitted with it. At 0 the solution is the least
        squares one of the smallest weights.
    norm : {"nuclear", "outputs", "ridge"}, default "nuclear"
        With several outputs, "nuclear" is the loss above; "outputs" the same with neurons that are each of one output.
        "ridge" has the penalty alpha · (Σ_j ‖V_j‖² + ‖b0‖²) instead, V_j = Σ a bᵀ over the neurons of gate j: ridge
        regression, which leaves neurons at every gate.
    tol : float >= 0, default 1e-8
        How far the conditions of optimality may be from holding, as a part of the penalty at which all weights are
        zero.
    max_iter : int >= 1, default 100
        Largest number of rounds of the solver, each a visit to the rows.
    standardize : bool, default True
        Solve with inputs and outputs shifted and scaled to weighted mean 0 and deviation 1. The scaling is folded into
        weights and gates afterwards: ``network_`` takes and gives raw units.
    validation_fraction : float in (0, 1), optional
        With ``alpha="auto"``, the fraction of the rows to hold out, at random and once, in place of folds.
    verbose : int, default 0
        1 or more shows a progress bar if the fit takes longer than a second.
    random_state : int, RandomState instance or None, default None
        Source of the gates and of the rows held out.

    Attributes
    ----------
    network_ : GatedNetwork
        The fitted network, in raw units, with the gates of its neurons.
    gates_ : ndarray of shape (d + 1, P)
        All gates that there were, in raw units.
    n_neurons_, n_outputs_ : int
    alpha_ : float
        The penalty used.
    loss_, bound_ : float
        The loss of ``network_``, in the coordinates solved in, and what no network with these gates can be below; 0
        where ``alpha_`` is 0.
    gap_ : float
        (``loss_`` − ``bound_``)/``loss_``.
    residual_ : float
        How far the conditions of optimality are from holding, in the measure of ``tol``.
    alphas_ : ndarray of shape (m,)
        The penalties tried, from the largest on.
    held_out_mse_ : ndarray of shape (m,)
        Mean squared error with them on the rows held out, in squared units of y; NaN where none were.
    scaling_ : Scaling
        Between raw units and the coordinates solved in.
    n_iter_ : int
        Rounds of the solver at ``alpha_``.
    history_ : History
        A record for each penalty tried, and one for the last solution where that is another.
    status_ : Status
        How the fit ended; ``status_.value`` says it in words.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If X had column names that are all text.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from anmin import GatedReLURegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = GatedReLURegressor(n_gates=50, alpha=0.1, random_state=0).fit(X, y)
    >>> model.gap_ < 1e-4
    True
    """

    def __init__(
        self,
        n_gates: int = 128,
        *,
        gates: Literal["sample", "all"] | NDArray = "sample",
        alpha: float | Literal["auto"] = "auto",
        norm: Norm = "nuclear",
        tol: float = 1e-8,
        max_iter: int = 100,
        standardize: bool = True,
        validation_fraction: float | None = None,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.n_gates = n_gates
        self.gates = gates
        self.alpha = alpha
        self.norm = norm
        self.tol = tol
        self.max_iter = max_iter
        self.standardize = standardize
        self.validation_fraction = validation_fraction
        self.verbose = verbose
        self.random_state = random_state

    def _program(self, gates: NDArray) -> Program:
        return GatedForm(gates, self.norm)

    def _check_settings(self) -> None:
        super()._check_settings()
        self._require("norm", self.norm in get_args(Norm), f"one of {', '.join(map(repr, get_args(Norm)))}")
