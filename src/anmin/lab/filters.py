"""One convolutional filter: patches, Convotron, and gradient descent on the filter alone or with output weights.

A filter w of r entries sees k patches of the inputs x, f(x) = Σ_i v_i σ(wᵀ P_i x), with σ(t) = max(t, 0) +
negative_slope · min(t, 0). Patches are given as an array Z of shape (N, k, r): Z[n, i] = P_i x_n.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.lab.arguments import checked_array, checked_count, checked_positive
from anmin.network import check_negative_slope


def patch_matrices(n: int, r: int, stride: int) -> NDArray:
    """Return P_i = [0_{r×(i−1)s} I_r 0], the patches of r of n inputs in steps of s, (k, r, n), k = ⌊(n − r)/s⌋ + 1.

    (The review's "+1" in the zeros is one input too far.)

    Raises
    ------
    ValueError
        If r is above n or a size is not a count.
    """
    checked_count("n", n)
    checked_count("r", r, most=n, why="the number of inputs")
    starts = range(0, n - r + 1, checked_count("stride", stride))
    return np.array([np.eye(r, n, start) for start in starts])


def patch_gram(n: int, r: int, stride: int) -> NDArray:
    """Return P = Σ_ij P_i P_jᵀ, (r, r), in closed form.

    It is k − a where |row − column| = a·stride with a < k, and 0 elsewhere. Its
    least eigenvalue is what Convotron's rate of convergence rests on.

    Raises
    ------
    ValueError
        As :func:`patch_matrices`.
    """
    k = len(patch_matrices(n, r, stride))
    apart = np.abs(np.subtract.outer(np.arange(r), np.arange(r)))
    counts = k - apart // stride
    return np.where((apart % stride == 0) & (counts > 0), counts, 0).astype(float)


def image_patch_matrices(sizes: tuple[int, int], filters: tuple[int, int], strides: tuple[int, int]) -> NDArray:
    """Return the patches of an image of n₁ × n₂ pixels in row-major order by filters of r₁ × r₂, (k₁k₂, r₁r₂, n₁n₂).

    Pixel (p, q) of patch (i, j) is column (i s₁ + p) n₂ + j s₂ + q, all counted from 0.

    Raises
    ------
    ValueError
        If a filter is larger than the image or a size is not a count.
    """
    rows, columns = (patch_matrices(n, r, s) for n, r, s in zip(sizes, filters, strides, strict=True))
    return np.array([np.kron(a, b) for a in rows for b in columns])


def image_patch_gram(sizes: tuple[int, int], filters: tuple[int, int], strides: tuple[int, int]) -> NDArray:
    """Return Σ P_i P_jᵀ over the patches of an image: (k₁ − a)(k₂ − b), the product of the two directions."""
    one, other = (patch_gram(n, r, s) for n, r, s in zip(sizes, filters, strides, strict=True))
    gram: NDArray = np.kron(one, other)
    return gram


def filter_output(Z: NDArray, w: NDArray, v: NDArray | None = None, negative_slope: float = 0.0) -> NDArray:
    """Return Σ_i v_i σ(wᵀ Z_i), (N,), for patches Z (N, k, r); without v the sum of all patches."""
    z = Z @ w
    active = np.where(z > 0, z, negative_slope * z)
    return active.sum(axis=1) if v is None else active @ v


def convotron(
    Z: ArrayLike,
    y: ArrayLike,
    rate: float,
    n_passes: int,
    rng: np.random.Generator,
    *,
    negative_slope: float = 0.0,
    batch: int = 1,
) -> NDArray:
    """Learn a filter of y = Σ_i σ(w*ᵀ P_i x) by w ← w + rate · (y − f_w(x)) Σ_i P_i x (Goel et al.), from w = 0.

    The step is no gradient: the slope of σ is left out. For inputs symmetric in sign its expectation is
    (1 + negative_slope)/2 · P (w* − w), which is linear in w, so that no other minimum is in its way.

    Parameters
    ----------
    Z : array of shape (N, k, r)
        Patches.
    y : array of shape (N,)
    rate : float
    n_passes : int
        Times that all rows are gone through, each in a new order.
    rng : numpy.random.Generator
        Of the order.
    negative_slope : float, default 0.0
    batch : int, default 1
        Rows whose steps are averaged; the source has one.

    Returns
    -------
    iterates : ndarray of shape (n_passes + 1, r)
        The filter before the first pass and after each.

    Raises
    ------
    ValueError
        If the shapes disagree, ``rate`` is not above 0 or a number not a count.
    """
    Z, y = _checked(Z, y)
    rate = checked_positive("rate", rate)
    check_negative_slope(negative_slope)
    checked_count("batch", batch)
    totals = Z.sum(axis=1)
    w = np.zeros(Z.shape[2])
    found = [w]
    for _ in range(checked_count("n_passes", n_passes)):
        order = rng.permutation(len(y))
        for start in range(0, len(y), batch):
            rows = order[start : start + batch]
            error = y[rows] - filter_output(Z[rows], w, None, negative_slope)
            w = w + rate * error @ totals[rows] / len(rows)
        found.append(w)
    return np.array(found)


class FilterPath(NamedTuple):
    """The course of a descent: filters (steps + 1, r) and output weights (steps + 1, k)."""

    filters: NDArray
    weights: NDArray


def filter_descent(
    Z: ArrayLike,
    y: ArrayLike,
    w: ArrayLike,
    rate: float,
    n_steps: int,
    *,
    v: ArrayLike | None = None,
    batch: int | None = None,
    rng: np.random.Generator | None = None,
) -> FilterPath:
    """Descend on (1/2N) Σ (f(x) − y)² with f(x) = Σ_i v_i relu(wᵀ Z_i).

    Parameters
    ----------
    Z : array of shape (N, k, r)
    y : array of shape (N,)
    w : array of shape (r,)
        The filter at the start.
    rate : float
    n_steps : int
    v : array of shape (k,), optional
        Output weights at the start, which are then learnt too; by default they stay 1/k.
    batch : int, optional
        Rows of each step, drawn by ``rng``; by default all.
    rng : numpy.random.Generator, optional
        Needed with ``batch``.

    Raises
    ------
    ValueError
        If the shapes disagree, ``rate`` is not above 0, a number not a count, or ``batch`` comes without ``rng``.
    """
    Z, y = _checked(Z, y)
    n, k, r = Z.shape
    one = checked_array("w", w, r)
    rate = checked_positive("rate", rate)
    outer = np.full(k, 1 / k) if v is None else checked_array("v", v, k)
    if batch is not None:
        checked_count("batch", batch, most=n, why="the number of rows")
        if rng is None:
            raise ValueError("A batch needs rng, the generator that draws it.")
    filters, weights = [one], [outer]
    for _ in range(checked_count("n_steps", n_steps)):
        rows = slice(None) if batch is None or rng is None else rng.integers(n, size=batch)
        part = Z[rows]
        z = part @ one
        active = np.maximum(z, 0)
        error = (active @ outer - y[rows]) / len(part)
        # Both gradients are taken before either is used.
        of_filter = (error[:, None] * (z > 0) * outer).ravel() @ part.reshape(-1, r)
        if v is not None:
            outer = outer - rate * error @ active
        one = one - rate * of_filter
        filters.append(one)
        weights.append(outer)
    return FilterPath(np.array(filters), np.array(weights))


class CrossTerm(NamedTuple):
    """What the contraction of Du et al. rests on: γ should be large beside the cross term.

    Attributes
    ----------
    gamma : float
        λ_min of E[Z_S Z_Sᵀ], S the patches on which w and w* are both active.
    cross : float
        Spectral norm of E[Z_S Z_Tᵀ], T the patches on which w is active and w* is not.
    """

    gamma: float
    cross: float


def cross_term(Z: ArrayLike, w: ArrayLike, w_star: ArrayLike) -> CrossTerm:
    """Return γ and the cross term at a filter w, with Z_S = (1/k) Σ_{i in S} Z_i and means over rows.

    Parameters
    ----------
    Z : array of shape (N, k, r)
    w, w_star : array of shape (r,)

    Raises
    ------
    ValueError
        If the shapes disagree.
    """
    Z = checked_array("Z", Z, "N", "k", "r")
    w = checked_array("w", w, Z.shape[2])
    active, wanted = Z @ w > 0, Z @ checked_array("w_star", w_star, Z.shape[2]) > 0
    both = np.einsum("nk,nkr->nr", active & wanted, Z) / Z.shape[1]
    wrong = np.einsum("nk,nkr->nr", active & ~wanted, Z) / Z.shape[1]
    gamma = float(np.linalg.eigvalsh(both.T @ both / len(Z))[0])
    return CrossTerm(gamma, float(np.linalg.norm(both.T @ wrong / len(Z), 2)))


def _checked(Z: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
    Z = checked_array("Z", Z, "N", "k", "r")
    return Z, checked_array("y", y, len(Z))
