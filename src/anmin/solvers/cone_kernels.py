"""The compiled projections on polyhedral cones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anmin.rows.kernels import compiled

_ROUNDING = 1e-13  # of the vector that is projected: how far outside a cone its projection may be
_DEPENDENT = 1e-12


@compiled
def _appended(normal: NDArray, Q: NDArray, R: NDArray, k: int) -> bool:
    """Add a column to the factors Q (p, k) and R (k, k) of active normals; refuse one that depends on the others."""
    p = len(normal)
    for a in range(p):
        Q[a, k] = normal[a]
    for b in range(k):
        R[b, k] = 0.0
    for _again in range(2):
        for b in range(k):
            along = 0.0
            for a in range(p):
                along += Q[a, b] * Q[a, k]
            R[b, k] += along
            for a in range(p):
                Q[a, k] -= along * Q[a, b]
    square = 0.0
    for a in range(p):
        square += Q[a, k] * Q[a, k]
    length = np.sqrt(square)
    if length <= _DEPENDENT:
        return False
    R[k, k] = length
    for a in range(p):
        Q[a, k] /= length
    return True


@compiled
def _refactored(
    normals: NDArray, index: NDArray, multipliers: NDArray, k: int, Q: NDArray, R: NDArray, least: float
) -> int:
    """Drop what has multipliers of at most ``least``, factor the rest, and return how many there are."""
    kept = 0
    for i in range(k):
        if multipliers[i] > least and _appended(normals[index[i]], Q, R, kept):
            index[kept] = index[i]
            multipliers[kept] = multipliers[i]
            kept += 1
    return kept


@compiled
def _projected(
    normals: NDArray,
    count: int,
    r: NDArray,
    index: NDArray,
    multipliers: NDArray,
    k: int,
    Q: NDArray,
    R: NDArray,
    new: NDArray,
    u: NDArray,
) -> int:
    """Set u (p,) to the point nearest to r with normals·u >= 0, and return how many of these are active.

    By the method of Lawson & Hanson for the multipliers: u = r + Σ λ_i normals_i over the active i in ``index`` (k of
    them at the start, with positive multipliers), whose normals have the factors Q and R.
    """
    p = len(r)
    square = 0.0
    for a in range(p):
        square += r[a] * r[a]
    outside = -_ROUNDING * np.sqrt(square)
    k = _refactored(normals, index, multipliers, k, Q, R, 0.0)
    for _step in range(20 * p + 10 * count):
        refused = False
        while k > 0:
            for b in range(k):
                along = 0.0
                for a in range(p):
                    along += Q[a, b] * r[a]
                new[b] = -along
            for b in range(k - 1, -1, -1):
                for c in range(b + 1, k):
                    new[b] -= R[b, c] * new[c]
                new[b] /= R[b, b]
            share, first = 1.0, -1
            for b in range(k):
                if new[b] <= 0:
                    at = multipliers[b] / (multipliers[b] - new[b]) if multipliers[b] > 0 else 0.0
                    if first < 0 or at < share:
                        share, first = at, b
            if first < 0:
                for b in range(k):
                    multipliers[b] = new[b]
                break
            if first == k - 1 and multipliers[first] == 0:
                refused = True  # its sign is a matter of rounding
            for b in range(k):
                multipliers[b] += share * (new[b] - multipliers[b])
            multipliers[first] = 0.0
            k = _refactored(normals, index, multipliers, k, Q, R, 0.0)
        for a in range(p):
            u[a] = r[a]
        for _again in range(2):
            for b in range(k):
                along = 0.0
                for a in range(p):
                    along += Q[a, b] * u[a]
                for a in range(p):
                    u[a] -= along * Q[a, b]
        if refused or k == p:
            break
        worst, least = -1, outside
        for i in range(count):
            height = 0.0
            for a in range(p):
                height += normals[i, a] * u[a]
            if height < least:
                among = False
                for b in range(k):
                    among = among or index[b] == i
                if not among:
                    worst, least = i, height
        if worst < 0 or not _appended(normals[worst], Q, R, k):
            break
        index[k] = worst
        multipliers[k] = 0.0
        k += 1
    left = 0.0
    for a in range(p):
        left += u[a] * u[a]
    if k == p or left <= 100 * outside * outside:
        for a in range(p):
            u[a] = 0.0
    return k


@compiled
def project(
    rows: NDArray,
    on: NDArray,
    normals: NDArray,
    counts: NDArray,
    gates: NDArray,
    A: NDArray,
    index: NDArray,
    multipliers: NDArray,
    sizes: NDArray,
    Q: NDArray,
    U: NDArray,
    exact: bool,
) -> bool:
    """Project each A_g (G, p) on the cone of its gate, and return whether there was room for all the normals needed.

    A cone is that of the normals known of it, the first ``counts`` of ``normals`` (P, M, p). If ``exact``, all rows
    (n, p) of unit length, with the signs of ``on`` (P, n), are gone through until none is violated, and those that were
    join the normals.
    """
    n, p = rows.shape
    R, new = np.empty((p, p)), np.empty(p)
    for g in range(len(gates)):
        j = gates[g]
        square = 0.0
        for a in range(p):
            square += A[g, a] * A[g, a]
        outside = -2 * _ROUNDING * np.sqrt(square)
        for _cut in range(n + 1):
            sizes[g] = _projected(normals[j], counts[j], A[g], index[g], multipliers[g], sizes[g], Q[g], R, new, U[g])
            if not exact:
                break
            worst, least = -1, outside
            for i in range(n):
                height = 0.0
                for a in range(p):
                    height += rows[i, a] * U[g, a]
                if not on[j, i]:
                    height = -height
                if height < least:
                    worst, least = i, height
            if worst < 0:
                break
            if counts[j] == normals.shape[1]:
                return False
            sign = 1.0 if on[j, worst] else -1.0
            known = False
            for i in range(counts[j]):
                same = True
                for a in range(p):
                    same = same and normals[j, i, a] == sign * rows[worst, a]
                known = known or same
            if known:  # violated by a rounding that nothing can be done about
                break
            for a in range(p):
                normals[j, counts[j], a] = sign * rows[worst, a]
            counts[j] += 1
    return True


@compiled
def set_roots(Q: NDArray, sizes: NDArray, groups: NDArray, U: NDArray, by: float, roots: NDArray) -> None:
    """Set ``roots`` (s, p, p) to N with N Nᵀ the derivative of the shrunk projection of each group, zero columns last.

    On what the active normals, the first ``sizes`` columns of Q (G, p, p), leave free it is (1 − τ) I + τ e eᵀ with e
    the direction of the projection U_g and τ = by/‖U_g‖.
    """
    p = Q.shape[1]
    basis, left, along = np.empty((p, p)), np.empty(p), np.empty(p)
    for s in range(len(groups)):
        g, k = groups[s], sizes[groups[s]]
        for a in range(p):
            left[a] = 1.0
            for b in range(k):
                basis[a, b] = Q[g, a, b]
                left[a] -= Q[g, a, b] * Q[g, a, b]
        for b in range(k, p):  # of the unit vectors, that of which most is left
            most = 0
            for a in range(1, p):
                if left[a] > left[most]:
                    most = a
            for a in range(p):
                basis[a, b] = 1.0 if a == most else 0.0
            for _again in range(2):
                for other in range(b):
                    share = 0.0
                    for a in range(p):
                        share += basis[a, other] * basis[a, b]
                    for a in range(p):
                        basis[a, b] -= share * basis[a, other]
            square = 0.0
            for a in range(p):
                square += basis[a, b] * basis[a, b]
            for a in range(p):
                basis[a, b] /= np.sqrt(square)
                left[a] -= basis[a, b] * basis[a, b]
        square = 0.0
        for a in range(p):
            square += U[g, a] * U[g, a]
        length = np.sqrt(square)
        root = np.sqrt(max(1 - by / length, 0.0))
        for b in range(k, p):
            along[b] = 0.0
            for a in range(p):
                along[b] += basis[a, b] * U[g, a] / length
        for a in range(p):
            for b in range(p):
                roots[s, a, b] = 0.0
            for b in range(k, p):
                roots[s, a, b - k] = root * basis[a, b] + (1 - root) * along[b] * U[g, a] / length


@compiled
def set_reduced(H: NDArray, gates: NDArray, roots: NDArray, widths: NDArray, system: NDArray) -> None:
    """Set the upper and the lower triangle of ``system`` to N_sᵀ H_st N_t, blocks of the first ``widths`` columns.

    ``gates`` (s,) says which block of H (m·p, m·p) is that of a group.
    """
    p = roots.shape[1]
    along = np.empty(len(H))
    at_t = 0
    for t in range(len(gates)):
        for b in range(widths[t]):
            along[:] = 0.0
            for a in range(p):
                factor, row = roots[t, a, b], H[gates[t] * p + a]
                for c in range(len(H)):
                    along[c] += factor * row[c]
            at_s = 0
            for s in range(t + 1):
                first = gates[s] * p
                for i in range(widths[s]):
                    value = 0.0
                    for a in range(p):
                        value += roots[s, a, i] * along[first + a]
                    system[at_s + i, at_t + b] = value
                    system[at_t + b, at_s + i] = value
                at_s += widths[s]
        at_t += widths[t]
