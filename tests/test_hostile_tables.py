"""Tables that mean harm, or none: CSV and Parquet files are read, or refused in one sentence."""

from __future__ import annotations

import bz2
import gzip
import io
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmin import ReLUNetwork
from anmin.datasets import open_table, write_csv
from exports import HOSTILE
from hostile import ALLOWANCE, MB, Victim, assert_polite, damaged, fuzzed, one_of

CELLS = (
    *(
        "1_000",
        "0x10",
        "inf",
        "-Infinity",
        "nan",
        "NULL",
        "N/A",
        "1e400",
        "1e-400",
        "1,5",
        "1.234,5",
        "１２",
        "٣",
        "--1",
    ),
    *(
        "1e",
        "+1",
        ".5",
        "5.",
        " 1 ",
        "\t1",
        "1\x00",
        "\x00",
        '"',
        '""',
        "'1'",
        "=1+1",
        "@x",
        "\x1b[31m",
        "\u202e1",
        "true",
    ),
    *("9" * 400, "0." + "1" * 400, "1e999999999999999999999", "x" * 3000, "a\nb", "a\rb", "\ufeff1", "\ud7ff", "${x}"),
)
NAMES = (*HOSTILE, *CELLS, "x0", "y", "y ", " y", "[red]x[/red]", "[/]", "../../x", "C:\\x", "<b>", "x" * 500, "a.b")
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-32", "utf-7")
OTHER_ENCODINGS = (
    *ENCODINGS,
    "idna",
    "rot13",
    "hex",
    "undefined",
    "raw_unicode_escape",
    "../../x",
    "",
    "\x00",
    "u" * 200,
)
_MODEL = ReLUNetwork(np.eye(3, 2), np.ones((2, 1)), np.zeros(1), feature_names=("x0", "x1"), output_names=("y",))
MODEL = _MODEL.to_json().encode()


@st.composite
def csv_files(draw: Any) -> tuple[bytes, str]:
    """Draw the bytes of a CSV file, most often nearly right, and the encoding to read it in."""
    number = one_of(st.floats(-1e6, 1e6).map(repr), st.integers(-9, 9).map(str))
    odd = one_of(st.sampled_from(CELLS), st.text(max_size=5))
    names = ["x0", "x1", "y"]
    for _ in range(draw(st.integers(0, 2))):
        names.insert(draw(st.integers(0, len(names))), draw(one_of(st.sampled_from(NAMES), st.text(max_size=8))))
    n_rows = draw(st.sampled_from([12, 12, 12, 12, 5, 1, 0]))
    cells = [[draw(number) for _ in names] for _ in range(n_rows)]
    for _ in range(draw(st.sampled_from([0, 0, 1, 2])) if n_rows else 0):
        row = draw(st.sampled_from(cells))
        match draw(st.sampled_from(["cell", "more", "less"])):
            case "cell" if row:
                row[draw(st.integers(0, len(row) - 1))] = draw(odd)
            case "more":
                row.append("1")
            case "less" if row:
                row.pop()
    mark, end = (
        draw(st.sampled_from([",", ",", ",", ";", "\t", "|"])),
        draw(st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n"])),
    )
    quoted = draw(st.sampled_from(["always", "where needed", "never"]))

    def field(text: str) -> str:
        needed = any(c in text for c in (mark, '"', "\n", "\r"))
        if quoted == "always" or (needed and quoted == "where needed"):
            return '"' + text.replace('"', '""') + '"'
        return text

    text = end.join(mark.join(map(field, row)) for row in [names, *cells]) + draw(st.sampled_from([end, end, ""]))
    encoding = draw(st.sampled_from(ENCODINGS))
    whole = text.encode(encoding, "replace")
    return draw(one_of(whole, whole, whole, damaged(whole))), encoding


@fuzzed(250)
@given(file=one_of(csv_files(), csv_files(), st.tuples(st.binary(max_size=200), st.sampled_from(OTHER_ENCODINGS))))
def test_a_csv_file_is_read_or_refused(victim: Victim, file: tuple[bytes, str]) -> None:
    files = {"t.csv": file[0]}
    assert_polite(victim, ["read_table", "t.csv", file[1]], files)


@fuzzed(60)
@given(
    file=csv_files(),
    packed=st.sampled_from([(".gz", partial(gzip.compress, mtime=0)), (".bz2", bz2.compress)]),
    data=st.data(),
)
def test_a_compressed_file_is_read_or_refused(victim: Victim, file: tuple[bytes, str], packed: Any, data: Any) -> None:
    ending, pack = packed
    whole = pack(file[0])
    files = {f"t.csv{ending}": data.draw(one_of(damaged(whole), whole))}
    assert_polite(victim, ["read_table", f"t.csv{ending}", file[1]], files)


COMMANDS = (
    ("predict", "m.json", "t.csv", "-o", "p.csv"),
    ("evaluate", "m.json", "t.csv"),
    ("export", "m.json", "--to", "json", "--data", "t.csv"),
    *(("fit", "t.csv", "-y", target, "-n", "1", "--alpha", "1") for target in ("y", "x1,y", "z", "")),
    ("fit", "t.csv", "-y", "y", "-n", "1", "--max-iter", "1"),
    ("fit", "t.csv", "-y", "y", "-n", "2", "--max-iter", "2", "--alpha", "0.1", "--weights", "x0"),
    ("compare", "t.csv", "-y", "y", "-n", "1", "--rivals", "ridge", "--splits", "1", "-q", "-o", "c.json"),
)


@fuzzed(120)
@given(file=csv_files(), command=st.sampled_from(COMMANDS))
def test_commands_take_or_refuse_a_csv_file(victim: Victim, file: tuple[bytes, str], command: tuple[str, ...]) -> None:
    files = {"t.csv": file[0], "m.json": MODEL}
    assert_polite(victim, [*command, "--encoding", file[1]], files)


@fuzzed(3)
@given(file=csv_files(), command=st.sampled_from(["report m.json t.csv", "fit t.csv -y y -n 1 --alpha 1 --report r"]))
def test_tables_are_reported_or_refused(victim: Victim, file: tuple[bytes, str], command: str) -> None:
    files = {"t.csv": file[0], "m.json": MODEL}
    assert_polite(victim, [*command.split(), "--encoding", file[1]], files)


_N = 12
_COLUMNS = (
    pa.array(range(_N), pa.int8()),
    pa.array(range(_N), pa.uint64()),
    pa.array([2**64 - 1] * _N, pa.uint64()),
    pa.array(np.linspace(0, 1, _N), pa.float32()),
    pa.array(np.arange(_N, dtype=np.float16)),
    pa.array([Decimal("1.5")] * _N, pa.decimal128(5, 2)),
    pa.array([Decimal(10) ** 70] * _N, pa.decimal256(76, 2)),
    pa.array([True, None] * (_N // 2)),
    pa.array([None] * _N),
    pa.array([float("inf")] * _N),
    pa.array([1.0, 2.0] * (_N // 2)).dictionary_encode(),
    pa.array(["a", "b"] * (_N // 2)).dictionary_encode(),
    pa.array(["\x1b[31m" * 9, None] * (_N // 2)),
    pa.array([b"\xff\x00"] * _N),
    pa.array([[1.0], []] * (_N // 2)),
    pa.array([{"x0": 1.0}] * _N),
    pa.array([[("a", 1)]] * _N, pa.map_(pa.string(), pa.int8())),
    pa.array([2**62] * _N, pa.timestamp("us")),
    pa.array([2**60] * _N, pa.duration("s")),
    pa.array([-(2**31)] * _N, pa.date32()),
)


def _parquet(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out, **options)
    return out.getvalue()


@st.composite
def parquet_files(draw: Any) -> bytes:
    """Draw the bytes of a Parquet file: numbers, with a column or two that may be anything, perhaps damaged."""
    names, columns = ["x0", "x1", "y"], [pa.array(np.arange(_N) ** k, pa.float64()) for k in (1.0, 2.0, 0.5)]
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(names)))
        columns.insert(place, draw(st.sampled_from(_COLUMNS)))
        names.insert(place, draw(one_of(st.sampled_from(["x2", "y", "", "x0", *NAMES]), st.text(max_size=8))))
    if draw(st.booleans()):
        columns[0], columns[-1] = draw(st.sampled_from(_COLUMNS)), columns[0]
    whole = _parquet(
        pa.table(columns, names=names).slice(0, draw(st.sampled_from([_N, 1, 0]))),
        compression=draw(st.sampled_from(["none", "snappy", "zstd"])),
        row_group_size=draw(st.sampled_from([100, 5])),
    )
    return draw(one_of(whole, damaged(whole), damaged(whole)))


@fuzzed(200)
@given(content=one_of(parquet_files(), parquet_files(), parquet_files(), st.binary(max_size=100)))
def test_a_parquet_file_is_read_or_refused(victim: Victim, content: bytes) -> None:
    files = {"t.parquet": content}
    assert_polite(victim, ["read_table", "t.parquet"], files)


@fuzzed(50)
@given(content=parquet_files(), command=st.sampled_from(COMMANDS))
def test_commands_take_or_refuse_a_parquet_file(victim: Victim, content: bytes, command: tuple[str, ...]) -> None:
    files = {"t.parquet": content, "m.json": MODEL}
    arguments = [argument.replace("t.csv", "t.parquet") for argument in command]
    assert_polite(victim, arguments, files)


def _dictionary_of_long_texts() -> bytes:
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * MB]))
    return _parquet(pa.table({"x0": texts, "x1": np.zeros(100_000), "y": np.zeros(100_000)}))


def _zipped(opening: bytes, piece: bytes, count: int) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as file:
        file.write(opening)
        for _ in range(count):
            file.write(piece)
    return out.getvalue()


HEADER = b"x0,x1,y\n"
LARGE = {
    "no end of a line": ("t.csv.gz", lambda: _zipped(b"", bytes(MB), 150), "Line 1 of t.csv.gz is too long"),
    "no end of a row": ("t.csv.gz", lambda: _zipped(HEADER, b"1" * MB, 150), "Line 2 of t.csv.gz is too long"),
    "no end of a text": ("t.csv", lambda: HEADER + b'1,2,"' + b"a\n" * (20 * MB), "larger than field limit"),
    "no end of a name": ("t.csv", lambda: b'x0,x1,"' + b"a\n" * (20 * MB), "could not be read as CSV"),
    "no end of the commas": ("t.csv", lambda: HEADER + b"," * (20 * MB), "Line 2 of t.csv is too long"),
    "nothing but empty lines": ("t.csv.gz", lambda: _zipped(HEADER, b"\n" * MB, 100), "no rows"),
    "many columns": ("t.csv", lambda: ",".join(f"x{j}" for j in range(20_000)).encode() + b",y\n1,2\n", "has 2 fields"),
    "many equal columns": ("t.csv", lambda: b"x," * 500_000 + b"y\n1,2\n", "two columns named 'x'"),
    "a long text in every row": ("t.parquet", _dictionary_of_long_texts, "must hold numbers; it holds string such as"),
}


@pytest.mark.parametrize("case", LARGE)
def test_little_memory_is_taken_by_what_is_large_for_nothing(victim: Victim, case: str) -> None:
    name, make, sentence = LARGE[case]
    files = {name: make()}
    most = ALLOWANCE - 90 * len(files[name])  # some copies of the file itself, at most
    assert (
        sentence in assert_polite(victim, ["evaluate", "m.json", name], files | {"m.json": MODEL}, allowance=most).error
    )


@pytest.mark.parametrize("ending", [".csv.gz", ".csv", ".parquet"])
def test_more_numbers_than_memory_holds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    path, values = tmp_path / f"t{ending}", np.ones((100_000, 3))
    if ending == ".parquet":
        path.write_bytes(_parquet(pa.table(list(values.T), names=["x0", "x1", "y"])))
        assert path.stat().st_size < 10_000
    else:
        path.write_bytes((gzip.compress if ending == ".csv.gz" else bytes)(HEADER + b"1,1,1\n" * len(values)))
    table = open_table(path)
    np.testing.assert_array_equal(table.numbers(table.columns), values)
    monkeypatch.setattr("anmin.datasets.tables.available_bytes", lambda: MB)
    with pytest.raises(ValueError, match=r"holds more numbers than fit into memory, of which 1\.05 MB are free"):
        table.numbers(table.columns)
    assert sum(map(len, table.numbers_in_parts(table.columns))) == len(values)


def test_names_may_go_over_several_lines(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["a\nb", 'c"\r\n,d', "e"], [[1, 2, 3], [4, 5, 6]])
    for ending in ("csv", "txt"):
        (tmp_path / f"u.{ending}").write_bytes((tmp_path / "t.csv").read_bytes())
        table = open_table(tmp_path / f"u.{ending}")
        assert table.columns == ("a\nb", 'c"\r\n,d', "e")
        np.testing.assert_array_equal(table.numbers(["e", "a\nb"]), [[3, 1], [6, 4]])


def test_a_column_that_is_asked_for_twice_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["a", "b"], [[1, 2]])
    with pytest.raises(ValueError, match=r"The column 'a' of .* is asked for twice"):
        open_table(tmp_path / "t.csv").numbers(["a", "b", "a"])


def test_files_of_a_folder_with_other_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "1.parquet").write_bytes(_parquet(pa.table({"a": [1.0], "b": [2.0]})))
    for others in (
        pa.table({"a": [1.0]}),
        pa.table([[1.0], [2.0], [3.0]], names=["a", "b", "b"]),
        pa.table({"a": ["x"], "b": [1.0]}),
    ):
        (tmp_path / "2.parquet").write_bytes(_parquet(others))
        table = open_table(tmp_path)
        for read in (table.numbers, table.numbers_in_parts):
            with pytest.raises(
                ValueError, match=r"has no column 'b'|two columns named|must hold numbers|missing value"
            ):
                list(read(("a", "b")))
