"""Values as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def as_json_value(value: Any) -> Any:
    """Return a value as JSON has it: paths as text, and None for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(key): as_json_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json_value(one) for one in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()  # of NumPy
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
