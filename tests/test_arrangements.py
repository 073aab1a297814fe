"""Activation patterns of given rows: exact counts, two enumerations that agree, samples, and networks."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anmin import ReLUNetwork, arrangements
from anmin.arrangements import (
    Patterns,
    all_patterns,
    n_patterns,
    n_patterns_bound,
    network_patterns,
    patterns_of,
    sampled_patterns,
)
from anmin.objective import penalty

BLOG_POINTS = np.column_stack([np.ones(4), [-1.0, 0.0, 1.0, 2.5]])


def as_set(patterns: Patterns) -> set[tuple[bool, ...]]:
    """Return the patterns as a set, and see that they are distinct and that each vector has its own."""
    columns = {tuple(column) for column in patterns.on().T.tolist()}
    assert len(columns) == len(patterns) == patterns.vectors.shape[1]
    return columns


def assert_inside(X, patterns):
    """Each vector has its pattern, and is off the hyperplane of every row that is not zero, not by rounding alone."""
    heights = X @ patterns.vectors
    np.testing.assert_array_equal(patterns.on(), heights > 0)
    lengths = np.outer(np.linalg.norm(X, axis=1), np.linalg.norm(patterns.vectors, axis=0))
    assert np.all((np.abs(heights) > 1e-13 * lengths) | (lengths == 0))


COUNTS = [(1, 1, 2), (5, 1, 2), (2, 2, 4), (4, 2, 8), (4, 3, 14), (5, 3, 22), (3, 5, 8), (9, 6, 438)]


@pytest.mark.parametrize(
    ("n", "d", "count", "method"),
    [(*case, "rays") for case in COUNTS] + [(*case, "feasibility") for case in COUNTS[:-1]],
)
def test_counts_are_those_of_enumerated_rows_in_general_position(n, d, count, method):
    X = np.random.default_rng(n * d).standard_normal((n, d))
    patterns = all_patterns(X, method=method)
    assert n_patterns(n, d) == count == len(patterns)
    if d == 1:
        assert as_set(patterns) == {tuple(X[:, 0] > 0), tuple(X[:, 0] < 0)}
    assert_inside(X, patterns)


def test_counts_of_many_rows_are_exact():
    assert n_patterns(100, 10) == 3_836_629_637_040
    assert n_patterns_bound(100, 10) == pytest.approx(4.0e15, rel=0.01)
    assert n_patterns(10**9, 3) == 2 * (1 + (10**9 - 1) + (10**9 - 1) * (10**9 - 2) // 2)
    assert n_patterns(1000, 1000) == n_patterns(1000, 10**6) == 2**1000
    assert n_patterns_bound(10**6, 500) == np.inf
    for n, r in product(range(2, 30), range(1, 29)):
        if r < n:
            assert n_patterns(n, r) <= n_patterns_bound(n, r)


def test_four_points_have_ten_patterns_by_gaps_and_orientations_of_which_eight_are_distinct():
    """The count "10" takes each of 5 gaps with 2 orientations; all on and all off are then counted twice."""
    inputs = BLOG_POINTS[:, 1]
    gaps = np.concatenate([[inputs[0] - 1], (inputs[1:] + inputs[:-1]) / 2, [inputs[-1] + 1]])
    by_gap = [tuple(side * (inputs - gap) > 0) for gap in gaps for side in (1, -1)]
    assert len(by_gap) == 10
    assert set(by_gap) == as_set(all_patterns(BLOG_POINTS))
    assert len(set(by_gap)) == n_patterns(4, 2) == 8
    assert len(all_patterns(BLOG_POINTS).without_zero()) == 7


small_matrices = st.tuples(st.integers(1, 7), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.sampled_from([-2.0, -1.0, 0.0, 0.0, 1.0, 1.0, 0.3]))
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(small_matrices)
def test_both_enumerations_agree_on_degenerate_rows(X):
    by_rays, by_programs = all_patterns(X), all_patterns(X, method="feasibility")
    assert as_set(by_rays) == as_set(by_programs)
    assert_inside(X, by_rays)
    assert_inside(X, by_programs)


def test_patterns_by_brute_force_on_a_grid_of_points():
    """Of 3 × 3 points with a constant, lines through pairs of them, moved and turned a little, give every pattern."""
    points = np.array(list(product(range(3), range(3))), dtype=float)
    X = np.column_stack([np.ones(9), points])
    found = {(True,) * 9, (False,) * 9}
    for a, b in product(points, points):
        if (a != b).any():
            normal, middle = np.array([b[1] - a[1], a[0] - b[0]]), (a + b) / 2
            for turn, shift in product((-1e-3, 0.0, 1e-3), (-1e-2, -1e-5, 1e-5, 1e-2)):
                turned = normal + turn * np.array([-normal[1], normal[0]])
                side = (points - middle) @ turned + shift
                found |= {tuple(side > 0), tuple(side < 0)}
    assert as_set(all_patterns(X)) == found


@pytest.mark.parametrize(("inputs", "count"), [(2, 14), (3, 104), (4, 1882)])
def test_threshold_functions_of_boolean_inputs_are_as_many_as_is_known(inputs, count):
    """The corners of a cube, where very many hyperplanes meet in one line (OEIS A000609)."""
    X = np.array([(1.0, *corner) for corner in product((0.0, 1.0), repeat=inputs)])
    patterns = all_patterns(X)
    assert len(as_set(patterns)) == count
    assert_inside(X, patterns)


def test_random_vectors_meet_no_other_patterns():
    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(8), rng.integers(-1, 2, (8, 2)), np.zeros(8)])
    everything, sampled = all_patterns(X), sampled_patterns(X, 20_000, rng)
    assert as_set(sampled) == as_set(everything)


def test_scale_of_rows_and_columns_and_a_change_of_coordinates_do_not_matter():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((9, 4))
    X[:, 3] = X[:, 0] - X[:, 1]
    plain = as_set(all_patterns(X))
    assert len(plain) == n_patterns(9, 3)
    scaled = X * 10.0 ** rng.integers(-5, 6, (9, 1)) * np.array([1e-150, 1.0, 1e6, 1e150])
    scaled[:, 3] = 0  # a column that depends on others brings nothing
    assert as_set(all_patterns(scaled)) == plain
    assert as_set(all_patterns(X @ rng.standard_normal((4, 6)))) == plain


def test_repeated_opposite_and_zero_rows():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((5, 3))
    more = np.vstack([X, 3 * X[:2], -0.1 * X[2:3], np.zeros((1, 3))])
    on = all_patterns(more).on()
    assert on.shape[1] == n_patterns(5, 3)
    np.testing.assert_array_equal(on[5:7], on[:2])
    np.testing.assert_array_equal(on[7], ~on[2])
    assert not on[8].any()  # 0 > 0 never holds
    only_zeros = all_patterns(np.zeros((3, 2)))
    assert as_set(only_zeros) == {(False, False, False)}
    assert len(only_zeros.without_zero()) == 0


def test_many_lines_are_swept_and_patterns_take_several_words():
    X = np.random.default_rng(3).standard_normal((300, 2))
    patterns = all_patterns(X)
    assert patterns.bits.shape == (600, 5)
    assert len(as_set(patterns)) == 600
    X = np.random.default_rng(4).standard_normal((70, 3))
    patterns = all_patterns(X)
    assert len(as_set(patterns)) == n_patterns(70, 3)
    assert_inside(X, patterns)


def test_rows_of_one_number_by_chance_stay_apart(monkeypatch):
    class Zeros:
        def integers(self, *_, **__):
            return np.zeros(2, dtype=np.uint64)

    X = np.random.default_rng(5).standard_normal((70, 2))
    expected = as_set(all_patterns(X))
    monkeypatch.setattr(np.random, "default_rng", lambda _: Zeros())
    assert as_set(patterns_of(X, all_patterns(X).vectors)) == expected


def test_samples_keep_the_first_vector_of_each_pattern_in_order():
    X = np.random.default_rng(6).standard_normal((30, 3))
    vectors = np.random.default_rng(7).standard_normal((3, 500))
    sampled = sampled_patterns(X, 500, np.random.default_rng(7))
    on = X @ vectors > 0
    first = [k for k in range(500) if not any((on[:, k] == on[:, j]).all() for j in range(k))]
    np.testing.assert_array_equal(sampled.vectors, vectors[:, first])
    np.testing.assert_array_equal(sampled.on(), on[:, first])


def test_too_many_patterns_are_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(arrangements, "inside_cells", None)
    X = np.random.default_rng(8).standard_normal((100, 10))
    with pytest.raises(ValueError, match=r"100 different hyperplanes of rank 10, .* 3,836,629,637,040 patterns.*fewer"):
        all_patterns(X)
    with pytest.raises(ValueError, match="limit is 7"):
        all_patterns(BLOG_POINTS, most=7)
    many = np.column_stack([np.ones(400_000), np.arange(400_000.0)])
    with pytest.raises(ValueError, match=r"800,000 patterns on 400,000 rows would take 40 GB"):
        all_patterns(many)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: all_patterns([[1.0, np.nan]]), "X must be finite; 1 of its 2 entries"),
        (lambda: all_patterns(np.ones(3)), r"X must be a matrix .* got shape \(3,\)"),
        (lambda: all_patterns(np.ones((0, 3))), "at least one row"),
        (lambda: all_patterns(BLOG_POINTS, method="sweep"), "method must be one of 'rays', 'feasibility'; got 'sweep'"),
        (lambda: patterns_of(BLOG_POINTS, np.ones((3, 1))), "one row for each of the 2 columns"),
        (lambda: sampled_patterns(BLOG_POINTS, 0, np.random.default_rng(0)), "n_vectors must be at least 1; got 0"),
        (lambda: n_patterns(0, 1), "n_rows must be an integer of at least 1; got 0"),
        (lambda: n_patterns(3, 1.5), "rank must be an integer of at least 1; got 1.5"),
        (lambda: n_patterns_bound(3, 3), "rank must be less than n_rows"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def network_with_alike_patterns(slope: float, outputs: int) -> tuple[ReLUNetwork, np.ndarray]:
    """Return a network of 40 neurons, most of which share their pattern with others, and its six rows."""
    rng = np.random.default_rng(9)
    B = rng.standard_normal((40, outputs))
    if outputs > 1:
        B = rng.uniform(0.1, 2, (40, 1)) * B[rng.integers(0, 3, 40)]
    A, X = rng.standard_normal((3, 40)), rng.standard_normal((6, 2))
    return ReLUNetwork(A, B, rng.standard_normal(outputs), slope), X


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("outputs", [1, 2])
def test_neurons_of_equal_pattern_and_output_direction_are_merged(slope, outputs):
    network, X = network_with_alike_patterns(slope, outputs)
    merged = network.merged_on(X)
    np.testing.assert_allclose(merged.predict(X), network.predict(X), rtol=1e-12, atol=1e-12)
    assert penalty(merged.A, merged.B, merged.b0) < penalty(network.A, network.B, network.b0)
    directions = network.B / np.linalg.norm(network.B, axis=1, keepdims=True)
    keys = {(*on, *np.round(v, 9)) for on, v in zip(network.pattern(X).T.tolist(), directions, strict=True)}
    assert merged.n_neurons == len(keys) < network.n_neurons
    np.testing.assert_array_equal(network_patterns(merged, X).on(), network_patterns(network, X).on())
    np.testing.assert_allclose(merged.merged_on(X).A, merged.A)
    assert np.abs(merged.predict(3 * X) - network.predict(3 * X)).max() > 1e-3  # equal on these rows alone


def test_a_neuron_alone_in_its_pattern_and_those_without_output_weights_stay():
    A = np.array([[0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, -1.0, 5.0]])
    network = ReLUNetwork(A, [[1.0], [-1.0], [0.5], [2.0], [0.0]], [0.0])
    merged = network.merged_on([[1.0], [2.0]])
    assert ReLUNetwork(A[:, :0], np.zeros((0, 1)), [1.0]).merged_on([[1.0]]).n_neurons == 0
    # u = 1·1 + 0.5·3 of the first and third; the second has the other sign, the fourth the other pattern.
    np.testing.assert_allclose(merged.A[1], [np.sqrt(2.5), 2.0, -1.0, 5.0])
    np.testing.assert_allclose(merged.B[:, 0], [np.sqrt(2.5), -1.0, 2.0, 0.0])


def test_merging_agrees_with_that_of_equal_directions():
    rng = np.random.default_rng(10)
    A, B = rng.standard_normal((3, 4)), rng.uniform(0.5, 1, (4, 1))
    network = ReLUNetwork(np.hstack([A, 2 * A]), np.vstack([B, B]), [0.0])
    X = rng.standard_normal((200, 2))
    one, other = network.merged().balanced(), network.merged_on(X)
    np.testing.assert_allclose(other.A, one.A, rtol=1e-12)
    np.testing.assert_allclose(other.B, one.B, rtol=1e-12)


def test_patterns_of_a_network_are_those_of_its_neurons():
    network, X = network_with_alike_patterns(0.0, 1)
    patterns = network_patterns(network, X)
    assert as_set(patterns) == {tuple(column) for column in network.pattern(X).T.tolist()}
    assert as_set(patterns) <= as_set(all_patterns(np.column_stack([np.ones(6), X])))
    np.testing.assert_array_equal(patterns.vectors[:, 0], network.A[:, 0])
