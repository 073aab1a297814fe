"""Flips: turn neurons round so that those that carry a linear part are no longer needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anmin.network import ReLUNetwork

_ENUMERATED = 12  # neurons of which all subsets are tried
_DESCENTS = 40


def without_linear_part(
    network: ReLUNetwork, active: NDArray, n_rows: int, rng: np.random.Generator, *, always: float = 0.99
) -> NDArray:
    """Return hidden weights (p, m) of the same hyperplanes, some facing the other way, without always-active neurons.

    A network is the same function with any neuron j turned round, (a_j, b_j) → (−a_j, b_j), and a linear one added,

        σ(z_j) b_jᵀ = σ(−z_j) b_jᵀ + (1 + s)·z_j b_jᵀ,        z_j = x̃ᵀa_j,  s the negative slope,

    so a solver that finds every hyperplane may still need linear neurons for those that it found from the wrong side.
    The subset S is sought whose linear parts make up for those of the neurons L that are active on nearly all rows,

        min over S of ‖Σ_{L} a_l b_lᵀ + (1 + s) Σ_{S} a_j b_jᵀ‖²   (without the biases, which b0 takes up),

    by enumeration if there are few neurons, otherwise by descents over single and paired changes from random subsets.

    Parameters
    ----------
    network : ReLUNetwork
    active : ndarray of shape (h,)
        Number of rows on which each neuron is active.
    n_rows : int
    rng : numpy.random.Generator
    always : float, default 0.99
        Share of the rows from which on a neuron counts as always active.

    Returns
    -------
    ndarray of shape (p, m)
        With m = h where no neuron is always active: then nothing is changed.
    """
    linear = active >= always * n_rows
    if not linear.any() or linear.all():
        return network.A
    parts = np.einsum("dj,jc->jdc", network.A[1:], network.B).reshape(network.n_neurons, -1)
    turned = _subset((1 + network.negative_slope) * parts[~linear], -parts[linear].sum(axis=0), rng)
    A = network.A[:, ~linear].copy()
    A[:, turned] *= -1
    return A


def _subset(parts: NDArray, wanted: NDArray, rng: np.random.Generator) -> NDArray:
    """Return the booleans S (m,) for which Σ_S parts (m, k) comes nearest to ``wanted`` (k,), as far as found."""
    m = len(parts)
    if m <= _ENUMERATED:
        subsets = (np.arange(2**m)[:, None] >> np.arange(m)) & 1
        misses = np.sum((subsets @ parts - wanted) ** 2, axis=1)
        return subsets[np.argmin(misses)].astype(bool)
    gram = parts @ parts.T
    best, least = np.zeros(m, dtype=bool), np.inf
    for _ in range(_DESCENTS):
        signs = np.where(rng.random(m) < 0.5, 1.0, -1.0)  # −1 where in S: a change adds signs·part
        miss = np.sum(parts[signs < 0], axis=0) - wanted
        while True:
            single = 2 * signs * (parts @ miss) + np.diagonal(gram)
            # The change by a pair; on the diagonal by one alone.
            pair = single[:, None] + single + 2 * np.outer(signs, signs) * gram
            np.fill_diagonal(pair, single)
            i, j = np.unravel_index(np.argmin(pair), pair.shape)
            if pair[i, j] >= -1e-12 * (miss @ miss):
                break
            for k in {int(i), int(j)}:
                miss = miss + signs[k] * parts[k]
                signs[k] *= -1
        if miss @ miss < least:
            best, least = signs < 0, float(miss @ miss)
    return best
