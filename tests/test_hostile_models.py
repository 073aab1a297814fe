"""Model files that mean harm, or none: each is read, or refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from exports import HOSTILE
from hostile import Victim, assert_polite, damaged, fuzzed, one_of

# Pieces of JSON, or nearly so, to stand anywhere.
PIECES = (
    *("NaN", "Infinity", "-Infinity", "1e999999999", "-1e-999999999", "1e400", "1E308", "5e-324", "-0", "-0.0", "0.1"),
    *("true", "false", "null", "1_000", "0x10", "01", "+1", ".5", "1" * 400, "1" * 5000, "0." + "1" * 5000),
    *('""', '"1"', '"\\ud800"', '"\\u0000\\u001b[31m\\u202e"', '"\x1b"', '"' + "x" * 20_000 + '"', "'a'"),
    *("{}", "[]", "[[]]", "[[[1]]]", "[[1],[1,2]]", "[1,[1]]", '{"a":1}', '{"0":[1]}', "[null]", "[[true]]"),
    *("[" * 60 + "]" * 60, "[" * 900 + "]" * 900, "[" * 9_000 + "]" * 9_000, '{"a":' * 900 + "1" + "}" * 900),
    *("[" + "1," * 5_000 + "1]", "[" + "[]," * 5_000 + "[]]", "[[1e300,-1e300]]", '["a","a"]', '["\\udfff","y"]'),
)
KEYS = ("schema", "version", "negative_slope", "feature_names", "output_names", "A", "B", "b0")
DATA = b"x0,x1,x2,y,z\n" + b"".join(b"%d,%d,%d,%d,%d\n" % (i, i % 3, -i, i % 5, 2) for i in range(12))


@st.composite
def documents(draw: Any) -> list[tuple[str, Any]]:
    """Draw the keys and values of a network: 0 to 3 inputs, 0 to 3 neurons, 1 or 2 outputs, often with odd names."""
    d, h, c = draw(st.integers(0, 3)), draw(st.integers(0, 3)), draw(st.integers(1, 2))
    weight = one_of(st.floats(-10, 10), st.integers(-5, 5), 1e308, -1e-308, 1e200)

    def matrix(rows: int, columns: int) -> list:
        return [[draw(weight) for _ in range(columns)] for _ in range(rows)]

    odd = one_of(st.text(max_size=8), st.sampled_from(HOSTILE), "x0", "y", "=1+1", "\x1b[31m", "../../x")
    x = [draw(odd) if draw(st.integers(0, 5)) == 5 else f"x{j}" for j in range(d)]
    y = [draw(odd) if draw(st.integers(0, 5)) == 5 else name for name in ("y", "z")[:c]]
    return [
        ("schema", "anmin.ReLUNetwork"),
        ("version", 1),
        ("negative_slope", draw(st.sampled_from([0.0, 0, 0.1]))),
        ("feature_names", None if draw(st.integers(0, 9)) == 9 else x),
        ("output_names", None if draw(st.integers(0, 9)) == 9 else y),
        ("A", matrix(d + 1, h)),
        ("B", matrix(h, c)),
        ("b0", matrix(1, c)[0]),
    ]


def _places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    if isinstance(value, list):
        for k, item in enumerate(value):
            yield from _places(item, (*path, k))


def _text(value: Any, replaced: dict[tuple, str], path: tuple = ()) -> str:
    if path in replaced:
        return replaced[path]
    if isinstance(value, list):
        return "[" + ",".join(_text(item, replaced, (*path, k)) for k, item in enumerate(value)) + "]"
    return json.dumps(value)


@st.composite
def model_files(draw: Any) -> bytes:
    """Draw the bytes of a model file with parts that were replaced, removed, doubled, or damaged."""
    document = draw(documents())
    places = [(key, *path) for key, value in document for path in _places(value)]
    piece = one_of(st.sampled_from(PIECES), st.sampled_from(PIECES), st.text(max_size=4).map(json.dumps))
    replaced = draw(one_of({}, st.dictionaries(st.sampled_from(places), piece, max_size=2)))
    pairs = [f"{json.dumps(key)}:{_text(value, replaced, (key,))}" for key, value in document]
    if draw(st.integers(0, 9)) == 9:
        pairs.remove(draw(st.sampled_from(pairs)))
    if draw(st.integers(0, 9)) == 9:
        pairs.append(f"{json.dumps(draw(st.sampled_from([*KEYS, 'other'])))}:{draw(piece)}")
    whole = ("{" + ",".join(pairs) + "}").encode()
    return draw(
        one_of(*[whole] * 6, damaged(whole), damaged(whole), b"\xef\xbb\xbf" + whole, whole.decode().encode("utf-16"))
    )


@fuzzed(300)
@given(content=one_of(model_files(), model_files(), model_files(), st.binary(max_size=60)))
def test_a_model_file_is_loaded_or_refused(victim: Victim, content: bytes) -> None:
    files = {"m.json": content}
    assert_polite(victim, ["load_model", "m.json"], files)


COMMANDS = (
    ("predict", "m.json", "t.csv", "-o", "p.csv"),
    ("evaluate", "m.json", "t.csv"),
    ("evaluate", "m.json", "t.csv", "-y", "y"),
    *(("export", "m.json", "--to", to) for to in ("json", "c", "glsl", "javascript", "onnx")),
    ("export", "m.json", "--to", "c", "--number", "fixed", "--data", "t.csv"),
)


@fuzzed(90)
@given(content=model_files(), command=st.sampled_from(COMMANDS))
def test_commands_take_or_refuse_a_model_file(victim: Victim, content: bytes, command: tuple[str, ...]) -> None:
    files = {"m.json": content, "t.csv": DATA}
    assert_polite(victim, command, files)


@fuzzed(5)
@given(content=model_files(), rows=st.booleans())
def test_a_model_file_is_reported_or_refused(victim: Victim, content: bytes, rows: bool) -> None:
    files = {"m.json": content, "t.csv": DATA}
    assert_polite(victim, ["report", "m.json", *(["t.csv"] if rows else [])], files)
