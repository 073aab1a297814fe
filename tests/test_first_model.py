"""The page docs/first-model.md, typed again in an empty folder."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from anmin.cli import app
from exports import needs_gcc

PAGE = (Path(__file__).parents[1] / "docs" / "first-model.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

# The rule of the page: what differs between machines is left out, and errors and numbers with a point are equal within
# a tenth.
MASKS = (
    (r"\d+ iterations in \S+ s, alpha \S+", "# iterations in # s, alpha #"),
    (r"C99 header in float, [\d,]+ bytes", "C99 header in float, # bytes"),
    (r"rows: \S+, \S+ of the largest output", "rows: #, # of the largest output"),
)
NUMBER = r"(?<=MSE )[\d.]+|\d+\.\d+"


def typed(command: str) -> str:
    """Return what a command of the page prints on standard output."""
    left, _, right = command.rpartition(" | ")
    if not right.startswith("anmin "):
        return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout
    given = subprocess.run(left, shell=True, check=True, capture_output=True).stdout if left else None
    result = CliRunner().invoke(app, right.split()[1:], input=given)
    assert result.exit_code == 0, result.output
    return result.stdout


def masked(text: str) -> str:
    for pattern, replacement in MASKS:
        text = re.sub(pattern, replacement, text)
    return text


@needs_gcc
def test_the_page_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANMIN_DATA", raising=False)
    printed: list[str] = []
    for language, text in BLOCKS:
        if language == "c":
            Path("main.c").write_text(text)
            continue
        assert language == "console"
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
            printed.append(typed(command))
            shown, found = masked(expected), masked(printed[-1])
            assert re.sub(NUMBER, "#", found) == re.sub(NUMBER, "#", shown), command
            numbers = [float(number) for number in re.findall(NUMBER, shown)]
            assert [float(number) for number in re.findall(NUMBER, found)] == pytest.approx(numbers, rel=0.1), command
    by_c, by_python = float(printed[-2]), float(printed[-1].split()[1])
    assert by_c == pytest.approx(by_python, rel=1e-5)


def test_from_the_table_to_the_function_it_takes_five_commands() -> None:
    commands = re.findall(
        r"^\$ (\w+|\./main)", PAGE[PAGE.index("**1. Fit.**") : PAGE.index("The same row")], re.MULTILINE
    )
    assert commands == ["anmin", "anmin", "gcc", "./main"]  # and writing main.c


def test_every_command_of_the_page_says_what_to_do_next() -> None:
    blocks = [text for language, text in BLOCKS if language == "console" and "$ anmin" in text.split("|")[0]]
    assert len(blocks) == 3
    for text in blocks:
        assert re.search(r"^Next:", text, re.MULTILINE)
    # And what it says is what is typed next, so far as that is a command of anmin.
    assert "anmin fit diabetes.csv --target progression --test-fraction 0.2" in blocks[0]
    assert "anmin export model.json --to c " in blocks[1]
    assert "gcc main.c" in blocks[2]
