"""What every loader returns."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows with their names and where they came from.

    Attributes
    ----------
    name : str
    X : ndarray of shape (N, d), float64
        Inputs.
    y : ndarray of shape (N,) or (N, c), float64
        Targets: one column as (N,), several as (N, c).
    feature_names : tuple of d str
    target_names : tuple of c str
    description : str
        One sentence, with units where they are known.
    source : str
        Where the rows came from: "generated", "bundled with scikit-learn", the name of a file, or "OpenML id ...".
    """

    name: str
    X: NDArray
    y: NDArray
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    description: str
    source: str

    def __post_init__(self) -> None:
        outputs = 1 if self.y.ndim == 1 else self.y.shape[1]
        if self.X.ndim != 2 or len(self.X) != len(self.y):
            raise ValueError(f"X and y must have one row each for a row; got {self.X.shape} and {self.y.shape}.")
        if len(self.feature_names) != self.X.shape[1] or len(self.target_names) != outputs:
            raise ValueError(
                f"A data set needs a name for each column; got {len(self.feature_names)} and {len(self.target_names)} "
                f"names for {self.X.shape[1]} inputs and {outputs} outputs."
            )

    @property
    def n_rows(self) -> int:
        """Number of rows, N."""
        return self.X.shape[0]

    @property
    def n_features(self) -> int:
        """Number of inputs, d."""
        return self.X.shape[1]

    @property
    def n_outputs(self) -> int:
        """Number of outputs, c."""
        return len(self.target_names)
