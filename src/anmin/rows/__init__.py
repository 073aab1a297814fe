"""Where rows live, and the passes over them that give the statistics."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from anmin.rows.arrays import ArrayRows
from anmin.rows.scaling import Scaling

if TYPE_CHECKING:
    from anmin.rows.dask import DaskRows
    from anmin.rows.files import CsvRows, NpyRows, ParquetRows
    from anmin.rows.torch import TorchRows

# Imported at their first use: they need what not everybody has, or what takes long to import.
_LATER = {"CsvRows": "files", "NpyRows": "files", "ParquetRows": "files", "DaskRows": "dask", "TorchRows": "torch"}

__all__ = ["ArrayRows", "CsvRows", "DaskRows", "NpyRows", "ParquetRows", "Scaling", "TorchRows"]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"anmin.rows.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return __all__
