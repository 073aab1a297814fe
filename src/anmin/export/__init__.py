"""Networks in other forms: ONNX, PyTorch, C, GLSL, JavaScript and JSON.

Each form has a function that makes it from a :class:`anmin.ReLUNetwork`; :mod:`anmin.export.targets` lists them all and
writes their files, :mod:`anmin.export.trial` runs them. Packages that a form needs are imported when it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = [
    "TARGETS",
    "register_skl2onnx",
    "to_c",
    "to_fixed_c",
    "to_glsl",
    "to_javascript",
    "to_onnx",
    "to_torch",
    "write",
]

if TYPE_CHECKING:
    from anmin.export.c import to_c
    from anmin.export.fixed_c import to_fixed_c
    from anmin.export.glsl import to_glsl
    from anmin.export.javascript import to_javascript
    from anmin.export.onnx import register_skl2onnx, to_onnx
    from anmin.export.targets import TARGETS, write
    from anmin.export.torch import to_torch

_HOMES = {
    "TARGETS": "targets",
    "register_skl2onnx": "onnx",
    "to_c": "c",
    "to_fixed_c": "fixed_c",
    "to_glsl": "glsl",
    "to_javascript": "javascript",
    "to_onnx": "onnx",
    "to_torch": "torch",
    "write": "targets",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anmin.export' has no attribute {name!r}")
    return getattr(importlib.import_module(f"anmin.export.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
