"""The path of penalties: warm starts, its errors against their definitions, what it refuses, and its picture."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning

import anmin.path
from anmin import ReLURegressor, alpha_path
from anmin.history import Status
from anmin.influence import influence_in
from anmin.inspection import AlphaPathDisplay
from anmin.path import AlphaPath
from anmin.rows import ArrayRows, Scaling
from anmin.selection import evidence

ALPHAS = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]


def noisy(n=300, noise=0.4, seed=0, outputs=1):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, 2))
    Y = np.sin(3 * X[:, [0]]) * np.cos(2 * X[:, [1]]) + noise * rng.standard_normal((n, outputs))
    return X, 7 * Y + 3


@pytest.fixture(scope="module")
def noisy_path() -> AlphaPath:
    X, Y = noisy(noise=1.0)
    X_val, Y_val = noisy(2000, seed=1)
    return alpha_path(X, Y[:, 0], X_val=X_val, y_val=Y_val[:, 0], alphas=ALPHAS, n_neurons=20, random_state=0)


def test_a_smaller_penalty_fits_the_training_rows_better(noisy_path: AlphaPath):
    np.testing.assert_array_equal(noisy_path.alphas, ALPHAS)
    assert np.all(np.diff(noisy_path.train_mse) < 0)
    assert np.all(np.diff(noisy_path.effective_parameters) > 0)
    assert 0 < noisy_path.best < len(ALPHAS) - 1  # neither too stiff nor all of the noise
    assert np.isfinite(noisy_path.leave_one_out_mse).all()
    assert (noisy_path.leave_one_out_mse > noisy_path.train_mse).all()
    assert not noisy_path.interrupted


@pytest.mark.parametrize("standardize", [True, False])
def test_every_column_is_what_it_says(standardize: bool):
    X, Y = noisy(outputs=2)
    w = np.random.default_rng(0).uniform(0.5, 2, len(X))
    X_val, Y_val = noisy(100, seed=1, outputs=2)
    path = alpha_path(
        X, Y, sample_weight=w, X_val=X_val, y_val=Y_val, alphas=ALPHAS[::2], n_neurons=5, standardize=standardize,
        negative_slope=0.1, random_state=0,
    )  # fmt: skip
    rows = ArrayRows(X, Y, w)
    scaling = Scaling.standard(rows) if standardize else Scaling.identity(2, 2)
    scaled = scaling.apply(rows)
    for i, network in enumerate(path.networks):
        assert path.train_mse[i] == pytest.approx(np.average((network.predict(X) - Y) ** 2, axis=0, weights=w).mean())
        assert path.held_out_mse[i] == pytest.approx(np.mean((network.predict(X_val) - Y_val) ** 2))
        inner, alpha = scaling.unfold(network), path.alphas[i]
        found = influence_in(inner, scaled, alpha, scaling.y_scale)
        assert path.leave_one_out_mse[i] == pytest.approx(found.leave_one_out_mse, rel=1e-6)
        assert path.gcv[i] == pytest.approx(found.generalised_cross_validation, rel=1e-6)
        assert path.effective_parameters[i] == pytest.approx(found.effective_degrees_of_freedom, rel=1e-6)
        asked = evidence(scaled.statistics(inner.A, 0.1), inner, alpha)
        assert path.wanted_alphas[i] == pytest.approx(asked.alpha, rel=1e-6)
        assert path.log_evidence[i] == pytest.approx(asked.log_evidence, rel=1e-6)


def test_each_fit_starts_at_the_one_before(monkeypatch: pytest.MonkeyPatch):
    starts, results = [], []

    def watched(problem, solver, *, start, **options):
        solution = anmin_solve(problem, solver, start=start, **options)
        starts.append(start)
        results.append(solution.network)
        return solution

    anmin_solve = anmin.path.solve
    monkeypatch.setattr(anmin.path, "solve", watched)
    X, Y = noisy()
    alpha_path(X, Y, alphas=[1e-3, 50.0, 1e-2, 20.0, 1e-4], n_neurons=5, random_state=0)
    # 50 and 20 leave a constant, from which no fit would find back.
    assert [start in results for start in starts] == [False, False, False, True, True]
    assert starts[3] is results[2]
    assert starts[4] is results[3]


def test_penalties_come_in_any_order_and_once():
    X, Y = noisy(60)
    path = alpha_path(X, Y, alphas=[1e-3, 1e-1, 1e-3, 0], n_neurons=2, validation_fraction=None, random_state=0)
    np.testing.assert_array_equal(path.alphas, [1e-1, 1e-3, 0])
    assert np.isfinite(path.train_mse).all()


def test_the_default_penalties_lie_about_the_choice_of_the_evidence():
    X, Y = noisy(800, noise=0.2)
    path = alpha_path(X, Y, n_neurons=20, random_state=0)
    assert len(path) == 11
    np.testing.assert_allclose(path.alphas[:-1] / path.alphas[1:], np.sqrt(10))
    # The path's own fits agree with it within a step or two of the grid.
    assert path.choose("evidence") in (2, 3, 4, 5, 6)


def test_the_same_rows_are_held_out_as_by_the_estimator():
    X, Y = noisy(80)
    path = alpha_path(X, Y, alphas=[1e-2], n_neurons=3, validation_fraction=0.25, random_state=5)
    model = ReLURegressor(3, alpha=1e-2, validation_fraction=0.25, random_state=5)
    rng = np.random.default_rng(np.random.RandomState(5).randint(2**31 - 1))
    _, held_out = model._split(ArrayRows(X, Y), rng)
    assert held_out is not None
    error = np.mean((path.networks[0].predict(held_out.X) - held_out.Y) ** 2)
    assert path.held_out_mse[0] == pytest.approx(error)


def test_it_repeats_with_the_seed():
    X, Y = noisy(100)
    one, two = (alpha_path(X, Y, alphas=ALPHAS, n_neurons=4, random_state=3).to_dict() for _ in range(2))
    assert one == two


def test_networks_know_the_names_of_the_columns():
    X, Y = noisy(60)
    frame = pd.DataFrame(X, columns=["east", "north"])
    path = alpha_path(frame, pd.Series(Y[:, 0], name="height"), alphas=[0.1], n_neurons=2, random_state=0)
    assert path.networks[0].feature_names == ("east", "north")
    assert path.networks[0].output_names == ("height",)


def path_of(alphas, log_evidence, **columns) -> AlphaPath:
    alphas = np.array(alphas, dtype=float)
    flat = np.ones(len(alphas))
    given = {"train_mse": flat, "held_out_mse": flat, "leave_one_out_mse": flat, "gcv": flat}
    given |= {"effective_parameters": flat} | {name: np.array(values) for name, values in columns.items()}
    return AlphaPath(
        alphas,
        wanted_alphas=flat,
        log_evidence=np.array(log_evidence),
        networks=(),
        statuses=(Status.CONVERGED,) * len(alphas),
        **given,
    )


def test_criteria_choose_the_least_of_their_errors():
    errors = {"held_out_mse": [3, 1, 2], "leave_one_out_mse": [1, np.nan, 2], "gcv": [np.inf, 2, 1]}
    path = path_of([1, 0.1, 0.01], [-7.0, -5.0, -np.inf], **errors)
    assert [path.choose(name) for name in ("held_out", "leave_one_out", "gcv", "evidence")] == [1, 0, 2, 1]
    assert path.best == 1
    with pytest.raises(ValueError, match="criterion must be one of held_out, leave_one_out, gcv, evidence; got 'aic'"):
        path.choose("aic")
    with pytest.raises(ValueError, match="no row was held out"):
        _ = replace(path, held_out_mse=np.full(3, np.nan)).best


def test_it_becomes_json(noisy_path: AlphaPath):
    document = json.loads(json.dumps(noisy_path.to_dict()))
    assert document["alphas"] == ALPHAS
    assert len(pd.DataFrame(document)) == len(ALPHAS)
    assert set(document["statuses"]) <= {status.name for status in Status}


def test_an_interrupt_keeps_what_is_done(monkeypatch: pytest.MonkeyPatch):
    X, Y = noisy(60)
    calls = []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return influence_in(*arguments, **options)

    monkeypatch.setattr(anmin.path, "influence_in", interrupted)
    with pytest.warns(ConvergenceWarning, match="interrupted after 2 of 5"):
        path = alpha_path(X, Y, alphas=ALPHAS, n_neurons=2, random_state=0)
    assert path.interrupted
    np.testing.assert_array_equal(path.alphas, ALPHAS[:2])
    assert len(path.networks) == len(path.statuses) == 2


@pytest.mark.parametrize("done", [0, 1])
def test_an_interrupt_within_a_fit_drops_that_fit(done: int, monkeypatch: pytest.MonkeyPatch):
    X, Y = noisy(60)
    anmin_solve, calls = anmin.path.solve, []

    def interrupted(*arguments, **options):
        calls.append(1)
        solution = anmin_solve(*arguments, **options)
        return solution.with_status(Status.INTERRUPTED) if len(calls) > done else solution

    monkeypatch.setattr(anmin.path, "solve", interrupted)
    if done:
        with pytest.warns(ConvergenceWarning, match="interrupted after 1 of 5"):
            assert len(alpha_path(X, Y, alphas=ALPHAS, n_neurons=2, random_state=0)) == 1
    else:
        with pytest.raises(KeyboardInterrupt):
            alpha_path(X, Y, alphas=ALPHAS, n_neurons=2, random_state=0)


def test_verbose_shows_progress(capsys: pytest.CaptureFixture):
    X, Y = noisy(60)
    alpha_path(X, Y, alphas=ALPHAS, n_neurons=2, verbose=1, random_state=0)
    assert capsys.readouterr().out == ""


@pytest.mark.refused
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alphas": []}, "at least one penalty"),
        ({"alphas": 0.1}, "a sequence of at least one penalty; got 0.1"),
        ({"alphas": [0.1, -1.0]}, "finite and at least 0"),
        ({"alphas": [0.1, np.nan]}, "finite and at least 0"),
        ({"alphas": [np.inf]}, "finite and at least 0"),
        ({"alphas": ["much"]}, "a sequence of numbers"),
        ({"n_neurons": 0}, "n_neurons must be an integer of at least 1; got 0"),
        ({"n_neurons": 10**7}, "Choose fewer neurons"),
        ({"max_iter": 1.5}, "max_iter must be an integer"),
        ({"tol": -1.0}, "tol must be a finite number"),
        ({"validation_fraction": 0.0}, "validation_fraction must be None or a number between 0 and 1; got 0.0"),
        ({"validation_fraction": 1.0}, "validation_fraction must be"),
        ({"validation_fraction": "some"}, "validation_fraction must be"),
        ({"negative_slope": 1.0}, r"negative_slope must be a number in \[0, 1\)"),
        ({"X_val": np.ones((3, 2))}, "X_val and y_val must be given together"),
        ({"X_val": np.ones((3, 1)), "y_val": np.ones(3)}, "1 features"),
        ({"X_val": np.ones((3, 2)), "y_val": np.ones((3, 2))}, "y_val must have 1 columns"),
        ({"sample_weight": -np.ones(40)}, "must not be negative"),
        ({"y": np.full(40, np.nan)}, "NaN"),
        ({"X": np.ones((39, 2))}, "inconsistent numbers of samples"),
    ],
)
def test_bad_input_is_refused_before_any_work(given: dict, message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(anmin.path, "solve", lambda *_, **__: pytest.fail("work began"))
    monkeypatch.setattr(anmin.path, "choose_alpha", lambda *_, **__: pytest.fail("work began"))
    X, Y = noisy(40)
    with pytest.raises(ValueError, match=message):
        alpha_path(**({"X": X, "y": Y[:, 0], "random_state": 0} | given))


# The picture


@pytest.fixture
def closed_figures():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.mark.usefixtures("closed_figures")
def test_the_picture_draws_the_path(noisy_path: AlphaPath):
    display = AlphaPathDisplay.from_path(noisy_path)
    display.figure_.canvas.draw()
    assert set(display.lines_) == {"train_mse", "gcv", "leave_one_out_mse", "held_out_mse"}
    for name, line in display.lines_.items():
        np.testing.assert_array_equal(line.get_xdata(), ALPHAS)
        np.testing.assert_array_equal(line.get_ydata(), getattr(noisy_path, name))
    np.testing.assert_array_equal(display.axes_[1].lines[0].get_ydata(), noisy_path.effective_parameters)
    for ax in display.axes_:
        (marked,) = [line for line in ax.lines if len(line.get_xdata()) == 2]
        assert list(marked.get_xdata()) == [noisy_path.alphas[noisy_path.choose("evidence")]] * 2
    assert display.axes_[0].get_xscale() == display.axes_[0].get_yscale() == "log"


@pytest.mark.usefixtures("closed_figures")
def test_the_picture_takes_paths_without_held_out_rows_or_finite_errors():
    path = path_of([1, 0.1, 0], [1.0, 2.0, -np.inf], held_out_mse=[np.nan] * 3, gcv=[1.0, np.inf, np.nan])
    display = AlphaPathDisplay.from_path(path)
    display.figure_.canvas.draw()
    assert set(display.lines_) == {"train_mse", "gcv", "leave_one_out_mse"}
    np.testing.assert_array_equal(display.lines_["train_mse"].get_xdata(), [1, 0.1])
    perfect = path_of([1], [1.0], train_mse=[0.0], held_out_mse=[0.0], leave_one_out_mse=[0.0], gcv=[0.0])
    AlphaPathDisplay.from_path(perfect).figure_.canvas.draw()
    alone = AlphaPathDisplay.from_path(path, ax=display.axes_[0])
    assert len(alone.axes_) == 1


@pytest.mark.usefixtures("closed_figures")
def test_the_picture_refuses_what_it_cannot_draw(noisy_path: AlphaPath):
    with pytest.raises(ValueError, match="needs a penalty above 0"):
        AlphaPathDisplay(path_of([0], [-np.inf]))
    with pytest.raises(ValueError, match="one axes, or two; got 3"):
        AlphaPathDisplay(noisy_path).plot([None, None, None])
