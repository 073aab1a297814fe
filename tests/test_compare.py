"""The command that compares a network with other methods on a table."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from anmin import datasets
from anmin.cli import app
from anmin.lab import contest
from anmin.lab.results import Run
from anmin.lab.rivals import LightGBM

QUICK = ("--neurons", "3", "--rivals", "ours,ridge")


@pytest.fixture(autouse=True)
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with 60 rows: y = 3·|a| + b, and z = b."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANMIN_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    a, b = np.random.default_rng(0).standard_normal((2, 60))
    datasets.write_csv("t.csv", ("a", "b", "y", "z"), np.column_stack([a, b, 3 * np.abs(a) + b, b]))
    return tmp_path / "t.csv"


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["compare", *arguments], env={"COLUMNS": "120"})
    assert result.exit_code == code, result.output
    return result


def refused(*arguments: str) -> str:
    """Run a command that must fail with one sentence on standard error, and write nothing."""
    before = sorted(Path().iterdir())
    result = run(*arguments, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert sorted(Path().iterdir()) == before
    return result.stderr


def test_all_rivals_stand_in_one_table_and_a_sentence_says_where_ours_loses() -> None:
    result = run("t.csv", "-y", "y", "--ignore", "z", *QUICK)
    assert "y from t: 60 rows, 2 inputs, 3 neurons, a fifth of the rows held out in 3 splits" in result.stdout
    lines = result.stdout.splitlines()
    for heading in ("test RMSE", "train RMSE", "fit s", "bytes", "µs/row"):
        assert heading in lines[1]
    # The lower test error comes first.
    assert [line.split("  ")[0] for line in lines[2:4]] == ["ReLURegressor", "ridge regression"]
    assert "No rival here has a lower test error than ReLURegressor; it takes longer to fit" in result.stdout


def test_the_same_seed_gives_the_same_errors(tmp_path: Path) -> None:
    for name, seed in (("a", "4"), ("b", "4"), ("c", "5")):
        run("t.csv", "-y", "y", *QUICK, "--splits", "1", "--seed", seed, "--out", f"{name}.json")
    errors = [[made["test_mse"] for made in json.loads(Path(f"{name}.json").read_text())["runs"]] for name in "abc"]
    assert errors[0] == errors[1] != errors[2]


def test_several_targets_and_named_data_sets() -> None:
    run("t.csv", "-y", "y,z", *QUICK, "--splits", "1")
    assert "weight, waist, pulse from linnerud: 20 rows" in run("linnerud", *QUICK, "--splits", "1").stdout


def test_markdown_and_json_are_written() -> None:
    assert "Wrote t.md." in run("t.csv", "-y", "y", *QUICK, "--splits", "2", "--out", "t.md").stdout
    text = Path("t.md").read_text(encoding="utf-8")
    assert text.startswith("# y from t")
    assert "| ridge regression | 2 |" in text
    run("t.csv", "-y", "y", *QUICK, "--splits", "2", "--out", "t.json")
    document = json.loads(Path("t.json").read_text(encoding="utf-8"))
    assert document["schema"] == "anmin.compare"
    assert [(made["method"], made["split"]) for made in document["runs"]] == [
        ("ours", 0), ("ridge", 0), ("ours", 1), ("ridge", 1),
    ]  # fmt: skip
    assert document["runs"][0]["extra"]["n_bytes"] == 8 * (4 * 3 + 3 + 1)
    assert document["environment"]["versions"]["anmin"]


def test_without_ours_there_is_no_sentence_on_it() -> None:
    assert "ReLURegressor" not in run("t.csv", "-y", "y", "--rivals", "ridge").stdout


def test_what_is_not_installed_is_listed_and_the_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LightGBM, "modules", ("no_package_has_this_name",))
    result = run("t.csv", "-y", "y", "--rivals", "ridge,lightgbm")
    assert "ridge regression" in result.stdout
    assert "LightGBM is not installed" in result.stdout
    assert "pip install 'anmin[compare]'" in result.stdout
    assert "None of the methods can take part" in refused("t.csv", "-y", "y", "--rivals", "lightgbm")


def test_the_help_names_every_rival() -> None:
    text = " ".join(run("--help").stdout.replace("│", " ").split())
    for name in contest.RIVALS:
        assert name in text.replace("- ", "-")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("missing.csv", "-y", "y"), "There is no file missing.csv"),
        (("t.csv",), "Name the column to predict with --target"),
        (("t.csv", "-y", "nothing"), "nothing"),
        (("t.csv", "-y", "y", "--rivals", "ours,rigde"), "There is no rival 'rigde' here; choose from ours"),
        (("t.csv", "-y", "y", "--rivals", ","), "--rivals must name at least one method"),
        (("t.csv", "-y", "y", "--out", "result.txt"), "must name a file that ends in .md or .json"),
        (("t.csv", "-y", "y", "--out", "no/result.md"), "there is no folder no"),
        (("t.csv", "-y", "y", "--splits", "0"), "--splits"),
        (("few.csv", "-y", "y"), "A comparison needs at least 10 rows; few.csv has 9."),
    ],
)
def test_bad_input_is_refused_in_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    datasets.write_csv("few.csv", ("a", "y"), np.arange(18.0).reshape(9, 2))
    assert sentence in refused(*arguments)


def test_an_interrupt_shows_what_is_done_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = contest.hold

    def interrupted(*arguments: object) -> Iterator[Run]:
        runs = hold(*arguments)
        for _ in range(3):
            yield next(runs)
        raise KeyboardInterrupt

    monkeypatch.setattr(contest, "hold", interrupted)
    result = run("t.csv", "-y", "y", *QUICK, "--out", "t.md", code=130)
    assert "splits" in result.stdout.splitlines()[1]
    assert "Wrote t.md." in result.stdout
    assert "Interrupted; this is what was done so far." in result.stderr


def test_an_interrupt_before_the_first_result_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> Iterator[Run]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(contest, "hold", interrupted)
    result = run("t.csv", "-y", "y", *QUICK, "--out", "t.md", code=130)
    assert "Interrupted before there was a result" in result.stderr
    assert not Path("t.md").exists()


def test_other_commands_do_not_load_the_rivals() -> None:
    code = "import sys; from anmin.cli import app; print([m for m in ('anmin.lab', 'lightgbm') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
