"""Finding the rows that a command is to work on: in a file, or by the name of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from anmin import datasets
from anmin.cli.standard_input import STANDARD_INPUT, as_stream
from anmin.datasets import Dataset
from anmin.memory import available_bytes
from anmin.network import ReLUNetwork

if TYPE_CHECKING:
    from anmin.rows.files import TableRows

_HELD_BYTES = 2**30  # of numbers that are read at once


class Columns(Protocol):
    """Named columns of numbers: a table in a file, or a data set."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        ...

    def require(self, names: Sequence[str]) -> None:
        """Raise ValueError unless there are these columns."""
        ...

    def numbers(self, names: Sequence[str]) -> NDArray:
        """Return columns as float64 (N, number of names)."""
        ...

    def numbers_in_parts(self, names: Sequence[str]) -> Iterator[NDArray]:
        """Yield the same part by part."""
        ...


@dataclass(frozen=True)
class NamedColumns:
    """The columns of a data set of the catalogue, inputs first."""

    dataset: Dataset

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the inputs and targets."""
        return self.dataset.feature_names + self.dataset.target_names

    def require(self, names: Sequence[str]) -> None:
        """Raise ValueError unless there are these columns."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise ValueError(
                f"The data set {self.dataset.name!r} has no column {missing[0]!r}; it has {', '.join(self.columns)}."
            )

    def numbers(self, names: Sequence[str]) -> NDArray:
        """Return columns as float64 (N, number of names)."""
        self.require(names)
        values = np.column_stack([self.dataset.X, self.dataset.y])
        return values[:, [self.columns.index(name) for name in names]]

    def numbers_in_parts(self, names: Sequence[str]) -> Iterator[NDArray]:
        """Yield the same, all in one part."""
        yield self.numbers(names)


def is_dataset(data: str) -> bool:
    """Return whether DATA names a data set of the catalogue rather than a file."""
    return data in datasets.CATALOGUE and not Path(data).exists()


def open_columns(data: str, encoding: str) -> Columns:
    """Open a file or load a data set; "-" is standard input, of which the rows can be gone over once.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    """
    if data == STANDARD_INPUT:
        return as_stream(encoding)
    if is_dataset(data):
        return NamedColumns(datasets.load(data))
    if not Path(data).exists():
        alike = get_close_matches(data, datasets.names(), 1)
        meant = f"; did you mean {alike[0]}?" if alike else " (see: anmin datasets)."
        raise FileNotFoundError(f"There is no file {data}, and no data set of that name{meant}")
    return datasets.open_table(data, encoding=encoding)


def named_columns(given: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a repeated or comma-separated option; the full name of a column is never split."""
    names: list[str] = []
    for item in given:
        names += [item] if item in columns else [name.strip() for name in item.split(",") if name.strip()]
    return tuple(names)


def load_rows(
    data: str, targets: Sequence[str], weights: str | None, ignored: Sequence[str], encoding: str
) -> tuple[Dataset, NDArray | None]:
    """Return what to fit: the rows of a file or data set, and their weights if there are any."""
    source = open_columns(data, encoding)
    named, left_out = named_columns(targets, source.columns), named_columns(ignored, source.columns)
    if isinstance(source, NamedColumns):
        if weights is not None or left_out:
            raise ValueError(f"--weights and --ignore are for columns of a file; {data!r} is a named data set.")
        return _with_targets(source, named or source.dataset.target_names), None
    if not named:
        shown = ", ".join(source.columns[:12]) + (", ..." if len(source.columns) > 12 else "")
        raise ValueError(f"Name the column to predict with --target; {data} has {shown}.")
    return datasets.read_dataset(data, named, weights=weights, ignored=left_out, encoding=encoding)


def input_names(network: ReLUNetwork, source: Columns, data: str, excluded: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the columns of the inputs of a network: by name, or by position if the model has no names.

    By name, other columns are ignored and the order in the file does not matter.
    """
    if network.feature_names is not None:
        source.require(network.feature_names)
        return network.feature_names
    positions = tuple(name for name in source.columns if name not in excluded)
    if len(positions) != network.n_features:
        raise ValueError(
            f"The model has no column names and takes {network.n_features} inputs by position; "
            f"{data} has {len(positions)} columns."
        )
    return positions


def actual_names(network: ReLUNetwork, source: Columns, target: Sequence[str] | None) -> tuple[str, ...]:
    """Return the columns that --target names as the actual values of a network; none where it was not given.

    Raises
    ------
    ValueError
        Unless there is one for each output.
    """
    names = named_columns(target or (), source.columns)
    if names and len(names) != network.n_outputs:
        raise ValueError(
            f"--target must name {network.n_outputs} column(s), one for each output of the model; "
            f"got {', '.join(names)}."
        )
    return names


def large_table(
    data: str, targets: Sequence[str], weights: str | None, ignored: Sequence[str], encoding: str
) -> TableRows | None:
    """Return the rows of a table that is too large to be held, to be read in every pass; None of any other."""
    if is_dataset(data) or not Path(data).exists():
        return None
    source = datasets.open_table(data, encoding=encoding)
    available = available_bytes()
    if 8 * source.n_values() <= min(_HELD_BYTES, _HELD_BYTES if available is None else available // 4):
        return None
    from anmin.rows import CsvRows, ParquetRows

    named, left_out = named_columns(targets, source.columns), named_columns(ignored, source.columns)
    if not named:
        return None  # for the message of load_rows
    kind = CsvRows if source.delimiter else ParquetRows
    return kind(data, named, weights=weights, ignored=left_out, encoding=encoding)


def sample_of(rows: TableRows) -> tuple[Dataset, NDArray | None]:
    """Return the sample that is held of the rows of a table, in its units, and their weights."""
    sample, path = rows.survey, rows.table.path
    targets = ", ".join(rows.target_names)
    description = f"{targets} from the other columns of {path.name}."
    y = sample.Y[:, 0] if rows.n_outputs == 1 else sample.Y
    dataset = Dataset(path.stem, sample.X, y, rows.feature_names, rows.target_names, description, path.name)
    return dataset, sample.w


def _with_targets(source: NamedColumns, targets: tuple[str, ...]) -> Dataset:
    dataset = source.dataset
    wrong = [name for name in targets if name not in dataset.target_names]
    if wrong:
        raise ValueError(
            f"The targets of the data set {dataset.name!r} are {', '.join(dataset.target_names)}; got {wrong[0]!r}."
        )
    if targets == dataset.target_names:
        return dataset
    y = source.numbers(targets)
    return Dataset(
        dataset.name,
        dataset.X,
        y[:, 0] if len(targets) == 1 else y,
        dataset.feature_names,
        targets,
        dataset.description,
        dataset.source,
    )
