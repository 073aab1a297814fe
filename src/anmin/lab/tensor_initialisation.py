"""A start near a planted network, from moments of the data (Zhong et al., Algorithm 4, for the ReLU).

For y = Σ_j v_j relu(w_jᵀ x), v_j = ±1 and x ~ N(0, I), with He_m the Hermite tensors of x and w̄ = w/‖w‖,

    M1 = E[y x] = ½ Σ v_j ‖w_j‖ w̄_j,   M2 = E[y He₂(x)] = Σ v_j ‖w_j‖ w̄_j w̄_jᵀ / √(2π),   M3 = 0,
    M4 = E[y He₄(x)] = −Σ v_j ‖w_j‖ w̄_j⊗⁴ / √(2π).

M2 spans the neurons; within that span a slice of M4, a tensor of k³ entries, has them as its components (M3, which
other activations use, is zero here); M1 and M2 then give norms and signs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anmin.lab.arguments import checked_array, checked_count
from anmin.lab.planted import relu_sum

_DRAWS = 30  # pairs of random contractions, of which the best is kept


class Moments(NamedTuple):
    """What the initialisation knows of a problem.

    Attributes
    ----------
    M1 : ndarray of shape (d,)
        E[y x].
    M2 : ndarray of shape (d, d)
        E[y (x xᵀ − I)].
    V : ndarray of shape (d, k)
        Orthonormal basis of the span of the neurons.
    T : ndarray of shape (k, k, k, k)
        M4(V, V, V, V), symmetric: in the coordinates of V.
    """

    M1: NDArray
    M2: NDArray
    V: NDArray
    T: NDArray


def population_moments(W: ArrayLike, v: ArrayLike) -> Moments:
    """Return the exact moments of a network.

    Parameters
    ----------
    W : array of shape (d, k)
        Linearly independent columns.
    v : array of shape (k,)

    Raises
    ------
    ValueError
        If the shapes disagree, or there are more neurons than inputs.
    """
    W = checked_array("W", W, "d", "k")
    d, k = W.shape
    checked_count("the number of neurons", k, most=d, why="the number of inputs")
    v = checked_array("v", v, k)
    norms = np.linalg.norm(W, axis=0)
    unit, weight = W / norms, v * norms
    M2 = (unit * weight) @ unit.T / np.sqrt(2 * np.pi)
    V = leading_subspace(M2, k)
    U = V.T @ unit
    T = -np.einsum("j,aj,bj,cj,dj->abcd", weight, U, U, U, U) / np.sqrt(2 * np.pi)
    return Moments(W @ v / 2, M2, V, T)


def sample_moments(X: ArrayLike, y: ArrayLike, n_neurons: int, *, subtract: bool = False) -> Moments:
    """Return the moments of rows, each from a third of them, as the source has it.

    Parameters
    ----------
    X : array of shape (N, d)
        Rows from N(0, I).
    y : array of shape (N,)
    n_neurons : int
        k, at most d.
    subtract : bool, default False
        Take from y its least-squares polynomial of degree 2 before the tensor, and its mean and linear part before
        M2. In expectation these have no share in the moments, but most of their variance: not in the source.

    Raises
    ------
    ValueError
        If the shapes disagree, there are more neurons than inputs, or too few rows to split into three.
    """
    X = checked_array("X", X, "N", "d")
    n, d = X.shape
    y = checked_array("y", y, n)
    k = checked_count("n_neurons", n_neurons, most=d, why="the number of inputs")
    if n < 3 * (d + 1) * (d + 2):
        raise ValueError(f"Tensor initialisation needs at least {3 * (d + 1) * (d + 2)} rows for {d} inputs; got {n}.")
    (Xa, ya), (Xb, yb), (Xc, yc) = ((X[i::3], y[i::3]) for i in range(3))
    M1 = Xa.T @ ya / len(Xa)
    M2 = _second_moment(Xb, _without(yb, np.column_stack([np.ones(len(Xb)), Xb])) if subtract else yb)
    V = leading_subspace(M2, k)
    if subtract:
        upper = np.triu_indices(d)
        yc = _without(yc, np.column_stack([np.ones(len(Xc)), Xc, Xc[:, upper[0]] * Xc[:, upper[1]]]))
    return Moments(M1, M2, V, _fourth_moment(Xc @ V, yc))


def leading_subspace(M: ArrayLike, k: int) -> NDArray:
    """Return orthonormal eigenvectors of the symmetric M (d, d) of the k largest |eigenvalues|, (d, k).

    The source runs power iterations on C·I + M and C·I − M, which find the same.

    Raises
    ------
    ValueError
        If M is not square, or k above d.
    """
    M = checked_array("M", M, "d", np.shape(M)[0] if np.ndim(M) == 2 else "d")
    checked_count("k", k, most=len(M), why="M has no more rows")
    values, vectors = np.linalg.eigh(M)
    basis: NDArray = vectors[:, np.argsort(-np.abs(values))[:k]]
    return basis


def components(R: ArrayLike, rng: np.random.Generator) -> NDArray:
    """Return unit vectors u_j, the columns of (k, k), with R ≈ Σ_j c_j u_j⊗³, by simultaneous diagonalisation.

    R(·,·,a) = U diag(c ∘ Uᵀa) Uᵀ, so that U has the eigenvectors of R(·,·,a) R(·,·,b)⁺ as its columns (Jennrich); of
    several random pairs (a, b) that of the least residual is kept.

    Raises
    ------
    ValueError
        If R is no cube.
    """
    k = np.shape(R)[0] if np.ndim(R) == 3 else 1
    R = checked_array("R", R, k, k, k)
    best: tuple[float, NDArray] = (np.inf, np.eye(k))
    for _ in range(_DRAWS):
        a, b = rng.standard_normal((2, k))
        # Of noisy slices some eigenvectors come in complex pairs; their real parts are as good a guess as any.
        U = np.linalg.eig((R @ a) @ np.linalg.pinv(R @ b))[1].real
        norms = np.linalg.norm(U, axis=0)
        if not norms.all():
            continue
        U = U / norms
        cubes = np.einsum("aj,bj,cj->abcj", U, U, U).reshape(k**3, k)
        c = np.linalg.lstsq(cubes, R.ravel(), rcond=None)[0]
        residual = float(np.linalg.norm(cubes @ c - R.ravel()))
        if residual < best[0]:
            best = residual, U
    return best[1]


def network_of(moments: Moments, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Return W (d, k) and v (k,) of ±1 from moments.

    The components u_j are those of the slice M4(V, V, V, Vθ) with a random θ. With û_j = V u_j, least squares give z of
    M1 = Σ z_j û_j and r of M2 = Σ r_j û_j û_jᵀ; then v_j = sign r_j and w_j = 2 v_j z_j û_j. (The return line of the
    source mixes its superscripts.)

    Parameters
    ----------
    moments : Moments
    rng : numpy.random.Generator
        Of θ and the contractions.
    """
    M1, M2, V, T = moments
    theta = rng.standard_normal(len(T))
    unit = V @ components(T @ (theta / np.linalg.norm(theta)), rng)
    z = np.linalg.lstsq(unit, M1, rcond=None)[0]
    squares = np.einsum("aj,bj->abj", unit, unit).reshape(M2.size, -1)
    r = np.linalg.lstsq(squares, M2.ravel(), rcond=None)[0]
    v = np.where(r < 0, -1.0, 1.0)
    return unit * (2 * v * z), v


def tensor_initialisation(
    X: ArrayLike,
    y: ArrayLike,
    n_neurons: int,
    rng: np.random.Generator,
    *,
    subtract: bool = True,
    n_slices: int = 10,
) -> tuple[NDArray, NDArray]:
    """Return a network near the planted one of these rows.

    Parameters
    ----------
    X : array of shape (N, d)
        Rows from N(0, I).
    y : array of shape (N,)
    n_neurons : int
        k, at most d.
    rng : numpy.random.Generator
        Of the slices and contractions.
    subtract : bool, default True
        See :func:`sample_moments`; the source does not.
    n_slices : int, default 10
        Slices of the tensor, of which the network of least squared error on the rows is kept. A slice nearly orthogonal
        to a neuron does not show it. The source has one.

    Returns
    -------
    W : ndarray of shape (d, k)
    v : ndarray of shape (k,)
        Of ±1.

    Raises
    ------
    ValueError
        If the shapes disagree, there are more neurons than inputs, too few rows to split into three, or no slices.
    """
    checked_count("n_slices", n_slices)
    moments = sample_moments(X, y, n_neurons, subtract=subtract)
    found = [network_of(moments, rng) for _ in range(n_slices)]
    if n_slices == 1:
        return found[0]
    X, y = np.asarray(X, float), np.asarray(y, float)
    return min(found, key=lambda network: float(np.sum((relu_sum(X, *network) - y) ** 2)))


def _second_moment(X: NDArray, y: NDArray) -> NDArray:
    moment: NDArray = X.T @ (y[:, None] * X) / len(X) - np.mean(y) * np.eye(X.shape[1])
    return moment


def _fourth_moment(Z: NDArray, y: NDArray) -> NDArray:
    """Return E[y He₄(x)](V, V, V, V), (k, k, k, k), for rows Z = X V (N, k)."""
    n, k = Z.shape
    eye = np.eye(k)
    pairs = np.einsum("ia,ib->iab", Z, Z).reshape(n, k * k)
    fourth = (pairs.T @ (y[:, None] * pairs)).reshape(k, k, k, k) / n
    second = Z.T @ (y[:, None] * Z) / n
    # z⊗⁴ less the six products of δ with z z, and the three of δ with δ again.
    places = ("ab,cd", "ac,bd", "ad,bc")
    of_pairs = sum(np.einsum(f"{p}->abcd", eye, second) + np.einsum(f"{p}->abcd", second, eye) for p in places)
    constant = np.mean(y) * sum(np.einsum(f"{p}->abcd", eye, eye) for p in places)
    tensor: NDArray = fourth - of_pairs + constant
    return tensor


def _without(y: NDArray, columns: NDArray) -> NDArray:
    residual: NDArray = y - columns @ np.linalg.lstsq(columns, y, rcond=None)[0]
    return residual
