"""What the review of second-order methods prints, tried on problems whose answer is known."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from anmin.lab.digits import adahessian
from anmin.lab.finite_sum import FiniteSum
from anmin.lab.lissa import LiSSA, neumann_series, series_depth
from anmin.lab.newton import fractional_direction, guaranteed_drop
from anmin.lab.pytorch import Tensor, torch
from anmin.lab.study import Claim

_SOURCE = '[004] "A Review of Some Second Order Methods"'
_PENALTY = 0.01


def logistic(n: int, d: int, seed: int) -> tuple[FiniteSum, Tensor]:
    """Return logistic regression with penalty 0.01·‖w‖² on made-up rows of norm 1, and its minimum.

    Parameters
    ----------
    n, d : int
        Rows and weights.
    seed : int

    Returns
    -------
    FiniteSum
        In double precision, at w = 0. The Hessian of each row is at most ¼ + 0.02, at least 0.02.
    tensor of shape (d,)
        By Newton's method.
    """
    rng = np.random.default_rng(seed)
    X = torch.as_tensor(rng.normal(size=(n, d)))
    X = X / X.norm(dim=1, keepdim=True)
    chances = torch.sigmoid(6 * X @ torch.as_tensor(rng.normal(size=(d, 1))))
    y = (torch.as_tensor(rng.random((n, 1))) < chances).double()
    model = torch.nn.Linear(d, 1, bias=False).double()
    objective = FiniteSum(model, torch.nn.BCEWithLogitsLoss(), X, y, _PENALTY)
    start = torch.zeros(d, dtype=torch.float64)
    objective.move_to(start)
    for _ in range(12):
        objective.move_to(objective.weights - fractional_direction(objective.gradient(), objective.hessian(), 1.0))
    minimum = objective.weights
    objective.move_to(start)
    return objective, minimum


def lissa_distances(n: int, d: int, n_steps: int, repeats: int, seed: int) -> NDArray:
    """Return ‖w − w*‖ after five warm steps of gradient descent and after each step of LiSSA, shape (n_steps + 1,).

    The depth is that of the rule, for κ = 1/λ_min at the minimum.
    """
    objective, minimum = logistic(n, d, seed)
    objective.move_to(minimum)
    depth = series_depth(1 / float(torch.linalg.eigvalsh(objective.hessian())[0]))
    objective.move_to(torch.zeros_like(minimum))
    optimizer = LiSSA(objective, depth=depth, repeats=repeats, warm_steps=5, warm_rate=5.0, seed=seed)
    for _ in range(5):
        optimizer.step()
    distances = [float((objective.weights - minimum).norm())]
    for _ in range(n_steps):
        optimizer.step()
        distances.append(float((objective.weights - minimum).norm()))
    return np.array(distances)


def formula_claims(distances: dict[int, NDArray]) -> list[Claim]:
    """Return a claim for each statement that numbers decide; ``distances`` by S₁ have a row for each seed."""
    return [_lissa(distances), _one_sample(), _fractional(), _hutchinson(), _one_step()]


def _lissa(distances: dict[int, NDArray]) -> Claim:
    ratios = {repeats: paths[:, 1] / paths[:, 0] for repeats, paths in distances.items()}
    told = "; ".join(
        f"S₁ = {repeats}: {np.median(values):.3f} ({values.min():.3f} to {values.max():.3f})"
        for repeats, values in ratios.items()
    )
    return Claim.judged(
        "LiSSA with S₂ = 2κ·ln 4κ comes to the minimum linearly, nearer by half at least with each step.",
        f"{_SOURCE}, LiSSA",
        f"Logistic regression with rows of norm 1, {len(distances[1])} seeds: distance after the first step over that "
        f"before, median and range: {told}. In all steps together the median of S₁ = 1 falls from "
        f"{np.median(distances[1][:, 0]):.2g} to {np.median(distances[1][:, -1]):.1e} in {distances[1].shape[1] - 1}.",
        bool(np.median(ratios[1]) <= 0.5),
    )


def _one_sample() -> Claim:
    objective, _ = logistic(60, 4, 0)
    g, depth = objective.gradient(), 40
    series = neumann_series(g, objective.hessian_product, depth)
    means = [
        neumann_series(g, partial(objective.hessian_product, rows=row), depth)
        for row in torch.arange(60).reshape(-1, 1)
    ]
    gap = float((torch.stack(means).mean(0) - series).norm() / series.norm())
    return Claim.judged(
        "The series of LiSSA may take the Hessian of one row i in all its terms.",
        f"{_SOURCE}, (6)",
        f"The mean over all i, 40 terms: off by {gap:.0%} of the series of ∇²f. With a fresh row in each term the mean "
        "is that series, since the factors are independent then.",
        gap < 1e-6,
    )


def _fractional() -> Claim:
    alpha, beta = 2 * _PENALTY, 0.25 + 2 * _PENALTY
    ratios = []
    for power, seed in product((0.0, 0.25, 0.5, 0.75, 1.0), range(5)):
        objective, _ = logistic(60, 3, seed)
        objective.move_to(torch.as_tensor(np.random.default_rng(seed).normal(scale=3, size=3)))
        before, g = objective.value(), objective.gradient()
        step = alpha**power / beta * fractional_direction(g, objective.hessian(), power)
        objective.move_to(objective.weights - step)
        ratios.append((before - objective.value()) / guaranteed_drop(g, power, alpha, beta))
    return Claim.judged(
        "A step of αᵏ/β along −H⁻ᵏ·∇f lowers f by αᵏ/(2β^(1+k))·‖∇f‖² at least, for all k from 0 to 1.",
        f"{_SOURCE}, (11)",
        f"k = 0, ¼, ½, ¾, 1 at 5 points of logistic regression: {min(ratios):.2f} to {max(ratios):.0f} times that.",
        min(ratios) >= 1,
    )


def _hutchinson() -> Claim:
    hessian = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
    signs = torch.tensor(list(product((1.0, -1.0), repeat=2)))
    plain, signed = (signs @ hessian).mean(0).tolist(), (signs * (signs @ hessian)).mean(0).tolist()
    return Claim.judged(
        "AdaHessian averages H·z over random signs z for the diagonal of H.",
        f"{_SOURCE}, AdaHessian",
        f"For H = [[2, 1], [1, 3]] the mean of H·z over all z is ({plain[0]:g}, {plain[1]:g}); that of z⊙H·z is "
        f"({signed[0]:g}, {signed[1]:g}), the diagonal, and is meant.",
        plain == [2, 3],
    )


def _one_step() -> Claim:
    w = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))
    optimizer = adahessian()([w], lr=1.0, eps=0.0)
    loss = (torch.tensor([0.1, 1.0, 7.0], dtype=torch.float64) * (w - 5) ** 2).sum()
    (w.grad,) = torch.autograd.grad(loss, w, create_graph=True)
    optimizer.step()
    gap = float((w.detach() - 5).abs().max())
    return Claim.judged(
        "AdaHessian is Newton's method where the Hessian is diagonal.",
        f"{_SOURCE}, AdaHessian",
        f"0.1·x² + y² + 7·z², moved, at the rate 1: {gap:.1e} from its minimum after one step.",
        gap < 1e-12,
    )
