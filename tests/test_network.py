"""The network: what it computes, transformations that keep its function, and its file."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmin import ReLUNetwork
from anmin.atomic import written_atomically
from anmin.objective import penalty


def random_network(seed=0, d=3, h=6, c=2, slope=0.0, **names):
    rng = np.random.default_rng(seed)
    return ReLUNetwork(
        rng.standard_normal((d + 1, h)), rng.standard_normal((h, c)), rng.standard_normal(c), slope, **names
    )


def inputs(n=50, d=3, seed=1):
    return np.random.default_rng(seed).standard_normal((n, d))


@pytest.mark.parametrize("slope", [0.0, 0.1, 0.9])
def test_predict_follows_the_formula_row_by_row(slope):
    network, X = random_network(slope=slope), inputs()
    for x, f in zip(X, network.predict(X), strict=True):
        t = np.r_[1.0, x] @ network.A
        sigma = np.maximum(t, 0) + slope * np.minimum(t, 0)
        np.testing.assert_allclose(f, sigma @ network.B + network.b0, rtol=1e-13)


def test_predict_in_blocks_equals_predict_by_row():
    network, X = random_network(h=64), inputs(n=10_000)
    np.testing.assert_allclose(
        network.predict(X)[::997], np.vstack([network.predict(X[[i]]) for i in range(0, 10_000, 997)])
    )
    assert network.predict(X[:0]).shape == (0, 2)


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("outputs", [1, 3])
def test_compiled_predictions_are_the_same(slope, outputs, monkeypatch):
    rng = np.random.default_rng(1)
    network = ReLUNetwork(
        rng.standard_normal((4, 9)), rng.standard_normal((9, outputs)), rng.standard_normal(outputs), slope
    )
    X = rng.standard_normal((1000, 3))
    expected = network.predict(X)
    monkeypatch.setattr("anmin.network._WORTH_COMPILING", 0)
    monkeypatch.setattr("anmin.network._BLOCK_ENTRIES", 600)  # blocks of 200 rows, none of them a multiple of 64
    monkeypatch.setattr("anmin.threads._WORTH_IT", 0)
    monkeypatch.setattr("anmin.threads.n_threads", lambda: 3)
    for rows in (X, np.asfortranarray(X), X.astype(np.float32)):
        assert network.predict(rows[:0]).shape == (0, outputs)
        tolerance = 1e-5 if rows.dtype == np.float32 else 1e-13
        np.testing.assert_allclose(network.predict(rows), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(network.predict(X[::-1]), expected[::-1], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("n_features", [2, 20])
def test_predictions_of_many_rows_take_no_array_of_rows_and_neurons(n_features):
    rng = np.random.default_rng(0)
    network = ReLUNetwork(rng.standard_normal((n_features + 1, 64)), rng.standard_normal((64, 1)), [0.0])
    X = np.zeros((6_000_000 // n_features, n_features))
    network.predict(X)  # compiles
    tracemalloc.start()
    network.predict(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(X) + 2**25 < 8 * 64 * len(X) / 4


def test_pattern_is_strict():
    network = ReLUNetwork([[0.0, 0.0], [1.0, -1.0]], [[1.0], [1.0]], [0.0])
    np.testing.assert_array_equal(network.pattern([[1.0], [0.0], [-1.0]]), [[1, 0], [0, 0], [0, 1]])


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_balanced_keeps_the_function_and_lowers_the_penalty(slope):
    network, X = random_network(slope=slope), inputs()
    balanced = network.balanced()
    np.testing.assert_allclose(balanced.predict(X), network.predict(X), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(balanced.A, axis=0), np.linalg.norm(balanced.B, axis=1))
    assert penalty(balanced.A, balanced.B, balanced.b0) < penalty(network.A, network.B, network.b0)


def test_balanced_takes_extreme_and_zero_neurons():
    network = ReLUNetwork([[1e200, 0.0, 3.0], [1e200, 0.0, 4.0]], [[1e-200], [5.0], [0.0]], [1.0])
    balanced = network.balanced()
    np.testing.assert_allclose(balanced.predict([[2.0]]), network.predict([[2.0]]))
    assert not balanced.A[:, 1:].any()
    assert not balanced.B[1:].any()


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_merged_joins_equal_directions_only(slope):
    one = random_network(slope=slope)
    copies = ReLUNetwork(
        np.hstack([one.A, 2.5 * one.A[:, :3], -one.A[:, :1]]), np.vstack([one.B, one.B[:3], one.B[:1]]), one.b0, slope
    )
    merged, X = copies.merged(), inputs()
    assert merged.n_neurons == 7  # the mirrored neuron stays
    np.testing.assert_allclose(merged.predict(X), copies.predict(X), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_pruned_drops_what_does_nothing(slope):
    one = random_network(slope=slope)
    A, B = one.A.copy(), one.B.copy()
    A[:, 0] = 0  # never active
    B[1] = 0  # no effect
    A[1:, 2] = 0  # constant
    A[0, 2] = -1.5
    network, X = ReLUNetwork(A, B, one.b0, slope), inputs()
    pruned = network.pruned()
    assert pruned.n_neurons == 3
    np.testing.assert_allclose(pruned.predict(X), network.predict(X), rtol=1e-11, atol=1e-12)


def test_sizes():
    network = random_network(d=3, h=6, c=2)
    assert (network.n_features, network.n_neurons, network.n_outputs) == (3, 6, 2)
    assert network.n_parameters == 4 * 6 + 6 * 2 + 2
    assert network.n_bytes == 8 * network.n_parameters


def test_weights_are_copied_and_read_only():
    A = np.ones((2, 1))
    network = ReLUNetwork(A, [[1.0]], [0.0])
    A[:] = 5
    assert network.A.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        network.A[0, 0] = 2


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (([[1.0]], [[1.0], [2.0]], [0.0]), "A network needs"),
        (([[1.0]], [[1.0]], [0.0, 1.0]), "A network needs"),
        (([1.0], [[1.0]], [0.0]), "A must have 2"),
        (([[np.nan]], [[1.0]], [0.0]), "must be finite; 1 of 1"),
        (([[1.0]], [[1.0]], [0.0], 1.0), "negative_slope"),
        (([[1.0]], [[1.0]], [0.0], -0.1), "negative_slope"),
        (([[1.0]], [[1.0]], [0.0], "0"), "negative_slope"),
    ],
)
def test_weights_that_make_no_network_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        ReLUNetwork(*weights)


def test_wrong_inputs_are_refused():
    with pytest.raises(ValueError, match=r"shape \(rows, 3\); got \(5, 2\)"):
        random_network().predict(np.zeros((5, 2)))


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=50)
@given(values=st.lists(finite, min_size=5, max_size=5), slope=st.floats(0, 1, exclude_max=True))
def test_files_keep_every_bit(tmp_path_factory, values, slope):
    path = tmp_path_factory.mktemp("models") / "model.json"
    network = ReLUNetwork([values[:2], values[2:4]], [[values[4]], [5e-324]], [-0.0], slope)
    network.save(path)
    loaded = ReLUNetwork.load(path)
    for name in ("A", "B", "b0"):
        assert getattr(loaded, name).tobytes() == getattr(network, name).tobytes()
    assert loaded.negative_slope == slope


def test_files_keep_names(tmp_path):
    names = {"feature_names": ("a", "b", "größe"), "output_names": ("y", "z")}
    network = random_network(**names)
    network.save(tmp_path / "model.json")
    loaded = ReLUNetwork.load(tmp_path / "model.json")
    assert (loaded.feature_names, loaded.output_names) == (names["feature_names"], names["output_names"])
    with pytest.raises(ValueError, match="one name for each of the 3 columns"):
        random_network(feature_names=("a",))


def model_document():
    network = random_network(d=1, h=2, c=1)
    return {
        "schema": "anmin.ReLUNetwork",
        "version": 1,
        "negative_slope": 0.0,
        "A": network.A.tolist(),
        "B": network.B.tolist(),
        "b0": network.b0.tolist(),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other"}, "schema"),
        ({"version": 99}, "version 99"),
        ({"version": True}, "version True"),
        ({"schema": ["x" * 10**5] * 9}, r"got \['xxx.{20,400}$"),
        ({"feature_names": {"a": 1}}, "feature_names must be a list of texts, or null"),
        ({"feature_names": ["\ud800"]}, r"whole characters; '\\ud800' has half of one"),
        ({"A": "12"}, "must be numbers; got '12'"),
        ({"A": [1.0, 2.0]}, "must be numbers"),
        ({"A": [[True, 2.0], [1.0, 1.0]]}, "must be numbers; got True"),
        ({"A": None}, "must be numbers; got None"),
        ({"A": [[1.0, "2"], [3.0, 4.0]]}, "must be numbers; got '2'"),
        ({"A": [[1.0, 2.0], [3.0]]}, "rows of different lengths"),
        ({"A": [[1.0, 2.0], [3.0, float("nan")]]}, "must be finite; 1 of 4"),
        ({"B": [[1.0]]}, "A network needs A of shape"),
        ({"b0": [1.0, 2.0]}, "A network needs A of shape"),
        ({"b0": [float("inf")]}, "must be finite"),
        ({"b0": [10**400]}, "must be finite"),
        ({"negative_slope": 2}, "negative_slope"),
        ({"negative_slope": None}, "negative_slope"),
        ({"feature_names": ["a", "b"]}, "feature_names"),
        ({"feature_names": 7}, "does not hold a network"),
    ],
)
def test_bad_model_files_are_refused(tmp_path, change, message):
    path = tmp_path / "model.json"
    text = json.dumps(model_document() | change)
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        ReLUNetwork.load(path)
    assert "model.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_text() == text


@pytest.mark.parametrize("name", ["A", "B", "b0", "negative_slope"])
def test_model_files_that_lack_a_part_are_refused(tmp_path, name):
    document = model_document()
    del document[name]
    (tmp_path / "model.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=f"lacks {name}"):
        ReLUNetwork.load(tmp_path / "model.json")


def test_truncated_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "model.json"
    random_network().save(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"\xff\xfe\x00", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="may be truncated"):
            ReLUNetwork.load(path)
    path.write_text("[1, 2]")
    with pytest.raises(ValueError, match="schema"):
        ReLUNetwork.load(path)
    with pytest.raises(FileNotFoundError):
        ReLUNetwork.load(tmp_path / "absent.json")


def test_a_number_of_any_length_is_a_float(tmp_path):
    text = json.dumps(model_document())
    for number in ("1" * 5000, "-" + "9" * 400, "1e999999999", "NaN"):
        (tmp_path / "model.json").write_text(text.replace('"b0": [', f'"b0": [{number}, '))
        with pytest.raises(ValueError, match="The weights in b0 must be finite"):
            ReLUNetwork.load(tmp_path / "model.json")


def test_a_key_that_is_there_twice_is_refused(tmp_path):
    text = json.dumps(model_document())
    (tmp_path / "model.json").write_text(text[:-1] + ', "b0": [7.0]}')
    with pytest.raises(ValueError, match="The key 'b0' is there twice"):
        ReLUNetwork.load(tmp_path / "model.json")


@pytest.mark.parametrize("key", ["schema", "version", "negative_slope", "feature_names", "A", "b0", "other"])
def test_nesting_of_any_depth_is_no_recursion_of_ours(tmp_path, key):
    text = json.dumps(model_document() | {key: "here"})
    for depth in (70, 900):
        (tmp_path / "model.json").write_text(text.replace('"here"', "[" * depth + "]" * depth))
        if key == "other":
            assert ReLUNetwork.load(tmp_path / "model.json").n_neurons == 2
        else:
            with pytest.raises(ValueError, match=r"model\.json"):
                ReLUNetwork.load(tmp_path / "model.json")


@pytest.mark.parametrize("c", [1, 3])
def test_a_network_without_neurons_comes_back(tmp_path, c):
    network = ReLUNetwork(np.zeros((3, 0)), np.zeros((0, c)), np.arange(c) + 1.0)
    network.save(tmp_path / "model.json")
    loaded = ReLUNetwork.load(tmp_path / "model.json")
    assert loaded.B.shape == (0, c)
    np.testing.assert_array_equal(loaded.predict(np.ones((2, 2))), [np.arange(c) + 1.0] * 2)


@pytest.mark.parametrize("name", ["m" * 255, "é" * 127])
def test_a_name_as_long_as_the_system_allows_is_written(tmp_path, name):
    random_network().save(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_files_appear_whole_or_not_at_all(tmp_path):
    path = tmp_path / "model.json"
    path.write_text("before")
    path.chmod(0o640)

    def fail():
        with written_atomically(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    random_network().save(path)
    assert ReLUNetwork.load(path).n_neurons == 6
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        random_network().save(tmp_path / "absent" / "model.json")


@pytest.mark.skipif(sys.platform == "win32", reason="the system sets no limit to the size of files")
def test_a_disk_that_is_full_leaves_the_model_that_was_there(tmp_path: Path) -> None:
    """A process that may write files of at most a kilobyte stands for it: the write itself fails, half-way."""
    path = tmp_path / "model.json"
    before = ReLUNetwork(np.ones((2, 3)), np.ones((3, 1)), np.zeros(1))
    before.save(path)
    script = """
import resource, signal, sys
import numpy as np
from anmin import ReLUNetwork
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
large = ReLUNetwork(np.random.default_rng(0).random((9, 50)), np.ones((50, 1)), np.zeros(1))
try:
    large.save(sys.argv[1])
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == os.strerror(errno.EFBIG)
    assert os.listdir(tmp_path) == ["model.json"]
    np.testing.assert_array_equal(ReLUNetwork.load(path).A, before.A)
