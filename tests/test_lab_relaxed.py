"""The study of relaxed descent: its planted sums, the distance of weights, and its verdicts at small sizes."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from anmin.lab import study_relaxed
from anmin.lab.planted_sums import distance, plant
from anmin.lab.study_relaxed import Case, Size, descend

pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")


def test_targets_are_those_of_the_planted_neurons():
    planted = plant(7, 4, 3, np.random.default_rng(0), n_test=5)
    assert planted.X.shape == (7, 4)
    assert planted.X_test.shape == (5, 4)
    for X, y in ((planted.X, planted.y), (planted.X_test, planted.y_test)):
        for x, target in zip(X, y, strict=True):
            assert target == pytest.approx(sum(max(float(x @ w), 0.0) for w in planted.W.T), rel=1e-14)


def test_the_distance_is_the_least_over_all_orders():
    rng = np.random.default_rng(1)
    for _ in range(5):
        V, W = rng.standard_normal((2, 6, 4))
        least = min(np.linalg.norm(V[:, order] - W) for order in permutations(range(4)))
        assert distance(V, W) == pytest.approx(least, rel=1e-13)
    assert distance(W[:, [2, 0, 3, 1]], W) == 0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="n_rows must be an integer of at least 1; got 0"):
        plant(0, 2, 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"two matrices of one shape; got \(2, 1\) and \(2, 2\)"):
        distance(np.zeros((2, 1)), np.zeros((2, 2)))


def test_descents_are_those_of_the_printed_rules():
    """One neuron: w − μ/n Aᵀ(σ(Aw) − y), and with the gates for gradient descent."""
    planted, mu, steps = plant(12, 5, 1, np.random.default_rng(3)), 0.1, 40
    A, y = planted.X, planted.y
    for relaxation in (True, False):
        w = np.random.default_rng(8).standard_normal((5, 1))[:, 0]
        for _ in range(steps):
            gates = np.ones(len(y)) if relaxation else A @ w > 0
            w = w - mu / len(y) * A.T @ (gates * (np.maximum(A @ w, 0) - y))
        found = descend(planted, relaxation, mu, steps, 8)
        assert found.loss == pytest.approx(np.mean((np.maximum(A @ w, 0) - y) ** 2), rel=1e-9)
        assert found.off == pytest.approx(np.linalg.norm(w - planted.W[:, 0]), rel=1e-9)
        assert len(found.losses) == steps // 10 + 1


def test_a_descent_that_diverges_says_so():
    found = descend(plant(100, 20, 1, np.random.default_rng(0)), True, 1e3, 500, 0)
    assert found.loss == np.inf
    assert not found.fits


def test_the_study_at_small_sizes(monkeypatch):
    cases = (Case(1, 10, 3, 600), Case(1, 100, 2, 900), Case(3, 10, 3, 400), Case(3, 100, 1, 50))
    monkeypatch.setattr(study_relaxed, "QUICK", Size(cases, (Case(1, 100, 1, 100),)))
    study = study_relaxed.run(quick=True)
    # The last is of the step without 1/n.
    assert [claim.verdict for claim in study.claims] == [*6 * ["agrees"], "differs"]
    rates = study.tables[0]
    assert [row[2] for row in rates.rows] == [3, 2, 3, 1]
    assert all(row[4] >= row[5] for row in rates.rows)
    assert np.isfinite([row[8:] for row in rates.rows]).all()
    assert [picture.content[:4] for picture in study.pictures] == 2 * [b"\x89PNG"]


def test_another_seed_is_another_run(monkeypatch):
    case = Case(1, 10, 1, 50)
    first, again, other = (study_relaxed.descents(case, seed, 0.1)[True][0].loss for seed in (0, 0, 1))
    assert first == again != other
