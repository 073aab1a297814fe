"""Small images with their classes, reduced to their main components, for studies of classifiers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from anmin.datasets.files import data_folder
from anmin.validation import is_integer

MNIST, CIFAR = "mnist.npz", "cifar10_exact_first4000.npz"


@dataclass(frozen=True, eq=False)
class Images:
    """Rows of images to train and to test, with their classes.

    Attributes
    ----------
    name : str
    X, X_test : ndarray of shape (n, d) and (k, d)
        All inputs have mean zero and one common scale, so that their mean square is 1, by the training rows.
    labels, labels_test : ndarray of shape (n,) and (k,)
        0, 1, ..., 9.
    """

    name: str
    X: NDArray
    X_test: NDArray
    labels: NDArray
    labels_test: NDArray

    def targets(self) -> NDArray:
        """Return the classes of the training rows as columns of zeros and ones, (n, 10)."""
        return np.eye(10)[self.labels]


def prepared(
    name: str, X: ArrayLike, labels: ArrayLike, X_test: ArrayLike, labels_test: ArrayLike, n_components: int
) -> Images:
    """Return images (n, pixels) by their first principal components, found on the training rows alone.

    Raises
    ------
    ValueError
        If ``n_components`` is not an integer from 1 to the number of pixels, or of images where these are fewer.
    """
    X, X_test = np.asarray(X, dtype=np.float64), np.asarray(X_test, dtype=np.float64)
    if not (is_integer(n_components, 1) and n_components <= min(X.shape)):
        raise ValueError(f"n_components must be an integer from 1 to {min(X.shape)}; got {n_components!r}.")
    components = PCA(n_components, svd_solver="randomized", random_state=0).fit(X)
    inputs, inputs_test = components.transform(X), components.transform(X_test)
    scale = np.sqrt(np.mean(inputs**2))
    return Images(name, inputs / scale, inputs_test / scale, np.asarray(labels), np.asarray(labels_test))


def digits(seed: int, n_components: int, test_share: float = 0.3) -> Images:
    """Return the 1,797 digits of 8 × 8 pixels that scikit-learn brings, split by a seed."""
    X, labels = load_digits(return_X_y=True)
    parts = train_test_split(X, labels, test_size=test_share, random_state=seed, stratify=labels)
    return prepared("digits", parts[0], parts[2], parts[1], parts[3], n_components)


def mnist(seed: int, n_components: int, n_train: int) -> Images:
    """Return ``n_train`` training rows of MNIST drawn by a seed, and its 10,000 test rows.

    Raises
    ------
    FileNotFoundError
        If the file is not in the folder that ANMIN_DATA names.
    """
    arrays = _arrays(MNIST)
    chosen = np.random.default_rng(seed).permutation(len(arrays["y_train"]))[:n_train]
    X, X_test = (arrays[key].reshape(len(arrays[key]), -1) for key in ("x_train", "x_test"))
    return prepared("MNIST", X[chosen], arrays["y_train"][chosen], X_test, arrays["y_test"], n_components)


def cifar(seed: int, n_components: int, test_share: float = 0.2) -> Images:
    """Return the first 4,000 training images of CIFAR-10, split by a seed.

    Raises
    ------
    FileNotFoundError
        If the file is not in the folder that ANMIN_DATA names.
    """
    arrays = _arrays(CIFAR)
    X, labels = arrays["x"].reshape(len(arrays["x"]), -1), arrays["y"].ravel()
    order = np.random.default_rng(seed).permutation(len(X))
    test, train = np.split(order, [round(test_share * len(X))])
    return prepared("CIFAR-10", X[train], labels[train], X[test], labels[test], n_components)


def is_there(name: str) -> bool:
    """Return whether ANMIN_DATA names a folder with a file of this name."""
    folder = data_folder()
    return folder is not None and (folder / name).exists()


def _arrays(name: str) -> dict[str, NDArray]:
    folder = data_folder()
    if folder is None or not (folder / name).exists():
        raise FileNotFoundError(f"There is no {name}; set ANMIN_DATA to a folder that has it.")
    with np.load(folder / name, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}
