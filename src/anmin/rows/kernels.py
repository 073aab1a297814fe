"""The inner loops over rows, compiled by Numba at their first use and kept in its cache.

They release the interpreter's lock, so callers may run several in threads, each with outputs of its own. Every sum is
taken in an order that depends on the rows alone, and no rounding is reordered, so results are the same bits whatever
the number of threads. Where z = x̃ᵀa decides on which side of a hyperplane a row lies, it is computed by one function
here, in one order: all passes agree on rows that lie on a hyperplane, or within rounding of it.

Arrays: X (N, d) and Y (N, c) of float32 or float64, A (p, h), w (N,) of row weights or of length 0 for none. A pattern
is held as bits, uint64 (N, ceil(h/64)): bit j % 64 of word j // 64 says that neuron j is active on the row.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Neurons of one group, whose activities on a row make a number below 2**GROUP.
GROUP = 4
_CODES = 2**GROUP


def compiled(function: Callable) -> Any:
    """Compile a function at its first call, and keep the result on disk if there is a place for it."""
    try:
        dispatcher: Any = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder that could hold the cache may be written to: only time is lost
        return njit(nogil=True)(function)
    save = dispatcher._cache.save_overload

    def saved(*compilation: Any) -> None:
        with suppress(OSError):  # nor is more lost where the disk is full
            save(*compilation)

    dispatcher._cache.save_overload = saved
    return dispatcher


@compiled
def _preactivations(X: NDArray, i: int, A: NDArray, z: NDArray) -> None:
    """Set z (h,) to x̃ᵀA of row i, from the bias on, input by input."""
    for j in range(len(z)):
        z[j] = A[0, j]
    for k in range(X.shape[1]):
        value = np.float64(X[i, k])
        for j in range(len(z)):
            z[j] += value * A[k + 1, j]


@compiled
def _pack(z: NDArray, bits: NDArray, i: int) -> None:
    """Set the bits of row i."""
    for word in range(bits.shape[1]):
        packed = np.uint64(0)
        for j in range(64 * word, min(len(z), 64 * word + 64)):
            packed |= np.uint64(z[j] > 0) << np.uint64(j - 64 * word)
        bits[i, word] = packed


@compiled
def set_pattern(X: NDArray, A: NDArray, start: int, stop: int, bits: NDArray) -> None:
    """Set the bits of the rows from ``start`` to ``stop``."""
    z = np.empty(A.shape[1])
    for i in range(start, stop):
        _preactivations(X, i, A, z)
        _pack(z, bits, i)


@compiled
def set_activations(
    X: NDArray, w: NDArray, A: NDArray, negative_slope: float, start: int, stop: int, bits: NDArray, S: NDArray
) -> None:
    """Set the bits of the rows from ``start`` to ``stop``, and S (stop − start, h) to sqrt(w)·σ(X̃A) of them."""
    z = np.empty(A.shape[1])
    for i in range(start, stop):
        _preactivations(X, i, A, z)
        _pack(z, bits, i)
        root = np.sqrt(w[i]) if len(w) else 1.0
        for j in range(len(z)):
            S[i - start, j] = root * (max(z[j], 0.0) + negative_slope * min(z[j], 0.0))


@compiled
def set_predictions(X: NDArray, A: NDArray, B: NDArray, b0: NDArray, negative_slope: float, out: NDArray) -> None:
    """Set out (N, c) to σ(X̃A) B + b0, 64 rows at a time side by side, so that nothing of N × h is held."""
    d, h, c = X.shape[1], B.shape[0], B.shape[1]
    x, z, y = np.empty((d, 64)), np.empty(64), np.empty((c, 64))
    for start in range(0, len(X), 64):
        n = min(64, len(X) - start)
        for i in range(n):
            for k in range(d):
                x[k, i] = X[start + i, k]
        for k in range(c):
            for i in range(n):
                y[k, i] = b0[k]
        for j in range(h):
            for i in range(n):
                z[i] = A[0, j]
            for k in range(d):
                for i in range(n):
                    z[i] += x[k, i] * A[k + 1, j]
            for i in range(n):
                z[i] = max(z[i], 0.0) + negative_slope * min(z[i], 0.0)
            for k in range(c):
                for i in range(n):
                    y[k, i] += z[i] * B[j, k]
        for i in range(n):
            for k in range(c):
                out[start + i, k] = y[k, i]


@compiled
def counts_of_neurons(bits: NDArray, counts: NDArray) -> None:
    """Add to counts (h,) the number of rows on which each neuron is active."""
    for i in range(len(bits)):
        for j in range(len(counts)):
            counts[j] += (bits[i, j >> 6] >> np.uint64(j & 63)) & np.uint64(1)


@compiled
def _octet(bits: NDArray, i: int, octet: int) -> Any:
    """Return the bits of row i for the neurons from 8·octet on, below 256."""
    return (bits[i, octet >> 3] >> np.uint64(8 * (octet & 7))) & np.uint64(255)


@compiled
def multiply_by_gates(bits: NDArray, start: int, stop: int, gates: NDArray, Z: NDArray) -> None:
    """Multiply Z (stop − start, h) by G; ``gates`` (256, 8) are those of the eight neurons of each byte of the bits."""
    h = Z.shape[1]
    for i in range(start, stop):
        for first in range(0, h, 8):
            code = (bits[i, first >> 6] >> np.uint64(first & 63)) & np.uint64(255)
            for j in range(min(8, h - first)):
                Z[i - start, first + j] *= gates[code, j]


@compiled
def set_tables(V: NDArray, negative_slope: float, tables: NDArray) -> None:
    """Set tables (octets, 256, c, p) to Σ_j G_j V_j, V (h, c, p), over the neurons j of an octet, for all its codes."""
    h, c, p = V.shape
    for octet in range(len(tables)):
        for k in range(c):
            for r in range(p):
                total = 0.0
                for j in range(8 * octet, min(h, 8 * octet + 8)):
                    total += V[j, k, r]
                tables[octet, 0, k, r] = negative_slope * total
        for place in range(8):
            j = 8 * octet + place
            for code in range(1 << place):
                for k in range(c):
                    for r in range(p):
                        more = (1.0 - negative_slope) * V[j, k, r] if j < h else 0.0
                        tables[octet, code + (1 << place), k, r] = tables[octet, code, k, r] + more


@compiled
def add_along(
    X: NDArray, bits: NDArray, tables: NDArray, first: int, last: int, start: int, stop: int, T: NDArray
) -> None:
    """Add x̃_iᵀ Σ tables[octet, code, k] to T[i, k], over octets from ``first`` to ``last`` of (octets, 256, c, p)."""
    c, p = tables.shape[2], tables.shape[3]
    v = np.empty(p)
    for i in range(start, stop):
        for k in range(c):
            for r in range(p):
                v[r] = 0.0
            for octet in range(first, last):
                code = _octet(bits, i, octet)
                for r in range(p):
                    v[r] += tables[octet, code, k, r]
            even, odd = v[0], 0.0
            for r in range(1, p - 1, 2):
                even += v[r] * X[i, r - 1]
                odd += v[r + 1] * X[i, r]
            if p % 2 == 0:
                even += v[p - 1] * X[i, p - 2]
            T[i, k] += even + odd


@compiled
def add_against(
    X: NDArray, bits: NDArray, w: NDArray, R: NDArray, first: int, last: int, start: int, stop: int, sums: NDArray
) -> None:
    """Add w_i R_ik x̃_i to sums[octet, code, k] (octets, 256, c, p), for octets from ``first`` to ``last``."""
    c, p = R.shape[1], sums.shape[3]
    v = np.empty(p)
    for i in range(start, stop):
        for k in range(c):
            v[0] = R[i, k] * w[i] if len(w) else R[i, k]
            for r in range(1, p):
                v[r] = v[0] * X[i, r - 1]
            for octet in range(first, last):
                code = _octet(bits, i, octet)
                for r in range(p):
                    sums[octet, code, k, r] += v[r]


@compiled
def set_of_neurons(sums: NDArray, negative_slope: float, V: NDArray) -> None:
    """Set V_j (h, c, p) to Σ G_j sums[octet, code] over the codes of the octet of neuron j; ``sums`` is used up."""
    h, c, p = V.shape
    for octet in range(len(sums)):
        # Fold the codes with a neuron active onto those without it, from the last neuron of the octet to the first.
        for place in range(7, -1, -1):
            j, half = 8 * octet + place, 1 << place
            for code in range(half):
                for k in range(c):
                    for r in range(p):
                        on = sums[octet, code + half, k, r]
                        sums[octet, code, k, r] += on
                        if j < h:
                            V[j, k, r] = on + (V[j, k, r] if code else 0.0)
        for j in range(8 * octet, min(h, 8 * octet + 8)):
            for k in range(c):
                for r in range(p):
                    on = V[j, k, r]
                    V[j, k, r] = on + negative_slope * (sums[octet, 0, k, r] - on)


@compiled
def set_products(X: NDArray, w: NDArray, first: NDArray, second: NDArray, start: int, stop: int, Q: NDArray) -> None:
    """Set Q (stop − start, q) to w·x̃_a·x̃_b for the pairs (a, b) of ``first`` and ``second`` (q,)."""
    for i in range(start, stop):
        weight = w[i] if len(w) else 1.0
        for q in range(len(first)):
            a, b = first[q], second[q]
            left = np.float64(X[i, a - 1]) if a else 1.0
            right = np.float64(X[i, b - 1]) if b else 1.0
            Q[i - start, q] = weight * left * right


@compiled
def add_moments(X: NDArray, Y: NDArray, w: NDArray, cell: NDArray, products: NDArray, cross: NDArray) -> None:
    """Add w·x̃_a·x̃_b, a <= b, to products (cells, p(p+1)/2) and w·x̃_a·y_k to cross (cells, p·c), at each row's cell."""
    d, c = X.shape[1], Y.shape[1]
    xt = np.empty(d + 1)
    xt[0] = 1.0
    for i in range(len(X)):
        for k in range(d):
            xt[k + 1] = X[i, k]
        weight = w[i] if len(w) else 1.0
        m, q = cell[i], 0
        for a in range(d + 1):
            weighted = weight * xt[a]
            for b in range(a, d + 1):
                products[m, q] += weighted * xt[b]
                q += 1
            for k in range(c):
                cross[m, a * c + k] += weighted * Y[i, k]


@compiled
def cells_of_rows(bits: NDArray, most: int, cell: NDArray, first: NDArray) -> int:
    """Number the different patterns in the order of their first rows, and return how many there are.

    ``cell`` (N,) is set to the number of each row's pattern and ``first`` (most,) to the first row of each. If there
    are more than ``most`` the search ends and −1 is returned. A hash table finds equal patterns; their bits decide.
    """
    slots = 64
    while slots < 2 * most:
        slots *= 2
    table = np.empty(slots, np.int64)
    for empty in range(slots):
        table[empty] = -1
    found = 0
    for i in range(len(bits)):
        code = np.uint64(0)
        for word in range(bits.shape[1]):
            code = (code ^ bits[i, word]) * np.uint64(0x9E3779B97F4A7C15)
            code ^= code >> np.uint64(29)
        slot = np.int64(code & np.uint64(slots - 1))
        while True:
            there = table[slot]
            if there < 0:
                if found == most:
                    return -1
                table[slot] = found
                first[found] = i
                cell[i] = found
                found += 1
                break
            same = True
            for word in range(bits.shape[1]):
                if bits[first[there], word] != bits[i, word]:
                    same = False
                    break
            if same:
                cell[i] = there
                break
            slot = (slot + 1) & (slots - 1)
    return found


@compiled
def set_codes(bits: NDArray, start: int, stop: int, codes: NDArray) -> None:
    """Set codes (groups, stop − start), uint8, to the number that the activities of each group of neurons make."""
    for i in range(start, stop):
        for group in range(len(codes)):
            place = GROUP * group
            codes[group, i - start] = (bits[i, place >> 6] >> np.uint64(place & 63)) & np.uint64(_CODES - 1)


@compiled
def add_pair_sums(codes: NDArray, Q: NDArray, place: int, C: NDArray, part: int, parts: int) -> None:
    """Add Σ_i on_ij on_il Q_i to C[j, l, place:] (h, h, all products) for pairs of groups of neurons, j's before l's.

    For two groups the rows are first added up by the codes of both, which costs one addition of a row of Q (n, q) for
    16 pairs of neurons; the sum of a pair is that over all codes in which both are active (the method of the Four
    Russians). Of all pairs of groups, those of number ``part`` modulo ``parts`` are taken.
    """
    groups, n = codes.shape
    h, width = C.shape[0], Q.shape[1]
    sums = np.empty((_CODES * _CODES, width))
    halfway = np.empty((_CODES, width))
    number = -1
    for J in range(groups):
        for L in range(J, groups):
            number += 1
            if number % parts != part:
                continue
            for code in range(_CODES * _CODES):
                for q in range(width):
                    sums[code, q] = 0.0
            for i in range(n):
                both = np.uint64(codes[J, i]) << np.uint64(GROUP) | np.uint64(codes[L, i])
                for q in range(width):
                    sums[both, q] += Q[i, q]
            for l in range(GROUP * L, min(h, GROUP * L + GROUP)):
                for code in range(_CODES):
                    for q in range(width):
                        halfway[code, q] = 0.0
                for code in range(_CODES * _CODES):
                    if (code >> (l - GROUP * L)) & 1:
                        for q in range(width):
                            halfway[code >> GROUP, q] += sums[code, q]
                for j in range(GROUP * J, min(h, GROUP * J + GROUP)):
                    for code in range(_CODES):
                        if (code >> (j - GROUP * J)) & 1:
                            for q in range(width):
                                C[j, l, place + q] += halfway[code, q]


@compiled
def add_flipped(
    X: NDArray,
    Y: NDArray,
    w: NDArray,
    before: NDArray,
    after: NDArray,
    negative_slope: float,
    D: NDArray,
    V: NDArray,
    s: NDArray,
    part: int,
    parts: int,
) -> None:
    """Add the shares of rows whose pattern changed to D (h, h, products), V (h, p, c) and s (h, p).

    With Δ_i = G_ij(after) − G_ij(before) on the flipped rows of neuron j, D[j, l] = Σ_i w_i Δ_i G_il x̃_i x̃_iᵀ (upper
    triangle), where neurons l < j are taken after the change and l > j before it; D[j, j] is the change of the square.
    Neurons j of number ``part`` modulo ``parts`` are taken.
    """
    h, p = s.shape
    c, width = Y.shape[1], D.shape[2]
    xt, Q = np.empty(p), np.empty(width)
    xt[0] = 1.0
    for j in range(part, h, parts):
        word, place = j >> 6, np.uint64(j & 63)
        for i in range(len(X)):
            if not ((before[i, word] ^ after[i, word]) >> place) & np.uint64(1):
                continue
            change = 1.0 - negative_slope if (after[i, word] >> place) & np.uint64(1) else negative_slope - 1.0
            if len(w):
                change *= w[i]
            for k in range(1, p):
                xt[k] = X[i, k - 1]
            q = 0
            for a in range(p):
                weighted = change * xt[a]
                for b in range(a, p):
                    Q[q] = weighted * xt[b]
                    q += 1
                s[j, a] += weighted
                for k in range(c):
                    V[j, a, k] += weighted * Y[i, k]
            for l in range(h):
                bits = after[i, l >> 6] if l < j else before[i, l >> 6]
                gate = 1.0 if (bits >> np.uint64(l & 63)) & np.uint64(1) else negative_slope
                if l == j:
                    gate = 1.0 + negative_slope  # Δ times the sum of both is the change of the square
                if gate != 0.0:
                    for q in range(width):
                        D[j, l, q] += gate * Q[q]


@compiled
def add_unpacked(C: NDArray, U: NDArray, part: int, parts: int) -> None:
    """Add the matrices of upper triangles C[j, l] (h, h, products), l >= j, to U (h, p, h, p), and mirror them."""
    h, p = U.shape[0], U.shape[1]
    for j in range(part, h, parts):
        for l in range(j, h):
            q = 0
            for a in range(p):
                for b in range(a, p):
                    value = U[j, a, l, b] + C[j, l, q]
                    U[j, a, l, b] = value
                    U[j, b, l, a] = value
                    U[l, a, j, b] = value
                    U[l, b, j, a] = value
                    q += 1
