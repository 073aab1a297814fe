"""Every code block of the README and of docs/ runs, and what a page shows is what comes out: pages.py has the rules."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import anmin
import anmin.inspection
import anmin.solvers
from anmin import ConvexReLURegressor, GatedReLURegressor, ReLUClassifier, ReLURegressor
from anmin.export.targets import TARGETS
from anmin.search import Recombining
from pages import Block, Reader, agrees, blocks_of, small_tables

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ALL_PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
RUN_BY = {page: re.search(r"<!-- run by (\S+) -->", page.read_text(encoding="utf-8")) for page in ALL_PAGES}
PAGES = [page for page in ALL_PAGES if RUN_BY[page] is None]
OPTIONAL = {"dask", "emlearn", "onnx", "onnxruntime", "pandas", "polars", "skl2onnx", "torch"}


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame")  # of Dask, under pandas 3
@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=named)
def test_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small_tables()
    reader = Reader()
    for block in blocks_of(page):
        try:
            reader.does(block)
        except ModuleNotFoundError as error:
            if error.name in OPTIONAL:
                pytest.skip(f"{error.name} is not installed")
            raise
        except Exception as error:
            error.add_note(f"{named(page)}, block of line {block.line}")
            raise
    if reader.missing:
        pytest.skip(f"all ran but what needs {', '.join(reader.missing)}, which is not installed")


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page, block, id=f"{named(page)}:{block.line}")
        for page in PAGES
        for block in blocks_of(page)
        if block.excuse
    ],
)
def test_a_block_that_is_not_run_is_code(page: Path, block: Block) -> None:
    commands = [line.removeprefix("$ ") for line in block.text.splitlines()]
    assert block.excused is None or any(command.startswith(block.excused) for command in commands)
    if block.language == "python":
        compile(block.text, named(page), "exec")
    pytest.skip(block.excuse)


def test_pages_that_are_left_to_another_test_are_known_to_it() -> None:
    for page, found in RUN_BY.items():
        assert found is None or page.name in (ROOT / found[1]).read_text(encoding="utf-8")


def test_how_blocks_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = Path("page.md")
    page.write_text(
        "<!-- not run: far too long -->\n```python\n1 / 0\n```\n\n```{toctree}\nother\n```\n"
        '<!-- not run: "anmin paper": hours -->\n```sh\nanmin paper table3\nanmin --version > out.txt\n```\n'
        "```python\nfrom pathlib import Path\nprint(Path('out.txt').read_text()[:5])\n```\n```text\nanmin\n```\n"
    )
    excused, commands, python, text = blocks_of(page)
    assert (excused.excuse, excused.is_excused()) == ("far too long", True)
    assert commands.is_excused("anmin paper table3")
    assert not commands.is_excused("anmin fit")
    assert commands.line == 11
    assert (python.shows, text.shows) == (True, False)
    reader = Reader()
    for block in (excused, commands, python, text):
        reader.does(block)
    with pytest.raises(AssertionError, match="numpy"):
        reader.does(text._replace(text="numpy\n"))
    with pytest.raises(AssertionError, match="'fortran'"):
        reader.does(text._replace(language="fortran"))
    with pytest.raises(AssertionError, match="'rm' is not run here"):
        reader.does(commands._replace(text="rm out.txt\n"))


@pytest.mark.parametrize("page", ALL_PAGES, ids=named)
def test_no_command_hides_in_an_indented_block(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in blocks_of(page):
        text = text.replace(block.text, "")
    hidden = re.findall(r"^    (?:\$ )?(?:anmin|pip|python|make|import|from|export) .*", text, re.MULTILINE)
    assert hidden == []


def test_the_rule_for_shown_output() -> None:
    shown = "Saved 12 rows in ... s, error 0.50"
    assert agrees(shown, "Saved 12 rows  in 3.1 s, error 0.51\n")
    assert not agrees(shown, "Saved 12 rows in 3.1 s, error 0.58")
    assert not agrees(shown, "Saved 13 rows in 3.1 s, error 0.50")
    assert agrees("0.08", "0.10")
    assert not agrees("0.08", "0.11")
    assert not agrees(shown, "Saved 12 lines in 3.1 s, error 0.50")
    assert not agrees(shown, "Saved 12 rows in 3.1 s, error 0.50 and more")


def test_the_pictures_are_all_shown() -> None:
    shown = set(re.findall(r"\w+", "\n".join(block.text for block in blocks_of(DOCS / "pictures.md"))))
    assert set(anmin.inspection.__all__) - {"Scores"} <= shown


def test_the_page_of_exports_names_every_target() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", (DOCS / "export.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert list(rows) == list(TARGETS)
    for name, target in TARGETS.items():
        assert ", ".join(f"`{number}`" for number in target.numbers) in rows[name]


def test_the_page_of_options_has_every_option_with_its_default() -> None:
    text = (DOCS / "options.md").read_text(encoding="utf-8")
    known = vars(anmin.solvers) | {"Recombining": Recombining}
    listed: dict[str, dict[str, Any]] = {}
    for section in re.split(r"^#{2,3} ", text, flags=re.MULTILINE)[1:]:
        title = section.splitlines()[0].strip("`")
        rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \|", section, re.MULTILINE)
        if rows:
            listed[title] = {name: eval(default, dict(known)) for name, default in rows}
    convex, gated = ConvexReLURegressor().get_params(deep=False), GatedReLURegressor().get_params(deep=False)
    assert listed.pop("ConvexReLURegressor") == convex
    assert listed.pop("GatedReLURegressor") == {
        name: value for name, value in gated.items() if convex.get(name, ...) != value
    }
    regressor = ReLURegressor().get_params(deep=False)
    classifier = ReLUClassifier().get_params(deep=False)
    assert listed.pop("ReLURegressor") == regressor
    assert listed.pop("ReLUClassifier") == {
        name: value for name, value in classifier.items() if name == "loss" or regressor.get(name, ...) != value
    }
    solvers = [Recombining(), *anmin.solvers.SOLVERS.values()]
    assert listed == {
        type(solver).__name__: {field.name: getattr(solver, field.name) for field in dataclasses.fields(solver)}
        for solver in solvers
    }


def test_the_reference_has_every_public_name() -> None:
    """Every public function and class of a module, but for the command line and the studies, is documented."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
    whole = set(re.findall(r"automodule:: (\S+)", pages))
    packages = tuple(f"{name}." for name in re.findall(r"submodules:: (\S+)", pages))
    public = [importlib.import_module(name) for name in whole]
    assert {anmin, *(thing for name in anmin.__all__ if inspect.ismodule(thing := getattr(anmin, name)))} <= set(public)
    exported = {
        (getattr(module, name).__module__, name)
        for module in public
        for name in getattr(module, "__all__", ())
        if hasattr(getattr(module, name), "__module__")
    }
    for path in sorted((ROOT / "src" / "anmin").rglob("*.py")):
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        if module in whole or module.startswith(packages) or {"cli", "lab", "__main__"} & set(parts):
            continue
        defined = [node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if hasattr(node, "name")]
        missing = [name for name in defined if not name.startswith("_") and (module, name) not in exported]
        assert missing == [], f"docs/reference lacks {module}: {missing}"


def test_the_parameters_of_docstrings_are_names() -> None:
    """A paragraph after the parameters would be taken for one of them."""
    docscrape = pytest.importorskip("numpydoc.docscrape", reason="numpydoc is not installed")
    seen = 0
    for path in sorted((ROOT / "src" / "anmin").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                continue
            sections = docscrape.NumpyDocString(ast.get_docstring(node) or "")
            for name in (item.name for section in ("Parameters", "Attributes") for item in sections[section]):
                seen += 1
                assert all(re.fullmatch(r"\*{0,2}\w+", part) for part in re.split(r",\s*", name)), f"{path}: {name}"
    assert seen > 300
