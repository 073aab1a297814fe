"""First-order baselines and L-BFGS, through PyTorch's own optimisers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anmin.network import ReLUNetwork


@dataclass(frozen=True)
class Recipe:
    """How a network is descended.

    Attributes
    ----------
    optimizer : "sgd", "adam", "adagrad" or "lbfgs"
    rate : float
        Learning rate.
    epochs : int
        Passes over the training rows.
    batch : int
        Rows in a step; for L-BFGS in a step of up to 20 inner iterations.
    decay_every : int or None
        Epochs after which the rate is divided by 10, again and again; None never.
    negative_slope : float
    keep_best : bool
        Whether the network of least training error, the start included, is reported instead of the last.
    """

    optimizer: Literal["sgd", "adam", "adagrad", "lbfgs"]
    rate: float
    epochs: int
    batch: int
    decay_every: int | None
    negative_slope: float = 0.0
    keep_best: bool = False


@dataclass(frozen=True, eq=False)
class Trained:
    """The outcome of :func:`train`; the path is empty unless asked for."""

    network: ReLUNetwork
    seconds: float
    epochs: int
    best_epoch: int
    path: list[tuple[float, ReLUNetwork]] = field(default_factory=list)


def train(
    X: NDArray,
    y: NDArray,
    n_neurons: int,
    recipe: Recipe,
    seed: int,
    *,
    alpha: float = 0.0,
    keep_path: bool = False,
    device: str = "cpu",
) -> Trained:
    """Descend on the mean squared error of Linear (no bias, the constant is an input) – ReLU – Linear, in float32.

    With ``alpha`` it is the loss of :mod:`anmin.objective`, divided by the number of outputs c.

    Parameters
    ----------
    X : array of shape (N, d)
        Inputs, without the constant.
    y : array of shape (N, c)
    n_neurons : int
    recipe : Recipe
    seed : int
        For PyTorch's start and for the order of the rows.
    alpha : float >= 0, default 0
        Penalty of all weights, by the weight decay 2·alpha/c of the optimiser; not for L-BFGS, which has none.
    keep_path : bool, default False
        Keep the network after every epoch.
    device : str, default "cpu"
        Of PyTorch.

    Returns
    -------
    Trained
        Its network may hold the last finite weights: an epoch that leaves NaN or infinity ends the training.

    Raises
    ------
    ImportError
        If PyTorch is not there; the message names the extra that brings it.
    ValueError
        If there is a penalty, and the optimiser is L-BFGS or the recipe keeps the network of least error.
    """
    if alpha and (recipe.optimizer == "lbfgs" or recipe.keep_best):
        raise ValueError(f"alpha must be 0 for L-BFGS and for recipes that keep the best network; got {alpha!r}.")
    torch = import_torch()
    rows = len(X)
    inputs = torch.as_tensor(np.column_stack([np.ones(rows), X]), dtype=torch.float32, device=device)
    targets = torch.as_tensor(y, dtype=torch.float32, device=device)
    # The steps are so small that a second thread costs more than it brings.
    with one_thread(torch), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        started = time.perf_counter()
        hidden = torch.nn.Linear(inputs.shape[1], n_neurons, bias=False)
        activation = torch.nn.LeakyReLU(recipe.negative_slope) if recipe.negative_slope else torch.nn.ReLU()
        output = torch.nn.Linear(n_neurons, targets.shape[1])
        model = torch.nn.Sequential(hidden, activation, output).to(device)
        optimizer = _optimizer(torch, recipe, model.parameters(), 2 * alpha / targets.shape[1])
        step = _step(torch, recipe, model, optimizer)

        def network() -> ReLUNetwork:
            A, B, b0 = (weights.detach().cpu().numpy() for weights in (hidden.weight.T, output.weight.T, output.bias))
            return ReLUNetwork(A, B, b0, recipe.negative_slope)

        def training_error() -> float:
            with torch.no_grad():
                return float(torch.nn.functional.mse_loss(model(inputs), targets))

        best, best_epoch, epoch = network(), 0, 0
        best_error = training_error() if recipe.keep_best else np.inf
        path = [(time.perf_counter() - started, best)] if keep_path else []
        for epoch in range(1, recipe.epochs + 1):
            order = torch.randperm(rows).to(device)
            shuffled = zip(inputs[order].split(recipe.batch), targets[order].split(recipe.batch), strict=True)
            for x, z in shuffled:
                step(x, z)
            if recipe.decay_every and epoch % recipe.decay_every == 0:
                for group in optimizer.param_groups:
                    group["lr"] /= 10
            if not all(bool(torch.isfinite(weights).all()) for weights in model.parameters()):
                break
            if keep_path:
                path.append((time.perf_counter() - started, network()))
            if not recipe.keep_best:
                best, best_epoch = network(), epoch
            elif (error := training_error()) < best_error:
                best, best_epoch, best_error = network(), epoch, error
        seconds = time.perf_counter() - started
    return Trained(best, seconds, epoch, best_epoch, path)


@cache
def import_torch() -> ModuleType:
    """Return PyTorch, ready for timing, or raise ImportError with the extra that brings it."""
    try:
        import torch
    except ImportError:
        raise ImportError("The baselines SGD, Adam and L-BFGS need PyTorch: pip install 'anmin[torch]'.") from None
    # PyTorch loads much of itself at the first step, about a second that is no part of a fit.
    weight = torch.zeros(1, requires_grad=True)
    (weight**2).sum().backward()
    torch.optim.Adam([weight], fused=True).step()
    return torch


def _optimizer(torch: ModuleType, recipe: Recipe, parameters: Iterator, decay: float) -> Any:
    if recipe.optimizer == "lbfgs":
        return torch.optim.LBFGS(parameters, lr=recipe.rate, max_iter=20)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad}[recipe.optimizer]
    # The fused update is the same arithmetic in one call for all weights: half the time on networks of this size.
    return kind(parameters, lr=recipe.rate, weight_decay=decay, fused=True)


def _step(torch: ModuleType, recipe: Recipe, model: Any, optimizer: Any) -> Callable[[Any, Any], None]:
    def descend(x: Any, z: Any) -> None:
        def closure() -> Any:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(x), z)
            loss.backward()
            return loss

        if recipe.optimizer == "lbfgs":
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()

    return descend


@contextmanager
def one_thread(torch: ModuleType) -> Iterator[None]:
    """Let PyTorch use one thread within."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
