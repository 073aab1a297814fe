"""Pictures of fits: what is drawn is what brute force finds."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmin import ReLUNetwork, ReLURegressor, datasets
from anmin.history import History, Record
from anmin.influence import influence
from anmin.inspection import (
    CalibrationDisplay,
    CellsDisplay,
    ConditioningDisplay,
    ErrorSizeDisplay,
    ImportanceDisplay,
    LeverageDisplay,
    PartialDependence,
    PartialDependenceDisplay,
    PatternDisplay,
)
from anmin.inspection.importance import bends, removal_costs

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def random_network(seed: int, d: int, h: int, c: int = 1, slope: float = 0.0) -> ReLUNetwork:
    rng = np.random.default_rng(seed)
    return ReLUNetwork(rng.standard_normal((d + 1, h)), rng.standard_normal((h, c)), rng.standard_normal(c), slope)


def brute_force(network: ReLUNetwork, X: np.ndarray, feature: int, t: np.ndarray, w=None) -> np.ndarray:
    """Return the average prediction with the input set to each value, (points, c)."""
    found = []
    for value in t:
        moved = X.copy()
        moved[:, feature] = value
        found.append(np.average(network.predict(moved), axis=0, weights=w))
    return np.array(found)


@pytest.fixture(scope="module")
def table_fit() -> tuple[ReLURegressor, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 3))
    y = np.abs(X[:, 0]) + 0.3 * X[:, 1] + 0.1 * rng.standard_normal(120)
    return ReLURegressor(5, alpha=0.01, relocate=False, random_state=0).fit(X, y), X, y


@pytest.mark.parametrize("slope", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_partial_dependence_equals_brute_force_at_random_points(slope: float, weighted: bool) -> None:
    network = random_network(1, d=3, h=7, c=2, slope=slope)
    rng = np.random.default_rng(2)
    X = rng.standard_normal((60, 3)) * [1, 10, 0.1] + [0, 100, 0]
    w = rng.integers(0, 3, 60).astype(float) if weighted else None
    for feature in range(3):
        for output in range(2):
            curve = PartialDependence(network, X, feature, output=output, sample_weight=w)
            t = rng.uniform(curve.low, curve.high, 50)
            expected = brute_force(network, X, feature, t, w)[:, output]
            np.testing.assert_allclose(curve(t), expected, rtol=0, atol=1e-10 * max(1, np.abs(expected).max()))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(0, 6), st.integers(1, 12))
def test_partial_dependence_holds_for_any_small_network(seed: int, d: int, h: int, n: int) -> None:
    # Small integers: rows on creases, neurons that do not depend on the input, kinks that coincide.
    rng = np.random.default_rng(seed)
    network = ReLUNetwork(
        rng.integers(-2, 3, (d + 1, h)).astype(float), rng.integers(-2, 3, (h, 1)).astype(float), np.ones(1)
    )
    X = rng.integers(-2, 3, (n, d)).astype(float)
    curve = PartialDependence(network, X, 0)
    t = np.concatenate([rng.uniform(curve.low, curve.high, 9), [curve.low, curve.high], curve.kinks])
    np.testing.assert_allclose(curve(t), brute_force(network, X, 0, t)[:, 0], rtol=0, atol=1e-10)


def test_partial_dependence_of_many_rows_keeps_its_digits() -> None:
    network = random_network(3, d=2, h=40)
    rng = np.random.default_rng(4)
    X = rng.standard_normal((20_000, 2))
    curve = PartialDependence(network, X, 1)
    assert len(curve.kinks) > 100_000
    t = rng.uniform(curve.low, curve.high, 12)
    np.testing.assert_allclose(curve(t), brute_force(network, X, 1, t)[:, 0], rtol=0, atol=1e-10)


def test_kinks_are_where_the_neurons_switch_and_nowhere_else() -> None:
    network = random_network(5, d=2, h=4)
    X = np.random.default_rng(6).standard_normal((5, 2))
    curve = PartialDependence(network, X, 0)
    z = X[:, [1]] * network.A[2] + network.A[0]
    places = np.sort((-z / network.A[1]).ravel())
    np.testing.assert_allclose(curve.kinks, places[(places > curve.low) & (places < curve.high)], rtol=1e-12)
    # Linear between neighbours: the middle is the mean of the ends.
    ends = np.concatenate([[curve.low], curve.kinks, [curve.high]])
    middle = brute_force(network, X, 0, (ends[1:] + ends[:-1]) / 2)[:, 0]
    at = brute_force(network, X, 0, ends)[:, 0]
    np.testing.assert_allclose(middle, (at[1:] + at[:-1]) / 2, atol=1e-12)


def test_polyline_of_many_kinks_is_within_a_pixel_of_the_curve() -> None:
    network = random_network(7, d=2, h=30)
    X = np.random.default_rng(8).standard_normal((3000, 2))
    X[:1500] *= 1e-3  # most kinks of the first rows are close together
    curve = PartialDependence(network, X, 0)
    x, y = curve.polyline()
    assert len(x) < 10_000 < len(curve.kinks)
    assert (np.diff(x) >= 0).all()
    t = np.random.default_rng(9).uniform(curve.low, curve.high, 5000)
    np.testing.assert_allclose(np.interp(t, x, y), curve(t), atol=1e-4 * np.ptp(y))


def test_partial_dependence_of_a_constant_input_has_an_interval() -> None:
    network = random_network(9, d=2, h=3)
    X = np.column_stack([np.ones(4), np.arange(4.0)])
    curve = PartialDependence(network, X, 0)
    assert (curve.low, curve.high) == (0.5, 1.5)
    np.testing.assert_allclose(curve(1.0), network.predict(X).mean(), atol=1e-12)


def test_partial_dependence_refuses_what_it_cannot_draw() -> None:
    network, X = random_network(0, d=2, h=3), np.ones((4, 2))
    with pytest.raises(ValueError, match="feature must be at least 0 and below 2; got 2"):
        PartialDependence(network, X, 2)
    with pytest.raises(ValueError, match=r"X must have shape \(rows, 2\), with at least one row; got \(4, 3\)"):
        PartialDependence(network, np.ones((4, 3)), 0)
    with pytest.raises(ValueError, match="X must be finite"):
        PartialDependence(network, X * np.nan, 0)
    with pytest.raises(ValueError, match="the first below the second"):
        PartialDependence(network, X, 0, interval=(1.0, 1.0))
    with pytest.raises(ValueError, match="at least one input"):
        PartialDependenceDisplay.from_network(network, X, [])
    with pytest.raises(ValueError, match="each of the 2 inputs; got 1"):
        PartialDependenceDisplay.from_network(network, X, ax=matplotlib.figure.Figure().subplots())


def test_partial_dependence_display_draws_the_curves_on_one_scale(table_fit) -> None:
    model, X, _ = table_fit
    display = PartialDependenceDisplay.from_estimator(model, X, [1, 0])
    assert [ax.get_xlabel() for ax in display.axes_] == ["input 1", "input 0"]
    assert len({ax.get_ylim() for ax in display.axes_}) == 1
    for line, feature in zip(display.lines_, (1, 0), strict=True):
        x, y = line.get_data()
        np.testing.assert_allclose(y, brute_force(model.network_, X, feature, x)[:, 0], atol=1e-9)


def area(polygon: np.ndarray) -> float:
    x, y = (polygon - polygon[0]).T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def test_cells_tile_the_rectangle_and_each_has_one_pattern() -> None:
    network = random_network(10, d=2, h=12)
    X = np.random.default_rng(11).uniform(-1, 1, (3000, 2))
    display = CellsDisplay.from_network(network, X)
    (x0, y0), (x1, y1) = display.plane.low, display.plane.high
    assert sum(map(area, display.polygons)) == pytest.approx((x1 - x0) * (y1 - y0))
    assert display.counts.sum() == len(X)
    rng = np.random.default_rng(12)
    patterns = set()
    for polygon in display.polygons:
        inside = rng.dirichlet(np.ones(len(polygon)), 20) @ polygon
        found = np.unique(network.pattern(inside), axis=0)
        assert len(found) == 1
        patterns.add(found.tobytes())
    assert len(patterns) == len(display.polygons)
    display.figure_.canvas.draw()


def test_the_number_of_cells_is_that_of_the_arrangement() -> None:
    # 1 + creases + their crossings within the rectangle, where no three meet in a point.
    network = random_network(13, d=2, h=9)
    X = np.array([[-1.0, -1.0], [1.0, 1.0]])
    display = CellsDisplay(network, X)
    corners = np.array([[1, x, y] for x in (-1, 1) for y in (-1, 1)]) @ network.A > 0
    crossing = np.flatnonzero(corners.any(axis=0) & ~corners.all(axis=0))
    points = [
        np.linalg.solve(network.A[1:, [i, j]].T, -network.A[0, [i, j]]) for i in crossing for j in crossing if i < j
    ]
    inside = sum(bool((np.abs(point) < 1).all()) for point in points)
    assert len(display.polygons) == 1 + len(crossing) + inside


def test_pattern_map_holds_the_pattern_in_another_order(table_fit) -> None:
    model, X, _ = table_fit
    on = model.network_.pattern(X)
    display = PatternDisplay.from_estimator(model, X)
    assert sorted(display.row_order) == list(range(len(X)))
    assert sorted(display.neuron_order) == list(range(on.shape[1]))
    np.testing.assert_array_equal(display.activity, on[np.ix_(display.row_order, display.neuron_order)])
    assert display.n_cells == len(np.unique(on, axis=0))
    # Rows of one pattern are neighbours: as many runs as patterns.
    ordered = on[display.row_order]
    assert 1 + (ordered[1:] != ordered[:-1]).any(axis=1).sum() == display.n_cells
    display.figure_.canvas.draw()


def test_pattern_map_of_an_ordered_pattern_finds_the_order() -> None:
    # Neuron j is active from row 10·j on: a staircase, which a shuffle hides.
    stairs = np.arange(80)[:, None] >= 10 * np.arange(1, 7)
    rng = np.random.default_rng(14)
    display = PatternDisplay(stairs[rng.permutation(80)][:, rng.permutation(6)])
    assert (np.abs(np.diff(display.activity, axis=0)).sum(axis=0) == 1).all()
    starts = display.activity.sum(axis=0)
    assert (np.diff(starts) > 0).all() or (np.diff(starts) < 0).all()


def test_pattern_map_of_many_rows_shows_shares() -> None:
    on = np.random.default_rng(15).random((5000, 4)) < 0.3
    on[:, 0], on[:, 1] = True, False
    display = PatternDisplay(on)
    assert display.activity.shape == (500, 4)
    np.testing.assert_allclose(display.activity.mean(axis=0), on.mean(axis=0)[display.neuron_order])
    assert display.neuron_order[0] == 0
    assert display.neuron_order[-1] == 1
    assert "1 always on, 1 never on" in display.plot().axes_[0].get_title()
    with pytest.raises(ValueError, match="at least one of each"):
        PatternDisplay(np.ones((0, 3)))


def test_removal_costs_are_those_of_least_squares_without_the_neuron() -> None:
    network = random_network(16, d=3, h=6, c=2)
    rng = np.random.default_rng(17)
    X, w = rng.standard_normal((200, 3)), rng.random(200)
    costs = removal_costs(network, X, w)
    f, root = network.predict(X), np.sqrt(w / w.sum())[:, None]
    S = np.maximum(np.column_stack([np.ones(200), X]) @ network.A, 0)
    for j in range(6):
        others = np.column_stack([np.delete(S, j, axis=1), np.ones(200)])
        fitted = others @ np.linalg.lstsq(root * others, root * f, rcond=None)[0]
        assert costs[j] == pytest.approx(np.linalg.norm(root * (f - fitted)), rel=1e-8)


def test_neurons_that_do_nothing_cost_nothing() -> None:
    network = random_network(18, d=2, h=3)
    A = np.column_stack([network.A, network.A[:, 0], [-1e3, 0, 0]])
    B = np.vstack([network.B, [[1.0]], [[1.0]]])
    X = np.random.default_rng(19).standard_normal((100, 2))
    costs = removal_costs(ReLUNetwork(A, B, np.zeros(1)), X)
    # Two neurons of one direction replace each other, and the last is active nowhere.
    np.testing.assert_array_equal(costs[[0, 3, 4]], 0)
    assert (costs[[1, 2]] > 1e-3).all()


def test_bends_are_jumps_of_the_gradient() -> None:
    network = random_network(20, d=2, h=4, c=2, slope=0.1)
    for j in range(4):
        a = network.A[:, j]
        point = -a[0] * a[1:] / (a[1:] @ a[1:])
        normal = a[1:] / np.linalg.norm(a[1:])
        eps = 1e-6
        before, at, after = network.predict(point + np.array([[-eps], [0], [eps]]) * normal)
        assert np.linalg.norm(after - 2 * at + before) / eps == pytest.approx(bends(network)[j], rel=1e-6)


def test_importance_display_orders_the_neurons(table_fit) -> None:
    model, X, _ = table_fit
    display = ImportanceDisplay.from_estimator(model, X)
    heights = [bar.get_height() for bar in display.ax_.patches]
    np.testing.assert_allclose(heights, np.sort(removal_costs(model.network_, X))[::-1])
    assert (np.diff(display.importance[display.order]) <= 0).all()
    ImportanceDisplay.from_network(random_network(0, 2, 200)).figure_.canvas.draw()
    with pytest.raises(ValueError, match="finite numbers of at least 0"):
        ImportanceDisplay([1.0, np.nan])
    with pytest.raises(ValueError, match="finite numbers of at least 0"):
        ImportanceDisplay.from_network(ReLUNetwork(np.full((3, 1), 1e200), np.full((1, 1), 1e200), np.zeros(1)))


def test_leverage_display_draws_what_influence_finds(table_fit) -> None:
    model, X, y = table_fit
    display = LeverageDisplay.from_estimator(model, X, y)
    found = influence(model, X, y)
    drawn = display.ax_.collections[0].get_offsets()
    np.testing.assert_allclose(drawn, np.column_stack([found.leverage, found.leave_one_out_residuals]))
    moved = np.abs(found.residuals - found.leave_one_out_residuals)[:, 0]
    assert display.named[0] == np.argmax(moved)
    display.figure_.canvas.draw()
    with pytest.raises(ValueError, match="output must be at least 0 and below 1; got 1"):
        LeverageDisplay(found, output=1)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("solver", "expected"),
    [
        ("anmin", ("condition_number", "log_determinant", "pattern_changes")),
        ("varpro", ("damping", "pattern_changes")),
    ],
)
def test_conditioning_draws_what_the_solver_measured(solver: str, expected: tuple[str, ...]) -> None:
    data = datasets.make_sdf("star", size=12)
    model = ReLURegressor(4, solver=solver, alpha=1e-3, relocate=False, max_iter=5, random_state=0)
    model.fit(data.X, data.y)
    display = ConditioningDisplay.from_estimator(model)
    assert display.quantities == expected
    for name in expected:
        recorded = model.history_[name].astype(float)[1:]
        drawn = display.lines_[name].get_ydata()
        np.testing.assert_array_equal(drawn[np.isfinite(drawn)], recorded[np.isfinite(recorded)])
    display.figure_.canvas.draw()


def test_conditioning_marks_degenerate_solves_and_leaves_out_what_a_logarithm_has_not() -> None:
    branches = ("", "regular", "degenerate", "regular")
    numbers = (np.nan, 10.0, np.inf, 1e9)
    history = History(
        tuple(
            Record(iteration=i, condition_number=number, branch=branch)
            for i, (number, branch) in enumerate(zip(numbers, branches, strict=True))
        )
    )
    display = ConditioningDisplay.from_history(history)
    np.testing.assert_array_equal(display.lines_["condition_number"].get_ydata(), [np.nan, 10, np.nan, 1e9])
    np.testing.assert_array_equal(display.axes_[0].lines[1].get_xdata(), [2])
    with pytest.raises(ValueError, match="this one has none"):
        ConditioningDisplay(History((Record(),)))
    with pytest.raises(ValueError, match="ax must hold 2 axes"):
        display.plot([])


def test_calibration_groups_are_means_of_equal_parts() -> None:
    rng = np.random.default_rng(21)
    p = rng.standard_normal(1000)
    y = p + rng.standard_normal(1000)
    display = CalibrationDisplay.from_predictions(y, p, n_bins=10)
    np.testing.assert_array_equal(display.counts, 100)
    parts = np.argsort(p).reshape(10, 100)
    np.testing.assert_allclose(display.predicted, p[parts].mean(axis=1))
    np.testing.assert_allclose(display.actual, y[parts].mean(axis=1))
    np.testing.assert_allclose(display.error, y[parts].std(axis=1, ddof=1) / 10)
    display.figure_.canvas.draw()


def test_weights_count_as_repeated_rows_in_a_calibration() -> None:
    rng = np.random.default_rng(22)
    p, y, w = rng.standard_normal(40), rng.standard_normal(40), rng.integers(1, 4, 40)
    weighted = CalibrationDisplay(y, p, sample_weight=w, n_bins=1)
    repeated = CalibrationDisplay(np.repeat(y, w), np.repeat(p, w), n_bins=1)
    np.testing.assert_allclose(weighted.actual, repeated.actual)
    np.testing.assert_allclose(weighted.predicted, repeated.predicted)
    # Weights say how rows count, not that there are more of them: the error is no smaller for that.
    assert weighted.error[0] > repeated.error[0]
    np.testing.assert_allclose(CalibrationDisplay(y, p, sample_weight=w * 7.0, n_bins=1).error, weighted.error)


@pytest.mark.parametrize("predictions", [[1.0], [1.0, 1.0, 1.0], [0.0, 1.0], [0.0] * 50 + [1.0] * 3])
def test_calibration_keeps_equal_predictions_together(predictions: list[float]) -> None:
    display = CalibrationDisplay.from_predictions(np.arange(len(predictions)), predictions)
    np.testing.assert_array_equal(display.predicted, np.unique(predictions))
    assert display.counts.sum() == len(predictions)
    display.figure_.canvas.draw()


def test_calibration_refuses_what_it_cannot_draw(table_fit) -> None:
    model, X, _ = table_fit
    with pytest.raises(ValueError, match="must be finite"):
        CalibrationDisplay([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(ValueError, match="n_bins must be at least 1; got 0"):
        CalibrationDisplay([1.0], [1.0], n_bins=0)
    with pytest.raises(ValueError, match=r"y must have shape \(120, 1\)"):
        CalibrationDisplay.from_estimator(model, X, np.ones(3))


def test_error_against_bytes_is_that_of_the_networks(table_fit) -> None:
    model, X, y = table_fit
    networks = [random_network(k, d=3, h=k) for k in (4, 1, 2)]
    display = ErrorSizeDisplay.from_networks([model.network_, *networks], X, y)
    expected = {n.n_bytes: np.sqrt(np.mean((n.predict(X)[:, 0] - y) ** 2)) for n in [model.network_, *networks]}
    np.testing.assert_array_equal(display.n_bytes, sorted(expected))
    np.testing.assert_allclose(display.errors, [expected[size] for size in sorted(expected)])
    np.testing.assert_array_equal(display.n_neurons, [1, 2, 4, 5])
    assert (display.ax_.get_xscale(), display.ax_.get_yscale()) == ("log", "log")
    display.figure_.canvas.draw()
    with pytest.raises(ValueError, match="must be positive, one for each network"):
        ErrorSizeDisplay.from_networks([], X, y)
