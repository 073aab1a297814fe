"""Every code block of docs/cookbook runs, page by page, in its order, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pytest
import sklearn
from typer.testing import CliRunner

from anmin.cli import app
from anmin.export.trial import STRICT_C

matplotlib.use("Agg")
PAGES = sorted((Path(__file__).parents[1] / "docs" / "cookbook").glob("*.md"))
BLOCK = re.compile(
    r"^(<!-- not run: [^\n]+ -->\n)?```(python|console|c|javascript)\n(.*?)^```$"
    r"(?:\n\n(?:<!-- not compared: [^\n]+ -->\n)?```text\n(.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


def run_block(language: str, text: str, names: dict[str, Any]) -> str:
    """Run a block in the present folder, and return what it prints."""
    if language == "python":
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(text, "a page of the cookbook", "exec"), names)
        return printed.getvalue()
    if language == "console":
        results = [CliRunner().invoke(app, shlex.split(line)[2:]) for line in text.splitlines()]
        assert all(line.startswith("$ anmin ") for line in text.splitlines())
        assert all(result.exit_code == 0 for result in results), [result.output for result in results]
        return "".join(result.stdout for result in results)
    if language == "c":
        Path("main.c").write_text(text, encoding="ascii")
        subprocess.run(["gcc", *STRICT_C, "-O2", "main.c", "-o", "main"], check=True)
    else:
        Path("main.mjs").write_text(text, encoding="utf-8")
    command = ["./main"] if language == "c" else ["node", "main.mjs"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def shape(text: str) -> list[str]:
    """Return the beginnings of the lines without their numbers, which differ a little between machines."""
    return [" ".join(re.sub(r"[-+]?\d[\d.,e+-]*", "#", line).split())[:30] for line in text.splitlines()]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame")  # of Dask, under pandas 3
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_runs_and_prints_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = [found.groups() for found in BLOCK.finditer(page.read_text(encoding="utf-8"))]
    for language, tool in (("c", "gcc"), ("javascript", "node")):
        if any(language == other for _, other, *_ in blocks) and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    assert blocks
    names: dict[str, Any] = {}
    with sklearn.config_context():
        for skipped, language, text, said in blocks:
            printed = "" if skipped else run_block(language, text, names)
            plt.close("all")
            lines = iter(shape(printed))
            assert all(line in lines for line in shape(said or "") if line != "..."), printed
