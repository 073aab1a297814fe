"""Callbacks in the manner of scikit-learn, where the installed version has them (1.9 or newer)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from anmin.history import Record
from anmin.network import ReLUNetwork

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands for scikit-learn's, of which there is none."""

    def with_callbacks(method: Callable) -> Callable:
        """Return the method itself."""
        return method


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
