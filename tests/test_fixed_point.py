"""Fixed point: the header computes what is modelled, within the bound that it states."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmin import ReLUNetwork
from anmin.export import to_fixed_c
from anmin.export.fixed_point import fixed_point
from exports import HOSTILE, exported, needs_gcc, networks, random_network

bits = st.sampled_from([4, 8, 12, 16, 20, 24])


def rows_in(ranges, n=500, seed=0):
    """Return rows within the ranges, their corners among them."""
    rng = np.random.default_rng(seed)
    low, high = ranges[:, 0], ranges[:, 1]
    inside = low + (high - low) * rng.random((n, len(ranges)))
    corners = np.where(rng.random((n, len(ranges))) < 0.5, low, high)
    return np.clip(np.vstack([inside, corners]), low, high)


def own_rounding(network, X):
    """Return a bound on the rounding of predict itself."""
    X = np.abs(X)
    terms = (X @ np.abs(network.A[1:]) + np.abs(network.A[0])) @ np.abs(network.B) + np.abs(network.b0)
    return (network.n_features + network.n_neurons + 7) * 2.0**-53 * terms


@settings(deadline=None, max_examples=200)
@given(case=networks(), bits=bits)
def test_the_error_is_within_the_bound_everywhere_in_the_ranges(case, bits):
    network, X = case
    form = fixed_point(network, X, bits=bits)
    rows = rows_in(form.ranges)
    error = np.abs(form.predict(rows) - network.predict(rows))
    assert np.all(error <= form.error_bound + own_rounding(network, rows))


@needs_gcc
@settings(deadline=None, max_examples=25)
@given(case=networks(), bits=bits)
def test_the_header_computes_what_is_modelled_to_the_bit(tmp_path_factory, case, bits):
    network, X = case
    form = fixed_point(network, X, bits=bits)
    rows = rows_in(form.ranges, 50)
    folder = tmp_path_factory.mktemp("fixed")
    result = exported(network, "c", folder, rows, number="fixed", X=X, bits=bits)
    np.testing.assert_array_equal(result, form.predict(rows))
    assert np.all(np.abs(result - network.predict(rows)) <= form.error_bound + own_rounding(network, rows))


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_more_bits_are_more_accurate(slope):
    network, X = random_network(0, 3, 32, 2, slope)
    bounds = [fixed_point(network, X, bits=bits).error_bound.max() for bits in (8, 12, 16, 20, 24)]
    errors = [np.abs(fixed_point(network, X, bits=b).predict(X) - network.predict(X)).max() for b in (8, 16, 24)]
    scale = np.abs(network.predict(X)).max()
    assert all(wide < narrow / 10 for narrow, wide in itertools.pairwise(bounds))
    assert errors[1] < 1e-3 * scale
    assert errors[2] < 1e-5 * scale
    # A bound that nothing comes near would say little.
    assert bounds[2] < 50 * errors[1]


@needs_gcc
def test_inputs_beyond_the_ranges_are_taken_as_their_ends(tmp_path):
    network, X = random_network(0, 3, 8, 1, 0.1)
    far = np.array([[1e300, -1e300, 0.0], [-1e300, 1e9, 1e300]])
    form = fixed_point(network, X)
    ends = np.clip(far, form.ranges[:, 0], form.ranges[:, 1])
    result = exported(network, "c", tmp_path, np.vstack([far, ends]), number="fixed", X=X)
    np.testing.assert_array_equal(result[:2], result[2:])


def test_the_header_uses_integers_of_the_smallest_size_that_is_enough():
    network, X = random_network(0, 3, 8, 1, 0.0)
    narrow, usual, wide = (to_fixed_c(network, X=X, bits=bits) for bits in (8, 16, 24))
    assert "static const int8_t anmin_weights" in narrow
    assert "int64_t" not in narrow
    assert "static const int16_t anmin_weights" in usual
    assert "static const int32_t anmin_weights" in wide
    assert "int64_t" in wide
    for text in (narrow, usual, wide):
        body = text[text.index("static inline void anmin(") :]
        assert not re.search(r"\b(float|double)\b", body)
        assert "malloc" not in text


def test_the_header_states_a_bound_no_smaller_than_the_true_one():
    network, X = random_network(0, 3, 8, 2, 0.0)
    form = fixed_point(network, X)
    stated = [float(x) for x in re.findall(r"it is within (\S+) of the network", to_fixed_c(network, X=X))]
    assert np.all(stated >= form.error_bound)
    assert np.all(stated <= 1.02 * form.error_bound)


@needs_gcc
def test_names_cannot_break_the_header(tmp_path):
    network, X = random_network(0, len(HOSTILE), 4, 1, 0.0)
    named = ReLUNetwork(network.A, network.B, network.b0, feature_names=HOSTILE, output_names=HOSTILE[:1])
    result = exported(named, "c", tmp_path, X, number="fixed", X=X, name=HOSTILE[0])
    np.testing.assert_array_equal(result, fixed_point(network, X).predict(X))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs the ranges of the inputs"),
        ({"ranges": [[0.0, 1.0]]}, "for each of 2 inputs"),
        ({"ranges": [[0.0, 1.0], [2.0, 1.0]]}, "for each of 2 inputs"),
        ({"ranges": [[0.0, 1.0], [0.0, np.inf]]}, "for each of 2 inputs"),
        ({"ranges": [[0.0, 1.0]] * 2, "bits": 3}, "bits must be an integer from 4 to 24; got 3"),
        ({"ranges": [[0.0, 1.0]] * 2, "bits": True}, "bits must be"),
        ({"X": np.zeros((0, 2))}, "at least one row"),
    ],
)
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        fixed_point(random_network(0, 2, 3, 1, 0.0)[0], **given)


def test_constant_inputs_and_networks_are_exact():
    network = ReLUNetwork([[0.0], [1.0], [0.0]], [[1.0]], [0.5])
    form = fixed_point(network, ranges=[[0.25, 0.25], [0.0, 0.0]])
    assert form.predict([[0.25, 0.0]])[0, 0] == pytest.approx(0.75, abs=form.error_bound[0])
    constant = fixed_point(ReLUNetwork(np.zeros((3, 2)), np.zeros((2, 1)), [0.5]), ranges=[[0.0, 1.0]] * 2)
    np.testing.assert_allclose(constant.predict([[0.1, 0.2]]), [[0.5]], atol=1e-9)
