"""Checkpoints: a fit that was stopped in whatever way goes on to the same bits, and no file leads it astray."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import anmin.checkpoint
import anmin.rows.parts
from anmin import ReLUNetwork, ReLURegressor
from anmin.atomic import held_alone, remove_leftovers
from anmin.checkpoint import CLASSES, opened_checkpoint
from anmin.codec import Decoder, Encoder
from anmin.history import History, Status
from anmin.rows import ArrayRows, CsvRows, ParquetRows
from anmin.search import Recombining
from anmin.search.recombination import RecombiningState
from anmin.solvers import AltMin, Anmin, Hybrid, MatrixFree, Problem, RelaxedDescent, VarPro
from anmin.solvers.loop import Progress, Solution, solve

RNG = np.random.default_rng(0)
X = RNG.standard_normal((150, 2))
Y = np.abs(X[:, 0]) + np.maximum(X[:, 1] - 0.3, 0) + 0.1 * RNG.standard_normal(150)
SHORT = {"n_neurons": 3, "alpha": 1e-3, "relocate": False, "tol": 1e-12, "random_state": 0}  # of some 47 iterations


@pytest.fixture
def often(monkeypatch):
    """Let checkpoints be written after every iteration."""
    monkeypatch.setattr(anmin.checkpoint, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(anmin.checkpoint, "_SELDOM", 0.0)


class Interrupt:
    """A callback that interrupts a fit at its n-th call, or at the first record that meets a condition."""

    def __init__(self, calls: int = 10**9, when=lambda record: False) -> None:
        self.left, self.when, self.seen = calls, when, []

    def __call__(self, record, network):
        self.seen.append(record)
        self.left -= 1
        if self.left == 0 or self.when(record):
            raise KeyboardInterrupt


def quiet(model: ReLURegressor, *data) -> ReLURegressor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(*data)


def assert_same_fit(one: ReLURegressor, other: ReLURegressor) -> None:
    for name in ("A", "B", "b0"):
        np.testing.assert_array_equal(getattr(one.network_, name), getattr(other.network_, name))
    assert (one.alpha_, one.loss_, one.n_iter_, one.status_) == (
        other.alpha_,
        other.loss_,
        other.n_iter_,
        other.status_,
    )
    np.testing.assert_array_equal(one.relevance_, other.relevance_)
    assert_same(one._sums, other._sums)
    for name in set(History.names()) - {"seconds"}:
        np.testing.assert_array_equal(one.history_[name], other.history_[name])
    assert np.all(np.diff(one.history_["seconds"]) >= 0)


# The codec, and the states of every solver


def assert_same(one, other, seen=None) -> None:
    """Fail unless two objects are equal to the bit, with arrays in the same order in memory.

    Given a dict ``seen``, what is one object in two places must be so in both.
    """
    assert type(one) is type(other)
    if seen is not None and (isinstance(one, np.ndarray) or is_dataclass(one)):
        assert seen.setdefault(id(one), other) is other
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape, one.flags.writeable) == (other.dtype, other.shape, other.flags.writeable)
        assert one.flags.c_contiguous == other.flags.c_contiguous
        assert one.flags.f_contiguous == other.flags.f_contiguous
        assert one.tobytes() == other.tobytes()
    elif isinstance(one, Problem | ArrayRows):
        assert one is other or one.rows.X.tobytes() == other.rows.X.tobytes()
    elif is_dataclass(one):
        for field in fields(one):
            if not (isinstance(one, ArrayRows) or field.name == "rows"):
                assert_same(getattr(one, field.name), getattr(other, field.name), seen)
    elif isinstance(one, tuple | list):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs, seen)
    else:
        assert one == other or (one != one and other != other)


def reloaded(path: Path, problem: Problem, solver, state):
    """Return a state as it comes back from a checkpoint."""
    sums = state.statistics.output(state.network.A)
    solution = Solution(state.network, state.loss, Status.INTERRUPTED, History((state.record,)), 0, sums)
    with opened_checkpoint(path, {}, {}, 0, time.perf_counter()) as checkpoint:
        checkpoint.begin("one", problem, solver)
        checkpoint.keep(Progress(state, solution, np.random.default_rng(7).bit_generator.state))
    with opened_checkpoint(path, {}, {}, 0, time.perf_counter()) as checkpoint:
        found = checkpoint.begin("one", problem, solver)
    path.unlink()
    assert found.generator == np.random.default_rng(7).bit_generator.state
    assert found.solution.status is Status.INTERRUPTED
    assert found.solution.network is found.state.network
    return found.state


SOLVERS = {
    "anmin": Anmin(),
    "altmin": AltMin(),
    "relaxed": RelaxedDescent(),
    "varpro": VarPro(),
    "hybrid": Hybrid(),
    "kronecker": MatrixFree(),
    "block": MatrixFree(preconditioner="block"),
    "nystrom": MatrixFree(preconditioner="nystrom", rank=4),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SOLVERS)
def test_a_state_that_was_stored_takes_the_same_steps(name, weighted, tmp_path, monkeypatch):
    monkeypatch.setattr(Hybrid, "cheaper_without_matrix", lambda *_: True)
    w = np.linspace(0.5, 2, len(Y)) if weighted else None
    problem = Problem(ArrayRows(X, Y, w), 5, 1e-4, 0.1 * weighted)
    solver = SOLVERS[name]
    state = solver.init(problem, None, np.random.default_rng(0))
    for _ in range(6):
        copy = reloaded(tmp_path / "state", problem, solver, state)
        assert_same(state, copy, {})
        state, copy = solver.step(problem, state), solver.step(problem, copy)
        assert_same(state, copy)


@pytest.mark.parametrize("last_sampled", [False, True], ids=["all rows", "a sample"])
@pytest.mark.parametrize("inner", [VarPro(), Hybrid()], ids=["varpro", "hybrid"])
def test_a_search_that_was_stored_goes_on_alike_in_every_phase(inner, last_sampled, tmp_path, monkeypatch):
    if last_sampled:
        monkeypatch.setattr("anmin.search.recombination._MOST_SAMPLED", 420)
        monkeypatch.setattr("anmin.search.recombination._MOST_PER_WEIGHT", 1)
    monkeypatch.setattr(Hybrid, "cheaper_without_matrix", lambda *_: True)
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((900, 2))
    targets = np.abs(inputs[:, 0]) + 0.1 * rng.standard_normal(900)
    problem = Problem(ArrayRows(inputs, targets), 4, 1e-4)
    solver = Recombining(inner, sample_rows=100, sampled_children=2, max_failures=1)
    state = solver.init(problem, None, np.random.default_rng(0))
    seen = set()
    for number in range(400):
        place = state.phase, state.work is None, state.stage
        if place not in seen or number % 20 == 0:
            seen.add(place)
            copy = reloaded(tmp_path / "state", problem, solver, state)
            assert (copy.staged is problem) == (state.staged is problem)
            assert_same(state, copy, {})
            following = solver.step(problem, state)
            assert_same(following, solver.step(problem, copy))
            state = following
        else:
            state = solver.step(problem, state)
        assert isinstance(state, RecombiningState)
        if state.settled:
            break
    assert {phase for phase, *_ in seen} == {"parent", "joined", "pruned", "child", "finish"}
    assert {stage for *_, stage in seen} == {0, 1}
    assert state.staged is problem
    assert (len(solver._stages(problem)), solver._stages(problem)[-1] < 900) == (2, last_sampled)
    assert {waiting for _, waiting, _ in seen} == {False, True}


def test_arrays_keep_their_order_type_and_identity():
    a = np.arange(24.0).reshape(2, 3, 4)
    values = (
        a,
        a.transpose(1, 2, 0),
        a.T,
        a[:, ::2],
        a.astype(">f4"),
        np.zeros((0, 3)),
        np.array(3),
        np.bool_(True),
        a,
    )
    values += (np.float64(0.1), (1, 2.5, np.inf, "x", None, True), frozenset({(1, 2), (0, 5)}), {"k": [2**200]})
    encoder = Encoder(CLASSES)
    tree = encoder.tree(values)
    found = Decoder(CLASSES, [array.copy(order="C") for array in encoder.arrays]).value(tree)
    assert found[0] is found[8]
    for one, other in zip(values, found, strict=True):
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)
            assert (one.dtype, one.flags.c_contiguous) == (other.dtype, other.flags.c_contiguous) or one is values[3]
        else:
            assert type(one) is type(other)
            assert one == other
    assert np.argsort(found[1].strides).tolist() == np.argsort(values[1].strides).tolist()


@pytest.mark.parametrize("value", [object(), np.array([object()]), lambda: 0, Path("x"), {1: 2}])
def test_other_objects_are_not_stored(value):
    with pytest.raises(TypeError, match="cannot be stored"):
        Encoder(CLASSES).tree((value,))


# Fits that go on


CASES = {
    "chosen": {},
    "fixed": {"alpha": 1e-3},
    "restarts": {"alpha": 1e-3, "n_restarts": 3, "relocate": False},
    "held out": {"validation_fraction": 0.3, "solver": "varpro"},
    "paper": {"solver": "anmin", "n_restarts": 3, "alpha": 1e-4},
    "float32": {"dtype": "float32", "negative_slope": 0.1},
}


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_fit_goes_on_to_the_same_bits(case, tmp_path):
    model = ReLURegressor(3, random_state=0, **CASES[case])
    expected = quiet(clone(model), X, Y)
    stopped = clone(model).set_params(checkpoint=tmp_path / "fit")
    for calls in (1, 2, 3, 20, 41, 55):
        interrupt = Interrupt(calls)
        quiet(stopped.set_params(callbacks=interrupt), X, Y)
        # Short fits end before they are interrupted.
        assert stopped.status_ in (Status.INTERRUPTED, expected.status_)
    assert_same_fit(quiet(stopped.set_params(callbacks=None), X, Y), expected)
    # Of a fit that is over nothing is done again.
    seen = Interrupt()
    assert_same_fit(quiet(stopped.set_params(callbacks=seen), X, Y), expected)
    assert len(seen.seen) <= 1
    assert os.listdir(tmp_path) == ["fit"]


@pytest.mark.usefixtures("often")
def test_an_interrupt_of_the_last_iteration_leaves_nothing_to_do(tmp_path):
    expected = ReLURegressor(**SHORT).fit(X, Y)
    model = clone(expected).set_params(checkpoint=tmp_path / "fit")
    last = expected.n_iter_
    for k in (last - 1, last):
        quiet(model.set_params(callbacks=Interrupt(when=lambda record, k=k: record.iteration == k)), X, Y)
        assert (model.status_, model.n_iter_) == (Status.INTERRUPTED, k)
    assert_same_fit(model.set_params(callbacks=None).fit(X, Y), expected)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("anew", [True, False])
def test_rows_in_files_go_on_in_the_sample_and_in_all_rows(anew, tmp_path, monkeypatch):
    monkeypatch.setattr(anmin.rows.parts, "HELD_ROWS", 300)
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((2000, 2))
    targets = np.abs(inputs[:, 0]) + np.abs(inputs[:, 1] - 0.5) + 0.1 * rng.standard_normal(2000)
    table = tmp_path / "t.parquet"
    pd.DataFrame({"a": inputs[:, 0], "b": inputs[:, 1], "y": targets}).to_parquet(table)
    model = ReLURegressor(4, random_state=0, tol=1e-12)
    expected = quiet(clone(model), ParquetRows(table, "y"))
    rows = ParquetRows(table, "y")
    stopped = clone(model).set_params(checkpoint=tmp_path / "fit")
    interrupts = [Interrupt(5), Interrupt(60)]
    interrupts += [
        Interrupt(when=lambda record, k=k: record.n_rows == 2000 and record.iteration == k) for k in (0, 1, 2)
    ]
    for interrupt in interrupts:
        rows = ParquetRows(table, "y") if anew else rows
        quiet(stopped.set_params(callbacks=interrupt), rows)
        assert stopped.status_ is Status.INTERRUPTED
    assert_same_fit(quiet(stopped.set_params(callbacks=None), ParquetRows(table, "y") if anew else rows), expected)
    # A file with one other value is other data, and so is one in which two targets outside the sample change places.
    outside = np.setdiff1d(np.arange(2000), rows.survey.numbers)[:2]
    changed = inputs.copy()
    changed[outside[0], 0] += 1e-9
    swapped = targets.copy()
    swapped[outside] = targets[outside[::-1]]
    for X_now, y_now, what in ((changed, targets, "X differs"), (inputs, swapped, "y differs")):
        pd.DataFrame({"a": X_now[:, 0], "b": X_now[:, 1], "y": y_now}).to_parquet(table)
        with pytest.raises(ValueError, match=f"a fit to other data: {what}"):
            stopped.fit(ParquetRows(table, "y"))
    # The same values in other files, read in other parts, are the same data.
    pd.DataFrame({"a": inputs[:, 0], "b": inputs[:, 1], "y": targets}).to_csv(tmp_path / "t.csv", index=False)
    assert quiet(stopped, CsvRows(tmp_path / "t.csv", "y", part_rows=77)).status_ is expected.status_


@pytest.mark.usefixtures("often")
def test_what_is_decided_after_a_stage_is_kept_with_it(tmp_path):
    problem = Problem(ArrayRows(X, Y), 3, 1e-3)
    with opened_checkpoint(tmp_path / "fit", {}, {}, 0, time.perf_counter()) as checkpoint:
        first = solve(problem, VarPro(), max_iter=3, checkpoint=checkpoint, stage="first")
        checkpoint.decide("what follows", 1)
    with opened_checkpoint(tmp_path / "fit", {}, {}, 0, time.perf_counter()) as checkpoint:
        assert checkpoint.decided == {"what follows": 1}
        found = checkpoint.begin("first", problem, VarPro())
    assert found.solution.loss == first.loss
    np.testing.assert_array_equal(found.solution.network.A, first.network.A)


@pytest.mark.usefixtures("often")
def test_more_iterations_and_more_time_go_on(tmp_path):
    model = ReLURegressor(**SHORT)
    expected = model.fit(X, Y)
    kept = clone(model).set_params(checkpoint=tmp_path / "fit", max_iter=7)
    assert quiet(kept, X, Y).n_iter_ == 7
    assert quiet(kept, X, Y).n_iter_ == 7
    assert quiet(kept.set_params(max_iter=30, max_time=1e-6), X, Y).status_ is Status.MAX_TIME
    assert kept.n_iter_ == 7
    assert quiet(kept.set_params(max_iter=30, max_time=1e6), X, Y).status_ is Status.MAX_ITER
    assert kept.n_iter_ == 30
    assert_same_fit(kept.set_params(max_iter=None, max_time=None).fit(X, Y), expected)


@pytest.mark.usefixtures("often")
def test_a_choice_that_was_cut_short_is_made_again(tmp_path):
    expected = ReLURegressor(3, random_state=0).fit(X, Y)
    model = clone(expected).set_params(checkpoint=tmp_path / "fit", max_time=1e-6)
    assert quiet(model, X, Y).status_ is Status.MAX_TIME
    assert_same_fit(model.set_params(max_time=None).fit(X, Y), expected)


@pytest.mark.usefixtures("often")
def test_a_fit_without_a_seed_goes_on_with_its_own(tmp_path):
    model = ReLURegressor(**SHORT | {"random_state": None}, checkpoint=tmp_path / "fit", callbacks=Interrupt(20))
    quiet(model, X, Y)
    first = model.history_["loss"]
    model.set_params(callbacks=None).fit(X, Y)
    np.testing.assert_array_equal(model.history_["loss"][: len(first)], first)
    other = ReLURegressor(**SHORT | {"random_state": None}, checkpoint=tmp_path / "fit").fit(X, Y)
    assert_same_fit(model, other)


@pytest.mark.usefixtures("often")
def test_a_warm_start_begins_a_checkpoint_and_is_then_part_of_it(tmp_path):
    first = quiet(ReLURegressor(3, alpha=1e-3, max_iter=4, random_state=0), X, Y)
    settings = {"warm_start": True, "max_iter": 40}
    expected = quiet(quiet(clone(first), X, Y).set_params(**settings), X, Y)
    model = quiet(clone(first), X, Y).set_params(**settings, checkpoint=tmp_path / "fit", callbacks=Interrupt(9))
    quiet(model, X, Y)
    assert model.history_["loss"][0] == pytest.approx(first.loss_, rel=1e-6)
    assert_same_fit(quiet(model.set_params(callbacks=None), X, Y), expected)


def test_a_short_fit_writes_once_and_a_slow_disk_is_written_to_seldom(tmp_path, monkeypatch):
    written, savez = [], np.savez

    def counted(*arguments, **arrays):
        written.append(1)
        savez(*arguments, **arrays)

    monkeypatch.setattr(anmin.checkpoint.np, "savez", counted)
    ReLURegressor(**SHORT, checkpoint=tmp_path / "fit").fit(X, Y)
    assert len(written) == 1
    monkeypatch.setattr(anmin.checkpoint, "_SELDOM", 1e9)
    with opened_checkpoint(tmp_path / "other", {}, {}, 0, time.perf_counter()) as checkpoint:
        monkeypatch.setattr(anmin.checkpoint, "SECONDS_BETWEEN", 0.0)
        checkpoint.decide("a", 1)
        checkpoint._due = 0.0
        assert checkpoint.is_due
        checkpoint.decide("b", 2)
        assert not checkpoint.is_due
    assert len(written) == 2


# What can go wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_killed_at_twenty_random_moments_it_ends_with_the_same_bits(tmp_path):
    # Forked, because starting Python anew each time would take longer than all the fits.
    script = """
import os, signal, sys, time
import numpy as np
import anmin.checkpoint
from anmin import ReLURegressor

anmin.checkpoint.SECONDS_BETWEEN = anmin.checkpoint._SELDOM = 0.0
rng = np.random.default_rng(0)
X = rng.standard_normal((400, 2))
y = np.abs(X[:, 0]) + 0.1 * rng.standard_normal(400)

def fit(out, checkpoint):
    pid = os.fork()
    if not pid:
        model = ReLURegressor(4, random_state=0, checkpoint=checkpoint)
        model.set_params(callbacks=lambda *_: time.sleep(1e-3)).fit(X, y).network_.save(out)
        os._exit(0)
    return pid

os.waitpid(fit("expected.json", None), 0)
killed = ended = 0
moments = np.random.default_rng(3)
while killed < 20 or not ended:
    pid = fit(f"{ended}.json", "fit")
    if killed < 20:
        time.sleep(moments.uniform(0.02, 0.5))
        os.kill(pid, signal.SIGKILL)
    if os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
        killed += 1
    else:
        ended += 1
        os.remove("fit")  # and again from the start
print(killed, ended)
"""
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    killed, ended = map(int, done.stdout.split())
    assert killed == 20
    assert ended >= 1
    for number in range(ended):
        assert (tmp_path / f"{number}.json").read_bytes() == (tmp_path / "expected.json").read_bytes()
    assert not [name for name in os.listdir(tmp_path) if name.endswith((".tmp", ".lock"))]


@pytest.mark.usefixtures("often")
def test_a_full_disk_warns_once_and_the_last_good_checkpoint_stays(tmp_path, monkeypatch):
    path, savez, writes = tmp_path / "fit", np.savez, []
    model = ReLURegressor(**SHORT)
    expected = clone(model).fit(X, Y)

    def full(file, **arrays):
        if len(writes) == 30:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        savez(file, **arrays)
        writes.append(1)

    monkeypatch.setattr(anmin.checkpoint.np, "savez", full)
    with pytest.warns(UserWarning, match=r"could not be written \(No space left on device\); the fit goes on") as told:
        kept = clone(model).set_params(checkpoint=path).fit(X, Y)
    assert len(told) == 1
    assert_same_fit(kept, expected)
    monkeypatch.setattr(anmin.checkpoint.np, "savez", savez)
    seen = Interrupt()
    assert_same_fit(clone(model).set_params(checkpoint=path, callbacks=seen).fit(X, Y), expected)
    assert 20 < seen.seen[0].iteration <= 30
    assert os.listdir(tmp_path) == ["fit"]


@pytest.fixture
def no_work(monkeypatch):
    """Fail if a fit begins."""
    for name in ("choose_alpha", "solve_with_restarts", "solve_chosen"):
        monkeypatch.setattr(f"anmin.fitting.{name}", lambda *_, **__: pytest.fail("work began"))


@pytest.mark.usefixtures("no_work")
def test_a_checkpoint_in_use_is_refused(tmp_path):
    path = tmp_path / "fit"
    message = "fit is in use by another fit; wait until that has ended, or name another file"
    with held_alone(path), pytest.raises(ValueError, match=message):
        ReLURegressor(3, checkpoint=path).fit(X, Y)
    # By another process, until that is killed.
    code = """
import sys, time
from anmin.atomic import held_alone
with held_alone(sys.argv[1]):
    print("held", flush=True)
    time.sleep(99)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=message):
            ReLURegressor(3, checkpoint=path).fit(X, Y)
    finally:
        process.kill()
        process.communicate()
    assert (tmp_path / "fit.lock").exists() or os.name == "nt"
    with held_alone(path):
        pass
    assert os.listdir(tmp_path) == []


def test_many_who_want_the_lock_get_it_one_at_a_time(tmp_path):
    inside, most, got = [], [], []

    def take():
        while len(got) < 200:
            try:
                with held_alone(tmp_path / "fit"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                    got.append(1)
            except ValueError:
                pass

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_only_leftovers_of_the_same_file_are_removed(tmp_path):
    for name in (".fit.abcdefgh.tmp", ".fit.b.abcdefgh.tmp", ".fitter.abcdefgh.tmp", "fit", "fit.abcdefgh.tmp"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path / "fit")
    assert sorted(os.listdir(tmp_path)) == [".fit.b.abcdefgh.tmp", ".fitter.abcdefgh.tmp", "fit", "fit.abcdefgh.tmp"]


@pytest.mark.usefixtures("often")
@pytest.mark.skipif(os.name == "nt", reason="a process cannot send itself SIGTERM")
def test_a_request_to_terminate_is_an_interrupt(tmp_path):
    expected = ReLURegressor(**SHORT).fit(X, Y)
    model = clone(expected).set_params(checkpoint=tmp_path / "fit")
    former = signal.signal(signal.SIGTERM, mine := lambda *_: pytest.fail("the former handler was called"))
    try:
        terminate = lambda record, _: record.iteration == 12 and os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
        with pytest.warns(ConvergenceWarning, match="interrupted; the best network"):
            model.set_params(callbacks=terminate).fit(X, Y)
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, former)
    assert model.status_ is Status.INTERRUPTED
    assert model.n_iter_ == 12
    assert_same_fit(model.set_params(callbacks=None).fit(X, Y), expected)


def test_a_fit_in_another_thread_leaves_signals_alone(tmp_path):
    model = ReLURegressor(**SHORT, checkpoint=tmp_path / "fit")
    thread = threading.Thread(target=model.fit, args=(X, Y))
    thread.start()
    thread.join()
    assert model.status_ is Status.CONVERGED


@pytest.fixture
def kept(tmp_path, often) -> Path:
    """Write the checkpoint of a fit that was interrupted."""
    quiet(ReLURegressor(**SHORT, checkpoint=tmp_path / "fit", callbacks=Interrupt(25)), X, Y)
    return tmp_path / "fit"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_neurons": 5}, "was written by a fit with n_neurons=3; this one has n_neurons=5"),
        ({"alpha": "auto"}, "alpha=0.001; this one has alpha='auto'"),
        ({"tol": 1e-3, "dtype": "float32"}, "dtype='float64', tol=1e-12; this one has dtype='float32', tol=0.001"),
        ({"solver": VarPro()}, r"solver='auto'; this one has solver='VarPro\("),
        ({"random_state": 1}, "another random_state"),
    ],
)
def test_another_fit_is_refused_by_what_differs(settings, message, kept, no_work):
    with pytest.raises(ValueError, match=message):
        ReLURegressor(**(SHORT | {"checkpoint": kept} | settings)).fit(X, Y)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X + 1e-15, Y), "a fit to other data: X differs"),
        ((X[::-1], Y[::-1]), "X and y differ"),
        ((X, Y, np.ones(len(Y))), "sample_weight differs"),
    ],
)
def test_other_data_are_refused(data, message, kept, no_work):
    with pytest.raises(ValueError, match=message):
        ReLURegressor(**SHORT, checkpoint=kept).fit(*data)


def test_another_version_is_refused(kept, no_work, monkeypatch):
    monkeypatch.setattr(anmin.checkpoint, "__version__", "99.0")
    with pytest.raises(ValueError, match=r"was written by anmin 0\..*; this is anmin 99.0"):
        ReLURegressor(**SHORT, checkpoint=kept).fit(X, Y)


class Trap:
    """What makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


def foreign_files(path: Path):
    whole = path.read_bytes()
    yield b""
    yield b"not an archive"
    yield whole[: len(whole) // 2]
    yield whole[len(whole) // 2 :]
    for save, trap in ((np.save, [np.array([Trap()])]), (np.savez, [np.array([Trap()])]), (np.savez, [np.zeros(3)])):
        with path.open("wb") as file:
            save(file, *trap)
        yield path.read_bytes()
    with path.open("wb") as file:
        np.savez(file, content=np.array([Trap()]))
    yield path.read_bytes()
    for content in (b"{}", b"[" * 10**6, b'{"format": "anmin.checkpoint", "version": 3}', b"\xff"):
        with path.open("wb") as file:
            np.savez(file, content=np.frombuffer(content, np.uint8))
        yield path.read_bytes()


def test_foreign_files_are_refused_and_nothing_is_executed(kept, no_work, monkeypatch):
    monkeypatch.chdir(kept.parent)
    for content in list(foreign_files(kept)):
        kept.write_bytes(content)
        with pytest.raises(ValueError, match="is not a checkpoint of anmin, or is damaged; remove it"):
            ReLURegressor(**SHORT, checkpoint=kept).fit(X, Y)
        assert kept.read_bytes() == content
    assert os.listdir() == ["fit"]


def test_a_damaged_byte_is_found_or_makes_no_difference(kept):
    whole, rng = kept.read_bytes(), np.random.default_rng(0)
    expected = ReLURegressor(**SHORT).fit(X, Y)
    told = []
    for place in rng.choice(len(whole), 60, replace=False):
        kept.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << rng.integers(8))]) + whole[place + 1 :])
        model = ReLURegressor(**SHORT, checkpoint=kept)
        try:
            model.fit(X, Y)
        except ValueError as error:
            told.append(str(error))
        else:
            assert_same_fit(model, expected)
    assert all("is not a checkpoint of anmin, or is damaged" in message for message in told)
    assert len(told) > 40


def test_an_error_from_what_was_read_names_the_checkpoint(kept):
    """A file in order but for its arrays, which no fit left behind, is found out in the middle of the fit."""
    with np.load(kept) as stored:
        arrays = {name: stored[name] if name == "content" else stored[name].astype("U4") for name in stored.files}
    with kept.open("wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(ValueError, match=r"could not go on from the checkpoint .*, which may be damaged \(") as caught:
        ReLURegressor(**SHORT, checkpoint=kept).fit(X, Y)
    assert caught.value.__cause__ is not None
    assert isinstance(caught.value.__cause__, TypeError | ValueError)


def test_an_error_without_a_file_is_what_it_was(tmp_path):
    def fail(record, network):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        quiet(ReLURegressor(**SHORT, checkpoint=tmp_path / "fit", callbacks=fail), X, Y)


def test_a_folder_and_another_solver_are_refused(tmp_path):
    class Own(VarPro):
        pass

    with pytest.raises(ValueError, match="the path of a file that may be written"):
        ReLURegressor(3, checkpoint=tmp_path).fit(X, Y)
    with pytest.raises(ValueError, match="A checkpoint needs one of anmin's own solvers"):
        ReLURegressor(3, checkpoint=tmp_path / "fit", solver=Own()).fit(X, Y)
    assert os.listdir(tmp_path) == []


def test_networks_come_back_whole(tmp_path):
    network = ReLUNetwork(np.ones((3, 2)), np.ones((2, 1)), [0.5], 0.1, feature_names=("a", "b"))
    encoder = Encoder(CLASSES)
    tree = encoder.tree(network)
    found = Decoder(CLASSES, encoder.arrays).value(tree)
    assert found.feature_names == ("a", "b")
    with pytest.raises(ValueError, match="read-only"):
        found.A[0] = 1
