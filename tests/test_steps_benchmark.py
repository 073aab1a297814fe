"""The benchmark of steps: its matrices and line searches against oracles, and its runs are kept and told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from anmin.lab import accuracy
from anmin.lab.protocol import Split
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows
from anmin.solvers import Problem, VarPro
from anmin.solvers.systems import output_layer, projected_system
from benchmark_scripts import load_benchmark
from problems import CASES, Case, dense_loss

NAMES = ["gauss_newton", "newton_late_2", "newton_late_3", "inner_2", "inner_5", "line_search", "exact_line"]
SHAPES = [case for case in CASES if case.name in ("long", "several outputs", "leaky", "one neuron")]
SHAPES += [Case("leaky, weighted, several outputs", negative_slope=0.1, weighted=True, n_outputs=3)]


@pytest.fixture(scope="module")
def steps() -> ModuleType:
    """The benchmark as a module."""
    return load_benchmark("steps")


def of_variants(steps: ModuleType) -> ModuleType:
    """Return the module of the steps, which the benchmark has imported."""
    return sys.modules[type(steps.VARIANTS["inner_2"][0]).__module__]


@pytest.fixture
def call(steps: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The benchmark's command on tiny problems, with a folder of its own."""

    def load(name: str, split: int) -> Split:
        rng = np.random.default_rng(0)
        X = rng.uniform(-2, 2, (80, 2))
        return Split(X, np.sin(2 * X[:, :1]), X[:0], X[:0, :1])

    monkeypatch.setattr(accuracy, "load_split", load)
    monkeypatch.setattr(steps, "PROBLEMS", {"one": ("tiny", 0.001), "two": ("tiny", 1.0)})
    monkeypatch.setattr(steps, "N_NEURONS", 4)
    monkeypatch.setattr(steps, "PHASES", {"start": (12, 1.0), "late": (3, 0.5)})
    for cached in (steps.load, steps.first_state):
        cached.cache_clear()
        monkeypatch.setattr(steps, cached.__name__, cached)
    return lambda *arguments: steps.main(["--results", str(tmp_path / "new"), *arguments])


def stored(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "new" / "steps.json").read_text(encoding="utf-8"))["runs"]


def walked(solver: Any, problem: Problem, A: np.ndarray, count: int) -> list[Any]:
    states = [solver.begin(problem, A)]
    while len(states) <= count and not states[-1].settled:
        states.append(solver.step(problem, states[-1]))
    return states


# The steps


@pytest.mark.parametrize("alpha", [1e-3, 0.1])
@pytest.mark.parametrize("case", SHAPES, ids=lambda case: case.name)
def test_the_newton_matrix_equals_finite_differences_of_the_gradient(steps: ModuleType, case: Case, alpha: float):
    A = case.data()[3]
    statistics = case.rows().statistics(A, case.negative_slope)

    def at(A: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        B, b0 = output_layer(statistics.output(A), alpha)
        return B, b0, *projected_system(statistics, A, B, b0, alpha)

    B, b0, M, _ = at(A)
    newton = of_variants(steps).newton_matrix(statistics, A, B, b0, alpha, M)
    np.testing.assert_allclose(newton, newton.T, atol=1e-12 * np.abs(newton).max())
    step = 1e-5
    units = np.eye(A.size).reshape(-1, *A.T.shape)
    differences = [(at(A + step * unit.T)[3] - at(A - step * unit.T)[3]) / (2 * step) for unit in units]
    np.testing.assert_allclose(newton, np.array(differences), atol=1e-6 * np.abs(newton).max())
    assert np.abs(newton - M).max() > 1e-3 * np.abs(newton).max()


@pytest.mark.parametrize("name", NAMES)
def test_no_variant_raises_the_loss(steps: ModuleType, name: str, case: Case):
    problem = Problem(case.rows(), case.n_neurons, 1e-3, case.negative_slope)
    X, Y, w, A = case.data()
    states = walked(steps.VARIANTS[name][0], problem, A, 8)
    losses = [state.loss for state in states]
    assert np.all(np.diff(losses) <= 0)
    assert losses[-1] < losses[0]
    network = states[-1].network
    expected = dense_loss(X, Y, w, network.A, network.B, network.b0, case.negative_slope, 1e-3)
    assert losses[-1] == pytest.approx(expected, rel=1e-8)


def test_the_common_step_is_that_of_variable_projection(steps: ModuleType, case: Case):
    problem = Problem(case.rows(), case.n_neurons, 1e-3, case.negative_slope)
    A = case.data()[3]
    states = [walked(solver, problem, A, 10) for solver in (of_variants(steps).Varied(), VarPro())]
    assert [state.loss for state in states[0]] == [state.loss for state in states[1]]
    assert states[0][-1].damping == states[1][-1].damping


@pytest.mark.parametrize("count", [2, 5])
def test_inner_steps_equal_plain_ones_where_the_pattern_cannot_change(steps: ModuleType, count: int):
    rng = np.random.default_rng(0)
    X = rng.uniform(-0.3, 0.3, (60, 4))
    truth = np.vstack([np.full(2, 5.0), rng.standard_normal((4, 2))])
    A = truth + 0.5 * rng.standard_normal(truth.shape)  # all rows are far on the active side
    Y = ReLUNetwork(truth, rng.standard_normal((2, 3)), np.zeros(3)).predict(X) + 0.1 * rng.standard_normal((60, 3))
    # A penalty so small that the neurons, balanced once more by a pass, stay as they are.
    problem = Problem(ArrayRows(X, Y), 2, 1e-6)
    plain = walked(VarPro(), problem, A, 2 * count)
    assert all((state.statistics.active == 60).all() for state in plain)
    inner = walked(of_variants(steps).Inner(count=count), problem, A, 2)
    for one, same in zip(inner, plain[::count], strict=True):
        assert one.loss == pytest.approx(same.loss, rel=1e-8)
        np.testing.assert_allclose(one.network.A, same.network.A, atol=1e-4)
        assert one.damping == pytest.approx(same.damping, rel=1e-2)  # of a ratio of two small decreases
    assert {state.record.branch for state in inner[1:]} == {"inner"}


def test_newton_steps_begin_when_the_loss_falls_little_and_give_way_where_they_fail(
    steps: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    case = SHAPES[0]
    problem = Problem(case.rows(), case.n_neurons, 1e-2)
    solver = of_variants(steps).NewtonLate(below=0.05)
    states = walked(solver, problem, case.data()[3], 25)[:-1]
    falls = [1 - after.loss / before.loss for before, after in pairwise(states)]
    branches = [state.record.branch for state in states[1:]]
    assert branches[0] == "step"
    late = [branch for fall, branch in zip(falls, branches[1:], strict=False) if fall < 0.05]
    early = [branch for fall, branch in zip(falls, branches[1:], strict=False) if fall >= 0.05]
    assert "newton" in late
    assert "newton" not in early
    monkeypatch.setattr(of_variants(steps), "newton_matrix", lambda *arguments: -1e15 * np.abs(arguments[-1]))
    plain = walked(VarPro(), problem, case.data()[3], 24)
    without = walked(solver, problem, case.data()[3], 24)
    assert [state.loss for state in without] == [state.loss for state in plain]


@pytest.mark.parametrize("case", SHAPES, ids=lambda case: case.name)
def test_the_exact_line_search_finds_the_least_loss_of_a_fine_grid(steps: ModuleType, case: Case):
    X, Y, w, A = case.data()
    problem = Problem(case.rows(), case.n_neurons, 1e-2, case.negative_slope)
    B, b0 = output_layer(problem.rows.output_statistics(A, case.negative_slope), 1e-2)
    for step in np.random.default_rng(1).standard_normal((3, *A.shape)):

        def loss(t: float, step: np.ndarray = step) -> float:
            return dense_loss(X, Y, w, A + t * step, B, b0, case.negative_slope, 1e-2)

        slope = (loss(1e-6) - loss(-1e-6)) / 2e-6
        step *= -np.sign(slope)  # downhill
        t = of_variants(steps).best_length(problem, A, step, B, b0)
        grid = np.linspace(0, 8, 1001)
        values = [loss(point) for point in grid]
        assert loss(t) <= min(values) * (1 + 1e-12)
        assert 0 < t <= 8
        assert loss(t) < loss(0.0)


def test_the_sampled_line_search_ends_no_higher_than_its_step_with_few_passes(steps: ModuleType):
    case = SHAPES[0]
    X, Y, _, A = case.data()
    rows = steps.Counted(X, Y)
    problem = Problem(rows, case.n_neurons, 1e-3)
    gradient_step = np.random.default_rng(0).standard_normal(A.shape)
    lengths = []
    for scale in (1e-3, 1e-2, 0.1, 0.3):
        after = A + scale * gradient_step
        loss, B, b0 = of_variants(steps).value(problem, after)
        rows.light = 0
        lengths.append(of_variants(steps).LineSearch().length(problem, A, after, B, b0, loss))
        assert rows.light <= 8
        assert of_variants(steps).value(problem, A + lengths[-1] * (after - A))[0] <= loss
    assert all(0 < length <= 8 for length in lengths)


# The command


def test_runs_are_made_stored_and_told(call: Callable[..., int], tmp_path: Path):
    assert call("--seeds", "2") == 0
    runs = stored(tmp_path)
    assert len(runs) == 2 * 2 * 2 * len(NAMES)
    for run in runs:
        seconds, iterations, heavy, _, losses = np.array(run["trace"]).T
        assert np.all(np.diff(losses) <= 0)
        assert np.all(np.diff(seconds) >= 0)
        assert run["rises"] == 0
        assert iterations[-1] == sum(run["branches"].values())
        assert heavy[-1] <= iterations[-1] <= (12 if run["phase"] == "start" else 3)
    firsts = {}
    for run in runs:
        firsts.setdefault((run["problem"], run["seed"], run["phase"]), set()).add(run["trace"][0][-1])
    assert all(len(losses) == 1 for losses in firsts.values())
    text = (tmp_path / "new" / "steps.md").read_text(encoding="utf-8")
    assert "## From the starts" in text
    assert "## Late" in text
    assert text.count("\n| two |") == 4


def test_runs_are_resumed(
    call: Callable[..., int], steps: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    made, make = [], steps.made

    def counted(job: Any) -> dict[str, Any]:
        made.append(job)
        if len(made) == 4:
            raise KeyboardInterrupt
        return make(job)

    monkeypatch.setattr(steps, "made", counted)
    assert call("--seeds", "1", "--problems", "one") == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert len(stored(tmp_path)) == 3
    assert call("--seeds", "1", "--problems", "one") == 0
    assert len(made) == 2 * len(NAMES) + 1
    assert made[3] == made[4]
    assert call("--seeds", "1", "--problems", "one") == 0
    assert call("--tables-only") == 0
    assert len(made) == 2 * len(NAMES) + 1
    assert call("--seeds", "1", "--problems", "one", "--seconds", "2") == 2
    assert "runs of at most 4 s; asked for are 2 s" in capsys.readouterr().err


def test_what_is_not_there_is_refused(call: Callable[..., int], tmp_path: Path, capsys: Any):
    assert call("--problems", "one,three") == 2
    assert "There is no problem 'three' here" in capsys.readouterr().err
    (tmp_path / "new").mkdir()
    assert call("--tables-only") == 2
    assert "There are no complete comparisons yet." in capsys.readouterr().err
    (tmp_path / "new" / "steps.json").write_text('{"runs": [{}]}')
    assert call("--tables-only") == 2
    assert "cannot be read" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        call("--seeds", "0")
    assert ended.value.code == 2


# The tables


def made_up(steps: ModuleType, factor: Callable[[str, int, str], float]) -> list[dict[str, Any]]:
    """Return runs of four starts, in 10 iterations of 1 s; the last loss is half a variant's factor of the first."""
    runs = []
    for seed in range(4):
        for phase in steps.PHASES:
            for name in NAMES:
                job = steps.Job("abalone", seed, phase, name, 5.0)
                trace = [[0.0, 0, 0, 0, 1.0], [10.0, 10, 10, 20, 0.5 * factor(name, seed, phase)]]
                run = {"settled": False, "rises": 0, "branches": {"step": 4, "inner": 6}, "trace": trace}
                runs.append(asdict(job) | run)
    return runs


def line(text: str, start: str, nth: int = 0) -> list[str]:
    found = [one for one in text.splitlines() if one.startswith(f"| {start} |")]
    return [cell.strip() for cell in found[nth].strip("|").split("|")]


def test_ratios_and_their_errors_are_those_of_the_logarithms(steps: ModuleType):
    def factor(name: str, seed: int, phase: str) -> float:
        if name == "inner_2":
            return 0.8
        return float(np.exp([-0.1, 0.1, 0.3, -0.3][seed])) if name == "inner_5" else 1.0

    text = steps.tables(made_up(steps, factor))
    assert line(text, "gauss_newton", 1)[1:5] == ["1.000 ± 0.000"] * 4
    assert line(text, "inner_2", 1)[1:] == [
        f"{0.8**0.25:.3f} ± 0.000", *["0.800 ± 0.000"] * 3, "1.00", "1.00", "2.00", "60 %",
    ]  # fmt: skip
    assert line(text, "inner_5", 1)[2] == f"1.000 ± {np.std([0.1, -0.1, 0.3, -0.3], ddof=1) / 2:.3f}"
    assert line(text, "abalone")[1:6] == ["0.500", *["1.000 ± 0.000"] * 2, "0.800 ± 0.000", "1.000 ± 0.129"]
    # Late, the loss falls by 0.6 of itself in place of 0.5.
    assert line(text, "inner_2", 2)[2] == "1.200 ± 0.000"
    assert line(text, "abalone", 2)[1:5] == ["50.0", *["1.000 ± 0.000"] * 2, "1.200 ± 0.000"]
    told = text.splitlines()[2:4]
    assert told[0].startswith("From the starts")
    assert told[1].startswith("Late")
    for sentence in told:
        for measure in ("processor time", "iterations"):
            assert f"at equal {measure} inner_2 did better and no variant did worse" in sentence
    text = steps.tables(made_up(steps, lambda name, *_: 1.1 if name == "line_search" else 1.0))
    assert text.count("no variant did better and line_search did worse") == 4


def test_runs_are_compared_where_the_first_of_them_ended(steps: ModuleType):
    def run(end: float, loss: float, *, settled: bool = False) -> dict[str, Any]:
        return {"settled": settled, "trace": [[0.0, 0, 0, 0, 1.0], [end, 10, 10, 10, loss]]}

    cell = {"gauss_newton": run(4.0, 0.25), "inner_2": run(8.0, 0.0625), "inner_5": run(1.0, 0.5, settled=True)}
    found = steps.amounts("start", cell, "time")
    assert found == pytest.approx({"gauss_newton": 0.25, "inner_2": 0.25, "inner_5": 0.5})
    found = steps.amounts("late", cell, "quarter")
    assert found == pytest.approx({"gauss_newton": 1 - 0.25**0.25, "inner_2": 1 - 0.25**0.25, "inner_5": 0.5})
    assert steps.amounts("start", {name: one | {"settled": True} for name, one in cell.items()}, "time") == (
        pytest.approx({"gauss_newton": 0.25, "inner_2": 0.0625, "inner_5": 0.5})
    )
    still = {name: one | {"trace": [one["trace"][0], [1.0, 1, 1, 1, 1.0]]} for name, one in cell.items()}
    assert set(steps.amounts("late", still, "time").values()) == {steps.LEAST_FALL}
