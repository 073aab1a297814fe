"""Pruning: which neurons go, what the others make up for, and the fits of what is left."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from anmin import ReLUClassifier, ReLUNetwork, ReLURegressor
from anmin.elimination import eliminated
from anmin.history import Status
from anmin.objective import penalty
from anmin.rows import ArrayRows
from anmin.search.pruning import narrowed
from anmin.solvers import MatrixFree, Problem, VarPro
from problems import CASES, Case, dense_loss


def random_network(h: int = 6, c: int = 2, slope: float = 0.0, d: int = 3) -> ReLUNetwork:
    rng = np.random.default_rng(0)
    return ReLUNetwork(rng.standard_normal((d + 1, h)), rng.standard_normal((h, c)), rng.standard_normal(c), slope)


def hidden(network: ReLUNetwork, X: NDArray) -> NDArray:
    Z = np.column_stack([np.ones(len(X)), X]) @ network.A
    return np.column_stack([np.where(Z > 0, Z, network.negative_slope * Z), np.ones(len(X))])


def planted(n: int = 400) -> tuple[NDArray, NDArray]:
    """Return the output of a network of three neurons on random inputs."""
    rng = np.random.default_rng(1)
    X = rng.uniform(-2, 2, (n, 2))
    A = np.array([[0.5, -0.3, 0.1], [1.0, 0.4, -1.2], [-0.5, 1.3, 0.6]])
    return X, np.maximum(A[0] + X @ A[1:], 0) @ np.array([1.0, -2.0, 1.5]) + 0.7


# The network alone


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_the_others_make_up_for_a_neuron_by_least_squares(slope: float) -> None:
    network, X = random_network(slope=slope), np.random.default_rng(2).standard_normal((200, 3))
    S, F = hidden(network, X), network.predict(X)
    errors = {}
    for gone in range(6):
        kept = [j for j in range(7) if j != gone]
        theta = np.linalg.lstsq(S[:, kept], F, rcond=None)[0]
        errors[gone] = np.sum((S[:, kept] @ theta - F) ** 2)
    pruned = network.pruned(5, X)
    least = min(errors, key=errors.__getitem__)
    np.testing.assert_array_equal(pruned.A, np.delete(network.A, least, axis=1))
    assert np.sum((pruned.predict(X) - F) ** 2) == pytest.approx(errors[least], rel=1e-6)
    for n in (4, 2, 1):
        fewer = network.pruned(n, X)
        assert fewer.n_neurons == n
        theta = np.linalg.lstsq(hidden(fewer, X), F, rcond=None)[0]
        np.testing.assert_allclose(np.vstack([fewer.B, fewer.b0]), theta, rtol=1e-6, atol=1e-8)


def test_neurons_that_others_replace_go_at_no_cost() -> None:
    one, X = random_network(), np.random.default_rng(3).standard_normal((100, 3))
    small = 1e-9 * one.A[:, :2]  # whose outputs are small, which is no reason to go
    both = ReLUNetwork(np.hstack([one.A[:, 2:], small, small]), np.vstack([one.B[2:], *[5e8 * one.B[:2]] * 2]), one.b0)
    np.testing.assert_allclose(both.pruned(6, X).predict(X), one.predict(X), rtol=1e-5, atol=1e-5)
    dead = ReLUNetwork(np.hstack([one.A, [[-100.0], [1.0], [0], [0]]]), np.vstack([one.B, [[9.0, 9.0]]]), one.b0)
    np.testing.assert_array_equal(dead.pruned(6, X).A, one.A)


def test_a_network_that_is_small_enough_stays() -> None:
    network, X = random_network(), np.zeros((2, 3))
    for n in (6, 60):
        np.testing.assert_array_equal(network.pruned(n, X).A, network.A)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((0, np.zeros((2, 3))), "n_neurons must be an integer of at least 1; got 0"),
        ((2.5, np.zeros((2, 3))), "n_neurons must be an integer"),
        ((True, np.zeros((2, 3))), "n_neurons must be an integer"),
        ((2,), "give rows of them"),
        ((2, np.zeros((2, 4))), r"shape \(rows, 3\)"),
        ((2, np.zeros((0, 3))), "at least one row"),
    ],
)
def test_pruning_a_network_needs_a_number_and_rows(given: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_network().pruned(*given)


def test_elimination_is_that_of_the_smaller_system() -> None:
    rng = np.random.default_rng(4)
    S, Y = rng.standard_normal((50, 7)), rng.standard_normal((50, 2))
    K = S.T @ S + 0.1 * np.eye(7)
    gone, theta = eliminated(K, np.linalg.solve(K, S.T @ Y), 3)
    kept = [j for j in range(7) if j not in gone]
    assert kept[-1] == 6  # the bias stays
    np.testing.assert_allclose(theta, np.linalg.solve(K[np.ix_(kept, kept)], (S.T @ Y)[kept]), rtol=1e-8)


def test_joined_neurons_are_the_same_function_however_large_or_small() -> None:
    one, X = random_network(slope=0.1), np.random.default_rng(5).standard_normal((100, 3))
    copies = ReLUNetwork(
        np.hstack([one.A, 1e120 * one.A, 1e-120 * one.A]),
        np.vstack([one.B, 1e-120 * one.B, -2e120 * one.B]),
        one.b0,
        0.1,
    )
    merged = copies.merged()
    assert merged.n_neurons == 6
    np.testing.assert_allclose(merged.predict(X), one.b0 + 0 * (one.predict(X)), rtol=1e-9, atol=1e-9)


# A step of the search, and of pruning


@pytest.mark.parametrize("inner", [VarPro(), MatrixFree(damping=0.1)], ids=["dense", "matrix-free"])
@pytest.mark.parametrize("case", [CASES[i] for i in (0, 3, 5)], ids=lambda case: case.name)
def test_narrowing_takes_no_pass_and_ends_where_one_would(case: Case, inner: Any, monkeypatch: Any) -> None:
    rows = case.rows()
    problem = Problem(rows, case.n_neurons, 1e-3, case.negative_slope)
    state = inner.begin(problem, case.data()[3])
    with monkeypatch.context() as patched:
        for name in ("statistics", "output_statistics", "products"):
            if hasattr(ArrayRows, name):
                patched.setattr(ArrayRows, name, lambda *_, **__: pytest.fail("a pass over the rows"))
        left = narrowed(problem, inner, state, 2)
    assert left.network.n_neurons == case.n_neurons - 2
    again = inner.begin(replace(problem, n_neurons=case.n_neurons - 2), left.network.A)
    assert left.loss == pytest.approx(again.loss, rel=1e-8)
    # No pair costs less than the first of the two does alone, and few pairs less than both.
    costs = []
    for pair in itertools.combinations(range(case.n_neurons), 2):
        A = np.delete(state.network.A, pair, axis=1)
        costs.append(inner.begin(replace(problem, n_neurons=A.shape[1]), A).loss)
    assert np.sum(np.array(costs) < left.loss * (1 - 1e-6)) <= 2


# Estimators


def fitted(X: NDArray, y: NDArray, **settings: Any) -> ReLURegressor:
    return ReLURegressor(**({"n_neurons": 12, "alpha": 1e-5, "relocate": False, "random_state": 0} | settings)).fit(
        X, y
    )


def test_a_planted_network_is_what_is_left() -> None:
    X, y = planted()
    model = fitted(X, y)
    for n, least in ((4, 1 - 1e-7), (3, 0.999)):  # two neurons of one hyperplane, then one
        pruned = model.pruned(n, X, y)
        assert pruned.network_.n_neurons == pruned.n_neurons == n
        assert pruned.score(X, y) > least
    assert pruned.predict(X).shape == y.shape


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_the_rise_of_the_loss_is_stated(slope: float) -> None:
    X, y = planted()
    y = y + np.random.default_rng(6).standard_normal(len(y))
    w = np.random.default_rng(7).uniform(0.5, 2.0, len(y))
    model = ReLURegressor(8, negative_slope=slope, relocate=False, random_state=0).fit(X, y, w)
    before = model.network_
    pruned = model.pruned(4, X, y, w)
    assert model.network_ is before
    assert model.n_neurons == 8
    assert (pruned.alpha_, pruned.scaling_) == (model.alpha_, model.scaling_)
    assert np.all(np.diff(pruned.history_["loss"]) <= 0)
    losses = []
    for one in (model, pruned):
        scaled = model.scaling_.apply(ArrayRows(X, y[:, None], w))
        inner = model.scaling_.unfold(one.network_)
        losses.append(dense_loss(scaled.X, scaled.Y, scaled.w, inner.A, inner.B, inner.b0, slope, model.alpha_))
    assert pruned.loss_ == pytest.approx(losses[1], rel=1e-9)
    assert pruned.loss_rise_ == pytest.approx(losses[1] - losses[0], rel=1e-6)
    assert 0 < pruned.loss_rise_ < 0.2 * model.loss_
    assert model.loss_ == pytest.approx(losses[0], rel=1e-9)


def test_pruning_beats_taking_neurons_away_without_a_fit() -> None:
    X, _ = planted()
    y = np.sin(2 * X[:, 0]) + np.abs(X[:, 1])
    model = fitted(X, y, n_neurons=24)
    predictions = model.pruned(6, X, y).predict(X), model.network_.pruned(6, X).predict(X)[:, 0]
    errors = [np.mean((found - y) ** 2) for found in predictions]
    assert errors[0] < 0.2 * errors[1]


@pytest.mark.parametrize("loss", ["absolute", "huber", "quantile", "poisson"])
def test_other_losses_are_pruned_by_themselves(loss: str) -> None:
    X, y = planted(200)
    y = np.floor(np.abs(y)) if loss == "poisson" else y + np.random.default_rng(8).standard_t(2, len(y))
    model = ReLURegressor(6, loss=loss, quantile=0.8, relocate=False, random_state=0).fit(X, y)
    pruned = model.pruned(3, X, y)
    assert pruned.network_.n_neurons == 3
    assert np.all(np.diff(pruned.history_["loss"]) <= 0)
    assert pruned.loss_rise_ == pytest.approx(pruned.loss_ - model.loss_, rel=1e-6, abs=1e-9)
    if loss == "quantile":
        assert np.mean(y <= pruned.predict(X)) == pytest.approx(0.8, abs=0.05)


def test_the_loss_is_that_of_the_last_fit() -> None:
    X, y = planted(100)
    model = fitted(X, y, n_neurons=4, loss="huber").set_params(loss="squared").fit(X, y)
    pruned = model.pruned(3, X, y)
    assert pruned.loss_rise_ == pytest.approx(pruned.loss_ - model.loss_, rel=1e-6, abs=1e-12)
    np.testing.assert_array_equal(pruned.network_.A, fitted(X, y, n_neurons=4).pruned(3, X, y).network_.A)


@pytest.mark.parametrize("loss", ["log", "squared"])
@pytest.mark.parametrize("labels", [["no", "yes"], ["a", "b", "c"]], ids=len)
def test_classifiers_are_pruned(loss: str, labels: list[str]) -> None:
    X, y = planted(300)
    classes = np.array(labels)[np.digitize(y, np.quantile(y, [0.4, 0.7][: len(labels) - 1]))]
    model = ReLUClassifier(8, loss=loss, relocate=False, random_state=0).fit(X, classes)
    pruned = model.pruned(4, X, classes)
    assert pruned.network_.n_neurons == 4
    assert pruned.network_.output_names == model.network_.output_names
    assert pruned.out_activation_ == model.out_activation_
    assert pruned.loss_rise_ == pytest.approx(pruned.loss_ - model.loss_, rel=1e-6, abs=1e-9)
    assert pruned.score(X, classes) > 0.8 * model.score(X, classes)
    with pytest.raises(ValueError, match="the classes of the fit"):
        model.pruned(4, X, np.where(classes == labels[0], "other", classes))


def test_the_same_width_is_a_fit_that_goes_on() -> None:
    X, y = planted()
    with pytest.warns(ConvergenceWarning):
        model = fitted(X, y, n_neurons=6, max_iter=3)
    on = model.set_params(max_iter=None).pruned(6, X, y)
    assert on.loss_rise_ < 0
    assert on.history_["loss"][0] <= model.loss_ * (1 + 1e-6)


def test_held_out_rows_are_those_of_the_fit_and_choose_the_iterate() -> None:
    X, y = planted()
    model = fitted(X, y, validation_fraction=0.25, random_state=3)
    pruned = model.pruned(4, X, y)
    values = pruned.history_["validation_mse"]
    assert pruned.loss_ == pruned.history_["loss"][values.argmin()]


def test_limits_are_kept() -> None:
    X, y = planted()
    model = fitted(X, y)
    with pytest.warns(ConvergenceWarning, match="max_time"):
        hasty = model.set_params(max_time=1e-9).pruned(4, X, y)
    assert hasty.network_.n_neurons == 4
    assert hasty.status_ is Status.MAX_TIME
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        short = model.set_params(max_time=None, max_iter=1).pruned(2, X, y)
    assert short.n_iter_ == 1


@pytest.mark.parametrize("loss", ["squared", "absolute"])
def test_an_interrupt_leaves_the_wide_model_or_the_narrow_one(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = planted(100)
    model = fitted(X, y, n_neurons=6, loss=loss)
    before, real, calls = model.network_, VarPro.step, []

    def interrupted(self: VarPro, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return real(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(VarPro, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.pruned(3, X, y)
    assert model.network_ is before

    def interrupt(record: Any, network: ReLUNetwork) -> None:
        raise KeyboardInterrupt

    with pytest.warns(ConvergenceWarning, match="interrupted"):
        late = model.set_params(callbacks=interrupt).pruned(3, X, y)
    assert late.status_ is Status.INTERRUPTED
    assert late.network_.n_neurons == 3


def test_what_cannot_be_pruned_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = planted(60)
    model = fitted(X, y, n_neurons=4)
    monkeypatch.setattr("anmin.fitting.pruned_solution", lambda *_, **__: pytest.fail("work began"))
    for n in (0, 5, 2.0, "2"):
        with pytest.raises(ValueError, match="n_neurons must be an integer from 1 to 4, those of the model"):
            model.pruned(n, X, y)
    with pytest.raises(ValueError, match=r"the 2 inputs and 1 outputs of the fit; got \(1, 1\)"):
        model.pruned(2, X[:, :1], y)
    with pytest.raises(ValueError, match="requires y"):
        model.pruned(2, X)
    with pytest.raises(NotFittedError):
        ReLURegressor().pruned(2, X, y)


def test_rows_of_files_are_pruned_by_a_sample(tmp_path: Any) -> None:
    from anmin.rows import NpyRows

    X, y = planted(60)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    rows = NpyRows(tmp_path / "X.npy", tmp_path / "y.npy")
    model = fitted(X, y, n_neurons=4)
    with pytest.raises(ValueError, match="give it a sample"):
        model.pruned(2, rows)
    by_sample = model.pruned(2, rows.sample())
    np.testing.assert_allclose(by_sample.predict(X), model.pruned(2, X, y).predict(X), rtol=1e-5, atol=1e-6)


def test_settings_that_are_of_one_fit_do_not_go_on(tmp_path: Any) -> None:
    X, y = planted(60)
    model = fitted(X, y, n_neurons=4, checkpoint=tmp_path / "fit", warm_start=True)
    pruned = model.pruned(2, X, y)
    assert (pruned.checkpoint, pruned.warm_start) == (None, False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(model.pruned(2, X, y).predict(X), pruned.predict(X))
    assert penalty(pruned.network_.A, pruned.network_.B, pruned.network_.b0) > 0
