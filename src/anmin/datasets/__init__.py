"""Generated, bundled, local and remote data."""

from anmin.datasets.catalogue import CATALOGUE, Entry, load, names
from anmin.datasets.csv_files import csv_parts, write_csv, write_csv_parts
from anmin.datasets.dataset import Dataset
from anmin.datasets.files import uci_splits
from anmin.datasets.generated import make_planted, make_sdf, make_sine_norm, make_year_like
from anmin.datasets.tables import Table, open_table, read_dataset

__all__ = [
    "CATALOGUE",
    "Dataset",
    "Entry",
    "Table",
    "csv_parts",
    "load",
    "make_planted",
    "make_sdf",
    "make_sine_norm",
    "make_year_like",
    "names",
    "open_table",
    "read_dataset",
    "uci_splits",
    "write_csv",
    "write_csv_parts",
]
