"""The penalty of classes and counts: folds, what held-out rows say, and how the choice ends."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from anmin import ReLUClassifier
from anmin.cross_validation import _lowest, cross_validated, dealt, relevance_of
from anmin.generalised import asked_alpha
from anmin.history import Status
from anmin.losses import Logistic
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows
from anmin.search.quasi_newton import QuasiNewton
from anmin.search.reweighted import Reweighted
from anmin.solvers import Problem, VarPro, solve


def binary(n: int = 120, d: int = 3, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Return normal inputs, and labels that depend on whether the first two have the same sign."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, ((X[:, 0] * X[:, 1] > 0) ^ (rng.random(n) < 0.1)).astype(float)


def test_folds_are_balanced_within_the_classes() -> None:
    rng = np.random.default_rng(0)
    rows = ArrayRows(rng.standard_normal((103, 4)), np.eye(3)[rng.integers(0, 3, 103)])
    fold, groups = dealt(rows, 5, rng)
    assert groups == 103
    assert set(fold) == set(range(5))
    for member in rows.Y.T > 0:
        counts = np.bincount(fold[member], minlength=5)
        assert counts.max() - counts.min() <= 2


def test_folds_depend_neither_on_order_nor_on_repetition() -> None:
    X, y = binary(60)
    expected, _ = dealt(ArrayRows(X, y), 5, np.random.default_rng(1))
    order = np.random.default_rng(2).permutation(np.repeat(np.arange(60), 3))
    found, groups = dealt(ArrayRows(X[order], y[order]), 5, np.random.default_rng(1))
    assert groups == 60
    np.testing.assert_array_equal(found, expected[order])


def test_weighted_rows_count_as_repeated() -> None:
    X, y = binary(80)
    w = np.random.default_rng(3).integers(1, 4, 80)
    weighted, repeated = (
        cross_validated(Problem(rows, 4, 0.0, loss=Logistic()), np.random.default_rng(0), relevance=True)
        for rows in (ArrayRows(X, y, w), ArrayRows(np.repeat(X, w, axis=0), np.repeat(y, w)))
    )
    assert weighted.alpha == pytest.approx(repeated.alpha, rel=0.05)
    np.testing.assert_allclose(weighted.relevance, repeated.relevance, rtol=0.1)


def test_the_choice_is_nearly_the_best_of_a_sweep_by_new_rows() -> None:
    X, y = binary(200)
    new_X, new_y = binary(4000, seed=1)
    problem = Problem(ArrayRows(X, y), 8, 0.0, loss=Logistic())

    def on_new_rows(alpha: float) -> float:
        at = Problem(problem.rows, 8, alpha, loss=Logistic())
        network = solve(at, QuasiNewton(), tol=1e-5, rng=np.random.default_rng(0)).network
        return float(Logistic().values(network.predict(new_X), new_y[:, None]).mean())

    # The best of the sweep is chosen by what the choice does not see: it comes near that, and goes far from the worst.
    chosen = cross_validated(problem, np.random.default_rng(0))
    assert chosen.cut_short is None
    np.testing.assert_array_equal(chosen.relevance, 1.0)
    swept = [on_new_rows(alpha) for alpha in np.logspace(-5, -1, 9)]
    assert on_new_rows(chosen.alpha) < min(swept) + 0.15 * (max(swept) - min(swept))
    assert max(swept) > min(swept) + 0.2


def test_clean_classes_get_less_penalty_than_the_evidence_asks_for_and_are_predicted_better() -> None:
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(4).permutation(len(X))
    X, y = X[order], y[order]
    model = ReLUClassifier(12, random_state=0).fit(X[:400], y[:400])
    network = model.scaling_.unfold(model.network_)
    rows = ArrayRows(model.scaling_.apply(ArrayRows(X[:400], np.eye(10)[y[:400]]), "float64").X, np.eye(10)[y[:400]])
    from anmin.losses import Softmax

    asked = asked_alpha(Problem(rows, 12, model.alpha_, loss=Softmax()), Reweighted(VarPro()), network)
    assert model.alpha_ < asked / 2
    by_evidence = ReLUClassifier(12, alpha=asked, random_state=0).fit(X[:400], y[:400])

    def log_loss(one: ReLUClassifier) -> float:
        return -float(one.predict_log_proba(X[400:])[np.arange(len(X) - 400), y[400:]].mean())

    assert log_loss(model) < 0.9 * log_loss(by_evidence)


def test_inputs_of_no_use_are_of_little_relevance() -> None:
    X, y = binary(400, d=8)
    chosen = cross_validated(
        Problem(ArrayRows(X, y), 8, 0.0, loss=Logistic()), np.random.default_rng(0), relevance=True
    )
    assert chosen.relevance[:2].min() > 2 * chosen.relevance[2:].max()
    assert np.mean(chosen.relevance**2) == pytest.approx(1.0, rel=0.05)


def test_relevances_are_norms_of_hidden_weights() -> None:
    A = np.array([[9.0, 9.0], [3.0, 4.0], [0.0, 0.0], [0.0, 5.0]])
    expected = np.array([5.0, 0.0, 5.0]) / np.sqrt(50 / 3)
    found = relevance_of(ReLUNetwork(A, np.ones((2, 1)), np.zeros(1)))
    np.testing.assert_allclose(found[[0, 2]], expected[[0, 2]], rtol=0.05)
    assert 0 < found[1] < 0.01
    np.testing.assert_array_equal(relevance_of(ReLUNetwork(0 * A, np.ones((2, 1)), np.zeros(1))), 1.0)


def test_the_lowest_of_a_parabola_is_its_vertex() -> None:
    for vertex in (-0.4, 0.0, 0.3):
        assert _lowest({level: (level - vertex) ** 2 + 7 for level in (-1, 0, 1)}) == pytest.approx(vertex)
    assert _lowest({0: 3.0, 1: 1.0}) == 1
    assert _lowest({0: np.inf}) == 0


def test_fewer_rows_than_folds_leave_it_to_the_evidence() -> None:
    chosen = cross_validated(
        Problem(ArrayRows(np.eye(3), np.array([0.0, 1, 1])), 2, 0.0, loss=Logistic()), np.random.default_rng(0)
    )
    assert chosen.alpha > 0
    assert chosen.cut_short is None


def test_a_choice_that_is_cut_short_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = binary()
    problem = Problem(ArrayRows(X, y), 4, 0.0, loss=Logistic())
    late = cross_validated(problem, np.random.default_rng(0), deadline=time.perf_counter())
    assert late.cut_short is Status.MAX_TIME
    assert late.alpha == pytest.approx(1 / (2 * 120), rel=0.05)
    taken, real = [], QuasiNewton.step

    def step(self: QuasiNewton, problem: Problem, state: Any) -> Any:
        taken.append(1)
        if len(taken) == calls:
            raise KeyboardInterrupt
        return real(self, problem, state)

    monkeypatch.setattr(QuasiNewton, "step", step)
    for calls in (1, 200):
        taken.clear()
        assert cross_validated(problem, np.random.default_rng(0)).cut_short is Status.INTERRUPTED
        assert len(taken) == calls
