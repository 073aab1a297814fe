"""A loss averaged over rows, with what second-order methods ask of it, for any module of PyTorch."""

from __future__ import annotations

import warnings
from typing import Any

from anmin.lab.arguments import check_not_negative
from anmin.lab.pytorch import Tensor, torch


class FiniteSum:
    """f(w) = (1/N) Σ_i ℓ(model_w(x_i), y_i) + penalty·‖w‖², all of w in one vector.

    Products with one vector are two passes of PyTorch's automatic differentiation, some tenths of a millisecond for
    small networks, where curvlinops, by which the whole matrices are made, takes three for one product.

    Parameters
    ----------
    model : torch.nn.Module
        Of P parameters, all of one type; it must treat rows independently (no batch normalisation).
    loss : torch.nn.Module
        Of outputs and targets, a mean over rows: ``reduction="mean"``.
    X, y : tensors of N rows
    penalty : float, default 0
        λ >= 0 of λ·‖w‖²: its gradient is 2λw.

    Raises
    ------
    ValueError
        If the model has no parameters that learn, X and y are no tensors of as many rows, the loss is no mean or the
        penalty negative.
    """

    def __init__(self, model: torch.nn.Module, loss: torch.nn.Module, X: Tensor, y: Tensor, penalty: float = 0.0):
        self.parameters = [weights for weights in model.parameters() if weights.requires_grad]
        if not self.parameters:
            raise ValueError("The model has no parameters that learn.")
        for name, rows in (("X", X), ("y", y)):
            if not isinstance(rows, Tensor) or not rows.ndim or not len(rows):
                raise ValueError(f"{name} must be a tensor with rows; got {type(rows).__name__}.")
        if len(X) != len(y):
            raise ValueError(f"X and y must have as many rows; got {len(X)} and {len(y)}.")
        if getattr(loss, "reduction", None) != "mean":
            raise ValueError("The loss must be a mean over rows: one of torch.nn with reduction='mean'.")
        check_not_negative(penalty=penalty)
        self.model, self.loss, self.X, self.y, self.penalty = model, loss, X, y, float(penalty)

    @property
    def n_rows(self) -> int:
        """N."""
        return len(self.X)

    @property
    def weights(self) -> Tensor:
        """A copy of w, of shape (P,)."""
        return _flat([part.detach() for part in self.parameters]).clone()

    def move_to(self, w: Tensor) -> None:
        """Set the parameters of the model to w, of shape (P,)."""
        with torch.no_grad():
            for part, values in zip(self.parameters, self._parts(w), strict=True):
                part.copy_(values)

    def value(self, rows: Tensor | None = None) -> float:
        """Return f, of these rows alone if they are given."""
        with torch.no_grad():
            return self._loss(rows).item() + self.penalty * float(self.weights @ self.weights)

    def gradient(self, rows: Tensor | None = None) -> Tensor:
        """Return ∇f, of shape (P,), of these rows alone if they are given."""
        parts = torch.autograd.grad(self._loss(rows), self.parameters)
        return _flat(parts) + 2 * self.penalty * self.weights

    def leave_gradient(self, rows: Tensor | None = None, *, again: bool = False) -> None:
        """Put ∇f into ``grad`` of the parameters, for optimisers of PyTorch; ``again`` keeps it differentiable."""
        for part, g in zip(
            self.parameters, torch.autograd.grad(self._loss(rows), self.parameters, create_graph=again), strict=True
        ):
            part.grad = g + 2 * self.penalty * part if self.penalty else g

    def hessian_product(self, v: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return ∇²f·v, of shape (P,), of these rows alone if they are given."""
        first = torch.autograd.grad(self._loss(rows), self.parameters, create_graph=True)
        second = torch.autograd.grad(first, self.parameters, self._parts(v), materialize_grads=True)
        return _flat(second) + 2 * self.penalty * v

    def gauss_newton_product(self, v: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return (Jᵀ·H_ℓ·J + 2λI)·v, of shape (P,): J of the outputs by w, H_ℓ of the loss by the outputs."""
        X, y = (self.X, self.y) if rows is None else (self.X[rows], self.y[rows])
        outputs = self.model(X)
        # J·v is the derivative, by any u, of vᵀ·Jᵀ·u.
        u = torch.zeros_like(outputs, requires_grad=True)
        pulled = torch.autograd.grad(outputs, self.parameters, u, create_graph=True)
        pushed = torch.autograd.grad(pulled, u, self._parts(v), retain_graph=True)[0]
        at = outputs.detach().requires_grad_()
        slope = torch.autograd.grad(self.loss(at, y), at, create_graph=True)[0]
        bent = torch.autograd.grad(slope, at, pushed)[0]
        return _flat(torch.autograd.grad(outputs, self.parameters, bent)) + 2 * self.penalty * v

    def hessian(self) -> Tensor:
        """Return ∇²f, of shape (P, P), by curvlinops.

        Raises
        ------
        ImportError
            If curvlinops is not installed.
        """
        return self._matrix("HessianLinearOperator")

    def gauss_newton(self) -> Tensor:
        """Return Jᵀ·H_ℓ·J + 2λI, of shape (P, P), by curvlinops.

        Raises
        ------
        ImportError
            If curvlinops is not installed.
        """
        return self._matrix("GGNLinearOperator")

    def _matrix(self, name: str) -> Tensor:
        unit = torch.eye(len(self.weights), dtype=self.parameters[0].dtype, device=self.parameters[0].device)
        with warnings.catch_warnings():
            # Both its import and the first product call a function that PyTorch has deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                import curvlinops
            except ImportError:
                raise ImportError("Whole matrices of curvature need curvlinops: pip install 'anmin[lab]'.") from None
            make, data = getattr(curvlinops, name), [(self.X, self.y)]
            product = make(self.model, self.loss, self.parameters, data, check_deterministic=False) @ unit
        return product + 2 * self.penalty * unit

    def _loss(self, rows: Tensor | None) -> Tensor:
        if rows is None:
            return self.loss(self.model(self.X), self.y)
        return self.loss(self.model(self.X[rows]), self.y[rows])

    def _parts(self, v: Tensor) -> list[Tensor]:
        size = sum(part.numel() for part in self.parameters)
        if v.shape != (size,):
            raise ValueError(f"The vector must have the shape ({size},) of the weights; got {tuple(v.shape)}.")
        pieces = v.split([part.numel() for part in self.parameters])
        return [piece.view_as(part) for piece, part in zip(pieces, self.parameters, strict=True)]


def check_objective(objective: Any) -> None:
    """Raise TypeError unless it is a finite sum."""
    if not isinstance(objective, FiniteSum):
        raise TypeError(f"objective must be a FiniteSum, of a model, a loss and rows; got {type(objective).__name__}.")


def _flat(parts: Any) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])
