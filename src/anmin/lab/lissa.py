"""LiSSA (Agarwal, Bullins & Hazan, arXiv 1602.03943): Newton's method with the inverse as a sampled Neumann series."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from anmin.lab.arguments import check_integers, check_positive
from anmin.lab.finite_sum import FiniteSum, check_objective
from anmin.lab.pytorch import Tensor, torch
from anmin.validation import is_number


def neumann_series(g: Tensor, product: Callable[[Tensor], Tensor], depth: int) -> Tensor:
    """Return u_depth of u_0 = g, u_j = g + u_{j−1} − product(u_{j−1}), which goes to H⁻¹g for 0 ≺ H ⪯ I.

    Parameters
    ----------
    g : tensor of shape (P,)
    product : function
        From v to H·v; for LiSSA with a fresh H of expectation ∇²f at each call. The source prints ∇f there, and uses
        one sample again and again, whose expectation is not that of the series.
    depth : int
        S₂ >= 0.

    Raises
    ------
    ValueError
        If the depth is no such integer.
    """
    check_integers(0, depth=depth)
    u = g
    for _ in range(depth):
        u = g + u - product(u)
    return u


def series_depth(kappa: float) -> int:
    """Return S₂ = ⌈2κ·ln 4κ⌉, enough for κ = 1/λ_min where the Hessian of each row is at most I.

    Raises
    ------
    ValueError
        If κ is less than 1.
    """
    if not is_number(kappa, 1.0):
        raise ValueError(f"kappa must be a number of at least 1; got {kappa!r}.")
    return math.ceil(2 * kappa * math.log(4 * kappa))


class LiSSA(torch.optim.Optimizer):
    """Step by −lr·u, u the mean of ``repeats`` sampled series for (∇²f)⁻¹∇f, each Hessian of rows drawn afresh.

    The series needs 0 ≺ ∇²f_i ⪯ scale·I: rows of norm 1 for logistic regression with scale 1 (¼ + 2·penalty at most).
    Beyond that, as in networks, it may diverge with the depth.

    Parameters
    ----------
    objective : FiniteSum
        Its parameters are those that are trained.
    lr : float, default 1
        1 is Newton's step.
    depth : int, optional
        S₂, by default the number of rows.
    repeats : int, default 1
        S₁ >= 1.
    batch : int, default 1
        Rows of a sampled Hessian.
    scale : float, default 1
        The series is that of ∇²f/scale.
    warm_steps : int, default 0
        That many first steps are by −warm_rate·∇f.
    warm_rate : float, default 1
    seed : int, default 0

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """

    def __init__(
        self,
        objective: FiniteSum,
        lr: float = 1.0,
        *,
        depth: int | None = None,
        repeats: int = 1,
        batch: int = 1,
        scale: float = 1.0,
        warm_steps: int = 0,
        warm_rate: float = 1.0,
        seed: int = 0,
    ) -> None:
        check_objective(objective)
        depth = objective.n_rows if depth is None else depth
        check_positive(lr=lr, scale=scale, warm_rate=warm_rate)
        check_integers(0, depth=depth, warm_steps=warm_steps, seed=seed)
        check_integers(1, repeats=repeats, batch=batch)
        super().__init__(objective.parameters, {"lr": lr})
        self.objective, self.depth, self.repeats, self.batch, self.scale = objective, depth, repeats, batch, scale
        self.warm_rate, self._warm_left = warm_rate, warm_steps
        self._random = torch.Generator().manual_seed(seed)

    def step(self, closure: Any = None) -> Any:
        """Take a step from the gradient of all rows; return the value of ``closure`` before it, if there is one."""
        value = None if closure is None else closure()
        objective = self.objective
        w, g = objective.weights, objective.gradient()
        if self._warm_left:
            self._warm_left -= 1
            objective.move_to(w - self.warm_rate * g)
            return value
        series = [neumann_series(g / self.scale, self._sampled, self.depth) for _ in range(self.repeats)]
        objective.move_to(w - self.param_groups[0]["lr"] * torch.stack(series).mean(0))
        return value

    def _sampled(self, v: Tensor) -> Tensor:
        rows = torch.randint(self.objective.n_rows, (self.batch,), generator=self._random)
        return self.objective.hessian_product(v, rows) / self.scale
