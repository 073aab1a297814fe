"""Quantised networks: codes of few bits, and an error within what is stated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmin import ReLUNetwork
from exports import networks, random_network

kinds = pytest.mark.parametrize("kind", ["int8", "float16"])


@settings(deadline=None, max_examples=200)
@given(case=networks(), kind=st.sampled_from(["int8", "float16"]))
def test_the_error_is_within_the_bound(case, kind):
    network, X = case
    quantised = network.quantised(kind, X)
    rng = np.random.default_rng(0)
    low, high = X.min(axis=0), X.max(axis=0)
    rows = np.vstack([X, np.where(rng.random(X.shape) < 0.5, low, high)])
    terms = (np.abs(rows) @ np.abs(network.A[1:]) + np.abs(network.A[0])) @ np.abs(network.B) + np.abs(network.b0)
    assert np.all(np.abs(quantised.differences(rows)) <= quantised.error_bound + 1e-13 * terms)


@kinds
@pytest.mark.parametrize("slope", [0.0, 0.1])
@pytest.mark.parametrize("given_rows", [False, True])
def test_the_rounded_network_is_close(kind, slope, given_rows):
    network, X = random_network(0, 4, 32, 2, slope, offset=10.0)
    quantised = network.quantised(kind, X if given_rows else None)
    loss = np.abs(quantised.differences(X)).max() / np.ptp(network.predict(X))
    assert 0 < loss < (0.05 if kind == "int8" else 2e-3)
    assert (quantised.error_bound is not None) == given_rows


@kinds
def test_the_codes_give_the_network(kind):
    network, X = random_network(0, 4, 32, 2, 0.1)
    q = network.quantised(kind, X)
    t = ((X - q.center) / q.input_scale) @ (q.A_codes.astype(float) * q.hidden_scale) + q.a
    y = np.maximum(t, 0.1 * t) @ (q.B_codes.astype(float) * q.output_scale) + q.b0
    np.testing.assert_allclose(q.predict(X), y, rtol=1e-10, atol=1e-10 * np.abs(y).max())
    assert q.A_codes.dtype == q.B_codes.dtype == np.dtype(kind)


def test_few_bits_are_few_bytes():
    network, X = random_network(0, 8, 128, 4, 0.0)
    assert network.quantised("int8", X).n_bytes < 0.25 * network.n_bytes
    assert network.quantised("float16", X).n_bytes < 0.4 * network.n_bytes


def test_wider_ranges_have_a_larger_bound():
    network, _ = random_network(0, 2, 8, 1, 0.0)
    bounds = [network.quantised("int8", ranges=[[-r, r]] * 2).error_bound[0] for r in (1.0, 2.0, 4.0)]
    assert bounds[0] < bounds[1] < bounds[2]


def test_quantised_networks_keep_their_names_and_do_without_neurons():
    network = ReLUNetwork(np.zeros((3, 2)), np.ones((2, 1)), [0.5], feature_names=("a", "b"))
    quantised = network.quantised("int8")
    assert quantised.network.feature_names == ("a", "b")
    np.testing.assert_array_equal(quantised.predict([[1.0, 2.0]]), [[0.5]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("int4",), "kind must be 'int8' or 'float16'; got 'int4'"),
        (("int8", np.zeros((3, 5))), r"shape \(rows, 2\)"),
        (("int8", None, [[1.0, 0.0]] * 2), "ranges must be"),
        (("int8", [[np.nan, 1.0]]), "ranges must be"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        random_network(0, 2, 3, 1, 0.0)[0].quantised(*arguments)


def test_weights_beyond_float32_are_refused():
    with pytest.raises(ValueError, match="too far apart"):
        ReLUNetwork([[1e200], [1.0]], [[1.0]], [0.0]).quantised("int8", ranges=[[0.0, 1.0]])
