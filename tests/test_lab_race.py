"""The race of all methods: descents on the one loss, what tuning is measured by, and verdicts that follow from both."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from lab_checks import check_study

torch = pytest.importorskip("torch", reason="the descents need PyTorch")
pytest.importorskip("pytorch_optimizer", reason="AdaHessian needs pytorch-optimizer")
pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")

from anmin.lab import method_race, study_race  # noqa: E402
from anmin.lab.method_race import CONVEX, DESCENTS, UNTUNED, Raced, Size, descent_curve, of_order  # noqa: E402
from anmin.lab.race import Curve  # noqa: E402
from anmin.rows import ArrayRows  # noqa: E402


@pytest.fixture
def steps_as_seconds(monkeypatch):
    """Let a step take a second, so that what a descent does depends on nothing else."""
    clock = count()
    monkeypatch.setattr(method_race, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))


def rows(n_outputs: int = 1) -> ArrayRows:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 3))
    return ArrayRows(X, (np.abs(X) - X[:, ::-1])[:, :n_outputs])


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_a_step_of_sgd_is_one_down_the_gradient_of_the_loss(steps_as_seconds, n_outputs):
    """By hand; with c outputs PyTorch's mean is the loss over c, and so the step."""
    data, alpha, rate, h = rows(n_outputs), 0.05, 0.02, 5
    torch.manual_seed(3)
    hidden, output = torch.nn.Linear(4, h, bias=False), torch.nn.Linear(h, n_outputs)
    A, B, b0 = (v.detach().double().numpy() for v in (hidden.weight.T, output.weight.T, output.bias))
    X = np.column_stack([np.ones(len(data.X)), data.X])

    def loss() -> float:
        errors = np.maximum(X @ A, 0) @ B + b0 - data.Y
        return float(np.sum(errors**2) / len(X) + alpha * sum(np.sum(w**2) for w in (A, B, b0)))

    curve = descent_curve(data, h, alpha, "SGD", rate, 3, 1.0)
    wanted = [loss()]
    active = np.maximum(X @ A, 0)
    slope = 2 * (active @ B + b0 - data.Y) / len(X)
    down = rate / n_outputs
    A, B, b0 = (
        A - down * (X.T @ ((active > 0) * (slope @ B.T)) + 2 * alpha * A),
        B - down * (active.T @ slope + 2 * alpha * B),
        b0 - down * (slope.sum(axis=0) + 2 * alpha * b0),
    )
    wanted.append(loss())
    np.testing.assert_array_equal(curve.seconds, [0, 1])
    np.testing.assert_allclose(curve.losses, wanted, rtol=1e-5)


@pytest.mark.parametrize("method", DESCENTS)
def test_each_descent_lowers_the_loss_the_same_way_again(steps_as_seconds, method):
    rate = DESCENTS[method].rates[1]
    first, again = (descent_curve(rows(), 6, 1e-3, method, rate, 1, 25.0) for _ in range(2))
    np.testing.assert_array_equal(first.losses, again.losses)
    assert first.final < 0.9 * first.losses[0]
    other = descent_curve(rows(), 6, 1e-3, "SGD", 0.1, 1, 1.0)
    assert first.losses[0] == pytest.approx(other.losses[0], rel=1e-6)  # one start for all


def test_a_descent_that_diverges_ends_and_keeps_its_lowest_loss(steps_as_seconds):
    curve = descent_curve(rows(), 6, 1e-3, "SGD", 1e9, 1, 500.0)
    assert curve.seconds[-1] < 500
    assert np.isfinite(curve.losses).all()
    assert curve.final == curve.losses[0]


def test_every_grid_is_as_wide_and_every_method_in_one_group():
    for descent in DESCENTS.values():
        np.testing.assert_allclose(np.log10(descent.rates), np.log10(descent.rates[0]) + np.arange(4) / 2, atol=0.03)
    assert {*of_order(1), *of_order(2)} == set(DESCENTS)
    assert not set(UNTUNED) & set(DESCENTS)


@pytest.mark.parametrize(
    ("losses", "best", "excess", "beside"),
    [((4.0, 2.0, 3.0, 9.0), 0.2, 4.5, 2.0), ((1.0, 2.0, 9.0, 9.0), 0.1, 9.0, 2.0), ((5.0, 5.0, 4.0, 2.0), 0.4, 2.5, 2)],
)
def test_what_a_wrong_rate_costs(losses, best, excess, beside):
    found = Raced("t", (9, 1), {}, {"SGD": dict(zip((0.1, 0.2, 0.3, 0.4), losses, strict=True))}, {})
    assert (found.best_rate("SGD"), found.excess("SGD"), found.beside("SGD")) == (best, excess, beside)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"method": "Newton"}, "method must be one of SGD, .*; got 'Newton'."),
        ({"rate": 0.0}, "rate must be a finite number above 0; got 0.0."),
        ({"seconds": -1.0}, "seconds must be a finite number above 0; got -1.0."),
    ],
)
def test_bad_input_gets_one_sentence(changed, message):
    given = {"method": "SGD", "rate": 0.1, "seed": 0, "seconds": 1.0} | changed
    with pytest.raises(ValueError, match=message):
        descent_curve(rows(), 3, 0.0, **given)


def _raced(lower: bool, second: float) -> Raced:
    """Return a race that ANMIN wins or loses; ``second`` is what a wrong rate of the second order costs."""

    def curves(loss: float) -> list[Curve]:
        return [Curve.of([0.1, 1.0], [2.0, loss * factor], 4) for factor in (1.0, 1.1)]

    finals = dict.fromkeys((*DESCENTS, *UNTUNED), 0.5) | {"ANMIN": 0.4 if lower else 0.6}
    worst = {method: second if method in of_order(2) else 2.0 for method in DESCENTS}
    grid = {method: {0.1: 0.5 * worst[method], 0.3: 0.5, 1.0: 0.5 * worst[method]} for method in DESCENTS}
    return Raced("t", (9, 1), {m: curves(v) for m, v in finals.items()}, grid, dict.fromkeys(DESCENTS, 3.0))


@pytest.mark.parametrize(("lower", "second"), [(True, 1.5), (False, 2.5)])
def test_verdicts_follow_from_the_curves(monkeypatch, tmp_path, lower, second):
    monkeypatch.setenv("ANMIN_DATA", str(tmp_path))
    monkeypatch.setattr(study_race.method_race, "prepare", lambda: None)
    monkeypatch.setattr(study_race, "raced", lambda *_: _raced(lower, second))
    study = study_race.run(quick=True)
    verdicts = list(check_study(study, "race", 2).values())
    word = "agrees" if lower else "differs"
    assert verdicts[0] == verdicts[1] == word
    assert verdicts[3] == word
    assert verdicts[5] == "differs"  # momentum ends where SGD does
    assert [row[3] for row in study.tables[1].rows][: len(DESCENTS)] == [6.0] * len(DESCENTS)


def test_the_study_at_small_sizes_and_without_files(monkeypatch):
    monkeypatch.delenv("ANMIN_DATA", raising=False)
    monkeypatch.setattr(study_race.method_race, "prepare", lambda: None)
    monkeypatch.setattr(study_race, "QUICK", Size(1, 60, 0.02, 1, 2))
    found = []
    monkeypatch.setattr(study_race, "raced", lambda *given: found.append(method_race.raced(*given)) or found[-1])
    study = study_race.run(quick=True)
    verdicts = list(check_study(study, "race", 2).values())
    assert "ANMIN_DATA names no folder" in study.summary
    assert verdicts[0] == "not seen at this scale"  # the tables are others
    assert verdicts[3] == "not seen at this scale"  # of two rates
    assert [row[0] for row in study.tables[0].rows] == [*DESCENTS, *UNTUNED]
    convex, sgd, adam = (found[0].final(method) for method in (CONVEX, "SGD", "Adam"))
    assert (verdicts[-1] == "agrees") == (convex < min(sgd, adam))
