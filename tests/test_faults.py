"""What machines do to a fit: processes that are killed at any moment, and disks that are full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Fits of several kinds that are killed in the act of writing at certain stages, then at random times. They are forked,
#: because starting Python anew each time would take longer than all the fits.
KILLS = '''
import json, os, signal, sys, time, warnings
import numpy as np
import anmin.checkpoint, anmin.rows.parts
from anmin import ReLUClassifier, ReLURegressor
from anmin.rows import NpyRows

warnings.simplefilter("ignore")
anmin.checkpoint.SECONDS_BETWEEN = anmin.checkpoint._SELDOM = 0.0
anmin.rows.parts.HELD_ROWS = 150
os.fsync = lambda file: None  # what it is for, a machine that fails, is not tried, and it takes most of the time
rng = np.random.default_rng(0)
X = rng.standard_normal((300, 2))
y = np.abs(X[:, 0]) + 0.1 * rng.standard_normal(300)
np.save("X.npy", X)
np.save("y.npy", y)
some = {"random_state": 0, "tol": 1e-3}
# Each with the stages in the writing of whose checkpoint, of this number, it dies.
KINDS = {
    "files": (
        lambda: ReLURegressor(2, **some).fit(NpyRows("X.npy", "y.npy", part_rows=90)),
        [("start 0", 3), ("all rows", 2)],
    ),
    "restarts": (
        lambda: ReLURegressor(3, solver="anmin", n_restarts=3, **some).fit(X, y),
        [("start 1", 1), ("start 2", 2)],
    ),
    "huber": (lambda: ReLURegressor(2, loss="huber", **some).fit(X, y), [("start 0", 9), ("loss 0", 1)]),
    "classes": (lambda: ReLUClassifier(3, **some).fit(X, y > 0.5), [(None, 1), ("loss 0", 1)]),
}
savez = np.savez

def stages(content):
    """Return the stages that are over, and the one that a checkpoint is at, or None."""
    at = content["at"]
    return list(content["over"]["dict"]), None if at is None else at["stage"]

def killed_in_writing(stage, number):
    """Return a writer that dies half-way through the write of this number of a stage."""
    def write(file, **arrays):
        seen.append(stages(json.loads(bytes(arrays["content"])))[1] == stage)
        if sum(seen) == number:
            file.write(b"half of it")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        savez(file, **arrays)
    seen = []
    return write

def forked(fit, out, write=savez):
    pid = os.fork()
    if not pid:
        np.savez = write
        some["checkpoint"] = "fit"
        fit().network_.save(out)
        os._exit(0)
    return pid

def place():
    """Return the stages that the last good checkpoint knows of."""
    try:
        with np.load("fit", allow_pickle=False) as stored:
            over, at = stages(json.loads(bytes(stored["content"])))
    except FileNotFoundError:
        return None
    return over if at is None else [*over, at]

report = {}
for kind, (fit, designed) in KINDS.items():
    some.pop("checkpoint", None)
    fit().network_.save(f"{kind}.json")
    begun = time.perf_counter()
    os.waitpid(forked(fit, f"{kind} 0.json"), 0)
    took = time.perf_counter() - begun
    os.remove("fit")
    moments, ended, places = np.random.default_rng(3), 1, []
    writers = [killed_in_writing(*where) for where in designed]
    for attempt in range(40):
        if len(places) == 4:
            break
        writer = writers[len(places)] if len(places) < 2 else None
        pid = forked(fit, f"{kind} {ended}.json", writer or savez)
        if writer is None:
            time.sleep(moments.uniform(0.0, 0.8 * took))
            os.kill(pid, signal.SIGKILL)
        if os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
            places.append(place())
        else:
            ended += 1
            os.remove("fit")  # and again from the start
    os.waitpid(forked(fit, f"{kind} {ended}.json"), 0)
    os.remove("fit")
    report[kind] = {"ended": ended + 1, "places": places, "seconds": took}
print(json.dumps(report))
'''


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_every_kind_of_fit_ends_with_the_same_bits_wherever_it_is_killed(tmp_path: Path) -> None:
    """Twice in the act of writing, twice at random; test_checkpoint has twenty random moments of one kind of fit."""
    command = [sys.executable, "-c", KILLS]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stderr == ""
    report = json.loads(done.stdout)
    for kind, of_kind in report.items():
        expected = (tmp_path / f"{kind}.json").read_bytes()
        assert len(of_kind["places"]) == 4
        for number in range(of_kind["ended"]):
            assert (tmp_path / f"{kind} {number}.json").read_bytes() == expected
    # What was killed in the act of writing leaves what was written before, with all that was over by then.
    assert {kind: of_kind["places"][:2] for kind, of_kind in report.items()} == {
        "files": [["start 0"], ["start 0", "all rows"]],
        "restarts": [["start 0"], ["start 0", "start 1", "start 2"]],
        "huber": [["start 0"], ["start 0"]],
        "classes": [None, []],
    }
    assert not [name for name in os.listdir(tmp_path) if name.endswith((".tmp", ".lock")) or name == "fit"]


#: Fills a disk of 256 kB, or lets no file be larger, and tries to write a model, a report and a checkpoint.
FULL = """
import json, os, signal, sys, warnings
import numpy as np
from typer.testing import CliRunner

if sys.argv[1] == "limit":
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    most = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
else:
    os.chdir("small")
    def most():
        with open("filler", "wb") as file:
            try:
                while True:
                    os.write(file.fileno(), b"0" * 512)
            except OSError:
                pass

import anmin.checkpoint
from anmin import ReLUNetwork, ReLURegressor
from anmin.cli.main import app
anmin.checkpoint.SECONDS_BETWEEN = anmin.checkpoint._SELDOM = 0.0

def run(*arguments):
    done = CliRunner().invoke(app, [*arguments, "--quiet"])
    print(json.dumps([done.exit_code, done.stderr.splitlines()]))

fit = ("fit", "sine_norm", "--alpha", "0.01", "--max-iter")
run(*fit, "2", "--neurons", "2", "--checkpoint", "kept", "--report", "report.html")
before = {name: open(name, "rb").read() for name in ("model.json", "kept", "report.html")}
most()
run(*fit, "3", "--neurons", "90")
run(*fit, "3", "--neurons", "2", "--checkpoint", "kept", "--resume", "--out", "none.json", "--report", "report.html")
print(json.dumps([name for name, whole in before.items() if open(name, "rb").read() != whole]))
print(json.dumps(os.listdir()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="neither limits of files nor disks of memory are set like this")
@pytest.mark.parametrize("how", ["limit", "disk"])
def test_a_full_disk_leaves_the_last_good_model_report_and_checkpoint(how: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="a report has pictures")
    command = [sys.executable, "-c", FULL, how]
    if how == "disk":
        (tmp_path / "small").mkdir()
        mount = "mount -t tmpfs -o size=4m none small"
        own = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
        try:
            subprocess.run([*own, mount], cwd=tmp_path, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("the system lets no disk be mounted here")
        command = [*own, f'{mount} && "$@"', "sh", *command]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    good, model, all_three, changed, there = map(json.loads, done.stdout.splitlines())
    assert good == [0, []]
    full = "There is no space left to write {}."
    strerror = "No space left on device"
    if how == "limit":
        full, strerror = "{} could not be read or written: File too large.", "File too large"
    assert model == [2, [f"Error: {full.format('model.json')}"]]
    code, (warned, error) = all_three
    assert code == 2
    assert warned.startswith("Warning: The checkpoint ")
    assert warned.endswith(f"({strerror}); the fit goes on, and the last checkpoint, if there is one, stays as it is.")
    # The small model fits below the limit, and the report does not.
    assert error == f"Error: {full.format('report.html' if how == 'limit' else 'none.json')}"
    assert changed == []
    assert {name for name in there if not name.endswith(".lock")} == {"model.json", "kept", "report.html"} | (
        {"none.json"} if how == "limit" else {"filler"}
    )
