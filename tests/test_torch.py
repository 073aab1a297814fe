"""Passes on a device of PyTorch give the sums of passes here, and fits the same networks; on a GPU, if there is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anmin import ReLURegressor, blas
from anmin.blas import Matrix, norm_1
from anmin.devices import DeviceMatrix, checked_devices
from anmin.rows import ArrayRows, NpyRows, TorchRows
from anmin.rows import torch as torch_rows
from anmin.rows.products import PatternProducts
from anmin.rows.torch import TorchProducts
from anmin.solvers import Anmin, MatrixFree, Problem, VarPro, solve
from problems import CASES, Case
from test_passes import DEGENERATE, HEAVY, LIGHT, assert_equal_sums, expected

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # else the same code, on PyTorch's processor device
DEVICES = {"one": DEVICE, "two": [DEVICE, DEVICE], "more than rows": [DEVICE] * 70}


def on_devices(case: Case, device: Any = DEVICE, **options: Any) -> TorchRows:
    X, Y, w, _ = case.data()
    return TorchRows(X, Y, w, device=device, **options)


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
@pytest.mark.parametrize("case", [*CASES, *DEGENERATE], ids=lambda case: case.name)
def test_sums_are_those_of_brute_force(case: Case, device: Any) -> None:
    *_, A = case.data()
    rows = on_devices(case, device, block_rows=7)
    pattern, output = expected(case)
    light = rows.output_statistics(A, case.negative_slope)
    for tried in (None, light):
        heavy = rows.statistics(A, case.negative_slope, tried=tried)
        assert_equal_sums(heavy, pattern, HEAVY)
    assert_equal_sums(light, output, LIGHT)
    np.testing.assert_allclose(rows.minimum(A), case.rows().minimum(A), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", [*CASES, *DEGENERATE], ids=lambda case: case.name)
def test_patterns_are_those_of_rows_here(case: Case) -> None:
    *_, A = case.data()
    rows, here = on_devices(case), case.rows()
    np.testing.assert_array_equal(rows.pattern(A).bits, here.pattern(A).bits)
    since = rows.statistics(A, case.negative_slope)
    other = np.roll(A, 1, axis=0)
    assert (
        rows.statistics(other, case.negative_slope, since).flips
        == here.statistics(other, case.negative_slope, here.statistics(A, case.negative_slope)).flips
    )


def test_panels_make_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("panels", n_neurons=9, weighted=True)
    *_, A = case.data()
    monkeypatch.setattr(torch_rows, "_PANEL", 8)
    for products in ("float64", "float32"):
        U = on_devices(case, products=products).statistics(A).U
        np.testing.assert_allclose(U, case.rows().statistics(A).U, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_products_are_those_of_rows_here(case: Case, device: Any) -> None:
    *_, A = case.data()
    rng = np.random.default_rng(5)
    h, c = case.n_neurons, case.n_outputs
    D, B, E = rng.standard_normal(A.shape), rng.standard_normal((h, c)), rng.standard_normal((h + 1, c))
    there = on_devices(case, device, block_rows=11).products(A, case.negative_slope)
    here = case.rows().products(A, case.negative_slope)
    assert isinstance(there, TorchProducts)
    assert type(here) is PatternProducts
    t = rng.uniform(0.5, 2.0, h)
    for products_A in (A, A * t):
        (T, overlap), (T_here, overlap_here) = there.forward(D, B, products_A), here.forward(D, B, products_A)
        np.testing.assert_allclose(np.concatenate([part.cpu().numpy() for part in T]), T_here, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(overlap, overlap_here, rtol=1e-9, atol=1e-9)
        back_here = here.backward(T_here, B, E, products_A)
        for given in (T, T_here):
            back = there.backward(given, B, E, products_A)
            np.testing.assert_allclose(back, back_here, rtol=1e-9, atol=1e-9 * np.abs(back_here).max())
    np.testing.assert_allclose(there.squares, here.squares, rtol=1e-10)
    some = np.arange(h)[::2]
    np.testing.assert_allclose(there.of_neurons(some).squares, here.of_neurons(some).squares, rtol=1e-10)


@pytest.mark.parametrize("solver", [Anmin(), VarPro(), MatrixFree()], ids=lambda solver: type(solver).__name__)
def test_solvers_take_the_same_steps(solver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("leaky, weighted, several outputs", negative_slope=0.1, weighted=True, n_outputs=3)
    factored = []
    monkeypatch.setattr(blas, "_MOVING_PAYS_FROM", 2)
    monkeypatch.setattr(
        DeviceMatrix,
        "factor",
        lambda self, *added, real=DeviceMatrix.factor: factored.append(self) or real(self, *added),
    )
    losses = []
    for rows in (case.rows(), on_devices(case, [DEVICE, DEVICE])):
        problem = Problem(rows, case.n_neurons, 1e-3, case.negative_slope)
        solution = solve(problem, solver, rng=np.random.default_rng(0), max_iter=8)
        losses.append([record.loss for record in solution.history])
    np.testing.assert_allclose(*losses, rtol=1e-8)
    assert bool(factored) == (not isinstance(solver, MatrixFree))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_factors_on_a_device_are_those_of_lapack(dtype: str) -> None:
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((30, 30)))[0]
    M = (Q * np.geomspace(1e-2, 1e2, 30) @ Q.T).astype(dtype)
    M = (M + M.T) / 2
    added, tol = rng.uniform(0.1, 1.0, 30).astype(dtype), 1e-10 if dtype == "float64" else 1e-3
    for diagonal in (0.0, added):
        there, here = DeviceMatrix.of(M, DEVICE).factor(diagonal), Matrix(M).factor(diagonal)
        for right in (rng.standard_normal(30).astype(dtype), rng.standard_normal((30, 2)).astype(dtype)):
            wanted = here.solve(right)
            np.testing.assert_allclose(there.solve(right), wanted, rtol=0, atol=tol * np.abs(wanted).max())
        np.testing.assert_allclose(there.diagonal, here.diagonal, rtol=tol)
        system = M + np.diag(np.broadcast_to(diagonal, 30))
        norm = norm_1(system)
        assert norm == pytest.approx(np.linalg.norm(system, 1), rel=1e-6)
        condition = np.linalg.cond(system.astype(np.float64), 1)
        for factor in (there, here):  # estimates from below, rarely by more than a factor of three
            assert 0.3 * condition <= 1 / factor.reciprocal_condition(norm) <= 1.01 * condition
    assert DeviceMatrix.of(np.diag([1.0, -1.0, 2.0]), DEVICE).factor() is None


def test_rough_products_are_taken_where_the_loss_is_the_same() -> None:
    case = Case("noisy", n_rows=20_000, n_neurons=8)
    X, Y, _, A = case.data()
    noise = 10 * np.random.default_rng(0).standard_normal(Y.shape)
    rows = TorchRows(X, Y + noise, device=DEVICE, products="float32")
    U = rows.statistics(A).U
    exact = ArrayRows(X, Y + noise).statistics(A).U
    assert rows.refused == 0
    assert 1e-12 < np.abs(U - exact).max() / np.abs(exact).max() < 1e-6


def test_rough_products_are_refused_where_the_loss_is_not_the_same() -> None:
    case = Case("exact", n_rows=5_000, n_neurons=8)
    X, Y, _, A = case.data()
    network_like = np.maximum(np.column_stack([np.ones(len(X)), X]) @ A, 0).sum(axis=1) + 1e-4 * Y[:, 0]
    rows = TorchRows(X, network_like, device=DEVICE, products="float32")
    exact = ArrayRows(X, network_like)
    for number in range(2):
        assert_equal_sums(rows.statistics(A + number), exact.statistics(A + number), ("U", "V", "s"))
    assert rows.refused == 1


def test_tf32_is_set_for_the_pass_alone() -> None:
    case = Case("long")
    *_, A = case.data()
    before = torch.get_float32_matmul_precision()
    rows = on_devices(case, products="tf32")
    np.testing.assert_allclose(rows.statistics(A).U, case.rows().statistics(A).U, rtol=1e-2, atol=0.1)
    assert torch.get_float32_matmul_precision() == before


def test_rows_keep_their_devices_and_options() -> None:
    rows = on_devices(Case("weighted", weighted=True), [DEVICE, DEVICE], products="float32", block_rows=9)
    d, c = rows.n_features, rows.n_outputs
    for other in (
        rows.subset(np.arange(20)),
        rows.sample(30, np.random.default_rng(0)),
        rows.standardized(np.ones(d), np.ones(d), np.zeros(c), np.ones(c), "float32"),
    ):
        assert isinstance(other, TorchRows)
        assert (other.devices, other.products_precision, other.block_rows) == (rows.devices, "float32", 9)
    assert rows.on(DEVICE).devices == (torch.device(DEVICE),)
    assert rows.on(DEVICE).products_precision == "float32"


def test_tensors_are_taken_as_they_are() -> None:
    X, Y, _, A = Case("long").data()
    for kind in (torch.float64, torch.float32, torch.int64, torch.bfloat16):
        tensor = torch.tensor(10 * X, device=DEVICE).to(kind)
        rows = TorchRows(tensor, torch.tensor(Y, requires_grad=True))
        wanted = ArrayRows(tensor.double().cpu().numpy(), Y)
        assert rows.devices == (tensor.device,)
        assert rows.X.dtype == (np.float32 if kind is torch.float32 else np.float64)
        assert_equal_sums(rows.statistics(A), wanted.statistics(A), ("U", "V", "s"))


@pytest.mark.parametrize("settings", [{}, {"solver": "anmin"}, {"solver": "matrix_free", "alpha": 1e-3}], ids=str)
def test_a_fit_on_a_device_is_a_fit_here(settings: dict, tmp_path: Path) -> None:
    X, Y, w, _ = Case("weighted", weighted=True).data()
    fits = [
        ReLURegressor(4, random_state=0, max_iter=15, **settings).fit(*data)
        for data in (
            (X, Y, w),
            tuple(torch.tensor(array, device=DEVICE) for array in (X, Y, w)),
            (TorchRows(X, Y, w, device=DEVICE),),
            (TorchRows(X, Y, w, device=[DEVICE, DEVICE]),),
        )
    ]
    np.testing.assert_allclose([fit.loss_ for fit in fits], fits[0].loss_, rtol=1e-6)
    np.testing.assert_allclose(fits[1].predict(torch.tensor(X, device=DEVICE)), fits[1].predict(X))


def test_a_fit_on_a_device_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    X, Y, *_ = Case("long").data()

    def fit(iterations: int, checkpoint: Path | None) -> ReLURegressor:
        settings = {"solver": "matrix_free", "alpha": 1e-3, "random_state": 0, "checkpoint": checkpoint}
        return ReLURegressor(4, max_iter=iterations, **settings).fit(TorchRows(X, Y, device=DEVICE))

    fit(5, tmp_path / "c")
    resumed, whole = fit(12, tmp_path / "c"), fit(12, None)
    np.testing.assert_array_equal(resumed.coefs_[0], whole.coefs_[0])
    assert resumed.n_iter_ == 12


def test_parts_are_visited_on_a_device(tmp_path: Path) -> None:
    X, Y, *_ = Case("long", n_rows=500).data()
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", Y)
    rows = NpyRows(tmp_path / "X.npy", tmp_path / "y.npy", part_rows=90)
    *_, A = Case("long").data()
    there = rows.on(DEVICE)
    assert there.device == DEVICE
    assert isinstance(there.sample(), TorchRows)
    assert_equal_sums(there.statistics(A), rows.statistics(A), ("U", "V", "s"))


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", r"device='cuda' needs a CUDA GPU of that number, and PyTorch .* sees none here"),
        ("cuda:3", r"device='cuda:3' needs a CUDA GPU"),
        (["cpu", "cuda:3"], r"device='cuda:3' needs a CUDA GPU"),
        ("tpu", r"device must be \"cpu\", \"cuda\", \"cuda:0\" and so on, or several of them; got 'tpu'"),
        ("mps", "device must be"),
        (3.5, "device must be .* got 3.5"),
        ([], "at least one device"),
    ],
)
def test_devices_that_there_are_not_are_named_before_any_work(
    device: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    X, Y, *_ = Case("long").data()
    with pytest.raises(ValueError, match=message):
        ReLURegressor(4, device=device).fit(X, Y)


def test_gpus_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert checked_devices(["cuda:0", "cuda:1"]) == (torch.device("cuda:0"), torch.device("cuda:1"))
    with pytest.raises(ValueError, match="sees 2 of them here"):
        checked_devices("cuda:2")


def test_a_full_device_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y, _, A = Case("long").data()
    rows = TorchRows(X, Y, device=DEVICE)

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("tried to allocate 2 GiB")

    monkeypatch.setattr(torch, "tensor", full)
    with pytest.raises(MemoryError, match=r"memory does not hold the rows and their sums .*several devices"):
        rows.statistics(A)


def test_precisions_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match="products must be one of 'float64', 'float32', 'tf32'; got 'int8'"):
        TorchRows(np.ones((3, 1)), np.ones(3), device=DEVICE, products="int8")  # type: ignore[arg-type]


def test_without_pytorch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install anmin\[torch\]"):
        ReLURegressor(4, device="cuda").fit(np.ones((3, 1)), np.ones(3))


def test_nothing_of_pytorch_is_imported_for_arrays() -> None:
    code = (
        "import sys, numpy as np; from anmin import ReLURegressor; X = np.arange(20.0)[:, None];"
        "ReLURegressor(2, max_iter=2, solver='anmin').fit(X, X[:, 0]).predict(X); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_tensors_on_a_gpu_stay_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(ArrayRows, "on", lambda self, device: asked.append(device) or self)
    monkeypatch.setattr("anmin.estimators.device_of", lambda X: "cuda:0")
    X, Y, *_ = Case("long").data()
    ReLURegressor(2, solver="anmin", max_iter=1, alpha=0.1).fit(X, Y)
    assert len(asked) == 1
