"""The benchmark of GPUs, tried on PyTorch's processor device at a small size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark_scripts import load_benchmark

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


def test_shapes_are_measured_and_the_tables_name_the_device(tmp_path: Path, capsys) -> None:
    gpu = load_benchmark("gpu")
    sizes = ["--share", "0.02", "--epochs", "1", "--order", "64"]
    arguments = ["--device", "cpu", "--shapes", "abalone,sdf", *sizes, "--results", str(tmp_path)]
    assert gpu.main(arguments) == 0
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert found["machine"]["device"] == "cpu"
    assert set(found["shapes"]) == {"abalone", "sdf"}
    row = found["shapes"]["sdf"]
    assert row["n_rows"] == int(58_464 * 0.02)
    timed = ("heavy", "light", "float32", "tf32", "heavy_here", "anmin", "varpro", "matrixfree", "fit", "adam")
    assert all(row[what] > 0 for what in timed)
    assert row["fit_mse"] < 1
    table = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "Device: cpu." in table
    assert "| sdf: 1,169, 2, 1, 64 |" in table
    assert table in capsys.readouterr().out


def test_without_a_gpu_it_says_so(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu = load_benchmark("gpu")
    assert gpu.main(["--results", str(tmp_path)]) == 2
    assert "Error: device='cuda' needs a CUDA GPU" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
