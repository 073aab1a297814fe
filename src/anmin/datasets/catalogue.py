"""The data sets by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from anmin.datasets import files, generated, openml
from anmin.datasets.dataset import Dataset


@dataclass(frozen=True)
class Entry:
    """One data set of the catalogue.

    Attributes
    ----------
    loader : callable
        Returns the data set; its parameters are the options of :func:`load`.
    size : str
        "rows × inputs -> outputs", at the default options.
    description : str
    origin : "generated", "bundled" or "file"
        Made on the spot, bundled with scikit-learn, or read from a file.
    file : str
        That file, in the folder of ANMIN_DATA.
    """

    loader: Callable[..., Dataset]
    size: str
    description: str
    origin: Literal["generated", "bundled", "file"] = "file"
    file: str = ""

    def availability(self, name: str) -> str:
        """Return where :func:`load` finds it now: "generated", "bundled", "file", "OpenML" or, nowhere, "no file"."""
        if self.origin != "file":
            return self.origin
        folder = files.data_folder()
        if folder is not None and (folder / self.file).exists():
            return "file"
        return "OpenML" if name in openml.SOURCES else "no file"


def load(name: str, **options: Any) -> Dataset:
    """Return a data set of the catalogue.

    Parameters
    ----------
    name : str
        One of :func:`names`.
    **options
        What its loader takes, such as ``size=160`` for a signed distance field or ``seed=1`` for the patches.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If there is no such data set or option.
    FileNotFoundError, ConnectionError
        If it has to be read from a file, or downloaded, and cannot be.
    """
    if name not in CATALOGUE:
        raise ValueError(f"There is no data set {name!r}; there are {', '.join(CATALOGUE)}.")
    entry = CATALOGUE[name]
    bound = entry.loader.keywords if isinstance(entry.loader, partial) else {}
    known = [option for option in inspect.signature(entry.loader).parameters if option not in bound]
    unknown = sorted(options.keys() - set(known))
    if unknown:
        raise ValueError(
            f"The data set {name!r} has no option {unknown[0]!r}; it takes {', '.join(known) or 'no options'}."
        )
    dataset = entry.loader(**options)
    return dataset if dataset.description else replace(dataset, description=entry.description)


def names() -> tuple[str, ...]:
    """Return the names of the data sets."""
    return tuple(CATALOGUE)


def _planted(
    n_rows: int = 10_000, n_features: int = 5, n_neurons: int = 8, noise: float = 0.0, rng: generated.Seed = 0
) -> Dataset:
    return generated.make_planted(n_rows, n_features, n_neurons, noise, rng)[0]


def _diabetes() -> Dataset:
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    return _bundled("diabetes", bunch, ("progression",))


def _linnerud() -> Dataset:
    from sklearn.datasets import load_linnerud

    bunch = load_linnerud()
    return _bundled("linnerud", bunch, tuple(name.lower() for name in bunch.target_names))


def _bundled(name: str, bunch: Any, targets: tuple[str, ...]) -> Dataset:
    features = tuple(str(feature).lower() for feature in bunch.feature_names)
    X, y = (np.asarray(values, dtype=np.float64) for values in (bunch.data, bunch.target))
    return Dataset(name, X, y, features, targets, "", "bundled with scikit-learn")


def _file_table(name: str, size: str, description: str) -> Entry:
    folder = "uci/" if name in files.UCI_SETS else ""
    return Entry(partial(files.load_table, name=name), size, description, file=f"{folder}{name}.csv")


def _sdf(shape: str) -> Entry:
    description = f"Signed distance to the outline of a {shape}."
    return Entry(partial(generated.make_sdf, shape=shape), "10,000 × 2 -> 1", description, "generated")


CATALOGUE: dict[str, Entry] = {
    "sdf-cat": _sdf("cat"),
    "sdf-crescent": _sdf("crescent"),
    "sdf-gear": _sdf("gear"),
    "sdf-star": _sdf("star"),
    "sine_norm": Entry(generated.make_sine_norm, "10,000 × 3 -> 1", "y = sin(|x|²), x standard normal.", "generated"),
    "planted": Entry(_planted, "10,000 × 5 -> 1", "The output of a known network of 8 neurons.", "generated"),
    "year_like": Entry(
        generated.make_year_like,
        "515,345 × 90 -> 1",
        "Generated, of the size of YearPredictionMSD.",
        "generated",
    ),
    "diabetes": Entry(_diabetes, "442 × 10 -> 1", "Progression of diabetes after a year.", "bundled"),
    "linnerud": Entry(_linnerud, "20 × 3 -> 3", "Weight, waist and pulse of men from exercises.", "bundled"),
    "abalone": _file_table("abalone", "4,177 × 7 -> 1", "Rings (age) of abalones from sizes and weights."),
    "bike_sharing": _file_table(
        "bike_sharing", "17,379 × 13 -> 1", "Bicycles hired in an hour, from time and weather."
    ),
    "concrete": _file_table("concrete", "1,030 × 8 -> 1", "Strength of concrete (MPa) from its mixture."),
    "energy": _file_table("energy", "768 × 8 -> 1", "Heating load of simulated buildings."),
    "power": _file_table("power", "9,568 × 4 -> 1", "Output of a power plant (MW) from the weather."),
    "protein": _file_table("protein", "45,730 × 9 -> 1", "Deviation of decoy protein structures (ångström)."),
    "wine_red": _file_table("wine_red", "1,599 × 11 -> 1", "Marks of red wines from chemical measurements."),
    "yacht": _file_table("yacht", "308 × 6 -> 1", "Resistance of sailing yachts."),
    "horse_sdf": Entry(
        files.load_horse_sdf,
        "73,080 × 2 -> 1",
        "Signed distance to the outline of a horse.",
        file="horse_sdf.npz",
    ),
    "patches": Entry(
        files.load_patches,
        "15,912 × 225 -> 225",
        "Clean patches of a photograph from noisy ones.",
        file="bsds_102061.png",
    ),
    "year_prediction_msd": Entry(
        files.load_year,
        "515,345 × 90 -> 1",
        "Year of release of songs from their timbre.",
        file="YearPredictionMSD.txt",
    ),
}
