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

    def projection(self, gates: NDArray) -> Projection:
        """Return the projection of as many vectors as there are ``gates`` (G,), each on the cone of its gate."""
        return Projection(self, np.asarray(gates, dtype=np.int64))

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

    def free(self, g: int) -> NDArray:
        """Return an orthonormal basis (p, p − size) of the vectors orthogonal to the active normals."""
        k = self.sizes[g]
        if k == 0:
            return np.eye(self.Q.shape[1])
        return np.linalg.qr(self.Q[g, :, :k], mode="complete")[0][:, k:]
