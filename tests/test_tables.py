"""Tables in files: the numbers come out unchanged, and everything that is wrong is said in one sentence."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anmin.datasets import csv_parts, open_table, read_dataset, write_csv


def _write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def _sentence(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith((".", ")"))
    return text


@settings(deadline=None, max_examples=30)
@given(arrays(np.float64, (3, 2), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_written_numbers_are_read_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, values: np.ndarray
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    write_csv(path, ("a, with a comma", 'b "quoted"'), values)
    table = open_table(path)
    assert table.columns == ("a, with a comma", 'b "quoted"')
    np.testing.assert_array_equal(table.numbers(table.columns), values)


def test_csv_parts_are_what_is_written(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ("y",), [[1.5], [2.0]])
    assert (tmp_path / "t.csv").read_bytes() == b"".join(csv_parts(("y",), [[[1.5]], [[2.0]]])) == b"y\n1.5\n2\n"


def test_failed_write_leaves_no_file_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write_csv(tmp_path / "none" / "t.csv", ("y",), [[1.0]])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_fields_may_be_separated_by_comma_semicolon_or_tab(tmp_path: Path, delimiter: str) -> None:
    path = _write(tmp_path / "t.csv", "a,b,y\n1,2,3\n4,5,6\n".replace(",", delimiter))
    dataset, weights = read_dataset(path, "y")
    np.testing.assert_array_equal(dataset.X, [[1, 2], [4, 5]])
    np.testing.assert_array_equal(dataset.y, [3, 6])
    assert weights is None
    assert dataset.feature_names == ("a", "b")
    assert dataset.source == "t.csv"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_encodings_give_the_same_table(tmp_path: Path, encoding: str) -> None:
    path = _write(tmp_path / "t.csv", "höhe,y\n1,2\n", encoding)
    named = "utf-8" if encoding == "utf-8-sig" else encoding
    assert read_dataset(path, "y", encoding=named)[0].feature_names == ("höhe",)


def test_compressed_csv_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,y\n1,2\n"))
    np.testing.assert_array_equal(read_dataset(path, "y")[0].X, [[1.0]])


def test_several_targets_weights_and_ignored_columns(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", "u,name,a,w,v\n1,x,2,3,4\n5,y,6,7,8\n")
    dataset, weights = read_dataset(path, ["v", "u"], weights="w", ignored=["name"])
    np.testing.assert_array_equal(dataset.X, [[2], [6]])
    np.testing.assert_array_equal(dataset.y, [[4, 1], [8, 5]])
    assert dataset.target_names == ("v", "u")
    assert weights is not None
    np.testing.assert_array_equal(weights, [3, 7])


def test_text_over_several_lines_in_an_ignored_column_is_no_obstacle(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", 'note,a,y\n"one\n, two",1,2\n"three",3,4\n')
    np.testing.assert_array_equal(read_dataset(path, "y", ignored=["note"])[0].X, [[1], [3]])


def test_parquet_file_and_folder_equal_csv(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((10, 3))
    columns = dict(zip("aby", values.T, strict=True))
    pa.parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    folder = tmp_path / "parts"
    folder.mkdir()
    for part in range(2):
        rows = slice(5 * part, 5 * part + 5)
        pa.parquet.write_table(pa.table({k: v[rows] for k, v in columns.items()}), folder / f"{part}.parquet")
    (folder / "notes.md").write_text("not a table")
    for path in (tmp_path / "t.parquet", folder):
        dataset, _ = read_dataset(path, "y")
        np.testing.assert_array_equal(dataset.X, values[:, :2])
        np.testing.assert_array_equal(dataset.y, values[:, 2])


def test_parquet_types_that_are_numbers_are_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "small": pa.array([1, 2], pa.int8()),
            "flag": pa.array([True, False]),
            "money": pa.array([1, 2], pa.decimal128(10, 2)),
            "coded": pa.array([0.5, 0.25]).dictionary_encode(),
            "y": pa.array([1.5, 2.5], pa.float32()),
        }
    )
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    dataset, _ = read_dataset(tmp_path / "t.parquet", "y")
    np.testing.assert_array_equal(dataset.X, [[1, 1, 1, 0.5], [2, 0, 2, 0.25]])
    assert dataset.y.dtype == np.float64


BAD_CSV = {
    "empty": ("", "is empty"),
    "header only": ("a,y\n", "has column names but no rows"),
    "empty first line": ("\na,y\n1,2\n", "first line of .* is empty"),
    "numbers for names": ("1,2\n3,4\n", r"must hold the names of the columns; it holds only numbers \(1,2\)"),
    "column without a name": ("a,,y\n1,2,3\n", "Column 2 of .* has no name"),
    "name twice": ("a,a,y\n1,2,3\n", "two columns named 'a'"),
    "target missing": ("a,b\n1,2\n", "has no column 'y'; the file has the columns 'a', 'b'"),
    "no inputs": ("y\n1\n", "no column besides y; at least one input"),
    "line too short": ("a,y\n1,2\n\n3\n4,5\n", "Line 4 of .* has 1 field where the file has 2 columns"),
    "line too long": ("a,y\n1,2\n3,4,5\n", "Line 3 of .* has 3 fields where the file has 2 columns"),
    "text": ("a,y\n1,2\n3,4\nfive,6\n", "Column 'a' of .* must hold numbers; line 4 has 'five'"),
    "text after a quoted line break": ('a,b,y\n1,"2\n",3\n1,2,z\n', "Column 'y' of .* line 4 has 'z'"),
    "missing values": (
        "a,b,y\n1,,2\n3,NA,4\n5,6,7\n",
        "Column 'b' of .* has 2 missing values in 3 rows, the first in row 1",
    ),
    "not a number": ("a,y\n1,2\nnan,4\n", "Column 'a' of .* has 1 missing value in 2 rows, the first in row 2"),
    "infinity": ("a,y\n1,2\n1,-inf\n", "Column 'y' of .* has 1 infinite value in 2 rows"),
    "several bad columns": ("a,b,y\n,,1\n1,2,3\n", "Column 'a' .*and 1 other column too"),
    "binary": ("a,y\n1,\0\n", "Column 'y' of .* must hold numbers"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_bad_csv_is_explained_in_one_sentence(tmp_path: Path, case: str) -> None:
    text, expected = BAD_CSV[case]
    path = _write(tmp_path / "t.csv", text)
    with pytest.raises(ValueError, match=expected) as error:
        read_dataset(path, "y")
    assert str(path) in _sentence(error)


def test_numbers_are_found_wrong_far_into_a_file(tmp_path: Path) -> None:
    # Beyond the block from which types would be inferred.
    lines = ["1,2"] * 300_000
    lines[250_000] = "1,abc"
    path = _write(tmp_path / "t.csv", "a,y\n" + "\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"Column 'y' of .* line 250002 has 'abc'"):
        read_dataset(path, "y")


def test_wrong_encoding_is_named(tmp_path: Path) -> None:
    for text in ("höhe,y\n1,2\n", "a,y\n1,2\né,3\n"):
        path = _write(tmp_path / "t.csv", text, "latin-1")
        with pytest.raises(ValueError, match="is not utf-8 text; name its encoding"):
            read_dataset(path, "y")


@pytest.mark.parametrize("encoding", ["klingon", "rot13"])
def test_unknown_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    path = _write(tmp_path / "t.csv", "a,y\n1,2\n")
    with pytest.raises(ValueError, match=f"got '{encoding}'|'{encoding}' is not a text encoding"):
        read_dataset(path, "y", encoding=encoding)


def test_missing_file_folder_without_parquet_and_other_kinds(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no file"):
        open_table(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="must hold Parquet files"):
        open_table(tmp_path)
    with pytest.raises(ValueError, match="must be a CSV file"):
        open_table(_write(tmp_path / "t.xlsx", "a,y\n1,2\n"))
    with pytest.raises(ValueError, match="could not be read as Parquet") as error:
        open_table(_write(tmp_path / "t.parquet", "PAR1 is not enough"))
    _sentence(error)


def test_text_and_gaps_in_parquet_are_explained(tmp_path: Path) -> None:
    table = pa.table({"s": ["u", "v"], "a": [1.0, None], "y": [1.0, 2.0]})
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"Column 's' of .* it holds string such as 'u'"):
        read_dataset(tmp_path / "t.parquet", "y")
    with pytest.raises(ValueError, match=r"Column 'a' of .* has 1 missing value in 2 rows, the first in row 2"):
        read_dataset(tmp_path / "t.parquet", "y", ignored=["s"])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"target": []}, "At least one target column"),
        ({"target": ["y", "y"]}, "may be named once"),
        ({"target": "y", "weights": "y"}, "cannot hold both"),
        ({"target": "y", "weights": "w"}, "has no column 'w'"),
        ({"target": "y", "ignored": ["y"]}, "cannot be both used and left out"),
        ({"target": "y", "ignored": ["z"]}, "has no column 'z'"),
    ],
)
def test_contradictory_choices_of_columns_are_refused(tmp_path: Path, options: dict, expected: str) -> None:
    path = _write(tmp_path / "t.csv", "a,y\n1,2\n")
    with pytest.raises(ValueError, match=expected):
        read_dataset(path, **options)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_batches_are_the_numbers_in_pieces(tmp_path: Path, ending: str) -> None:
    values = np.random.default_rng(0).standard_normal((2500, 3))
    path = tmp_path / f"t.{ending}"
    if ending == "csv":
        write_csv(path, ("a", "b", "c"), values)
    else:
        columns = {name: pa.array(column) for name, column in zip("abc", values.T, strict=True)}
        pa.parquet.write_table(pa.table(columns), path, row_group_size=700)
    table = open_table(path)
    for read in (table.batches, table.numbers_in_parts):
        batches = list(read(("c", "a"), 600))
        assert max(map(len, batches)) <= 600
        np.testing.assert_array_equal(np.concatenate(batches), table.numbers(("c", "a")))
    assert table.n_values() == pytest.approx(7500, rel=0 if ending == "parquet" else 2)
    assert table.files() == [path]


def test_single_precision_is_kept_in_batches(tmp_path: Path) -> None:
    columns = {"a": pa.array(np.arange(5, dtype=np.float32)), "b": pa.array(np.arange(5.0))}
    pa.parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    assert next(table.batches(("a",), 10)).dtype == np.float32
    assert next(table.batches(("a", "b"), 10)).dtype == np.float64


def test_a_gap_far_down_is_named_by_its_row(tmp_path: Path) -> None:
    values = np.ones((1000, 2))
    values[777, 1] = np.nan
    columns = {name: pa.array(column) for name, column in zip("ab", values.T, strict=True)}
    pa.parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    assert len(next(table.batches(("a", "b"), 100))) == 100  # gaps are the reader's business
    with pytest.raises(ValueError, match=r"Column 'b' of .* the first in row 778") as error:
        list(table.numbers_in_parts(("a", "b"), 100))
    _sentence(error)


def test_a_ragged_line_far_down_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", "a,b\n" + "1,2\n" * 500 + "1,2,3\n")
    with pytest.raises(ValueError, match=r"Line 502 of .* has 3 fields") as error:
        list(open_table(path).batches(("a",), 100))
    _sentence(error)


def _written(path: Path, **columns: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pa.parquet.write_table(pa.table(columns), path)


def test_names_of_folders_are_columns(tmp_path: Path) -> None:
    # As Spark, Dask and pandas write them: the column is in no file.
    _written(tmp_path / "year=2023" / "share=0.5" / "a.parquet", a=[1.0, 2.0], y=[3.0, 4.0])
    _written(tmp_path / "year=2024" / "share=1e-1" / "a.parquet", a=[5.0], y=[6.0])
    table = open_table(tmp_path)
    assert table.columns == ("a", "y", "year", "share")
    expected = [[0.5, 1, 2023], [0.5, 2, 2023], [0.1, 5, 2024]]
    np.testing.assert_array_equal(table.numbers(("share", "a", "year")), expected)
    np.testing.assert_array_equal(np.concatenate(list(table.batches(("share", "a", "year"), 1))), expected)
    np.testing.assert_array_equal(table.numbers(("year",)), [[2023], [2023], [2024]])
    # A file's own column is what counts.
    _written(tmp_path / "year=2024" / "share=7" / "b.parquet", a=[0.0], y=[0.0], share=[8.0])
    assert table.numbers(("share",))[-1, 0] == 8.0


def test_names_of_folders_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    _written(tmp_path / "site=north%20shore" / "a.parquet", a=[1.0], y=[3.0])
    with pytest.raises(ValueError, match=r"Column 'site' of .* names of folders give, must .*; one is 'north shore'"):
        read_dataset(tmp_path, "y")
    assert read_dataset(tmp_path, "y", ignored=["site"])[0].feature_names == ("a",)
    _written(tmp_path / "site=1" / "a.parquet", a=[1.0], y=[3.0])
    _written(tmp_path / "site=__HIVE_DEFAULT_PARTITION__" / "a.parquet", a=[1.0], y=[3.0])
    (tmp_path / "site=north%20shore" / "a.parquet").unlink()
    with pytest.raises(ValueError, match=r"Column 'site' of .* has 1 missing value in 2 rows, the first in row 2"):
        read_dataset(tmp_path, "y")
    _written(tmp_path / "zone" / "z.parquet", a=[1.0], y=[3.0])
    with pytest.raises(ValueError, match=r"z\.parquet has no column 'site', which the other files of"):
        open_table(tmp_path).numbers(("site",))


def test_files_that_writers_of_tables_leave_for_themselves_are_no_rows(tmp_path: Path) -> None:
    _written(tmp_path / "a.parquet", a=[1.0], y=[3.0])
    for hidden in ("_delta_log/c.parquet", "_temporary/0/b.parquet", ".a.parquet"):
        _written(tmp_path / hidden, version=[1])
    assert open_table(tmp_path).files() == [tmp_path / "a.parquet"]


def test_files_of_a_folder_may_hold_numbers_of_several_types(tmp_path: Path) -> None:
    _written(tmp_path / "0.parquet", a=pa.array([], pa.null()), y=pa.array([], pa.null()))  # an empty frame of pandas
    _written(tmp_path / "1.parquet", a=[1, 2], y=[1.0, 2.0])
    _written(tmp_path / "2.parquet", a=[0.5], y=pa.array(np.array([3], np.float16)))
    _written(tmp_path / "3.parquet", y=[True], a=pa.array([7], pa.uint64()))  # in another order
    dataset, _ = read_dataset(tmp_path, "y")
    np.testing.assert_array_equal(dataset.X, [[1], [2], [0.5], [7]])
    np.testing.assert_array_equal(dataset.y, [1, 2, 3, 1])
    _written(tmp_path / "4.parquet", a=["u"], y=[1.0])
    with pytest.raises(ValueError, match=r"Column 'a' of .* must hold numbers; it holds string such as 'u'"):
        read_dataset(tmp_path, "y")
    _written(tmp_path / "4.parquet", a=pa.array([None], pa.null()), y=[1.0])
    with pytest.raises(ValueError, match=r"Column 'a' of .* has 1 missing value in 5 rows, the first in row 5"):
        read_dataset(tmp_path, "y")
