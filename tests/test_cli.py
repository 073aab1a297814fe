"""The anmin command, as a user types it."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import anmin
from anmin import ReLUNetwork, ReLURegressor, datasets
from anmin.cli import app
from anmin.history import Record
from anmin.inspection import Scores
from anmin.progress import ProgressBar
from anmin.search import Recombining

PROGRAM = (sys.executable, "-c", "from anmin.cli import app; app()")
SMALL = ("--neurons", "3", "--max-iter", "3")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, without data files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANMIN_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.fixture
def table(folder: Path) -> Path:
    """Write 40 rows: y = |a| + b, and z = b."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 40))
    datasets.write_csv("t.csv", ("a", "b", "w", "y", "z"), np.column_stack([a, b, rng.random(40), np.abs(a) + b, b]))
    return folder / "t.csv"


def run(*arguments: str, code: int = 0):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result


def refused(*arguments: str) -> str:
    """Run a command that must fail with one sentence on standard error, and leave the files as they were."""
    before = contents()
    result = run(*arguments, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert contents() == before
    return result.stderr


def contents() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def test_fit_without_data_fits_the_default_and_saves_a_model() -> None:
    result = run("fit", *SMALL)
    assert "sdf-cat" in result.stdout
    assert "Next" in result.stdout
    network = ReLUNetwork.load("model.json")
    assert (network.feature_names, network.output_names) == (("x", "y"), ("distance",))
    assert network.n_neurons == 3


def test_fit_equals_the_estimator_and_reports_its_errors(table: Path) -> None:
    result = run("fit", "t.csv", "--target", "y", "--weights", "w", "--ignore", "z", "--seed", "5", *SMALL)
    data, w = datasets.read_dataset(table, "y", weights="w", ignored=["z"])
    with pytest.warns(match="max_iter"):
        model = ReLURegressor(3, max_iter=3, random_state=5).fit(data.X, data.y, w)
    network = ReLUNetwork.load("model.json")
    np.testing.assert_array_equal(network.A, model.network_.A)
    np.testing.assert_array_equal(network.B, model.network_.B)
    assert network.feature_names == ("a", "b")
    assert f"MSE {Scores.of(data.y, model.predict(data.X), w).mse:.5g}" in result.stdout


def test_a_large_table_is_fitted_and_predicted_part_by_part(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("fit", "t.csv", "--target", "y", "--weights", "w", "--ignore", "z", "--seed", "5", *SMALL)
    held = run(*options)
    whole = ReLUNetwork.load("model.json")
    predictions = run("predict", "model.json", "t.csv").stdout
    monkeypatch.setattr("anmin.cli.data._HELD_BYTES", 0)
    monkeypatch.setattr("anmin.datasets.tables._BATCH_ROWS", 7)
    parts = run(*options, "--report", "report.html")
    network = ReLUNetwork.load("model.json")
    np.testing.assert_array_equal(network.A, whole.A)
    assert (network.feature_names, network.output_names) == (("a", "b"), ("y",))
    assert "t: 40 rows, 2 inputs" in parts.stdout
    assert "all rows" in parts.stdout
    mse = held.stdout.split("MSE ")[1].split()[0]
    assert f"MSE {mse}" in parts.stdout
    assert Path("report.html").stat().st_size > 1000
    assert run("predict", "model.json", "t.csv").stdout == predictions
    message = refused("fit", "t.csv", "--target", "y", "--test-fraction", "0.2")
    assert "--test-fraction is for tables that fit in memory" in message
    assert "Name the column to predict with --target" in refused("fit", "t.csv")


def test_options_reach_the_fit(table: Path) -> None:
    run("fit", "t.csv", "-y", "y", "--ignore", "w,z", "-n", "2", "--slope", "0.1", "--alpha", "0.5", "--out", "m.json")
    data, _ = datasets.read_dataset(table, "y", ignored=["w", "z"])
    expected = ReLURegressor(2, negative_slope=0.1, alpha=0.5, random_state=0).fit(data.X, data.y).network_
    np.testing.assert_array_equal(ReLUNetwork.load("m.json").A, expected.A)
    assert ReLUNetwork.load("m.json").negative_slope == 0.1


@pytest.mark.parametrize("options", [("--target", "y,z"), ("--target", "y", "--target", "z")])
def test_several_targets(table: Path, options: tuple[str, ...]) -> None:
    run("fit", "t.csv", *options, "--ignore", "w", *SMALL)
    assert ReLUNetwork.load("model.json").output_names == ("y", "z")


def test_held_out_rows_are_not_fitted(table: Path) -> None:
    result = run("fit", "t.csv", "-y", "y", "--ignore", "w,z", "--test-fraction", "0.25", *SMALL)
    assert "10 held out" in result.stdout
    assert "30 rows" in result.stdout
    values = np.loadtxt(table, delimiter=",", skiprows=1)
    from sklearn.model_selection import train_test_split

    held_out = train_test_split(np.arange(40), test_size=0.25, random_state=0)[1]
    values[held_out, 3] = 1e6
    names = ("a", "b", "w", "y", "z")
    before = ReLUNetwork.load("model.json")
    datasets.write_csv("t.csv", names, values)
    run("fit", "t.csv", "-y", "y", "--ignore", "w,z", "--test-fraction", "0.25", *SMALL)
    np.testing.assert_array_equal(ReLUNetwork.load("model.json").A, before.A)


@pytest.mark.usefixtures("table")
def test_report_is_written(folder: Path) -> None:
    result = run("fit", "t.csv", "-y", "y", "--ignore", "w,z", "--report", "r.html", *SMALL)
    page = (folder / "r.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "y from t" in page
    assert "r.html" in result.stdout


@pytest.mark.usefixtures("table")
def test_a_model_is_reported_with_and_without_rows_and_targets(folder: Path) -> None:
    run("fit", "t.csv", "-y", "y", "--ignore", "w,z", *SMALL)

    def page(*arguments: str) -> str:
        assert run("report", "model.json", *arguments, "--out", "r.html").stdout.startswith("Wrote r.html.\nNext:")
        return (folder / "r.html").read_text(encoding="utf-8")

    alone, weighted = page(), page("t.csv", "--weights", "w")
    table = datasets.open_table("t.csv")
    a, b, w, y = table.numbers(("a", "b", "w", "y")).T
    datasets.write_csv("ab.csv", ("b", "a"), np.column_stack([b, a]))
    rows = page("ab.csv")
    assert "The field, live" in alone
    assert "these rows" not in alone + rows
    assert "What y depends on" in rows
    assert "What y depends on" not in alone
    scores = Scores.of(y, ReLUNetwork.load("model.json").predict(np.column_stack([a, b])), w)
    assert f"{scores.mse:.5g}" in weighted
    assert "On t.csv. 40 rows" in weighted


@pytest.mark.usefixtures("table")
def test_quiet_says_nothing() -> None:
    result = run("fit", "t.csv", "-y", "y", "--ignore", "w,z", "--quiet", *SMALL)
    assert result.output == ""


def test_predict_finds_inputs_by_name(table: Path) -> None:
    run("fit", "t.csv", "-y", "y", "--ignore", "w,z", "-q", *SMALL)
    values = np.loadtxt(table, delimiter=",", skiprows=1)
    datasets.write_csv("other.csv", ("b", "more", "a"), values[:, [1, 2, 0]])
    first = run("predict", "model.json", "t.csv").stdout
    second = run("predict", "model.json", "other.csv").stdout
    assert first == second
    predictions = np.loadtxt(io.StringIO(first), skiprows=1)
    np.testing.assert_array_equal(predictions, ReLUNetwork.load("model.json").predict(values[:, :2])[:, 0])
    assert first.splitlines()[0] == "y"
    told = run("predict", "model.json", "other.csv", "--out", "p.csv")
    assert told.stdout.startswith("Wrote p.csv: y of 40 rows.\nNext:\n  anmin evaluate model.json DATA")
    assert told.stderr == ""
    assert run("predict", "model.json", "other.csv", "--out", "p.csv", "--quiet").output == ""
    assert Path("p.csv").read_text() == first


def test_model_without_names_takes_columns_by_position(table: Path) -> None:
    ReLUNetwork(np.ones((3, 1)), np.ones((1, 1)), np.zeros(1)).save("m.json")
    datasets.write_csv("two.csv", ("u", "v"), [[1.0, 2.0]])
    assert run("predict", "m.json", "two.csv").stdout == "prediction_0\n4\n"
    assert "takes 2 inputs by position; t.csv has 5 columns" in refused("predict", "m.json", "t.csv")
    assert "name the column of actual values with --target" in refused("evaluate", "m.json", "t.csv")
    datasets.write_csv("three.csv", ("u", "t", "v"), [[1.0, 7.0, 2.0]])
    assert "9" in run("evaluate", "m.json", "three.csv", "--target", "t").stdout  # (4 − 7)²


def test_evaluate_gives_the_errors(table: Path) -> None:
    run("fit", "t.csv", "-y", "y,z", "--ignore", "w", "-q", *SMALL)
    values = np.loadtxt(table, delimiter=",", skiprows=1)
    predictions = ReLUNetwork.load("model.json").predict(values[:, :2])
    text = run("evaluate", "model.json", "t.csv").stdout
    for k, column in enumerate((3, 4)):
        assert f"{Scores.of(values[:, column], predictions[:, k]).mse:.5g}" in text
    weighted = run("evaluate", "model.json", "t.csv", "--weights", "w").stdout
    assert f"{Scores.of(values[:, 3:], predictions, values[:, 2]).mse:.5g}" in weighted


def test_named_data_sets_may_stand_for_files() -> None:
    run("fit", "linnerud", "--target", "waist", "-q", *SMALL)
    assert ReLUNetwork.load("model.json").output_names == ("waist",)
    assert run("predict", "model.json", "linnerud").stdout.count("\n") == 21
    assert "waist" in run("evaluate", "model.json", "linnerud").stdout


def test_file_comes_before_the_data_set_of_its_name(table: Path) -> None:
    table.rename("diabetes")
    assert "must be a CSV file" in refused("fit", "diabetes", "-y", "y")


def test_parquet_is_read(table: Path) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.csv.read_csv(table), "t.parquet")
    run("fit", "t.parquet", "-y", "y", "--ignore", "w,z", "-q", "--out", "p.json", *SMALL)
    run("fit", "t.csv", "-y", "y", "--ignore", "w,z", "-q", "--out", "c.json", *SMALL)
    assert Path("p.json").read_bytes() == Path("c.json").read_bytes()


def test_datasets_are_listed() -> None:
    text = run("datasets").stdout
    for name in datasets.names():
        assert name in text
    assert "ANMIN_DATA" in text


def test_version_and_help() -> None:
    assert run("--version").stdout == f"anmin {anmin.__version__}\n"
    assert "fit" in run().stdout


BAD_COMMANDS = {
    "no such file": (("fit", "none.csv", "-y", "y"), "There is no file none.csv, and no data set of that name"),
    "no target named": (("fit", "t.csv"), "Name the column to predict with --target; t.csv has a, b, w, y, z"),
    "no such target": (("fit", "t.csv", "-y", "q"), "t.csv has no column 'q'; the file has the columns 'a', 'b'"),
    "target of a data set": (("fit", "linnerud", "-y", "q"), "The targets of the data set 'linnerud' are weight"),
    "weights of a data set": (
        ("fit", "diabetes", "--weights", "w"),
        "--weights and --ignore are for columns of a file",
    ),
    "negative weights": (("fit", "t.csv", "-y", "y", "--weights", "a"), "sample_weight must not be negative"),
    "ragged": (("fit", "ragged.csv", "-y", "y"), "Line 3 of ragged.csv has 1 field where"),
    "text": (("fit", "text.csv", "-y", "y"), "Column 'a' of text.csv must hold numbers; line 2 has 'one'"),
    "gaps": (("fit", "gaps.csv", "-y", "y"), "Column 'a' of gaps.csv has 1 missing value"),
    "empty": (("fit", "empty.csv", "-y", "y"), "empty.csv is empty"),
    "header only": (("fit", "header.csv", "-y", "y"), "has column names but no rows"),
    "one row": (("fit", "one.csv", "-y", "y"), "minimum of 2"),
    "one column": (("fit", "column.csv", "-y", "y"), "at least one input is needed"),
    "encoding unknown": (("fit", "t.csv", "-y", "y", "--encoding", "klingon"), "got 'klingon'"),
    "encoding wrong": (("fit", "latin.csv", "-y", "y"), "latin.csv is not utf-8 text"),
    "folder without tables": (("fit", ".", "-y", "y"), "The folder . must hold Parquet files"),
    "no neurons": (("fit", "--neurons", "0"), "--neurons"),
    "too many neurons": (("fit", "--neurons", "1000000"), "needs about"),
    "solver": (("fit", "--solver", "magic"), "got 'magic'"),
    "alpha": (("fit", "--alpha", "much"), "--alpha must be a number of at least 0, or auto; got 'much'"),
    "negative alpha": (("fit", "--alpha", "-1"), "'alpha'"),
    "slope": (("fit", "--slope", "2"), "negative_slope must be a number in [0, 1); got 2.0"),
    "tolerance": (("fit", "--tol", "-1"), "'tol'"),
    "time": (("fit", "--max-time", "0"), "'max_time'"),
    "iterations": (("fit", "--max-iter", "0"), "--max-iter"),
    "fraction": (("fit", "--test-fraction", "1.5"), "--test-fraction must be a number between 0 and 1; got 1.5"),
    "option": (("fit", "--neuron-count", "3"), "No such option"),
    "command": (("fti",), "No such command 'fti'"),
    "no model": (("predict", "none.json", "t.csv"), "There is no file none.json"),
    "no data to predict": (("predict", "model.json", "none.csv"), "There is no file none.csv"),
    "too few arguments": (("predict", "model.json"), "Missing argument 'DATA'"),
    "inputs missing": (("predict", "model.json", "gaps.csv"), "gaps.csv has no columns 'p', 'q'; the file has"),
    "one input missing": (("predict", "model.json", "pq.csv"), "pq.csv has no column 'q'"),
    "model truncated": (("predict", "truncated.json", "t.csv"), "truncated.json is not complete JSON"),
    "model of another schema": (("predict", "schema.json", "t.csv"), "must have the schema"),
    "model with NaN": (("predict", "nan.json", "t.csv"), "does not hold a network"),
    "model of wrong shapes": (("predict", "shapes.json", "t.csv"), "does not hold a network"),
    "table for a model": (("evaluate", "t.csv", "t.csv"), "is not complete JSON"),
    "actual values missing": (("evaluate", "model.json", "gaps.csv"), "no column 'r'"),
    "too many targets": (
        ("evaluate", "model.json", "t.csv", "-y", "a,b"),
        "must name 1 column(s), one for each output",
    ),
    "no folder for the model": (("fit", "--out", "none/m.json"), "Cannot write none/m.json: there is no folder none"),
    "no folder for the report": (("fit", "--report", "none/r.html"), "there is no folder none"),
    "no folder for predictions": (("predict", "model.json", "t.csv", "--out", "none/p.csv"), "there is no folder none"),
    "model is a folder": (("fit", "--out", "."), "--out must name a file; . is a folder"),
    "model replaces data": (("fit", "t.csv", "-y", "y", "--out", "t.csv"), "--out t.csv would replace t.csv"),
    "report replaces model": (("fit", "--out", "x", "--report", "x"), "would replace x, which --out names too"),
    "report of no model": (("report", "none.json"), "There is no file none.json"),
    "report of no data": (("report", "model.json", "none.csv"), "There is no file none.csv"),
    "report of other inputs": (("report", "model.json", "gaps.csv"), "gaps.csv has no columns 'p', 'q'"),
    "report without the target": (("report", "model.json", "pq.csv", "-y", "q"), "pq.csv has no column 'q'"),
    "report of too many targets": (("report", "model.json", "t.csv", "-y", "a,b"), "must name 1 column(s)"),
    "report with a target alone": (("report", "model.json", "-y", "a"), "are columns of DATA"),
    "report in no folder": (("report", "model.json", "-o", "none/r.html"), "there is no folder none"),
    "report replaces its model": (("report", "model.json", "-o", "model.json"), "would replace model.json"),
    "predictions replace model": (("predict", "model.json", "t.csv", "-o", "model.json"), "would replace model.json"),
}


@pytest.mark.parametrize("case", BAD_COMMANDS)
@pytest.mark.usefixtures("table")
def test_bad_input_is_one_sentence_and_changes_nothing(case: str) -> None:
    model = ReLUNetwork(np.ones((3, 1)), np.ones((1, 1)), np.zeros(1), feature_names=("p", "q"), output_names=("r",))
    model.save("model.json")
    document = json.loads(Path("model.json").read_text())
    Path("truncated.json").write_text(Path("model.json").read_text()[:40])
    Path("schema.json").write_text(json.dumps(document | {"schema": "something.else"}))
    Path("nan.json").write_text(json.dumps(document | {"b0": [float("nan")]}))
    Path("shapes.json").write_text(json.dumps(document | {"B": [[1.0], [2.0]]}))
    Path("ragged.csv").write_text("a,y\n1,2\n3\n")
    Path("text.csv").write_text("a,y\none,2\n")
    Path("gaps.csv").write_text("a,y\n1,2\n,3\n")
    Path("empty.csv").write_text("")
    Path("header.csv").write_text("a,y\n")
    Path("one.csv").write_text("a,y\n1,2\n")
    Path("column.csv").write_text("y\n1\n2\n")
    Path("pq.csv").write_text("p,r\n1,2\n")
    Path("latin.csv").write_bytes("höhe,y\n1,2\n".encode("latin-1"))
    arguments, expected = BAD_COMMANDS[case]
    assert expected in refused(*arguments)


@pytest.mark.usefixtures("table")
def test_report_without_matplotlib_is_refused_before_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(ReLURegressor, "fit", lambda *arguments: pytest.fail("the fit began"))
    assert 'pip install "anmin[plots]"' in refused("fit", "--report", "r.html")
    ReLUNetwork(np.ones((3, 1)), np.ones((1, 1)), np.zeros(1)).save("model.json")
    assert 'pip install "anmin[plots]"' in refused("report", "model.json")


def test_data_set_that_needs_a_file_is_explained() -> None:
    assert "set the environment variable ANMIN_DATA" in refused("fit", "horse_sdf")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="an administrator may write everywhere")
def test_unwritable_folder_is_refused_before_the_fit(folder: Path) -> None:
    locked = folder / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    assert "may not write there" in refused("fit", "--out", "locked/m.json")


def test_failed_save_keeps_the_old_model(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("model.json").write_text("old")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "model.json")

    monkeypatch.setattr(os, "replace", full)
    assert "There is no space left to write model.json" in refused("fit", *SMALL)


def test_interrupt_before_the_first_network_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ReLURegressor, "fit", interrupted)
    result = run("fit", code=130)
    assert result.stderr == "Error: Interrupted before there was a result; no file was written.\n"
    assert contents() == {}


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal to send")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupt_saves_the_best_network_and_says_so(sent: signal.Signals) -> None:
    # A fit that would run for hours. The progress bar is drawn once it is under way; forced to be drawn, because
    # standard error is no terminal here.
    command = [*PROGRAM, "fit", "sine_norm", "--neurons", "8", "--max-iter", "100000000"]
    process = subprocess.Popen(
        [*command, "--tol", "0", "--out", "best.json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"FORCE_COLOR": "1", "COLUMNS": "100"},
    )
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        assert process.stderr is not None
        seen = b""
        while b"MSE" not in seen and (part := process.stderr.read1(4096)):
            seen += part
        process.send_signal(sent)
        out, err = process.communicate()
    finally:
        watchdog.cancel()
        process.kill()
    assert process.returncode == 130, (seen + err).decode()
    assert "the best network so far was saved to best.json" in err.decode()
    assert b"Traceback" not in seen + err
    assert b"best.json" in out
    assert ReLUNetwork.load("best.json").n_neurons == 8


def test_resume_goes_on_from_the_checkpoint_and_removes_it_at_the_end(table: Path) -> None:
    command = ("fit", str(table), "-y", "y", "--ignore", "w,z", "--neurons", "3", "--alpha", "0.01", "--quiet")
    run(*command, "--out", "whole.json")
    run(*command, "--resume", "--max-iter", "5")
    assert "model.json.checkpoint" in contents()
    there = "There is a checkpoint model.json.checkpoint already; go on from it with --resume, or remove it."
    assert there in refused(*command, "--checkpoint", "model.json.checkpoint")
    assert "with negative_slope=0.0; this one has negative_slope=0.1" in refused(*command, "--resume", "--slope", "0.1")
    run(*command, "--resume")
    assert "model.json.checkpoint" not in contents()
    assert Path("model.json").read_bytes() == Path("whole.json").read_bytes()


def test_a_checkpoint_that_cannot_be_written_is_a_warning(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **arrays: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("anmin.checkpoint.np.savez", full)
    # As they are outside of tests: shown.
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        done = run("fit", str(table), "-y", "y", "--ignore", "w,z", *SMALL, "--checkpoint", "kept")
    assert done.stderr.startswith("Warning: The checkpoint ")
    assert done.stderr.count("\n") == 1
    assert "(No space left on device); the fit goes on" in done.stderr
    assert "model.json" in contents()


def test_a_checkpoint_that_was_named_stays(table: Path) -> None:
    command = ("fit", str(table), "-y", "y", "--ignore", "w,z", "--neurons", "3", "--alpha", "0.01", "--quiet")
    run(*command, "--checkpoint", "kept")
    first = Path("model.json").read_bytes()
    run(*command, "--checkpoint", "kept", "--resume")
    assert Path("model.json").read_bytes() == first
    assert "kept" in contents()
    assert "no folder" in refused(*command, "--checkpoint", "no/such")
    assert "would replace" in refused(*command, "--checkpoint", "model.json")


def test_an_interrupted_fit_with_a_checkpoint_says_how_to_go_on(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Record] = []

    def step(*arguments: object) -> None:
        calls.append(Record())
        if len(calls) == 4:
            raise KeyboardInterrupt
        return taken(*arguments)

    taken = Recombining.step
    monkeypatch.setattr(Recombining, "step", step)
    done = run("fit", str(table), "-y", "y", "--neurons", "3", "--alpha", "0.01", "--resume", code=130)
    assert "was saved to model.json. The same command with --resume goes on." in done.stderr


def test_command_runs_as_a_program_of_its_own(table: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "fit", str(table), "-y", "y", "--ignore", "w,z", *SMALL],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Saved the model to model.json." in done.stdout
    assert "Warning" not in done.stderr
    assert "Error" not in done.stderr


def test_progress_bar_is_drawn_only_after_its_delay() -> None:
    network = ReLUNetwork(np.ones((2, 1)), np.ones((1, 1)), np.zeros(1))

    def drawn(delay: float, total: int = 4) -> str:
        console = Console(file=io.StringIO(), force_terminal=True, width=100)
        with ProgressBar(total=total, description="Fitting", delay=delay, console=console) as bar:
            for restart in range(2):
                for iteration in range(3):
                    bar(Record(iteration=iteration, loss=0.25 + restart, mse=12.5), network)
        return console.file.getvalue()

    assert drawn(1e9) == ""
    text = drawn(0.0)
    assert "Fitting" in text
    assert "4/4" in text  # iterations of both restarts, the starts not counted
    assert "1.25" in text
    assert "12.5" in text
    more = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", drawn(0.0, total=3))
    assert "4/3" not in more
    assert re.search(r"\s4 loss", more)
