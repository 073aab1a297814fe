"""The command ``anmin lab``, its pages and its files, with studies made up for the purpose."""

from __future__ import annotations

import io
import json
import re
import sys
import types

import pytest
from PIL import Image
from typer.testing import CliRunner

from anmin.cli import app
from anmin.lab import studies
from anmin.lab.study import Claim, Study, Table, animated, drawn
from anmin.lab.study_page import VERDICTS

pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")


def _line(figure, k=1):
    ax = figure.subplots()
    ax.plot([0, 1], [0, k])


def made_up(quick=False, seed=0):
    return Study(
        "made_up",
        "A line & a claim",
        "Nothing <b>real</b>.",
        [
            Claim.judged("One is less than two.", "a book, p. 1", f"1 < 2, seed {seed}", 1 < 2),
            Claim.judged("Two is less than one.", "a book, p. 2", "2 > 1", 2 < 1),
            Claim.judged("Infinity is reached.", "a book, p. 3", "no", None),
        ],
        [Table("Numbers", ("n", "value"), [(1, 0.123456), (2, float("nan"))], "a note")],
        [
            drawn("line", "A line goes up", _line),
            animated("lines", "A line turns", _line, 3),
        ],
        {"rows": 10 if quick else 100, "seed": seed},
    )


def fails(quick=False, seed=0):
    raise RuntimeError("it does not converge")


def stops(quick=False, seed=0):
    raise KeyboardInterrupt


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """Run ``anmin lab`` where only made-up studies are known."""
    known = {}
    for run in (made_up, fails, stops):
        module = types.ModuleType(f"anmin.lab.{run.__name__}")
        module.run = run
        monkeypatch.setitem(sys.modules, module.__name__, module)
        known[run.__name__] = (run.__name__, f"About {run.__name__}")
    monkeypatch.setattr(studies, "STUDIES", known)
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments, names=None):
        if names is not None:
            monkeypatch.setattr(studies, "STUDIES", {name: known[name] for name in names})
        return CliRunner().invoke(app, ["lab", *arguments])

    return run_command


def test_verdicts_are_those_of_the_comparison():
    assert [claim.verdict for claim in made_up().claims] == list(VERDICTS)


def test_studies_are_listed(lab):
    assert "made_up  About made_up" in lab().stdout
    assert json.loads(lab("--json").stdout)[0] == {"study": "made_up", "title": "About made_up"}


def test_a_study_prints_claims_and_writes_nothing_unasked(lab, tmp_path):
    result = lab("made_up", "--seed", "3")
    assert result.exit_code == 0
    for text in ("AGREES: One is less than two. (a book, p. 1)", "1 < 2, seed 3", "DIFFERS", "0.1235", "2 pictures"):
        assert text in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_json_is_a_list_of_verdicts(lab):
    claims = json.loads(lab("made_up", "--json").stdout)
    assert [set(claim) for claim in claims] == 3 * [{"study", "claim", "source", "measured", "verdict"}]
    assert [claim["verdict"] for claim in claims] == list(VERDICTS)


def test_files_of_a_study(lab, tmp_path):
    assert lab("made_up", "--quick", "--out", "results").exit_code == 0
    document = json.loads((tmp_path / "results/made_up.json").read_text("utf-8"))
    assert document["quick"]
    assert document["settings"] == {"rows": 10, "seed": 0}
    assert document["tables"][0]["rows"] == [[1, 0.123456], [2, None]]
    with Image.open(tmp_path / "results/made_up-line.png") as picture:
        assert picture.size == (770, 462)
    with Image.open(tmp_path / "results/made_up-lines.gif") as animation:
        assert animation.n_frames == 3
    page = (tmp_path / "results/index.html").read_text("utf-8")
    assert "Nothing &lt;b&gt;real&lt;/b&gt;." in page
    assert page.count("data:image/") == 2
    assert "quick runs" in page


def test_all_goes_on_after_a_failure_and_says_so(lab, tmp_path):
    result = lab("all", names=["fails", "made_up"])
    assert result.exit_code == 1
    assert "1 of 2 studies did not run: fails." in result.stderr
    page = (tmp_path / "lab/index.html").read_text("utf-8")
    assert "RuntimeError: it does not converge" in page
    assert "A line &amp; a claim" in page


def test_an_interrupt_keeps_what_has_ended(lab, tmp_path):
    result = lab("all", names=["made_up", "stops", "fails"])
    assert result.exit_code == 130
    assert "A line &amp; a claim" in (tmp_path / "lab/index.html").read_text("utf-8")


def test_unknown_studies_are_refused(lab, tmp_path):
    result = lab("nothing", "--out", "folder")
    assert result.exit_code == 2
    assert "There is no study 'nothing'" in result.stderr
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="There is no study 'nothing'; there are made_up"):
        studies.run_study("nothing")


def test_rows_of_a_table_fit_its_columns():
    with pytest.raises(ValueError, match="Numbers: a row has 1 cells for 2 columns"):
        Table("Numbers", ("a", "b"), [(1,)])


def test_animations_hold_their_last_frame():
    gif = Image.open(io.BytesIO(animated("x", "Title", _line, 2, seconds=0.2).content))
    assert gif.info["duration"] == 200
    gif.seek(1)
    assert gif.info["duration"] == 2000


def test_every_study_that_is_known_has_a_module_and_a_title():
    for name, (module, title) in studies.STUDIES.items():
        assert callable(__import__(f"anmin.lab.{module}", fromlist=["run"]).run), name
        assert title
        assert not title.endswith(".")


def test_the_page_on_the_lab_names_every_study():
    from pathlib import Path

    page = (Path(__file__).parents[1] / "docs/lab.md").read_text("utf-8")
    assert set(re.findall(r"^- `(\w+)`:", page, re.M)) == set(studies.STUDIES)
