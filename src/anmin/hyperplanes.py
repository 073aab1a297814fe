"""The cells into which hyperplanes through the origin cut space: a vector inside each of them, in two ways."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from anmin.rows.patterns import first_of_each, n_words, packed

#: Entries of the largest arrays that are made at a time.
BLOCK_ENTRIES = 2**22
_TOL = 1e-9  # sine of the angle below which a vector counts as lying on a hyperplane
_LEAST_MARGIN = 1e-8  # of a linear program's vector, to be told from rounding
_RANK_TOL = 1e-12  # of the largest singular value


def essential(X: NDArray) -> tuple[NDArray, NDArray]:
    """Return unit normals (m, r) of the different hyperplanes in coordinates of full rank, and the way back (p, r).

    The coordinates z of g are those in which the columns of the normals are about orthonormal, so that how X is scaled
    does not matter: g = back @ z. m and r are 0 where X is zero.
    """
    # Scaled by the largest entries first, so that no square over- or underflows.
    columns = np.abs(X).max(axis=0)
    kept = columns > 0
    if not kept.any():
        return np.zeros((0, 0)), np.zeros((X.shape[1], 0))
    rows = X[:, kept] / columns[kept]
    largest = np.abs(rows).max(axis=1)
    rows = _unit(rows[largest > 0] / largest[largest > 0, None])
    rows = _without_parallels(rows)
    U, S, Vt = np.linalg.svd(rows, full_matrices=False)
    r = np.count_nonzero(S / S[0] > _RANK_TOL)
    back = np.zeros((X.shape[1], r))
    back[kept] = Vt[:r].T / S[:r] / columns[kept, None]
    return _without_parallels(_unit(U[:, :r])), back


def inside_cells(normals: NDArray) -> NDArray:
    """Return a vector (P, r) inside each cell of different hyperplanes (m, r) of rank r.

    By the rays of the arrangement, the intersections of r − 1 hyperplanes. The cells are pointed cones, and each is
    spanned by the rays at its boundary, whose sum is inside. The cells at a ray v have the signs of normals·v, and on
    the hyperplanes through v those of the cells of these alone, an arrangement of one dimension less.
    """
    m, r = normals.shape
    if r == 1:
        return np.array([[1.0], [-1.0]])
    if r == 2:
        return _sweep(normals)
    found, seen = _Found(m, r), set()
    # Where just r − 1 hyperplanes meet they are independent, and all of their signs occur.
    local = (np.arange(2 ** (r - 1))[:, None] >> np.arange(r - 1) & 1).astype(bool)
    for rays in _rays(normals):
        heights = rays @ normals.T
        through = np.abs(heights) <= _TOL
        simple = through.sum(axis=1) == r - 1
        step = max(1, BLOCK_ENTRIES // (len(local) * m))
        for chosen in np.array_split(np.flatnonzero(simple), max(1, -(-np.count_nonzero(simple) // step))):
            places = np.nonzero(through[chosen])[1].reshape(-1, 1, r - 1)
            signs = np.repeat(heights[chosen, None] > 0, len(local), axis=1)
            np.put_along_axis(signs, np.repeat(places, len(local), axis=1), local[None], axis=2)
            found.add(signs.reshape(-1, m), np.repeat(rays[chosen], len(local), axis=0))
        for ray, around, above in zip(rays[~simple], through[~simple], heights[~simple] > 0, strict=True):
            # Such a line comes with each r − 1 of its hyperplanes.
            if (key := around.tobytes()) in seen:
                continue
            seen.add(key)
            signs_around = _signs_around(normals[around], ray)
            signs = np.tile(above, (len(signs_around), 1))
            signs[:, around] = signs_around
            found.add(signs, np.tile(ray, (len(signs), 1)))
    return found.inside()


def _signs_around(normals: NDArray, ray: NDArray) -> NDArray[np.bool_]:
    """Return the signs (P, k) of the cells of hyperplanes (k, r) through a ray."""
    # In the space across the ray, of one dimension less; hyperplanes that are parallel there were so before.
    across = _unit(normals @ np.linalg.svd(ray[None])[2][1:].T)
    return inside_cells(across) @ across.T > 0


def _sweep(normals: NDArray) -> NDArray:
    """Return a vector (2m, 2) inside each cell of different lines (m, 2) of the plane: between neighbours by angle."""
    angles = np.sort(np.arctan2(normals[:, 1], normals[:, 0]) % np.pi)
    middle = (angles + np.append(angles[1:], angles[0] + np.pi)) / 2 + np.pi / 2
    inside = np.column_stack([np.cos(middle), np.sin(middle)])
    return np.vstack([inside, -inside])


def _rays(normals: NDArray) -> Iterator[NDArray]:
    """Yield, in blocks, a unit vector (k, r) of the line in which each r − 1 independent hyperplanes meet."""
    m, r = normals.shape
    subsets = combinations(range(m), r - 1)
    while block := list(islice(subsets, max(1, BLOCK_ENTRIES // (m * r)))):
        Q, R = np.linalg.qr(normals[np.array(block)].swapaxes(1, 2), mode="complete")
        independent = np.abs(np.diagonal(R, axis1=1, axis2=2)).min(axis=1) > _TOL
        yield Q[independent, :, -1]


class _Found:
    """Cells found so far, up to their sign: the bits of those positive on the first hyperplane, and sums of rays."""

    def __init__(self, m: int, r: int) -> None:
        self.bits, self.sums = np.zeros((0, n_words(m)), dtype=np.uint64), np.zeros((0, r))
        self.waiting: list[tuple[NDArray, NDArray]] = []
        self.n_waiting = 0

    def add(self, signs: NDArray, rays: NDArray) -> None:
        """Add that each ray (k, r) is at the boundary of the cell of these signs (k, m)."""
        negative = ~signs[:, 0]
        self.waiting.append((packed(signs ^ negative[:, None]), np.where(negative[:, None], -rays, rays)))
        self.n_waiting += len(rays)
        if self.n_waiting > max(BLOCK_ENTRIES // 4, len(self.bits)):
            self._join()

    def inside(self) -> NDArray:
        """Return a vector (P, r) inside each cell, and inside its opposite."""
        self._join()
        return np.vstack([self.sums, -self.sums])

    def _join(self) -> None:
        bits = np.vstack([self.bits, *(bits for bits, _ in self.waiting)])
        rays = np.vstack([self.sums, *(rays for _, rays in self.waiting)])
        first, cell = first_of_each(bits)
        self.bits = bits[first]
        self.sums = np.column_stack([np.bincount(cell, column, minlength=len(first)) for column in rays.T])
        self.waiting, self.n_waiting = [], 0


def inside_cells_by_feasibility(normals: NDArray) -> NDArray:
    """Return a vector (P, r) in each cell of different hyperplanes (m, r), by adding them one at a time.

    A vector inside a cell tells that a part of the cell is on one side of a new hyperplane. Whether a part is on the
    other side, and where, a linear program tells.
    """
    cells = [(np.zeros(0), np.zeros(normals.shape[1]))]
    for k, normal in enumerate(normals):
        divided = []
        for signs, inside in cells:
            for side in (1.0, -1.0):
                extended = np.append(signs, side)
                known = side * (normal @ inside) > _TOL * np.linalg.norm(inside)
                vector = inside if known else _vector_inside(normals[: k + 1] * extended[:, None])
                if vector is not None:
                    divided.append((extended, vector))
        cells = divided
    return np.array([inside for _, inside in cells])


def _vector_inside(normals: NDArray) -> NDArray | None:
    """Return g (r,) with normals·g > 0 on all (k, r), of the box |g| <= 1 that with the largest least; or None."""
    k, r = normals.shape
    found = linprog(
        np.append(np.zeros(r), -1.0),
        A_ub=np.column_stack([-normals, np.ones(k)]),
        b_ub=np.zeros(k),
        bounds=[(-1.0, 1.0)] * r + [(None, 1.0)],
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.x is None:
        raise RuntimeError(f"The linear program of a cell was not solved: {found.message}")
    return found.x[:r] if (normals @ found.x[:r]).min() > _LEAST_MARGIN else None


def _without_parallels(rows: NDArray) -> NDArray:
    """Return one of each unit vectors (n, p) that are equal up to sign, to within ``_TOL``.

    Where such are not seen to be equal, since rounding parts them, that costs time but changes no pattern.
    """
    if len(rows) == 0:
        return rows
    leading = np.abs(rows) > 0.5 / np.sqrt(rows.shape[1])
    signs = np.sign(np.take_along_axis(rows, leading.argmax(axis=1)[:, None], axis=1))
    same = np.round(rows * signs / _TOL).astype(np.int64)
    return rows[np.sort(first_of_each(same.view(np.uint64))[0])]


def _unit(rows: NDArray) -> NDArray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
