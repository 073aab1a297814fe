"""GatedNetwork: what it predicts, and its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anmin import ReLUNetwork
from anmin.gated_network import GatedNetwork
from anmin.rows import ArrayRows, Scaling


def network(d: int = 3, h: int = 5, c: int = 2, **names: Any) -> GatedNetwork:
    rng = np.random.default_rng(0)
    shapes = ((d + 1, h), (d + 1, h), (h, c), (c,))
    return GatedNetwork(*(rng.standard_normal(shape) for shape in shapes), **names)


def test_predictions_are_their_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anmin.gated_network._BLOCK_ENTRIES", 35)  # blocks of 7 rows
    net, X = network(), np.random.default_rng(1).standard_normal((50, 3))
    expected, on = np.tile(net.b0, (50, 1)), np.zeros((50, 5), dtype=bool)
    for i, x in enumerate(np.column_stack([np.ones(50), X])):
        for j in range(5):
            if x @ net.gates[:, j] > 0:
                expected[i] += (x @ net.A[:, j]) * net.B[j]
                on[i, j] = True
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-12)
    np.testing.assert_array_equal(net.pattern(X), on)
    assert 0 < on.mean() < 1


def test_a_relu_network_is_gated_by_itself() -> None:
    rng = np.random.default_rng(2)
    A, B, b0, X = (rng.standard_normal(shape) for shape in ((3, 6), (6, 1), 1, (40, 2)))
    gated, relu = GatedNetwork(3.0 * A, A, B, b0), ReLUNetwork(A, B, b0)
    np.testing.assert_allclose(gated.predict(X), relu.predict(X), rtol=1e-12)


def test_sizes() -> None:
    net = network(d=3, h=5, c=2)
    assert (net.n_features, net.n_neurons, net.n_outputs) == (3, 5, 2)
    assert net.n_parameters == 2 * 4 * 5 + 5 * 2 + 2
    assert net.n_bytes == 8 * net.n_parameters


def test_folding_a_scaling_keeps_function_and_gates() -> None:
    rng = np.random.default_rng(3)
    X, Y = rng.standard_normal((60, 3)) * [1e-3, 1, 1e4] + [5, -2, 1e3], rng.standard_normal((60, 2)) * 7 + 3
    rows = ArrayRows(X, Y)
    scaling = Scaling.standard(rows)
    scaled, net = scaling.apply(rows).X, network()
    raw = scaling.fold(net)
    np.testing.assert_allclose(raw.predict(X), net.predict(scaled) * scaling.y_scale + scaling.y_mean, rtol=1e-9)
    np.testing.assert_array_equal(raw.pattern(X), net.pattern(scaled))
    back = scaling.unfold(raw)
    for name in ("gates", "A", "B", "b0"):
        np.testing.assert_allclose(getattr(back, name), getattr(net, name), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("h", [5, 0])
def test_the_file_gives_the_same_bits(tmp_path: Path, h: int) -> None:
    net = network(h=h, feature_names=("a", "b", "ü"), output_names=("y", "z"))
    net.save(tmp_path / "net.json")
    back = GatedNetwork.load(tmp_path / "net.json")
    for name in ("gates", "A", "B", "b0"):
        assert getattr(back, name).tobytes() == getattr(net, name).tobytes()
        assert getattr(back, name).shape == getattr(net, name).shape
    assert (back.feature_names, back.output_names) == (net.feature_names, net.output_names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "anmin.ReLUNetwork"}, "must have the schema 'anmin.GatedNetwork'; got 'anmin.ReLUNetwork'"),
        ({"version": 2}, "version 2.0 of the schema; this anmin reads version 1"),
        ({"gates": None}, "Weights must be numbers; got None"),
        ({"gates": [[1.0]]}, r"gates and A of shape \(inputs \+ 1, neurons\)"),
        ({"A": [[1.0, "2"]]}, "Weights must be numbers; got '2'"),
        ({"b0": [1e999]}, "The weights in b0 must be finite"),
        ({"feature_names": ["a"]}, "feature_names must have one name for each of the 3 columns; got 1"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(json.loads(network().to_json()) | change))
    with pytest.raises(ValueError, match=message):
        GatedNetwork.load(path)


def test_a_file_without_gates_is_refused_and_so_is_one_cut_off(tmp_path: Path) -> None:
    path, text = tmp_path / "net.json", network().to_json()
    document = json.loads(text)
    del document["gates"]
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"net.json lacks gates\."):
        GatedNetwork.load(path)
    path.write_text(text[:-20])
    with pytest.raises(ValueError, match="not complete JSON"):
        GatedNetwork.load(path)
    path.write_text(text)
    with pytest.raises(ValueError, match=r"must have the schema 'anmin\.ReLUNetwork'; got 'anmin\.GatedNetwork'"):
        ReLUNetwork.load(path)


def test_wrong_inputs_are_named() -> None:
    with pytest.raises(ValueError, match=r"X must have shape \(rows, 3\); got \(4, 2\)"):
        network().predict(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="The weights in gates must be finite"):
        GatedNetwork(np.full((2, 1), np.nan), np.ones((2, 1)), np.ones((1, 1)), np.zeros(1))
