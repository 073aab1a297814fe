"""An interior-point method for the cone problem, which gets near its solution however small the penalty is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anmin.blas import cholesky, cholesky_solve

_STEPS = 120
_START, _END, _FALL = 5.0, 1e-8, 0.2  # of the barrier, in units of what one group can gain
_CENTRED = 0.1  # of the barrier: what a Newton step gains where the barrier may fall
_TO_EDGE, _SLOPE, _SHORTEST = 0.99, 1e-4, 1e-6
_APART = 1e4  # of multiplier·height from the barrier
_ROUNDING = 1e-14


class _Steps(NamedTuple):
    z: NDArray
    gain: float


@dataclass(frozen=True, eq=False)
class InteriorPoint:
    """Minimise ½ wᵀHw − cᵀw + alpha Σ_g ‖z_g‖ over z = (u, v) with N_g z_g >= 0, w = u − v.

    A barrier −μ Σ log(N z) keeps z inside while μ falls to zero; Newton steps have the primal-dual matrix (Wächter &
    Biegler, On the implementation of an interior-point filter line-search algorithm, 2006), and a line search on the
    objective with its barrier. Narrow cones make the matrices D_u and D_v of the two parts of a pattern nearly singular
    along the cone, so their inverses appear in D_u (D_u + D_v)⁻¹ D_v and the like alone, in coordinates along and
    across the cone, each in units of its own.

    Attributes
    ----------
    H : ndarray of shape (m·p, m·p)
    c : ndarray of shape (m·p,)
    alpha : float
    normals : ndarray of shape (m, M, p)
        The same for u and v.
    known : ndarray of bool, shape (m, M)
        Which of the normals there are.
    """

    H: NDArray
    c: NDArray
    alpha: float
    normals: NDArray
    known: NDArray

    def solved(self, inside: NDArray, curvature: float) -> NDArray:
        """Return z (2m, p) near the solution, from directions strictly ``inside`` the cones (m, p)."""
        m, _, p = self.normals.shape
        largest = float(np.linalg.norm(self.c.reshape(m, p), axis=1).max())
        if not largest > 0:
            return np.zeros((2 * m, p))
        z = np.concatenate([inside, inside]) * (largest / curvature)
        count, gain = 2 * int(self.known.sum()), largest**2 / curvature
        barrier, last = _START * gain / count, _END * gain / count
        heights = self._heights(z)
        multipliers = barrier / heights
        value, slope = self._smooth(z)
        for _ in range(_STEPS):
            step = self._newton_step(z, slope, heights, multipliers, barrier)
            if step is None:
                break
            along = self._along(step.z)
            change = barrier / heights - multipliers - multipliers / heights * along
            share = first = self._share(heights, along)
            before = value - barrier * self._logarithms(heights)
            while True:
                tried = z + share * step.z
                value, slope = self._smooth(tried)
                above = self._heights(tried)
                after = value - barrier * self._logarithms(above)
                if after <= before - _SLOPE * share * step.gain + _ROUNDING * abs(before) or share < _SHORTEST:
                    break
                share /= 2
            z, heights = tried, above
            multipliers = multipliers + self._share(multipliers, change) * change
            multipliers = np.clip(multipliers, barrier / heights / _APART, barrier / heights * _APART)
            if share < _SHORTEST:
                break
            if step.gain < _CENTRED * barrier * count and share == first > 0.5:
                if barrier <= last:
                    break
                barrier *= _FALL
        return z

    def _along(self, z: NDArray) -> NDArray:
        m = len(self.normals)
        return np.concatenate([np.einsum("gmp,gp->gm", self.normals, part) for part in (z[:m], z[m:])])

    def _heights(self, z: NDArray) -> NDArray:
        """Return N z, and one where there is no normal, (2m, M)."""
        return np.where(np.concatenate([self.known, self.known]), self._along(z), 1.0)

    def _logarithms(self, heights: NDArray) -> float:
        return float(np.log(heights).sum())

    @staticmethod
    def _share(values: NDArray, change: NDArray) -> float:
        """Return how much of the change leaves the values positive, at most all of it."""
        falls = change < 0
        return min(1.0, _TO_EDGE * float((-values[falls] / change[falls]).min(initial=np.inf)))

    def _smooth(self, z: NDArray) -> tuple[float, NDArray]:
        """Return the objective and the gradient c − Hw of its quadratic part, with the other sign, (m, p)."""
        m = len(self.normals)
        w = (z[:m] - z[m:]).ravel()
        Hw = self.H @ w
        value = 0.5 * float(w @ Hw) - float(self.c @ w) + self.alpha * float(np.linalg.norm(z, axis=1).sum())
        return value, (self.c - Hw).reshape(m, -1)

    def _newton_step(
        self, z: NDArray, slope: NDArray, heights: NDArray, multipliers: NDArray, barrier: float
    ) -> _Steps | None:
        m, _, p = self.normals.shape
        lengths = np.linalg.norm(z, axis=1)
        units = z / lengths[:, None]
        middle = z[:m] + z[m:]
        long = np.linalg.norm(middle, axis=1)
        # Coordinates: along the cone first, where heights are known without cancellation.
        T = np.linalg.qr(np.concatenate([middle[:, :, None], np.broadcast_to(np.eye(p), (m, p, p))], axis=2))[0]
        T[:, :, 0] = middle / long[:, None]
        N = self.normals @ T
        N[:, :, 0] = np.where(self.known, (heights[:m] + heights[m:]) / long[:, None], 0.0)
        D = []
        for part in (slice(None, m), slice(m, None)):
            across = T - units[part, :, None] * np.einsum("gp,gpq->gq", units[part], T)[:, None, :]
            rows = N * np.sqrt(multipliers[part] / heights[part])[:, :, None]
            curved = (self.alpha / lengths[part])[:, None, None] * (across.transpose(0, 2, 1) @ across)
            D.append(rows.transpose(0, 2, 1) @ rows + curved)
        size = np.sqrt(np.einsum("gpp->gp", D[0] + D[1]))
        if not (size > 0).all():
            return None
        Du, Dv = (part / size[:, :, None] / size[:, None, :] for part in D)
        try:
            inverse = np.linalg.inv(Du + Dv)
        except np.linalg.LinAlgError:
            return None
        scaled = T / size[:, None, :]
        K = np.einsum("ajb,jbc->ajc", self.H.reshape(m * p, m, p), scaled).reshape(m, p, m * p)
        K = (scaled.transpose(0, 2, 1) @ K).reshape(m * p, m * p)
        parallel = Du @ inverse @ Dv
        at = np.arange(m)
        K.reshape(m, p, m, p)[at, :, at] += (parallel + parallel.transpose(0, 2, 1)) / 2
        diagonal = np.diagonal(K).copy()
        if not (np.isfinite(diagonal).all() and diagonal.min() > 0):
            return None
        root = np.sqrt(diagonal)
        K /= root[:, None] * root
        K[np.diag_indices_from(K)] += _ROUNDING
        U = cholesky(K)
        if U is None:
            return None
        push = np.where(np.concatenate([self.known, self.known]), barrier / heights, 0.0)
        inward = [np.einsum("gmq,gm->gq", N, part) / size for part in (push[:m], push[m:])]
        pull = [self.alpha * np.einsum("gpq,gp->gq", scaled, part) for part in (units[:m], units[m:])]
        both = inward[0] + inward[1] - pull[0] - pull[1]
        right_u = np.einsum("gpq,gp->gq", scaled, slope) + inward[0] - pull[0]
        right = (right_u - _times(Du, _times(inverse, both))).ravel()
        apart = (cholesky_solve(U, right / root) / root).reshape(m, p)
        v = _times(inverse, both - _times(Du, apart))
        gain = float(np.vdot(right_u, apart + v) + np.vdot(both - right_u, v))
        return _Steps(np.concatenate([_times(scaled, apart + v), _times(scaled, v)]), gain)


def _times(matrices: NDArray, vectors: NDArray) -> NDArray:
    return np.einsum("gpq,gq->gp", matrices, vectors)
