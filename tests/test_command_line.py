"""What all commands have in common: results for machines, standard input, pipes, help, and completion in a shell."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from anmin import ReLUNetwork, datasets
from anmin.cli import app, options
from anmin.cli.standard_input import _first_lines
from anmin.datasets.csv_pieces import read_pieces
from anmin.inspection import Scores

PAGE = (Path(__file__).parents[1] / "docs" / "command-line.md").read_text(encoding="utf-8")
COMMANDS = ("fit", "predict", "evaluate", "export", "report", "compare", "datasets")
PROGRAM = (sys.executable, "-m", "anmin")
SMALL = ("--neurons", "2", "--max-iter", "2", "--alpha", "0.01")
ESCAPE = "\x1b"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with 60 rows of y = |a| + b, and a model of them."""
    monkeypatch.chdir(tmp_path)
    for name in ("ANMIN_DATA", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    a, b = np.random.default_rng(0).standard_normal((2, 60))
    datasets.write_csv("t.csv", ("a", "b", "y"), np.column_stack([a, b, np.abs(a) + b]))
    A, B = [[0, 0, 9], [1, -1, 0], [0, 0, 1]], [[1], [1], [1]]
    ReLUNetwork(A, B, [-9.5], feature_names=("a", "b"), output_names=("y",)).save("model.json")
    return tmp_path


def run(*arguments: str, code: int = 0, given: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(app, arguments, input=given)
    assert result.exit_code == code, result.output
    return result


def strict(text: str) -> dict[str, Any]:
    """Read one JSON object on one line, without NaN and infinities."""
    assert text.count("\n") == 1
    assert text.endswith("\n")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    document = json.loads(text, parse_constant=refuse)
    assert isinstance(document, dict)
    return document


MACHINES = {
    "fit": ("fit", "t.csv", "-y", "y", "--out", "new.json", *SMALL),
    "predict": ("predict", "model.json", "t.csv", "--out", "p.csv"),
    "evaluate": ("evaluate", "model.json", "t.csv"),
    "export": ("export", "model.json", "--to", "json", "--out", "copy.json"),
    "report": ("report", "model.json", "--out", "r.html"),
    "compare": ("compare", "t.csv", "-y", "y", "--rivals", "ridge", "--splits", "1"),
    "datasets": ("datasets",),
    "dataset": ("datasets", "linnerud", "--out", "l.csv"),
}


@pytest.mark.parametrize("kind", MACHINES)
def test_json_is_one_object_with_the_keys_of_the_page(kind: str) -> None:
    result = run(*MACHINES[kind], "--json")
    document = strict(result.stdout)
    assert result.stderr == ""
    assert (document.pop("schema"), document.pop("version")) == (f"anmin.{kind}", 1)
    (row,) = re.findall(rf"^\| `anmin\.{kind}` \| (.*) \|$", PAGE, re.MULTILINE)
    named = re.findall(r"`(\w+)`", row)
    assert set(document) <= set(named)
    for key, value in document.items():
        if isinstance(value, dict) and key in ("errors", "trial"):
            assert set(value) <= set(named)


def test_json_of_a_fit_has_the_numbers_of_the_model() -> None:
    document = strict(run(*MACHINES["fit"], "--test-fraction", "0.25", "--json").stdout)
    network = ReLUNetwork.load("new.json")
    values = np.loadtxt("t.csv", delimiter=",", skiprows=1)
    errors = document["errors"]
    total = sum(errors[part]["n_rows"] * errors[part]["mse"] for part in ("fitted", "held_out"))
    assert total / 60 == pytest.approx(Scores.of(values[:, 2], network.predict(values[:, :2])).mse, rel=1e-12)
    assert (errors["fitted"]["n_rows"], errors["held_out"]["n_rows"], errors["sample"]) == (45, 15, None)
    assert (document["n_neurons"], document["n_bytes"]) == (2, network.n_bytes)
    assert (document["status"], document["alpha"]) == ("max_iter", 0.01)


def test_json_of_a_large_table_tells_all_rows_from_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    held = strict(run(*MACHINES["fit"], "--json").stdout)["errors"]
    monkeypatch.setattr("anmin.cli.data._HELD_BYTES", 0)
    parts = strict(run(*MACHINES["fit"], "--json").stdout)["errors"]
    assert parts["sample"] == pytest.approx(held["fitted"], rel=1e-9)
    assert parts["fitted"]["mse"] == pytest.approx(held["fitted"]["mse"], rel=1e-9)
    assert (parts["fitted"]["mae"], parts["fitted"]["r2"]) == (None, None)


def test_what_is_not_finite_is_null() -> None:
    datasets.write_csv("constant.csv", ("a", "b", "y"), np.column_stack([np.eye(3)[:, :2], np.ones(3)]))
    document = strict(run("evaluate", "model.json", "constant.csv", "--json").stdout)
    assert math.isfinite(document["all"]["mse"])
    assert document["all"]["r2"] is None  # of a target that does not vary


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("evaluate", "model.json", "none.csv"), "There is no file none.csv"),
        (("fit", "t.csv"), "Name the column to predict"),
        (("fit", "--neuron", "3"), "No such option"),
        (("export", "model.json"), "Missing option"),
        (("predict", "model.json", "t.csv"), "--json tells of the file that --out names"),
        (("datasets", "--out", "x.csv"), "--out is for one data set"),
        (("datasets", "diabets", "--out", "x.csv"), "There is no data set 'diabets'"),
        (("datasets", "diabetes", "--out", "x.parquet"), "must name a file that ends in .csv"),
    ],
)
def test_errors_are_objects_on_standard_error(arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments, "--json", code=2)
    assert result.stdout == ""
    document = strict(result.stderr)
    assert set(document) == {"error"}
    assert said in document["error"]
    plain = run(*arguments, code=2).stderr if "predict" not in arguments else ""
    assert plain in ("", f"Error: {document['error']}\n")


def test_an_interrupted_fit_prints_its_result_and_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    from anmin.search import Recombining

    taken, calls = Recombining.step, []

    def step(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return taken(*arguments)

    monkeypatch.setattr(Recombining, "step", step)
    command = ("fit", "t.csv", "-y", "y", "--neurons", "2", "--alpha", "0.01", "--json")
    result = run(*command, code=130)
    assert strict(result.stdout)["status"] == "interrupted"
    assert "the best network so far was saved" in strict(result.stderr)["warning"]


@pytest.mark.parametrize("name", ["a\x1b[31m\n\u202e  b", "[red]:smile:", "x" * 5000])
def test_messages_are_cut_and_plain_for_a_person_and_exact_for_a_machine(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(*arguments: Any) -> Any:
        warnings.warn(f"Beware of {name}.", stacklevel=2)
        raise ValueError(f"There is no {name}.")

    monkeypatch.setattr(ReLUNetwork, "predict", predict)
    command = ("evaluate", "model.json", "t.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        told, machine = (run(*command, *more, code=2).stderr.splitlines() for more in ((), ("--json",)))
    assert [json.loads(line) for line in machine] == [
        {"warning": f"Beware of {name}."},
        {"error": f"There is no {name}."},
    ]
    assert all(line.isprintable() and len(line) < 1100 for line in told)
    expected = ["Warning: Beware of ", "Error: There is no "]
    assert [line.startswith(start) for line, start in zip(told, expected, strict=True)] == [True, True]
    if len(name) < 1000:
        shown = name.replace("\x1b", "\\x1b").replace("\n", " ").replace("\u202e", "\\u202e").replace("  ", " ")
        assert told == [f"{start}{shown}." for start in expected]


@pytest.mark.parametrize("kind", MACHINES)
def test_quiet_leaves_out_the_advice_and_what_is_in_a_file_anyway(kind: str) -> None:
    told, quiet = run(*MACHINES[kind]).stdout, run(*MACHINES[kind], "--quiet").stdout
    assert re.search(r"^Next:", told, re.MULTILINE)
    if kind in ("evaluate", "datasets"):
        assert quiet == told[: told.index("Next:")]
    elif kind == "compare":  # of which the seconds differ
        assert quiet.splitlines()[0] == told.splitlines()[0]
        assert "Next:" not in quiet
    else:
        assert quiet == ""


def test_the_commands_that_are_advised_run() -> None:
    """Every command that another one names is typed as it stands, with the words for the user's files filled in."""
    typed = set()
    datasets.write_csv("NEW.csv", ("a", "b"), [[1.0, 2.0]])
    for arguments in list(MACHINES.values()):
        for line in run(*arguments).stdout.splitlines():
            command = line.strip().removeprefix("Next: ").split("  #")[0]
            if command.startswith("anmin ") and command not in typed and "diabetes" not in command:
                typed.add(command)
                words = shlex.split(command.replace("DATA", "t.csv"))[1:]
                if words[0] != "report":  # which takes long, and is run by other tests
                    run(*words, *(("--max-iter", "2") if words[0] == "fit" else ()))
    assert {command.split()[1] for command in typed} == {"fit", "predict", "evaluate", "export", "report"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "DATA", "-y", "y", "--out", "new.json", *SMALL),
        ("predict", "model.json", "DATA"),
        ("evaluate", "model.json", "DATA"),
        ("report", "model.json", "DATA"),
        ("compare", "DATA", "-y", "y", "--rivals", "ridge", "--splits", "1"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_standard_input_is_a_table_like_a_file(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    text = Path("t.csv").read_text()

    def write(out: Path, network: ReLUNetwork, X: Any, y: Any, **more: Any) -> None:
        # In place of the pictures, which take long.
        out.write_text("")
        print(X.tolist(), y.tolist(), more)

    monkeypatch.setattr("anmin.inspection.write_model_report", write)

    def told(data: str) -> str:
        given = text if data == "-" else None
        out = run(*(data if word == "DATA" else word for word in arguments), given=given).stdout
        out = re.sub(r"in \S+ s", "", out.replace("standard_input", "t"))
        return out.split("Next:")[0] if arguments[0] != "compare" else out.split("  ")[0]

    before = sorted(Path(os.environ.get("TMPDIR", "/tmp")).glob("anmin-*"))
    assert told("-") == told("t.csv")
    assert sorted(Path(os.environ.get("TMPDIR", "/tmp")).glob("anmin-*")) == before  # nothing is left behind


def test_names_of_several_lines_come_in_pieces_too_and_no_prediction_is_a_formula() -> None:
    names = ("a\nb", 'c"\r\n,d', "=1+1\x1b[31m")
    ReLUNetwork([[0.0], [1.0], [0.0]], [[1.0]], [0.0], feature_names=names[:2], output_names=names[2:]).save("h.json")
    datasets.write_csv("h.csv", names, np.arange(6.0).reshape(2, 3))
    given = Path("h.csv").read_bytes()
    expected = "'=1+1\\x1b[31m\n0\n3\n"
    assert run("predict", "h.json", "-", given=given).stdout == expected
    assert run("predict", "h.json", "h.csv").stdout == expected
    document = strict(run("predict", "h.json", "-", "--out", "p.csv", "--json", given=given).stdout)
    assert document["target_names"] == [names[2]]
    assert Path("p.csv").read_text() == expected
    for size in (1, 3, 1000):
        pieces = [given[i : i + size] for i in range(0, len(given), size)]
        source = iter(pieces)
        first = _first_lines(SimpleNamespace(read=lambda n, source=source: next(source, b"")))
        assert first.startswith(given[: given.index(b"0,1,2")])
        batches = read_pieces(pieces, Path("p"), names, names[:2], "utf-8", ",", True)
        rows = np.vstack([np.column_stack([batch.column(0), batch.column(1)]) for batch in batches])
        np.testing.assert_array_equal(rows, [[0, 1], [3, 4]])


def test_an_export_is_tried_on_standard_input() -> None:
    arguments = ("export", "model.json", "--to", "json", "--out", "copy.json", "--json", "--data")
    trial = strict(run(*arguments, "-", given=Path("t.csv").read_text()).stdout)["trial"]
    assert trial == strict(run(*arguments, "t.csv").stdout)["trial"]
    assert trial["n_rows"] == 60


def test_text_without_lines_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anmin.cli.standard_input._LONGEST_LINE", 1000)
    monkeypatch.setattr("anmin.datasets.csv_pieces._LONGEST", 1000)
    long = "1" * 3000
    assert "Standard input has no line break in" in run("predict", "model.json", "-", given=long, code=2).stderr
    pieces = [b"a\n1\n", *[b"1" * 600] * 3]
    with pytest.raises(ValueError, match=r"p has no line break in 1,200 characters"):
        list(read_pieces(pieces, Path("p"), ("a",), ("a",), "utf-8", ",", True))
    # A quote that is never closed holds the rows back only so long.
    stray = [b'a,b\n1,5" pipe\n', *[b"1,x\n" * 100] * 5]
    rows = [batch.num_rows for batch in read_pieces(stray, Path("p"), ("a", "b"), ("a",), "utf-8", ",", True)]
    assert sum(rows) == 501
    assert len(rows) > 1


BAD_INPUTS = {
    "empty": (b"", "Standard input is empty"),
    "blank": (b"\n \n", "Standard input is empty"),
    "header only": (b"a,b,y\n", "standard_input.csv has column names but no rows"),
    "compressed": (b"\x1f\x8b\x08\x00", "compressed by gzip; decompress it first, such as with zcat"),
    "Parquet": (b"PAR1\x00\x00", "Parquet, which is read from files only"),
    "binary": (b"\xff\xfe\x00\x01\n", "standard_input.csv is not utf-8 text"),
    "text": (b"a,b,y\n1,2,3\n4,x,6\n", "Column 'b' of standard_input.csv must hold numbers; line 3 has 'x'"),
    "ragged": (b"a,b,y\n1,2,3\n4,5\n", "Line 3 of standard_input.csv has 2 fields where the file has 3 columns"),
    "gap": (b"a,b,y\n1,2,3\n4,,6\n", "Column 'b' of standard_input.csv has 1 missing value"),
    "other columns": (b"p,q\n1,2\n", "standard_input.csv has no column"),
}


@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_standard_input_is_refused_as_a_bad_file_is(case: str, command: str) -> None:
    given, said = BAD_INPUTS[case]
    result = run(command, "model.json", "-", given=given, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    assert "tmp" not in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_a_terminal_in_the_place_of_a_table_is_refused() -> None:
    import pty

    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [*PROGRAM, "predict", "model.json", "-"], stdin=theirs, capture_output=True, text=True, timeout=60
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    assert "Standard input is a terminal" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal to send")
def test_rows_are_predicted_when_they_come_and_an_interrupt_ends_the_wait() -> None:
    import signal
    import threading

    command = [*PROGRAM, "predict", "model.json", "-"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        out = process.stdout
        process.stdin.write(b"a,b\n1,2\n")
        assert [out.readline(), out.readline()] == [b"y\n", b"2.5\n"]
        for row, expected in ((b"-3,", b""), (b'1\n"', b"3.5\n"), (b'4","1"\n', b"4.5\n")):
            process.stdin.write(row)
            assert (out.readline() if expected else b"") == expected
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_a_stream_in_any_pieces_gives_the_rows_of_the_file(encoding: str, size: int) -> None:
    text = 'höhe,name,b\n1,"x, ""y""\nz",2\n\n3,t,4e0\n5,"",6'
    data = text.encode(encoding)
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    name = "utf-8" if encoding == "utf-8-sig" else encoding
    batches = read_pieces(pieces, Path("p"), ("höhe", "name", "b"), ("b", "höhe"), name, ",", True)
    rows = np.vstack([np.column_stack([batch.column(0), batch.column(1)]) for batch in batches])
    np.testing.assert_array_equal(rows, [[2, 1], [4, 3], [6, 5]])


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal")
@pytest.mark.parametrize("arguments", [("predict", "model.json", "long.csv"), ("datasets",)])
def test_a_reader_that_leaves_ends_the_command_in_silence(arguments: tuple[str, ...]) -> None:
    datasets.write_csv("long.csv", ("a", "b"), np.ones((300_000, 2)))
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run([*PROGRAM, *arguments], stdout=closed, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_help_has_examples_whole_lines_and_no_codes_in_a_pipe(command: str) -> None:
    words = [*command.split(), "--help"]
    text = CliRunner().invoke(app, words, env={"COLUMNS": "80"}).stdout
    assert ESCAPE not in text
    body, examples = text.split(" Examples:\n")
    assert max(map(len, body.splitlines())) <= 80
    assert len(examples.strip().splitlines()) >= 2
    for line in examples.strip().splitlines():
        assert f"anmin {command}".strip() in line


def test_the_examples_of_the_help_are_commands() -> None:
    group = typer.main.get_command(app)
    for command in COMMANDS:
        for line in run(command, "--help").stdout.split(" Examples:\n")[1].strip().splitlines():
            name, *words = shlex.split(line.split("anmin ", 1)[1].split(" > ")[0])
            assert name == command
            group.commands[name].make_context(name, words)  # which reads the words, and runs nothing


def test_codes_of_colours_are_for_terminals_alone() -> None:
    forced = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    plain = subprocess.run(
        [*PROGRAM, "fit", "--help"], capture_output=True, text=True, env=os.environ | {"TERM": "xterm"}
    )
    assert ESCAPE not in plain.stdout
    assert ESCAPE not in run(*MACHINES["evaluate"]).stdout

    def codes(**more: str) -> set[str]:
        done = subprocess.run(
            [*PROGRAM, "fit", "--help"], capture_output=True, text=True, env=os.environ | forced | more
        )
        return {code for group in re.findall(r"\x1b\[([\d;]*)m", done.stdout) for code in group.split(";")}

    colours = {str(code) for first in (30, 90) for code in range(first, first + 9)} | {"38"}
    assert codes() & colours
    assert not codes(NO_COLOR="1") & colours


def test_no_name_can_do_anything_to_a_terminal() -> None:
    hostile = "a\x1b[31m\x07\u202e"
    ReLUNetwork([[1.0], [1.0]], [[1.0]], [0.0], feature_names=(hostile,), output_names=(hostile + "y",)).save("h.json")
    datasets.write_csv("h.csv", (hostile, hostile + "y"), np.arange(40.0).reshape(20, 2))
    commands = (
        ("evaluate", "h.json", "h.csv"),
        ("predict", "h.json", "h.csv", "--out", hostile),
        ("fit", "h.csv", "--target", hostile + "y", "--out", hostile + ".json", *SMALL),
        ("compare", "h.csv", "--target", hostile + "y", "--rivals", "ridge", "--splits", "1"),
        ("report", "h.json", "--out", hostile + ".html"),
    )
    for arguments in commands:
        shown = run(*arguments).stdout
        assert set(shown) <= {"\n"} | {mark for mark in shown if mark.isprintable()}, arguments
    message = run("evaluate", "h.json", "t.csv", code=2).stderr
    assert ESCAPE not in message
    assert "\\x1b" in message


def test_names_that_shells_complete_are_those_that_there_are() -> None:
    from anmin.export.targets import TARGETS
    from anmin.lab.contest import RIVALS
    from anmin.solvers import SOLVERS

    assert datasets.names() == options.DATA_SETS
    assert tuple(TARGETS) == options.TARGETS
    assert tuple(RIVALS) == options.RIVALS
    assert {"auto", *SOLVERS} == set(options.SOLVERS)


def completed(line: str) -> list[str]:
    """Return what bash would offer at the end of a line."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_ANMIN_COMPLETE": "complete_bash"}
    result = CliRunner().invoke(app, [], env=words, prog_name="anmin")
    assert result.exit_code == 0
    return result.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("anmin ev", ["evaluate"]),
        ("anmin fit --max", ["--max-iter", "--max-time"]),
        ("anmin fit dia", ["diabetes"]),
        ("anmin fit t", []),  # and the shell completes files
        ("anmin predict mod", []),
        ("anmin export model.json --to ", list(options.TARGETS)),
        ("anmin export model.json --data lin", ["linnerud"]),
        ("anmin fit --solver var", ["varpro"]),
        ("anmin compare t.csv --rivals ours,mlp_", ["ours,mlp_lbfgs", "ours,mlp_adam"]),
        ("anmin datasets sdf-c", ["sdf-cat", "sdf-crescent"]),
        ("anmin fit t.csv --target ", ["a", "b", "y"]),
        ("anmin fit t.csv --target y --ignore ", ["a", "b", "y"]),
        ("anmin evaluate model.json t.csv -y a,", ["a,b", "a,y"]),
        ("anmin fit none.csv --target ", []),
        ("anmin fit --target ", []),
    ],
)
def test_the_shell_completes(line: str, expected: list[str]) -> None:
    assert completed(line) == expected


def test_tables_of_the_folder_are_completed_beside_the_data_sets() -> None:
    Path("diary.csv").touch()
    Path("diary.exe").touch()
    assert completed("anmin fit dia") == ["diary.csv", "diabetes"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_there(shell: str) -> None:
    result = CliRunner().invoke(app, [], env={"_ANMIN_COMPLETE": f"source_{shell}"}, prog_name="anmin")
    assert "_ANMIN_COMPLETE=complete_" + shell in result.stdout


def test_help_and_completion_load_no_library() -> None:
    code = """
import sys
from anmin.cli import app
try:
    app(sys.argv[1:], prog_name="anmin")
except SystemExit:
    pass
heavy = {"numpy", "scipy", "sklearn", "numba", "pyarrow", "matplotlib", "torch"} & set(sys.modules)
assert not heavy, heavy
"""
    for arguments, env in (
        (["--help"], {}),
        (["fit", "--help"], {}),
        (["--version"], {}),
        ([], {"COMP_WORDS": "anmin fit t.csv -y ", "COMP_CWORD": "4", "_ANMIN_COMPLETE": "complete_bash"}),
    ):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | env)
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_a_named_data_set_is_written_as_the_table_it_is() -> None:
    told = run("datasets", "linnerud", "--out", "l.csv").stdout
    assert "Next: anmin fit l.csv --target weight,waist,pulse" in told
    data = datasets.load("linnerud")
    read, _ = datasets.read_dataset("l.csv", data.target_names)
    np.testing.assert_array_equal(read.X, data.X)
    np.testing.assert_array_equal(read.y, data.y)
    assert read.feature_names == data.feature_names


def test_what_is_misspelt_is_suggested() -> None:
    assert "Did you mean 'predict'?" in run("predcit", code=2).stderr
    assert "--neurons" in run("fit", "--neruons", "3", code=2).stderr
    assert "did you mean diabetes?" in run("fit", "diabets", code=2).stderr
