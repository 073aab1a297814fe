"""The state of a fit in a file, from which another process goes on as if the fit had never stopped.

The file is an .npz archive: arrays, and a tree in JSON that refers to them (:mod:`anmin.codec`). Reading it never
executes anything. It holds no rows, which the next fit brings itself, but what was made of them. A fit has one stage
after another: its penalty, each of its starts, and so on. Of those that are over the outcome is kept, of the present
one the whole state.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.lib.format import read_array, read_array_header_1_0, read_array_header_2_0, read_magic
from numpy.typing import NDArray

from anmin import __version__
from anmin.atomic import held_alone, remove_leftovers, written_atomically
from anmin.codec import Decoder, Encoder
from anmin.history import History, Record, Status
from anmin.losses import Huber, Logistic, Poisson, Quantile, Softmax
from anmin.network import ReLUNetwork
from anmin.rows.arrays import ArrayRows, Found
from anmin.rows.parts import RowsInParts
from anmin.rows.patterns import Pattern
from anmin.rows.products import PatternProducts
from anmin.rows.torch import TorchProducts
from anmin.search.quasi_newton import QuasiNewton, QuasiNewtonState, Seen
from anmin.search.recombination import Member, Recombining, RecombiningState
from anmin.search.reweighted import Activity, Reweighted, ReweightedState
from anmin.selection import Choice
from anmin.solvers import AltMin, Anmin, Hybrid, MatrixFree, Problem, RelaxedDescent, Solver, VarPro
from anmin.solvers.levenberg_marquardt import VarProState
from anmin.solvers.loop import Progress, Solution
from anmin.solvers.matrix_free import Kept
from anmin.solvers.preconditioners import Blocks, Kronecker, Nystrom
from anmin.solvers.problem import State
from anmin.solvers.relaxed import RelaxedState
from anmin.statistics import OutputStatistics, PatternStatistics

#: Least seconds between two writes; they are more where a write takes more than a twentieth of that.
SECONDS_BETWEEN = 5.0
_SELDOM = 20
_FORMAT = "anmin.checkpoint"
#: All that a checkpoint may hold besides numbers, texts, arrays, tuples, lists, sets and dicts.
CLASSES = (
    *(Anmin, AltMin, RelaxedDescent, VarPro, MatrixFree, Hybrid, Recombining, Reweighted, QuasiNewton),
    *(Quantile, Huber, Poisson, Logistic, Softmax),
    *(
        State,
        VarProState,
        RelaxedState,
        RecombiningState,
        ReweightedState,
        Activity,
        Member,
        Kept,
        Kronecker,
        Blocks,
        Nystrom,
        QuasiNewtonState,
        Seen,
    ),
    *(PatternStatistics, OutputStatistics, PatternProducts, TorchProducts, Pattern, Found),
    *(ReLUNetwork, Record, History, Status, Solution, Progress, Choice),
)
#: What a state that no fit left behind can lead to.
_OF_DAMAGE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, AssertionError)
T = TypeVar("T")


class Checkpoint:
    """A fit's file, while the fit has it to itself: see :func:`opened_checkpoint`.

    It is a :class:`anmin.solvers.loop.Keeper`.

    Attributes
    ----------
    path : Path
    seed : int
        Of the fit's random numbers.
    begun : float
        Reading of ``time.perf_counter()`` at which the fit would have begun, had it never stopped.
    decided : dict
        What is decided before the first solve, by names.
    was_read : bool
        Whether there was a file, from which the fit goes on.
    """

    def __init__(
        self, path: Path, settings: Mapping[str, Any], data: Mapping[str, str], seed: int, begun: float
    ) -> None:
        self.path, self.seed, self.begun = path, seed, begun
        self.decided: dict[str, Any] = {}
        self.was_read = False
        self._settings, self._data = {name: _plain(value) for name, value in settings.items()}, dict(data)
        self._over: dict[str, Progress] = {}
        self._found: tuple[dict[str, Any], Decoder] | None = None  # the stage that a former process was at
        self._stage = ""
        self._latest: Progress | None = None
        self._problem: Problem | None = None
        self._passes = 0
        self._due, self._has_warned = time.perf_counter() + SECONDS_BETWEEN, False

    @property
    def is_due(self) -> bool:
        """Whether the last write is some seconds ago."""
        return time.perf_counter() >= self._due

    def decide(self, name: str, value: Any) -> None:
        """Keep what is decided before the first solve."""
        self.decided[name] = value
        if self.is_due and self._found is None:
            self._write(None)

    def begin(self, stage: str, problem: Problem, solver: Solver) -> Progress | None:
        """Begin the stage of this name, or return how far it had come; the one before it is over for good."""
        if self._latest is not None:
            self._over[self._stage] = self._latest
        self._stage, self._problem, self._latest = stage, problem, None
        rows = problem.rows
        self._passes = rows.passes if isinstance(rows, RowsInParts) else 0
        if stage in self._over:
            return self._over[stage]
        if self._found is None or self._found[0]["stage"] != stage:
            return None
        found, decoder = self._found
        self._found = None
        with self._readable():
            known = {"problem": problem, "rows": rows}
            if found["sampled"] is not None and isinstance(solver, Recombining):
                staged = solver.staged(problem, *found["sampled"])
                known |= {"staged": staged, "staged rows": staged.rows}
            progress = decoder.value(found["progress"], known)
            if isinstance(rows, RowsInParts):
                rows.visited_before(found["passes"])
        self._latest = progress._replace(state=None)
        return progress

    def keep(self, progress: Progress) -> None:
        """Write how far the present stage has come."""
        self._latest = progress._replace(state=None)
        self._write(progress)

    def _write(self, progress: Progress | None) -> None:
        """Write everything; where that fails, the file stays as it was, and the fit goes on with one warning."""
        begun = time.perf_counter()
        encoder = Encoder(CLASSES)
        over = self._over
        if progress is None and self._latest is not None:
            over = over | {self._stage: self._latest}  # what is decided now follows from it
        content = {
            "format": _FORMAT,
            "version": __version__,
            "settings": self._settings,
            "data": self._data,
            "seed": self.seed,
            "seconds": begun - self.begun,
            "decided": encoder.tree(self.decided),
            "over": encoder.tree(over),
            "at": None if progress is None else self._at(progress, encoder),
        }
        arrays = {str(number): array for number, array in enumerate(encoder.arrays)}
        arrays["content"] = np.frombuffer(json.dumps(content).encode(), np.uint8)
        try:
            with written_atomically(self.path) as temporary, temporary.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                warnings.warn(
                    f"The checkpoint {self.path} could not be written ({error.strerror or error}); the fit goes on, "
                    f"and the last checkpoint, if there is one, stays as it is.",
                    stacklevel=2,
                )
        self._due = time.perf_counter() + max(SECONDS_BETWEEN, _SELDOM * (time.perf_counter() - begun))

    def _at(self, progress: Progress, encoder: Encoder) -> dict[str, Any]:
        """Return the present stage as a tree, in which rows and problems are but named."""
        assert self._problem is not None
        problem, rows, state = self._problem, self._problem.rows, progress.state
        known, sampled = {"problem": problem, "rows": rows}, None
        if isinstance(state, RecombiningState) and state.staged is not problem:
            known |= {"staged": state.staged, "staged rows": state.staged.rows}
            sampled = [state.seed, state.stage]
        passes = rows.passes - self._passes if isinstance(rows, RowsInParts) else 0
        tree = encoder.tree(progress, known)
        return {"stage": self._stage, "sampled": sampled, "passes": passes, "progress": tree}

    def load(self, *, any_seed: bool) -> None:
        """Read the file.

        Raises
        ------
        ValueError
            If it is no checkpoint, is damaged, or is that of another fit; what differs is named.
        """
        with self.path.open("rb") as file, self._readable(), zipfile.ZipFile(file) as archive:
            stored = _Stored(archive, self.path.stat().st_size)
            content = json.loads(stored.array("content").tobytes())
            if content["format"] != _FORMAT:
                raise ValueError("another format")
            decoder = Decoder(CLASSES, [])
            if content["version"] == __version__:
                decoder = Decoder(CLASSES, [stored.array(str(number)) for number in range(stored.count - 1)])
                self.decided, self._over = decoder.value(content["decided"]), decoder.value(content["over"])
            settings, data, seed, seconds = (content[name] for name in ("settings", "data", "seed", "seconds"))
            difference = self._difference(content["version"], settings, data, None if any_seed else seed)
            at = content["at"]
            if type(seed) is not int or type(seconds) is not float:
                raise ValueError("another kind of seed or time")
        if difference is not None:
            raise ValueError(
                f"The checkpoint {self.path} was written by {difference}. Fit as then to go on from it, or name "
                f"another file."
            )
        self.seed, self.begun = seed, self.begun - seconds
        self._found, self.was_read = None if at is None else (at, decoder), True

    def _difference(self, version: str, settings: dict[str, Any], data: dict[str, str], seed: int | None) -> str | None:
        """Return what was different when the file was written; None if nothing was."""
        if version != __version__:
            return f"anmin {version}; this is anmin {__version__}"
        names = [name for name in self._settings if settings.get(name) != self._settings[name]]
        if names:
            then, now = (", ".join(f"{name}={of.get(name)!r}" for name in names) for of in (settings, self._settings))
            return f"a fit with {then}; this one has {now}"
        parts = [name for name in self._data if data.get(name) != self._data[name]]
        if parts:
            return f"a fit to other data: {' and '.join(parts)} {'differs' if len(parts) == 1 else 'differ'}"
        return "a fit with another random_state" if seed not in (None, self.seed) else None

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except Exception:  # there is no end to what a damaged file can lead to
            raise ValueError(
                f"The file {self.path} is not a checkpoint of anmin, or is damaged; remove it, or name another file."
            ) from None


@contextmanager
def opened_checkpoint(
    path: str | os.PathLike,
    settings: Mapping[str, Any],
    data: Mapping[str, str],
    seed: int,
    begun: float,
    *,
    any_seed: bool = False,
) -> Iterator[Checkpoint]:
    """Have the checkpoint of a fit to oneself, with what it holds if the file exists.

    Parameters
    ----------
    path : path
    settings : mapping
        Names and values of what the outcome depends on.
    data : mapping
        Names and digests of the data (:func:`digests`).
    seed : int
        Of the fit's random numbers.
    begun : float
        Reading of ``time.perf_counter()`` when the fit began.
    any_seed : bool, default False
        Whether the seed of the file is to be taken, whatever it is.

    Raises
    ------
    ValueError
        Before any work: if another fit is using the file, or it cannot be gone on from (:meth:`Checkpoint.load`).
        Later: if what was read from the file leads to an error, which is its cause.
    """
    # The same wherever the process goes, and by whatever link the file is named.
    checkpoint = Checkpoint(Path(path).resolve(), settings, data, seed, begun)
    with held_alone(checkpoint.path):
        remove_leftovers(checkpoint.path)
        if checkpoint.path.exists():
            checkpoint.load(any_seed=any_seed)
        try:
            yield checkpoint
        except _OF_DAMAGE as error:
            if not checkpoint.was_read:
                raise
            raise ValueError(
                f"The fit could not go on from the checkpoint {checkpoint.path}, which may be damaged "
                f"({str(error) or type(error).__name__}); remove it, or name another file."
            ) from error


class _Stored:
    """The arrays of a checkpoint, each of which is as large as its bytes in the file, and no larger.

    Raises
    ------
    ValueError
        If the archive was compressed, or its members lie on one another: a small file could then fill the memory.
    """

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        members = archive.infolist()
        if sum(member.file_size for member in members) > size or any(member.compress_type for member in members):
            raise ValueError("another kind of archive")
        self._archive, self.count = archive, len(members)

    def array(self, name: str) -> NDArray:
        """Return an array; raise ValueError, before any memory is taken, if it claims to be larger than it is."""
        with self._archive.open(f"{name}.npy") as member:
            claimed = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}
            shape, _, dtype = claimed[read_magic(member)](member)
            if math.prod(shape) * dtype.itemsize > self._archive.getinfo(f"{name}.npy").file_size:
                raise ValueError("an array larger than its file")
            member.seek(0)
            return read_array(member, allow_pickle=False)


def remembered(checkpoint: Checkpoint | None, name: str, make: Callable[[], T]) -> T:
    """Return what the checkpoint says was decided, or else decide it now."""
    if checkpoint is None:
        return make()
    if name not in checkpoint.decided:
        checkpoint.decide(name, make())
    return checkpoint.decided[name]


def can_be_kept(solver: Solver) -> bool:
    """Return whether a checkpoint can hold the states of a solver: those of anmin's own."""
    try:
        Encoder(CLASSES).tree(solver)
    except TypeError:
        return False
    return True


def digests(rows: ArrayRows | RowsInParts) -> dict[str, str]:
    """Return digests of inputs, targets and weights; of rows that are not in memory by what the first look told."""
    if isinstance(rows, RowsInParts):
        survey = rows.survey
        arrays = (survey.X, survey.Y) if survey.w is None else (survey.X, survey.Y, survey.w)
        known = [
            _digest(array, np.array([survey.n_visited, check], np.uint64))
            for array, check in zip(arrays, survey.checks, strict=True)
        ]
        return dict(zip(("X", "y", "sample_weight"), [*known, _digest(None)], strict=False))
    return {"X": _digest(rows.X), "y": _digest(rows.Y), "sample_weight": _digest(rows.w)}


def _digest(*arrays: NDArray | None) -> str:
    total = hashlib.blake2b(digest_size=16)
    for array in arrays:
        total.update(b"none" if array is None else f"{array.dtype.str} {array.shape}".encode())
        if array is not None:
            total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def _plain(value: Any) -> Any:
    """Return a setting as JSON gives it back; objects by their description."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else repr(value)
