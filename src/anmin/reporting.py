"""How a fit tells of itself: by a warning, and by callbacks in the manner of scikit-learn (1.9 or newer)."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from anmin.history import Record, Status
from anmin.network import ReLUNetwork

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands for scikit-learn's, of which there is none."""

    def with_callbacks(method: Callable) -> Callable:
        """Return the method itself."""
        return method


_WORTH_A_WARNING = {Status.MAX_ITER, Status.MAX_TIME, Status.INTERRUPTED, Status.ROWS_LOST, Status.NOT_FINITE}
_BETWEEN = ("anmin", "contextlib", "numpy", "sklearn")  # packages between a fit and the line of the user that called it


def warn_of(status: Status) -> None:
    """Warn, at the line that called the fit, if it ended before its end."""
    if status in _WORTH_A_WARNING:
        warnings.warn(status.value, ConvergenceWarning, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """Return the ``stacklevel`` of a warning to the line that called fit, behind decorators and meta-estimators."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    return level


class Report:
    """A callback of a fit, in raw units, that tells those set by ``set_callbacks`` of each iteration.

    An iteration is a task below that of the fit. It begins where the one before ends, as with scikit-learn's own
    L-BFGS, so that the last one begun ends with the fit and has no network.
    """

    def __init__(self, estimator: Any, context: Any, data: dict[str, Any], attributes: Callable) -> None:
        self._estimator, self._context, self._data, self._attributes = estimator, context, data, attributes
        self._task: Any = None

    def __call__(self, record: Record, network: ReLUNetwork) -> bool:
        """Report an iteration; return whether a callback asks to stop."""
        if record.iteration > 0 and self._task is not None:
            attributes = {"reconstruction_attributes": lambda: self._attributes(network)}
            task, self._task = self._task, None
            if task.call_on_fit_task_end(estimator=self._estimator, **self._data, **attributes):
                return True
        if self._task is None:
            self._task = self._context.subcontext(task_name="iteration")
            self._task.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        return False

    def close(self) -> None:
        """End what was begun."""
        if self._task is not None:
            self._task.call_on_fit_task_end(estimator=self._estimator, **self._data)


@contextmanager
def reported(estimator: Any, X: Any, y: Any, sample_weight: Any, attributes: Callable) -> Iterator[list[Callable]]:
    """Report a fit; what is yielded is to be called after each iteration, in raw units.

    ``attributes`` is given a network and returns the fitted attributes with which ``estimator`` would predict by it.
    The method in which this is used must be decorated by ``with_callbacks``.
    """
    if not hasattr(estimator, "set_callbacks"):
        yield []
        return
    data = {"X": X, "y": y, "metadata": None if sample_weight is None else {"sample_weight": sample_weight}}
    root = estimator._init_callback_context(max_subtasks=None)
    root.call_on_fit_task_begin(estimator=estimator, **data)
    report = Report(estimator, root, data, attributes)
    yield [report] if hasattr(estimator, "_skl_callbacks") else []
    report.close()
    root.call_on_fit_task_end(estimator=estimator, **data, reconstruction_attributes={})
