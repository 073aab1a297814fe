"""Checkpoints that mean harm, or none: a fit goes on from them, or refuses them in one sentence."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import MB, Victim, assert_polite, damaged, fuzzed, one_of

FIT = ["fit", "t.csv", "-y", "y", "-n", "2", "--alpha", "0.001", "-q", "--checkpoint", "c", "--max-iter"]
_X = np.random.default_rng(0).standard_normal((60, 2)).round(3)
TABLE = "x0,x1,y\n" + "".join(f"{a},{b},{abs(a) + max(b, 0)}\n" for a, b in _X)
FILES = {"t.csv": TABLE.encode()}
VALUES = (
    None,
    True,
    -1,
    0,
    7,
    10**18,
    10**400,
    0.5,
    float("nan"),
    float("inf"),
    -1e308,
    "",
    "x",
    [],
    {},
    [1],
    {"tuple": []},
)
TREES = (
    *(
        {"known": "problem"},
        {"known": "?"},
        {"same": 0},
        {"same": 99},
        {"list": [None]},
        {"set": ["a", 1]},
        {"dict": {}},
    ),
    *(
        {"scalar": [0, []]},
        {"array": [0, [0]], "writeable": True, "number": 99},
        {"member": "CONVERGED", "of": "Status"},
    ),
    *({"member": "mro", "of": "Status"}, {"is": "object", "fields": {}, "number": 98}, {"is": "Problem", "fields": {}}),
    *({"is": "Huber", "fields": {"delta": "x"}, "number": 97}, {"array": [-1, []], "writeable": False, "number": 96}),
)


class Parts:
    """The tree and the arrays of a checkpoint."""

    def __init__(self, content: Any, arrays: dict[str, np.ndarray]) -> None:
        self.content, self.arrays = content, arrays

    def packed(self, save: Any = np.savez) -> bytes:
        """Return the file."""
        out = io.BytesIO()
        save(out, content=np.frombuffer(json.dumps(self.content).encode(), np.uint8), **self.arrays)
        return out.getvalue()


@pytest.fixture(scope="module")
def parts(victim: Victim) -> Parts:
    """Return those of a fit that ended early."""
    outcome = victim.run([*FIT, "5"], FILES)
    assert (outcome.code, outcome.traceback) == (0, "")
    with np.load(io.BytesIO(outcome.files["c"])) as stored:
        arrays = {name: stored[name] for name in stored.files}
    content = json.loads(arrays.pop("content").tobytes())
    assert content["at"] is not None
    parts = Parts(content, arrays)
    assert victim.run([*FIT, "12", "--resume"], FILES | {"c": parts.packed()}).code == 0
    return parts


def places(tree: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the way to every part of a tree."""
    if path:
        yield path
    for key, item in tree.items() if isinstance(tree, dict) else enumerate(tree if isinstance(tree, list) else ()):
        yield from places(item, (*path, key))


def replaced(tree: Any, path: tuple, value: Any) -> Any:
    """Return a tree with another value at one place."""
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


@fuzzed(50)
@given(data=st.data())
def test_a_fit_goes_on_or_refuses_the_checkpoint(victim: Victim, parts: Parts, data: st.DataObject) -> None:
    content, arrays = parts.content, parts.arrays
    draw = data.draw
    if draw(st.integers(0, 3)):
        at = draw(st.sampled_from(list(places(content))))
        content = replaced(content, at, draw(st.sampled_from([*VALUES, *TREES])))
    else:
        name = draw(st.sampled_from(list(arrays)))
        values = arrays[name].astype(draw(st.sampled_from(["f8", "f4", "i8", "?", "c16", "U8", "S4", "M8[s]", "V3"])))
        shape = draw(st.sampled_from([values.shape, (), (0,), (1, 1), (2**20, 0), (3, 2, 1)]))
        arrays = arrays | {name: np.resize(values, shape)}
    whole = Parts(content, arrays).packed()
    files = FILES | {"c": draw(one_of(whole, whole, whole, damaged(whole)))}
    assert_polite(victim, [*FIT, "12", "--resume"], files)


def _archive(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def _array(shape: str, size: int = 8, descr: str = "'<f8'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(size)


def _lying_on_one_another() -> bytes:
    """Return an archive whose directory names the same bytes many times, under names of the same length."""
    whole = _archive(("content.npy", _array("(1048576,)", 8 * MB)))
    place = whole.index(b"PK\x01\x02")
    directory, end = whole[place : whole.index(b"PK\x05\x06")], bytearray(whole[whole.index(b"PK\x05\x06") :])
    many = b"".join(directory.replace(b"content.npy", b"%07d.npy" % k) for k in range(100))
    end[8:12] = (101).to_bytes(2, "little") * 2
    end[12:16] = len(directory + many).to_bytes(4, "little")
    return whole[:place] + directory + many + bytes(end)


BOMBS = {
    "compressed": lambda: _archive(
        ("content.npy", _array(f"({40 * MB},)", 320 * MB)), compression=zipfile.ZIP_DEFLATED
    ),
    "claims": lambda: _archive(("content.npy", _array("(1000000000000,)"))),
    "claims of no bytes": lambda: _archive(("content.npy", _array("(1000000000000,)", descr="'V0'"))),
    "negative": lambda: _archive(("content.npy", _array("(-1, -1000000000000)"))),
    "overflows": lambda: _archive(("content.npy", _array("(4294967296, 4294967296)"))),
    "objects": lambda: _archive(("content.npy", _array("(1,)", descr="'|O'"))),
    "an expression": lambda: _archive(("content.npy", _array("(__import__('os').system('touch sprung'),)"))),
    "a deep header": lambda: _archive(("content.npy", _array("(" * 9000))),
    "other paths": lambda: _archive(("../../content.npy", _array("(1,)")), ("/tmp/content.npy", _array("(1,)"))),
    "overlapping": _lying_on_one_another,
    "deep": lambda: _archive(("content.npy", _array("(1000000,)", 0, "'|u1'") + b"[" * 10**6)),
}


@pytest.mark.parametrize("case", BOMBS)
def test_bombs_are_refused(victim: Victim, case: str) -> None:
    files = FILES | {"c": BOMBS[case]()}
    outcome = assert_polite(victim, [*FIT, "12", "--resume"], files, allowance=30 * MB)
    assert "is not a checkpoint of anmin, or is damaged" in outcome.error
