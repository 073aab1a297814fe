"""Generated, bundled, local and remote data."""

from anmin.datasets.catalogue import CATALOGUE, Entry, load, names
from anmin.datasets.dataset import Dataset
from anmin.datasets.files import uci_splits
from anmin.datasets.generated import make_planted, make_sdf, make_sine_norm, make_year_like
from anmin.datasets.tables import Table, csv_bytes, open_table, read_dataset, write_csv

__all__ = [
    "CATALOGUE",
    "Dataset",
    "Entry",
    "Table",
    "csv_bytes",
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
]
