"""The devices of PyTorch, asked for by name, and what is made on them that is not a pass over rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, onenormest


def require_torch() -> Any:
    """Return the module torch, or raise an ImportError that says what to install."""
    try:
        import torch
    except ImportError:
        raise ImportError("Rows on a device need PyTorch, which is not installed: pip install anmin[torch].") from None
    return torch


def checked_devices(device: Any) -> tuple:
    """Return the devices of these names, as PyTorch has them.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    ValueError
        If a name is none of "cpu", "cuda" and "cuda:0" and so on, or there is no such device.
    """
    torch = require_torch()
    names = device if isinstance(device, Sequence) and not isinstance(device, str) else (device,)
    found = []
    for name in names:
        try:
            one = torch.device(name)
        except (RuntimeError, TypeError):
            one = None
        if one is None or one.type not in ("cpu", "cuda"):
            raise ValueError(f'device must be "cpu", "cuda", "cuda:0" and so on, or several of them; got {name!r}.')
        count = torch.cuda.device_count() if one.type == "cuda" and torch.cuda.is_available() else 0
        if one.type == "cuda" and (one.index or 0) >= count:
            sees = f"{count} of them" if count else "none"
            raise ValueError(
                f"device={str(name)!r} needs a CUDA GPU of that number, and PyTorch {torch.__version__} sees {sees} "
                f"here. Compute on the processor with device=None, or install a PyTorch and a driver for the GPU."
            )
        found.append(one)
    if not found:
        raise ValueError("device must name at least one device; got none.")
    return tuple(found)


def device_of(values: Any) -> Any:
    """Return where a tensor lies; None for all else."""
    return values.device if is_tensor(values) else None


def is_tensor(values: Any) -> bool:
    """Return whether the values are a tensor of PyTorch, which need not be installed to ask."""
    return any(kind.__module__ == "torch" and kind.__name__ == "Tensor" for kind in type(values).__mro__)


def on_host(values: Any) -> Any:
    """Return a tensor as an array in memory, of float64 where NumPy has no such type; all else as it is."""
    if not is_tensor(values):
        return values
    tensor = values.detach().cpu()
    return (tensor.double() if tensor.dtype == require_torch().bfloat16 else tensor).numpy()


def arrays_here(tensors: Sequence[Any]) -> list[NDArray]:
    """Return tensors as arrays in memory, which tensors of the processor share.

    From a GPU they come by way of page-locked memory, which PyTorch keeps for the next ones: thirty times as fast as
    without, measured on an H200. The arrays lie in that memory themselves, so nothing is copied twice.
    """
    torch = require_torch()
    arrays = []
    for tensor in tensors:
        if tensor.device.type == "cuda":
            tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor)
        arrays.append(tensor.numpy())
    return arrays


@dataclass(frozen=True, eq=False)
class DeviceFactor:
    """The Cholesky factor L of a matrix LLᵀ, which stays on the device of PyTorch where it was made."""

    L: Any

    def solve(self, right: NDArray) -> NDArray:
        """Return x (k,) or (k, m) with LLᵀ x = right."""
        torch = require_torch()
        columns = torch.tensor(right.reshape(len(right), -1), dtype=self.L.dtype, device=self.L.device)
        return torch.cholesky_solve(columns, self.L).cpu().numpy().reshape(right.shape)

    @property
    def diagonal(self) -> NDArray:
        """The diagonal of L, (k,)."""
        return self.L.diagonal().cpu().numpy()

    def reciprocal_condition(self, norm: float) -> float:
        """Return an estimate of 1 over the condition number in the 1-norm, of the matrix whose 1-norm is ``norm``.

        By Hager's method (Hager 1984; Higham 1988), which LAPACK uses too.
        """
        k = len(self.L)
        inverse = LinearOperator((k, k), matvec=self.solve, rmatvec=self.solve, dtype=self.diagonal.dtype)
        return 1 / (norm * float(onenormest(inverse, t=1)))


@dataclass(frozen=True, eq=False)
class DeviceMatrix:
    """A symmetric matrix on a device of PyTorch, to be factored there with one diagonal or another added."""

    M: Any

    @classmethod
    def of(cls, system: NDArray, device: str) -> DeviceMatrix:
        """Return a matrix (k, k) on a device."""
        with memory_errors():
            return cls(require_torch().tensor(system, device=device))

    def factor(self, added: NDArray | float = 0.0) -> DeviceFactor | None:
        """Return the factor of M + diag(added), None where that is not positive definite to rounding."""
        torch = require_torch()
        with memory_errors():
            system = self.M.clone()
            system.diagonal().add_(torch.tensor(added, dtype=system.dtype, device=system.device))
            L, info = torch.linalg.cholesky_ex(system)
        return None if int(info) else DeviceFactor(L)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn the error of a device whose memory is full into a MemoryError that says what to do."""
    try:
        yield
    except require_torch().OutOfMemoryError as error:
        raise MemoryError(
            f"The device's memory does not hold the rows and their sums ({error}). Spread the rows over several "
            f"devices, choose fewer neurons, or compute on the processor with device=None."
        ) from None
