"""The studies of expected losses and of the residual network of one layer."""

from __future__ import annotations

import numpy as np
import pytest

from anmin.lab import study_population, study_residual_one_layer
from anmin.lab.kernels import population_loss
from anmin.lab.study_residual_one_layer import population_descent
from lab_checks import check_study


def near_identity_pair(norm: float = 0.1, d: int = 20):
    first, second = np.random.default_rng(0).standard_normal((2, d, d))
    eye = np.eye(d)
    return eye + norm * first / np.linalg.norm(first, 2), eye + norm * second / np.linalg.norm(second, 2)


def test_descent_has_two_phases():
    W, W_star = near_identity_pair()
    potentials, distances = population_descent(W, W_star, 0.05, 1000)
    assert potentials[0] == pytest.approx(np.sum(np.linalg.norm(W_star, axis=0) - np.linalg.norm(W, axis=0)))
    assert distances[0] == pytest.approx(np.linalg.norm(W - W_star))
    # The potential is gone long before the weights are near.
    assert abs(potentials[50]) < 5e-4
    assert distances[50] > 0.3 * distances[0]
    assert 0.005 < distances[300] < 0.05
    assert distances[1000] < 1e-4


def test_descent_lowers_the_expected_loss():
    W, W_star = near_identity_pair(0.5, 5)
    potentials, distances = population_descent(W, W_star, 0.05, 400)
    assert len(potentials) == len(distances) == 401
    assert distances[-1] < 0.1 * distances[0]
    assert population_loss(W, W_star) > 1e-2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.eye(3), np.eye(2), 0.1, 5), r"W must have the shape \(2, 2\); got \(3, 3\)"),
        ((np.eye(2), np.eye(2), -0.1, 5), "rate must be a finite number above 0; got -0.1"),
        ((np.eye(2), np.eye(2), 0.1, 0), "n_steps must be an integer of at least 1; got 0"),
    ],
)
def test_bad_input_is_refused(arguments, message: str):
    with pytest.raises(ValueError, match=message):
        population_descent(*arguments)


def test_the_study_of_expectations():
    pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")
    verdicts = check_study(study_population.run(quick=True), "population", 2)
    assert [claim for claim, verdict in verdicts.items() if verdict == "differs"] == [
        "He's initialisation draws weights with the variance 1/m."
    ]


def test_the_study_of_the_residual_network(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")
    # Of six inputs: its steps are ten times as quick, and the phases are the same.
    monkeypatch.setattr(study_residual_one_layer, "_D", 6)
    verdicts = check_study(study_residual_one_layer.run(quick=True), "residual_one_layer", 1)
    assert verdicts["The expected gradient has the closed form of the source."] == "agrees"
    assert verdicts["The line of the review is that gradient."] == "differs"
    assert verdicts["Phase II: with a small potential the weights converge to W*."] == "agrees"
