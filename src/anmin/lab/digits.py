"""A two-layer ReLU network on the digits of scikit-learn, by AdamW and by second-order methods."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anmin.lab.arguments import check_integers, check_positive
from anmin.lab.baselines import one_thread
from anmin.lab.finite_sum import FiniteSum
from anmin.lab.lissa import LiSSA
from anmin.lab.pytorch import Tensor, torch
from anmin.lab.sqgn import SQGN

NEURONS, TRAIN, BATCH, EVERY = 32, 1200, 100, 10
#: The methods, with the rates of which the best is taken.
GRID: dict[str, tuple[float, ...]] = {
    "AdamW": (0.003, 0.01, 0.03, 0.1),
    "AdaHessian": (0.03, 0.1, 0.3, 1.0),
    "SQGN": (0.03, 0.1, 0.3, 1.0),
    "LiSSA": (0.1, 0.3, 1.0, 3.0),
}


@dataclass(frozen=True)
class DigitsRun:
    """What one method did.

    Attributes
    ----------
    losses : array of shape (K + 1,)
        Of all training rows, before the first step and after each :data:`EVERY` steps; cross-entropy in nats.
    seconds : array of shape (K + 1,)
        Of the processor, for the steps up to there.
    test : float
        Accuracy after the last step.
    """

    losses: NDArray
    seconds: NDArray
    test: float

    @property
    def final(self) -> float:
        """The last loss, infinite if it is no number."""
        return float(self.losses[-1]) if math.isfinite(self.losses[-1]) else math.inf


def descent_on_digits(method: str, rate: float, n_steps: int, seed: int) -> DigitsRun:
    """Train 64-32-10 on 1,200 digits by batches of 100, in single precision on one thread.

    Parameters
    ----------
    method : str
        One of :data:`GRID`. AdamW and AdaHessian (of pytorch-optimizer) with decay 0.01; SQGN with pairs of 100 rows;
        LiSSA with a series of 10 terms on Hessians of 100 rows, scale 5, and the gradient of all rows.
    rate : float
    n_steps : int
        At least :data:`EVERY`.
    seed : int
        Of the split, the start and the batches.

    Raises
    ------
    ImportError
        If pytorch-optimizer is needed and not installed.
    ValueError
        If a parameter is none of these.
    """
    if method not in GRID:
        raise ValueError(f"method must be one of {', '.join(GRID)}; got {method!r}.")
    check_positive(rate=rate)
    check_integers(EVERY, n_steps=n_steps)
    objective, X_test, y_test = _objective(seed)
    batches = _batches(seed)
    optimizer = _optimizer(method, objective, rate, seed)
    losses, seconds, used = [objective.value()], [0.0], 0.0
    with one_thread(torch), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for the signs that AdaHessian draws
        for _ in range(n_steps // EVERY):
            began = time.process_time()
            for _ in range(EVERY):
                if method in ("AdamW", "AdaHessian"):
                    objective.leave_gradient(next(batches), again=method == "AdaHessian")
                optimizer.step()
                optimizer.zero_grad()
            used += time.process_time() - began
            losses.append(objective.value())
            seconds.append(used)
        with torch.no_grad():
            test = (objective.model(X_test).argmax(1) == y_test).double().mean().item()
    return DigitsRun(np.array(losses), np.array(seconds), test)


def _objective(seed: int) -> tuple[FiniteSum, Tensor, Tensor]:
    from sklearn.datasets import load_digits

    inputs, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(inputs))
    X, y = torch.as_tensor(inputs[order] / 16, dtype=torch.float32), torch.as_tensor(classes[order])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = torch.nn.Sequential(torch.nn.Linear(64, NEURONS), torch.nn.ReLU(), torch.nn.Linear(NEURONS, 10))
    return FiniteSum(model, torch.nn.CrossEntropyLoss(), X[:TRAIN], y[:TRAIN]), X[TRAIN:], y[TRAIN:]


def _batches(seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(TRAIN, generator=generator).split(BATCH)


def _optimizer(method: str, objective: FiniteSum, rate: float, seed: int) -> Any:
    if method == "AdamW":
        return torch.optim.AdamW(objective.parameters, rate)
    if method == "AdaHessian":
        return adahessian()(objective.parameters, lr=rate, eps=1e-4, weight_decay=0.01)
    if method == "SQGN":
        return SQGN(objective, rate, batch=BATCH, hessian_batch=BATCH, start_scale=0.1, seed=seed)
    return LiSSA(objective, rate, depth=10, batch=BATCH, scale=5.0, seed=seed)


def adahessian() -> Any:
    """Return the class AdaHessian of pytorch-optimizer, or raise an ImportError that says what to install."""
    try:
        from pytorch_optimizer import AdaHessian
    except ImportError:
        raise ImportError("AdaHessian needs pytorch-optimizer: pip install 'anmin[lab]'.") from None
    return AdaHessian
