"""Exports predict what the network predicts: run, on random networks and on fitted ones."""

from __future__ import annotations

import io
import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmin import ReLUNetwork, ReLURegressor
from anmin.export import to_torch, write
from anmin.export.centred import centred
from anmin.export.targets import TARGETS, Choices
from anmin.export.trial import CannotRun, rows_to_try, tried
from exports import assert_agrees, exported, needs_gcc, needs_node, networks, random_network

few = settings(deadline=None, max_examples=20)


@pytest.fixture(scope="module")
def fitted():
    """A network fitted to inputs whose means are ten thousand deviations from 0, and those inputs."""
    rng = np.random.default_rng(0)
    X = (np.array([1e5, -3e4]) + np.array([10.0, 3.0]) * rng.standard_normal((400, 2))).astype(np.float32).astype(float)
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ReLURegressor(12, max_iter=15, random_state=0).fit(X, np.abs(z[:, 0]) + z[:, 1] ** 2)
    return model, X


@pytest.mark.parametrize(("number", "tolerance"), [("float", 1e-5), ("double", 1e-12)])
@settings(deadline=None, max_examples=50)
@given(case=networks())
def test_onnx_agrees(tmp_path_factory, number, tolerance, case):
    network, X = case
    result = exported(network, "onnx", tmp_path_factory.mktemp("onnx"), X, number=number)
    assert_agrees(network, result, X, number, tolerance)


@few
@given(case=networks(largest_exponent=100))
def test_onnx_in_float64_agrees_for_weights_beyond_float32(tmp_path_factory, case):
    network, X = case
    result = exported(network, "onnx", tmp_path_factory.mktemp("onnx"), X, number="double")
    assert_agrees(network, result, X, "double", 1e-12)


@needs_gcc
@pytest.mark.parametrize(("number", "tolerance"), [("float", 1e-5), ("double", 1e-12)])
@few
@given(case=networks())
def test_c_agrees_and_compiles_without_warnings(tmp_path_factory, number, tolerance, case):
    network, X = case
    assert_agrees(network, exported(network, "c", tmp_path_factory.mktemp("c"), X, number=number), X, number, tolerance)


@needs_node
@few
@given(case=networks(largest_exponent=100))
def test_javascript_agrees(tmp_path_factory, case):
    network, X = case
    assert_agrees(network, exported(network, "javascript", tmp_path_factory.mktemp("js"), X), X, "double", 1e-12)


@needs_gcc
@few
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(2, 3), h=st.integers(1, 128), c=st.integers(1, 4),
       slope=st.sampled_from([0.0, 0.1]), offset=st.sampled_from([0.0, 1e4]))  # fmt: skip
def test_the_statements_of_a_shader_agree(tmp_path_factory, seed, d, h, c, slope, offset):
    network, X = random_network(seed, d, h, c, slope, offset=offset)
    assert_agrees(network, exported(network, "glsl", tmp_path_factory.mktemp("glsl"), X), X, "float", 1e-5)


@pytest.mark.parametrize(("number", "tolerance"), [("float", 1e-5), ("double", 1e-12)])
@settings(deadline=None, max_examples=30)
@given(case=networks())
def test_torch_modules_agree(number, tolerance, case):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    network, X = case
    module = to_torch(network, number)
    with torch.no_grad():
        result = module(torch.tensor(X, dtype=module.W.dtype)).numpy()
    assert_agrees(network, result, X, number, tolerance)


@pytest.mark.parametrize("given_rows", [False, True])
@pytest.mark.parametrize("target", ["onnx", "torch", "c", "glsl"])
def test_float32_keeps_its_digits_where_inputs_lie_far_from_0(tmp_path, fitted, target, given_rows):
    model, X = fitted
    network = model.network_
    naive = (X.astype(np.float32) @ network.A[1:].astype(np.float32) + network.A[0].astype(np.float32)).clip(0)
    naive = naive @ network.B.astype(np.float32) + network.b0.astype(np.float32)
    expected = network.predict(X)
    scale = np.abs(expected).max()
    try:
        result = exported(network, target, tmp_path, X, number="float", X=X if given_rows else None)
    except CannotRun as reason:
        pytest.skip(str(reason))
    assert np.abs(result - expected).max() <= 1e-5 * scale
    assert np.abs(naive - expected).max() > 1e-4 * scale


@pytest.mark.parametrize("target", TARGETS)
def test_fitted_networks_agree(tmp_path, fitted, target):
    model, X = fitted
    path = tmp_path / "exported"
    choices = write(model.network_, target, path)
    try:
        trial = tried(model.network_, target, path, choices, X)
    except CannotRun as reason:
        pytest.skip(str(reason))
    assert trial.n_rows == len(X)
    assert trial.difference <= (1e-5 if choices.number == "float" else 1e-12) * trial.largest_output


def test_the_centre_is_used_only_where_it_saves_digits():
    near, X = random_network(0, 3, 50, 2, 0.0)
    far, Y = random_network(0, 3, 50, 2, 0.0, offset=1e3)
    assert not centred(near).is_shifted
    assert not centred(near, X=X).is_shifted
    assert not centred(far, "double").is_shifted
    unshifted = centred(far, center=np.zeros(3)).error_bound(Y).max()
    for form in (centred(far), centred(far, X=Y)):
        assert form.error_bound(Y).max() < unshifted / 50


def test_weights_that_float32_does_not_hold_are_scaled_or_refused():
    scaled = ReLUNetwork([[1e60], [2e60]], [[1e-60]], [0.0])
    form = centred(scaled)
    np.testing.assert_allclose(((2.0 - form.center) * form.W + form.a).ravel() * form.B.ravel(), [5.0], rtol=1e-6)
    with pytest.raises(ValueError, match="too large for the number type 'float'"):
        centred(ReLUNetwork([[1e100], [2e100]], [[1.0]], [0.0]))
    with pytest.raises(ValueError, match="at least one input"):
        centred(ReLUNetwork([[1.0]], [[1.0]], [0.0]))


@pytest.mark.parametrize("target", TARGETS)
def test_networks_without_neurons_are_constants(tmp_path, target):
    network = ReLUNetwork(np.zeros((3, 2)), np.ones((2, 2)), [1.5, -2.0])
    try:
        result = exported(network, target, tmp_path, np.ones((4, 2)))
    except CannotRun as reason:
        pytest.skip(str(reason))
    np.testing.assert_array_equal(result, np.tile([1.5, -2.0], (4, 1)))


def test_unknown_targets_and_numbers_are_refused(tmp_path):
    network, _ = random_network(0, 2, 3, 1, 0.0)
    with pytest.raises(ValueError, match=r"target must be one of onnx, torch, .*; got 'coreml'"):
        write(network, "coreml", tmp_path / "x")
    with pytest.raises(ValueError, match=r"number type of glsl must be one of float; got 'double'"):
        write(network, "glsl", tmp_path / "x", number="double")
    assert list(tmp_path.iterdir()) == []


def test_disagreement_is_found(tmp_path):
    network, X = random_network(0, 2, 3, 1, 0.0)
    other, _ = random_network(1, 2, 3, 1, 0.0)
    write(other, "json", tmp_path / "x")
    assert tried(network, "json", tmp_path / "x", Choices("double"), X).difference > 0.1


def test_random_rows_are_among_the_creases():
    network, _ = random_network(3, 3, 40, 1, 0.0, offset=1e4)
    share = network.pattern(rows_to_try(network)).mean(axis=0)
    assert np.mean((share > 0.01) & (share < 0.99)) > 0.8


def test_writing_leaves_the_old_file_if_it_fails(tmp_path):
    path = tmp_path / "m.glsl"
    path.write_text("before")
    with pytest.raises(ValueError, match="GLSL"):
        write(random_network(0, 1, 3, 1, 0.0)[0], "glsl", path)
    assert path.read_text() == "before"


def test_networks_are_read_from_their_text():
    network, _X = random_network(0, 2, 3, 1, 0.0)
    document = json.load(io.StringIO(network.to_json()))
    np.testing.assert_array_equal(np.array(document["A"]), network.A)
    assert document["schema"] == "anmin.ReLUNetwork"
