"""Estimators whose fit is a convex program: the best network with given gates, of as many neurons as it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from numpy.typing import NDArray

from anmin.convex_fitting import BaseConvex
from anmin.gated_network import GatedNetwork
from anmin.gates import largest_alpha
from anmin.held_out import Program
from anmin.rows.arrays import ArrayRows
from anmin.solvers.gated import GatedSolution, Norm, solve_gated


@dataclass(frozen=True, eq=False)
class _Gated:
    """The gated program of some gates."""

    gates: NDArray
    norm: Norm

    def solve(
        self, rows: ArrayRows, alpha: float, *, tol: float, max_rounds: int, start: GatedSolution | None = None
    ) -> GatedSolution:
        V = None if start is None else start.V
        return solve_gated(rows, self.gates, alpha, norm=self.norm, tol=tol, max_rounds=max_rounds, start=V)

    def network(self, solution: GatedSolution) -> GatedNetwork:
        gate, A, B = solution.neurons()
        return GatedNetwork(self.gates[:, gate], A, B, solution.b0)


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
        twice over where the rows are fewer than 800, and of no more folds than it takes for 800 rows. All rows are
        fitted with it. At 0 the solution is the least squares one of the smallest weights.
    norm : {"nuclear", "outputs"}, default "nuclear"
        With several outputs, "nuclear" is the loss above; "outputs" the same with neurons that are each of one output.
    tol : float >= 0, default 1e-6
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
        (loss_ − bound_)/loss_.
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
        tol: float = 1e-6,
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
        return _Gated(gates, self.norm)

    def _largest(self, rows: ArrayRows, gates: NDArray) -> float:
        return largest_alpha(rows, gates, by_output=self.norm == "outputs")

    def _check_settings(self) -> None:
        super()._check_settings()
        self._require("norm", self.norm in get_args(Norm), f"one of {', '.join(map(repr, get_args(Norm)))}")
