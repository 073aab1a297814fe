"""The compiled search over cones of directions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anmin.rows.kernels import compiled

_SHORTEST = 1e-26  # square of an edge that is not cut any more
_FEW, _SWEEPS = 24, 12


@compiled
def bounded(
    Xt: NDArray,
    R: NDArray,
    linear: NDArray,
    cones: NDArray,
    value: float,
    tol: float,
    enough: float,
    most_visits: float,
    vector: NDArray,
) -> tuple[float, float, float]:
    """Bound F(v) = ‖linearᵀv + Σ_i R_i max(x̃_iᵀv, 0)‖ over the unit vectors of cones, by branch and bound.

    A cone is spanned by p unit vectors, its corners. Rows with x̃_iᵀv of one sign in it add up to a linear function. Of
    a row with both signs, r·max(x̃_iᵀv, 0) is convex where r > 0, thus at most the linear function that equals it at
    the corners, and at least λr·x̃_iᵀv for λ 0 or 1; and the other way round where r < 0. So each component of the sum
    lies between two linear functions, L and U. The norm of max(U, −L) is convex and homogeneous: on the simplex of the
    corners it is greatest at a corner, and a unit vector of the cone is a multiple 1/ρ of a vector of the simplex at
    most, where ρ² >= 1 − D²(p − 1)/(2p) with D the longest edge. What is too much is of second order in D for many
    rows, and a cone is halved until its bound is at most (1 + tol) times the largest value met, or ``enough``.

    Parameters
    ----------
    Xt : ndarray of shape (N, p)
    R : ndarray of shape (N, c)
    linear : ndarray of shape (p, c)
    cones : ndarray of shape (k, p, p)
        Each with its corners as rows.
    value : float
        A value of F that is known.
    tol, enough : float
    most_visits : float
        Rows that may be visited, counted once for each cone.
    vector : ndarray of shape (p,)
        Set to where a value above ``value`` was met, the largest, if one was.

    Returns
    -------
    value, bound : float
        The largest value known, and the bound of F on the cones.
    visits : float
        Rows that were visited; above ``most_visits`` if the search was cut short, with the bounds of what was left.
    """
    n, p = Xt.shape
    c = R.shape[1]
    places = len(cones) + 50 * p * (p - 1) + 2  # an edge is cut some fifty times
    corners, settled = np.empty((places, p, p)), np.empty((places, p, c))
    starts, stops, bounds = np.zeros(places, np.int64), np.zeros(places, np.int64), np.full(places, np.inf)
    depth = len(cones)
    corners[:depth] = cones
    settled[:depth] = linear
    stops[:depth] = n
    # Both halves of a cone go through the rows of both signs in it, a part of this stack.
    rows = np.empty(2 * n, dtype=np.int32)
    for i in range(n):
        rows[i] = i
    t, exact, above, below = np.empty(p), np.empty((p, c)), np.empty((p, c)), np.empty((p, c))
    here, sums, tried = np.empty((p, p)), np.empty((p, c)), np.empty(p)
    largest, visits = 0.0, 0.0
    while depth > 0:
        depth -= 1
        if bounds[depth] <= max(enough, value * (1 + tol)) or visits > most_visits:
            largest = max(largest, bounds[depth])
            continue
        start, stop = starts[depth], stops[depth]
        here[:] = corners[depth]
        sums[:] = settled[depth]
        exact[:], above[:], below[:] = 0.0, 0.0, 0.0
        visits += stop - start + p
        if 2 * stop - start > len(rows):
            longer = np.empty(2 * (2 * stop - start), dtype=np.int32)
            longer[:stop] = rows[:stop]
            rows = longer
        top = stop
        for place in range(start, stop):
            i = rows[place]
            least, most, balance = np.inf, -np.inf, 0.0
            for m in range(p):
                along = 0.0
                for k in range(p):
                    along += here[m, k] * Xt[i, k]
                t[m] = along
                balance += along
                least, most = min(least, along), max(most, along)
            if most <= 0:
                continue
            if least >= 0:
                for k in range(p):
                    for j in range(c):
                        sums[k, j] += Xt[i, k] * R[i, j]
                continue
            rows[top] = i
            top += 1
            for m in range(p):
                on = max(t[m], 0.0)
                gap = on - t[m] if balance > 0 else on
                for j in range(c):
                    r = R[i, j]
                    exact[m, j] += r * on
                    if r < 0:
                        above[m, j] -= r * gap
                    else:
                        below[m, j] += r * gap
        edge, a, b = _longest_edge(here)
        shrink = np.sqrt(1 - edge * (p - 1) / (2 * p))
        whole, mixed, one_sign, up, down = 0.0, 0.0, 0.0, 0.0, 0.0
        for m in range(p):
            at, of_whole, of_mixed = 0.0, 0.0, 0.0
            for j in range(c):
                middle = exact[m, j]
                for k in range(p):
                    middle += sums[k, j] * here[m, k]
                at += middle**2
                of_whole += max(middle + above[m, j], below[m, j] - middle) ** 2
                up, down = max(up, middle + above[m, j]), max(down, below[m, j] - middle)
                of_mixed += max(exact[m, j] + above[m, j], below[m, j] - exact[m, j]) ** 2
                one_sign += sums[m, j] ** 2
            whole, mixed = max(whole, of_whole), max(mixed, of_mixed)
            if np.sqrt(at) > value:
                value = np.sqrt(at)
                vector[:] = here[m]
        # The second is the better one around a maximum where no row changes its sign.
        bound = min(np.sqrt(whole) / shrink, np.sqrt(one_sign) + np.sqrt(mixed) / shrink, bounds[depth])
        if c == 1 and top - stop <= _FEW and bound > max(enough, value * (1 + tol)):
            up = min(up / shrink, _of_one_sign(Xt, R, sums, here, rows[stop:top], 1.0, shrink, value, tried))
            value, seen = _tried(Xt, R, linear, tried, value, vector)
            down = min(down / shrink, _of_one_sign(Xt, R, sums, here, rows[stop:top], -1.0, shrink, value, tried))
            value, also = _tried(Xt, R, linear, tried, value, vector)
            bound, visits = min(bound, max(up, down)), visits + seen + also
        if bound <= max(enough, value * (1 + tol)) or edge < _SHORTEST or depth + 2 > places:
            largest = max(largest, bound)
            continue
        for half in range(2):
            settled[depth + half] = sums
            corners[depth + half] = here
            starts[depth + half], stops[depth + half], bounds[depth + half] = stop, top, bound
        length = np.sqrt(4 - edge)
        for k in range(p):
            middle = (here[a, k] + here[b, k]) / length
            corners[depth, a, k] = middle
            corners[depth + 1, b, k] = middle
        depth += 2
    return value, max(largest, value), visits


@compiled
def _of_one_sign(
    Xt: NDArray,
    R: NDArray,
    sums: NDArray,
    corners: NDArray,
    rows: NDArray,
    sign: float,
    shrink: float,
    value: float,
    tried: NDArray,
) -> float:
    """Return a bound of sign·F over the unit vectors of a cone, for one output, that is exact at its creases.

    Of rows that are concave, at most λr·x̃ᵀv for any λ in [0, 1], those λ are taken, in sweeps over the rows, that make
    the sum of all linear functions shortest. At a maximum on a crease it is the maximum. Convex rows are interpolated.
    ``tried`` (p,) is set to the unit vector along that sum if F may be above ``value`` there, else to zero.
    """
    p, count = len(corners), len(rows)
    shortest, shares = np.empty(p), np.full(count, 0.5)
    interpolated = np.zeros(p)
    for k in range(p):
        shortest[k] = sign * sums[k, 0]
    for place in range(count):
        i = rows[place]
        r = sign * R[i, 0]
        for k in range(p):
            if r < 0:
                shortest[k] += 0.5 * r * Xt[i, k]
        for m in range(p):
            along = 0.0
            for k in range(p):
                along += corners[m, k] * Xt[i, k]
            if r > 0:
                interpolated[m] += r * max(along, 0.0)
    for _ in range(_SWEEPS):
        for place in range(count):
            i = rows[place]
            r = sign * R[i, 0]
            if r >= 0:
                continue
            along, square = 0.0, 0.0
            for k in range(p):
                along += shortest[k] * Xt[i, k]
                square += Xt[i, k] ** 2
            share = min(max(shares[place] - along / (r * square), 0.0), 1.0)
            for k in range(p):
                shortest[k] += (share - shares[place]) * r * Xt[i, k]
            shares[place] = share
    length = np.sqrt(np.sum(shortest**2))
    local = 0.0
    if length > 0:
        for k in range(p):
            tried[k] = shortest[k] / length
            local += sign * sums[k, 0] * tried[k]
        for place in range(count):
            along = 0.0
            for k in range(p):
                along += tried[k] * Xt[rows[place], k]
            local += sign * R[rows[place], 0] * max(along, 0.0)
    if local <= value:
        tried[:] = 0.0
    return length + np.max(interpolated) / shrink


@compiled
def _tried(
    Xt: NDArray, R: NDArray, linear: NDArray, tried: NDArray, value: float, vector: NDArray
) -> tuple[float, float]:
    """Return the larger of ``value`` and F at a vector for one output, and the rows visited; set ``vector`` as well."""
    if not np.any(tried):
        return value, 0.0
    sum_ = 0.0
    for k in range(len(tried)):
        sum_ += linear[k, 0] * tried[k]
    for i in range(len(Xt)):
        along = 0.0
        for k in range(len(tried)):
            along += tried[k] * Xt[i, k]
        sum_ += R[i, 0] * max(along, 0.0)
    if abs(sum_) > value:
        value = abs(sum_)
        vector[:] = tried
    return value, float(len(Xt))


@compiled
def _longest_edge(corners: NDArray) -> tuple[float, int, int]:
    """Return the largest square of the distance of two of the corners (p, p), and which they are."""
    longest, first, second = -1.0, 0, 0
    for m in range(len(corners)):
        for q in range(m):
            square = 0.0
            for k in range(len(corners)):
                square += (corners[m, k] - corners[q, k]) ** 2
            if square > longest:
                longest, first, second = square, m, q
    return longest, first, second
