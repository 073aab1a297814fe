"""Data made on the spot, with known properties."""

from __future__ import annotations

import numpy as np

from anmin.datasets.dataset import Dataset
from anmin.datasets.shapes import SHAPES, signed_distance
from anmin.network import ReLUNetwork

Seed = int | np.random.Generator


def make_sdf(shape: str = "cat", size: int = 100) -> Dataset:
    """Return the signed distance field of a plane shape with concave parts, sampled on a grid of pixels.

    Parameters
    ----------
    shape : {"cat", "crescent", "gear", "star"}, default "cat"
    size : int, default 100
        Pixels along each side; the shape spans the square.

    Returns
    -------
    Dataset
        size² rows. Inputs are pixel centres (x to the right, y upwards), 0 to size − 1; the target is the distance to
        the outline in pixels, negative inside and positive outside, exact to rounding.

    Raises
    ------
    ValueError
        If the shape is unknown or ``size`` is below 2.
    """
    if shape not in SHAPES:
        raise ValueError(f"shape must be one of {', '.join(SHAPES)}; got {shape!r}.")
    _check_count("size", size, 2)
    pixels = np.arange(size, dtype=np.float64)
    y, x = np.meshgrid(pixels, pixels, indexing="ij")
    X = np.column_stack([x.ravel(), y.ravel()])
    outline = [ring * (size - 1) for ring in SHAPES[shape]()]
    return Dataset(
        name=f"sdf-{shape}",
        X=X,
        y=signed_distance(X, outline),
        feature_names=("x", "y"),
        target_names=("distance",),
        description=f"Signed distance to the outline of a {shape}, in pixels, negative inside; {size} × {size} pixels.",
        source="generated",
    )


def make_sine_norm(n_rows: int = 10_000, n_features: int = 3, rng: Seed = 0) -> Dataset:
    """Return x ~ N(0, I_d) and y = sin(‖x‖²): the simulation of Barbu, arXiv 2304.02972.

    Parameters
    ----------
    n_rows, n_features : int
        N and d; the paper has N in {1000, 10000} and d in {1, 3, 10, 30}.
    rng : int or numpy.random.Generator, default 0
        Seed or source of the inputs. The targets have no noise; they are not centred.
    """
    _check_count("n_rows", n_rows)
    _check_count("n_features", n_features)
    X = np.random.default_rng(rng).standard_normal((n_rows, n_features))
    return Dataset(
        name="sine_norm",
        X=X,
        y=np.sin(np.sum(X**2, axis=1)),
        feature_names=_numbered("x", n_features),
        target_names=("y",),
        description="y = sin(|x|²) for standard normal x.",
        source="generated",
    )


def make_planted(
    n_rows: int = 10_000, n_features: int = 5, n_neurons: int = 8, noise: float = 0.0, rng: Seed = 0
) -> tuple[Dataset, ReLUNetwork]:
    """Return data that a ReLU network made, and the network.

    Parameters
    ----------
    n_rows, n_features, n_neurons : int
        N, d and h. Inputs are standard normal; so are hidden weights divided by √d and output weights; hidden biases
        are normal with deviation 1/2.
    noise : float, default 0.0
        Standard deviation of normal noise added to the targets, in units of y.
    rng : int or numpy.random.Generator, default 0

    Returns
    -------
    dataset : Dataset
    network : ReLUNetwork
        The planted network: at ``noise=0`` its predictions are the targets, exactly.
    """
    for name, value in (("n_rows", n_rows), ("n_features", n_features), ("n_neurons", n_neurons)):
        _check_count(name, value)
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise must be a finite number >= 0; got {noise!r}.")
    rng = np.random.default_rng(rng)
    A = np.vstack([rng.normal(0, 0.5, n_neurons), rng.standard_normal((n_features, n_neurons)) / np.sqrt(n_features)])
    B = rng.standard_normal((n_neurons, 1))
    names = _numbered("x", n_features)
    network = ReLUNetwork(A, B, np.zeros(1), feature_names=names, output_names=("y",))
    X = rng.standard_normal((n_rows, n_features))
    y = network.predict(X)[:, 0]
    if noise > 0:
        y = y + rng.normal(0, noise, n_rows)
    dataset = Dataset(
        name="planted",
        X=X,
        y=y,
        feature_names=names,
        target_names=("y",),
        description=f"The output of a network of {n_neurons} ReLU neurons, plus noise of deviation {noise:g}.",
        source="generated",
    )
    return dataset, network


def make_year_like(n_rows: int = 515_345, rng: Seed = 0) -> Dataset:
    """Return generated rows of the size and ranges of YearPredictionMSD, for measuring speed. It is not that data.

    90 correlated inputs of mixed scales; targets are whole years in 1922 to 2011, crowded towards the end, from a
    planted network of 20 neurons on the inputs and noise. At the full 515,345 rows X takes 371 MB.
    """
    _check_count("n_rows", n_rows)
    rng = np.random.default_rng(rng)
    d, factors = 90, 12
    loadings = rng.standard_normal((factors, d)) * np.linspace(1.0, 0.3, factors)[:, None]
    scales = 10 ** rng.uniform(0.5, 2.5, d)
    A = rng.standard_normal((factors, 20)) / np.sqrt(factors)
    a0, b = rng.normal(0, 0.5, 20), rng.standard_normal(20)
    X, y = np.empty((n_rows, d)), np.empty(n_rows)
    for start in range(0, n_rows, 2**15):  # in blocks: no second array of the size of X
        rows = slice(start, min(start + 2**15, n_rows))
        Z = rng.standard_normal((rows.stop - rows.start, factors))
        X[rows] = (Z @ loadings + rng.standard_normal((len(Z), d))) * scales
        y[rows] = np.maximum(Z @ A + a0, 0.0) @ b + rng.standard_normal(len(Z))
    # Skewed backwards in time, with the median in 2002, as in the original.
    y = np.clip(np.round(2011 - 9 * np.exp(-0.35 * (y - np.median(y)))), 1922, 2011)
    return Dataset(
        name="year_like",
        X=X,
        y=y,
        feature_names=_numbered("x", d),
        target_names=("year",),
        description="Generated, with the size and ranges of YearPredictionMSD; not that data.",
        source="generated",
    )


def _numbered(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{i}" for i in range(count))


def _check_count(name: str, value: int, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}.")
