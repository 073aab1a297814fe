"""An MLP on Iris, by any momentum method: same start and same batches for all."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anmin.lab.arguments import check_integers
from anmin.lab.baselines import one_thread
from anmin.lab.momentum import Rule, descend
from anmin.lab.pytorch import torch

WIDTHS = (4, 200, 80, 3)
#: Rows of the training set, rows of a batch, and steps between two losses.
TRAIN, BATCH, EVERY = 100, 10, 20


@dataclass(frozen=True)
class Descent:
    """What one method did.

    Attributes
    ----------
    losses : array of shape (K + 1,)
        Of all training rows, before the first step and after each :data:`EVERY` steps; cross-entropy in nats.
    seconds : array of shape (K + 1,)
        Of the processor, for the steps up to there.
    train, test : float
        Accuracy after the last step.
    """

    losses: NDArray
    seconds: NDArray
    train: float
    test: float

    @property
    def final(self) -> float:
        """Mean of the last five losses, as one alone goes up and down at high rates."""
        value = float(self.losses[-5:].mean())
        return value if math.isfinite(value) else math.inf

    @property
    def roughness(self) -> float:
        """The length of the way of log loss, up and down, over its net fall: 1 if it only fell."""
        logs = np.log(np.maximum(self.losses, 1e-30))
        return float(np.abs(np.diff(logs)).sum() / max(abs(logs[0] - logs[-1]), 1e-12))


def descent_on_iris(rule: Rule, rate: float, n_steps: int, seed: int) -> Descent:
    """Train the MLP on shuffled rows of Iris, in single precision on one thread.

    Parameters
    ----------
    rule : Rule
    rate : float
    n_steps : int
        At least :data:`EVERY`, by which the loss is written down.
    seed : int
        Of the shuffling, the start and the batches, which are the same for all methods.

    Raises
    ------
    ValueError
        If there are not so many steps, or the rate is not positive.
    """
    check_integers(EVERY, n_steps=n_steps)
    X, y, start, batches = _setting(n_steps, seed)
    order, used = iter(batches), 0.0

    def gradient(w: Any) -> Any:
        rows = next(order)
        w = w.detach().requires_grad_()
        return torch.autograd.grad(_loss(w, X[rows], y[rows]), w)[0]

    losses, seconds, w = [_loss(start, X[:TRAIN], y[:TRAIN]).item()], [0.0], start
    with one_thread(torch):
        path = descend(gradient, start, rule, rate)
        for _ in range(n_steps // EVERY):
            began = time.process_time()
            w = list(islice(path, EVERY))[-1]
            used += time.process_time() - began
            losses.append(_loss(w, X[:TRAIN], y[:TRAIN]).item())
            seconds.append(used)
        right = (_outputs(w, X).argmax(1) == y).double()
    return Descent(np.array(losses), np.array(seconds), right[:TRAIN].mean().item(), right[TRAIN:].mean().item())


def _setting(n_steps: int, seed: int) -> tuple[Any, Any, Any, NDArray]:
    """Return shuffled inputs (150, 4) in cm and classes, PyTorch's start of the weights, and the rows of each batch."""
    from sklearn.datasets import load_iris

    rng = np.random.default_rng(seed)
    inputs, classes = load_iris(return_X_y=True)
    order = rng.permutation(len(inputs))
    epochs = -(-n_steps * BATCH // TRAIN)
    batches = np.concatenate([rng.permutation(TRAIN) for _ in range(epochs)]).reshape(-1, BATCH)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [torch.nn.Linear(*widths) for widths in pairwise(WIDTHS)]
    start = torch.cat([part.detach().flatten() for layer in layers for part in (layer.weight, layer.bias)])
    return torch.as_tensor(inputs[order], dtype=torch.float32), torch.as_tensor(classes[order]), start, batches


def _outputs(w: Any, X: Any) -> Any:
    at = 0
    for k, (fan_in, fan_out) in enumerate(pairwise(WIDTHS)):
        weight = w[at : at + fan_in * fan_out].view(fan_out, fan_in)
        at += fan_in * fan_out
        X = torch.nn.functional.linear(torch.relu(X) if k else X, weight, w[at : at + fan_out])
        at += fan_out
    return X


def _loss(w: Any, X: Any, y: Any) -> Any:
    return torch.nn.functional.cross_entropy(_outputs(w, X), y)
