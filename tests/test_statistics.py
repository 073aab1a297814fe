"""The sums over rows: equal to brute force, independent of how rows are visited, and additive."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows
from problems import CASES, Case, dense_loss, gates

FIELDS = ("U", "V", "s", "n", "y_sum", "y_square", "active", "flips")


def assert_same(one, other, rtol=1e-12):
    for name in FIELDS:
        expected = np.asarray(getattr(other, name), dtype=float)
        np.testing.assert_allclose(
            getattr(one, name), expected, rtol=rtol, atol=rtol * max(1.0, np.abs(expected).max()), err_msg=name
        )


def test_sums_equal_brute_force(case: Case):
    X, Y, w, A = case.data()
    G = gates(X, A, case.negative_slope)
    weights = np.ones(len(X)) if w is None else w
    Xt = np.column_stack([np.ones(len(X)), X])
    statistics = ArrayRows(X, Y, w).statistics(A, case.negative_slope)
    rows = range(len(X))
    U = sum(
        weights[i] * np.multiply.outer(np.multiply.outer(G[i], Xt[i]), np.multiply.outer(G[i], Xt[i])) for i in rows
    )
    V = sum(weights[i] * np.multiply.outer(np.multiply.outer(G[i], Xt[i]), Y[i]) for i in rows)
    s = sum(weights[i] * np.multiply.outer(G[i], Xt[i]) for i in rows)
    np.testing.assert_allclose(statistics.U, U, rtol=1e-11, atol=1e-11 * np.abs(U).max())
    np.testing.assert_allclose(statistics.V, V, rtol=1e-11, atol=1e-11 * np.abs(V).max())
    np.testing.assert_allclose(statistics.s, s, rtol=1e-11, atol=1e-11 * np.abs(s).max())
    assert statistics.n == pytest.approx(weights.sum(), rel=1e-14)
    np.testing.assert_allclose(statistics.y_sum, weights @ Y, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(statistics.y_square, weights @ Y**2, rtol=1e-12)
    np.testing.assert_array_equal(statistics.active, (G == 1).sum(axis=0))


def test_U_is_exactly_symmetric(case: Case):
    *_, A = case.data()
    k = A.size
    U = case.rows().statistics(A, case.negative_slope).U.reshape(k, k)
    np.testing.assert_array_equal(U, U.T)


@pytest.mark.parametrize("block_rows", [1, 7, 64, 10_000])
def test_block_size_does_not_matter(case: Case, block_rows: int):
    *_, A = case.data()
    assert_same(
        case.rows(block_rows=block_rows).statistics(A, case.negative_slope),
        case.rows().statistics(A, case.negative_slope),
    )


def test_large_matrices_are_mirrored_whole():
    # More than one panel of the mirroring: h·p = 640.
    rng = np.random.default_rng(0)
    X, A = rng.standard_normal((50, 9)), rng.standard_normal((10, 64))
    U = ArrayRows(X, X[:, 0]).statistics(A).U.reshape(640, 640)
    Phi = np.einsum("ij,ip->ijp", gates(X, A, 0.0), np.column_stack([np.ones(50), X])).reshape(50, 640)
    np.testing.assert_allclose(U, Phi.T @ Phi, rtol=1e-12, atol=1e-12)


def test_row_order_does_not_matter(case: Case):
    X, Y, w, A = case.data()
    order = np.random.default_rng(1).permutation(len(X))
    assert_same(
        ArrayRows(X[order], Y[order], None if w is None else w[order]).statistics(A, case.negative_slope),
        ArrayRows(X, Y, w).statistics(A, case.negative_slope),
    )


def test_parts_merge_to_the_whole_and_subtract_again(case: Case):
    X, Y, w, A = case.data()
    cut = len(X) // 3

    def part(rows: slice):
        return ArrayRows(X[rows], Y[rows], None if w is None else w[rows]).statistics(A, case.negative_slope)

    first, rest, whole = part(slice(cut)), part(slice(cut, None)), part(slice(None))
    assert_same(first.merge(rest), whole)
    assert_same(whole.subtract(first), rest, rtol=1e-11)


def test_integer_weights_equal_repeated_rows():
    X, Y, _, A = CASES[0].data()
    w = np.random.default_rng(2).integers(0, 4, len(X))
    repeated = np.repeat(np.arange(len(X)), w)
    one = ArrayRows(X, Y, w).statistics(A, 0.1)
    other = ArrayRows(X[repeated], Y[repeated]).statistics(A, 0.1)
    for name in ("U", "V", "s", "n", "y_sum", "y_square"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-12, atol=1e-10)


def test_rows_of_weight_zero_are_absent():
    X, Y, _, A = CASES[0].data()
    w = (np.arange(len(X)) % 3 > 0).astype(float)
    one, other = ArrayRows(X, Y, w).statistics(A), ArrayRows(X[w > 0], Y[w > 0]).statistics(A)
    assert_same(one, other)
    assert one.active.tolist() == other.active.tolist()


def test_float32_rows_are_summed_in_float64():
    # 1 + 2**-11 and its square are exact in float64; a float32 sum of 2**16 of them would lose the small part.
    X = np.full((2**16, 1), 1 + 2.0**-11, dtype=np.float32)
    statistics = ArrayRows(X, np.ones(len(X), dtype=np.float32)).statistics(np.array([[0.0], [1.0]]))
    assert statistics.U.dtype == np.float64
    assert statistics.U[0, 1, 0, 1] == 2**16 * (1 + 2.0**-11) ** 2
    assert statistics.V[0, 1, 0] == 2**16 * (1 + 2.0**-11)


def test_scaled_inputs_have_the_scaled_sums(case: Case):
    X, Y, w, A = case.data()
    factors = np.random.default_rng(5).uniform(0.2, 3.0, X.shape[1])
    A_scaled = A.copy()
    A_scaled[1:] /= factors[:, None]
    expected = ArrayRows(X * factors, Y, w).statistics(A_scaled, case.negative_slope)
    assert_same(case.rows().statistics(A, case.negative_slope).scaled(factors), expected, rtol=1e-11)


def test_flips_count_changed_pattern_entries(case: Case):
    X, Y, w, A = case.data()
    before = np.random.default_rng(3).standard_normal(A.shape)
    rows = ArrayRows(X, Y, w)
    statistics = rows.statistics(A, case.negative_slope, since=rows.statistics(before, case.negative_slope))
    assert statistics.flips == np.sum(gates(X, A, 0.0) != gates(X, before, 0.0))


def test_updates_over_many_iterations_equal_fresh_sums(case: Case):
    X, Y, w, A = case.data()
    rows = ArrayRows(X, Y, w, passes="updates")
    rng = np.random.default_rng(4)
    statistics, updates = rows.statistics(A, case.negative_slope), 0
    for _ in range(200):
        A = A + 0.02 * np.abs(A).mean() * rng.standard_normal(A.shape)
        statistics = rows.statistics(A, case.negative_slope, since=statistics)
        updates += statistics.pattern.updates > 0
    assert updates > 150
    fresh = rows.statistics(A, case.negative_slope)
    assert_same(replace(statistics, flips=0), fresh, rtol=1e-10)


def test_an_update_takes_the_pattern_from_the_statistics_and_not_from_weights():
    # A hyperplane through a row: scaling the neuron may change a rounding's sign, which must not unbalance the sums.
    X = np.array([[0.0], [1.0], [2.0]])
    rows = ArrayRows(np.repeat(X, 10, axis=0), np.repeat(X, 10, axis=0))
    first = rows.statistics(np.array([[-1.0], [1.0]]))
    second = rows.statistics(np.array([[-1.0 + 1e-9], [1.0]]), since=first)
    assert second.flips == 10
    np.testing.assert_allclose(second.U, rows.statistics(np.array([[-1.0 + 1e-9], [1.0]])).U)
    np.testing.assert_allclose(rows.statistics(np.array([[-1.0], [1.0]]), since=second).U, first.U)


def test_light_pass_equals_heavy_pass_at_its_own_pattern(case: Case):
    *_, A = case.data()
    rows = case.rows()
    light, heavy = rows.output_statistics(A, case.negative_slope), rows.statistics(A, case.negative_slope).output(A)
    for name in ("gram", "sums", "cross", "n", "y_sum", "y_square"):
        expected = np.asarray(getattr(light, name))
        np.testing.assert_allclose(
            getattr(heavy, name), expected, rtol=1e-11, atol=1e-12 * np.abs(expected).max(), err_msg=name
        )


def test_loss_from_statistics_equals_loss_from_rows(case: Case):
    X, Y, w, A = case.data()
    rng = np.random.default_rng(4)
    B, b0 = rng.standard_normal((case.n_neurons, case.n_outputs)), rng.standard_normal(case.n_outputs)
    expected = dense_loss(X, Y, w, A, B, b0, case.negative_slope, alpha=0.01)
    rows = ArrayRows(X, Y, w)
    for output in (rows.output_statistics(A, case.negative_slope), rows.statistics(A, case.negative_slope).output(A)):
        assert output.loss(A, B, b0, 0.01) == pytest.approx(expected, rel=1e-10)
    predictions = ReLUNetwork(A, B, b0, case.negative_slope).predict(X)
    weights = np.ones(len(X)) if w is None else w
    np.testing.assert_allclose(output.sse(B, b0), weights @ (predictions - Y) ** 2, rtol=1e-10)


def test_statistics_of_different_shapes_do_not_combine():
    X, Y, _, A = CASES[0].data()
    rows = ArrayRows(X, Y)
    with pytest.raises(ValueError, match="equal numbers of neurons"):
        rows.statistics(A).merge(rows.statistics(A[:, :2]))
    with pytest.raises(TypeError, match="OutputStatistics"):
        rows.statistics(A).merge(rows.output_statistics(A))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0], [2.0]], [1.0]), "as many rows"),
        (([1.0, 2.0], [1.0, 2.0]), "shape"),
        (([[np.nan], [2.0]], [1.0, 2.0]), "X must be finite"),
        (([[1.0], [2.0]], [1.0, np.inf]), "y must be finite"),
        (([[1.0], [2.0]], [1.0, 2.0], [1.0, -1.0]), "negative"),
        (([[1.0], [2.0]], [1.0, 2.0], [0.0, 0.0]), "all are zero"),
        (([[1.0], [2.0]], [1.0, 2.0], [1.0]), "one weight for each"),
        ((np.empty((0, 2)), np.empty(0)), "at least one row"),
    ],
)
def test_bad_rows_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ArrayRows(*arguments)


def test_rows_are_not_changed():
    X, Y, w, A = Case("weighted", weighted=True).data()
    copies = X.copy(), Y.copy(), w.copy(), A.copy()
    rows = ArrayRows(X, Y, w)
    earlier = rows.statistics(A + 1e-3, 0.1)
    earlier_U = earlier.U.copy()
    rows.statistics(A, 0.1, since=earlier)
    np.testing.assert_array_equal(earlier.U, earlier_U)
    rows.output_statistics(A, 0.1)
    for now, before in zip((X, Y, w, A), copies, strict=True):
        np.testing.assert_array_equal(now, before)
