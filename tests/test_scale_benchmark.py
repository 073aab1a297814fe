"""The benchmark of rows that are not in memory, at a small size, and what its tables say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def scale(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sys.modules.pop("scale", None)
    import scale

    return scale


def test_files_are_measured_and_the_table_says_so(scale, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scale, "_ROWS_OF_A_FILE", 2000)
    arguments = ["--sections", "files", "--rows", "5000", "--results", str(tmp_path)]
    assert scale.main(arguments) == 0
    found = json.loads((tmp_path / "scale.json").read_text(encoding="utf-8"))["files"]["found"]
    assert found["n_rows"] == 5000
    assert all(found[what]["seconds"] > 0 for what in ("read", "file_pass", "memory_pass", "fit"))
    assert all(found[what]["peak"] > 1e7 for what in ("nothing", "fit"))
    assert found["fit"]["passes"] <= 15
    assert found["fit"]["mse"][-1] < 0.01
    table = (tmp_path / "scale.md").read_text(encoding="utf-8")
    assert "5,000 rows of 3 inputs" in table
    assert table in capsys.readouterr().out


def test_clusters_are_compared_in_the_table(scale):
    row = {"pass": 2.0, "anmin": 8.0, "loss": 0.5, "mse": 0.4, "sums": 1000}
    clusters = {"1": row, "2": row | {"pass": 1.0, "anmin": 5.0}}
    table = scale.tables({"dask": {"machine": {"cores": 2}, "found": {"n_rows": 10, "clusters": clusters}}})
    assert "| 2 | 1.00 | 2.00 | 5.0 | 1.60 | 0.5 | 1,000 |" in table


def test_bad_sections_are_refused(scale, tmp_path, capsys):
    assert scale.main(["--sections", "none", "--results", str(tmp_path)]) == 2
    assert "Error: " in capsys.readouterr().err
