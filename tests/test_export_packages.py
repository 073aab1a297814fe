"""Exports through other packages: ONNX, skl2onnx, PyTorch and emlearn."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from anmin import ConvexReLURegressor, ReLUNetwork, ReLURegressor
from anmin.export import register_skl2onnx, to_onnx, to_torch, write
from anmin.export.trial import predictions
from exports import HOSTILE, assert_agrees, needs_gcc, random_network


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


def test_skl2onnx_converts_convex_networks():
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    register_skl2onnx()
    X = np.random.default_rng(0).standard_normal((60, 2))
    model = ConvexReLURegressor(8, alpha=0.01, random_state=0).fit(X, np.abs(X[:, 0]))
    converted = skl2onnx.to_onnx(model, X[:1]).SerializeToString()
    session = onnxruntime.InferenceSession(converted, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"X": X})[0][:, 0], model.predict(X), rtol=0, atol=1e-12)


@needs_gcc
@pytest.mark.skipif(find_spec("emlearn") is None, reason="emlearn is not installed")
def test_emlearn_converts_the_regressor(tmp_path):
    # In a process of its own, because importing emlearn makes NumPy raise errors where it warned or was silent.
    code = """
import emlearn
import numpy as np, warnings
warnings.simplefilter("ignore")
from anmin import ReLURegressor, datasets
data = datasets.load("diabetes")
model = ReLURegressor(12, max_iter=20, random_state=0).fit(data.X, data.y)
expected = model.predict(data.X)
converted = emlearn.convert(model, kind="MLPRegressor", return_type="regressor")
print(np.abs(np.array(converted.predict(data.X)) - expected).max() / np.abs(expected).max())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # emlearn writes weights with six digits after the point.
    assert float(done.stdout.splitlines()[-1]) < 1e-3


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


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fits_and_predictions_take_no_notice_of_underflow_being_an_error():
    tiny = ReLUNetwork([[0.0], [1e-200]], [[1e-200]], [0.0])
    X = np.random.default_rng(0).standard_normal((50, 2)) * [1.0, 1e-160]
    with np.errstate(under="raise"):
        assert tiny.predict([[1.0]]) == 0
        assert np.isfinite(ReLURegressor(3, max_iter=3, random_state=0).fit(X, np.abs(X[:, 0])).loss_)
