"""The rivals that are built on PyTorch: Adam, Levenberg–Marquardt, and the convex programs of scnn."""

from __future__ import annotations

import importlib
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from anmin.lab.baselines import Recipe, import_torch, train
from anmin.lab.rivals import FittedRival, Rival, quiet
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows, Scaling


class TorchRival(Rival):
    """A rival that PyTorch is needed for."""

    modules: ClassVar[tuple[str, ...]] = ("torch",)

    def prepare(self) -> None:
        """Import everything, and let PyTorch do what it does at its first step."""
        super().prepare()
        import_torch()


@dataclass(frozen=True)
class TorchAdam(TorchRival):
    """A loop of PyTorch's Adam by the paper's recipe, inputs and targets standardised, in float32 without penalty."""

    name: ClassVar[str] = "torch_adam"
    title: ClassVar[str] = "PyTorch Adam"
    recipe: ClassVar[Recipe] = Recipe("adam", 0.03, 300, 256, 100)

    def settings(self) -> dict:
        """Return the width and the recipe."""
        return {**super().settings(), **asdict(self.recipe)}

    def fit(self, X: NDArray, y: NDArray, seed: int) -> FittedRival:
        """Fit from PyTorch's start for that seed; the last network counts."""
        scaling, inputs, targets = _standardised(X, y)
        trained = train(inputs, targets, self.n_neurons, self.recipe, seed)
        return _fitted(scaling.fold(trained.network), trained.epochs)


@dataclass(frozen=True)
class TorchLM(TorchRival):
    """torch-levenberg-marquardt on all rows, inputs and targets standardised, in float64.

    The package knows no penalty, and a network trained to the end by it overfits small tables badly; so it is given
    what its users would give it: a tenth of the training rows is held out, the step that is best on them counts, and
    the training ends after ``patience`` steps without a better one.
    """

    steps: int = 100
    patience: int = 15
    held_out: float = 0.1

    name: ClassVar[str] = "torch_lm"
    title: ClassVar[str] = "torch LM"
    modules: ClassVar[tuple[str, ...]] = ("torch", "torch_levenberg_marquardt", "pytorch_lightning")

    def fit(self, X: NDArray, y: NDArray, seed: int) -> FittedRival:
        """Fit from PyTorch's start for that seed, which draws the held-out rows too."""
        torch = import_torch()
        from torch_levenberg_marquardt.training import LevenbergMarquardtModule

        scaling, inputs, targets = _standardised(X, y)
        order = np.random.default_rng(seed).permutation(len(X))
        count = max(1, round(self.held_out * len(X)))
        x_held, z_held, x, z = (
            torch.as_tensor(values[rows]) for rows in (order[:count], order[count:]) for values in (inputs, targets)
        )
        with torch.random.fork_rng(devices=[]), quiet():
            torch.manual_seed(seed)
            hidden, output = torch.nn.Linear(X.shape[1], self.n_neurons), torch.nn.Linear(self.n_neurons, y.shape[1])
            model = torch.nn.Sequential(hidden, torch.nn.ReLU(), output).double()
            # Slices of the Jacobian of this many rows keep its memory to some tens of MB.
            method = LevenbergMarquardtModule(model, solve_method="cholesky", max_batch_size=2048)
            best, best_error, best_step, step = _weights(hidden, output), math.inf, 0, 0
            for step in range(1, self.steps + 1):
                _, _, stopped, _ = method.training_step(x, z)
                with torch.no_grad():
                    error = float(torch.nn.functional.mse_loss(model(x_held), z_held))
                if error < best_error:
                    best, best_error, best_step = _weights(hidden, output), error, step
                if stopped or step - best_step >= self.patience:
                    break
        return _fitted(scaling.fold(best), step, {"best_step": best_step})


@dataclass(frozen=True)
class Scnn(TorchRival):
    """The convex programs of scnn (Mishkin, Sahiner & Pilanci 2022) with its defaults, its penalty tuned.

    Inputs and targets are standardised, and a column of ones is added: the package's own biases do not work with all
    of its models. Its ``p`` hidden neurons have weights of their own, and gates besides where they are gated; neurons
    that the penalty switches off are taken away and not counted.

    Parameters
    ----------
    n_neurons : int
    penalty : float
        λ of the group penalty beside the squared error divided by 2·N·c.
    """

    penalty: float = 1e-4

    formulation: ClassVar[str]
    modules: ClassVar[tuple[str, ...]] = ("torch", "opt_einsum", "cvxpy", "scnn")
    # Its declared requirements bring torchvision, which it does not use, and with it another PyTorch.
    install: ClassVar[str] = (
        "pip install --no-deps pyscnn linalg_backends; pip install cvxpy opt_einsum tqdm 'anmin[compare]'"
    )

    @abstractmethod
    def width(self) -> int:
        """Return how many neurons scnn may use."""

    def settings(self) -> dict:
        """Return the number of neurons that scnn may use, and the penalty."""
        return {"formulation": self.formulation, "most_neurons": self.width(), "penalty": self.penalty}

    def candidates(self) -> Sequence[Self]:
        """Return penalties of 1e-6 to 1e-3 by decades."""
        return [replace(self, penalty=penalty) for penalty in (1e-6, 1e-5, 1e-4, 1e-3)]

    def fit(self, X: NDArray, y: NDArray, seed: int) -> FittedRival:
        """Fit with gates drawn by that seed."""
        # Its annotations are wrong: models are called like functions, and their gates are G.
        optimize: Any = importlib.import_module("scnn.optimize").optimize
        regularizer = importlib.import_module("scnn.regularizers").NeuronGL1(self.penalty)
        scaling, inputs, targets = _standardised(X, y)
        with quiet():
            model, _ = optimize(
                self.formulation,
                self.width(),
                _with_ones(inputs),
                targets,
                regularizer=regularizer,
                seed=seed,
            )

        def predict(rows: NDArray) -> NDArray:
            scaled = (rows - scaling.x_mean) / scaling.x_scale
            return model(_with_ones(scaled)).reshape(len(rows), -1) * scaling.y_scale + scaling.y_mean

        gates = [model.G] if self.formulation == "gated_relu" else []
        weights = sum(part.size for part in (*model.parameters, *gates))
        return FittedRival(predict, 8 * weights, 1, {"neurons": len(model.parameters[0])})


@dataclass(frozen=True)
class ScnnGated(Scnn):
    """Gated ReLU: half a thousand fixed gates, as it takes many of them."""

    name: ClassVar[str] = "scnn_gated"
    title: ClassVar[str] = "pyscnn, gated ReLU"
    formulation: ClassVar[str] = "gated_relu"

    def width(self) -> int:
        """Return 500, or the width of the other networks where that is larger."""
        return max(500, self.n_neurons)


@dataclass(frozen=True)
class ScnnReLU(Scnn):
    """ReLU by the augmented Lagrangian: takes minutes on thousands of rows, so it takes part only if named."""

    name: ClassVar[str] = "scnn_relu"
    title: ClassVar[str] = "pyscnn, ReLU"
    formulation: ClassVar[str] = "relu"
    by_default: ClassVar[bool] = False

    def width(self) -> int:
        """Return the width of the other networks, made even: a gate may become two neurons."""
        return 2 * math.ceil(self.n_neurons / 2)


def _standardised(X: NDArray, y: NDArray) -> tuple[Scaling, NDArray, NDArray]:
    scaling = Scaling.standard(ArrayRows(X, y))
    return scaling, (X - scaling.x_mean) / scaling.x_scale, (y - scaling.y_mean) / scaling.y_scale


def _fitted(network: ReLUNetwork, iterations: int, extra: dict | None = None) -> FittedRival:
    return FittedRival(network.predict, network.n_bytes, iterations, extra or {})


def _weights(hidden: Any, output: Any) -> ReLUNetwork:
    A = np.vstack([hidden.bias.detach().numpy(), hidden.weight.detach().numpy().T])
    return ReLUNetwork(A, output.weight.detach().numpy().T, output.bias.detach().numpy())


def _with_ones(X: NDArray) -> NDArray:
    return np.column_stack([X, np.ones(len(X))])
