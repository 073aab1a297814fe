"""The rivals behind one interface, how they are tuned and measured, and what the tables say; on tiny problems."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neural_network import MLPRegressor

from anmin import datasets
from anmin.lab import accuracy, contest, sizes
from anmin.lab.accuracy import FIELDS, Field
from anmin.lab.accuracy_tables import accuracy_tables
from anmin.lab.contest import RIVALS, hold, measure
from anmin.lab.protocol import Split
from anmin.lab.results import Run
from anmin.lab.rivals import FittedRival, LightGBM, MLPAdam, MLPLbfgs, Ours, Ridge, Rival, tune
from anmin.lab.standings import cells, listed, markdown, number, standings, where_ours_loses
from anmin.lab.torch_rivals import ScnnGated, TorchAdam
from anmin.solvers import Anmin, VarPro
from benchmark_scripts import load_benchmark


@dataclass(frozen=True)
class Constant(Rival):
    """Predicts one number; the numbers to choose from are far apart."""

    value: float = 0.0

    name: ClassVar[str] = "constant"
    title: ClassVar[str] = "a constant"

    def candidates(self) -> Sequence[Self]:
        return [replace(self, value=value) for value in (0.0, math.nan, 5.0, 10.0)]

    def fit(self, X: NDArray, y: NDArray, seed: int) -> FittedRival:
        return FittedRival(lambda rows: np.full((len(rows), y.shape[1]), self.value), 8, 1)


@dataclass(frozen=True)
class Failing(Rival):
    """Raises something of its own."""

    name: ClassVar[str] = "failing"
    title: ClassVar[str] = "a failure"

    def fit(self, X: NDArray, y: NDArray, seed: int) -> FittedRival:
        raise ZeroDivisionError("one over\n nothing")


@dataclass(frozen=True)
class Absent(Ridge):
    """Needs a package that nobody has."""

    title: ClassVar[str] = "an absentee"
    modules: ClassVar[tuple[str, ...]] = ("no_package_has_this_name",)
    install: ClassVar[str] = "pip install nothing"


def installed(rival: Rival) -> Rival:
    try:
        rival.prepare()
    except ImportError as error:
        pytest.skip(str(error))
    return rival


def rows(count: int = 60, outputs: int = 1) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(count, 2)) * [1.0, 30.0] + [5.0, -2.0]
    return X, np.column_stack([100 + 10 * np.abs(X[:, 0] - 5) + k * X[:, 1] for k in range(outputs)])


def a_run(name: str, split: int, test: float, *, seconds: float = 1.0, n_bytes: int = 100, **extra: float | str) -> Run:
    more = {"n_bytes": n_bytes, "us_per_row": 0.5, "processor_seconds": seconds / 2, **extra}
    return Run(name, split, {}, test / 2, test, 0.5, 0.5, seconds, 10, 80, extra=more)


# The rivals


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_fits_better_than_the_mean_and_says_what_it_is(name: str, outputs: int) -> None:
    rival = installed(RIVALS[name](4))
    X, y = rows(outputs=outputs)
    before = X.copy(), y.copy()
    fitted = rival.fit(X, y, 0)
    predictions = fitted.predict(X[:7])
    assert predictions.shape == (7, outputs)
    linear = np.column_stack([np.ones(len(X)), X])
    best_linear = np.mean((linear @ np.linalg.lstsq(linear, y, rcond=None)[0] - y) ** 2)
    assert np.mean((fitted.predict(X) - y) ** 2) < (1.05 * best_linear if name == "ridge" else 0.9 * np.mean(y.var(0)))
    assert fitted.n_bytes > 0
    json.dumps([rival.settings(), fitted.extra], allow_nan=False)
    np.testing.assert_array_equal(fitted.predict(X[:7]), predictions)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize("kind", [Ours, MLPLbfgs, MLPAdam, TorchAdam])
def test_networks_of_equal_width_have_equal_bytes(kind: type[Rival]) -> None:
    X, y = rows(outputs=2)
    assert installed(kind(5)).fit(X, y, 0).n_bytes == 8 * (3 * 5 + 5 * 2 + 2)


def test_bytes_of_trees_and_lines() -> None:
    X, y = rows(200)
    assert Ridge().fit(X, y, 0).n_bytes == 8 * 3
    stumps = installed(LightGBM(trees=3, leaves=2)).fit(X, y, 0)
    assert stumps.extra["leaves"] == 6
    assert stumps.n_bytes == 3 * (14 + 2 * 8)


def test_gates_count_among_the_bytes() -> None:
    X, y = rows()
    fitted = installed(ScnnGated(penalty=1e-6)).fit(X, y, 0)
    assert fitted.n_bytes == 8 * fitted.extra["neurons"] * (3 + 3 + 1)


def test_the_penalty_of_adam_is_a_share_of_that_of_all_rows() -> None:
    assert MLPAdam(penalty=3.0).options(1000)["alpha"] == pytest.approx(3.0 * 200 / 1000)
    assert MLPAdam(penalty=3.0).options(50)["alpha"] == pytest.approx(3.0)
    assert MLPAdam().options(100_000)["max_iter"] == 100
    assert MLPAdam().options(4000)["max_iter"] == 500
    assert MLPAdam().options(300)["max_iter"] == 1000


@pytest.mark.parametrize("kind", [Ours, MLPAdam, MLPLbfgs])
def test_an_interrupt_ends_the_contest_and_not_only_a_fit(kind: type[Rival], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    # Both estimators return what they have by then.
    monkeypatch.setattr(VarPro, "step", interrupted)
    monkeypatch.setattr(Anmin, "step", interrupted)
    monkeypatch.setattr(MLPRegressor, "_backprop", interrupted)
    monkeypatch.setattr(MLPRegressor, "_loss_grad_lbfgs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(kind(3), Split(*rows()[:2], *rows()[:2]), 0)


def test_a_missing_package_is_named_with_what_to_install() -> None:
    with pytest.raises(ImportError, match=r"an absentee is not installed.*pip install nothing"):
        Absent().prepare()


def test_rivals_are_chosen_by_name() -> None:
    assert [rival.name for rival in contest.chosen(["ridge", "ours", "ridge"], 3)] == ["ridge", "ours"]
    assert "scnn_relu" not in [rival.name for rival in contest.chosen(None, 3)]
    with pytest.raises(ValueError, match="no rival 'rigde' here; choose from ours"):
        contest.chosen(["rigde"], 3)


# Tuning and measuring


def test_the_settings_of_least_cross_validated_error_are_chosen() -> None:
    X, y = np.zeros((40, 1)), np.full((40, 1), 6.0)
    best, record = tune(Constant(), X, y)
    assert best == Constant(value=5.0)
    assert [tried["error"] for tried in record["tried"]] == [36.0, None, 1.0, 16.0]
    assert tune(Ridge(), X, y) == (Ridge(), {})


def test_outputs_count_in_units_of_their_deviation_when_settings_are_compared() -> None:
    y = np.column_stack([np.tile([9.9, 10.1], 20), np.tile([-300.0, 300.0], 20)])
    best, _ = tune(Constant(), np.zeros((40, 1)), y)
    assert best == Constant(value=10.0)


def test_a_measured_run_scores_both_parts() -> None:
    X, y = rows()
    run = measure(Constant(value=100.0), Split(X[:40], y[:40], X[40:], y[40:]), 3)
    assert run.train_mse == pytest.approx(np.mean((y[:40] - 100) ** 2))
    assert run.test_mse == pytest.approx(np.mean((y[40:] - 100) ** 2))
    assert (run.method, run.split, run.n_train, run.n_features) == ("constant", 3, 40, 2)
    assert run.extra["n_bytes"] == 8
    assert run.extra["us_per_row"] > 0
    assert 0 <= run.extra["processor_seconds"] < 60


def test_a_rival_that_fails_is_a_result_too() -> None:
    X, y = rows()
    run = measure(Failing(), Split(X, y, X, y), 0)
    assert math.isnan(run.test_mse)
    assert run.extra["failed"] == "ZeroDivisionError: one over nothing"


def test_a_contest_goes_split_by_split_and_tunes_once() -> None:
    X, y = rows()
    told: list[str] = []
    runs = list(hold([Constant(), Ridge()], X, y[:, 0] - 95.0, 2, 7, told.append))
    assert [(run.method, run.split) for run in runs] == [("constant", 0), ("ridge", 0), ("constant", 1), ("ridge", 1)]
    assert [text for text in told if "tuning" in text] == ["a constant, tuning"]
    assert runs[0].settings == runs[2].settings == {"n_neurons": 64, "value": 10.0}
    assert runs[0].test_mse != runs[2].test_mse
    again = list(hold([Ridge()], X, y[:, 0] - 95.0, 2, 7))
    assert [run.test_mse for run in again] == [runs[1].test_mse, runs[3].test_mse]
    assert next(hold([Ridge()], X, y - 95.0, 1, 8)).test_mse == runs[3].test_mse


# What the tables say


def test_standings_are_means_over_splits_in_the_order_of_test_errors() -> None:
    runs = [a_run("ours", 0, 4.0, seconds=9.0), a_run("ours", 1, 16.0, seconds=1.0), a_run("ours", 2, 9.0, seconds=2.0)]
    runs += [a_run("ridge", split, 1.0) for split in range(3)]
    runs += [a_run("mlp_adam", 0, 0.1), a_run("mlp_adam", 1, math.nan, failed="why")]
    found = standings(runs, "RMSE")
    assert [one.name for one in found] == ["ridge", "ours", "mlp_adam"]
    assert (found[1].test, found[1].deviation, found[1].seconds) == (3.0, 1.0, 2.0)
    assert standings(runs, "RMSE", processor_time=True)[1].seconds == 1.0
    assert standings(runs, "MSE")[1].test == pytest.approx(29 / 3)
    assert found[2].failure == "why"
    table = "\n".join(markdown(found, "RMSE"))
    assert "| ridge regression | 3 | **1.000 ± 0** | **0.7071** |" in table
    assert "| MLPRegressor, adam | 2 | – | – |" in table
    assert len({len(row) for row in cells(found)}) == 1


def test_the_sentence_says_where_ours_loses() -> None:
    ours = [a_run("ours", split, 4.0 + split, seconds=2.0, n_bytes=50) for split in range(5)]
    assert where_ours_loses(ours, "MSE") == "No rival here has a lower test error than ReLURegressor."
    assert where_ours_loses([a_run("ridge", 0, 1.0)], "MSE") == "ReLURegressor has not been run here yet."
    ridge = [a_run("ridge", split, 3.0 + split, seconds=0.1, n_bytes=24) for split in range(5)]
    # Better on its only split than ours on the mean of all, but not than ours on that split.
    adam = [a_run("mlp_adam", 0, 4.5, seconds=9.0)]
    sentence = where_ours_loses([*ours, *ridge, *adam], "MSE")
    assert sentence == (
        "ReLURegressor loses on test error to ridge regression (5.000 against 6.000, p < 0.01); it takes longer to fit "
        "than ridge regression; its model is larger than that of ridge regression."
    )
    slow = [replace(run, extra={**run.extra, "tuning_seconds": 60.0}) for run in ridge]
    assert "takes longer" not in where_ours_loses([*ours, *slow], "MSE")
    lucky = [a_run("ridge", split, 4.0 + split + (-1) ** split * 2 - 0.5) for split in range(5)]
    assert ", p = 0." in where_ours_loses([*ours, *lucky], "MSE")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.012345, "0.01235"), (3.14159, "3.142"), (123456.7, "123,457"), (0.0, "0"), (math.nan, "–"), (math.inf, "–")],
)
def test_numbers_are_plain(value: float, text: str) -> None:
    assert number(value) == text


def test_names_are_listed_as_in_a_sentence() -> None:
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


# The runs on public data


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set of the comparison with three splits of 60 rows, and a rival with four settings."""
    X, y = rows()

    def load(name: str, split: int) -> Split:
        order = np.random.default_rng(split).permutation(60)
        return Split(X[order[:50]], y[order[:50]] - 95, X[order[50:]], y[order[50:]] - 95)

    monkeypatch.setitem(FIELDS, "tiny", Field("tiny", "Tiny", 4, 5, "RMSE"))
    monkeypatch.setitem(RIVALS, "constant", Constant)
    monkeypatch.setitem(RIVALS, "absent", Absent)
    monkeypatch.setattr(accuracy, "load_split", load)
    return "tiny"


def silent(text: str) -> None:
    """Say nothing."""


def test_runs_are_resumed_and_tuning_is_kept(tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    accuracy.run(tmp_path, tiny, ["constant", "ridge", "absent"], 1, report=told.append)
    assert any("an absentee is not installed" in text for text in told)
    assert json.loads((tmp_path / "tuning-tiny.json").read_text())["constant"]["chosen"]["value"] == 10.0
    told.clear()
    runs = accuracy.run(tmp_path, tiny, ["constant", "ridge"], 2, report=told.append)
    assert [(run.method, run.split) for run in runs] == [("constant", 0), ("constant", 1), ("ridge", 0), ("ridge", 1)]
    assert len(told) == 2
    assert all("tuned" not in text for text in told)
    # With other settings to choose from, the old choice means nothing.
    monkeypatch.setattr(Constant, "candidates", lambda self: [replace(self, value=value) for value in (1.0, 11.0)])
    told.clear()
    accuracy.run(tmp_path, tiny, ["constant"], 1, report=told.append)
    assert "tuned" in told[0]
    assert [run.settings["value"] for run in accuracy.stored(tmp_path, tiny) if run.method == "constant"] == [11.0]
    # So it does where it was made on other rows.
    monkeypatch.setattr(Constant, "tuning_rows", 30)
    told.clear()
    accuracy.run(tmp_path, tiny, ["constant"], 1, report=told.append)
    assert "tuned" in told[0]
    told.clear()
    accuracy.run(tmp_path, tiny, ["ridge"], 2, again=True, report=told.append)
    assert len(told) == 2


def test_slow_rivals_get_fewer_splits_unless_more_are_asked_for(
    tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(accuracy.run(tmp_path / "quick", tiny, ["ridge"], report=silent)) == 5
    monkeypatch.setattr(accuracy, "SLOW", 0.0)
    assert len(accuracy.run(tmp_path / "slow", tiny, ["ridge"], report=silent)) == accuracy.SLOW_SPLITS
    assert len(accuracy.run(tmp_path / "slow", tiny, ["ridge"], 5, report=silent)) == 5


def test_our_fits_in_all_sizes_are_limited_in_time_and_others_are_not_renamed() -> None:
    assert all(rival.settings()["max_time"] == sizes.MOST_SECONDS for rival in sizes.sized("ours").values())
    assert "max_time" not in contest.RIVALS["ours"](64).settings()


def test_the_table_of_accuracy_shows_what_is_stored(tmp_path: Path, tiny: str) -> None:
    accuracy.run(tmp_path, tiny, ["constant", "ridge"], 2, report=silent)
    text = accuracy_tables(tmp_path)
    assert "## Tiny, 4 neurons, 50 training rows, 2 inputs" in text
    assert "| a constant | 2 |" in text
    assert "ReLURegressor has not been run here yet." in text
    assert "Tuned: a constant to value 10." in text


def test_unknown_names_are_refused_before_any_work(tmp_path: Path) -> None:
    for name, rival in (("nowhere", "ours"), ("concrete", "nobody")):
        with pytest.raises(ValueError, match="There is no"):
            accuracy.run(tmp_path, name, [rival])
    with pytest.raises(ValueError, match="no rival in this study 'ridge'"):
        sizes.run(tmp_path, "concrete", ["ridge"])
    assert list(tmp_path.iterdir()) == []


def test_uci_splits_are_the_usual_ones(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANMIN_DATA", str(shared_data))
    split, data = accuracy.load_split("yacht", 3), datasets.load("yacht")
    test = datasets.uci_splits("yacht")[3]
    np.testing.assert_array_equal(split.X_test, data.X[test])
    np.testing.assert_array_equal(split.y_test[:, 0], data.y[test])
    assert len(split.X_train) + len(test) == len(data.X)
    assert len(np.unique(np.vstack([split.X_train, split.X_test]), axis=0)) == len(np.unique(data.X, axis=0))


# Error against size


def test_trees_keep_only_what_is_better_than_all_smaller_ones() -> None:
    trees = [a_run(f"lightgbm {k}", 0, test, n_bytes=n) for k, (n, test) in enumerate([(30, 9), (10, 16), (20, 25)])]
    assert sizes.curve(trees, root=True) == [(10.0, 4.0, 0), (30.0, 3.0, 0)]
    ours = [replace(a_run(f"ours {n}", 0, 4.0 + n, n_bytes=n), settings={"n_neurons": n}) for n in (8, 4)]
    assert sizes.curve(ours, root=False) == [(4.0, 8.0, 4), (8.0, 12.0, 8)]


def test_sizes_are_run_and_drawn(tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    installed(Ours())
    monkeypatch.setattr(MLPLbfgs, "candidates", lambda self: [replace(self, penalty=0.5), self])
    runs = sizes.run(tmp_path, tiny, ["ours", "mlp_lbfgs"], (1, 3), report=silent)
    assert [run.method for run in runs] == ["ours 1", "ours 3", "mlp_lbfgs 1", "mlp_lbfgs 3"]
    assert [run.settings["n_neurons"] for run in runs] == [1, 3, 1, 3]
    sizes.draw(tmp_path / "new" / "bytes.png", {tiny: runs, "nothing": []})
    assert (tmp_path / "new" / "bytes.png").read_bytes().startswith(b"\x89PNG")


def test_forests_of_all_sizes_are_rivals() -> None:
    forests = sizes.sized("lightgbm")
    assert len({json.dumps(rival.settings()) for rival in forests.values()}) == len(forests)


def test_the_benchmark_writes_its_table(tmp_path: Path, tiny: str) -> None:
    benchmark = load_benchmark("accuracy")
    ridge = ["--results", str(tmp_path), "--datasets", tiny, "--rivals", "ridge", "--splits", "1"]
    assert benchmark.main(ridge) == 0
    assert "ridge regression" in (tmp_path / "accuracy.md").read_text(encoding="utf-8")


def test_the_benchmark_refuses_unknown_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_benchmark("accuracy").main(["--results", str(tmp_path), "--datasets", "nowhere"]) == 2
    assert "There is no data set 'nowhere' here" in capsys.readouterr().err
