"""Momentum methods: the two-step values worked out by hand, and step by step against PyTorch and pytorch-optimizer."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from anmin.lab import iris, study_momentum
from anmin.lab import momentum as lab
from anmin.lab.demon import DemonSchedule, demon_coefficient
from anmin.lab.iris import descent_on_iris
from anmin.lab.momentum_formulas import formula_claims
from anmin.lab.study_momentum import rules

torch = pytest.importorskip("torch", reason="the optimisers compared with are PyTorch's")


def run(rule, rate, n_steps, gradient=lambda w: w, start=None):
    start = np.array([1.0]) if start is None else start
    return list(islice(lab.descend(gradient, start, rule, rate), n_steps))


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        (lab.sgd(), (0.9, 0.81)),
        (lab.momentum(0.9), (0.99, 0.9711)),
        (lab.nesterov(0.9), (0.99, 0.9712)),
        # ζ = .99 − .9·.1·.1 = .981, m = .09 + .0981
        (lab.nesterov(0.9, exact=True), (0.99, 0.97119)),
        (lab.heavy_ball(0.9), (0.9, 0.72)),
        (lab.quasi_hyperbolic(0.9, 0.7), (0.963, 0.921069)),
        (lab.adagrad(), (0.9, 1 - 0.1 - 0.09 / 1.81**0.5)),
        (lab.rmsprop(0.99), (0.0, 0.0)),
        (lab.adam(0.9, 0.99), (0.9, 0.9 - 0.1 * (0.18 / 0.19) / ((0.0099 + 0.0081) / 0.0199) ** 0.5)),
        # The recursion goes on from 1 and 1, not from 0.1 and 0.01.
        (lab.adam(0.9, 0.99, literal=True), (0.9, 0.9 - 0.1 * (0.99 / 0.19) / ((0.99 + 0.0081) / 0.0199) ** 0.5)),
        # ζ = .8 after the first step
        (lab.nadam(0.9, 0.99), (0.9, 0.9 - 0.1 * (0.17 / 0.19) / ((0.0099 + 0.0064) / 0.0199) ** 0.5)),
        (lab.demon(0.9, 4), (0.9, 0.9 - 0.1 * (0.675 / 0.775 + 0.9))),
        (lab.demon(0.9, 4, damped=True), (0.99, 0.99 - 0.1 * (0.675 / 0.775 * 0.1 + 0.1 / 0.775 * 0.99))),
    ],
    ids=lambda value: value.name if isinstance(value, lab.Rule) else None,
)
def test_two_steps_on_a_parabola(rule, values):
    np.testing.assert_allclose(np.ravel(run(rule, 0.1, 2)), values, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    ("rule", "printed"),
    [(lab.adagrad(), 0.833104), (lab.adam(0.9, 0.99), 0.800389), (lab.nadam(0.9, 0.99), 0.801138)],
    ids=lambda value: value.name if isinstance(value, lab.Rule) else None,
)
def test_two_steps_to_six_digits(rule, printed):
    assert run(rule, 0.1, 2)[-1] == pytest.approx(printed, abs=5e-7)


@pytest.mark.parametrize(("nu", "other"), [(0.0, lab.sgd()), (1.0, lab.momentum(0.8))])
def test_quasi_hyperbolic_momentum_lies_between_two_others(nu, other):
    np.testing.assert_allclose(run(lab.quasi_hyperbolic(0.8, nu), 0.1, 9), run(other, 0.1, 9), rtol=1e-14)


@pytest.mark.parametrize(
    ("rule", "rate", "optimizer"),
    [
        (lab.sgd(), 0.05, lambda w: torch.optim.SGD([w], 0.05)),
        # Undamped from its first step: a rate smaller by 1 − β takes its place.
        (lab.momentum(0.9), 0.05, lambda w: torch.optim.SGD([w], 0.05 * 0.1, momentum=0.9)),
        (lab.heavy_ball(0.9), 0.01, lambda w: torch.optim.SGD([w], 0.01, momentum=0.9)),
        (lab.adagrad(1e-10), 0.05, lambda w: torch.optim.Adagrad([w], 0.05)),
        (lab.rmsprop(0.99, 1e-8), 0.01, lambda w: torch.optim.RMSprop([w], 0.01)),
        (lab.adadelta(0.9, 1e-6), 1.0, lambda w: torch.optim.Adadelta([w])),
        (lab.adam(0.9, 0.999, 1e-8), 0.01, lambda w: torch.optim.Adam([w], 0.01)),
    ],
    ids=lambda value: value.name if isinstance(value, lab.Rule) else "",
)
def test_steps_are_those_of_pytorch(rule, rate, optimizer):
    _compare(rule, rate, optimizer)


def test_steps_of_dozats_nadam_are_those_of_pytorch():
    # It keeps its product of momenta in the default type.
    torch.set_default_dtype(torch.float64)
    try:
        rule = lab.nadam_dozat(0.9, 0.999, 1e-8, decay=0.004)
        _compare(rule, 0.01, lambda w: torch.optim.NAdam([w], 0.01))
    finally:
        torch.set_default_dtype(torch.float32)


def test_steps_of_quasi_hyperbolic_momentum_are_those_of_pytorch_optimizer():
    others = pytest.importorskip("pytorch_optimizer", reason="has quasi-hyperbolic momentum")
    _compare(lab.quasi_hyperbolic(0.9, 0.7), 0.05, lambda w: others.QHM([w], 0.05, momentum=0.9, nu=0.7))


def test_pytorch_keeps_the_place_nesterov_looks_at():
    w, gradient = torch.nn.Parameter(_START.clone()), _noisy()
    theirs = _theirs(torch.optim.SGD([w], 0.05 * 0.1, momentum=0.9, nesterov=True), w, _noisy())
    seen = []

    def looked_at(place):
        seen.append(place)
        return gradient(place)

    list(islice(lab.descend(looked_at, _START, lab.nesterov(0.9, exact=True), 0.05), len(theirs) + 1))
    torch.testing.assert_close(torch.stack(seen[1:-1]), torch.stack(theirs[:-1]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("damped", [False, True])
def test_the_schedule_makes_sgd_of_pytorch_demon(damped):
    def optimizer(w):
        made = torch.optim.SGD([w], 0.01)
        return made, DemonSchedule(made, 0.9, 40, damped=damped)

    _compare(lab.demon(0.9, 40, damped=damped), 0.01, optimizer)


def test_the_schedule_on_adam():
    """Against its recursion with PyTorch's correction, which is by the present β alone."""
    rate, T = 0.01, 40
    w = torch.nn.Parameter(_START.clone())
    adam = torch.optim.Adam([w], rate)
    theirs = _theirs((adam, DemonSchedule(adam, 0.9, T)), w, _noisy())
    place, m, v, gradient = _START, 0, 0, _noisy()
    for t, reached in enumerate(theirs):
        g, b = gradient(place), demon_coefficient(0.9, t, T)
        m, v = b * m + (1 - b) * g, 0.999 * v + 0.001 * g**2
        place = place - rate * m / (1 - b ** (t + 1)) / ((v / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8)
        torch.testing.assert_close(reached, place, rtol=1e-12, atol=1e-12)


def test_the_coefficient_of_demon():
    values = [demon_coefficient(0.9, t, 4) for t in (0, 1, 2, 4, 9)]
    np.testing.assert_allclose(values, [0.9, 0.675 / 0.775, 0.45 / 0.55, 0, 0], rtol=1e-15)
    np.testing.assert_allclose(values[1:3], [0.870968, 0.818182], atol=5e-7)
    odds = [b / (1 - b) for b in (demon_coefficient(0.95, t, 10) for t in range(11))]
    np.testing.assert_allclose(np.diff(odds), -1.9, rtol=1e-12)


def test_the_schedule_goes_on_where_it_stopped():
    w = torch.nn.Parameter(_START.clone())
    first, second = (torch.optim.RMSprop([w], 0.01, momentum=0.5) for _ in range(2))
    schedule, later = DemonSchedule(first, 0.9, 4), DemonSchedule(second, 0.8, 9)
    schedule.step()
    later.load_state_dict(schedule.state_dict())
    assert second.param_groups[0]["momentum"] == first.param_groups[0]["momentum"] == demon_coefficient(0.9, 1, 4)
    later.step()
    assert later.coefficient == demon_coefficient(0.9, 2, 4)
    with pytest.raises(ValueError, match="The state of a schedule has t, beta, n_steps and damped; got t"):
        later.load_state_dict({"t": 1})


def test_all_methods_on_iris_have_the_same_start():
    runs = [descent_on_iris(rule, 0.01, 40, 3) for rule in rules(40).values()]
    assert len({run.losses[0] for run in runs}) == 1
    for run in runs:
        assert run.losses.shape == run.seconds.shape == (3,)
        assert run.losses[-1] < run.losses[0]
        assert np.all(np.diff(run.seconds) > 0)
        assert run.roughness > 1 - 1e-12
    with pytest.raises(ValueError, match="n_steps must be an integer of at least 20; got 5"):
        descent_on_iris(lab.sgd(), 0.01, 5, 3)


def test_the_descent_on_iris_is_that_of_pytorch():
    """Against a module and an optimiser of PyTorch, from the same start and with the same batches."""
    X, y, start, batches = iris._setting(20, 5)
    layers = [torch.nn.Linear(*widths) for widths in zip(iris.WIDTHS, iris.WIDTHS[1:], strict=False)]
    model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    torch.nn.utils.vector_to_parameters(start, model.parameters())
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for rows in batches[:20]:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(X[rows]), y[rows]).backward()
        optimizer.step()
    loss = torch.nn.functional.cross_entropy(model(X[:100]), y[:100]).item()
    assert descent_on_iris(lab.adam(epsilon=1e-8), 0.01, 20, 5).losses[-1] == pytest.approx(loss, rel=1e-3)


def test_formulas_of_the_source():
    verdicts = [claim.verdict for claim in formula_claims()]
    assert verdicts == ["agrees", "agrees", "differs", "differs", "differs", "differs"]


def test_the_study():
    pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")
    study = study_momentum._study(2, (0.01, 0.1), 40, 0)
    assert len(study.claims) == 5 + 6
    best, grid = study.tables
    assert [row[0] for row in best.rows] == [row[0] for row in grid.rows] == list(rules(40))
    for row, losses in zip(best.rows, grid.rows, strict=True):
        assert row[1] in (0.01, 0.1)
        assert row[2] == min(losses[1:])
        assert np.isfinite(row[1:]).all()
    assert [picture.name for picture in study.pictures] == ["steps", "seconds", "rates"]


@pytest.mark.parametrize(
    ("shares", "seen"),
    [([0.7, 1.0], True), ([1.0, 0.3], False), ([0.6, 1.0], None), ([0.0], False)],
)
def test_when_an_order_counts_as_seen(shares, seen):
    assert study_momentum._order(shares) is seen


def test_a_coordinate_without_gradient_stays():
    for rule in (lab.adagrad(), lab.rmsprop(), lab.adam(), lab.nadam(), lab.nadam_dozat()):
        reached = run(rule, 0.1, 3, lambda w: w * np.array([1.0, 0.0]), np.array([1.0, 2.0]))[-1]
        assert reached[1] == 2.0
        assert np.isfinite(reached[0])
        assert reached[0] != 1.0


def test_the_start_is_not_changed():
    start = np.array([1.0, 2.0])
    run(lab.adam(), 0.1, 3, start=start)
    np.testing.assert_array_equal(start, [1.0, 2.0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lab.momentum(1.0), "beta must be a number from 0 to below 1; got 1.0."),
        (lambda: lab.adam(beta2=-0.1), "beta must be a number from 0 to below 1; got -0.1."),
        (lambda: lab.nesterov("big"), "beta must be a number from 0 to below 1; got 'big'."),
        (lambda: lab.adagrad(-1.0), "epsilon must be a finite number of at least 0; got -1.0."),
        (lambda: lab.adadelta(epsilon=0.0), "epsilon must be a finite number above 0; got 0.0."),
        (lambda: lab.quasi_hyperbolic(nu=1.5), "nu must be a number from 0 to 1; got 1.5."),
        (lambda: lab.nadam_dozat(decay=-1), "decay must be a finite number of at least 0; got -1."),
        (lambda: lab.demon(0.9, 0), "n_steps must be an integer of at least 1; got 0."),
        (lambda: lab.demon(1.2, 5), "beta must be a number from 0 to below 1; got 1.2."),
        (lambda: demon_coefficient(0.9, -1, 5), "t must be an integer of at least 0; got -1."),
        (lambda: lab.descend(abs, np.ones(2), lab.sgd(), -0.1), "rate must be a finite number above 0; got -0.1."),
        (
            lambda: lab.descend(abs, np.ones(2), lab.sgd(), float("nan")),
            "rate must be a finite number above 0; got nan.",
        ),
        (lambda: lab.descend(abs, [1, 2], lab.sgd(), 0.1), "start must be an array or tensor of floats; got list."),
        (lambda: run(lab.sgd(), 0.1, 1, lambda w: w[:1], np.ones(3)), r"The gradient must have the shape \(3,\)"),
        (lambda: DemonSchedule(_made("SGD"), 0.9, 0), "n_steps must be an integer of at least 1"),
        (lambda: DemonSchedule(_made("SGD"), -0.9, 5), "beta must be a number from 0 to below 1; got -0.9."),
        (lambda: DemonSchedule(_made("Adagrad"), 0.9, 5), "an optimiser with 'momentum' or 'betas' .* got Adagrad."),
        (lambda: DemonSchedule("Adam", 0.9, 5), "an optimiser with 'momentum' or 'betas' in its groups; got str."),
        (lambda: DemonSchedule(_made("Adam"), 0.9, 5, damped=True), "an optimiser with 'dampening' .* got Adam."),
        (lambda: DemonSchedule(_made("SGD", 1), 0.9, 5, damped=True), "before the optimiser's first step."),
    ],
)
def test_bad_input_gets_one_sentence(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


_START = torch.linspace(-1, 2, 5, dtype=torch.float64)


def _made(name, n_steps=0):
    w = torch.nn.Parameter(_START.clone())
    optimizer = getattr(torch.optim, name)([w], 0.1, **({"momentum": 0.5} if name == "SGD" else {}))
    _theirs(optimizer, w, _noisy(), n_steps)
    return optimizer


def _noisy():
    """Return the gradient of ½·Σ k·w_k² + Σ sin w_k with noise that is the same for all."""
    noise = np.random.default_rng(0)

    def gradient(w):
        draw = torch.as_tensor(noise.normal(size=5))
        return torch.arange(5, dtype=torch.float64) * w + torch.cos(w) + draw

    return gradient


def _theirs(made, w, gradient, n_steps=30):
    """Return the parameters after each step of an optimiser, or of an optimiser and its schedule."""
    optimizer, schedule = made if isinstance(made, tuple) else (made, None)
    path = []
    for _ in range(n_steps):
        w.grad = gradient(w.detach())
        optimizer.step()
        if schedule is not None:
            schedule.step()
        path.append(w.detach().clone())
    return path


def _compare(rule, rate, optimizer):
    w = torch.nn.Parameter(_START.clone())
    theirs = _theirs(optimizer(w), w, _noisy())
    ours = islice(lab.descend(_noisy(), _START, rule, rate), len(theirs))
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
