"""The loop around every solver: when it stops, what it keeps, and what it says."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest

from anmin.history import History, Record, Status
from anmin.memory import available_bytes, check_memory
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows
from anmin.search import solve_with_restarts
from anmin.solvers import SOLVERS, Anmin, Problem, solve
from anmin.solvers.problem import State
from anmin.statistics import OutputStatistics
from problems import CASES


class NoSums:
    """Stands for the sums at a pattern."""

    def output(self, A):
        h = A.shape[1]
        return OutputStatistics(np.zeros((h, h)), np.zeros(h), np.zeros((h, 1)), 2.0, np.zeros(1), np.zeros(1))


@dataclass(frozen=True)
class Scripted:
    """A solver whose losses are given, to test the loop alone."""

    losses: tuple[float, ...]
    fail_at: int | None = None
    error: type[BaseException] = KeyboardInterrupt
    bytes: int = 0
    default_max_iter = 50

    def check(self, problem):
        pass

    def required_bytes(self, n_features, n_neurons, n_outputs, n_rows=0):
        return self.bytes

    def init(self, problem, network, rng):
        if self.fail_at == 0:
            raise self.error
        return self._state(problem, 0)

    def step(self, problem, state):
        i = round(state.network.b0[0]) + 1
        if i == self.fail_at:
            raise self.error
        return self._state(problem, i)

    def _state(self, problem, i):
        network = ReLUNetwork(np.zeros((problem.rows.n_features + 1, 1)), [[0.0]], [float(i)])
        loss = self.losses[min(i, len(self.losses) - 1)]
        return State(network, NoSums(), loss, Record(loss=loss))


PROBLEM = Problem(ArrayRows([[0.0], [1.0]], [0.0, 1.0]), 1, 0.0)


def test_converges_when_the_loss_settles():
    solution = solve(PROBLEM, Scripted((4.0, 2.0, 1.0, 1.0 - 1e-9, 0.5)), tol=1e-6)
    assert solution.status is Status.CONVERGED
    assert solution.n_iter == 3
    assert solution.best == 3


def test_keeps_the_best_of_a_loss_that_rises():
    solution = solve(PROBLEM, Scripted((4.0, 2.0, 3.0, 2.5)), tol=0.0, max_iter=3)
    assert (solution.loss, solution.best, solution.network.b0[0]) == (2.0, 1, 1.0)


@pytest.mark.parametrize(("max_iter", "status"), [(4, Status.MAX_ITER), (None, Status.SCHEDULE_DONE)])
def test_a_limit_is_never_called_convergence(max_iter, status):
    solution = solve(PROBLEM, Scripted(tuple(np.linspace(9, 1, 100))), tol=0.0, max_iter=max_iter)
    assert solution.status is status
    assert solution.n_iter == (max_iter or 50)


def test_stops_in_time():
    solution = solve(PROBLEM, Scripted((3.0, 2.0, 1.0)), max_time=1e-9)
    assert solution.status is Status.MAX_TIME
    assert solution.n_iter == 0


def test_an_interrupt_keeps_the_best_so_far():
    solution = solve(PROBLEM, Scripted((4.0, 2.0, 3.0, 1.0), fail_at=3), tol=0.0)
    assert solution.status is Status.INTERRUPTED
    assert (solution.loss, solution.n_iter) == (2.0, 2)


def test_an_interrupt_before_the_first_network_is_passed_on():
    with pytest.raises(KeyboardInterrupt):
        solve(PROBLEM, Scripted((1.0,), fail_at=0))


def test_other_errors_are_passed_on():
    with pytest.raises(ZeroDivisionError):
        solve(PROBLEM, Scripted((2.0, 1.0), fail_at=1, error=ZeroDivisionError))


def test_callbacks_see_every_iterate_and_can_stop():
    seen, also = [], []
    solution = solve(
        PROBLEM,
        Scripted((4.0, 3.0, 2.0, 1.0)),
        callbacks=[lambda record, _: seen.append(record.loss) or record.iteration == 2, lambda r, _: also.append(r)],
    )
    assert seen == [4.0, 3.0, 2.0]
    assert len(also) == 3
    assert solution.status is Status.STOPPED
    assert solution.loss == 2.0


def test_a_loss_that_is_not_finite_is_never_kept():
    solution = solve(PROBLEM, Scripted((4.0, 2.0, np.nan)), tol=0.0)
    assert solution.status is Status.NOT_FINITE
    assert (solution.loss, solution.n_iter) == (2.0, 1)
    with pytest.raises(ValueError, match="starting network is not finite"):
        solve(PROBLEM, Scripted((np.inf,)))


def test_validation_rows_choose_the_iterate():
    X, Y, _, _ = CASES[0].data()
    problem = Problem(ArrayRows(X[:100], Y[:100]), 8, 1e-4)
    validation = ArrayRows(X[100:], Y[100:])
    networks = []
    solution = solve(
        problem,
        Anmin(),
        validation=validation,
        tol=0.0,
        rng=np.random.default_rng(0),
        callbacks=[lambda _, network: networks.append(network)],
    )
    errors = [np.mean((network.predict(X[100:]) - Y[100:]) ** 2) for network in networks]
    np.testing.assert_allclose(solution.history["validation_mse"], errors, rtol=1e-9)
    assert solution.best == int(np.argmin(errors))
    assert solution.score == pytest.approx(min(errors), rel=1e-9)


def test_restarts_keep_the_best():
    X, Y, _, _ = CASES[0].data()
    problem = Problem(ArrayRows(X, Y), 5, 1e-3)
    rng = np.random.default_rng(0)
    single = [solve(problem, Anmin(), max_iter=5, rng=rng).loss for _ in range(4)]
    assert len(set(single)) == 4
    best = solve_with_restarts(problem, Anmin(), 4, np.random.default_rng(0), max_iter=5)
    assert best.loss == min(single)


def test_interrupted_restarts_keep_the_best_until_then():
    calls = []

    def interrupt(record, network):
        calls.append(record)
        if len(calls) == 8:
            raise KeyboardInterrupt

    problem = Problem(CASES[0].rows(), 5, 1e-3)
    solution = solve_with_restarts(
        problem, Anmin(), 3, np.random.default_rng(0), max_iter=5, tol=0.0, callbacks=[interrupt]
    )
    assert solution.status is Status.INTERRUPTED
    assert solution.loss == min(record.loss for record in calls[:6] + calls[6:8])


def test_memory_that_is_not_there_is_refused_before_any_work():
    needed = 10**18
    with pytest.raises(ValueError, match=r"n_neurons=1 with 1 inputs needs about 1e\+03 PB|about 1 EB") as caught:
        solve(PROBLEM, Scripted((1.0,), fail_at=0, bytes=needed))
    assert "are free" in str(caught.value)
    assert available_bytes() > 2**20
    check_memory(1, 1, 1)


def test_every_solver_by_name_offers_the_interface():
    for name, solver in SOLVERS.items():
        assert solver.default_max_iter is None or solver.default_max_iter >= 1
        forms_the_matrix = name not in ("matrix_free", "relaxed")
        assert (solver.required_bytes(10, 64, 1, 100) > 8 * (11 * 64) ** 2) == forms_the_matrix
        assert callable(solver.init)
        assert callable(solver.step)
        solver.check(PROBLEM if name != "relaxed" else Problem(ArrayRows([[1.0], [2.0]], [0.0, 1.0]), 1, 0.0))


def test_statuses_say_what_to_do():
    assert len({status.value for status in Status}) == len(Status)
    assert all(status.value.endswith(".") for status in Status)


def test_history_is_a_sequence_with_named_columns(monkeypatch):
    history = History((Record(loss=2.0), replace(Record(loss=1.0), iteration=1)))
    assert len(history) == 2
    assert history[1].loss == 1.0
    assert history["loss"].tolist() == [2.0, 1.0]
    assert history.to_dict()["iteration"] == [0, 1]
    frame = history.to_frame()
    assert list(frame.index) == [0, 1]
    assert set(frame.columns) == set(history.names()) - {"iteration"}
    np.testing.assert_array_equal(frame["loss"], history["loss"])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        history.to_frame()
    assert list(history) == list(history.records)
    with pytest.raises(KeyError, match="has no 'accuracy'; it has iteration"):
        history["accuracy"]
