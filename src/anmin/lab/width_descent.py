"""Two-layer ReLU networks of growing width by gradient descent, from scratch or from the weights of narrower ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anmin.lab.baselines import import_torch
from anmin.network import ReLUNetwork

_NEW = 0.1  # deviation of the weights of neurons added to a trained network, as in the source


def descended_widths(
    X: NDArray, y: NDArray, widths: Sequence[int], *, n_steps: int, rate: float, reuse: bool, seed: int
) -> dict[int, list[ReLUNetwork]]:
    """Train networks of each width by Adam on the mean squared error of all rows, several data sets side by side.

    Parameters
    ----------
    X : ndarray of shape (s, n, d)
        Inputs of s data sets.
    y : ndarray of shape (s, n)
    widths : sequence of int >= 1, rising
    n_steps : int >= 1
        For each width; the rate falls to 0 along half a cosine.
    rate : float > 0
    reuse : bool
        Whether a network begins with the weights of the narrower one before it, and new neurons of small random ones.
        Else hidden weights are N(0, 2/(d + 1)), output weights N(0, 1/h).
    seed : int

    Returns
    -------
    dict
        The s networks of each width.

    Raises
    ------
    ValueError
        If shapes, widths, steps or rate are not as described.
    ImportError
        If PyTorch is missing.
    """
    if X.ndim != 3 or y.shape != X.shape[:2]:
        raise ValueError(f"X must be (s, n, d) and y (s, n); got {X.shape} and {y.shape}.")
    if not len(widths) or widths[0] < 1 or list(widths) != sorted(set(widths)):
        raise ValueError(f"Widths must be positive and rise; got {list(widths)}.")
    if n_steps < 1 or not rate > 0:
        raise ValueError(f"There must be at least one step and a positive rate; got {n_steps} and {rate}.")
    import_torch()
    found = {}
    rng = np.random.default_rng(seed)
    A, b = np.zeros((len(X), X.shape[2] + 1, 0)), np.zeros((len(X), 0))
    b0 = np.zeros(len(X))
    for h in widths:
        added = h - A.shape[2] if reuse else h
        new_A, new_b = rng.standard_normal((len(X), A.shape[1], added)), rng.standard_normal((len(X), added))
        if reuse and A.shape[2]:
            A, b = np.concatenate([A, _NEW * new_A], axis=2), np.concatenate([b, _NEW * new_b], axis=1)
        else:
            A, b, b0 = new_A * np.sqrt(2 / A.shape[1]), new_b / np.sqrt(h), np.zeros(len(X))
        A, b, b0 = _adam(X, y, A, b, b0, n_steps, rate)
        found[h] = [ReLUNetwork(*parts) for parts in zip(A, b[..., None], b0[:, None], strict=True)]
    return found


def _adam(
    X: NDArray, y: NDArray, A: NDArray, b: NDArray, b0: NDArray, n_steps: int, rate: float
) -> tuple[NDArray, NDArray, NDArray]:
    import torch

    inputs = torch.tensor(np.concatenate([np.ones((*X.shape[:2], 1)), X], axis=2))
    targets = torch.tensor(y)
    parts = [torch.tensor(part, requires_grad=True) for part in (A, b, b0)]
    optimiser = torch.optim.Adam(parts, rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
    for _ in range(n_steps):
        optimiser.zero_grad()
        hidden = torch.relu(torch.bmm(inputs, parts[0]))
        output = torch.bmm(hidden, parts[1][..., None])[..., 0] + parts[2][:, None]
        # Adam scales every weight by itself, so that a sum over data sets trains each as if it were alone.
        ((output - targets) ** 2).mean(dim=1).sum().backward()
        optimiser.step()
        schedule.step()
    first, last, bias = (part.detach().numpy() for part in parts)
    return first, last, bias
