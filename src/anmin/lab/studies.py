"""All studies by name. Each is a file with one function, ``run(quick=False, seed=0) -> Study``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from anmin.lab.study import Study

#: The name of each study: its module in this package, and what it is about.
STUDIES: dict[str, tuple[str, str]] = {
    "maxsat": ("study_maxsat", "MAXSAT as a semidefinite program"),
    "sudoku": ("study_sudoku", "SATNet learns sudoku"),
    "matching": ("study_matching", "Assignment as a layer, and shapes that are followed with it"),
    "parity": ("study_parity", "Parity through a chain of SATNets"),
    # Double descent.
    "double_descent_linear": (
        "study_double_descent_linear",
        "More rows, larger errors: double descent of linear regression",
    ),
    "random_features": (
        "study_random_features",
        "Random Fourier features: the peak where features are as many as rows",
    ),
    "width": ("study_width", "Width across the interpolation threshold, without an optimiser to blame"),
    # Residual networks.
    "residual_linear": (
        "study_residual_linear",
        "Linear residual networks: no spurious optima near zero, and depth that does not slow them",
    ),
    # The landscape of small networks.
    "landscapes": ("study_landscapes", "Losses of one and two neurons on two points"),
    "products": ("study_products", "A product of two weights as one variable, and the penalty that belongs to it"),
    "initial_scale": (
        "study_initial_scale",
        "Large and tiny initial weights: neurons that stay, and neurons that gather",
    ),
    "patterns": ("study_patterns", "Activation patterns: which there are, how many, and neurons that share one"),
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
    return run(quick=quick, seed=seed)
