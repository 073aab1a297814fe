"""SQGN, a stochastic quasi-Gauss–Newton method: variance-reduced gradients, L-BFGS pairs of Gauss–Newton products."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from anmin.lab.arguments import check_integers, check_not_negative, check_positive
from anmin.lab.finite_sum import FiniteSum, check_objective
from anmin.lab.pytorch import Tensor, torch


def two_loop(g: Tensor, pairs: Sequence[tuple[Tensor, Tensor]], start_scale: float) -> Tensor:
    """Return H·g with the inverse BFGS matrix H of pairs (s, y), so that H·y = s for the last of them.

    Parameters
    ----------
    g : tensor of shape (P,)
    pairs : sequence of (s, y), oldest first
        Tensors of shape (P,) with sᵀy > 0.
    start_scale : float
        H before any pair is this times I; with pairs it is the mean of sᵀy/yᵀy over them.

    Raises
    ------
    ValueError
        If sᵀy is not positive for a pair.
    """
    curvatures = [float(s @ y) for s, y in pairs]
    if not all(value > 0 for value in curvatures):
        raise ValueError(f"Pairs must have sᵀy > 0; the least is {min(curvatures):.3g}.")
    coefficients: list[Tensor] = []
    q = g
    for (s, y), curvature in zip(reversed(pairs), reversed(curvatures), strict=True):
        coefficients.append(s @ q / curvature)
        q = q - coefficients[-1] * y
    scales = [curvature / float(y @ y) for (_, y), curvature in zip(pairs, curvatures, strict=True)]
    r = q * (sum(scales) / len(scales) if scales else start_scale)
    for (s, y), curvature, coefficient in zip(pairs, curvatures, reversed(coefficients), strict=True):
        r = r + s * (coefficient - y @ r / curvature)
    return r


def variance_reduced(objective: FiniteSum, rows: Tensor, anchor: Tensor, anchor_gradient: Tensor) -> Tensor:
    """Return ∇f_B(w) − ∇f_B(w̃) + ∇f(w̃), of expectation ∇f(w) and of small variance for w near w̃ (SVRG).

    Parameters
    ----------
    objective : FiniteSum
        At w, where it is left.
    rows : tensor of integers
        B.
    anchor, anchor_gradient : tensors of shape (P,)
        w̃ and ∇f(w̃).
    """
    w, here = objective.weights, objective.gradient(rows)
    objective.move_to(anchor)
    there = objective.gradient(rows)
    objective.move_to(w)
    return here - there + anchor_gradient


class SQGN(torch.optim.Optimizer):
    """Step by s = −lr·H·g, g variance-reduced of a batch, H of the last pairs (s, (Jᵀ·H_ℓ·J + ρI)·s).

    Pairs are made at the new weights on a batch drawn for them alone. Their curvature is never negative, as J is of the
    outputs and the loss is convex in these; ρ keeps it from 0.

    Parameters
    ----------
    objective : FiniteSum
        Its parameters are those that are trained.
    lr : float, default 0.1
    batch, hessian_batch : int, default 32
        Rows of a gradient and of a pair; all rows where there are not so many.
    refresh : int, default 10
        Steps from one w̃ to the next.
    history : int, default 20
        Pairs that are kept.
    damping : float, default 0.1
        ρ >= 0, in the curvature alone.
    start_scale : float, default 1e-4
        H of the first step is this times I: small, since nothing is known of the curvature yet.
    seed : int, default 0
        Of the batches.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """

    def __init__(
        self,
        objective: FiniteSum,
        lr: float = 0.1,
        *,
        batch: int = 32,
        hessian_batch: int = 32,
        refresh: int = 10,
        history: int = 20,
        damping: float = 0.1,
        start_scale: float = 1e-4,
        seed: int = 0,
    ) -> None:
        check_objective(objective)
        check_positive(lr=lr, start_scale=start_scale)
        check_integers(1, batch=batch, hessian_batch=hessian_batch, refresh=refresh, history=history)
        check_integers(0, seed=seed)
        check_not_negative(damping=damping)
        super().__init__(objective.parameters, {"lr": lr})
        self.objective, self.batch, self.hessian_batch = objective, batch, hessian_batch
        self.refresh, self.damping, self.start_scale = refresh, damping, start_scale
        self.pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=history)
        self._random = torch.Generator().manual_seed(seed)
        self._order: Iterator[Tensor] = iter(())
        self._steps = 0
        self._anchor = self._anchor_gradient = objective.weights

    def step(self, closure: Any = None) -> Any:
        """Take a step with the next batch; return the value of ``closure`` before it, if there is one."""
        value = None if closure is None else closure()
        objective = self.objective
        if self._steps % self.refresh == 0:
            self._anchor, self._anchor_gradient = objective.weights, objective.gradient()
        self._steps += 1
        g = variance_reduced(objective, self._next_rows(), self._anchor, self._anchor_gradient)
        s = -self.param_groups[0]["lr"] * two_loop(g, self.pairs, self.start_scale)
        objective.move_to(objective.weights + s)
        rows = self._drawn(self.hessian_batch)
        y = objective.gauss_newton_product(s, rows) + self.damping * s
        if float(s @ y) > 0:  # not so at a minimum, where s = 0, and where rounding is all there is
            self.pairs.append((s, y))
        return value

    def _next_rows(self) -> Tensor:
        """Return the next batch of a pass over all rows in random order; a remainder is left out."""
        rows = next(self._order, None)
        if rows is None:
            size = min(self.batch, self.objective.n_rows)
            order = self._drawn(self.objective.n_rows)
            self._order = iter(order[: len(order) // size * size].split(size))
            rows = next(self._order)
        return rows

    def _drawn(self, size: int) -> Tensor:
        return torch.randperm(self.objective.n_rows, generator=self._random)[:size]
