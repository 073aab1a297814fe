"""PyTorch for the modules of studies, which are imported when they are run, or an error that says what to install."""

from __future__ import annotations

try:
    import torch
    from torch import Tensor
except ImportError:
    raise ImportError("This study needs PyTorch: pip install 'anmin[lab]'.") from None

__all__ = ["Tensor", "torch"]
