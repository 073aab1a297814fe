"""Second-order methods: values worked out by hand, curvlinops, and problems whose minimum is known."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import product

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the second-order methods are PyTorch's optimisers")

from anmin.lab.finite_sum import FiniteSum  # noqa: E402
from anmin.lab.lissa import LiSSA, neumann_series, series_depth  # noqa: E402
from anmin.lab.newton import fractional_direction, guaranteed_drop  # noqa: E402
from anmin.lab.sqgn import SQGN, two_loop, variance_reduced  # noqa: E402

DOUBLE = torch.float64
CURVLINOPS = pytest.mark.skipif(find_spec("curvlinops") is None, reason="curvlinops is not installed")


def draw(*shape, seed=0):
    return torch.as_tensor(np.random.default_rng(seed).normal(size=shape))


def network(loss=None, n_rows=12):
    """Return a smooth network of 3 inputs, 4 neurons and 2 outputs on made-up rows."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    loss = torch.nn.MSELoss() if loss is None else loss
    y = draw(n_rows, 2, seed=2) if isinstance(loss, torch.nn.MSELoss) else torch.arange(n_rows) % 2
    objective = FiniteSum(model, loss, draw(n_rows, 3, seed=1), y, 0.05)
    objective.move_to(0.7 * draw(len(objective.weights), seed=3))
    return objective


def linear(n_rows=30, d=4, noise=0.3, seed=0):
    """Return linear least squares and its solution; f = mean squared error."""
    X, true = draw(n_rows, d, seed=seed), draw(d, 1, seed=seed + 1)
    y = X @ true + noise * draw(n_rows, 1, seed=seed + 2)
    objective = FiniteSum(torch.nn.Linear(d, 1, bias=False).double(), torch.nn.MSELoss(), X, y)
    objective.move_to(torch.zeros(d, dtype=DOUBLE))
    return objective, torch.linalg.lstsq(X, y).solution[:, 0]


def logistic(n=2000, d=20, penalty=0.01, seed=0):
    """Return logistic regression with rows of norm 1, where each Hessian is at most ¼ + 2·penalty, and its minimum."""
    X = draw(n, d, seed=seed)
    X = X / X.norm(dim=1, keepdim=True)
    chance = torch.sigmoid(6 * X @ draw(d, 1, seed=seed + 50))
    y = (torch.as_tensor(np.random.default_rng(seed + 99).random((n, 1))) < chance).double()
    model = torch.nn.Linear(d, 1, bias=False).double()
    objective = FiniteSum(model, torch.nn.BCEWithLogitsLoss(), X, y, penalty)
    objective.move_to(torch.zeros(d, dtype=DOUBLE))
    for _ in range(12):
        objective.move_to(objective.weights - torch.linalg.solve(_dense(objective), objective.gradient()))
    minimum = objective.weights
    assert objective.gradient().norm() < 1e-14
    return objective, minimum


def _dense(objective):
    return torch.stack([objective.hessian_product(unit) for unit in torch.eye(len(objective.weights), dtype=DOUBLE)])


@CURVLINOPS
@pytest.mark.parametrize("loss", [torch.nn.MSELoss(), torch.nn.CrossEntropyLoss()], ids=["square", "entropy"])
def test_products_are_those_of_curvlinops(loss):
    objective = network(loss)
    v = draw(len(objective.weights), seed=4)
    torch.testing.assert_close(objective.hessian_product(v), objective.hessian() @ v, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(objective.gauss_newton_product(v), objective.gauss_newton() @ v, rtol=1e-11, atol=1e-12)


def test_derivatives_are_those_of_finite_differences():
    objective = network()
    w, v, rows = objective.weights, draw(len(objective.weights), seed=4), torch.tensor([0, 3, 5])
    for chosen in (None, rows):
        objective.move_to(w)
        g, product_ = objective.gradient(chosen), objective.hessian_product(v, chosen)
        ends = []
        for sign in (1, -1):
            objective.move_to(w + sign * 1e-5 * v)
            ends.append((objective.value(chosen), objective.gradient(chosen)))
        assert (ends[0][0] - ends[1][0]) / 2e-5 == pytest.approx(float(g @ v), rel=1e-7)
        torch.testing.assert_close((ends[0][1] - ends[1][1]) / 2e-5, product_, rtol=1e-6, atol=1e-8)


def test_without_residual_gauss_newton_is_the_hessian():
    objective = network()
    objective.y = objective.model(objective.X).detach()
    v = draw(len(objective.weights), seed=4)
    torch.testing.assert_close(objective.gauss_newton_product(v), objective.hessian_product(v), rtol=1e-10, atol=1e-12)
    objective.y = objective.y + 1
    assert (objective.gauss_newton_product(v) - objective.hessian_product(v)).norm() > 0.1


@CURVLINOPS
def test_one_gauss_newton_step_solves_linear_least_squares():
    objective, solution = linear()
    objective.move_to(draw(4, seed=9))
    step = torch.linalg.solve(objective.gauss_newton(), objective.gradient())
    torch.testing.assert_close(objective.weights - step, solution, rtol=1e-10, atol=1e-12)


# Newton, and fractions of it


def test_newton_needs_one_step_where_gradient_descent_needs_many():
    """x² + y²/5 from (1, 1)."""
    g, hessian = torch.tensor([2.0, 0.4], dtype=DOUBLE), torch.diag(torch.tensor([2.0, 0.4], dtype=DOUBLE))
    torch.testing.assert_close(fractional_direction(g, hessian, 1.0), torch.ones(2, dtype=DOUBLE))
    torch.testing.assert_close(fractional_direction(g, hessian, 0.0), g)
    root = fractional_direction(g, hessian, 0.5)
    torch.testing.assert_close(root, g**0.5)


@pytest.mark.parametrize("power", [0.0, 0.3, 0.5, 1.0])
def test_fractional_steps_drop_as_promised(power):
    """A step of αᵏ/β, of logistic regression, with bounds that hold everywhere; on a quadratic the bound is met."""
    objective, _ = logistic(60, 3, 0.02)
    alpha, beta = 0.04, 0.29
    for seed in range(3):
        objective.move_to(3 * draw(3, seed=seed))
        before, g = objective.value(), objective.gradient()
        direction = fractional_direction(g, _dense(objective), power)
        objective.move_to(objective.weights - alpha**power / beta * direction)
        assert before - objective.value() >= guaranteed_drop(g, power, alpha, beta)
    steep = torch.tensor([2.0], dtype=DOUBLE)  # f = β·w²/2 with β = 2 at w = 1: a step of 1/β ends at 0
    assert guaranteed_drop(steep, power, 2.0, 2.0) == pytest.approx(1.0)


# LiSSA


def test_the_series_by_hand():
    half = torch.tensor([0.5, 1.0], dtype=DOUBLE)
    g = torch.ones(2, dtype=DOUBLE)
    seen = [neumann_series(g, lambda v: half * v, depth).tolist() for depth in (0, 1, 2)]
    assert seen == [[1, 1], [1.5, 1], [1.75, 1]]
    torch.testing.assert_close(neumann_series(g, lambda v: half * v, 60), torch.tensor([2.0, 1.0], dtype=DOUBLE))


def test_the_series_is_gradient_descent_on_the_quadratic():
    """On ½·uᵀHu − gᵀu with the rate 1."""
    root = draw(4, 4) / 4
    hessian, g = root @ root.T, draw(4, seed=1)
    u = g
    for _ in range(7):
        u = u - (hessian @ u - g)
    torch.testing.assert_close(neumann_series(g, lambda v: hessian @ v, 7), u)


def test_fresh_samples_have_the_right_mean_and_one_sample_has_not():
    samples = [torch.diag(torch.tensor(values, dtype=DOUBLE)) for values in ([0.9, 0.2], [0.1, 0.4])]
    mean, g, depth = sum(samples) / 2, torch.tensor([1.0, -1.0], dtype=DOUBLE), 3
    series = neumann_series(g, lambda v: mean @ v, depth)
    fresh = []
    for chosen in product(samples, repeat=depth):  # all that can be drawn
        drawn = iter(chosen)
        fresh.append(neumann_series(g, lambda v, drawn=drawn: next(drawn) @ v, depth))
    torch.testing.assert_close(torch.stack(fresh).mean(0), series)
    again = [neumann_series(g, lambda v, sample=sample: sample @ v, depth) for sample in samples]
    assert (torch.stack(again).mean(0) - series).abs().max() > 0.1


def test_lissa_comes_nearer_by_half():
    """The median of the distances after a step over those before, with the depth of the rule."""
    objective, minimum = logistic()
    least = float(torch.linalg.eigvalsh(_dense(objective))[0])
    depth = series_depth(1 / least)
    ratios = []
    for seed in range(5):
        objective.move_to(torch.zeros(20, dtype=DOUBLE))
        optimizer = LiSSA(objective, depth=depth, warm_steps=5, warm_rate=5.0, seed=seed)
        for _ in range(5):
            optimizer.step()
        before = (objective.weights - minimum).norm()
        optimizer.step()
        ratios.append(float((objective.weights - minimum).norm() / before))
    assert np.median(ratios) <= 0.5


def test_repeats_come_nearer():
    objective, minimum = logistic(300, 5)
    ratios = {}
    for repeats in (1, 10):
        ratios[repeats] = []
        for seed in range(5):
            objective.move_to(torch.zeros(5, dtype=DOUBLE))
            LiSSA(objective, depth=60, repeats=repeats, seed=seed).step()
            ratios[repeats].append(float((objective.weights - minimum).norm() / minimum.norm()))
    assert np.median(ratios[10]) < np.median(ratios[1])


# AdaHessian, of pytorch-optimizer


def adahessian(weights, **settings):
    others = pytest.importorskip("pytorch_optimizer", reason="has AdaHessian")
    return others.AdaHessian([weights], **settings)


def test_adahessian_solves_a_diagonal_quadratic_in_one_step():
    w = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=DOUBLE))
    optimizer = adahessian(w, lr=1.0, eps=0.0)
    loss = (torch.tensor([0.1, 1.0, 7.0], dtype=DOUBLE) * (w - 5) ** 2).sum()
    (w.grad,) = torch.autograd.grad(loss, w, create_graph=True)
    optimizer.step()
    torch.testing.assert_close(w.detach(), torch.full((3,), 5.0, dtype=DOUBLE))


def test_estimates_of_the_diagonal():
    """D = z⊙Hz: its values, its mean, which is the diagonal, and its variance Σ_{j≠i} H_ij². That of Hz is 0."""
    hessian = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=DOUBLE)
    signs = torch.tensor(list(product((1.0, -1.0), repeat=2)), dtype=DOUBLE)
    estimates = signs * (signs @ hessian)
    assert estimates.tolist() == [[3, 4], [1, 2], [1, 2], [3, 4]]
    assert estimates.mean(0).tolist() == [2, 3]
    assert estimates.var(0, correction=0).tolist() == [1, 1]
    assert (signs @ hessian).mean(0).tolist() == [0, 0]
    w = torch.nn.Parameter(torch.ones(2, dtype=DOUBLE))
    optimizer = adahessian(w, lr=1e-9)
    seen = set()
    for _ in range(20):
        (w.grad,) = torch.autograd.grad(w @ hessian @ w / 2, w, create_graph=True)
        optimizer.step()
        seen.add(tuple(optimizer.state[w]["hessian"].round(decimals=6).tolist()))
    assert seen == {(3.0, 4.0), (1.0, 2.0)}


# SQGN


def test_the_inverse_obeys_its_last_pair():
    pairs = []
    hessian = torch.eye(6, dtype=DOUBLE) + draw(6, 6) @ draw(6, 6).T
    for seed in range(3):
        s = draw(6, seed=seed + 5)
        pairs.append((s, hessian @ s))
    s, y = pairs[-1]
    torch.testing.assert_close(two_loop(y, pairs, 1.0), s, rtol=1e-10, atol=1e-12)
    g = draw(6, seed=3)
    torch.testing.assert_close(two_loop(g, [], 0.25), 0.25 * g)
    # Against the product form of BFGS.
    inverse = torch.eye(6, dtype=DOUBLE) * np.mean([float(s @ y / (y @ y)) for s, y in pairs])
    for s, y in pairs:
        left = torch.eye(6, dtype=DOUBLE) - torch.outer(s, y) / (s @ y)
        inverse = left @ inverse @ left.T + torch.outer(s, s) / (s @ y)
    torch.testing.assert_close(two_loop(g, pairs, 1.0), inverse @ g, rtol=1e-10, atol=1e-12)


def test_variance_reduction_is_exact_with_all_rows_and_at_the_anchor():
    objective = network()
    anchor, anchor_gradient = objective.weights, objective.gradient()
    few, every = torch.tensor([1, 4]), torch.arange(12)
    torch.testing.assert_close(variance_reduced(objective, few, anchor, anchor_gradient), anchor_gradient)
    moved = anchor + 0.1 * draw(len(anchor), seed=8)
    objective.move_to(moved)
    exact = objective.gradient()
    torch.testing.assert_close(variance_reduced(objective, every, anchor, anchor_gradient), exact)
    assert torch.equal(objective.weights, moved)
    rough = (variance_reduced(objective, few, anchor, anchor_gradient) - exact).norm()
    assert 0 < rough < (objective.gradient(few) - exact).norm()


def test_sqgn_solves_linear_least_squares():
    objective, solution = linear()
    optimizer = SQGN(objective, 0.5, batch=10, hessian_batch=30, damping=0.0, seed=1)
    for _ in range(150):
        optimizer.step()
    torch.testing.assert_close(objective.weights, solution, rtol=1e-6, atol=1e-6)
    assert len(optimizer.pairs) == 20
    assert all(float(s @ y) > 0 for s, y in optimizer.pairs)


@pytest.mark.parametrize("make", [lambda o: LiSSA(o, depth=5, batch=4, seed=1), lambda o: SQGN(o, batch=4, seed=1)])
def test_the_same_seed_takes_the_same_steps(make):
    paths = []
    for _ in range(2):
        objective = network()
        optimizer = make(objective)
        for _ in range(3):
            value = optimizer.step(objective.value)
        assert isinstance(value, float)
        paths.append(objective.weights)
    assert torch.equal(*paths)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: LiSSA(o.model), "objective must be a FiniteSum, of a model, a loss and rows; got Sequential."),
        (lambda o: SQGN(o.model), "objective must be a FiniteSum, of a model, a loss and rows; got Sequential."),
        (lambda o: LiSSA(o, -1.0), "lr must be a finite number above 0; got -1.0."),
        (lambda o: LiSSA(o, depth=-1), "depth must be an integer of at least 0; got -1."),
        (lambda o: LiSSA(o, repeats=0), "repeats must be an integer of at least 1; got 0."),
        (lambda o: LiSSA(o, scale=0.0), "scale must be a finite number above 0; got 0.0."),
        (lambda o: SQGN(o, 0.0), "lr must be a finite number above 0; got 0.0."),
        (lambda o: SQGN(o, history=0), "history must be an integer of at least 1; got 0."),
        (lambda o: SQGN(o, damping=-0.1), "damping must be a finite number of at least 0; got -0.1."),
        (lambda o: series_depth(0.5), "kappa must be a number of at least 1; got 0.5."),
        (lambda o: neumann_series(o.weights, abs, 1.5), "depth must be an integer of at least 0; got 1.5."),
        (lambda o: two_loop(o.weights, [(o.weights, -o.weights)], 1.0), "Pairs must have sᵀy > 0; the least is -"),
        (lambda o: o.hessian_product(torch.ones(2)), r"The vector must have the shape \(26,\) of the weights; got"),
        (lambda o: FiniteSum(torch.nn.Tanh(), o.loss, o.X, o.y), "The model has no parameters that learn."),
        (lambda o: FiniteSum(o.model, o.loss, o.X, o.y[:5]), "X and y must have as many rows; got 12 and 5."),
        (lambda o: FiniteSum(o.model, o.loss, [1], o.y), "X must be a tensor with rows; got list."),
        (
            lambda o: FiniteSum(o.model, o.loss, o.X, o.y, -1.0),
            "penalty must be a finite number of at least 0; got -1.0.",
        ),
        (
            lambda o: FiniteSum(o.model, torch.nn.MSELoss(reduction="sum"), o.X, o.y),
            "The loss must be a mean over rows: one of torch.nn with reduction='mean'.",
        ),
        (
            lambda o: fractional_direction(torch.ones(2), torch.eye(3), 1.0),
            r"g and hessian must be \(P,\) and \(P, P\); got \(2,\) and \(3, 3\).",
        ),
        (lambda o: fractional_direction(torch.ones(2), torch.eye(2), 1.5), "power must be a number from 0 to 1"),
        (lambda o: fractional_direction(torch.ones(2), -torch.eye(2), 1.0), "must be positive definite; its least"),
        (lambda o: guaranteed_drop(torch.ones(2), 1.0, 2.0, 1.0), "alpha and beta must have 0 < alpha <= beta"),
    ],
)
def test_bad_input_gets_one_sentence(make, message):
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        make(network())
    assert "\n" not in str(caught.value)
