"""Newton's method with a fractional power of the Hessian."""

from __future__ import annotations

from anmin.lab.arguments import check_fractions
from anmin.lab.pytorch import Tensor, torch
from anmin.validation import is_number


def fractional_direction(g: Tensor, hessian: Tensor, power: float) -> Tensor:
    """Return H⁻ᵏ·g: the gradient for k = 0, Newton's direction for k = 1.

    For α·I ⪯ ∇²f ⪯ β·I the step −(αᵏ/β)·H⁻ᵏ·g lowers f by at least :func:`guaranteed_drop`.

    Parameters
    ----------
    g : tensor of shape (P,)
    hessian : tensor of shape (P, P)
        Symmetric and positive definite.
    power : float
        k in [0, 1].

    Raises
    ------
    ValueError
        If shapes do not fit, the power is not from 0 to 1, or the matrix is not positive definite.
    """
    if g.ndim != 1 or hessian.shape != (len(g), len(g)):
        raise ValueError(f"g and hessian must be (P,) and (P, P); got {tuple(g.shape)} and {tuple(hessian.shape)}.")
    check_fractions(power=power)
    values, vectors = torch.linalg.eigh(hessian)
    if not values[0] > 0:
        raise ValueError(f"The Hessian must be positive definite; its least eigenvalue is {float(values[0]):.3g}.")
    return vectors @ (values**-power * (vectors.T @ g))


def guaranteed_drop(g: Tensor, power: float, alpha: float, beta: float) -> float:
    """Return αᵏ/(2β^{1+k})·‖g‖², by which a step of αᵏ/β along −H⁻ᵏ·g lowers f at least.

    It follows from f(w − ηd) <= f(w) − η·gᵀd + ½βη²‖d‖², gᵀH⁻ᵏg >= αᵏ·‖H⁻ᵏg‖² and gᵀH⁻ᵏg >= β⁻ᵏ·‖g‖².

    Parameters
    ----------
    g : tensor of shape (P,)
    power : float
        k in [0, 1].
    alpha, beta : float
        Bounds of the eigenvalues of the Hessian, 0 < α <= β.

    Raises
    ------
    ValueError
        If one of them is out of its range.
    """
    check_fractions(power=power)
    if not (is_number(alpha, 0.0) and is_number(beta, 0.0) and 0 < alpha <= beta):
        raise ValueError(f"alpha and beta must have 0 < alpha <= beta; got {alpha!r} and {beta!r}.")
    return alpha**power / (2 * beta ** (1 + power)) * float(g @ g)
