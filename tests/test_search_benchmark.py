"""The benchmark of the search: its variants differ from the method by what they say, and its runs are kept and told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

import anmin.selection
from anmin import ReLURegressor, fitting
from anmin.lab import accuracy
from anmin.lab.accuracy import FIELDS, Field
from anmin.lab.protocol import Split
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows
from anmin.search import Recombining
from anmin.search.initialisation import starting_weights
from anmin.solvers import Problem, VarPro, solve
from anmin.solvers.systems import output_layer, projected_system
from benchmark_scripts import load_benchmark
from problems import Case


@pytest.fixture(scope="module")
def search() -> ModuleType:
    """The benchmark as a module."""
    return load_benchmark("search")


def parts(search: ModuleType) -> ModuleType:
    """Return the module of the variants, which the benchmark has imported."""
    return sys.modules[search.VARIANTS["full"].__module__]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let searches end early, as they do where iterations are dear."""
    monkeypatch.setattr("anmin.search.recombination._CHEAP", 0.0)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set with splits of 100 training and 20 test rows."""
    X, y = rows(120)

    def load(name: str, split: int) -> Split:
        order = np.random.default_rng(split).permutation(len(X))
        return Split(X[order[:100]], y[order[:100]], X[order[100:]], y[order[100:]])

    monkeypatch.setitem(FIELDS, "tiny", Field("tiny", "Tiny", 3, 5, "RMSE"))
    monkeypatch.setattr(accuracy, "load_split", load)
    return "tiny"


@pytest.fixture
def call(search: ModuleType, tiny: str, tmp_path: Path) -> Callable[..., int]:
    """The benchmark's command, on the tiny data set, with a folder of its own."""
    return lambda *arguments: search.main(["--datasets", tiny, "--results", str(tmp_path / "new"), *arguments])


def rows(count: int, n_features: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (count, n_features))
    return X, (np.abs(X[:, 0]) + np.sin(2 * X[:, 0]) + 0.1 * rng.standard_normal(count))[:, None]


def runs(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "new" / "search.json").read_text(encoding="utf-8"))["runs"]


def fitted(search: ModuleType, variant: str, n_neurons: int = 3) -> ReLURegressor:
    X, y = rows(150)
    how = search.VARIANTS[variant]
    with how.around():
        return ReLURegressor(n_neurons, random_state=0, **how.settings(len(X))).fit(X, y)


def made_up(**changed: Any) -> dict[str, Any]:
    run = {
        "study": "depth", "dataset": "horse_sdf", "split": 0, "seed": 0, "variant": "full", "n_neurons": 64,
        "max_time": None, "n_train": 100, "train_mse": 1.0, "test_mse": 2.0, "variance": 1.0, "alpha": 1e-3,
        "loss": 0.1, "ridge_loss": 0.2, "not_above_ridge": True, "never_rises": True, "dead_neurons": 0, "n_iter": 9,
        "status": "CONVERGED", "seconds": 3.0, "processor_seconds": 3.0,
    }  # fmt: skip
    return run | changed


# The parts put out of action


@pytest.mark.parametrize("kind", ["HeldOutput", "Undamped"])
def test_the_solvers_never_raise_the_loss(search: ModuleType, kind: str, case: Case):
    problem = Problem(case.rows(), case.n_neurons, 1e-2, case.negative_slope)
    solver = getattr(parts(search), kind)()
    solution = solve(problem, solver, max_iter=40, rng=np.random.default_rng(0))
    losses = solution.history["loss"]
    assert np.all(np.diff(losses) <= 0)
    assert losses[-1] < losses[0]
    whole = solve(problem, VarPro(), max_iter=40, rng=np.random.default_rng(0))
    assert whole.history["loss"][0] == losses[0]
    assert whole.loss != solution.loss


def test_the_held_output_layer_changes_the_matrix_but_not_the_gradient(search: ModuleType, case: Case):
    X, Y, w, A = case.data()
    statistics = ArrayRows(X, Y, w).statistics(A, case.negative_slope)
    B, b0 = output_layer(statistics.output(A), 1e-2)
    M, gradient = projected_system(statistics, A, B, b0, 1e-2)
    held, same = parts(search).held_system(statistics, A, B, b0, 1e-2)
    np.testing.assert_allclose(same, gradient, atol=1e-9 * np.abs(A).max() * np.abs(held).max())
    # What the output layer could still make up for is not subtracted.
    assert np.linalg.eigvalsh(held - M).min() > -1e-9 * np.abs(held).max()
    assert np.trace(held) > np.trace(M)


def test_without_damping_a_quadratic_loss_is_solved_in_one_step(search: ModuleType):
    X, Y = rows(50)
    M = X.T @ X
    step = parts(search).gauss_newton_step(M, np.diagonal(M), -X.T @ Y[:, 0])
    np.testing.assert_allclose(step, np.linalg.lstsq(X, Y[:, 0])[0], rtol=1e-9)
    assert parts(search).gauss_newton_step(-M, np.diagonal(M), Y[:2, 0]) is None


def test_without_recombination_there_is_one_network(search: ModuleType):
    assert set(fitted(search, "no_recombination").history_["branch"]) <= {"", "step", "finish", "settled"}


def test_children_are_joined_or_grown_alone(search: ModuleType):
    branches = {name: list(fitted(search, name).history_["branch"]) for name in ("full", "no_relocation", "no_joining")}
    assert {"join", "grow"} <= set(branches["full"])
    assert "join" not in branches["no_joining"]
    # What is grown without relocation are last resorts, after which the search ends unless they pay.
    assert branches["no_relocation"].count("grow") < 0.5 * branches["no_relocation"].count("join")


def test_without_flips_no_neuron_is_turned(search: ModuleType, monkeypatch: pytest.MonkeyPatch):
    turned = []

    def unchanged(network: ReLUNetwork, *_: Any) -> np.ndarray:
        turned.append(network)
        return network.A

    monkeypatch.setattr("anmin.search.recombination.without_linear_part", unchanged)
    fitted(search, "no_flips")
    assert not turned
    fitted(search, "full")
    assert turned


def test_without_sampling_the_search_begins_on_all_rows(search: ModuleType):
    problem = Problem(ArrayRows(*rows(12_000)), 2, 1e-3)
    solver = search.VARIANTS["no_sampling"].settings(12_000)["solver"]
    sampled, whole = (one.init(problem, None, np.random.default_rng(0)).staged for one in (Recombining(), solver))
    assert sampled.rows.n_rows < 12_000
    assert whole.rows.n_rows == 12_000


def test_without_a_linear_start_no_neuron_is_active_on_all_rows(search: ModuleType):
    problem = Problem(ArrayRows(*rows(300)), 6, 1e-3)

    def always_active(A: np.ndarray) -> int:
        return int(np.sum(problem.rows.minimum(A) > 0))

    assert always_active(starting_weights(problem, np.random.default_rng(0))) == 1
    with search.VARIANTS["no_linear_start"].around():
        for module in (anmin.selection, sys.modules["anmin.search.recombination"]):
            assert always_active(module.starting_weights(problem, np.random.default_rng(0))) == 0
    assert anmin.selection.starting_weights is starting_weights


def test_without_projection_or_damping_no_step_has_it(search: ModuleType, monkeypatch: pytest.MonkeyPatch):
    def forbidden(*_: Any) -> None:
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr("anmin.solvers.varpro.projected_system", forbidden)
        fitted(search, "no_projection")
        with pytest.raises(AssertionError):
            fitted(search, "no_recombination")
    with monkeypatch.context() as patched:
        patched.setattr(VarPro, "step", forbidden)
        fitted(search, "no_damping")
        with pytest.raises(AssertionError):
            fitted(search, "no_recombination")


def test_the_papers_penalty_is_that_of_its_experiments(search: ModuleType):
    searched, anmin_ = (fitted(search, name) for name in ("paper_penalty", "paper_anmin"))
    assert searched.alpha_ == anmin_.alpha_ == 0.001 / 150
    assert "join" in searched.history_["branch"]
    assert set(anmin_.history_["branch"]) <= {"", "regular", "degenerate"}


def test_without_relevance_the_scales_of_the_inputs_are_equal(search: ModuleType):
    np.testing.assert_array_equal(fitted(search, "no_relevance", 16).relevance_, 1.0)
    assert np.ptp(fitted(search, "full", 16).relevance_) > 0.1


def test_what_this_version_lacks_is_told_and_the_rest_is_run(
    search: ModuleType, call: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    with monkeypatch.context() as patched:
        patched.delattr(fitting, "choose_alpha", raising=False)
        with pytest.raises(parts(search).Unavailable, match="no choice of relevances"):
            parts(search).without_relevance().__enter__()
    lacking = parts(search).Variant("no luck", around=lambda: parts(search).replaced(None, "anmin.selection.nothing"))
    monkeypatch.setitem(search.VARIANTS, "no_luck", lacking)
    assert call("--study", "ablation", "--splits", "2", "--variants", "paper_anmin,no_luck,paper_penalty") == 2
    assert [run["variant"] for run in runs(tmp_path)] == ["paper_anmin", "paper_penalty"] * 2
    message = "no_luck cannot be run: There is no anmin.selection.nothing in this version"
    assert capsys.readouterr().err.count(message) == 1
    assert "ANMIN" in (tmp_path / "new" / "search.md").read_text(encoding="utf-8")


# Facts


def test_the_loss_of_ridge_regression_is_the_least_of_a_linear_model(search: ModuleType):
    X, y = rows(80)
    split = Split(X, y, X, y)
    model = ReLURegressor(3, alpha=0.02, random_state=0).fit(X, y)
    Xt = np.column_stack([np.ones(80), (X - X.mean(axis=0)) / X.std(axis=0)])
    target = (y[:, 0] - y.mean()) / y.std()
    weights = Ridge(alpha=0.02 * 80, fit_intercept=False).fit(Xt, target).coef_
    expected = np.mean((Xt @ weights - target) ** 2) + 0.02 * np.sum(weights**2)
    found = search.facts(model, split)
    assert found["ridge_loss"] == pytest.approx(expected, rel=1e-9)
    assert found["not_above_ridge"] == (model.loss_ <= expected)


def test_planted_rows_have_no_noise_and_are_those_of_the_tests(search: ModuleType):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((2000, 5))
    network = ReLUNetwork(rng.standard_normal((6, 8)), rng.standard_normal((8, 1)), rng.standard_normal(1))
    split = search.planted(3, 8)
    np.testing.assert_array_equal(split.X_train, X)
    np.testing.assert_array_equal(split.y_train, network.predict(X))
    np.testing.assert_array_equal(split.y_test, network.predict(split.X_test))


# The command


@pytest.mark.parametrize(
    ("study", "options", "told"),
    [
        ("depth", ("--splits", "2"), "## Depth"),
        ("seeds", ("--seeds", "2"), "## Seeds"),
        ("planted", ("--seeds", "2", "--neurons", "1"), "## Planted networks"),
        ("ablation", ("--splits", "2", "--variants", "no_recombination"), "## Ablation"),
    ],
)
def test_a_study_is_run_stored_and_told(
    call: Callable[..., int], tmp_path: Path, study: str, options: tuple[str, ...], told: str
):
    assert call("--study", study, *options) == 0
    found = runs(tmp_path)
    assert len(found) == 2
    for run in found:
        assert run["study"] == study
        assert run["dataset"] == ("planted" if study == "planted" else "tiny")
        assert run["never_rises"]
        assert run["not_above_ridge"] == (run["loss"] <= run["ridge_loss"])
        assert run["status"] == "CONVERGED"
        assert run["max_time"] == (60.0 if study == "ablation" else None)
        assert run["train_mse"] < run["variance"]
    if study == "depth":
        assert {run["alpha"] for run in found} == {0.001 / 100}
    text = (tmp_path / "new" / "search.md").read_text(encoding="utf-8")
    assert text.count("## ") == 1
    assert told in text


def test_all_variants_run(call: Callable[..., int], search: ModuleType, tmp_path: Path):
    wanted = list(search.VARIANTS)
    assert call("--study", "ablation", "--neurons", "2", "--variants", ",".join(wanted)) == 0
    assert [run["variant"] for run in runs(tmp_path)] == wanted
    assert [run["never_rises"] for run in runs(tmp_path) if run["variant"] != "paper_anmin"] == [True] * (
        len(wanted) - 1
    )


def test_runs_are_resumed(
    call: Callable[..., int], search: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    made = []

    def make(job: Any) -> dict[str, Any]:
        made.append((job.split, job.variant))
        if len(made) == 3:
            raise KeyboardInterrupt
        return made_up(**search.asdict(job), train_mse=float(len(made)))

    monkeypatch.setattr(search, "made", make)
    command = ("--study", "ablation", "--variants", "full,no_flips", "--splits", "2")
    assert call(*command) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert len(runs(tmp_path)) == 2
    assert call(*command) == 0
    assert made == [(0, "full"), (0, "no_flips"), (1, "full"), (1, "full"), (1, "no_flips")]
    assert call(*command) == 0
    assert len(made) == 5
    assert call("--study", "ablation", "--variants", "no_flips", "--splits", "1", "--again") == 0
    assert made[5:] == [(0, "no_flips")]
    assert sorted(run["train_mse"] for run in runs(tmp_path)) == [1.0, 4.0, 5.0, 6.0]
    assert call("--tables-only") == 0
    assert len(made) == 6


def test_an_interrupted_fit_is_no_run(call: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    # The estimator keeps the network that it has by then, with a warning.
    monkeypatch.setattr(Recombining, "step", interrupted)
    assert call("--study", "depth", "--splits", "1") == 130
    assert not (tmp_path / "new" / "search.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--study", "width"), "There is no study 'width' here; choose from depth, seeds, planted, ablation."),
        (("--datasets", "nowhere"), "There is no data set 'nowhere' here"),
        (("--variants", "full,none"), "There is no variant 'none' here"),
        (("--study", "depth", "--datasets", "yacht", "--splits", "21"), "'yacht' has 20 splits; 21 were asked for"),
        (("--study", "depth", "--datasets", "horse_sdf"), "ANMIN_DATA must name a folder"),
        (("--tables-only",), "There are no runs yet."),
    ],
)
def test_what_is_not_there_is_refused(
    search: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    arguments: tuple[str, ...],
    message: str,
):
    monkeypatch.setenv("ANMIN_DATA", str(tmp_path / "none"))
    assert search.main(["--results", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--splits", "--seeds", "--neurons", "--max-time"])
def test_numbers_must_be_positive(search: ModuleType, option: str, capsys: Any):
    with pytest.raises(SystemExit) as ended:
        search.main([option, "0"])
    assert ended.value.code == 2
    assert "invalid positive" in capsys.readouterr().err


def test_missing_data_drop_no_runs(search: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANMIN_DATA", str(tmp_path / "none"))
    search.write(tmp_path / "search.json", search.document([made_up(variant="paper_penalty")]))
    assert search.main(["--study", "depth", "--again", "--results", str(tmp_path)]) == 2
    assert len(search.stored(tmp_path / "search.json")) == 1


def test_runs_of_other_settings_are_neither_mixed_nor_lost(
    call: Callable[..., int], search: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.setattr(search, "made", lambda job: made_up(**search.asdict(job)))
    assert call("--study", "depth", "--splits", "1") == 0
    assert call("--study", "depth", "--splits", "1", "--neurons", "2", "--max-time", "5") == 2
    message = "3 neurons and no limit of time; asked for are 2 neurons and 5 s at most."
    assert message in capsys.readouterr().err
    assert runs(tmp_path)[0]["n_neurons"] == 3
    (tmp_path / "new" / "search.json").write_text('{"runs": [{}]}')
    assert call("--study", "depth", "--splits", "1") == 2
    assert "cannot be read" in capsys.readouterr().err


# The tables


def line(text: str, start: str, nth: int = 0) -> list[str]:
    found = [one for one in text.splitlines() if one.startswith(f"| {start} |")]
    return [cell.strip() for cell in found[nth].strip("|").split("|")]


def test_targets_are_reached_or_missed(search: ModuleType):
    depths = [made_up(split=split, train_mse=mse) for split, mse in enumerate([1.0, 1.3])]
    depths += [made_up(dataset="abalone", train_mse=3.1, dead_neurons=2, never_rises=False, not_above_ridge=False)]
    text = search.tables(depths)
    assert line(text, "horse_sdf")[1:7] == ["2", "1.150 ± 0.21", "1.300", "1.200", "reached", "1 of 2"]
    assert line(text, "abalone")[1:7] == ["1", "3.100", "3.100", "3.000", "**missed**", "0 of 1"]
    assert "2 splits of horse_sdf, 1 split of abalone" in text
    assert "in 2 of 3 fits" in text
    assert "at the end: 2, in 1 of 3." in text
    spread = [made_up(study="seeds", seed=seed, train_mse=mse) for seed, mse in enumerate([1.0, 1.4])]
    assert line(search.tables(spread), "horse_sdf")[1:6] == ["2", "1.200", "0.283", "23.6 %", "**missed**"]
    found = [made_up(study="planted", seed=seed, train_mse=1e-13 if seed else 1e-3) for seed in range(10)]
    text = search.tables(found)
    assert "Found again: 9 of 10. Target: reached." in text
    assert line(text, "0")[3] == "no"
    assert "Found again: 8 of 9. Target: **missed**." in search.tables(found[:-1])


def test_the_ablation_compares_variants_on_the_splits_that_all_have(search: ModuleType):
    def run(dataset: str, split: int, variant: str, train: float, test: float | None, **more: Any) -> dict[str, Any]:
        return made_up(
            study="ablation", dataset=dataset, split=split, variant=variant, train_mse=train, test_mse=test, **more
        )

    text = search.tables(
        [
            run("yacht", 0, "full", 1.0, 4.0),
            run("yacht", 1, "full", 4.0, 16.0),
            run("yacht", 2, "full", 100.0, 100.0),
            run("yacht", 0, "no_flips", 4.0, 4.0, status="MAX_TIME"),
            run("yacht", 1, "no_flips", 9.0, 4.0),
            run("horse_sdf", 0, "full", 2.0, 3.0),
            run("horse_sdf", 0, "no_joining", 1.0, 6.0, processor_seconds=6.0),
            run("abalone", 0, "full", 2.0, 3.0),
            run("abalone", 0, "paper_anmin", 2.5, None),
        ]
    )
    assert "1 of horse_sdf, 1 of abalone, 2 of yacht" in text
    assert "horse_sdf train MSE | test | abalone train MSE | test | yacht train RMSE | test" in text
    full, flips = "the default", "no turning of neurons"
    assert line(text, full)[1:] == ["2.000", "**3.000**", "**2.000**", "**3.000**", "**1.500**", "3.000"]
    assert line(text, flips)[1:] == ["–", "–", "–", "–", "2.500", "**2.000**"]
    # Ratios of mean squared errors: 1 and 1/4, whose geometric mean is 1/2; in training 4 and 9/4.
    assert line(text, flips, 1)[1:] == ["–", "–", "0.5000", "0.500", "3.00", "1.00", "1.00", "1 of 2"]
    joining = search.VARIANTS["no_joining"].description
    assert line(text, joining, 1)[1:] == ["2.000", "–", "–", "2.00", "0.500", "1.00", "2.00", "0 of 1"]
    anmin_ = search.VARIANTS["paper_anmin"].description
    assert line(text, anmin_)[3:5] == ["2.500", "–"]
    assert line(text, anmin_, 1)[4:6] == ["–", "1.25"]
