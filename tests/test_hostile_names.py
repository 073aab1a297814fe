"""Names that mean harm: they go through everything unchanged, and can do nothing to what is written or shown."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmin import ReLUNetwork
from anmin.cli.terminal import header, plain
from anmin.datasets import csv_parts, open_table
from anmin.export import to_c, to_glsl, to_javascript, to_onnx
from anmin.export.text import identifier
from exports import HOSTILE, needs_gcc
from hostile import Victim, assert_polite, fuzzed, one_of

NAMES = (
    *(name for name in HOSTILE if name),
    *("=1+1", "+1", "-1", "@SUM(A1)", "a;=1+1", "a\t=1+1", 'a";@x', "＝1+1", "|=x", "x\n=1", "--help", "-y", "a,b"),
    *(
        "../../x",
        "C:\\x",
        "\x00",
        "\x1b]0;x\x07",
        "\x1b[2J",
        "\u202egnp",
        "a\rb",
        "\x9b31m",
        "\ufeffx",
        "\u2028",
        "[/]",
    ),
    *(
        "[bold]x[/bold]",
        "{0}",
        "%n",
        "$x$",
        "\\frac{",
        "${jndi:x}",
        "</title><script>x</script>",
        "<img src=x onerror=y>",
    ),
    *(
        '"><b>',
        "' onload='",
        "<!--",
        "]]>",
        "&lt;",
        "double",
        "__proto__",
        "constructor",
        "main",
        "x" * 3000,
        "_x",
        "é" * 99,
    ),
)
PLAIN = [f"name{k}" for k in range(9)]
names = one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), st.text(max_size=12))


def _is_a_column(name: str) -> bool:
    return (
        "\x00" not in name
        and bool(name.strip())
        and name.strip() == name
        and name[0] != "\ufeff"
        and not re.fullmatch(r"[-+0-9.einfatyxNIF_\s]+", name)
    )


columns = st.lists(names.filter(_is_a_column), min_size=3, max_size=3, unique=True)


def table_of(header: list[str]) -> bytes:
    values = np.random.default_rng(0).standard_normal((20, 3)).round(2)
    values[:, 2] = np.abs(values[:, 0])
    return b"".join(csv_parts(header, [values]))


class _Elements(HTMLParser):
    """Collects the elements and attributes of a page, without the pictures and descriptions in them, and its text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[Any] = []
        self.text = ""
        self.feed(page.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list) -> None:
        told = ("src", "srcset", "alt", "aria-label", "style")
        self.found.append((tag, [(key, "" if key in told else value) for key, value in attrs]))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(tag)

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", data))

    def handle_data(self, data: str) -> None:
        self.text += data


@fuzzed(4)
@given(header=columns)
def test_a_table_of_any_names_is_fitted_predicted_and_exported(victim: Victim, header: list[str]) -> None:
    files = {"t.csv": table_of(header)}
    fitted = assert_polite(
        victim,
        ["fit", "t.csv", f"--target={header[2]}", "-n", "2", "--max-iter", "2", "--alpha", "1", "--out", "m"],
        files,
    )
    assert fitted.code == 0, fitted.error
    document = json.loads(fitted.files["m"])
    assert (document["feature_names"], document["output_names"]) == (header[:2], header[2:])
    files |= {"m": fitted.files["m"]}
    for command in (
        ["predict", "m", "t.csv", "--out", "p.csv"],
        ["evaluate", "m", "t.csv"],
        *(["export", "m", "--to", to, "--out", "e", "--name", header[0]] for to in ("c", "json")),
        ["compare", "t.csv", f"--target={header[2]}", "--rivals", "ridge", "--splits", "1", "-q", "--out", "c.md"],
    ):
        outcome = assert_polite(victim, command, files)
        assert outcome.code == 0, (command, outcome.error)
        assert "It was not run" not in outcome.out
        assert "failed" not in outcome.out
        if command[0] == "predict":
            assert_no_formula(outcome.files["p.csv"].decode())
            assert len(outcome.files["p.csv"].splitlines()) == 21


def assert_no_formula(text: str) -> None:
    """Check that no cell is a formula, or the beginning of one, by whatever separator a spreadsheet goes."""
    numbers = re.compile(r"-?[0-9.]+(e[-+]?[0-9]+)?")
    for mark in (",", ";", "\t", "|"):
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark):
            for cell in row:
                assert not re.match(r"\s*[=+\-@＝＋－＠]", cell) or numbers.fullmatch(cell), (mark, cell)


@fuzzed(300)
@given(given_names=st.lists(names, min_size=1, max_size=4))
def test_a_header_is_plain_and_holds_no_formula(victim: Victim, given_names: list[str]) -> None:
    made = header(given_names)
    text = b"".join(csv_parts(made, [])).decode()
    assert next(csv.reader(io.StringIO(text, newline=""))) == list(made)
    assert_no_formula(text)
    assert text[:-1].isprintable()
    assert all(
        name == one
        for name, one in zip(given_names, made, strict=True)
        if re.fullmatch(r"[\w .()/%-]*", name, re.A) and name[:1].isalnum()
    )


@fuzzed(300)
@given(text=one_of(st.text(), st.sampled_from(NAMES), st.text(st.characters(categories=["Cs", "Cc", "Cf", "Lu"]))))
def test_plain_text_is_printable_and_tells_all(victim: Victim, text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    shown.encode()
    if text.isprintable():
        assert shown == text
    elif "\\" not in text:
        escapes = re.sub(r"[^\x00-\x7f]", lambda found: found[0].encode("unicode_escape").decode(), shown)
        assert escapes.encode().decode("unicode_escape") == text


@pytest.fixture(scope="module")
def plain_page(victim: Victim) -> Callable[[bool], _Elements]:
    """Return what makes the report of a fit, or of a model, whose names are plain; each once."""
    return functools.cache(lambda of_fit: _Elements(_page(victim, PLAIN[:3], of_fit)))


def _page(victim: Victim, header: list[str], of_fit: bool) -> bytes:
    fit = ["fit", "t.csv", f"--target={header[2]}", "-n", "2", "--max-iter", "2", "--alpha", "0.1", "--out", "m"]
    done = assert_polite(victim, [*fit, "--report", "r"] if of_fit else fit, {"t.csv": table_of(header)})
    if not of_fit:
        done = assert_polite(victim, ["report", "m", "t.csv", "--out", "r"], done.files)
    assert done.code == 0, done.error
    return done.files["r"]


@fuzzed(1)
@given(header=columns, of_fit=st.booleans())
def test_names_add_nothing_to_a_report(
    victim: Victim, plain_page: Callable[[bool], _Elements], header: list[str], of_fit: bool
) -> None:
    page = _Elements(_page(victim, header, of_fit))
    assert page.found == plain_page(of_fit).found
    assert header[0][:20] in page.text or not header[0].isprintable()


@fuzzed(100)
@given(feature_names=st.lists(names, min_size=2, max_size=2), output=names)
def test_names_come_back_from_the_model_file_and_onnx(victim: Victim, feature_names: list[str], output: str) -> None:
    network = ReLUNetwork(np.eye(3, 2), np.ones((2, 1)), [0.5], feature_names=feature_names, output_names=[output])
    assert json.loads(network.to_json())["feature_names"] == feature_names
    outcome = victim.run(["load_model", "m.json"], {"m.json": network.to_json().encode()})
    assert (outcome.code, outcome.traceback) == (0, "")
    assert outcome.files["again.json"] == network.to_json().encode()
    model = to_onnx(network)
    found = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert found == {"feature_names": feature_names, "output_names": [output]}
    assert {node.name for node in model.graph.input} == {"x"}


@needs_gcc
@fuzzed(20)
@given(feature_names=st.lists(names, min_size=2, max_size=2), output=names, name=names)
def test_names_do_nothing_to_source_text(
    victim: Victim, tmp_path_factory: Any, feature_names: list[str], output: str, name: str
) -> None:
    arrays = np.eye(3, 2), np.ones((2, 1)), [0.5]
    network = ReLUNetwork(*arrays, feature_names=feature_names, output_names=[output])
    anonymous = ReLUNetwork(*arrays, feature_names=PLAIN[:2], output_names=PLAIN[2:3])
    for target in (to_c, to_glsl, to_javascript):
        text, expected = target(network, name), target(anonymous, name)
        assert text.isascii()
        # Only comments differ, and they are as many lines.
        assert [_code(line) for line in text.splitlines()] == [_code(line) for line in expected.splitlines()]
    path = tmp_path_factory.mktemp("c") / "named.c"
    path.write_text(
        to_c(network, name) + f"int main(void) {{ float x[2] = {{0}}, y[1]; {identifier(name)}(x, y); return 0; }}\n"
    )
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]
    subprocess.run(["gcc", *flags, str(path)], check=True, capture_output=True)


def _code(line: str) -> str:
    return line if not re.match(r" \* |// ", line) else line[:3]


@pytest.mark.parametrize("name", ["\x1b[31m\u202e\x07", "\udcff", "[/x]", "x" * 240])
def test_hostile_paths_and_arguments_are_shown_plainly(victim: Victim, name: str) -> None:
    path = name.replace("/", "")
    files = {"t.csv": table_of(PLAIN[:3]), f"{path}m": b"{}"}
    if name == "\udcff" and not victim.run(["load_model", "x"], files).files:
        pytest.skip("the file system has no such names")
    for command in (
        ["fit", f"{name}.csv", "-y", name],
        ["fit", "t.csv", "-y", name],
        ["fit", "t.csv", f"--{name}"],
        [name],
        ["predict", f"{path}m", "t.csv"],
        ["export", f"{path}m", "--to", name],
        ["compare", "t.csv", "-y", "name2", "--rivals", name],
    ):
        assert assert_polite(victim, command, files).code == 2
    fit = ["fit", "t.csv", "-y", "name2", "-n", "1", "--alpha", "1", "--out", f"{path}o", "--checkpoint", f"{path}c"]
    outcome = assert_polite(victim, fit, {"t.csv": files["t.csv"]})
    assert outcome.code == 0, outcome.error
    assert set(outcome.files) == {"t.csv", f"{path}o", f"{path}c"}


def test_letters_that_a_terminal_lacks_are_no_error(tmp_path: Path) -> None:
    (tmp_path / "größe.csv").write_bytes(table_of(["größe", "日", "°"]))
    command = [sys.executable, "-m", "anmin", "fit", "größe.csv", "-y", "°", "-n", "1", "--alpha", "1"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"gr\\xf6\\xdfe" in done.stdout


@pytest.mark.parametrize("encoding", ["utf-7", "raw_unicode_escape"])
def test_half_a_character_is_no_name(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(ValueError, match=r"feature_names must be of whole characters; '\\ud800' has half of one"):
        ReLUNetwork(np.eye(2, 2), np.ones((2, 1)), [0.5], feature_names=["\ud800"])
    (tmp_path / "t.csv").write_bytes({"utf-7": b"+2AA-,b\n1,2\n", "raw_unicode_escape": b"\\ud800,b\n1,2\n"}[encoding])
    with pytest.raises(ValueError, match="is not"):
        open_table(tmp_path / "t.csv", encoding=encoding).numbers(["b"])
