"""Every code block of docs/cookbook is run, page by page, in its order."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from typer.testing import CliRunner

from anmin.cli import app
from anmin.export.trial import STRICT_C

matplotlib.use("Agg")
PAGES = sorted((Path(__file__).parents[1] / "docs" / "cookbook").glob("*.md"))
BLOCK = re.compile(r"^(<!-- not run: .+ -->\n)?```(python|console|c|javascript)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_block(language: str, text: str, names: dict[str, Any]) -> None:
    """Run a block in the present folder."""
    if language == "python":
        exec(compile(text, "a page of the cookbook", "exec"), names)
    elif language == "console":
        for line in text.splitlines():
            program, *arguments = shlex.split(line.removeprefix("$ "))
            assert program == "anmin"
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, result.output
    elif language == "c":
        Path("main.c").write_text(text, encoding="ascii")
        subprocess.run(["gcc", *STRICT_C, "-O2", "main.c", "-o", "main"], check=True)
        subprocess.run(["./main"], check=True)
    else:
        Path("main.mjs").write_text(text, encoding="utf-8")
        subprocess.run(["node", "main.mjs"], check=True)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = [found.groups() for found in BLOCK.finditer(page.read_text(encoding="utf-8"))]
    for language, tool in (("c", "gcc"), ("javascript", "node")):
        if language in {language for _, language, _ in blocks} and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    assert blocks
    names: dict[str, Any] = {}
    for skipped, language, text in blocks:
        if not skipped:
            run_block(language, text, names)
