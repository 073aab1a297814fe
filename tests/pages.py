"""The blocks of the pages of the documentation, and somebody who does what they say.

- The blocks of a page run in their order, ``python`` in one namespace, in a folder that holds the small tables of
  :func:`small_tables`.
- ``sh`` and ``console`` are commands of ``anmin``, which go through its own command line, alone or in pipes with tools
  of the shell; lines of a ``console`` without ``$`` are what a command prints. A fit that shows nothing and has no
  limit of its own gets 0.3 seconds.
- ``text`` is what the block before has printed. Shown decimals hold to 5 % or two units of the last place, for they
  differ between machines; ``...`` stands for anything.
- ``c``, ``glsl`` and ``javascript`` are compiled or run where there is a tool for it.
- ``<!-- not run: reason -->`` before a block excuses it, and ``<!-- not run: "anmin paper": reason -->`` the commands
  of it that begin like that; ``<!-- not compared: reason -->`` a ``text``. Every excuse is a skipped test, so that
  none is hidden.
- ``<!-- run by tests/test_x.py -->`` leaves a page to a test that knows more of it.
"""

from __future__ import annotations

import contextlib
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
from typer.testing import CliRunner

from anmin.cli import app
from anmin.export.trial import STRICT_C

matplotlib.use("Agg")
MARK = r'<!-- not (?:run|compared): (?:"(.+?)": )?(.+) -->'
NUMBER = r"[-+]?\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?"
LIMITS = {"--max-time", "--max-iter", "--help"}
TOOLS = {"cat", "gcc", "grep", "head", "jq", "tail", "zcat"}


class Block(NamedTuple):
    """A fenced block: its language, its lines, the number of its first one, and what excuses it from running."""

    language: str
    text: str
    line: int
    excuse: str | None
    excused: str | None  # how the commands begin that are; None are all
    shows: bool = False  # whether what it prints stands in the next block

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
    shows = [following.language == "text" for following in found[1:]] + [False]
    return [block._replace(shows=shown) for block, shown in zip(found, shows, strict=False)]


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
    with pa.CompressedOutputStream("houses.csv.gz", "gzip") as out:
        pa.csv.write_csv(houses, out)
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
            shown = "\n".join(lines[1:]) if block.language == "console" else ""
            commands = lines if block.language == "sh" else lines[:1]
            typed = [line for line in commands if not block.is_excused(line)]
            printed = "".join(self._command(line, limited=not (shown or block.shows)) for line in typed)
            assert not shown.strip() or agrees(shown, printed), f"shown:\n{shown}\nprinted:\n{printed}"
            self.printed += printed

    def _command(self, line: str, *, limited: bool) -> str:
        """Type a line and return what it prints on standard output."""
        pipe, _, target = line.partition(" > ")
        printed = ""
        for stage in pipe.split(" | "):
            words = shlex.split(stage, comments=True)
            if words and words[0] == "anmin":
                limit = ["--max-time", "0.3"] if limited and words[1] == "fit" and not LIMITS & set(words) else []
                result = CliRunner().invoke(app, [*words[1:], *limit], input=printed, env={"COLUMNS": "120"})
                assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
                printed = result.stdout
            elif words:
                assert words[0] in TOOLS or words[0].startswith("./"), f"{words[0]!r} is not run here: excuse it."
                if not self._has(words[0]):
                    return ""
                printed = subprocess.run(words, input=printed, check=True, capture_output=True, text=True).stdout
        if target:
            Path(target).write_text(printed, encoding="utf-8")
        return "" if target else printed

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
