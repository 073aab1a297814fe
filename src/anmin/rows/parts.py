"""Rows that are visited part by part, because they are too many to hold: in files, or on other machines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from anmin.rows.arrays import ArrayRows, Found, Moments, moments_of
from anmin.rows.checks import check_of, mixed
from anmin.rows.patterns import Pattern
from anmin.statistics import OutputStatistics, PatternStatistics

#: Most rows of the sample that is held in memory, and most bytes of it.
HELD_ROWS, HELD_BYTES = 2**18, 2**27


class RowsLostError(RuntimeError):
    """Rows that were there before cannot be read any more; the message is a sentence that says why."""


class Part(NamedTuple):
    """Rows as they are read: the number of the first, X (n, d) and Y (n, c) of floats, and weights (n,) or None."""

    first: int
    X: NDArray
    Y: NDArray
    w: NDArray | None


@dataclass(frozen=True, eq=False)
class Affine:
    """The maps x -> (x − x_mean)/x_scale and y -> (y − y_mean)/y_scale under which parts are seen, as ``dtype``.

    Passes over a part are made on the ``device``, where one is given.
    """

    x_mean: NDArray
    x_scale: NDArray
    y_mean: NDArray
    y_scale: NDArray
    dtype: Any
    device: Any = None

    def rows(self, part: Part) -> ArrayRows | None:
        """Return the rows of a part, or None if none has a positive weight."""
        if not len(part.X) or (part.w is not None and not part.w.any()):
            return None
        rows = ArrayRows(part.X, part.Y, part.w)
        rows = rows.standardized(self.x_mean, self.x_scale, self.y_mean, self.y_scale, self.dtype)
        return rows if self.device is None else rows.on(self.device)

    def followed_by(self, x_mean: NDArray, x_scale: NDArray, y_mean: NDArray, y_scale: NDArray, dtype: Any) -> Affine:
        """Return this map with another after it."""
        return Affine(
            self.x_mean + self.x_scale * x_mean,
            self.x_scale * x_scale,
            self.y_mean + self.y_scale * y_mean,
            self.y_scale * y_scale,
            dtype,
            self.device,
        )


@dataclass(frozen=True, eq=False)
class Heavy:
    """What a heavy pass makes of a part: its frozen-pattern sums, or None of no rows."""

    A: NDArray
    negative_slope: float

    def __call__(self, part: Part, seen: Affine) -> PatternStatistics | None:
        """Return the sums, without what is known of the pattern."""
        rows = seen.rows(part)
        return None if rows is None else replace(rows.statistics(self.A, self.negative_slope), pattern=None)


@dataclass(frozen=True, eq=False)
class Lowest:
    """The least x̃ᵀa_j of each neuron, as something that merges."""

    values: NDArray

    def merge(self, other: Lowest) -> Lowest:
        """Return the least of both."""
        return Lowest(np.minimum(self.values, other.values))


@dataclass(frozen=True, eq=False)
class FindLowest:
    """What :meth:`RowsInParts.minimum` makes of a part."""

    A: NDArray

    def __call__(self, part: Part, seen: Affine) -> Lowest | None:
        """Return the least values, or None of no rows."""
        rows = seen.rows(part)
        return None if rows is None else Lowest(rows.minimum(self.A))


@dataclass(frozen=True, eq=False)
class Spread:
    """The sum of the weights, and the moments of columns."""

    n: float
    moments: Moments

    @classmethod
    def of(cls, values: NDArray, w: NDArray | None) -> Self:
        """Return those of columns (n, k) with weights (n,)."""
        return cls(float(len(values)) if w is None else float(w.sum()), moments_of(values, w))

    def merge(self, other: Self) -> Self:
        """Return those of both sets of rows (Chan, Golub & LeVeque, Updating formulae, 1979)."""
        n, mine, theirs = self.n + other.n, self.moments, other.moments
        largest = np.maximum(mine.largest, theirs.largest)
        # In units in which no square leaves the range of numbers.
        unit = np.where(largest > 0, largest, 1.0)
        apart = (theirs.mean - mine.mean) / unit
        share, rest = other.n / n, self.n / n
        variance = (
            rest * (mine.deviation / unit) ** 2 + share * (theirs.deviation / unit) ** 2 + rest * share * apart**2
        )
        return type(self)(n, Moments(mine.mean + unit * apart * share, unit * np.sqrt(variance), largest))


@dataclass(frozen=True, eq=False)
class Survey:
    """What is found out of rows when they are first seen.

    Attributes
    ----------
    n_rows : int
        Rows of positive weight.
    n_visited : int
        Rows of any weight.
    x, y : Spread
    checks : ndarray of shape (2,) or (3,), uint64
        Of all inputs, targets and weights, by which other rows are told from these
        (:func:`anmin.rows.checks.check_of`).
    numbers : ndarray of shape (m,), uint64
        Of the rows of the sample. Each row has a key that depends on its number alone, and those of the least keys are
        taken, so the sample does not depend on the parts.
    X, Y, w : ndarray
        The rows of these numbers.
    most : int
        Rows of the sample at most.
    bad : tuple of str, int or None
        Kind and number (from 1) of the first row that has a value that is not finite, or a negative weight.
    """

    n_rows: int
    n_visited: int
    x: Spread
    y: Spread
    checks: NDArray
    numbers: NDArray
    X: NDArray
    Y: NDArray
    w: NDArray | None
    most: int
    bad: tuple[str, int] | None

    def merge(self, other: Survey) -> Survey:
        """Return what is found out of both sets of rows."""
        if self.bad or other.bad:
            found = [survey for survey in (self, other) if survey.bad]
            return min(found, key=lambda survey: survey.bad[1] if survey.bad else 0)
        numbers = np.concatenate([self.numbers, other.numbers])
        kept = _least(numbers, self.most)
        both = None if self.w is None or other.w is None else np.concatenate([self.w, other.w])[kept]
        return Survey(
            self.n_rows + other.n_rows,
            self.n_visited + other.n_visited,
            self.x.merge(other.x),
            self.y.merge(other.y),
            self.checks + other.checks,
            numbers[kept],
            np.concatenate([self.X, other.X])[kept],
            np.concatenate([self.Y, other.Y])[kept],
            both,
            self.most,
            None,
        )


@dataclass(frozen=True)
class Look:
    """What the first visit makes of a part: a :class:`Survey`, or None of no rows."""

    names: tuple[str, ...]  # of inputs, targets and weights
    most: int  # rows of the sample

    def __call__(self, part: Part, seen: Affine) -> Survey | None:
        """Return the survey; a value that is not finite is named by its row and column."""
        first, X, Y, w = part
        bad = self._bad(part)
        if bad is not None:
            none = Spread(0.0, Moments(*[np.zeros(0)] * 3))
            nothing = np.zeros(0, np.uint64)
            return Survey(0, 0, none, none, nothing, nothing, X[:0], Y[:0], w, self.most, bad)
        numbers = np.arange(first, first + len(X), dtype=np.uint64)
        visited = len(X)
        checked = [X, Y] if w is None else [X, Y, w[:, None]]
        checks = np.array([check_of(first, values) for values in checked], np.uint64)
        if w is not None and not w.all():
            X, Y, numbers, w = X[w > 0], Y[w > 0], numbers[w > 0], w[w > 0]
        if not len(X):
            return None
        kept = _least(numbers, self.most)
        sampled = None if w is None else w[kept]
        return Survey(
            len(X),
            visited,
            Spread.of(X, w),
            Spread.of(Y, w),
            checks,
            numbers[kept],
            X[kept],
            Y[kept],
            sampled,
            self.most,
            None,
        )

    def _bad(self, part: Part) -> tuple[str, int] | None:
        columns = [part.X, part.Y] if part.w is None else [part.X, part.Y, part.w[:, None]]
        place = 0
        found: list[tuple[int, str]] = []
        for values in columns:
            wrong = ~np.isfinite(values)
            if wrong.any():
                i = int(wrong.any(axis=1).argmax())
                j = int(wrong[i].argmax())
                kind = "a missing value or NaN" if np.isnan(values[i, j]) else "an infinite value"
                found.append((i, f"column {self.names[place + j]!r} has {kind}"))
            place += values.shape[1]
        if part.w is not None and (part.w < 0).any():
            found.append((int((part.w < 0).argmax()), f"the weights, column {self.names[-1]!r}, are negative"))
        if not found:
            return None
        i, what = min(found)
        return what, part.first + i + 1


class RowsInParts(ABC):
    """Rows that one visits in parts, each pass over all of them.

    A subclass says how a function of a part is called for all parts and the results merged. The parts do not matter:
    all sums are float64 and equal to those of the same rows in memory but for rounding, and so is everything that
    follows from them.

    A pass is dear, so there are few: the first one, when the object is made, checks every value, finds the moments and
    takes a sample; a fit works on the sample, and visits all rows for its last steps
    (:func:`anmin.search.sampling.fitted_to_all`).

    Attributes
    ----------
    feature_names, target_names : tuple of str
    survey : Survey
    passes : int
        How often all rows have been visited.

    Raises
    ------
    ValueError
        If there is no row of positive weight, or a value is missing, NaN or infinite: its row and column are named.
    """

    in_memory = False

    def __init__(self, feature_names: tuple[str, ...], target_names: tuple[str, ...], weights: str | None) -> None:
        self.feature_names, self.target_names = feature_names, target_names
        d, c = len(feature_names), len(target_names)
        self._seen = Affine(np.zeros(d), np.ones(d), np.zeros(c), np.ones(c), np.float64)
        self._counter = [0]
        names = feature_names + target_names + (() if weights is None else (weights,))
        most = min(HELD_ROWS, max(1, HELD_BYTES // (8 * (d + c))))
        survey = self._visited(Look(names, most))
        if survey is None:
            kind = "" if weights is None else " of positive weight"
            raise ValueError(f"{self.source} must have at least one row{kind}; it has none.")
        if survey.bad is not None:
            what, row = survey.bad
            raise ValueError(f"In row {row:,} of {self.source} {what}; fill such gaps or remove those rows.")
        self.survey = survey

    @property
    @abstractmethod
    def source(self) -> str:
        """What the rows are, for messages."""

    @abstractmethod
    def _merged(self, task: Callable[[Part, Affine], Any]) -> Any:
        """Return the results of a task for all parts, merged in their order; None where it has none for any part."""

    @property
    def column_names(self) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """Names of the inputs and targets that a network may be told; None if they have none of their own."""
        return self.feature_names, self.target_names

    def _visited(self, task: Callable[[Part, Affine], Any]) -> Any:
        self._counter[0] += 1
        if not hasattr(self, "survey"):
            return self._merged(task)
        try:
            return self._merged(task)
        except (ValueError, OSError) as error:
            raise RowsLostError(str(error)) from error
        except MemoryError as error:
            raise RowsLostError(
                f"The memory did not suffice for a pass over {self.source}; make its parts smaller, or the network."
            ) from error

    @property
    def passes(self) -> int:
        """How often all rows have been visited, in whatever coordinates."""
        return self._counter[0]

    def visited_before(self, passes: int) -> None:
        """Count the visits of an earlier process, whose fit goes on here."""
        self._counter[0] += passes

    @property
    def is_held(self) -> bool:
        """Whether the sample is all rows."""
        return len(self.survey.numbers) == self.survey.n_rows

    @abstractmethod
    def inputs(self) -> Iterator[NDArray]:
        """Yield the inputs (n, d) of all rows part by part, as they are read."""

    @property
    def device(self) -> str | None:
        """Where the passes are made, of several devices the first; None for the processor."""
        device = self._seen.device
        return device if device is None or isinstance(device, str) else str(device[0])

    @property
    def n(self) -> float:
        """Sum of the row weights."""
        return self.survey.x.n

    @property
    def n_rows(self) -> int:
        """Number of rows of positive weight."""
        return self.survey.n_rows

    @property
    def n_features(self) -> int:
        """Number of inputs, d."""
        return len(self.feature_names)

    @property
    def n_outputs(self) -> int:
        """Number of outputs, c."""
        return len(self.target_names)

    def statistics(
        self,
        A: NDArray,
        negative_slope: float = 0.0,
        since: PatternStatistics | None = None,
        tried: OutputStatistics | None = None,
    ) -> PatternStatistics:
        """Return the frozen-pattern sums at hidden weights A (p, h), in one pass, or as a trial at A has found them."""
        found = None if tried is None else tried.pattern
        if isinstance(found, Found) and found.statistics is not None:
            return found.statistics
        return self._visited(Heavy(np.array(A), negative_slope))

    def output_statistics(
        self, A: NDArray, negative_slope: float = 0.0, since: PatternStatistics | None = None
    ) -> OutputStatistics:
        """Return the output-layer sums at hidden weights A (p, h).

        They come from the frozen-pattern sums, which are kept for :meth:`statistics`: a pass more would cost more.
        """
        statistics = self.statistics(A, negative_slope)
        return replace(
            statistics.output(A), pattern=Found(Pattern(np.zeros((0, 1), np.uint64), A.shape[1]), statistics)
        )

    def minimum(self, A: NDArray) -> NDArray:
        """Return min_i x̃_iᵀ a_j for each column of A (p, k), shape (k,), in one pass."""
        return self._visited(FindLowest(np.array(A))).values

    def moments(self) -> tuple[Moments, Moments]:
        """Return the column moments of X and of y, as first seen."""
        return self.survey.x.moments, self.survey.y.moments

    def sample(self, count: int | None = None, rng: np.random.Generator | None = None) -> ArrayRows:
        """Return rows drawn without replacement: the sample that is held, or ``count`` of it."""
        survey = self.survey
        rows = self._seen.rows(Part(0, survey.X, survey.Y, survey.w))
        assert rows is not None
        return rows if count is None or rng is None else rows.sample(count, rng)

    def standardized(
        self, x_mean: NDArray, x_scale: NDArray, y_mean: NDArray, y_scale: NDArray, dtype: Any = np.float64
    ) -> Self:
        """Return the same rows seen as ((X − x_mean)/x_scale, (y − y_mean)/y_scale), computed in float64."""
        return self._seen_as(self._seen.followed_by(x_mean, x_scale, y_mean, y_scale, dtype))

    def on(self, device: Any) -> Self:
        """Return the same rows with passes made part by part on a device of PyTorch, or on several."""
        return self._seen_as(replace(self._seen, device=device))

    def _seen_as(self, seen: Affine) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._seen = seen
        return other


def _least(numbers: NDArray, most: int) -> NDArray:
    """Return the places of the least keys, at most so many, in the order of the numbers."""
    count = min(len(numbers), most)
    return np.sort(np.argpartition(mixed.py_func(numbers), count - 1)[:count])
