"""The benchmark of the convex programs: what it hands to both packages, and its table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anmin.rows import ArrayRows
from anmin.solvers.gated import solve_gated
from benchmark_scripts import load_benchmark


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark with a generated data set in place of the real ones."""
    benchmark = load_benchmark("convex")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 3)) * [1.0, 50.0, 0.1] + 5
    monkeypatch.setattr(benchmark.datasets, "load", lambda name: type("Data", (), {"X": X, "y": np.sin(X[:, 0])}))
    return benchmark


def test_what_is_judged_is_the_objective_of_the_solution(small: Any):
    given = small.problem("abalone", 12, 1e-3)
    assert given.gates.shape == (4, 12)
    np.testing.assert_allclose(np.linalg.norm(given.X, axis=0), given.length)
    assert len({column.tobytes() for column in given.on.T}) == 12
    exact = solve_gated(ArrayRows(given.X[:, 1:], given.y), given.gates, given.alpha, tol=1e-10, intercept=False)
    judged = given.judged(exact.V[:, :, 0])
    assert judged["objective"] == pytest.approx(exact.objective / 2, rel=1e-12)
    assert judged["subgradient"] < 1e-16
    (rough,) = small.ours_gated(given, 1.0)
    assert exact.objective / 2 - 1e-12 <= given.judged(rough)["objective"]
    assert given.judged(rough)["subgradient"] <= small.TOLERANCE
    U, V = small.ours_relu(given, 1e-3)
    cones = given.judged(U, V)
    assert cones["objective"] >= exact.objective / 2 - 1e-9  # cones, too, with gates as they are
    assert cones["violation"] < 1e-6


@pytest.mark.filterwarnings("ignore")  # pyscnn's, where it is there
@pytest.mark.parametrize("part", ["gated", "relu"])
def test_both_packages_are_compared_and_the_table_says_so(
    small: Any, part: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    if not can_run_pyscnn():  # what it would return, to a rougher tolerance, stands in for it
        ours = small.SOLVERS[part][0]
        monkeypatch.setattr(small, "pyscnn", lambda given, model, solver: ours(given, 0.5))
        monkeypatch.setitem(sys.modules, "scnn", type(sys)("scnn"))
        monkeypatch.setitem(sys.modules, "scnn.optimize", type(sys)("scnn.optimize"))
    options = ["--parts", part, "--datasets", "abalone", "--penalties", "1e-3", "--gates", "10", "--neurons", "8"]
    assert small.main([*options, "--results", str(tmp_path)]) == 0
    run = json.loads((tmp_path / "convex.json").read_text(encoding="utf-8"))["runs"][f"{part}, abalone, 0.001"]
    assert run["gates"] == (10 if part == "gated" else 4)
    assert run["anmin"]["objective"] == pytest.approx(run["pyscnn"]["objective"], rel=0.02)
    assert run["at its time"]["objective"] <= run["anmin"]["objective"]
    assert run["times faster"] == pytest.approx(run["pyscnn"]["seconds"] / run["anmin"]["seconds"])
    table = (tmp_path / "convex.md").read_text(encoding="utf-8")
    assert f"## {part}" in table
    assert "| abalone, 0.001 (120 × 3, " in table
    assert table in capsys.readouterr().out


def can_run_pyscnn() -> bool:
    try:
        import scnn.optimize  # noqa: F401
    except ImportError:
        return False
    return True


def test_unknown_names_are_refused(tmp_path: Path, capsys):
    benchmark = load_benchmark("convex")
    for option in (["--parts", "none"], ["--datasets", "none"]):
        assert benchmark.main([*option, "--results", str(tmp_path)]) == 2
        assert "Error: " in capsys.readouterr().err
