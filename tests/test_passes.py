"""Every way of making the sums gives what brute force gives, whatever the rows and the neurons are."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from anmin import threads
from anmin.rows import ArrayRows
from anmin.rows.arrays import Passes
from anmin.rows.cells import grouped
from anmin.rows.patterns import Pattern, packed
from anmin.statistics import OutputStatistics, PatternStatistics
from problems import CASES, Case, gates

WAYS = [way for way in get_args(Passes) if way != "updates"]


class Degenerate(Case):
    """Rows and neurons in whole numbers, so that a row can lie exactly on a hyperplane."""

    def data(self) -> tuple[NDArray, NDArray, NDArray | None, NDArray]:
        rng = np.random.default_rng(sum(map(ord, self.name)))
        X = rng.integers(-2, 3, (self.n_rows, self.n_features)).astype(float)
        X[self.n_rows // 2 :] = X[: self.n_rows - self.n_rows // 2]  # equal rows
        if "zero column" in self.name:
            X[:, 0] = 0.0
        Y = rng.integers(-5, 6, (self.n_rows, self.n_outputs)).astype(float)
        w = rng.integers(1, 4, self.n_rows).astype(float) if self.weighted else None
        A = rng.integers(-2, 3, (self.n_features + 1, self.n_neurons)).astype(float)
        A[:, 0] = np.r_[100.0, np.ones(self.n_features)]  # on for all rows
        A[:, 1] = -A[:, 0]  # off for all rows
        A[:, 2] = np.r_[-X[0].sum(), np.ones(self.n_features)]  # through a row
        A[:, 3] = A[:, 2]  # the same again
        A[:, 4] = 0.0
        return X, Y, w, A


DEGENERATE = [
    Degenerate("equal rows", 60, 2, 7),
    Degenerate("zero column", 60, 3, 7),
    Degenerate("weighted", 61, 2, 9, 2, True),
    Degenerate("weighted, leaky, zero column", 33, 3, 6, 2, True, 0.1),
    Degenerate("more neurons than a word has bits", 40, 2, 70, 1, True, 0.25),
    Degenerate("more rows than a block", 9000, 1, 6),
]


def expected(case: Case) -> tuple[PatternStatistics, OutputStatistics]:
    """Return both kinds of sums by brute force."""
    X, Y, w, A = case.data()
    G, Xt = gates(X, A, case.negative_slope), np.column_stack([np.ones(len(X)), X])
    w = np.ones(len(X)) if w is None else w
    Phi = G[:, :, None] * Xt[:, None, :]
    totals = {"n": w.sum(), "y_sum": w @ Y, "y_square": w @ Y**2}
    S = np.where(Xt @ A > 0, Xt @ A, case.negative_slope * (Xt @ A))
    return (
        PatternStatistics(
            U=np.einsum("ijp,i,ilq->jplq", Phi, w, Phi, optimize=True),
            V=np.einsum("ijp,i,ic->jpc", Phi, w, Y),
            s=np.einsum("ijp,i->jp", Phi, w),
            active=(G == 1).sum(axis=0),
            flips=0,
            **totals,
        ),
        OutputStatistics(gram=(S.T * w) @ S, sums=w @ S, cross=(S.T * w) @ Y, **totals),
    )


def assert_equal_sums(one: object, other: object, names: tuple[str, ...], rtol: float = 1e-10) -> None:
    for name in names:
        wanted = np.asarray(getattr(other, name), dtype=float)
        np.testing.assert_allclose(
            getattr(one, name), wanted, rtol=rtol, atol=rtol * np.abs(wanted).max(initial=0.0), err_msg=name
        )


HEAVY = ("U", "V", "s", "n", "y_sum", "y_square", "active")
LIGHT = ("gram", "sums", "cross", "n", "y_sum", "y_square")


@pytest.mark.parametrize("way", get_args(Passes))
@pytest.mark.parametrize("case", [*CASES, *DEGENERATE], ids=lambda case: case.name)
def test_every_way_gives_the_sums_of_brute_force(case: Case, way: Passes) -> None:
    X, Y, w, A = case.data()
    heavy, light = expected(case)
    rows = ArrayRows(X, Y, w, passes=way)
    statistics = rows.statistics(A, case.negative_slope)
    assert_equal_sums(statistics, heavy, HEAVY)
    k = A.size
    np.testing.assert_array_equal(statistics.U.reshape(k, k), statistics.U.reshape(k, k).T)
    for tried in (
        rows.output_statistics(A, case.negative_slope),
        rows.output_statistics(A, case.negative_slope, statistics),
    ):
        assert_equal_sums(tried, light, LIGHT)
        assert_equal_sums(rows.statistics(A, case.negative_slope, tried=tried), heavy, HEAVY)


@pytest.mark.parametrize("way", get_args(Passes))
@pytest.mark.parametrize("case", [*CASES, *DEGENERATE], ids=lambda case: case.name)
def test_every_way_goes_on_from_earlier_sums(case: Case, way: Passes) -> None:
    X, Y, w, A = case.data()
    heavy, light = expected(case)
    rows = ArrayRows(X, Y, w, passes=way)
    before = np.random.default_rng(3).standard_normal(A.shape)
    earlier = rows.statistics(before, case.negative_slope)
    tried = rows.output_statistics(A, case.negative_slope, earlier)
    assert_equal_sums(tried, light, LIGHT)
    for statistics in (
        rows.statistics(A, case.negative_slope, earlier),
        rows.statistics(A, case.negative_slope, earlier, tried),
    ):
        assert_equal_sums(statistics, heavy, HEAVY)
        assert statistics.flips == np.sum(gates(X, A, 0.0) != gates(X, before, 0.0))
        if way != "auto":
            assert statistics.pattern.updates == (way == "updates")


def test_a_way_that_does_not_exist_is_refused() -> None:
    unknown: Any = "fast"
    with pytest.raises(ValueError, match="passes must be one of 'auto'"):
        ArrayRows([[1.0]], [1.0], passes=unknown)


def test_cells_are_taken_where_rows_share_patterns_and_not_where_they_do_not() -> None:
    rng = np.random.default_rng(0)
    X, A = rng.uniform(-1, 1, (20_000, 2)), rng.standard_normal((3, 64))
    rows = ArrayRows(X, X[:, 0])
    statistics = rows.statistics(A)
    assert statistics.pattern.n_cells == len(np.unique(rows.X @ A[1:] + A[0] > 0, axis=0))
    assert rows.output_statistics(A, since=statistics).pattern.statistics is not None
    X, A = rng.standard_normal((3000, 12)), rng.standard_normal((13, 32))
    rows = ArrayRows(X, X[:, 0])
    statistics = rows.statistics(A)
    assert statistics.pattern.n_cells == len(X)
    assert rows.output_statistics(A, since=statistics).pattern.statistics is None


def test_statistics_of_other_rows_or_widths_are_not_updated() -> None:
    X, Y, _, A = CASES[0].data()
    other = ArrayRows(X[:50], Y[:50]).statistics(A)
    narrow = ArrayRows(X, Y).statistics(A[:, :3])
    fresh = ArrayRows(X, Y).statistics(A)
    for earlier in (other, narrow, fresh.merge(other)):
        statistics = ArrayRows(X, Y, passes="updates").statistics(A, since=earlier)
        assert statistics.flips == 0
        assert_equal_sums(statistics, fresh, HEAVY)


def test_float32_rows_go_every_way() -> None:
    X, Y, w, A = CASES[3].data()
    X, Y = X.astype(np.float32), Y.astype(np.float32)
    wanted = ArrayRows(X.astype(float), Y.astype(float), w, passes="product").statistics(A, 0.1)
    for way in get_args(Passes):
        rows = ArrayRows(X, Y, w, passes=way)
        earlier = rows.statistics(A + 0.1, 0.1)
        statistics = rows.statistics(A, 0.1, earlier)
        assert statistics.U.dtype == np.float64
        assert_equal_sums(statistics, wanted, HEAVY)


def test_the_bits_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    X, A = rng.standard_normal((5000, 6)), rng.standard_normal((7, 33))
    monkeypatch.setattr(threads, "_WORTH_IT", 0.0)

    def everything(count: int) -> list[NDArray]:
        monkeypatch.setattr(threads, "n_threads", lambda: count)
        found = []
        for way in get_args(Passes):
            rows = ArrayRows(X, X[:, :2], passes=way)
            first = rows.statistics(A)
            light = rows.output_statistics(A + 0.01, since=first)
            second = rows.statistics(A + 0.01, 0.0, first, light)
            found += [first.U, first.V, first.s, light.gram, light.cross, second.U, second.V, second.pattern.bits]
        return found

    for one, other in zip(everything(1), everything(3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_error_in_a_thread_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "n_threads", lambda: 2)

    def task(part: int, parts: int) -> None:
        if part == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        threads.in_threads(task, operations=1e9)


def test_patterns_count_active_rows_and_flips() -> None:
    rng = np.random.default_rng(2)
    for h in (1, 8, 63, 64, 65, 130):
        on, other = rng.random((50, h)) < 0.3, rng.random((50, h)) < 0.5
        pattern = Pattern(packed(on), h)
        np.testing.assert_array_equal(pattern.active(), on.sum(axis=0))
        assert pattern.flips(Pattern(packed(other), h)) == np.sum(on != other)
        index = rng.permutation(h)[: h // 2 + 1]
        np.testing.assert_array_equal(pattern.of_neurons(index).bits, packed(on[:, index]))


def test_grouping_gives_up_where_cells_are_too_many() -> None:
    on = np.eye(20, dtype=bool)
    X, Y = np.ones((20, 1)), np.ones((20, 1))
    assert grouped(X, Y, np.empty(0), packed(on), 19) is None
    cells = grouped(X, Y, np.empty(0), packed(on), 20)
    assert cells is not None
    assert len(cells) == 20
    np.testing.assert_array_equal(cells.bits, packed(on))


def test_equal_hashes_of_different_patterns_do_not_mix() -> None:
    # 40,000 patterns of two words in a table of few slots: many meet in a slot, and each keeps its own cell.
    rng = np.random.default_rng(3)
    on = rng.random((40_000, 100)) < 0.5
    on = on[rng.integers(len(on), size=3 * len(on))]
    X, Y = np.zeros((len(on), 1)), np.zeros((len(on), 1))
    cells = grouped(X, Y, np.empty(0), packed(on), len(on))
    assert cells is not None
    patterns, counts = np.unique(packed(on), axis=0, return_counts=True)
    order = np.lexsort(cells.bits.T[::-1])
    np.testing.assert_array_equal(cells.bits[order], patterns)
    np.testing.assert_array_equal(cells.products[order, 0], counts)


@pytest.mark.parametrize("way", WAYS)
def test_sums_of_some_neurons_are_updated_like_any_other(way: Passes) -> None:
    # Statistics of some neurons alone can be brought up to date like any other.
    X, Y, w, A = CASES[3].data()
    rows = ArrayRows(X, Y, w, passes=way)
    some = rows.statistics(A).of_neurons(np.array([3, 0, 1]))
    moved = A[:, [3, 0, 1]] + 0.01
    updated = ArrayRows(X, Y, w, passes="updates").statistics(moved, since=some)
    assert_equal_sums(replace(updated, flips=0), rows.statistics(moved), HEAVY)


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    # A file where the folder of the cache would be, and no other place allowed: not even an administrator can keep it.
    (tmp_path / "file").write_text("")
    script = (
        "import numpy as np; from anmin.rows import ArrayRows\n"
        "print(ArrayRows([[1.0], [2.0]], [1.0, 2.0]).statistics(np.array([[-1.5], [1.0]])).active)"
    )
    nowhere = {"NUMBA_CACHE_DIR": str(tmp_path / "file"), "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ, **nowhere}
    )
    assert done.stdout.strip() == "[1]"
    assert done.stderr == ""
