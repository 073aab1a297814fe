"""Plane shapes as closed polygons, and the exact signed distance to them.

A shape is a list of rings in the unit square, x to the right and y upwards; a point is inside where an odd number of
rings surround it, so that a ring within another is a hole.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Ring = NDArray
Shape = list[Ring]

# Knots of the cat's outline, anticlockwise from the middle of its base, on a 100 × 100 sheet. A knot written twice is
# a corner.
_CAT = (
    (40, 10), (56, 10), (66, 11), (75, 10), (86, 14), (92, 24), (92, 36), (87, 45), (84, 53), (88, 58), (85, 63),
    (79, 60), (77, 52), (81, 41), (85, 32), (82, 23), (76, 20), (76, 20), (75, 33), (68, 45), (60, 53), (57, 59),
    (58, 67), (59, 75), (57, 90), (57, 90), (48, 81), (39, 82), (39, 82), (30, 91), (30, 91), (27, 76), (25, 68),
    (28, 60), (33, 55), (31, 45), (29, 32), (27, 20), (22, 13), (26, 10),
)  # fmt: skip


def signed_distance(points: NDArray, shape: Shape) -> NDArray:
    """Return the exact Euclidean distance of points (N, 2) to the outline: negative inside, positive outside."""
    starts = np.concatenate(shape)
    ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in shape])
    squares = np.full(len(points), np.inf)
    inside = np.zeros(len(points), dtype=bool)
    x, y = points.T
    for start, end in zip(starts, ends, strict=True):
        edge = end - start
        length = edge @ edge
        offset = points - start
        # The nearest point of the edge, at t = 0 to 1 along it.
        t = np.clip(offset @ edge / length, 0.0, 1.0) if length > 0 else np.zeros(len(points))
        squares = np.minimum(squares, np.sum((offset - t[:, None] * edge) ** 2, axis=1))
        # A ray to the right crosses this edge; half-open in y, so that a vertex counts once.
        between = (start[1] > y) != (end[1] > y)
        if between.any():
            crossing = start[0] + (y[between] - start[1]) * (edge[0] / edge[1])
            inside[between] ^= x[between] < crossing
    return np.where(inside, -1.0, 1.0) * np.sqrt(squares)


def cat() -> Shape:
    """Return the outline of a sitting cat: ears, a back, and a tail that comes round."""
    return [_smooth(np.array(_CAT) / 100)]


def crescent() -> Shape:
    """Return a moon: a disc without a smaller one that overlaps its edge."""
    # Both circles pass through the horns, at 55 and -55 degrees of the outer one, seen from (0.43, 0.5).
    horn = np.deg2rad(48)
    outer = np.linspace(horn, 2 * np.pi - horn, 121)
    arc = np.column_stack([np.cos(outer), np.sin(outer)])
    centre, tip = 0.42, arc[0]
    radius = np.hypot(tip[0] - centre, tip[1])
    angle = np.arctan2(tip[1], tip[0] - centre)
    inner = np.linspace(2 * np.pi - angle, angle, 91)[1:-1]
    bite = np.column_stack([centre + radius * np.cos(inner), radius * np.sin(inner)])
    return [np.array([0.55, 0.5]) + 0.38 * np.concatenate([arc, bite])]


def gear() -> Shape:
    """Return a wheel of eight teeth with a round hole."""
    angles, radii = [], []
    for tooth in range(8):
        middle = tooth * np.pi / 4
        angles += [middle - 0.27, middle - 0.17, middle + 0.17, middle + 0.27]
        radii += [0.29, 0.41, 0.41, 0.29]
    hole = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    return [_polar(np.array(radii), np.array(angles)), _polar(np.full(72, 0.13), hole)]


def star() -> Shape:
    """Return a star of five points."""
    angles = np.pi / 2 + np.arange(10) * np.pi / 5
    return [_polar(np.where(np.arange(10) % 2, 0.17, 0.43), angles)]


SHAPES: dict[str, Callable[[], Shape]] = {"cat": cat, "crescent": crescent, "gear": gear, "star": star}


def _polar(radii: NDArray, angles: NDArray) -> Ring:
    return 0.5 + radii[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])


def _smooth(knots: NDArray, steps: int = 6) -> Ring:
    """Draw a closed Catmull–Rom curve through the knots; between a knot and its copy nothing is drawn."""
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for i in range(len(knots)):
        p0, p1, p2, p3 = (knots[(i + k) % len(knots)] for k in (-1, 0, 1, 2))
        if np.array_equal(p1, p2):
            continue
        pieces.append(
            0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
        )
    return np.concatenate(pieces)
