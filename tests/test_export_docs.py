"""Every code block of docs/export.md is run, in its order."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from anmin.cli import app
from anmin.export.trial import STRICT_C

PAGE = Path(__file__).parents[1] / "docs" / "export.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
TOOLS = {"c": "gcc", "javascript": "node", "glsl": "glslangValidator"}


def run_block(language: str, text: str, names: dict[str, Any]) -> str | None:
    """Run a block in the present folder; return the tool that it needs if that is not there."""
    tool = TOOLS.get(language)
    if tool is not None and shutil.which(tool) is None:
        return tool
    if language == "console":
        for line in text.splitlines():
            program, *arguments = shlex.split(line.removeprefix("$ "))
            assert program == "anmin"
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, result.output
    elif language == "python":
        exec(compile(text, "docs/export.md", "exec"), names)
    elif language == "c":
        Path("main.c").write_text(text)
        subprocess.run(["gcc", *STRICT_C, "main.c", "-o", "main"], check=True)
        printed = subprocess.run(["./main"], check=True, capture_output=True, text=True).stdout
        assert float(printed) == pytest.approx(names["network"].predict(names["X"][:1])[0, 0], rel=1e-4)
    elif language == "javascript":
        Path("main.mjs").write_text(text)
        subprocess.run(["node", "main.mjs"], check=True, capture_output=True)
    else:
        assert language == "glsl"
        Path("main.frag").write_text("#version 100\n" + Path("cat.glsl").read_text() + text)
        subprocess.run(["glslangValidator", "main.frag"], check=True, capture_output=True)
    return None


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("onnx", "onnxruntime", "skl2onnx", "torch"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    assert {language for language, _ in BLOCKS} == {"console", "python", "c", "glsl", "javascript"}
    missing = [tool for language, text in BLOCKS if (tool := run_block(language, text, names))]
    if missing:
        pytest.skip(f"all ran but the blocks that need {', '.join(missing)}, which is not installed")


def test_the_page_names_every_target() -> None:
    from anmin.export.targets import TARGETS

    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert list(rows) == list(TARGETS)
    for name, target in TARGETS.items():
        assert ", ".join(f"`{number}`" for number in target.numbers) in rows[name]
