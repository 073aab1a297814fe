"""Other ways to fit a table, behind one interface, and ours among them.

The rivals of PyTorch and of the convex programs stand in :mod:`anmin.lab.torch_rivals`. Every package that is not
among anmin's own requirements is imported where it is used.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import product
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anmin.estimators import ReLURegressor
from anmin.history import Status

TUNING_FOLDS = 5


@dataclass(frozen=True, eq=False)
class FittedRival:
    """What a rival hands back.

    Attributes
    ----------
    predict : callable
        Takes inputs (M, d) and returns predictions (M, c), both in raw units.
    n_bytes : int
        Size of the model with its weights as float64. Scalings of inputs and targets are not counted: they can be
        folded into the weights.
    iterations : int
        Iterations, epochs or trees.
    extra : dict
        What only this rival has, ready for JSON.
    """

    predict: Callable[[NDArray], NDArray]
    n_bytes: int
    iterations: int
    extra: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Rival(ABC):
    """A way to fit a table, and its settings.

    Parameters
    ----------
    n_neurons : int
        Width of the network, for those that are networks of a given width.

    Attributes
    ----------
    name : str
        On the command line and in stored runs.
    title : str
        In tables.
    modules : tuple of str
        What is imported besides anmin's own requirements.
    install : str
        The command that brings them.
    tuning_rows : int
        Rows that its settings are tuned on at most, drawn at random from the training rows.
    by_default : bool
        Whether it takes part unless rivals are named.
    """

    n_neurons: int = 64

    name: ClassVar[str]
    title: ClassVar[str]
    modules: ClassVar[tuple[str, ...]] = ()
    install: ClassVar[str] = "pip install 'anmin[compare]'"
    tuning_rows: ClassVar[int] = 3000
    by_default: ClassVar[bool] = True

    def settings(self) -> dict:
        """Return all that determines the outcome besides the data and the seed, ready for JSON."""
        return asdict(self)

    def candidates(self) -> Sequence[Self]:
        """Return the settings to choose from by cross-validation; empty for a rival that is not tuned."""
        return ()

    @abstractmethod
    def fit(self, X: NDArray, y: NDArray, seed: int) -> FittedRival:
        """Fit to inputs X (N, d) and targets y (N, c), both in raw units; :meth:`prepare` comes first."""

    def prepare(self) -> None:
        """Import what the fit needs, so that a first fit takes no longer than the next.

        Raises
        ------
        ImportError
            If a package is missing; the message says what to install.
        """
        try:
            with quiet():
                for module in self.modules:
                    importlib.import_module(module)
        except ImportError as error:
            raise ImportError(f"{self.title} is not installed ({error}): {self.install}.") from None


@dataclass(frozen=True)
class Ours(Rival):
    """:class:`anmin.ReLURegressor` with its defaults.

    Attributes
    ----------
    max_time : float, optional
        Seconds after which the fit ends.
    """

    max_time: float | None = None

    name: ClassVar[str] = "ours"
    title: ClassVar[str] = "ReLURegressor"
    solver: ClassVar[str] = "auto"

    def settings(self) -> dict:
        """Return the width, the solver's name and a limit of time; all else is the default of the estimator."""
        own = {**super().settings(), "solver": self.solver}
        if self.max_time is None:
            del own["max_time"]  # no setting, so that runs stored before there was one stay valid
        return own

    def prepare(self) -> None:
        """Let Numba compile, which it does once on a machine."""
        super().prepare()
        _compile(self.solver)

    def fit(self, X: NDArray, y: NDArray, seed: int) -> FittedRival:
        """Fit from the random start that ``seed`` draws."""
        model = ReLURegressor(self.n_neurons, solver=self.solver, max_time=self.max_time, random_state=seed)
        with _no_convergence_warnings():
            model.fit(X, y)
        if model.status_ is Status.INTERRUPTED:
            raise KeyboardInterrupt  # what it has by then is no result to compare
        extra = {"alpha": float(model.alpha_), "status": model.status_.name}
        return FittedRival(_columns(model.predict), model.network_.n_bytes, model.n_iter_, extra)


@dataclass(frozen=True)
class PaperAnmin(Ours):
    """Algorithm 1 of the paper: 30 iterations at the paper's penalty of 0.001/n."""

    name: ClassVar[str] = "anmin"
    title: ClassVar[str] = "ANMIN (paper)"
    solver: ClassVar[str] = "anmin"


@dataclass(frozen=True)
class Ridge(Rival):
    """Linear regression, its penalty chosen by leave-one-out errors."""

    name: ClassVar[str] = "ridge"
    title: ClassVar[str] = "ridge regression"

    def settings(self) -> dict:
        """Return the grid of penalties; the number of neurons means nothing here."""
        return {"alphas": "1e-3 to 1e5 by half decades, standardised inputs"}

    def fit(self, X: NDArray, y: NDArray, seed: int) -> FittedRival:
        """Fit in standardised coordinates."""
        model = _standardised(RidgeCV(alphas=np.logspace(-3, 5, 17)), X, y)
        coefficients = (X.shape[1] + 1) * y.shape[1]
        return FittedRival(_columns(model.predict), 8 * coefficients, 1)


@dataclass(frozen=True)
class MLP(Rival):
    """scikit-learn's MLPRegressor, inputs and targets standardised, its penalty tuned by cross-validation.

    Parameters
    ----------
    n_neurons : int
    penalty : float
        Of ‖W‖² beside the sum, not the mean, of squared errors over all rows in standardised units. This is the unit
        in which the best value does not depend on the number of rows, so what was tuned on a part holds for the whole.
        scikit-learn divides its ``alpha`` by the rows of a batch: with "lbfgs", where all rows are one batch,
        ``alpha`` is this number, with "adam" a batch's share of it.
    """

    penalty: float = 1.0

    solver: ClassVar[str]
    least_power: ClassVar[int] = -4

    def settings(self) -> dict:
        """Return the width, the penalty and how long it is trained."""
        return {**super().settings(), "solver": self.solver, **self.effort()}

    @abstractmethod
    def effort(self) -> dict:
        """Return what bounds the training, ready for JSON."""

    @abstractmethod
    def options(self, n_rows: int) -> dict:
        """Return the options of MLPRegressor for that number of training rows."""

    def candidates(self) -> Sequence[Self]:
        """Return this rival with penalties up to 100 by decades."""
        return [replace(self, penalty=float(f"1e{power}")) for power in range(self.least_power, 3)]

    def fit(self, X: NDArray, y: NDArray, seed: int) -> FittedRival:
        """Fit from scikit-learn's start for that seed, without early stopping."""
        network = MLPRegressor(
            hidden_layer_sizes=(self.n_neurons,), solver=self.solver, random_state=seed, **self.options(len(X))
        )
        with _no_convergence_warnings():
            warnings.filterwarnings("error", "Training interrupted by user", UserWarning)
            try:
                model = _standardised(network, X, y)
            except UserWarning:
                raise KeyboardInterrupt from None
        fitted = model.regressor_[-1]
        weights = sum(part.size for part in (*fitted.coefs_, *fitted.intercepts_))
        return FittedRival(_columns(model.predict), 8 * weights, int(fitted.n_iter_))


@dataclass(frozen=True)
class MLPLbfgs(MLP):
    """MLPRegressor trained by L-BFGS on all rows: the stronger of its two solvers on small tables."""

    max_iter: int = 2000

    name: ClassVar[str] = "mlp_lbfgs"
    title: ClassVar[str] = "MLPRegressor, lbfgs"
    solver: ClassVar[str] = "lbfgs"

    def effort(self) -> dict:
        """Return the tolerance; the number of iterations is a field."""
        return {"tol": 1e-6}

    def options(self, n_rows: int) -> dict:
        """Return penalty, iterations and a tolerance low enough to go on to the end."""
        return {"alpha": self.penalty, "max_iter": self.max_iter, "max_fun": 10 * self.max_iter, **self.effort()}


@dataclass(frozen=True)
class MLPAdam(MLP):
    """MLPRegressor trained by Adam: about 10,000 steps of 200 rows, in 100 to 1,000 epochs."""

    name: ClassVar[str] = "mlp_adam"
    title: ClassVar[str] = "MLPRegressor, adam"
    solver: ClassVar[str] = "adam"
    least_power: ClassVar[int] = -2  # it stops before it could overfit as L-BFGS does
    batch: ClassVar[int] = 200
    steps: ClassVar[int] = 10_000

    def effort(self) -> dict:
        """Return how the epochs are counted."""
        return {"batch": self.batch, "steps": self.steps, "epochs": "100 to 1000", "rate": 1e-3}

    def options(self, n_rows: int) -> dict:
        """Return the options; no loss is small enough to stop before the last epoch."""
        batch = min(self.batch, n_rows)
        epochs = int(np.clip(-(-self.steps // -(-n_rows // batch)), 100, 1000))
        return {
            "alpha": self.penalty * batch / n_rows,
            "batch_size": batch,
            "max_iter": epochs,
            "tol": 0.0,
            "n_iter_no_change": epochs,
        }


@dataclass(frozen=True)
class LightGBM(Rival):
    """Boosted trees by LightGBM: number and size of the trees tuned by cross-validation, else its defaults.

    The size of the model is a compact one, smaller than the text that LightGBM writes: for each split a threshold of
    8 bytes, a feature of 2 and two children of 2 each, for each leaf a value of 8.
    """

    trees: int = 100
    leaves: int = 31
    least_rows: int = 20
    rate: float = 0.1

    name: ClassVar[str] = "lightgbm"
    title: ClassVar[str] = "LightGBM"
    modules: ClassVar[tuple[str, ...]] = ("lightgbm",)
    # The best number and size of trees grow with the rows, so that few rows would mislead; and trees are quick.
    tuning_rows: ClassVar[int] = 20_000

    def settings(self) -> dict:
        """Return the tuned settings; the number of neurons means nothing here."""
        return {"trees": self.trees, "leaves": self.leaves, "least_rows": self.least_rows, "rate": self.rate}

    def candidates(self) -> Sequence[Self]:
        """Return 24 settings, LightGBM's defaults among them."""
        grid = product((100, 300, 1000), (7, 15, 31, 63), (5, 20))
        return [replace(self, trees=trees, leaves=leaves, least_rows=rows) for trees, leaves, rows in grid]

    def fit(self, X: NDArray, y: NDArray, seed: int) -> FittedRival:
        """Fit one model for each output."""
        import lightgbm

        settings = {
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.least_rows,
            "learning_rate": self.rate,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 0,  # what OpenMP is set to
            "verbosity": -1,
        }
        models = [lightgbm.train(settings, lightgbm.Dataset(X, column), self.trees) for column in y.T]
        leaves = [tree["num_leaves"] for model in models for tree in model.dump_model()["tree_info"]]
        n_bytes = sum(14 * (count - 1) + 8 * count for count in leaves)

        def predict(inputs: NDArray) -> NDArray:
            return np.column_stack([model.predict(inputs) for model in models])

        return FittedRival(predict, n_bytes, self.trees, {"leaves": sum(leaves)})


def tune(rival: Rival, X: NDArray, y: NDArray, seed: int = 0) -> tuple[Rival, dict]:
    """Return the rival with its best settings, and the cross-validated errors of all, ready for JSON.

    Settings are compared by the mean squared error over five folds of at most ``tuning_rows`` rows; with several
    outputs each counts in units of its variance. Where a rival has nothing to tune, it is returned with an empty dict.
    """
    candidates = rival.candidates()
    if not candidates:
        return rival, {}
    rival.prepare()
    rows = np.random.default_rng(seed).permutation(len(X))[: rival.tuning_rows]
    X, y = X[rows], y[rows]
    deviation = y.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    folds = list(KFold(min(TUNING_FOLDS, len(X))).split(X))
    errors = []
    for candidate in candidates:
        residuals = [(candidate.fit(X[a], y[a], seed).predict(X[b]) - y[b]) / scale for a, b in folds]
        error = float(np.mean(np.vstack(residuals) ** 2))
        errors.append(error if np.isfinite(error) else np.inf)
    best = candidates[int(np.argmin(errors))]
    tried = [
        {**candidate.settings(), "error": error if np.isfinite(error) else None}
        for candidate, error in zip(candidates, errors, strict=True)
    ]
    return best, {"rows": len(X), "folds": len(folds), "tried": tried}


def _standardised(model: Any, X: NDArray, y: NDArray) -> TransformedTargetRegressor:
    """Fit a model of scikit-learn to standardised inputs and targets."""
    both = TransformedTargetRegressor(make_pipeline(StandardScaler(), model), transformer=StandardScaler())
    # One output has to come as a vector, or MLPRegressor warns.
    return both.fit(X, y[:, 0] if y.shape[1] == 1 else y)


def _columns(predict: Callable[[NDArray], NDArray]) -> Callable[[NDArray], NDArray]:
    """Let predictions have two dimensions whatever the model makes of one output."""

    def in_columns(X: NDArray) -> NDArray:
        return predict(X).reshape(len(X), -1)

    return in_columns


@cache
def _compile(solver: str) -> None:
    """Fit ten rows, so that what is compiled at its first use is compiled."""
    rows = np.arange(10.0)[:, None]
    with _no_convergence_warnings():
        ReLURegressor(2, solver=solver, max_iter=2, random_state=0).fit(rows, np.abs(rows - 5))


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings and remarks, which would tear a progress display apart, and leave logging as it was."""
    root = logging.getLogger()
    level, handlers, disabled = root.level, root.handlers[:], root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)  # scnn sets the logging of the whole process
        root.handlers[:] = handlers


@contextmanager
def _no_convergence_warnings() -> Iterator[None]:
    # A bound on the iterations is part of the settings that the tables show.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
