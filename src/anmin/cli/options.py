"""Arguments and options that several commands have, the panels of their help, and what shells complete.

Nothing here loads the library: a shell asks for completions at every press of the key. So the names stand here once
more; the tests hold them to those that there are.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer

SOLVERS = ("auto", "anmin", "varpro", "matrix_free", "altmin", "relaxed")
TARGETS = ("onnx", "torch", "c", "glsl", "javascript", "json")
RIVALS = (
    "ours", "anmin", "mlp_lbfgs", "mlp_adam", "torch_adam", "torch_lm", "scnn_gated", "scnn_relu", "lightgbm", "ridge",
)  # fmt: skip
DATA_SETS = (
    "sdf-cat", "sdf-crescent", "sdf-gear", "sdf-star", "sine_norm", "planted", "year_like", "diabetes", "linnerud",
    "abalone", "bike_sharing", "concrete", "energy", "power", "protein", "wine_red", "yacht", "horse_sdf", "patches",
    "year_prediction_msd",
)  # fmt: skip

ROWS, NETWORK, STOPPING, FILES, OUTPUT = "Rows", "Network", "When to stop", "Files", "What is printed"

_CSV = (".csv", ".tsv", ".txt", ".data")
_TABLES = (*_CSV, ".gz", ".bz2", ".zst", ".parquet", ".pq")


def among(names: tuple[str, ...], incomplete: str) -> list[str]:
    """Return the names that begin so."""
    return [name for name in names if name.startswith(incomplete)]


def listed_among(names: tuple[str, ...], incomplete: str) -> list[str]:
    """Return how a list with commas may go on: the last of it completed."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in among(names, last) if name not in before.split(",")]


def complete_data(incomplete: str) -> list[str]:
    """Return data sets and tables of this folder; nothing, for the shell to complete files, where no data set fits."""
    found = among(DATA_SETS, incomplete)
    if not found:
        return []
    here = sorted(path for path in Path().iterdir() if path.name.startswith(incomplete))
    return [path.name for path in here if path.suffix.lower() in _TABLES and path.name.isprintable()] + found


def file_to_write(said: str) -> Any:
    """Return the option ``--out`` of a command that may do without it."""
    return typer.Option("--out", "-o", metavar="FILE", help=said, show_default=False, rich_help_panel=FILES)


def complete_solver(incomplete: str) -> list[str]:
    """Return the solvers that begin so."""
    return among(SOLVERS, incomplete)


def complete_target(incomplete: str) -> list[str]:
    """Return the forms of export that begin so."""
    return among(TARGETS, incomplete)


def complete_rivals(incomplete: str) -> list[str]:
    """Return how a list of rivals may go on."""
    return listed_among(RIVALS, incomplete)


def complete_data_set(incomplete: str) -> list[str]:
    """Return the data sets that begin so."""
    return among(DATA_SETS, incomplete)


def complete_column(context: typer.Context, incomplete: str) -> list[str]:
    """Return how a list of columns of DATA may go on, where that is a CSV file."""
    # With the option incomplete, what stands before it has not become parameters yet.
    words = [context.params.get("data"), *reversed(context.args)]
    path = next((word for word in words if word and Path(word).suffix.lower() in _CSV), None)
    if path is None:
        return []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            line = file.readline(2**16)
    except (OSError, UnicodeError):
        return []
    delimiter = next((mark for mark in (",", ";", "\t") if mark in line), ",")
    names = [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    return listed_among(tuple(name for name in names if name.isprintable() and "," not in name), incomplete)


_TABLE = "A CSV or Parquet file, a folder of Parquet files, a data set of: anmin datasets, or - for standard input"
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Model file that anmin fit wrote.", show_default=False)]
Data = Annotated[
    str, typer.Argument(metavar="DATA", help=f"{_TABLE}.", autocompletion=complete_data, show_default=False)
]
OptionalData = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help=f"{_TABLE}.", autocompletion=complete_data, show_default=False),
]
Target = Annotated[
    list[str] | None,
    typer.Option(
        "--target", "-y", metavar="COLUMN", help="Column to predict; several: repeat it, or separate them by commas.",
        show_default=False, rich_help_panel=ROWS, autocompletion=complete_column,
    ),
]  # fmt: skip
ActualValues = Annotated[
    list[str] | None,
    typer.Option(
        "--target", "-y", metavar="COLUMN",
        help="Column of actual values; by default the one that the model was fitted to.",
        show_default=False, rich_help_panel=ROWS, autocompletion=complete_column,
    ),
]  # fmt: skip
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore", metavar="COLUMN", help="Column that is no input, such as a text; repeat it, or use commas.",
        show_default=False, rich_help_panel=ROWS, autocompletion=complete_column,
    ),
]  # fmt: skip
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights", metavar="COLUMN", help="Column of row weights.", show_default=False,
        rich_help_panel=ROWS, autocompletion=complete_column,
    ),
]  # fmt: skip
Encoding = Annotated[
    str, typer.Option("--encoding", metavar="NAME", help="Text encoding of a CSV file.", rich_help_panel=ROWS)
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object, for machines.", rich_help_panel=OUTPUT)]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress, and nothing on what to do next.", rich_help_panel=OUTPUT),
]
