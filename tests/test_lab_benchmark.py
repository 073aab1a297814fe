"""The benchmark that stores full runs of the lab, at a small size."""

from __future__ import annotations

import json

import pytest

from anmin.lab import studies
from anmin.lab.study import Claim, Study
from benchmark_scripts import load_benchmark


def test_runs_are_stored_and_the_table_has_every_claim(tmp_path, monkeypatch):
    benchmark = load_benchmark("studies")
    claims = [Claim.judged("a | b", "a book", "1 < 2", True), Claim.judged("c", "a book", "2 > 1", False)]
    monkeypatch.setattr(
        benchmark, "run_study", lambda name: Study(name, "Title", "Summary.", claims, settings={"n": 1})
    )
    first = next(iter(studies.STUDIES))
    benchmark.main([first, "--results", str(tmp_path)])
    assert json.loads((tmp_path / "lab" / f"{first}.json").read_text("utf-8"))["claims"][1]["verdict"] == "differs"
    # Quick runs that are stored do not count.
    quick = {"study": "q", "quick": True}
    (tmp_path / "lab/quick.json").write_text(json.dumps(quick), "utf-8")
    benchmark.main(["--results", str(tmp_path)])
    table = (tmp_path / "lab.md").read_text("utf-8")
    assert "1 studies, 2 claims: 1 agrees, 1 differs." in table
    assert "| a \\| b | a book | 1 < 2 | agrees |" in table


def test_unknown_studies_are_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        load_benchmark("studies").main(["nothing"])
    assert stopped.value.code == 2
    assert "no such study: nothing" in capsys.readouterr().err
