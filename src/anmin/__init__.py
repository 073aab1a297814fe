"""Two-layer ReLU networks, trained by solving for the weights."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "ConvexReLURegressor",
    "GatedReLURegressor",
    "ReLUClassifier",
    "ReLUNetwork",
    "ReLURegressor",
    "alpha_path",
    "datasets",
    "export",
    "inspection",
    "rows",
    "size_path",
    "solvers",
]

if TYPE_CHECKING:
    from anmin import datasets, export, inspection, rows, solvers
    from anmin.classifier import ReLUClassifier
    from anmin.convex_estimators import ConvexReLURegressor, GatedReLURegressor
    from anmin.estimators import ReLURegressor
    from anmin.network import ReLUNetwork
    from anmin.path import alpha_path
    from anmin.sizes import size_path

_HOMES = {
    "ConvexReLURegressor": "anmin.convex_estimators",
    "GatedReLURegressor": "anmin.convex_estimators",
    "ReLUClassifier": "anmin.classifier",
    "ReLURegressor": "anmin.estimators",
    "ReLUNetwork": "anmin.network",
    "alpha_path": "anmin.path",
    "size_path": "anmin.sizes",
}


def __getattr__(name: str) -> Any:
    # Loaded when first asked for, so that the command line can answer --help without waiting for scikit-learn.
    if name not in __all__:
        raise AttributeError(f"module 'anmin' has no attribute {name!r}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    return importlib.import_module(f"anmin.{name}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
