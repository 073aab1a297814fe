"""The benchmark of classification, at a small size."""

from __future__ import annotations

import json
from pathlib import Path

from benchmark_scripts import load_benchmark


def test_rivals_are_compared_and_the_table_names_them(tmp_path: Path, capsys, monkeypatch) -> None:
    benchmark = load_benchmark("classification")
    monkeypatch.setattr(benchmark, "ALPHAS", [1e-2, 1.0])
    arguments = ["--datasets", "iris", "--neurons", "4", "--folds", "2", "--results", str(tmp_path)]
    assert benchmark.main(arguments) == 0
    found = json.loads((tmp_path / "classification.json").read_text(encoding="utf-8"))["sets"]["iris"]["rivals"]
    assert set(found) == set(benchmark.RIVALS)
    for runs in found.values():
        assert all(0 < loss < 1.1 for loss in runs["log_loss"])
        assert all(0.6 < accuracy <= 1 for accuracy in runs["accuracy"])
        assert all(0 < one <= whole for one, whole in zip(runs["seconds"], runs["seconds_with_tuning"], strict=True))
    table = (tmp_path / "classification.md").read_text(encoding="utf-8")
    assert "| ReLUClassifier | " in table
    assert table in capsys.readouterr().out


def test_unknown_data_are_refused(tmp_path: Path, capsys) -> None:
    assert load_benchmark("classification").main(["--datasets", "none", "--results", str(tmp_path)]) == 2
    assert "Error: " in capsys.readouterr().err
