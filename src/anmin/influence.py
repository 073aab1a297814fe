"""What each row does to a fitted network: leverages, leave-one-out residuals and effective degrees of freedom.

Everything here is exact for the network linearised in the weights of both layers at a frozen activation pattern. That
the pattern was chosen by the fit, from the same rows, is not counted: leverages and degrees of freedom come out too
small, and leave-one-out errors too low, the more so the more neurons there are for the rows. They compare rows, and
networks of the same kind, better than they predict the error on new rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh, eigh_tridiagonal
from scipy.linalg.lapack import dtrtri

from anmin.blas import cholesky, product, threads_for
from anmin.network import ReLUNetwork
from anmin.rows.arrays import ArrayRows
from anmin.rows.products import PatternProducts
from anmin.solvers.altmin import AltMin
from anmin.solvers.relaxed import RelaxedDescent
from anmin.solvers.systems import cross_terms, output_system, projected_system
from anmin.statistics import PatternStatistics
from anmin.validation import checked_inputs, checked_targets

_EPS = np.finfo(np.float64).eps
_BLOCK_BYTES = 2**23  # of the Jacobian of a block of rows
_WEIGHTS_PROBED = 10_000  # over all probes, of which there is at least one
_FEW_WEIGHTS = 300
_MOST_STEPS = 100  # of the Lanczos process for each probe
_SETTLED = 2e-2  # relative change over ten steps
_DETERMINED = 1e-10  # 1 − leverage below which a row alone determines its fit, to rounding


@dataclass(frozen=True, eq=False)
class JointInverse:
    """(H + alpha·I)⁻¹ in factored form, H the Gauss–Newton matrix JᵀWJ/n of both layers at a frozen pattern.

    With the output layer projected out, M of :func:`anmin.solvers.systems.projected_system`, K of
    :func:`anmin.solvers.systems.output_system` and, for output k, E_k = (b_k ⊗ 1) ∗ Ĉ,

        (H + alpha·I)⁻¹ = [ M⁻¹, −M⁻¹ E_k K⁻¹ ;  ·, K⁻¹ δ_kl + K⁻¹ E_kᵀ M⁻¹ E_l K⁻¹ ]

    so that no matrix is larger than (h·p)², whatever the number of outputs. Where M or K is singular to rounding, as
    they are without a penalty, their pseudo-inverses stand for the inverses.

    Attributes
    ----------
    hidden : ndarray of shape (h·p, r)
        R with R Rᵀ = M⁻¹.
    output : ndarray of shape (h + 1, q)
        Q with Q Qᵀ = K⁻¹.
    overlap : ndarray of shape (h·p, h + 1)
        Ĉ K⁻¹.
    effective_parameters : float
        γ = tr((H + alpha·I)⁻¹ H) = r + c·q − alpha·tr((H + alpha·I)⁻¹).
    log_determinant : float
        log det(I + H/alpha), by which the evidence charges for the weights; infinite where alpha is 0.
    determined : ndarray of shape (h·p,)
        The part of γ of each hidden weight, 0 (left to the penalty) to 1 (determined by the rows).
    """

    hidden: NDArray
    output: NDArray
    overlap: NDArray
    effective_parameters: float
    log_determinant: float
    determined: NDArray


def joint_inverse(statistics: PatternStatistics, network: ReLUNetwork, alpha: float) -> JointInverse:
    """Return the joint inverse from the sums at the network's pattern, in the coordinates of both.

    It does not depend on the targets, and on the output bias only through the number of weights.
    """
    A, B, b0 = network.A, network.B, network.b0
    h, p, c = network.n_neurons, network.n_features + 1, network.n_outputs
    k = h * p
    M, _ = projected_system(statistics, A, B, b0, alpha)
    # M is a difference; what it was taken from sets the level of its rounding.
    whole = np.diagonal(statistics.U.reshape(k, k)) / statistics.n * np.repeat(np.sum(B**2, axis=1), p) + alpha
    R, log_M, kept = _root_of_inverse(M, float(whole.max(initial=0.0)))
    K, _ = output_system(statistics.output(A), alpha)
    Q, log_K, _ = _root_of_inverse(K, float(np.diagonal(K).max()))
    overlap = product(product(cross_terms(statistics, A).reshape(k, h + 1), Q), Q.T)
    coupling = sum(np.sum(product(R.T, np.repeat(b, p)[:, None] * overlap) ** 2) for b in B.T)
    trace = np.vdot(R, R) + c * np.vdot(Q, Q) + coupling
    rank = R.shape[1] + c * Q.shape[1]
    # What is singular to rounding has eigenvalues of alpha or so, whose part in det(I + H/alpha) is 1.
    log_determinant = log_M + c * log_K - rank * np.log(alpha) if alpha > 0 else np.inf
    # H + alpha·I has M⁻¹ as the hidden layer's block of its inverse.
    determined = np.clip(kept - alpha * np.sum(R**2, axis=1), 0.0, 1.0)
    return JointInverse(R, Q, overlap, float(rank - alpha * trace), float(log_determinant), determined)


class Estimate(NamedTuple):
    """Estimates of what :class:`JointInverse` knows exactly: the effective parameters γ, and log det(I + H/alpha)."""

    effective_parameters: float
    log_determinant: float


def joint_estimate(products: PatternProducts, network: ReLUNetwork, alpha: float) -> Estimate:
    """Return estimates from products with the joint Gauss–Newton matrix H alone, by stochastic Lanczos quadrature.

    γ = tr f(H) with f(x) = x/(x + alpha), and log det(I + H/alpha) likewise, are means of zᵀf(H)z over vectors z of
    random signs, always the same: one, or more where the weights are few. Each is a sum over the eigenvalues of the
    tridiagonal matrix of the Lanczos process from z, which goes on until both change by less than two percent in ten
    steps, at most for 100 (Bai, Fahey & Golub, Some large-scale matrix computation problems, 1996; Ubaru, Chen & Saad,
    Fast estimation of tr(f(A)) via stochastic Lanczos quadrature, 2017). The estimates stray by some percent where γ is
    some hundreds, and by less where it is more. Eigenvalues that the process does not tell from alpha make γ too large.
    Where the weights are so few that H itself takes fewer products, both are exact.

    Raises
    ------
    ValueError
        If ``alpha`` is not positive.
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be positive; got {alpha!r}.")
    A, B = network.A, network.B
    (p, h), c, n = A.shape, network.n_outputs, products.rows.n
    K, _ = output_system(products.output(A), 0.0)

    def multiply(v: NDArray) -> NDArray:
        D, E = v[: p * h].reshape(p, h), v[p * h :].reshape(h + 1, c)
        T, overlap = products.forward(D, B, A)
        return np.concatenate([products.backward(T, B, E, A).ravel(), (overlap + n * (K @ E)).ravel()]) / n

    rng, size = np.random.default_rng(0), p * h + (h + 1) * c
    if size <= _FEW_WEIGHTS:
        H = np.array([multiply(unit) for unit in np.eye(size)])
        values = np.maximum(np.linalg.eigvalsh((H + H.T) / 2), 0.0)
        return Estimate(float(np.sum(values / (values + alpha))), float(np.sum(np.log1p(values / alpha))))
    probes = -(-_WEIGHTS_PROBED // size)
    found = [_quadrature(multiply, rng.choice([-1.0, 1.0], size), alpha) for _ in range(probes)]
    effective, log_determinant = np.mean(found, axis=0)
    return Estimate(float(effective), float(log_determinant))


def _quadrature(multiply: Callable[[NDArray], NDArray], start: NDArray, alpha: float) -> NDArray:
    """Return zᵀ H (H + alpha·I)⁻¹ z and zᵀ log(I + H/alpha) z for the start z."""
    square = float(start @ start)
    before, here = np.zeros_like(start), start / np.sqrt(square)
    diagonal: list[float] = []
    beside: list[float] = []
    found = np.full(2, np.nan)
    while True:
        image = multiply(here)
        diagonal.append(float(here @ image))
        image -= diagonal[-1] * here + (beside[-1] if beside else 0.0) * before
        length = float(np.linalg.norm(image))
        last = len(diagonal) == _MOST_STEPS or length <= len(start) * _EPS * max(diagonal)
        if last or len(diagonal) % 10 == 0:
            values, vectors = eigh_tridiagonal(np.array(diagonal), np.array(beside))
            values = np.maximum(values, 0.0)
            parts = np.column_stack([values / (values + alpha), np.log1p(values / alpha)])
            earlier, found = found, square * (vectors[0] ** 2 @ parts)
            if last or np.all(np.abs(found - earlier) <= _SETTLED * np.abs(found)):
                return found
        before, here = here, image / length
        beside.append(length)


def leverage(network: ReLUNetwork, rows: ArrayRows, alpha: float) -> NDArray:
    """Return the leverage of every target value, shape (N, c): the diagonal of the hat matrix at the frozen pattern.

    The hat matrix J (JᵀWJ/n + alpha·I)⁻¹ JᵀW/n maps targets to fitted values when both layers are solved for together,
    linearised at the network. Its diagonal says how far a target pulls its own prediction, from 0 (not at all) to
    1 (the prediction follows the target); with alpha > 0 it is below 1. A row of integer weight w has the sum of the
    leverages of w equal rows. All leverages together are :func:`effective_degrees_of_freedom`.

    Parameters
    ----------
    network : ReLUNetwork
        The fitted network, in the coordinates of ``rows``.
    rows : ArrayRows
        The rows it was fitted to, in the coordinates solved in, with their weights.
    alpha : float
        The penalty of the fit, in these coordinates.

    Raises
    ------
    ValueError
        If the rows have other numbers of inputs or outputs than the network, or ``alpha`` is negative or not finite.

    Notes
    -----
    Valid at the frozen pattern, whose choice is not counted, so the values are optimistic: too small. Time
    c·N·(h·p)², memory (h·p)² and a block of rows × c·h·p.
    """
    inverse = joint_inverse(_statistics(network, rows, alpha), network, alpha)
    return np.vstack([np.diagonal(part.hat, axis1=1, axis2=2) for part in _hat_blocks(inverse, network, rows)])


def leave_one_out_residuals(network: ReLUNetwork, rows: ArrayRows, alpha: float) -> NDArray:
    """Return what y_i − f(x_i) would be without row i in the fit, shape (N, c), in units of the rows' targets.

    (I − H_ii)⁻¹ (y_i − f(x_i)) with the c × c block H_ii of the hat matrix (see :func:`leverage`); for one output
    r_i/(1 − h_i). It equals the residual after a refit of both layers, linearised at the network, to the other rows
    with the same alpha·n, where the network is a stationary point of the loss; near one it is an approximation. NaN
    for a row that alone determines its fit, which takes alpha = 0.

    Parameters and exceptions are those of :func:`leverage`.

    Notes
    -----
    Valid at the frozen pattern: a true refit could choose another one, so the residuals are optimistic, too small.
    """
    inverse = joint_inverse(_statistics(network, rows, alpha), network, alpha)
    return np.vstack([_left_out(part) for part in _hat_blocks(inverse, network, rows)])


def effective_degrees_of_freedom(network: ReLUNetwork, rows: ArrayRows, alpha: float) -> float:
    """Return γ = tr((H + alpha·I)⁻¹ H), the sum of all leverages, from the sums over the rows alone.

    It is between 0 and the number of weights, and falls as ``alpha`` rises. :func:`anmin.selection.evidence` chooses
    the penalty by it. Parameters, exceptions and validity are those of :func:`leverage`; as the choice of the pattern
    is not counted, it is too small.
    """
    return joint_inverse(_statistics(network, rows, alpha), network, alpha).effective_parameters


@dataclass(frozen=True, eq=False)
class Influence:
    """The rows of a fit and their say in it, at the frozen pattern; :mod:`anmin.influence` says what that leaves out.

    Attributes
    ----------
    leverage : ndarray of shape (N, c)
        Of every target value, without unit, 0 for rows of weight 0. See :func:`leverage`.
    residuals : ndarray of shape (N, c)
        y − f(x), in units of y.
    leave_one_out_residuals : ndarray of shape (N, c)
        The same had the row not been fitted, in units of y; y minus these are the leave-one-out predictions.
    effective_degrees_of_freedom : float
        γ, the sum of the leverages.
    mse, leave_one_out_mse : float
        Means of the squared residuals over rows (weighted) and outputs, in squared units of y.
    r2, leave_one_out_r2 : float
        1 − squared error / variance of the target, averaged over the outputs that vary; NaN if none does.
    generalised_cross_validation : float
        mse / (1 − γ/(n·c))², n the sum of the weights, in squared units of y: the leave-one-out error with equal
        leverages (Craven & Wahba 1979). Infinite where γ reaches n·c.
    """

    leverage: NDArray
    residuals: NDArray
    leave_one_out_residuals: NDArray
    effective_degrees_of_freedom: float
    mse: float
    leave_one_out_mse: float
    r2: float
    leave_one_out_r2: float
    generalised_cross_validation: float


def influence(
    model: Any, X: ArrayLike | ArrayRows, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None
) -> Influence:
    """Return the influence of the rows that a model was fitted to.

    Parameters
    ----------
    model : ReLURegressor
        A fitted estimator. Rows are scaled as its ``fit`` scaled them, and ``alpha_`` refers to these coordinates.
    X, y, sample_weight
        What ``fit`` was given. With other rows the answer is that of a fit to those which ended at the same network.

    Raises
    ------
    ValueError, TypeError
        If the data are not as ``fit`` takes them, the fit held rows out (``validation_fraction``), since which ones is
        not recorded, or it was by alternating minimisation, whose output layer is not fitted, or of a convex program.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from anmin import ReLURegressor
    >>> from anmin.influence import influence
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = ReLURegressor(4, alpha=0.05, random_state=0).fit(X, y)
    >>> influence(model, X, y).leverage.shape
    (442, 1)
    """
    if model.validation_fraction is not None:
        raise ValueError(
            "Influence needs the rows that were fitted, and with validation_fraction the fit holds out some at random; "
            f"got a model with validation_fraction={model.validation_fraction!r}. Split the rows before the fit."
        )
    if not hasattr(model, "solver"):
        raise ValueError(
            f"Influence is of weights that were free to move; those of a {type(model).__name__} keep to their gates."
        )
    if model.solver in ("altmin", "relaxed") or isinstance(model.solver, AltMin | RelaxedDescent):
        name = model.solver if isinstance(model.solver, str) else type(model.solver).__name__
        raise ValueError(f"Influence counts the weights of both layers; solver={name!r} fits the hidden layer alone.")
    if isinstance(X, ArrayRows):
        if y is not None or sample_weight is not None:
            raise ValueError("Rows bring their own targets and weights; y and sample_weight must be None.")
        rows, inputs, targets = X, X.X, X.Y
    else:
        inputs = checked_inputs(model, X, reset=False)
        targets = checked_targets(model, inputs, y).reshape(len(inputs), -1)
        rows = ArrayRows(inputs, targets, sample_weight)
    _check_shapes(model.network_, rows)
    scaling = model.scaling_
    found = influence_in(
        scaling.unfold(model.network_), scaling.apply(rows, model.dtype), model.alpha_, scaling.y_scale
    )
    if rows.n_rows == len(inputs):
        return found
    # Rows of weight 0 were left out already, and pull nothing.
    kept = np.asarray(sample_weight, dtype=np.float64) > 0
    residuals = targets - model.network_.predict(inputs)
    full = {"leverage": np.zeros(targets.shape), "residuals": residuals, "leave_one_out_residuals": residuals.copy()}
    for name, values in full.items():
        values[kept] = getattr(found, name)
    return replace(found, **full)


def influence_in(network: ReLUNetwork, rows: ArrayRows, alpha: float, y_scale: NDArray | None = None) -> Influence:
    """Return the influence of rows in the coordinates solved in, as of :func:`leverage`.

    Residuals and errors are multiplied by ``y_scale`` (c,), the units of y in one unit of these coordinates, or its
    square.
    """
    inverse = joint_inverse(_statistics(network, rows, alpha), network, alpha)
    scale = np.ones(rows.n_outputs) if y_scale is None else y_scale
    leverages, residuals, left_out = [], [], []
    for part in _hat_blocks(inverse, network, rows):
        leverages.append(np.diagonal(part.hat, axis1=1, axis2=2))
        residuals.append(part.residuals * scale)
        left_out.append(_left_out(part) * scale)
    r, loo = np.vstack(residuals), np.vstack(left_out)
    gamma = inverse.effective_parameters
    mse, loo_mse = (np.average(values**2, axis=0, weights=rows.w) for values in (r, loo))
    variance = rows.moments()[1].deviation ** 2 * scale**2
    varies = variance > 0
    r2, loo_r2 = (
        float(np.mean(1 - error[varies] / variance[varies])) if varies.any() else np.nan for error in (mse, loo_mse)
    )
    spare = 1 - gamma / (rows.n * rows.n_outputs)
    gcv = float(mse.mean()) / spare**2 if spare > _DETERMINED else np.inf
    return Influence(np.vstack(leverages), r, loo, gamma, float(mse.mean()), float(loo_mse.mean()), r2, loo_r2, gcv)


class _Part(NamedTuple):
    """Hat blocks (n, c, c) and residuals y − f(x) (n, c) of consecutive rows."""

    hat: NDArray
    residuals: NDArray


def _hat_blocks(inverse: JointInverse, network: ReLUNetwork, rows: ArrayRows) -> Iterator[_Part]:
    """Yield H_ii of consecutive rows.

    With v_i the row of S₁ and t_ik = (b_k ⊗ 1) ∗ (G_ij x̃_i − Ĉ_(j) K⁻¹ v_i), the row of the hidden layer's Jacobian
    with the output layer projected out, (H_ii)_kl = (w_i/n) (δ_kl v_iᵀ K⁻¹ v_i + t_ikᵀ M⁻¹ t_il).
    """
    A, B = network.A, network.B
    p, h = A.shape
    k, c = h * p, network.n_outputs
    step = max(1, _BLOCK_BYTES // (8 * k * max(1, c)))
    with threads_for(k):
        for start in range(0, rows.n_rows, step):
            here = slice(start, start + step)
            X = rows.X[here].astype(np.float64, copy=False)
            Xt = np.column_stack([np.ones(len(X)), X])
            Z = product(Xt, A)
            G = np.where(Z > 0, 1.0, network.negative_slope)
            S1 = np.column_stack([G * Z, np.ones(len(X))])
            projected = (G[:, :, None] * Xt[:, None, :]).reshape(-1, k) - product(S1, inverse.overlap.T)
            T = projected.reshape(-1, 1, h, p) * B.T[:, :, None]
            T = product(T.reshape(-1, k), inverse.hidden).reshape(len(X), c, -1)
            hat = T @ T.transpose(0, 2, 1)
            hat[:, np.arange(c), np.arange(c)] += np.sum(product(S1, inverse.output) ** 2, axis=1)[:, None]
            hat *= 1 / rows.n if rows.w is None else rows.w[here, None, None] / rows.n
            yield _Part(hat, rows.Y[here] - (product(S1[:, :h], B) + network.b0))


def _left_out(part: _Part) -> NDArray:
    values, vectors = np.linalg.eigh(part.hat)
    rest = 1 - values
    # Without a row that alone determines some combination of weights, that combination is free.
    rest = np.where(rest > _DETERMINED, rest, np.nan)
    along = np.einsum("nkl,nk->nl", vectors, part.residuals)
    return np.einsum("nkl,nl->nk", vectors, along / rest)


def _statistics(network: ReLUNetwork, rows: ArrayRows, alpha: float) -> PatternStatistics:
    _check_shapes(network, rows)
    if not (np.isfinite(alpha) and alpha >= 0):
        raise ValueError(f"alpha must be a finite number of at least 0; got {alpha!r}.")
    with threads_for(network.A.size):
        return rows.statistics(network.A, network.negative_slope)


def _check_shapes(network: ReLUNetwork, rows: ArrayRows) -> None:
    if (rows.n_features, rows.n_outputs) != (network.n_features, network.n_outputs):
        raise ValueError(
            f"The rows must have {network.n_features} inputs and {network.n_outputs} outputs, as the network; "
            f"got {rows.n_features} and {rows.n_outputs}."
        )


def _root_of_inverse(system: NDArray, size: float) -> tuple[NDArray, float, NDArray]:
    """Return R with R Rᵀ the inverse of a positive semidefinite system, the logarithm of its determinant, and diag P.

    Eigenvalues at the level of the rounding of numbers of ``size`` count as zero: then R belongs to the pseudo-inverse,
    they are left out of the determinant, and P projects on the other eigenvectors.
    """
    floor = len(system) * _EPS * size
    U = cholesky(system.copy())
    if U is not None:
        pivots = np.diagonal(U)
        # A pivot is at least the smallest eigenvalue, so a small one may be a singular matrix that happened to factor.
        if pivots.min() ** 2 > 100 * floor:
            log_determinant = 2 * float(np.sum(np.log(pivots)))
            return np.triu(dtrtri(U, lower=False, overwrite_c=True)[0]), log_determinant, np.ones(len(system))
    values, vectors = eigh(system)
    kept = values > max(floor, len(system) * _EPS * values[-1])
    vectors, values = vectors[:, kept], values[kept]
    return vectors / np.sqrt(values), float(np.sum(np.log(values))), np.sum(vectors**2, axis=1)
