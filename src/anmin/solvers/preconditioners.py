"""Preconditioners of the damped projected Gauss–Newton matrix, in coordinates that make its diagonal one.

Each stands for (M̃ + μI)⁻¹ with M̃ = diag⁻¹ᐟ² M diag⁻¹ᐟ² of order p·h, whose vectors are arrays of shape (p, h). It is
symmetric positive definite whatever it was made from, so one made at earlier hidden weights is still of use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, eigh, svd

from anmin.blas import product
from anmin.network import ReLUNetwork
from anmin.rows.arrays import ArrayRows
from anmin.rows.products import PatternProducts

Operator = Callable[[NDArray], NDArray]


class Preconditioner(Protocol):
    """What stands for (M̃ + μI)⁻¹."""

    def inverse(self, damping: float) -> Operator:
        """Return its product with an array (p, h), for the damping μ > 0."""
        ...


@dataclass(frozen=True, eq=False)
class Kronecker:
    """M ≈ H ⊗ Γ with H_jl = (BBᵀ)_jl · mean(G_j G_l) and Γ = X̃ᵀWX̃/n: as if the gates did not depend on the inputs.

    Both factors are scaled to a diagonal of ones, and the penalty is alpha times the mean of 1/diag. Two
    eigendecompositions give the inverse for every damping; a product with it takes 2·p·h·(p + h) multiplications
    (after Martens & Grosse, Kronecker-factored approximate curvature, 2015).

    Attributes
    ----------
    neurons, inputs : pair of ndarray
        Eigenvalues and eigenvectors of the two factors, (h,) and (h, h), (p,) and (p, p).
    penalty : float
    """

    neurons: tuple[NDArray, NDArray]
    inputs: tuple[NDArray, NDArray]
    penalty: float

    @classmethod
    def of(
        cls,
        products: PatternProducts,
        network: ReLUNetwork,
        penalty: float,
        inputs: tuple[NDArray, NDArray] | None = None,
    ) -> Kronecker:
        """Return it at the pattern and output layer; ``inputs`` may be what it was for the same rows."""
        if inputs is None:
            inputs = _eigen(input_gram(products.rows))
        return cls(_eigen(products.gates * (network.B @ network.B.T)), inputs, penalty)

    def inverse(self, damping: float) -> Operator:
        """Return the product with (H ⊗ Γ + (μ + penalty) I)⁻¹."""
        (values, vectors), (input_values, input_vectors) = self.neurons, self.inputs
        divisor = np.outer(input_values, values) + (damping + self.penalty)

        def apply(V: NDArray) -> NDArray:
            W = product(product(input_vectors.T, V), vectors) / divisor
            return product(product(input_vectors, W), vectors.T)

        return apply


@dataclass(frozen=True, eq=False)
class Blocks:
    """The diagonal blocks ‖b_j‖² U_jj/n of M, one for each neuron, from a sample of the rows.

    Attributes
    ----------
    blocks : ndarray of shape (h, p, p)
        Scaled to diagonals of ones.
    """

    blocks: NDArray

    @classmethod
    def of(cls, products: PatternProducts, sample_rows: int) -> Blocks:
        """Return the blocks at the pattern on ``sample_rows`` rows."""
        return cls(np.stack([_scaled(block) for block in products.neuron_blocks(sample_rows)]))

    def inverse(self, damping: float) -> Operator:
        """Return the product with the inverse of the damped blocks."""
        eye = damping * np.eye(self.blocks.shape[1])
        factors = [cho_factor(block + eye, lower=True, check_finite=False) for block in self.blocks]
        return lambda V: np.column_stack(
            [cho_solve(factor, v, check_finite=False) for factor, v in zip(factors, V.T, strict=True)]
        )


@dataclass(frozen=True, eq=False)
class Nystrom:
    """A randomised approximation of M̃ of low rank, M̃ ≈ Q Λ Qᵀ, from products with as many random directions.

    (M̃ + μI)⁻¹ ≈ (λ_r + μ) Q (Λ + μI)⁻¹ Qᵀ + I − QQᵀ, over λ_r + μ (Frangella, Tropp & Udell, Randomized Nyström
    preconditioning, 2021; a pseudo-inverse here in the place of their shift).

    Attributes
    ----------
    values : ndarray of shape (r,)
        In descending order.
    vectors : ndarray of shape (p·h, r)
    """

    values: NDArray
    vectors: NDArray

    @classmethod
    def of(cls, multiply: Operator, shape: tuple[int, int], rank: int) -> Nystrom:
        """Return it from ``rank`` products with M̃."""
        size = shape[0] * shape[1]
        rank = min(rank, size)
        Omega = np.linalg.qr(np.random.default_rng(0).standard_normal((size, rank)))[0]
        Y = np.column_stack([multiply(omega.reshape(shape)).ravel() for omega in Omega.T])
        # Y (ΩᵀY)⁺ Yᵀ, with the eigenvalues at the level of rounding left out.
        small = Omega.T @ Y
        values, vectors = eigh((small + small.T) / 2)
        kept = values > rank * np.finfo(np.float64).eps * values[-1]
        vectors, roots, _ = svd(Y @ (vectors[:, kept] / np.sqrt(values[kept])), full_matrices=False)
        return cls(roots**2, vectors)

    def inverse(self, damping: float) -> Operator:
        """Return the product with the inverse of the low-rank matrix, damped."""
        along = 1 / (self.values + damping) - 1 / (self.values[-1] + damping)

        def apply(V: NDArray) -> NDArray:
            v = V.ravel()
            return (self.vectors @ (along * (self.vectors.T @ v)) + v / (self.values[-1] + damping)).reshape(V.shape)

        return apply


def input_gram(rows: ArrayRows) -> NDArray:
    """Return X̃ᵀWX̃/n (p, p)."""
    p = rows.n_features + 1
    constant = np.zeros((p, 1))
    constant[0] = 1.0
    return rows.statistics(constant).U.reshape(p, p) / rows.n


def _scaled(gram: NDArray) -> NDArray:
    """Return the positive semidefinite matrix scaled to a diagonal of ones, also where it has none."""
    roots = np.sqrt(np.diagonal(gram))
    scaled = gram / np.outer(*[np.where(roots > 0, roots, 1.0)] * 2)
    scaled[np.diag_indices_from(scaled)] = 1.0
    return scaled


def _eigen(gram: NDArray) -> tuple[NDArray, NDArray]:
    values, vectors = eigh(_scaled(gram))
    return np.maximum(values, 0.0), vectors
