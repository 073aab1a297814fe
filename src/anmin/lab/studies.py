"""All studies by name. Each is a file with one function, ``run(quick=False, seed=0) -> Study``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from anmin.blas import one_thread
from anmin.lab.study import Study

#: The name of each study: its module in this package, and what it is about.
STUDIES: dict[str, tuple[str, str]] = {
    # The landscape of small networks, and convex programs.
    "landscapes": ("study_landscapes", "Losses of one and two neurons on two points"),
    "products": ("study_products", "A product of two weights as one variable, and the penalty that belongs to it"),
    "patterns": ("study_patterns", "Activation patterns: which there are, how many, and neurons that share one"),
    "initial_scale": (
        "study_initial_scale",
        "Large and tiny initial weights: neurons that stay, and neurons that gather",
    ),
    "alignment": ("study_alignment", "Patterns of neurons in gradient descent, and their convex optimum"),
    "relaxed": ("study_relaxed", "Relaxed gradient descent against gradient descent"),
    "convex_race": ("study_convex_race", "Convex programs against SGD and Adam over time, on small tables"),
    "digits_convex": ("study_digits", "Digits and pictures by a convex program, Adam, SGD and Adagrad"),
    # Theory of shallow networks.
    "altmin": ("study_altmin", "Alternating minimisation: recovery of planted networks and its basin"),
    "quadratic": ("study_quadratic", "Quadratic activations: networks found as matrices of low rank"),
    "tensor": ("study_tensor", "Tensor initialisation of planted networks, and what descends from it"),
    "population": ("study_population", "Expected losses in closed form, and the first weights of a network"),
    "residual_one_layer": (
        "study_residual_one_layer",
        "A residual network of one layer and the two phases of its descent",
    ),
    "one_relu": ("study_one_relu", "One ReLU by projected gradient descent, from fewer rows than inputs"),
    "filters": ("study_filters", "One convolutional filter: what makes it easy to learn"),
    "planted": ("study_planted", "Planted networks: which solver finds them, and in what time"),
    # Methods of the first and of the second order.
    "momentum": ("study_momentum", "Momentum methods on Iris"),
    "second_order": ("study_second_order", "Second-order methods and their rates"),
    "seismogram": ("study_seismogram", "SQGN and Adam on a seismogram inversion"),
    "race": ("study_race", "All methods over time on the same tables, and what tuning each needed"),
    # Double descent and residual networks.
    "double_descent_linear": (
        "study_double_descent_linear",
        "More rows, larger errors: double descent of linear regression",
    ),
    "random_features": (
        "study_random_features",
        "Random Fourier features: the peak where features are as many as rows",
    ),
    "width": ("study_width", "Width across the interpolation threshold, without an optimiser to blame"),
    "residual_linear": (
        "study_residual_linear",
        "Linear residual networks: no spurious optima near zero, and depth that does not slow them",
    ),
    # Discrete solvers as layers.
    "maxsat": ("study_maxsat", "MAXSAT as a semidefinite program"),
    "sudoku": ("study_sudoku", "SATNet learns sudoku"),
    "parity": ("study_parity", "Parity through a chain of SATNets"),
    "matching": ("study_matching", "Assignment as a layer, and shapes that are followed with it"),
}


def run_study(name: str, quick: bool = False, seed: int = 0) -> Study:
    """Run a study.

    Raises
    ------
    ValueError
        If there is none of this name.
    ImportError
        If a package that it needs is missing; the message names the extra.
    """
    if name not in STUDIES:
        raise ValueError(f"There is no study {name!r}; there are {', '.join(STUDIES)}.")
    run: Callable[..., Study] = import_module(f"anmin.lab.{STUDIES[name][0]}").run
    # Their matrices are small: threads of BLAS would wait for each other, above all beside those of PyTorch.
    with one_thread(when=True):
        return run(quick=quick, seed=seed)
