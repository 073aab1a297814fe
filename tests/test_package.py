"""The package as a whole: light to import, no cycles upward, and documented names that exist."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import anmin

SOURCE = Path(anmin.__file__).parent
EXTRAS = [
    "torch", "matplotlib", "dask", "distributed", "cvxpy", "clarabel", "onnx",
    "skl2onnx", "onnxruntime", "emlearn", "pandas", "polars", "lightgbm", "scnn",
]  # fmt: skip

# What each part may import of the package, besides itself: everything that comes before it here.
LAYERS = [
    {
        "objective",
        "losses",
        "atomic",
        "devices",
        "blas",
        "codec",
        "interrupts",
        "json_values",
        "memory",
        "validation",
        "elimination",
    },
    {"model_file"},
    {"threads", "rows.kernels", "rows.patterns"},
    {"statistics", "network", "gated_network", "quantisation", "history"},
    {"hyperplanes"},
    {"arrangements"},
    {"datasets"},
    {"rows"},
    {"solvers"},
    {"search"},
    {"certificate"},
    {"influence"},
    {"selection", "streaming"},
    {"checkpoint"},
    {"generalised"},
    {"cross_validation"},
    {"progress", "reporting"},
    {"gates", "held_out", "convex_forms"},
    {"fitting"},
    {"convex_fitting"},
    {"estimators", "classifier", "convex_estimators"},
    {"path", "sizes"},
    {"export"},
    {"inspection"},
    {"lab"},
    {"cli"},
]


def test_import_brings_none_of_the_extras():
    # Some versions of scikit-learn import pandas themselves; what counts is what anmin adds.
    code = f"""
import sys, sklearn.base, sklearn.model_selection
before = set(sys.modules)
import anmin
from anmin import *
print([name for name in {EXTRAS} if name in set(sys.modules) - before])
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == "[]"


def test_public_names():
    assert len(anmin.__all__) <= 20
    for name in anmin.__all__:
        assert isinstance(name, str)
        assert hasattr(anmin, name)
        assert name in dir(anmin)
    with pytest.raises(AttributeError, match="no attribute 'ReLURegresor'"):
        _ = anmin.ReLURegresor


def test_every_public_name_can_be_imported_first():
    for name in anmin.__all__:
        code = f"from anmin import {name}; import anmin; assert anmin.{name} is {name}"
        subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_runs_as_a_command():
    command = [sys.executable, "-m", "anmin", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert anmin.__version__ in shown


def part_of(names: Sequence[str]) -> str:
    """Return the part that a module belongs to: its file or folder, but two of the rows are each one of their own."""
    part = ".".join(names[:2])
    return part if part in ("rows.kernels", "rows.patterns") else names[0]


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_downward(path: Path):
    parts = path.relative_to(SOURCE).with_suffix("").parts
    assert len(parts) <= 2, "no folder deeper than one level"
    if parts in {("__init__",), ("__main__",)}:
        return
    level = next(i for i, layer in enumerate(LAYERS) if part_of(parts) in layer)
    below = {"__init__"}.union(*LAYERS[: level + 1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [f"{node.module}.{alias.name}" if node.module == "anmin" else node.module for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        for module in modules:
            if module.split(".")[0] == "anmin" and len(module.split(".")) > 1:
                target = part_of(module.split(".")[1:])
                known = target in set().union(*LAYERS)
                assert not known or target in below, f"{path.name} imports {module}, which is above it"


def test_docstrings_of_public_classes_and_functions():
    missing = []
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not ast.get_docstring(tree):
            missing.append(path.name)
        for node in tree.body:
            public = isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                missing.append(f"{path.name}:{node.name}")
    assert missing == []
