"""Assignment as a layer: projected gradient steps with Dykstra's projections, differentiable throughout (DMM-Net)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from anmin.validation import is_integer


def matching(cost: Tensor, *, steps: int = 400, projections: int = 50, rate: float = 0.1, last: bool = False) -> Tensor:
    """Return a relaxed assignment X (…, n, m) of least ⟨C, X⟩ with X1 = 1, Xᵀ1 <= 1, X >= 0.

    X ← P(X − rate·C) with the projection P by Dykstra's method, from the uniform X on. The derivative by C is that of
    the steps.

    Parameters
    ----------
    cost : Tensor of shape (…, n, m), n <= m
        C: of giving column j to row i. With more rows than columns not all can have one.
    steps, projections : int
        Gradient steps, and rounds of projections in each; 10 and 5 are enough to train with.
    rate : float > 0
    last : bool
        Return the last X rather than the mean of all after the start, which is smoother to train through.

    Raises
    ------
    ValueError
        If shapes or settings are not as described, or a cost is not finite.
    """
    if cost.ndim < 2 or cost.shape[-2] > cost.shape[-1] or cost.numel() == 0:
        raise ValueError(f"cost must have at most as many rows as columns; got shape {tuple(cost.shape)}.")
    if not bool(torch.isfinite(cost).all()):
        raise ValueError("cost must be finite.")
    for name, value in (("steps", steps), ("projections", projections)):
        if not is_integer(value, 1):
            raise ValueError(f"{name} must be an integer of at least 1; got {value!r}.")
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"rate must be a finite number above 0; got {rate!r}.")
    X = torch.full_like(cost, 1 / cost.shape[-1])
    total = torch.zeros_like(cost)
    for _ in range(steps):
        X = onto_assignments(X - rate * cost, projections)
        total = total + X
    return X if last else total / steps


def onto_assignments(X: Tensor, rounds: int) -> Tensor:
    """Return about the nearest point to X (…, n, m) with X1 = 1, Xᵀ1 <= 1 and X >= 0, by rounds of Dykstra's method.

    Rows lie in an affine set, which needs no correction; half-spaces and the positive cone have one each.
    """
    n, m = X.shape[-2:]
    by_column = torch.zeros_like(X)
    by_sign = torch.zeros_like(X)
    for _ in range(rounds):
        X = X - (X.sum(dim=-1, keepdim=True) - 1) / m
        corrected = X + by_column
        Y = corrected - torch.relu(corrected.sum(dim=-2, keepdim=True) - 1) / n
        by_column = corrected - Y
        corrected = Y + by_sign
        X = torch.relu(corrected)
        by_sign = corrected - X
    return X


def matching_cost(templates: Tensor, candidates: Tensor, overlap: Tensor, weight: float = 0.3) -> Tensor:
    """Return C_ij = (weight − 1)·cos(f_i, g_j) − weight·IoU_ij (…, n, m).

    Parameters
    ----------
    templates, candidates : Tensors of shape (…, n, k) and (…, m, k)
        Features f and g.
    overlap : Tensor of shape (…, n, m)
        Intersection over union of the masks.
    weight : float in [0, 1]
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"weight must be between 0 and 1; got {weight!r}.")
    cosine = normalize(templates, dim=-1) @ normalize(candidates, dim=-1).transpose(-1, -2)
    return (weight - 1) * cosine - weight * overlap


def intersection_over_union(one: Tensor, other: Tensor) -> Tensor:
    """Return IoU (…, n, m) of masks from 0 to 1 (…, n, H, W) and (…, m, H, W); 0 where both are empty."""
    a, b = one.flatten(-2), other.flatten(-2)
    common = a @ b.transpose(-1, -2)
    union = a.sum(dim=-1)[..., :, None] + b.sum(dim=-1)[..., None, :] - common
    return common / union.clamp_min(1e-9)
