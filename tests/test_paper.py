"""The paper's protocol, its stored runs and its tables; on tiny problems, without the data files."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import train_test_split
from typer.testing import CliRunner

from anmin.cli.paper import app
from anmin.lab import ablation, comparison, protocol, published, simulation, tables
from anmin.lab.baselines import Recipe, train
from anmin.lab.methods import METHOD_NAMES, AnminMethod, Fit, paper_methods, paper_problem
from anmin.lab.protocol import STUDIES, Split
from anmin.lab.results import Run, RunFile, complete
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows


def needs_torch() -> None:
    pytest.importorskip("torch", reason="the baselines need PyTorch")


@pytest.fixture
def small() -> Split:
    """A smooth function of 2 inputs on 400 rows, split as in the paper."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)) * [1.0, 30.0] + [5.0, -2.0]
    y = np.sin(X[:, 0]) + np.cos(X[:, 1] / 20) + 3
    return protocol.make_split(X, y, 0)


@pytest.fixture
def run() -> Run:
    return Run("ANMIN", 0, {"width": 64}, 3.94, 4.64, 0.6, 0.5, 1.5, 30, 3341)


# The protocol


def test_inputs_are_standardised_and_targets_centred_over_the_whole_set() -> None:
    rng = np.random.default_rng(1)
    X, y = rng.normal(3, 7, size=(50, 3)), rng.normal(5, 2, size=(50, 2))
    split = protocol.make_split(X, y, 4)
    inputs, targets = np.vstack([split.X_train, split.X_test]), np.vstack([split.y_train, split.y_test])
    np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(inputs.std(axis=0, ddof=1), 1, rtol=1e-14)
    np.testing.assert_allclose(targets.mean(axis=0), 0, atol=1e-14)
    assert split.X_train.shape == (40, 3)
    assert split.y_test.shape == (10, 2)


def test_rows_are_split_by_the_random_state_of_the_run() -> None:
    X, y = np.arange(20.0)[:, None], np.arange(20.0)
    split = protocol.make_split(X, y, 7)
    rows, _ = train_test_split(np.arange(20), test_size=0.2, random_state=7)
    np.testing.assert_allclose(split.y_train[:, 0], y[rows] - y.mean())


def test_a_constant_column_is_left_at_zero() -> None:
    X = np.column_stack([np.full(10, 3.0), np.arange(10.0)])
    assert np.abs(protocol.make_split(X, np.arange(10.0), 0).X_train[:, 0]).max() == 0


def test_r_squared_of_the_training_mean_is_zero(small: Split) -> None:
    mean = small.y_train.mean(axis=0)
    network = ReLUNetwork(np.zeros((3, 1)), np.zeros((1, 1)), mean)
    train_r2, test_r2 = protocol.r_squared(*protocol.errors(network, small), small)
    assert abs(train_r2) < 1e-12
    assert abs(test_r2) < 1e-12


@pytest.mark.parametrize("name", protocol.DEFAULT_DATASETS)
def test_real_data_have_the_sizes_of_the_paper(name: str, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANMIN_DATA", str(shared_data))
    split = protocol.load_split(name, 0)
    assert (len(split.X_train), split.X_train.shape[1], split.y_train.shape[1]) == {
        "abalone": (3341, 7, 1),
        "bike_sharing": (13903, 13, 1),
        "horse_sdf": (58464, 2, 1),
        "patches": (12729, 225, 225),
    }[name]


# The methods


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adagrad", "lbfgs"])
def test_baselines_lower_the_error_and_repeat(small: Split, optimizer: str) -> None:
    needs_torch()
    rate = {"sgd": 0.05, "adam": 0.03, "adagrad": 0.1, "lbfgs": 0.01}[optimizer]
    recipe = Recipe(optimizer, rate, 5, 64, 3, keep_best=optimizer == "lbfgs")
    one, two = (train(small.X_train, small.y_train, 8, recipe, 3, keep_path=True) for _ in range(2))
    start, end = (protocol.errors(network, small)[0] for network in (one.path[0][1], one.network))
    assert end < 0.7 * start
    np.testing.assert_array_equal(one.network.A, two.network.A)
    assert len(one.path) == recipe.epochs + 1


def test_a_penalty_is_that_of_the_loss(small: Split) -> None:
    """A step of gradient descent on all rows, from the start, against finite differences of the loss over c."""
    needs_torch()
    rows, alpha, rate = ArrayRows(small.X_train, small.y_train), 0.3, 0.1
    start, after = (
        train(small.X_train, small.y_train, 4, Recipe("sgd", r, 1, 400, None), 2, alpha=alpha).network
        for r in (0.0, rate)
    )

    def loss(network: ReLUNetwork) -> float:
        output = rows.output_statistics(network.A, 0.0)
        return output.loss(network.A, network.B, network.b0, alpha)

    for name in ("A", "B", "b0"):
        weights = getattr(start, name)
        for place in np.ndindex(weights.shape):
            change = np.zeros_like(weights)
            change[place] = 1e-5
            values = [loss(replace(start, **{name: weights + sign * change})) for sign in (1, -1)]
            slope = (values[0] - values[1]) / 2e-5
            moved = weights[place] - getattr(after, name)[place]
            assert moved == pytest.approx(rate * slope / small.y_train.shape[1], rel=2e-3, abs=1e-5)


def test_a_penalty_is_refused_where_there_is_no_decay(small: Split) -> None:
    for recipe in (Recipe("lbfgs", 0.01, 1, 64, None), Recipe("adam", 0.01, 1, 64, None, keep_best=True)):
        with pytest.raises(ValueError, match=r"alpha must be 0 for L-BFGS .* got 0\.1"):
            train(small.X_train, small.y_train, 4, recipe, 0, alpha=0.1)


def test_a_diverging_baseline_ends_with_finite_weights(small: Split) -> None:
    needs_torch()
    trained = train(small.X_train, 1e6 * small.y_train, 8, Recipe("sgd", 10.0, 5, 64, None), 0)
    assert trained.epochs < 5
    assert np.isfinite(trained.network.A).all()


def test_keeping_the_best_counts_the_start(small: Split) -> None:
    needs_torch()
    # A rate at which the error only grows, but stays finite for an epoch.
    recipe = Recipe("sgd", 3.0, 1, 400, None, keep_best=True)
    trained = train(small.X_train, 100 * small.y_train, 8, recipe, 0, keep_path=True)
    assert trained.best_epoch == 0
    np.testing.assert_array_equal(trained.network.A, trained.path[0][1].A)
    assert not np.array_equal(trained.path[-1][1].A, trained.network.A)


def test_torch_network_is_the_one_that_was_trained(small: Split) -> None:
    torch = pytest.importorskip("torch", reason="the baselines need PyTorch")
    # At rate 0 the trained network is PyTorch's start, which can be made here again.
    trained = train(small.X_train, small.y_train, 4, Recipe("sgd", 0.0, 1, 64, None, 0.1), 5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = torch.nn.Sequential(torch.nn.Linear(3, 4, bias=False), torch.nn.LeakyReLU(0.1), torch.nn.Linear(4, 1))
    X1 = np.column_stack([np.ones(len(small.X_test)), small.X_test])
    with torch.no_grad():
        expected = model(torch.as_tensor(X1, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(trained.network.predict(small.X_test), expected, atol=1e-5)


def test_anmin_reports_its_best_iterate(small: Split) -> None:
    fit = AnminMethod(iterations=6).fit(small, 8, 0, keep_path=True)
    errors = [protocol.errors(network, small)[0] for _, network in fit.path]
    assert len(errors) == 7
    assert protocol.errors(fit.network, small)[0] == pytest.approx(min(errors), rel=1e-6)
    assert len(fit.extra["log_determinant"]) == 6


def test_a_curve_keeps_its_last_point(small: Split) -> None:
    network = ReLUNetwork(np.zeros((3, 1)), np.zeros((1, 1)), np.zeros(1))
    fit = Fit(network, 1.0, 300, [(float(i), network) for i in range(301)])
    curve = fit.curve(small)
    assert curve["seconds"][-1] == 300
    assert len(curve["seconds"]) <= 61


def test_missing_torch_names_the_extra(monkeypatch: pytest.MonkeyPatch, small: Split) -> None:
    from anmin.lab import baselines

    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    baselines.import_torch.cache_clear()
    with pytest.raises(ImportError, match=r"anmin\[torch\]"):
        train(small.X_train, small.y_train, 4, Recipe("adam", 0.03, 1, 64, None), 0)
    baselines.import_torch.cache_clear()


# Stored runs


def test_a_second_study_reuses_all_runs(tmp_path: Path, run: Run) -> None:
    file = RunFile(tmp_path / "new" / "runs.json", "comparison", "abalone")
    made: list[int] = []

    def make(split: int) -> Run:
        made.append(split)
        return replace(run, split=split)

    def study(n_splits: int) -> list[Run]:
        jobs = [("ANMIN", split, run.settings, lambda split=split: make(split)) for split in range(n_splits)]
        return complete(file, jobs, lambda _: None)

    study(2)
    before = file.path.read_bytes()
    again = study(2)
    assert made == [0, 1]
    assert file.path.read_bytes() == before
    assert again == file.runs()
    study(3)
    assert made == [0, 1, 2]


def test_an_interrupted_study_keeps_its_finished_runs(tmp_path: Path, run: Run) -> None:
    file = RunFile(tmp_path / "runs.json", "comparison", "abalone")

    def stop() -> Run:
        raise KeyboardInterrupt

    jobs = [("ANMIN", 0, run.settings, lambda: run), ("ANMIN", 1, run.settings, stop)]
    with pytest.raises(KeyboardInterrupt):
        complete(file, jobs, lambda _: None)
    assert [found.split for found in file.runs()] == [0]
    assert list(tmp_path.iterdir()) == [file.path]


def test_runs_with_other_settings_are_made_again_and_replaced(tmp_path: Path, run: Run) -> None:
    file = RunFile(tmp_path / "runs.json", "comparison", "abalone")
    file.add(run)
    assert file.find("ANMIN", 0, {"width": 32}) is None
    file.add(replace(run, settings={"width": 32}, train_mse=5.0))
    assert [found.train_mse for found in file.runs()] == [5.0]


def test_stored_runs_survive_a_round_trip_also_when_diverged(tmp_path: Path, run: Run) -> None:
    file = RunFile(tmp_path / "runs.json", "comparison", "abalone")
    file.add(replace(run, train_mse=math.nan, curve={"seconds": [0.1], "train_mse": [1.0], "test_mse": [2.0]}))
    (found,) = file.runs()
    assert math.isnan(found.train_mse)
    assert replace(found, train_mse=1.0) == replace(run, train_mse=1.0, curve=found.curve)
    # Strict JSON: no NaN in it, and one environment for all runs made here.
    document = json.loads(file.path.read_text(), parse_constant=pytest.fail)
    assert len(document["environments"]) == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "anmin.paper-runs"}'])
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, run: Run, text: str) -> None:
    file = RunFile(tmp_path / "runs.json", "comparison", "abalone")
    file.path.write_text(text)
    with pytest.raises(ValueError, match="cannot be read"):
        file.add(run)
    assert file.path.read_text() == text


def test_a_file_of_another_study_is_refused(tmp_path: Path, run: Run) -> None:
    RunFile(tmp_path / "runs.json", "comparison", "abalone").add(run)
    with pytest.raises(ValueError, match="must describe"):
        RunFile(tmp_path / "runs.json", "comparison", "bike_sharing").runs()


# Tables


def _runs(method: str, errors: list[float]) -> list[Run]:
    return [Run(method, i, {}, value, 2 * value, 0.5, 0.4, 1.0, 30, 100) for i, value in enumerate(errors)]


def test_methods_not_worse_than_the_best_are_marked() -> None:
    rng = np.random.default_rng(0)
    best = rng.normal(1.0, 0.1, 20)
    runs = [
        *_runs("worse", list(best + 1)),
        *_runs("best", list(best)),
        *_runs("even", list(best + 0.01 + rng.normal(0, 0.1, 20))),
    ]
    rows = {row.method: row for row in tables.summarise(runs, "train")}
    assert rows["best"].not_worse
    assert rows["even"].not_worse
    assert rows["even"].p_value > tables.SIGNIFICANCE
    assert not rows["worse"].not_worse


def test_paired_test_uses_common_splits_only() -> None:
    from scipy.stats import ttest_rel

    first, second = [1.0, 2.0, 4.0, 3.0, 5.0], [1.5, 2.1, 4.9, 3.0, 5.5]
    one, two = dict(enumerate(first)), dict(enumerate(second))
    assert tables.paired_p_value({**one, 9: 100.0}, two) == pytest.approx(ttest_rel(first, second).pvalue)
    assert tables.paired_p_value(one, one) == 1
    assert tables.paired_p_value(one, {**two, 1: math.inf}) == 0
    # Four splits are too few to tell.
    assert math.isnan(tables.paired_p_value({i: float(i) for i in range(4)}, two))


def test_the_best_has_all_splits_and_has_not_diverged() -> None:
    runs = [
        *_runs("lucky", [0.5]),
        *_runs("steady", [1.0, 1.1, 1.2, 1.3, 1.4]),
        *_runs("diverged", [0.1, 0.1, 0.1, 0.1, math.nan]),
    ]
    rows = {row.method: row for row in tables.summarise(runs, "train")}
    assert math.isnan(rows["steady"].p_value)
    assert rows["steady"].not_worse
    assert not rows["lucky"].not_worse
    assert tables.formatted(rows["diverged"].mean, rows["diverged"].deviation) == "diverged"


def test_comparison_table_sets_the_paper_beside_ours() -> None:
    runs = {"abalone": [*_runs("Adam", [4.0, 4.1, 4.2]), *_runs("ANMIN", [3.9, 4.0, 4.1])]}
    text = tables.comparison_table(runs, "train")
    assert "| ANMIN | 3 | **4.00 (0.10)** | 3.94 (0.10) | 0.500 | best | 1.00 |" in text
    assert "ANMIN: ours is 2% higher than the paper's 3.94, 0.6 deviations over splits away." in text
    # Test errors are twice as high in these runs.
    assert "**8.00 (0.20)**" in tables.comparison_table(runs, "test")


def test_a_number_that_the_paper_lacks_is_a_dash() -> None:
    assert ("abalone", "SGD") not in published.TRAIN_MSE
    text = tables.comparison_table({"abalone": _runs("SGD", [5.0, 5.5])}, "train")
    assert "| – |" in text
    assert "ours is" not in text


def test_published_numbers_belong_to_known_sets_and_methods() -> None:
    keys = [*published.TRAIN_MSE, *published.TEST_MSE, *published.REASONS]
    assert {name for name, _ in keys} | set(published.BEST) <= set(STUDIES)
    assert {method for _, method in keys} <= set(METHOD_NAMES)
    assert set(published.ABLATION) <= set(ablation.VARIANTS)


# The ablation and the simulation


@pytest.fixture
def degenerate() -> Split:
    """Rows on which float32 systems are degenerate: targets of a large scale make the sums large beside the penalty."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(300, 4))
    return protocol.make_split(X, 1e4 * np.sin(X.sum(axis=1)), 0)


def test_variants_differ_where_systems_are_degenerate(degenerate: Split) -> None:
    runs = {
        name: ablation.run_variant(variant, degenerate, 32, 0, iterations=8)
        for name, variant in ablation.VARIANTS.items()
    }
    assert runs["algorithm 1"].extra["degenerate"] > 0
    assert runs["stop"].iterations <= runs["algorithm 1"].iterations
    assert runs["stop"].extra["degenerate"] == 1
    assert all(np.isfinite(run.train_mse) for run in runs.values())
    text = ablation.ablation_table("bike_sharing", list(runs.values()))
    assert text.count("\n| ") == 1 + len(runs)


def test_restarting_draws_the_hidden_layer_anew(degenerate: Split) -> None:
    problem = paper_problem(degenerate, 32)
    solver = ablation.Restarting(system_dtype="float32", seed=5)
    state = solver.init(problem, None, np.random.default_rng(0))
    while state.record.branch != "degenerate":
        before, state = state, solver.step(problem, state)
    iteration = before.record.iteration + 1
    expected = np.random.default_rng([5, iteration]).standard_normal(state.network.A.shape)
    np.testing.assert_array_equal(state.network.A, expected)


def test_variants_agree_where_no_system_is_degenerate(small: Split) -> None:
    runs = [
        ablation.run_variant(ablation.VARIANTS[name], small, 8, 0, "float64", iterations=5)
        for name in ("algorithm 1", "cholesky", "restart")
    ]
    assert [run.extra["degenerate"] for run in runs] == [0, 0, 0]
    for run in runs[1:]:
        assert run.train_mse == pytest.approx(runs[0].train_mse, rel=1e-6)


def test_simulation_scores_on_fresh_rows_with_their_own_targets() -> None:
    split = simulation.draw(3, 200, 0)
    assert split.X_train.shape == split.X_test.shape == (200, 3)
    assert not np.array_equal(split.y_train, split.y_test)
    shift = np.sin((split.X_train**2).sum(axis=1)) - split.y_train[:, 0]
    np.testing.assert_allclose(shift, shift[0])
    # The test targets are moved by the mean of the training targets, not by their own.
    np.testing.assert_allclose(np.sin((split.X_test**2).sum(axis=1)) - split.y_test[:, 0], shift[0])
    assert abs(split.y_train.mean()) < 1e-14


def test_simulation_table_has_a_row_for_each_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "SETTINGS", {"a": (1, 60), "b": (2, 60)})
    runs = simulation.simulate(tmp_path, 2, methods=["ANMIN"], names=["a", "b"], quick=True, report=lambda _: None)
    assert [len(found) for found in runs.values()] == [2, 2]
    text = simulation.simulation_table(simulation.stored(tmp_path, quick=True))
    assert text.count("| 1 | 60 |") == 2
    assert text.count("| 2 | 60 |") == 2


def test_figures_are_drawn_from_stored_runs(tmp_path: Path, small: Split) -> None:
    pytest.importorskip("matplotlib", reason="the figures need Matplotlib")
    from anmin.lab.figures import draw_all

    method = AnminMethod(iterations=4)
    anmin = comparison.measure("ANMIN", method, small, 8, 0, keep_curve=True)
    # A curve is a curve: ANMIN's stands in for one of L-BFGS here.
    runs = {"abalone": [anmin, replace(anmin, method="L-BFGS", settings={"epochs": 9})]}
    simulated = {(1, 60): _runs("ANMIN", [0.1, 0.2]), (3, 60): _runs("ANMIN", [0.3, 0.4])}
    paths = draw_all(tmp_path / "figures", runs, simulated)
    assert {path.stem for path in paths} == {"curves-abalone", "lbfgs", "log-determinants", "simulation"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


# The command


def test_unknown_names_end_with_one_sentence_and_code_2(tmp_path: Path) -> None:
    for arguments in (
        ["table3", "--datasets", "nothing"],
        ["table4", "--methods", "Adma"],
        ["table5", "--datasets", "nothing"],
        ["simulation", "--methods", "Adma"],
        ["simulation", "--datasets", "nothing"],
    ):
        result = CliRunner().invoke(app, [*arguments, "--results", str(tmp_path / "results")])
        assert result.exit_code == 2
        (sentence,) = result.stderr.strip().splitlines()
        assert sentence.startswith("Error: There is no ")
        assert sentence.endswith(".")
    assert list(tmp_path.iterdir()) == []


def test_missing_data_end_with_one_sentence_and_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANMIN_DATA", str(tmp_path))
    arguments = ["table3", "--datasets", "horse_sdf", "--methods", "ANMIN", "--results", str(tmp_path / "results")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_quick_study_writes_its_table_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2))
    monkeypatch.setattr(protocol, "load_split", lambda _, split: protocol.make_split(X, np.abs(X[:, 0]), split))
    arguments = ["table3", "--datasets", "abalone", "--methods", "ANMIN,ANMIN-L", "--quick", "--splits", "2",
                 "--results", str(tmp_path)]  # fmt: skip
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    assert first.stdout.count("comparison abalone") == 4
    # Quick runs stand apart from the full ones.
    assert (tmp_path / "quick" / "table3.md").exists()
    second = CliRunner().invoke(app, arguments)
    assert second.exit_code == 0, second.output
    assert "comparison abalone" not in second.stdout


def test_every_method_of_the_paper_is_there() -> None:
    assert set(paper_methods(0.03)) == {"SGD", "Adam", "Adam-L", "L-BFGS", "ANMIN", "ANMIN-L"}
    settings = paper_methods(0.03)["Adam"].settings()
    assert (settings["rate"], settings["epochs"], settings["batch"], settings["decay_every"]) == (0.03, 300, 256, 100)
