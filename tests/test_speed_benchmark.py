"""The speed benchmark: its sections run, are stored, and are told of; on small sizes, with no word on time itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from anmin.lab import protocol
from anmin.lab.protocol import Split
from benchmark_scripts import load_benchmark


@pytest.fixture(scope="module")
def speed() -> ModuleType:
    """The benchmark as a module."""
    return load_benchmark("speed")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small rows in the place of every data set."""

    def load(name: str, split: int) -> Split:
        rng = np.random.default_rng(split)
        X = rng.uniform(-1, 1, (300, 2))
        y = np.sin(3 * X[:, :1]) + 0.1 * rng.standard_normal((300, 1))
        return Split(X[:200], y[:200], X[200:], y[200:])

    monkeypatch.setattr(protocol, "load_split", load)


def parts(speed: ModuleType) -> ModuleType:
    """Return the module of the measurements, which the benchmark has imported."""
    return sys.modules[speed.SECTIONS["anmin"].__module__]


def test_sections_are_stored_and_told_of(speed: ModuleType, small: None, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert speed.main(["--quick", "--sections", "anmin,roofline,scaling", "--results", str(tmp_path)]) == 0
    assert speed.main(["--quick", "--sections", "predict", "--results", str(tmp_path)]) == 0
    stored = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert list(stored) == ["anmin", "roofline", "scaling", "predict"]
    text = (tmp_path / "speed.md").read_text(encoding="utf-8")
    for title in ("## ANMIN", "## Roofline", "## Scaling", "## Prediction"):
        assert title in text
    assert "nan" not in text.split("## Scaling")[0]
    assert (tmp_path / "figures" / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_fits_are_timed_until_they_are_as_good_as_asked(speed: ModuleType, small: None) -> None:
    split = protocol.load_split("abalone", 0)
    variance = float(np.var(split.y_train))
    assert 0 < parts(speed).shortest(split, 1e-3, 2 * variance, True) < 60
    assert parts(speed).shortest(split, 1e-3, 1e-12, True) is None


def test_depth_tells_of_what_was_not_reached(speed: ModuleType, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts(speed), "DEPTH_ERRORS", {"horse_sdf": 1e-9, "bike_sharing": 1e9, "abalone": 1e9})
    rows = parts(speed).depth(True)
    assert [row["seconds"] is None for row in rows] == [True, False, False]
    text = speed.tables({"depth": {"machine": {"cores": 2}, "rows": rows}})
    assert "| horse_sdf, 0 | 1.2" not in text  # the error asked is that of the run
    assert text.count("not reached") == 1
    assert "Machine: cores 2." in text


def test_what_is_missed_is_said(speed: ModuleType) -> None:
    rows = [
        {"dataset": "abalone", "seconds": 0.5, "plain_seconds": 1.5},
        {"dataset": "horse_sdf", "seconds": 1.5, "plain_seconds": 3.0},
    ]
    text = speed.tables({"anmin": {"machine": {}, "rows": rows}})
    assert "| abalone | 0.5 | 0.7 | reached | 1.5 | 3.0 | 18 |" in text
    assert "| horse_sdf | 1.5 | 1 | **missed** | 3 | 2.0 | 80 |" in text


def test_steps_of_a_process_are_read(speed: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    for solver in ("matrix_free", "varpro"):
        parts(speed).steps(solver, 5, 4, 200, 2, None)
        values = [float(value) for value in capsys.readouterr().out.split()]
        assert len(values) == 2 * 3 + 1
        losses = values[3:6]
        assert losses == sorted(losses, reverse=True)


def test_a_field_is_the_distance_from_a_shape(speed: ModuleType) -> None:
    X, y = parts(speed).field(12_000, 0)
    assert X.shape == (12_000, 2)
    assert y.shape == (12_000,)
    assert y.min() < 0 < y.max()


def test_unknown_sections_are_refused(speed: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert speed.main(["--sections", "nothing", "--results", str(tmp_path)]) == 2
    assert "nothing" in capsys.readouterr().err
    assert not (tmp_path / "speed.json").exists()
