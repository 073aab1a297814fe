"""What the documentation shows runs."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

import anmin.inspection

matplotlib.use("Agg")
DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["losses.md", "model-surgery.md", "scikit-learn.md"])
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, names)
    plt.close("all")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_pictures_run_and_are_all_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "pictures.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(block, names)
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()
        plt.close("all")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fit.html", "model.html"]
    shown = set(re.findall(r"\w+", "\n".join(blocks)))
    assert set(anmin.inspection.__all__) - {"Scores"} <= shown
