"""Assignment as a layer: the exact assignment, projections, finite differences, and features that learn through it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

torch = pytest.importorskip("torch", reason="the layer is made of PyTorch operations")

from anmin.lab.matching import (  # noqa: E402
    intersection_over_union,
    matching,
    matching_cost,
    onto_assignments,
)
from anmin.lab.moving_shapes import Tracker, clip, score, train  # noqa: E402

COST = torch.tensor([[4.0, 1, 3], [2, 0, 5], [3, 2, 2]], dtype=torch.float64)


def test_a_cost_by_hand():
    last = matching(COST, steps=100, projections=100, last=True)
    torch.testing.assert_close((COST * last).sum(), torch.tensor(5.0, dtype=torch.float64), rtol=1e-5, atol=0)
    assert float((COST * matching(COST, steps=100, projections=100)).sum()) == pytest.approx(5.09, abs=5e-3)
    assert float((COST * matching(COST, steps=10, projections=5, last=True)).sum()) == pytest.approx(5.035, abs=1e-3)


def test_random_costs_give_the_assignment_of_the_hungarian_method():
    costs = torch.rand(50, 3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = matching(costs, steps=100, projections=50, rate=0.5).argmax(dim=2).numpy()
    for cost, columns in zip(costs.numpy(), found, strict=True):
        assert (columns == linear_sum_assignment(cost)[1]).all()


def test_the_projection_is_the_nearest_point():
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    nearest = onto_assignments(X, 5000)
    assert (nearest.sum(dim=1) - 1).abs().max() < 1e-12
    assert nearest.sum(dim=0).max() < 1 + 1e-12
    assert nearest.min() >= 0
    # ⟨X − P, Z − P⟩ <= 0 for every assignment Z, which are the corners of the set.
    for _ in range(50):
        corner = torch.zeros_like(X)
        corner[torch.arange(3), torch.randperm(5, generator=generator)[:3]] = 1
        assert ((X - nearest) * (corner - nearest)).sum() < 1e-12


def test_derivatives_are_those_of_finite_differences():
    generator = torch.Generator().manual_seed(2)
    cost = torch.rand(2, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(2, 3, 4, generator=generator, dtype=torch.float64)
    torch.autograd.gradcheck(
        lambda C: (weights * matching(C, steps=5, projections=4)).sum(), (cost,), eps=1e-6, atol=1e-6
    )


def test_costs_and_overlaps_by_hand():
    one = torch.zeros(2, 4, 4)
    one[0, :2], one[1, 0, 0] = 1, 1
    other = torch.zeros(1, 4, 4)
    other[0, 1:3] = 1
    torch.testing.assert_close(intersection_over_union(one, other), torch.tensor([[1 / 3], [0.0]]))
    cost = matching_cost(torch.eye(2), torch.tensor([[2.0, 0.0]]), torch.tensor([[0.5], [0.0]]), weight=0.3)
    torch.testing.assert_close(cost, torch.tensor([[-0.7 - 0.15], [0.0]]))


def test_bad_input():
    for call, message in (
        (lambda: matching(torch.ones(3, 2)), "at most as many rows as columns"),
        (lambda: matching(torch.full((1, 2), float("nan"))), "finite"),
        (lambda: matching(COST, steps=0), "steps must be"),
        (lambda: matching(COST, projections=1.5), "projections must be"),
        (lambda: matching(COST, rate=0.0), "rate must be"),
        (lambda: matching_cost(COST, COST, COST, weight=2), "weight must be"),
        (lambda: clip(np.random.default_rng(0), n_objects=0), "needs frames and objects"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_clips_know_which_proposal_is_of_which_object():
    made = clip(np.random.default_rng(0))
    for t in range(len(made.frames)):
        own = intersection_over_union(*(torch.from_numpy(a[t]) for a in (made.masks, made.proposals)))
        chosen = own[torch.arange(3), torch.from_numpy(made.which[t])]
        assert chosen.min() > 0.6
        assert chosen.mean() > 0.8


def test_features_learn_through_the_assignment():
    rng = np.random.default_rng(0)
    new = [clip(rng) for _ in range(6)]
    torch.manual_seed(0)
    tracker = Tracker()
    before = score(tracker, new)
    losses = train(tracker, rng, steps=12, rate=5e-3, batch=4)
    after = score(tracker, new)
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    assert after.accuracy > before.accuracy
    assert after.overlap > before.overlap
