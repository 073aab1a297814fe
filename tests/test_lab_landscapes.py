"""The landscapes, products, patterns and initial scales of the lab: oracles of their methods, and small studies."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anmin.lab import initial_scale, study_initial_scale, study_landscapes, study_patterns, study_products
from anmin.lab.descent import loss_and_gradient
from anmin.lab.initial_scale import POINTS, ROWS, TARGETS, follow, least_norm_fit, predicted_point, start
from anmin.lab.landscapes import best_convex_1d, best_network, best_of, cone, local_minima
from anmin.lab.study import spread
from anmin.lab.study_patterns import neurons_of_gaps, with_bias
from anmin.lab.study_products import n_distinct, scalar_values

X, Y = np.array([[-1.0], [1.0]]), np.array([1.0, 2.0])


def test_local_minima_of_a_quartic():
    found = local_minima(lambda t: (t**2 - 1) ** 2 + 0.1 * t, -2, 2)
    roots = np.roots([4, 0, -4, 0.1])
    np.testing.assert_allclose([t for t, _ in found], np.sort(roots.real)[[0, 2]], atol=1e-7)
    assert local_minima(np.sin, -1, 1) == []
    with pytest.raises(ValueError, match="interval of three points at least is needed; got 1 to 1"):
        local_minima(np.sin, 1, 1)


def test_best_of_takes_the_lower_of_two_valleys():
    def function(v):
        return float((v[0] ** 2 - 1) ** 2 + v[0]), np.array([4 * v[0] * (v[0] ** 2 - 1) + 1])

    right, left = np.array([1.0]), np.array([-1.0])
    assert best_of(function, [right])[0][0] > 0
    assert best_of(function, [right, left])[0][0] < -1


def test_minima_of_one_neuron_and_the_misprinted_sign():
    minima = local_minima(study_landscapes.one_neuron, -3, 3)
    np.testing.assert_allclose(minima, [(-1, 0.25), (0.5, 1)], atol=1e-7)
    programs = {
        on: (free, inside, value) for on, free, _, _, inside, value in study_landscapes.fixed_pattern_programs()
    }
    np.testing.assert_allclose(programs[1, 0], (-1, -1, 0.25), atol=1e-9)
    np.testing.assert_allclose(programs[0, 1], (0.5, 0.5, 1), atol=1e-9)
    np.testing.assert_allclose(programs[1, 1], (-0.25, 0, 1.25), atol=1e-9)


@pytest.mark.parametrize(
    ("w1", "w2", "loss"), [(2, -1, 0), (-1, 2, 0), (1, 1, 1), (2, 0, 1), (-0.5, -0.5, 4), (0, 0, 5)]
)
def test_landscape_of_two_neurons(w1, w2, loss):
    assert study_landscapes.two_neurons(np.array(w1), np.array(w2)) == loss


@pytest.mark.parametrize("end", [(0.3, 1.7), (-0.9, -0.1), (2.0, -1.0)])
def test_paths_from_plateaus_do_not_rise_and_reach_zero(end):
    corners = study_landscapes.descending_path(np.array(end))
    assert study_landscapes.rise(corners) <= 1e-12
    assert study_landscapes.two_neurons(*corners[-1]) == 0


def test_a_path_over_a_hill_counts_as_one():
    # Straight from the one plateau across the origin to the global minimum.
    assert study_landscapes.rise(np.array([(-0.5, -0.5), (0.0, 0.0), (2.0, -1.0)])) > 0.5


@pytest.mark.parametrize("lambda_", [0.1, 1.0, 3.0])
def test_product_of_two_variables_is_one(lambda_):
    value, convex, z = scalar_values(lambda_, np.random.default_rng(0))
    assert math.isclose(value, lambda_ - lambda_**2 / 4 if lambda_ < 2 else 1, abs_tol=1e-9)
    assert math.isclose(convex, value, abs_tol=1e-9)
    assert math.isclose(z, max(1 - lambda_ / 2, 0), abs_tol=1e-6)


def test_the_penalty_of_products_is_twice_that_of_weights():
    network = best_network(X, Y, 2, 0.1, np.random.default_rng(0), 10)
    assert math.isclose(network, 0.58, abs_tol=1e-9)
    assert math.isclose(best_convex_1d(X[:, 0], Y, 0.2), 0.58, abs_tol=1e-9)
    assert math.isclose(best_convex_1d(X[:, 0], Y, 0.1), 0.295, abs_tol=1e-9)


def test_convex_program_of_one_input_shrinks_each_side_by_itself():
    # For targets of any sign: min (u − y)² + β|u| on either side of 0.
    x, y, beta = np.array([-2.0, 1.0, 3.0]), np.array([-1.0, 2.0, -3.0]), 0.4
    sides = [(x[x < 0], y[x < 0]), (x[x > 0], y[x > 0])]
    expected = 0.0
    for a, b in sides:
        u = np.sign(a @ b) * max(abs(a @ b) - beta / 2, 0) / (a @ a)
        expected += np.sum((a * u - b) ** 2) + beta * abs(u)
    assert math.isclose(best_convex_1d(x, y, beta), expected, abs_tol=1e-9)


def test_cones_of_patterns():
    np.testing.assert_array_equal(cone(X, (1, 1)), [[0, 0]])  # all on, data of both signs: {0}
    np.testing.assert_array_equal(cone(X, (0, 1)), [[0, 1]])
    np.testing.assert_array_equal(cone(X, (1, 0)), [[-1, 0]])
    np.testing.assert_array_equal(cone(np.eye(2), (1, 0)), [[0, 1], [-1, 0]])


def test_neurons_of_gaps_lie_between_the_points():
    W = neurons_of_gaps(np.array([3.0, 0.0, 1.0]))
    assert W.shape == (2, 8)
    on = with_bias(np.array([0.0, 1.0, 3.0])) @ W > 0
    assert on[:, :4].T.astype(int).tolist() == [[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]]
    assert np.array_equal(on[:, 4:], ~on[:, :4])


def test_distinct_points_are_counted_within_a_tolerance():
    points = np.array([[0.0, 1.0], [0.0005, 1.0], [0.01, 1.0], [0.0, 2.0]])
    assert n_distinct(points) == 3
    assert n_distinct(points, 0.1) == 2


def test_initial_weights_are_balanced_and_mirrored_ones_give_no_output():
    rng = np.random.default_rng(0)
    W, a = start(rng, 50, 0.1)
    np.testing.assert_allclose(np.linalg.norm(W, axis=0), 0.1)
    np.testing.assert_allclose(np.abs(a), 0.1)
    assert {*np.sign(a)} == {*np.sign(W[0])} == {-1, 1}
    W, a = start(rng, 50, 10.0, mirrored=True)
    assert math.isclose(loss_and_gradient(ROWS, TARGETS, W, a)[0], TARGETS @ TARGETS, rel_tol=1e-9)
    for arguments in ((50, 0.0), (51, 1.0, True)):
        with pytest.raises(ValueError, match="scale must be positive, and mirrored neurons even in number; got"):
            start(rng, *arguments)


def test_predicted_point_is_that_of_the_figure():
    assert math.isclose(predicted_point(), -1.3, abs_tol=1e-12)
    # The line is not negative on the points, so that one neuron fits them.
    assert TARGETS.min() > 0


def test_the_fit_of_least_norm_is_one_neuron_on_the_line():
    norm, neurons = least_norm_fit(360)
    np.testing.assert_allclose(neurons, [[0.8], [0.8125]], atol=1e-9)
    assert math.isclose(norm, math.hypot(0.8, 0.8125), abs_tol=1e-9)


def test_neurons_gather_at_the_predicted_point_before_they_fit():
    path = follow(*start(np.random.default_rng(0), 100, 1e-6), 2e-3, 700, range(0, 700, 10))
    point = path.nearest(path.step_below(0.95))
    there = initial_scale.gathered(point)
    assert there.sum() > 0.6 * initial_scale.growing(point).sum()
    assert np.median(initial_scale.alignment(point)) > 0.999
    assert np.median(initial_scale.alignment(path.first)) < 0.8


def test_step_below_is_the_last_where_none_is():
    path = initial_scale.Path(np.array([4.0, 3.0, 1.0]), {}, 1.0)
    assert path.step_below(0.9) == 1
    assert path.step_below(0.1) == 2


def test_changed_patterns_are_counted_per_neuron():
    on_first, on_last = np.array([[-1.0], [-0.9]]), np.array([[1.0], [-0.9]])
    before, after = (
        initial_scale.Point(np.hstack(columns), np.ones(2), np.array(0.0))
        for columns in ((on_first, on_first), (on_first, on_last))
    )
    assert initial_scale.share_changed(before, after) == 0.5
    assert initial_scale.n_patterns_used(before) == 1
    assert initial_scale.n_patterns_used(after) == 2
    assert len(POINTS) == len(ROWS) == 4


def test_spread_tells_median_and_range():
    assert spread([1.0, 2.0, 4.0]) == "2 (median; 1 to 4)"
    assert spread([0.5, 0.5], percent=True) == "50%"
    assert spread([]) == "–"


DIFFERING = {
    "landscapes": ["u₂ = −y₁/x₁", "w = (0.3, 0.15)"],
    "products": ["λ Σ(|u| + |v|)", "both layers"],
    "patterns": ["ten patterns", "10^25"],
    "initial_scale": ["no neuron changes", "too slowly"],
}


@pytest.mark.parametrize("module", [study_landscapes, study_products, study_patterns, study_initial_scale])
def test_quick_studies_find_the_misprints_and_confirm_the_rest(module, monkeypatch):
    pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")
    for name, value in (
        ("drawn", lambda name, title, draw, size=(1, 1): _sketch(name, title, draw)),
        ("animated", _film),
    ):
        for where in (module, study_initial_scale.pictures):
            if hasattr(where, name):
                monkeypatch.setattr(where, name, value)
    study = module.run(quick=True)
    differing = [claim.claim for claim in study.claims if claim.verdict != "agrees"]
    expected = DIFFERING[study.name]
    assert len(differing) == len(expected)
    assert all(text in claim for text, claim in zip(expected, differing, strict=True))
    for table in study.tables:
        assert all(np.isfinite(cell) for row in table.rows for cell in row if not isinstance(cell, str))
    assert study.pictures


def _sketch(name, title, draw):
    """Draw without saving: what fails is the drawing, and the files are tested with those of all studies."""
    from matplotlib.figure import Figure

    draw(Figure())
    return name, title


def _film(name, title, draw, n_frames, size=(1, 1), seconds=0.1):
    _sketch(name, title, lambda figure: draw(figure, n_frames - 1))
    return name, title
