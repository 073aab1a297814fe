"""Every code block of the README and of the pages of docs/ runs, and what a page shows is what comes out.

- The blocks of a page run in their order, ``python`` in one namespace, in a folder that holds the small tables of
  :func:`small_tables`.
- ``sh`` and ``console`` are commands of ``anmin``, which go through its own command line; lines of a ``console``
  without ``$`` are what a command prints. A fit without a limit of its own gets 0.3 seconds.
- ``text`` is what the block before has printed. Shown decimals hold to 5 % or two units of the last place, for they
  differ between machines; ``...`` stands for anything.
- ``c``, ``glsl`` and ``javascript`` are compiled or run where there is a tool for it.
- ``<!-- not run: reason -->`` before a block excuses it, and ``<!-- not run: "anmin paper": reason -->`` the commands
  of it that begin like that; ``<!-- not compared: reason -->`` a ``text``. Every excuse is a skipped test, so that
  none is hidden.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import io
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

import anmin
import anmin.inspection
import anmin.solvers
from anmin import ReLUClassifier, ReLURegressor
from anmin.cli import app
from anmin.export.targets import TARGETS
from anmin.export.trial import STRICT_C
from anmin.search import Recombining

matplotlib.use("Agg")
ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
MARK = r'<!-- not (?:run|compared): (?:"(.+?)": )?(.+) -->'
NUMBER = r"[-+]?\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?"
OPTIONAL = {"dask", "emlearn", "onnx", "onnxruntime", "pandas", "polars", "skl2onnx", "torch"}


class Block(NamedTuple):
    """A fenced block: its language, its lines, the number of its first one, and what excuses it from running."""

    language: str
    text: str
    line: int
    excuse: str | None
    excused: str | None  # how the commands begin that are; None are all

    def is_excused(self, command: str = "") -> bool:
        return self.excuse is not None and (self.excused is None or command.startswith(self.excused))


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page but for the directives of the site, whose names are in braces."""
    lines = page.read_text(encoding="utf-8").splitlines()
    found, start = [], 0
    while start < len(lines):
        fence = re.match(r"(`{3,}|~{3,})\s*(\S*)", lines[start])
        if fence is None:
            start += 1
            continue
        end = next(i for i in range(start + 1, len(lines)) if lines[i].rstrip() == fence[1])
        mark = re.fullmatch(MARK, lines[start - 1].strip()) if start else None
        if not fence[2].startswith("{"):
            text = "\n".join(lines[start + 1 : end]) + "\n"
            found.append(Block(fence[2], text, start + 2, mark and mark[2], mark and mark[1]))
        start = end + 1
    return found


def small_tables() -> None:
    """Write the tables that pages speak of into the present folder: a few rows each."""
    rng = np.random.default_rng(0)
    n = 40  # so few that the default of 64 neurons is fitted once, without a search
    area, rooms, age = rng.uniform(30, 200, n).round(1), rng.integers(1, 7, n), rng.integers(0, 90, n)
    price = (2000 * area + 8000 * rooms - 900 * np.maximum(age - 20, 0) + rng.normal(0, 5000, n)).round(-2)
    trust = rng.integers(1, 4, n)
    houses = pa.table({"id": np.arange(n), "area": area, "rooms": rooms, "age": age, "trust": trust, "price": price})
    for name in ("houses", "houses_2024", "held_out"):
        pa.csv.write_csv(houses, f"{name}.csv")
    pa.csv.write_csv(houses.drop_columns(["price"]), "new_houses.csv")
    speed, angle = rng.uniform(10, 50, n), rng.uniform(-5, 15, n)
    wing = {"speed": speed, "angle": angle, "lift": speed * np.abs(angle), "drag": speed + angle**2, "trust": trust}
    pa.parquet.write_table(pa.table(wing), "runs.parquet")
    with pa.CompressedOutputStream("measurements.csv.gz", "gzip") as out:
        pa.csv.write_csv(pa.table(wing | {"id": np.arange(n)}), out)
    Path("measurements").mkdir()
    for part in range(2):
        rows = slice(part * n // 2, (part + 1) * n // 2)
        measured = {"a": speed[rows], "b": angle[rows], "y": wing["lift"][rows]}
        pa.parquet.write_table(pa.table(measured), f"measurements/{part}.parquet")
    np.save("X.npy", np.column_stack([speed, angle]))
    np.save("y.npy", wing["lift"])


def agrees(shown: str, printed: str) -> bool:
    """Return whether what was printed is what is shown, as far as it is stable."""
    pattern, wanted = "", []
    for piece in re.split(rf"(\.\.\.|\s+|(?<![\w.]){NUMBER})", shown.strip()):
        if piece == "...":
            pattern += ".*?"
        elif not piece or piece.isspace():
            pattern += r"\s+" if piece else ""
        elif re.fullmatch(NUMBER, piece):
            pattern += f"({NUMBER})"
            wanted.append(piece)
        else:
            pattern += re.escape(piece)
    match = re.fullmatch(pattern, printed.strip(), re.DOTALL)
    if match is None:
        return False
    return all(_close(*pair) for pair in zip(wanted, match.groups(), strict=True))


def _close(shown: str, printed: str) -> bool:
    digits = re.search(r"\.(\d*)", shown)
    if digits is None:
        return shown == printed
    value, found = (float(text.replace(",", "")) for text in (shown, printed))
    return abs(found - value) <= max(0.05 * abs(value), 2.01 * 10.0 ** -len(digits[1]))


class Reader:
    """Somebody who does what a page says, in the present folder."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.printed = ""
        self.missing: list[str] = []
        self._doing: dict[str, Callable[[Block], None]] = {
            "python": self._python,
            "sh": self._commands,
            "console": self._commands,
            "text": self._output,
            "c": self._c,
            "glsl": self._glsl,
            "javascript": self._javascript,
        }

    def does(self, block: Block) -> None:
        if block.is_excused():
            return
        if block.language != "text":
            self.printed = ""
        assert block.language in self._doing, f"What is to become of {block.language!r}? See {__file__}."
        self._doing[block.language](block)

    def _python(self, block: Block) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile("\n" * (block.line - 1) + block.text, "page", "exec"), self.names)
        self.printed = out.getvalue()
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()
        plt.close("all")

    def _commands(self, block: Block) -> None:
        texts = [block.text] if block.language == "sh" else re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
        for text in texts:
            lines = text.replace("\\\n", " ").splitlines()
            commands = lines if block.language == "sh" else lines[:1]
            printed = "".join(self._command(line, block) for line in commands)
            shown = "\n".join(lines[1:]) if block.language == "console" else ""
            assert not shown.strip() or agrees(shown, printed), f"shown:\n{shown}\nprinted:\n{printed}"
            self.printed += printed

    def _command(self, line: str, block: Block) -> str:
        words = shlex.split(line, comments=True)
        if not words or block.is_excused(line):
            return ""
        assert words[0] == "anmin", f"Only commands of anmin are run, not {line!r}: excuse it."
        limits = {"--max-time", "--max-iter", "--help"} & set(words)
        limit = ["--max-time", "0.3"] if words[1] == "fit" and not limits else []
        result = CliRunner().invoke(app, [*words[1:], *limit], env={"COLUMNS": "120"})
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
        return result.output

    def _output(self, block: Block) -> None:
        assert agrees(block.text, self.printed), f"shown:\n{block.text}\nprinted:\n{self.printed}"

    def _has(self, tool: str) -> bool:
        if shutil.which(tool) is None:
            self.missing.append(tool)
        return tool not in self.missing

    def _c(self, block: Block) -> None:
        if self._has("gcc"):
            Path("main.c").write_text(block.text)
            subprocess.run(["gcc", *STRICT_C, "main.c", "-o", "main"], check=True)
            self.printed = subprocess.run(["./main"], check=True, capture_output=True, text=True).stdout

    def _glsl(self, block: Block) -> None:
        if self._has("glslangValidator"):
            (header,) = Path().glob("*.glsl")
            Path("main.frag").write_text("#version 100\n" + header.read_text() + block.text)
            subprocess.run(["glslangValidator", "main.frag"], check=True, capture_output=True)

    def _javascript(self, block: Block) -> None:
        if self._has("node"):
            Path("main.mjs").write_text(block.text)
            done = subprocess.run(["node", "main.mjs"], check=True, capture_output=True, text=True)
            self.printed = done.stdout


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
        except BaseException as error:
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


@pytest.mark.parametrize("page", PAGES, ids=named)
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
    single = set(re.findall(r"auto(?:class|function|data):: (\S+)", pages))
    assert {f"anmin.{name}" for name in anmin.__all__} <= whole | single
    public = [importlib.import_module(name) for name in ("anmin", *whole)]
    exported = {
        (getattr(module, name).__module__, name)
        for module in public
        for name in getattr(module, "__all__", ())
        if hasattr(getattr(module, name), "__module__")
    }
    for path in sorted((ROOT / "src" / "anmin").rglob("*.py")):
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        if module in whole or {"cli", "lab", "__main__"} & set(parts):
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
