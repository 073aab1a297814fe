"""All studies by name. Each is a file with one function, ``run(quick=False, seed=0) -> Study``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from anmin.lab.study import Study

#: The name of each study: its module in this package, and what it is about.
STUDIES: dict[str, tuple[str, str]] = {
    # Theory of shallow networks
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
