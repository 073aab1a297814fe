"""``anmin export``: what it writes it runs, and bad input changes nothing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from anmin import ReLUNetwork, datasets
from anmin.cli import app
from anmin.export.targets import TARGETS
from exports import HOSTILE, needs_gcc, random_network


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder that has a model of two inputs and a table of rows for it."""
    monkeypatch.chdir(tmp_path)
    network, X = random_network(0, 2, 8, 1, 0.1, offset=100.0)
    named = ReLUNetwork(network.A, network.B, network.b0, 0.1, feature_names=("a", "b"), output_names=("y",))
    named.save("model.json")
    datasets.write_csv("rows.csv", ("b", "y", "a"), np.column_stack([X[:, 1], network.predict(X), X[:, 0]]))
    return tmp_path


def run(*arguments: str, code: int = 0):
    result = CliRunner().invoke(app, ["export", *arguments])
    assert result.exit_code == code, result.output
    return result


def difference(text: str) -> float:
    """Return the largest difference that is printed, relative to the largest output."""
    return float(re.search(r"Largest difference to predict .*?, (\S+) of the largest output", text).group(1))


@pytest.mark.parametrize("data", [(), ("--data", "rows.csv")], ids=["random rows", "table"])
@pytest.mark.parametrize("target", TARGETS)
def test_exports_are_written_and_run(target: str, data: tuple[str, ...]) -> None:
    result = run("model.json", "--to", target, "--out", "out file;", *data)
    assert Path("out file;").stat().st_size > 0
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("Wrote 'out file;': ")
    assert lines[2].startswith("Next: ")
    if "was not run" in lines[1]:
        assert "not installed" in lines[1]
    else:
        assert ("1,000 random rows" if not data else "200 rows") in lines[1]
        assert difference(lines[1]) < (1e-5 if "in float," in lines[0] else 1e-12)


@needs_gcc
@pytest.mark.parametrize("bits", ["8", "16", "24"])
def test_fixed_point_takes_its_ranges_from_the_table(bits: str) -> None:
    options = ("--number", "fixed", "--bits", bits, "--data", "rows.csv", "--name", "depth map")
    result = run("model.json", "--to", "c", "--out", "m.h", *options)
    assert difference(result.stdout) < {"8": 0.1, "16": 1e-3, "24": 1e-5}[bits]
    assert "void depth_map(const int32_t x[DEPTH_MAP_INPUTS]" in Path("m.h").read_text()
    assert "x[0]: a" in Path("m.h").read_text()


def test_without_out_the_file_is_named_after_the_model() -> None:
    run("model.json", "--to", "glsl")
    assert "float anmin_field(vec2 p)" in Path("model.glsl").read_text()


def test_a_missing_tool_is_said_and_the_file_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda command: None)
    result = run("model.json", "--to", "c", "--out", "m.h")
    assert "It was not run: GCC is not installed" in result.stdout
    assert Path("m.h").is_file()


def test_hostile_names_do_not_reach_the_terminal(folder: Path) -> None:
    network = ReLUNetwork.load("model.json")
    ReLUNetwork(network.A, network.B, network.b0, 0.1, feature_names=HOSTILE[:2]).save("\x1b[31m;.json")
    result = run("\x1b[31m;.json", "--to", "glsl", "--name", "\x1b[0m`rm`")
    assert "\x1b" not in result.stdout
    assert result.stdout.count("\n") == 3


def test_rounding_of_the_inputs_is_told_apart() -> None:
    network = ReLUNetwork([[-1e9], [1.0]], [[1.0]], [0.0])
    network.save("far.json")
    datasets.write_csv("far.csv", ("x",), 1e9 + np.linspace(0.1, 9.9, 50)[:, None])
    assert "but for rounding the inputs to float32" in run("far.json", "--to", "onnx", "--data", "far.csv").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model.json", "--to", "coreml"), "--to must be one of onnx, torch, c, glsl, javascript, json; got 'coreml'"),
        (("model.json", "--to", "c", "--number", "fixed"), "give a table of them with --data"),
        (("model.json", "--to", "glsl", "--number", "double"), "--number for glsl must be one of float"),
        (("absent.json", "--to", "c"), "There is no file absent.json"),
        (("rows.csv", "--to", "c"), "complete JSON"),
        (("model.json", "--to", "json"), "would replace model.json"),
        (("model.json", "--to", "c", "--out", "no/where.h"), "there is no folder no"),
        (("model.json", "--to", "c", "--data", "rows.csv", "--out", "rows.csv"), "would replace rows.csv"),
        (("model.json", "--to", "c", "--data", "absent.csv"), "There is no file absent.csv"),
        (("model.json", "--to", "c", "--data", "diabetes"), "has no column 'a'"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(arguments: tuple[str, ...], message: str) -> None:
    before = {path: path.read_bytes() for path in Path().iterdir()}
    result = run(*arguments, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_networks_that_a_form_cannot_hold_are_refused() -> None:
    random_network(0, 5, 3, 1, 0.0)[0].save("wide.json")
    assert "fields of 2 or 3 inputs" in run("wide.json", "--to", "glsl", code=2).stderr
    assert not Path("wide.glsl").exists()
