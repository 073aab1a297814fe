"""The scripts of the benchmarks folder as modules, for their tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load_benchmark(name: str) -> ModuleType:
    """Return a script as a module; skip the test where there is none."""
    script = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    if not script.exists():
        pytest.skip("the benchmarks are not part of a source distribution")
    spec = importlib.util.spec_from_file_location(f"{name}_benchmark", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    sys.path.insert(0, str(script.parent))  # as when the script is run
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(script.parent))
    return module
