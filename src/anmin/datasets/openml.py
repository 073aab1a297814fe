"""Data sets that OpenML keeps, fetched through scikit-learn and kept in its cache."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np

from anmin.datasets.dataset import Dataset


@dataclass(frozen=True)
class OpenML:
    """Where a data set is on OpenML, and how its columns are brought to those that the papers use.

    Attributes
    ----------
    query : dict
        ``data_id``, or ``name`` and ``version``.
    target : str
        Name of the target column, or "default-target" for the one that OpenML marks.
    dropped : tuple of str
        Columns that are not inputs.
    n_rows, n_features : int
        What must come out; anything else is an error, so that no other data ever stands in silently.
    """

    query: dict
    n_rows: int
    n_features: int
    target: str = "default-target"
    dropped: tuple[str, ...] = field(default=())


#: By the names of anmin.datasets. OpenML's bike-sharing tables lack the column of casual users, and the power plant is
#: not there under a fixed number, so those two are read from files only.
SOURCES = {
    "abalone": OpenML({"data_id": 44956}, 4177, 7, target="rings", dropped=("sex",)),
    "concrete": OpenML({"data_id": 44959}, 1030, 8, target="strength"),
    "energy": OpenML({"data_id": 44960}, 768, 8, target="heating_load", dropped=("cooling_load",)),
    "protein": OpenML({"data_id": 44963}, 45_730, 9),
    "wine_red": OpenML({"data_id": 44972}, 1599, 11, target="quality"),
    "yacht": OpenML({"name": "yacht_hydrodynamics", "version": 1}, 308, 6),
}


def fetch(name: str) -> Dataset:
    """Download a data set, or read it from scikit-learn's cache (the folder ``scikit_learn_data``).

    Raises
    ------
    ConnectionError
        If it is not in the cache and OpenML cannot be reached.
    ValueError
        If what OpenML sends is not the expected table.
    """
    from sklearn.datasets import fetch_openml

    source = SOURCES[name]
    try:
        with warnings.catch_warnings():
            # Retries and notes on versions are for the person who chose the id, not for the user.
            warnings.simplefilter("ignore")
            # The plain parser: the other one needs pandas.
            bunch = fetch_openml(**source.query, target_column=source.target, as_frame=False, parser="liac-arff")
    except OSError as error:  # URLError, timeouts and refused connections
        raise ConnectionError(
            f"The data set {name!r} is neither in the folder of ANMIN_DATA nor could it be downloaded from OpenML "
            f"({error}); put the file there (see docs/data.md) or go online."
        ) from None
    kept = [i for i, column in enumerate(bunch.feature_names) if column.lower() not in source.dropped]
    X = np.asarray(bunch.data, dtype=np.float64)[:, kept]
    y = np.asarray(bunch.target, dtype=np.float64)
    if X.shape != (source.n_rows, source.n_features) or y.shape != (source.n_rows,):
        raise ValueError(
            f"OpenML sent {X.shape} inputs and {y.shape} targets for {name!r}, where "
            f"{(source.n_rows, source.n_features)} and {(source.n_rows,)} are expected; use a file instead "
            f"(see docs/data.md)."
        )
    number = source.query.get("data_id") or bunch.details["id"]
    return Dataset(
        name=name,
        X=X,
        y=y,
        feature_names=tuple(bunch.feature_names[i] for i in kept),
        target_names=(str(bunch.target_names[0]),),
        description="",
        source=f"OpenML id {number}",
    )
