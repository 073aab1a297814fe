"""Networks of growing width: descent side by side, weights reused, and the study at tiny sizes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="descent is by PyTorch")

from anmin.lab.width_descent import descended_widths


def problem(s=2, n=20):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((s, n, 2))
    return X, np.abs(X[..., 0]) + 0.5 * X[..., 1]


def mse(network, X, y):
    return float(np.mean((network.predict(X)[:, 0] - y) ** 2))


def test_descent_lowers_the_error_and_networks_have_their_widths():
    X, y = problem()
    found = descended_widths(X, y, [3, 8], n_steps=400, rate=0.02, reuse=False, seed=0)
    assert {h: [net.A.shape for net in nets] for h, nets in found.items()} == {3: [(3, 3)] * 2, 8: [(3, 8)] * 2}
    for k in range(2):
        assert mse(found[8][k], X[k], y[k]) < 0.05 * np.var(y[k])


def test_data_sets_side_by_side_do_not_see_each_other():
    X, y = problem()
    other = y.copy()
    other[1] *= -3
    one, two = (
        descended_widths(X, targets, [4], n_steps=50, rate=0.02, reuse=False, seed=0)[4] for targets in (y, other)
    )
    np.testing.assert_allclose(one[0].A, two[0].A, rtol=1e-12)
    assert np.abs(one[1].A - two[1].A).max() > 1e-3


def test_reused_weights_are_where_a_wider_network_begins():
    """With hardly a step the old neurons stay as they were, and new ones are small."""
    X, y = problem()
    found = descended_widths(X, y, [3, 6], n_steps=1, rate=1e-9, reuse=True, seed=0)
    for narrow, wide in zip(found[3], found[6], strict=True):
        np.testing.assert_allclose(wide.A[:, :3], narrow.A, atol=1e-8)
        assert np.abs(wide.A[:, 3:]).max() < 0.5
    fresh = descended_widths(X, y, [3, 6], n_steps=1, rate=1e-9, reuse=False, seed=0)
    assert np.abs(fresh[6][0].A[:, :3] - fresh[3][0].A).max() > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": [3, 2]}, "must be positive and rise"),
        ({"widths": []}, "must be positive and rise"),
        ({"n_steps": 0}, "at least one step"),
        ({"rate": 0.0}, "positive rate"),
        ({"y": np.ones(4)}, "X must be"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(change, message):
    X, y = problem()
    settings = {"X": X, "y": y, "widths": [2], "n_steps": 1, "rate": 0.1, "reuse": False, "seed": 0} | change
    with pytest.raises(ValueError, match=message):
        descended_widths(**settings)


def test_the_study_finds_the_peak_of_exact_solvers(monkeypatch):
    from anmin.lab import study_width as study

    pytest.importorskip("matplotlib", reason="the study draws")
    monkeypatch.setattr(study, "_QUICK", (2, 10, 14, 100))
    monkeypatch.setattr(study, "_ITERATIONS", 150)
    outcome = study.run(quick=True, seed=0)
    tests, trains = ({row[0]: dict(zip(t.columns, row, strict=True)) for row in t.rows} for t in outcome.tables)
    free = {h: row["alpha=1e-8"] for h, row in tests.items()}
    assert max(free, key=free.get) in (10, 14)
    assert trains[100]["alpha=1e-8"] < 1e-6
    assert tests[10]['alpha="auto"'] < free[10] / 3
    assert [claim.verdict for claim in outcome.claims][1] == "agrees"
