"""Our solvers on planted networks: what counts as found, what cannot be tried, and the study at small sizes."""

from __future__ import annotations

import numpy as np
import pytest

from anmin.lab import study_planted
from anmin.lab.study_planted import METHODS, Setting, allowed, outcome, problem, run
from anmin.rows import ArrayRows
from anmin.solvers import AltMin, Anmin, Problem, VarPro, solve
from lab_checks import check_study


def test_problems_are_the_same_for_all_methods():
    setting = Setting(3, 50, 0.1)
    first, second = problem(setting, 4)[0], problem(setting, 4)[0]
    np.testing.assert_array_equal(first.X, second.X)
    np.testing.assert_array_equal(first.y, second.y)
    assert set(np.abs(first.v)) == {1.0}
    assert np.all(problem(setting._replace(equal=True), 4)[0].v == 1.0)


def test_what_counts_as_found_grows_with_noise_and_falls_with_rows():
    assert allowed(Setting(3, 1000), 0) == 1e-6
    noisy = allowed(Setting(3, 1000, 0.1), 0)
    assert noisy > 1e-4
    assert allowed(Setting(3, 1000, 0.2), 0) - 1e-6 == pytest.approx(4 * (noisy - 1e-6))


def test_the_tensor_start_finds_a_small_network():
    found = outcome("tensor, then varpro", Setting(2, 500), 0)
    assert found.error < 1e-9
    assert found.seconds > 0


@pytest.mark.parametrize("setting", [Setting(2, 100), Setting(11, 1000)])
def test_a_tensor_start_of_too_few_rows_or_too_many_neurons_is_not_tried(setting: Setting):
    assert outcome("tensor, then varpro", setting, 0).error == np.inf


def test_the_study_at_small_sizes(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")

    # A few iterations of each: what is tested is the study, not the solvers.
    def briefly(solver):
        def fit(planted, seed):
            rows = Problem(ArrayRows(planted.X, planted.y), planted.W.shape[1], 1e-8)
            return solve(rows, solver, max_iter=3, tol=0.0, rng=np.random.default_rng(seed)).network

        return fit

    for name, solver in (("default", VarPro()), ("anmin alone", Anmin()), ("altmin alone", AltMin())):
        monkeypatch.setitem(METHODS, name, briefly(solver))
    monkeypatch.setattr(study_planted, "_TEST_ROWS", 500)
    verdicts = check_study(run(quick=True), "planted", 2)
    assert len(verdicts) == 6
