"""The cones of the weights that have given activation patterns, and projections on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FIRST_ROOM = 32


class Cones:
    """The cones K_j = {u : (2·1[i in D_j] − 1) x_iᵀu >= 0 for all rows i}.

    Of the many rows few bound a cone. They are found as they are needed: a projection meets the constraints found so
    far, and is compared with all rows where that is asked for.

    Parameters
    ----------
    X : ndarray of shape (n, p)
    on : ndarray of bool, shape (P, n)
        The patterns D_j.
    """

    def __init__(self, X: NDArray, on: NDArray) -> None:
        lengths = np.linalg.norm(X, axis=1)
        some = lengths > 0
        self.rows = np.ascontiguousarray(X[some] / lengths[some, None])
        self.on = np.ascontiguousarray(on[:, some])
        self.normals = np.zeros((len(on), _FIRST_ROOM, X.shape[1]))
        self.counts = np.zeros(len(on), dtype=np.int64)
        self.centre_of: dict[int, NDArray] = {}

    def projection(self, gates: NDArray) -> Projection:
        """Return the projection of as many vectors as there are ``gates`` (G,), each on the cone of its gate."""
        return Projection(self, np.asarray(gates, dtype=np.int64))

    def centres(self, gates: NDArray) -> NDArray:
        """Return for each gate the unit vector of the largest smallest distance from all boundaries, or zeros, (G, p).

        They are zero where the cone is flat.
        """
        found = np.zeros((len(gates), self.rows.shape[1]))
        for place, j in enumerate(gates):
            if j not in self.centre_of:
                inside = nearest(
                    np.zeros(self.rows.shape[1]), self.rows * self.signs(j)[:, None], np.ones(len(self.rows))
                )
                self.centre_of[j] = found[place] if inside is None else inside / np.linalg.norm(inside)
            found[place] = self.centre_of[j]
        return found

    def signs(self, j: int) -> NDArray:
        """Return 1 for rows on which pattern j is active, −1 for others."""
        return 2.0 * self.on[j] - 1

    def known(self, gates: NDArray) -> tuple[NDArray, NDArray]:
        """Return the normals (G, M, p) of the constraints found so far, and which of them there are (G, M)."""
        most = int(self.counts[gates].max())
        return self.normals[gates, :most], np.arange(most) < self.counts[gates, None]

    def grow(self) -> None:
        """Make room for more constraints."""
        self.normals = np.concatenate([self.normals, np.zeros_like(self.normals)], axis=1)

    def violation(self, U: NDArray, gates: NDArray) -> float:
        """Return the largest −(2·1[i in D_j] − 1) x_iᵀu_g/(‖x_i‖ ‖u_g‖) of vectors U (G, p), 0 if there is none."""
        largest = 0.0
        for u, j in zip(U, gates, strict=True):
            length = np.linalg.norm(u)
            if length > 0 and len(self.rows):
                heights = self.rows @ (u / length)
                largest = max(largest, float(-np.where(self.on[j], heights, -heights).min()))
        return largest


class Projection:
    """Projections on cones, each from the active constraints of the one before.

    Attributes
    ----------
    gates : ndarray of shape (G,)
    sizes : ndarray of shape (G,)
        Numbers of active constraints.
    Q : ndarray of shape (G, p, p)
        The first ``sizes`` columns are an orthonormal basis of the active normals.
    """

    def __init__(self, cones: Cones, gates: NDArray) -> None:
        p, count = cones.rows.shape[1], len(gates)
        self.cones, self.gates = cones, gates
        self.index, self.multipliers = np.zeros((count, p), dtype=np.int64), np.zeros((count, p))
        self.sizes, self.Q = np.zeros(count, dtype=np.int64), np.zeros((count, p, p))

    def __call__(self, A: NDArray, *, exact: bool = False) -> NDArray:
        """Return the projections of A (G, p); if not ``exact``, on the cones of the constraints found so far."""
        from anmin.solvers.cone_kernels import project

        U, cones = np.empty_like(A), self.cones
        while not project(
            cones.rows,
            cones.on,
            cones.normals,
            cones.counts,
            self.gates,
            A,
            self.index,
            self.multipliers,
            self.sizes,
            self.Q,
            U,
            exact,
        ):
            cones.grow()
        return U


def nearest(a: NDArray, normals: NDArray, least: NDArray) -> NDArray | None:
    """Return the point u nearest to a (p,) with normals·u >= least (m,), or None if there is none.

    By the projection of (0, 1) on the cone {(y, t) : normals·y >= t·(least − normals·a)}: u = a + y/t (Lawson & Hanson,
    Solving least squares problems, 1974, section 23.4).
    """
    missing = least - normals @ a
    size = 1.0
    for _ in range(2):  # once more in units of the length found, of which t would be a small part
        system = np.column_stack([normals, -missing / size])
        cones = Cones(system, np.ones((1, len(system)), dtype=bool))
        end = np.zeros((1, len(a) + 1))
        end[0, -1] = 1.0
        found = cones.projection(np.zeros(1, dtype=np.int64))(end, exact=True)[0]
        if found[-1] <= 1e-12:
            return None
        step = found[:-1] / found[-1] * size
        size = float(np.linalg.norm(step))
        if size == 0:
            break
    return a + step
