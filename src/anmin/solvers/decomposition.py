"""Splitting the weights of a gated program into two parts in the cone of their pattern."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from anmin.solvers.cones import Cones, nearest

_SHARE_TOL = 1e-5  # of where the sum of the lengths is least, which is flat there


def split(w: NDArray, normals: NDArray) -> tuple[NDArray, NDArray]:
    """Return u and v (p,) with u − v = w and normals·u >= 0, normals·v >= 0, of least ‖u‖ + ‖v‖.

    Where no such u and v exist, which takes a cone {z : normals·z >= 0} that is flat, they are the projections of w and
    −w on it.

    For the best u it holds that it is the projection of s·w on {u : normals·u >= max(normals·w, 0)}, with s = ‖u‖ over
    ‖u‖ + ‖v‖: a root of one variable.
    """
    heights = normals @ w
    least = np.maximum(heights, 0.0)

    def above(share: float) -> float:
        u = nearest(share * w, normals, least)
        if u is None:
            return np.nan
        lengths = np.linalg.norm(u), np.linalg.norm(u - w)
        return float(lengths[0] / (lengths[0] + lengths[1]) - share)

    cones = Cones(normals, np.ones((1, len(normals)), dtype=bool))
    project = cones.projection(np.zeros(2, dtype=np.int64))
    ends = above(0.0), above(1.0)
    share = 0.0 if ends[0] <= 0 else 1.0 if ends[1] >= 0 else float(brentq(above, 0.0, 1.0, xtol=_SHARE_TOL))
    u = nearest(share * w, normals, least) if np.isfinite(ends).all() else None
    parts = np.stack([w, -w] if u is None else [u, u - w])  # the latter are inside but for rounding
    u, v = project(parts, exact=True)
    return u, v
