"""Networks with quadratic activations, found as matrices of low rank (Soltani & Hegde: EP-ROM and AP-ROM).

A network f(x) = Σ_j a_j (w_jᵀ x)² with r neurons is f(x) = xᵀ L x with L = Σ_j a_j w_j w_jᵀ of rank r, and for
x ~ N(0, I) the sums over rows are, in expectation, E[(xᵀ Δ x) x xᵀ] = 2 Δ + tr(Δ) I. So one step with the trace taken
out again lands on L* in expectation, from any L; what is left to do is to keep the rank.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted

from anmin.lab.arguments import checked_array, checked_count, checked_level
from anmin.validation import checked_inputs, checked_targets

Projection = Callable[[NDArray], NDArray]


def quadratic_form(X: NDArray, L: NDArray) -> NDArray:
    """Return x_iᵀ L x_i, (N,), for the rows of X (N, p) and L (p, p)."""
    return np.einsum("ip,ip->i", X @ L, X)


def debiased_gradient(X: NDArray, errors: NDArray) -> NDArray:
    """Return (1/2N) Σ e_i x_i x_iᵀ − (1/2N) Σ e_i · I, (p, p), for X (N, p) and errors e (N,), as f(x_i) − y_i.

    For x ~ N(0, I) and e = xᵀ Δ x its expectation is Δ. The source's Algorithm 2 has lost the bracket around the two
    terms, which turns the sign of the second; with that sign the iteration diverges.
    """
    n, p = X.shape
    return (X.T @ (errors[:, None] * X)) / (2 * n) - np.mean(errors) / 2 * np.eye(p)


def exact_projection(M: NDArray, rank: int) -> NDArray:
    """Return the matrix of rank ``rank`` nearest to the symmetric M (p, p): its largest |eigenvalues|.

    Raises
    ------
    ValueError
        If M is not square, or ``rank`` above p.
    """
    M = checked_array("M", M, "p", np.shape(M)[0] if np.ndim(M) == 2 else "p")
    checked_count("rank", rank, most=len(M), why="M has no more rows")
    values, vectors = np.linalg.eigh(M)
    kept = np.argsort(-np.abs(values))[:rank]
    projected: NDArray = (vectors[:, kept] * values[kept]) @ vectors[:, kept].T
    return projected


def krylov_projection(
    M: NDArray, rank: int, rng: np.random.Generator, *, power_steps: int = 2, oversample: int = 4
) -> NDArray:
    """Return a matrix of rank ``rank`` near the symmetric M (p, p) by randomised block Krylov iteration.

    The block Ω of rank + oversample Gaussian columns gives the space of M Ω, M² Ω, ..., M^(1 + power_steps) Ω; M is
    projected on it from both sides, which keeps it symmetric, and truncated there (Musco & Musco).

    Raises
    ------
    ValueError
        If M is not square, ``rank`` above p, or ``power_steps`` or ``oversample`` negative.
    """
    M = checked_array("M", M, "p", np.shape(M)[0] if np.ndim(M) == 2 else "p")
    p = len(M)
    checked_count("rank", rank, most=p, why="M has no more rows")
    checked_count("power_steps", power_steps, 0)
    width = min(rank + checked_count("oversample", oversample, 0), p)
    block = np.linalg.qr(M @ rng.standard_normal((p, width)))[0]
    blocks = [block]
    for _ in range(min(power_steps, p // width - 1)):
        # Orthonormal in itself at each power, or all columns would turn into the first eigenvector.
        block = np.linalg.qr(M @ block)[0]
        blocks.append(block)
    Q = np.linalg.qr(np.hstack(blocks))[0]
    small = Q.T @ M @ Q
    return Q @ exact_projection((small + small.T) / 2, rank) @ Q.T


def low_rank_iterates(
    X: NDArray,
    y: NDArray,
    tail: Projection,
    head: Projection | None = None,
    gradient: Callable[[NDArray, NDArray], NDArray] = debiased_gradient,
) -> Iterator[tuple[NDArray, NDArray]]:
    """Yield L₀ = 0, L₁, ... and their errors: L ← tail(L − head(gradient(X, A(L) − y))), without end.

    Parameters
    ----------
    X : ndarray of shape (N, p)
    y : ndarray of shape (N,)
    tail, head : callable
        Projections of symmetric (p, p) matrices to low rank; without ``head`` the gradient is taken whole.
    gradient : callable
        Of X and the errors (N,).
    """
    L = np.zeros((X.shape[1], X.shape[1]))
    while True:
        errors = quadratic_form(X, L) - y
        yield L, errors
        step = gradient(X, errors)
        L = tail(L - (step if head is None else head(step)))


def factored(L: ArrayLike, rank: int) -> tuple[NDArray, NDArray]:
    """Return W (p, r) and a (r,) of ±1 with Σ_j a_j w_j w_jᵀ the nearest matrix to the symmetric L of rank at most r.

    The neurons w_j are orthogonal, in the order of their norms, each with its largest entry positive. They are one of
    many networks of the same function: w_j of equal signs may be rotated into one another.

    Raises
    ------
    ValueError
        If L is not square, or ``rank`` above p.
    """
    L = checked_array("L", L, "p", np.shape(L)[0] if np.ndim(L) == 2 else "p")
    checked_count("rank", rank, most=len(L), why="L has no more rows")
    values, vectors = np.linalg.eigh((L + L.T) / 2)
    kept = np.argsort(-np.abs(values))[:rank]
    kept = kept[np.abs(values[kept]) > len(L) * np.finfo(float).eps * np.abs(values).max()]
    W = vectors[:, kept] * np.sqrt(np.abs(values[kept]))
    W *= np.sign(W[np.argmax(np.abs(W), axis=0), np.arange(len(kept))])
    return W, np.sign(values[kept])


class QuadraticRegressor(RegressorMixin, BaseEstimator):
    """Regression by a network with quadratic activations, y ≈ Σ_j a_j (w_jᵀ x)² with a_j = ±1.

    Made for inputs near N(0, I), on which its step is unbiased; on other inputs, or on too few rows (below some
    30·p·r), it may diverge, which it says with a warning. It has neither a bias nor a learning rate.

    Parameters
    ----------
    rank : int, default 2
        Number of neurons, r, at most the number of inputs.
    method : {"ep_rom", "ap_rom"}, default "ep_rom"
        Projections by an eigendecomposition, or approximate ones by randomised block Krylov iteration, of the gradient
        (head) and of the matrix (tail); these are faster for many inputs.
    max_iter : int, default 100
    tol : float, default 1e-10
        Ends where the root mean squared error, relative to that of y, is at most this, or changes by less than this
        share of itself.
    head_rank : int, optional
        Rank of the head of "ap_rom"; by default ``rank`` twice, at most the number of inputs.
    power_steps : int, default 2
    oversample : int, default 4
        Of :func:`krylov_projection`.
    random_state : int, RandomState or None, default None
        Of the random blocks of "ap_rom".

    Attributes
    ----------
    L_ : ndarray of shape (p, p)
        Symmetric, of rank at most r: y ≈ xᵀ L x. The iterate of least error.
    weights_ : ndarray of shape (p, r)
        w_j, in its columns, orthogonal to one another; fewer columns where L has a lower rank.
    signs_ : ndarray of shape (r,)
        a_j.
    errors_ : ndarray of shape (n_iter_ + 1,)
        Root mean squared error of each iterate, the zero matrix first, in units of y.
    n_iter_ : int
    n_features_in_ : int

    Notes
    -----
    Soltani & Hegde, "Towards provable learning of polynomial neural networks using low-rank matrix estimation",
    Algorithms 2 and 3, with the lost bracket put back (:func:`debiased_gradient`).
    """

    def __init__(
        self,
        rank: int = 2,
        *,
        method: Literal["ep_rom", "ap_rom"] = "ep_rom",
        max_iter: int = 100,
        tol: float = 1e-10,
        head_rank: int | None = None,
        power_steps: int = 2,
        oversample: int = 4,
        random_state: Any = None,
    ) -> None:
        self.rank = rank
        self.method = method
        self.max_iter = max_iter
        self.tol = tol
        self.head_rank = head_rank
        self.power_steps = power_steps
        self.oversample = oversample
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the matrix to X (N, p) and y (N,).

        Raises
        ------
        ValueError
            Before any work, if a parameter is out of range (a rank above p among them), or X or y cannot be used.

        Warns
        -----
        ConvergenceWarning
            If the iteration diverges or ``max_iter`` ends it; the iterate of least error is kept.
        """
        inputs = checked_inputs(self, X, reset=True).astype(np.float64, copy=False)
        targets = checked_targets(self, inputs, y).astype(np.float64, copy=False)
        if targets.ndim == 2 and targets.shape[1] > 1:
            raise ValueError(f"QuadraticRegressor fits one output; got y with {targets.shape[1]} columns.")
        targets = column_or_1d(targets, warn=True)
        tail, head = self._projections(inputs.shape[1])
        checked_count("max_iter", self.max_iter)
        checked_level("tol", self.tol)
        scale = np.sqrt(np.mean(targets**2))
        self._iterate(inputs, targets / (scale or 1.0), tail, head)
        self.L_ *= scale or 1.0
        self.errors_ *= scale or 1.0
        self.weights_, self.signs_ = factored(self.L_, self.rank)
        return self

    def predict(self, X: ArrayLike) -> NDArray:
        """Return Σ_j a_j (w_jᵀ x)² for the rows of X (N, p), (N,), in units of y."""
        check_is_fitted(self)
        inputs = checked_inputs(self, X, reset=False)
        return (inputs @ self.weights_) ** 2 @ self.signs_

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of a regressor that the generic checks, with inputs far from N(0, I), find poor."""
        tags: Tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags

    def _projections(self, p: int) -> tuple[Projection, Projection | None]:
        rank = checked_count("rank", self.rank, most=p, why="the number of inputs")
        if self.method == "ep_rom":
            return (lambda M: exact_projection(M, rank)), None
        if self.method != "ap_rom":
            raise ValueError(f"method must be 'ep_rom' or 'ap_rom'; got {self.method!r}.")
        head_rank = min(2 * rank, p)
        if self.head_rank is not None:
            head_rank = checked_count("head_rank", self.head_rank, most=p, why="the number of inputs")
        powers = checked_count("power_steps", self.power_steps, 0)
        more = checked_count("oversample", self.oversample, 0)
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))

        def of_rank(r: int) -> Projection:
            return lambda M: krylov_projection(M, r, rng, power_steps=powers, oversample=more)

        return of_rank(rank), of_rank(head_rank)

    def _iterate(self, X: NDArray, y: NDArray, tail: Projection, head: Projection | None) -> None:
        """Set ``L_``, ``errors_`` and ``n_iter_``; y has the root mean square 1, or is 0."""
        found: list[float] = []
        best = (np.inf, np.zeros((X.shape[1], X.shape[1])))
        why = f"max_iter={self.max_iter} iterations were not enough"
        for L, errors in low_rank_iterates(X, y, tail, head):
            found.append(float(np.sqrt(np.mean(errors**2))))
            if found[-1] < best[0]:
                best = found[-1], L
            if found[-1] <= self.tol or (len(found) > 1 and abs(found[-1] - found[-2]) <= self.tol * found[-1]):
                why = ""
                break
            # Beyond what y itself leaves: the zero matrix has the error 1.
            if found[-1] > 1e3:
                why = "the iteration diverged: it needs inputs near N(0, I), and more of them"
                break
            if len(found) > self.max_iter:
                break
        if why:
            warnings.warn(f"QuadraticRegressor: {why}; kept the iterate of least error.", ConvergenceWarning, 3)
        self.L_, self.errors_, self.n_iter_ = best[1], np.array(found), len(found) - 1
