"""PyTorch: the network as a module, whose weights can be trained further and which torch.export takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from anmin.export.centred import Number, centred
from anmin.network import ReLUNetwork

if TYPE_CHECKING:
    import torch
else:
    try:
        import torch
    except ImportError:
        raise ImportError("This needs PyTorch, which is not installed: pip install anmin[torch].") from None


class ReLUModule(torch.nn.Module):
    """The network f(x) = σ((x − center) W + a) B + b0 as a module, from tensors (..., d) to tensors (..., c).

    Parameters
    ----------
    network : ReLUNetwork
    number : {"float", "double"}, default "double"
        Type of the weights; inputs must be of it.
    X : array of shape (N, d), optional
        Inputs that will be met, by which the shift of the inputs is chosen.

    Attributes
    ----------
    W, a, B, b0 : torch.nn.Parameter of shapes (d, h), (h,), (h, c), (c,)
    center : buffer of shape (d,)
        Subtracted from the inputs first, which in float32 may save digits; 0 in float64.
    """

    W: torch.nn.Parameter
    a: torch.nn.Parameter
    B: torch.nn.Parameter
    b0: torch.nn.Parameter
    center: torch.Tensor

    def __init__(self, network: ReLUNetwork, number: Number = "double", X: ArrayLike | None = None) -> None:
        super().__init__()
        form = centred(network, number, X)
        dtype = torch.float32 if number == "float" else torch.float64
        for name in ("W", "a", "B", "b0"):
            setattr(self, name, torch.nn.Parameter(torch.tensor(getattr(form, name), dtype=dtype)))
        self.register_buffer("center", torch.tensor(form.center, dtype=dtype))
        self.is_shifted = form.is_shifted
        self.negative_slope = form.negative_slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return f(x) for x of shape (..., d), shape (..., c)."""
        t = (x - self.center if self.is_shifted else x) @ self.W + self.a
        return torch.nn.functional.leaky_relu(t, self.negative_slope) @ self.B + self.b0


def to_torch(network: ReLUNetwork, number: Number = "double", X: ArrayLike | None = None) -> ReLUModule:
    """Return the network as a :class:`torch.nn.Module`.

    Parameters
    ----------
    network, number, X
        As for :class:`ReLUModule`.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    ValueError
        If a weight is too large for the type.
    """
    return ReLUModule(network, number, X)


def exported_program(module: ReLUModule) -> torch.export.ExportedProgram:
    """Return what ``torch.export`` makes of a module, for any number of rows.

    ``torch.export.save`` writes it; ``torch.export.load`` reads it where there is no anmin.
    """
    # Two rows, because one is taken for a constant.
    example = torch.zeros((2, module.W.shape[0]), dtype=module.W.dtype)
    return torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("rows", min=1)},))
