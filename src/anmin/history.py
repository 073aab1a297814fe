"""What a fit reports: one record for each iteration, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd


class Status(Enum):
    """How a fit ended; the value says what happened and what to try."""

    CONVERGED = "The loss changed by less than tol between two iterations."
    SCHEDULE_DONE = "The method ran all the iterations it prescribes; the loss still moved. Set max_iter to run more."
    VISITS_DONE = (
        "The fit visited all rows as often as it may, for one step or in all, before their loss settled. "
        "warm_start=True goes on from this network."
    )
    MAX_ITER = "The fit stopped at max_iter iterations before the loss settled. Increase max_iter, or tol."
    MAX_TIME = "The fit stopped at max_time seconds before the loss settled. Increase max_time for a better network."
    INTERRUPTED = (
        "The fit was interrupted; the best network so far was kept. Its checkpoint, or warm_start=True, goes on, where "
        "the estimator has these."
    )
    STOPPED = "A callback asked to stop; the best network until then was kept."
    HELD_OUT = (
        "The error on the held-out rows had long not fallen; the network with the least was kept. Without "
        "validation_fraction the fit goes on until the loss settles."
    )
    ROWS_LOST = (
        "The rows could not be read to the end; the best network so far, of a sample or of all rows, was kept. "
        "Fit again when they can be read."
    )
    NOT_FINITE = (
        "An iteration gave NaN or infinite weights; the best network before it was kept. "
        "Standardise the inputs or increase alpha."
    )


@dataclass(frozen=True)
class Record:
    """One iteration; iteration 0 is the starting network. A quantity that a solver does not measure is NaN.

    Attributes
    ----------
    iteration : int
    seconds : float
        Wall-clock seconds since the fit began.
    loss : float
        The loss (see :mod:`anmin.objective`), in the coordinates solved in.
    mse : float
        Mean squared error over rows (weighted) and outputs, in squared units of y.
    validation_mse : float
        The same on held-out rows; under another loss than the squared one, the mean of that loss on them.
    frozen_loss : float
        The loss that the hidden-layer solve reached with the pattern and output layer frozen.
    log_determinant, condition_number : float
        Of the hidden-layer system that was solved (its condition number as estimated in the 1-norm).
    pattern_changes : int
        Activation-pattern entries (row, neuron) that differ from the iteration before.
    dead_neurons : int
        Neurons active on no row.
    optimality : float
        First-order measure, free of scale: the largest cosine between the residuals and a column of the Jacobian.
    damping : float
        Factor of the diagonal that was added to the hidden-layer system.
    products : int
        Products with the hidden layer's matrix that its solution took, where it is not formed.
    branch : str
        How the hidden-layer system was solved, or what else the iteration did.
    n_rows : int
        Rows that the loss is of: fewer than all as long as rows in files or on other machines are fitted by a sample.
    """

    iteration: int = 0
    seconds: float = 0.0
    loss: float = np.nan
    mse: float = np.nan
    validation_mse: float = np.nan
    frozen_loss: float = np.nan
    log_determinant: float = np.nan
    condition_number: float = np.nan
    pattern_changes: int = 0
    dead_neurons: int = 0
    optimality: float = np.nan
    damping: float = np.nan
    products: int = 0
    branch: str = ""
    n_rows: int = 0


@dataclass(frozen=True)
class History(Sequence[Record]):
    """The records of a fit, in order; ``history["loss"]`` is one quantity as an array over the iterations."""

    records: tuple[Record, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.column(key)
        return self.records[key]

    def column(self, name: str) -> NDArray:
        """Return one quantity of all records as an array of shape (iterations + 1,)."""
        if name not in self.names():
            raise KeyError(f"A history has no {name!r}; it has {', '.join(self.names())}.")
        return np.array([getattr(record, name) for record in self.records])

    def to_dict(self) -> dict[str, list]:
        """Return the columns as lists of Python numbers, ready for JSON or a data frame."""
        rows = [asdict(record) for record in self.records]
        return {name: [row[name] for row in rows] for name in self.names()}

    def to_frame(self) -> pd.DataFrame:
        """Return a pandas data frame with a row for each iteration, which is its index.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ImportError("A data frame needs pandas, which is not installed: pip install pandas.") from None
        return pd.DataFrame(self.to_dict()).set_index("iteration")

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the names of the quantities."""
        return tuple(field.name for field in fields(Record))
