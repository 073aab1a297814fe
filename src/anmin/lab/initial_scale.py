"""Descent from initial weights of a given size on points of a line, and what its path shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from anmin.lab.descent import Point, activation_points, cosines, descend, early_directions

#: Four points of a line that is positive on them; the network has one input and a bias.
POINTS = np.array([-1.0, -0.75, 0.75, 1.0])
TARGETS = 0.8 * POINTS + 0.8125
ROWS = np.column_stack([POINTS, np.ones(len(POINTS))])
_WIDEST = 3.0


def start(rng: np.random.Generator, n_neurons: int, scale: float, mirrored: bool = False) -> tuple[NDArray, NDArray]:
    """Return weights W (2, m) and a (m,) with ‖w_j‖ = |a_j| = scale and activation points uniform on [−3, 3].

    Sides and signs of the output weights are random. ``mirrored`` gives each neuron a twin with the opposite output
    weight, so that the network's output is 0 at first, whatever the scale.

    Raises
    ------
    ValueError
        If ``scale`` is not positive, or the number of neurons is odd where they are mirrored.
    """
    if not scale > 0 or (mirrored and n_neurons % 2):
        raise ValueError(
            f"scale must be positive, and mirrored neurons even in number; got {scale!r} and {n_neurons} neurons."
        )
    count = n_neurons // 2 if mirrored else n_neurons
    at, side = rng.uniform(-_WIDEST, _WIDEST, count), rng.choice([-1.0, 1.0], count)
    W = scale * np.array([side, -side * at]) / np.sqrt(1 + at**2)
    a = scale * rng.choice([-1.0, 1.0], count)
    return (np.hstack([W, W]), np.concatenate([a, -a])) if mirrored else (W, a)


@dataclass(frozen=True)
class Path:
    """A descent: the loss after each step, and the points that were kept, by step."""

    losses: NDArray
    kept: dict[int, Point]
    rate: float

    @property
    def first(self) -> Point:
        """The start."""
        return self.kept[0]

    @property
    def last(self) -> Point:
        """The end."""
        return self.kept[len(self.losses) - 1]

    def step_below(self, share: float) -> int:
        """Return the first step at which the loss is less than this share of the first loss; the last if none is."""
        below = self.losses < share * self.losses[0]
        return int(np.argmax(below)) if below.any() else len(self.losses) - 1

    def nearest(self, step: int) -> Point:
        """Return the kept point of the step nearest to this one."""
        return self.kept[min(self.kept, key=lambda kept: abs(kept - step))]


def follow(W: NDArray, a: NDArray, rate: float, n_steps: int, keep: Sequence[int] = ()) -> Path:
    """Descend on the four points and keep the points at the start, at the end and at steps ``keep``."""
    losses, kept, wanted = [], {}, {0, n_steps, *keep}
    for step, point in enumerate(descend(ROWS, TARGETS, W, a, rate, n_steps)):
        losses.append(float(point.loss))
        if step in wanted:
            kept[step] = point
    return Path(np.array(losses), kept, rate)


def share_changed(before: Point, after: Point) -> float:
    """Return the share of neurons that are active on other points than before."""
    return float(((before.W.T @ ROWS.T > 0) != (after.W.T @ ROWS.T > 0)).any(axis=1).mean())


def n_patterns_used(point: Point) -> int:
    """Return how many different patterns the neurons have."""
    return len(np.unique(ROWS @ point.W > 0, axis=1).T)


def growing(point: Point) -> NDArray[np.bool_]:
    """Return which neurons are drawn to a direction: active on some point, with a positive output weight.

    All targets are positive; so a neuron with a negative output weight is only driven away until it is off.
    """
    return (ROWS @ point.W > 0).any(axis=0) & (point.a > 0)


def alignment(point: Point) -> NDArray:
    """Return the cosines between growing neurons and the early directions of their own patterns."""
    chosen = growing(point)
    W, a = point.W[:, chosen], point.a[chosen]
    return cosines(W, early_directions(ROWS, TARGETS, W, a))


def predicted_point() -> float:
    """Return the activation point −Σ y/Σ yx of neurons that are drawn by all points."""
    return float(-TARGETS.sum() / (TARGETS @ POINTS))


def gathered(point: Point, within: float = 0.05) -> NDArray[np.bool_]:
    """Return which growing neurons are active to the right, from within this distance of the predicted point."""
    near = np.abs(activation_points(point.W) - predicted_point()) < within
    return growing(point) & (point.W[0] > 0) & near


def invariant_drift(W: NDArray, a: NDArray, rate: float, time: float) -> float:
    """Return the largest change of ‖w_j‖² − a_j² in ``time`` = rate · steps, relative to the largest final ‖w_j‖².

    Along the gradient flow of the loss without penalty it is zero: w_jᵀ ∂L/∂w_j = a_j ∂L/∂a_j.
    """
    path = follow(W, a, rate, round(time / rate))
    before, after = (np.sum(p.W**2, axis=0) - p.a**2 for p in (path.first, path.last))
    return float(np.abs(after - before).max() / np.sum(path.last.W**2, axis=0).max())


def least_norm_fit(n_directions: int = 4000) -> tuple[float, NDArray]:
    """Return the least Σ_k |c_k| with Σ_k c_k max(x_iᵀ v_k, 0) = y_i at the four points, and neurons c_k v_k (2, k).

    The unit vectors v_k are evenly spread, and that of the line itself is one more. It is what the convex program
    of all patterns comes to as its penalty goes to zero, up to the spacing of directions, as a linear program.
    """
    angles = np.linspace(0, 2 * np.pi, n_directions, endpoint=False)
    line = np.linalg.lstsq(ROWS, TARGETS)[0]
    V = np.column_stack([[np.cos(angles), np.sin(angles)], line / np.linalg.norm(line)])
    H = np.maximum(ROWS @ V, 0)
    found = linprog(np.ones(2 * H.shape[1]), A_eq=np.hstack([H, -H]), b_eq=TARGETS)
    c = found.x[: H.shape[1]] - found.x[H.shape[1] :]
    return float(found.fun), (V * c)[:, np.abs(c) > 1e-9]
