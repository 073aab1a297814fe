"""Hostile inputs: a process of its own that meets them, and for how long they are made up.

The process has a limit to its memory; what it does to the machine is watched by audit events. If it dies, the example
that killed it fails, and the next one gets a new process.
"""

from __future__ import annotations

import csv
import functools
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: Seconds for all properties together, instead of a fixed number of examples: ``make fuzz`` sets it.
SECONDS = float(os.environ.get("ANMIN_FUZZ_SECONDS", "0"))
#: A megabyte, and what any command may take beyond what it had: buffers of Arrow and of the sums.
MB = 2**20
ALLOWANCE = 150 * MB
_ADDRESSES = 3 * 2**30  # of address space, beyond what the imports take
_timed: list[str] = []  # the properties that share the seconds
_LONGEST_SECONDS = 60.0
_LONGEST_SENTENCE = 2000
_FORBIDDEN = (
    *("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "subprocess.Popen"),
)


class Outcome(NamedTuple):
    """What a command did: exit code, texts, the traceback if there was one, bytes of memory, files, and misdeeds."""

    code: int
    out: str
    error: str
    traceback: str
    growth: int
    files: dict[str, bytes]
    misdeeds: list[str]


def fuzzed(examples: int) -> Callable[[Callable], Callable]:
    """Try a property on the same examples in every run, or on new ones for its share of ANMIN_FUZZ_SECONDS."""
    chosen = settings(
        max_examples=examples,
        deadline=None,
        derandomize=not SECONDS,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )

    def decorate(test: Callable) -> Callable:
        tried = chosen(test)
        if not SECONDS:
            return tried
        _timed.append(test.__name__)

        @functools.wraps(tried)
        def for_long(victim: Victim, **kwargs: Any) -> None:
            end = time.perf_counter() + SECONDS / len(_timed)
            victim.counts.clear()
            while time.perf_counter() < end:
                tried(victim=victim, **kwargs)
            shown = ", ".join(
                f"{name} {count} with code {code}" for (name, code), count in sorted(victim.counts.items())
            )
            print(f"\n{test.__name__}: {shown}")

        return for_long

    return decorate


class Victim:
    """The process that meets the inputs; use it as a context manager."""

    def __init__(self) -> None:
        self._process: Any = None
        self._connection: Any = None
        self.counts: Counter[tuple[str, int]] = Counter()  # of commands and exit codes

    def __enter__(self) -> Victim:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def run(self, arguments: Sequence[str], files: dict[str, bytes]) -> Outcome:
        """Run a command of anmin, or a function of this module, in a folder with just these files."""
        if self._process is None:
            self._start()
        try:
            self._connection.send((list(arguments), files))
            assert self._connection.poll(_LONGEST_SECONDS), f"{arguments} takes more than {_LONGEST_SECONDS} s"
            outcome = self._connection.recv()
            self.counts[arguments[0], outcome.code] += 1
            return outcome
        except EOFError:
            self._process.join()
            raise AssertionError(f"{arguments} ended the process with {self._process.exitcode}") from None
        except BaseException:
            self._end()
            raise
        finally:
            if self._process is not None and not self._process.is_alive():
                self._end()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there,), daemon=True)
        self._process.start()
        there.close()
        assert self._connection.poll(_LONGEST_SECONDS)
        assert self._connection.recv() == "ready"

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = None


def assert_polite(
    victim: Victim, arguments: Sequence[str], given: dict[str, bytes], *, allowance: int = ALLOWANCE
) -> Outcome:
    """Run a command, and check that it works, or says in one sentence why not and leaves no file behind."""
    outcome = victim.run(arguments, given)
    assert not outcome.traceback, outcome.traceback[-1500:]
    assert outcome.code in (0, 2), outcome
    assert outcome.misdeeds == [], outcome.misdeeds
    assert outcome.growth <= allowance + 100 * sum(map(len, given.values())), f"{outcome.growth / MB:.0f} MB"
    for text in (outcome.out, outcome.error):
        assert all(c.isprintable() or c == "\n" for c in text), ascii(text)
    assert not re.search(r"\.py:\d+: |Traceback|object at 0x", outcome.error), outcome.error
    if outcome.code == 2:
        assert re.fullmatch(r"(Warning: .*\n)*Error: .*[^ ].*\n", outcome.error), outcome.error
        assert len(outcome.error) < _LONGEST_SENTENCE or "read_table" in arguments
        assert outcome.files == given, outcome.error
        assert "do not fit into memory" not in outcome.error
    return outcome


def load_model(path: str) -> None:
    """Load a model, and check that what came out comes out again."""
    from anmin import ReLUNetwork

    network = ReLUNetwork.load(path)
    network.save("again.json")
    again = ReLUNetwork.load("again.json")
    names = (again.feature_names, again.output_names, again.negative_slope)
    assert names == (network.feature_names, network.output_names, network.negative_slope)
    for one, other in zip((again.A, again.B, again.b0), (network.A, network.B, network.b0), strict=True):
        assert one.tobytes() == other.tobytes()


def read_table(path: str, encoding: str = "utf-8") -> None:
    """Read every column of a table that has numbers, whole and in parts, and check that these are the same."""
    import numpy as np

    from anmin.datasets import open_table

    table = open_table(path, encoding=encoding)
    values = table.numbers(table.columns)
    assert np.array_equal(values, np.vstack(list(table.numbers_in_parts(table.columns))))
    assert np.isfinite(values).all()
    if Path(path).suffix == ".csv":
        with open(path, encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as text:
            rows = [row for row in csv.reader(text, delimiter=table.delimiter) if row][1:]
        assert np.array_equal(values, [[float(cell) for cell in row] for row in rows])


def one_of(*strategies: Any) -> st.SearchStrategy:
    """Return a strategy of values and strategies."""
    return st.one_of([s if isinstance(s, st.SearchStrategy) else st.just(s) for s in strategies])


@st.composite
def damaged(draw: Any, whole: bytes) -> bytes:
    """Draw bytes with a few of them flipped, removed or inserted, or cut short."""
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(whole)))
        match draw(st.sampled_from(["cut", "flip", "insert", "remove"])):
            case "cut":
                whole = whole[:place]
            case "flip" if place < len(whole):
                whole = whole[:place] + bytes([whole[place] ^ (1 << draw(st.integers(0, 7)))]) + whole[place + 1 :]
            case "insert":
                whole = whole[:place] + draw(st.binary(max_size=8)) + whole[place:]
            case "remove":
                whole = whole[:place] + whole[place + draw(st.integers(1, 64)) :]
    return whole


def _serve(connection: Any) -> None:
    folder = Path(tempfile.mkdtemp()).resolve()
    os.chdir(folder)
    os.environ |= {"COLUMNS": "100", "MPLBACKEND": "agg"}
    os.environ.pop("ANMIN_DATA", None)
    warnings.simplefilter("always")  # each is shown, however often it comes
    watch = _Watch(folder)
    sys.addaudithook(watch)
    try:
        _imported()
        import resource  # which not all systems have

        limit = _kilobytes("VmSize") * 1024 + _ADDRESSES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        connection.send("ready")
        while True:
            arguments, files = connection.recv()
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            for name, content in files.items():
                Path(name).write_bytes(content)
            Path("/proc/self/clear_refs").write_text("5")  # the largest memory so far is the present one
            before = _kilobytes("VmRSS")
            watch.begin(arguments)
            code, out, error, trace = _ran(arguments)
            misdeeds = watch.end()
            growth = (_kilobytes("VmHWM") - before) * 1024
            found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
            connection.send(Outcome(code, out, error, trace, growth, found, misdeeds))
    except EOFError:
        pass
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)


def _imported() -> None:
    """Bring in all that a command may need, before memory is limited."""
    import numpy as np

    import anmin.checkpoint
    from anmin import ReLUNetwork

    anmin.checkpoint.SECONDS_BETWEEN = anmin.checkpoint._SELDOM = 0  # checkpoints of short fits hold a state
    network = ReLUNetwork(np.eye(3, 2), np.ones((2, 1)), np.zeros(1), feature_names=("a", "b"), output_names=("y",))
    network.save("m.json")
    Path("t.csv").write_text("a,b,y\n" + "".join(f"{i},{i * i},{i % 3}\n" for i in range(20)))
    for command in (
        "predict m.json t.csv -o p.csv",
        "evaluate m.json t.csv",
        "fit t.csv -y y -n 2 --alpha 0.001 --max-iter 2 -q --checkpoint c",
        "compare t.csv -y y --rivals ridge --splits 1 -q",
        *(f"export m.json --to {to} -o e" for to in ("c", "glsl", "javascript", "json", "onnx")),
        "report m.json t.csv -o r.html",
    ):
        code, _, error, trace = _ran(command.split())
        assert code == 0, error + trace


def _ran(arguments: list[str]) -> tuple[int, str, str, str]:
    from typer.testing import CliRunner

    from anmin.cli import app

    functions = {"load_model": load_model, "read_table": read_table}
    if arguments[0] in functions:
        try:
            functions[arguments[0]](*arguments[1:])
        except (ValueError, FileNotFoundError) as error:
            return 2, "", f"Error: {error}\n", ""
        except BaseException:
            return 1, "", "", traceback.format_exc()
        return 0, "", "", ""
    result = CliRunner().invoke(app, arguments)
    trace = ""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        trace = "".join(traceback.format_exception(result.exception))
    return result.exit_code, result.stdout, result.stderr, trace


def _kilobytes(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise KeyError(key)


class _Watch:
    """An audit hook that notes what no input may bring about."""

    def __init__(self, folder: Path) -> None:
        self._allowed = (str(folder), tempfile.gettempdir(), "/dev/null")
        self._is_on, self._may_start = False, False
        self._noted: list[str] = []

    def begin(self, arguments: list[str]) -> None:
        self._noted, self._is_on, self._may_start = [], True, arguments[0] == "export"

    def end(self) -> list[str]:
        self._is_on = False
        return self._noted

    def __call__(self, event: str, arguments: tuple) -> None:
        if not self._is_on:
            return
        if event in _FORBIDDEN and not self._may_start and not _in_numba():
            self._noted.append(f"{event} {arguments!r}")
        if event == "open" and isinstance(arguments[0], str) and _writes(arguments[1], arguments[2]):
            path = os.path.abspath(arguments[0])
            if not path.startswith(self._allowed) and not _in_numba():
                self._noted.append(f"writes {path}")


def _in_numba() -> bool:
    """Return whether it is Numba that keeps, or finds, code that it compiled."""
    frame = sys._getframe()
    while frame is not None:
        if "numba" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


def _writes(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return any(c in mode for c in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
