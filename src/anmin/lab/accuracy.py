"""How accurate, small and fast the rivals are on public data: the runs behind the tables of ``benchmarks``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np

from anmin import datasets
from anmin.atomic import written_atomically
from anmin.datasets import Dataset
from anmin.lab import contest, protocol
from anmin.lab.protocol import STUDIES, Split
from anmin.lab.results import Run, RunFile, complete
from anmin.lab.rivals import Rival, tune

STUDY = "accuracy"
#: A rival whose fits take longer than this, in seconds, is run on the first splits only.
SLOW, SLOW_SPLITS = 60.0, 3


@dataclass(frozen=True)
class Field:
    """One data set of the comparison.

    Attributes
    ----------
    name, title : str
    n_neurons : int
    n_splits : int
    metric : "MSE" or "RMSE"
        As the literature reports this set.
    """

    name: str
    title: str
    n_neurons: int
    n_splits: int
    metric: Literal["MSE", "RMSE"]


FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        *(
            Field(study.name, study.title, study.n_neurons, study.n_splits, "MSE")
            for study in (STUDIES[name] for name in protocol.DEFAULT_DATASETS)
        ),
        Field("concrete", "Concrete", 64, 20, "RMSE"),
        Field("energy", "Energy", 64, 20, "RMSE"),
        Field("power", "Power plant", 64, 20, "RMSE"),
        Field("protein", "Protein", 64, 5, "RMSE"),
        Field("wine_red", "Red wine", 64, 20, "RMSE"),
        Field("yacht", "Yacht", 64, 20, "RMSE"),
    )
}


def load_split(name: str, split: int) -> Split:
    """Return a split of a data set of :data:`FIELDS`: the paper's protocol, or the usual splits of a UCI set, raw."""
    if name in STUDIES:
        return protocol.load_split(name, split)
    data = _dataset(name)
    test = datasets.uci_splits(name)[split]
    train = np.setdiff1d(np.arange(len(data.X)), test)
    y = data.y.reshape(len(data.X), -1)
    return Split(data.X[train], y[train], data.X[test], y[test])


def run(
    folder: Path,
    name: str,
    rivals: Sequence[str] | None = None,
    n_splits: int | None = None,
    *,
    again: bool = False,
    report: Callable[[str], None] = print,
) -> list[Run]:
    """Run rivals on the first splits of a data set, as far as the file in ``folder`` lacks them.

    Parameters
    ----------
    folder : Path
        Where ``NAME.json`` and ``tuning-NAME.json`` are read and written.
    name : str
        A key of :data:`FIELDS`.
    rivals : sequence of str, optional
        By default those that take part by default. A rival that is not installed is reported and left out.
    n_splits : int, optional
        By default the number of the data set; 3 at most for rivals that take longer than a minute.
    again : bool, default False
        Make the runs again that are there.
    report : callable
        Is given one line of text after each run.

    Raises
    ------
    ValueError
        If a data set or rival is not known, before any work.
    """
    protocol.check_names("data set", [name], FIELDS)
    field, file = FIELDS[name], run_file(folder, name)
    ready = []
    for rival in contest.chosen(rivals, field.n_neurons):
        try:
            rival.prepare()
        except ImportError as error:
            report(str(error))
        else:
            ready.append(rival)
    return complete(file, _jobs(folder, file, field, ready, n_splits, report), report, again=again)


def run_file(folder: Path, name: str) -> RunFile:
    """Return the file of the runs on a data set."""
    return RunFile(folder / f"{name}.json", STUDY, name)


def tuned(folder: Path, name: str, rival: Rival, report: Callable[[str], None] = print) -> tuple[Rival, float]:
    """Return a rival with the settings that are best on split 0, from the file in ``folder`` or tuned now.

    The second value is the seconds of processor time that the tuning took.
    """
    candidates = rival.candidates()
    if not candidates:
        return rival, 0.0
    path, before = folder / f"tuning-{name}.json", tuning(folder, name)
    offered = json.loads(json.dumps([candidate.settings() for candidate in candidates]))
    entry, split = before.get(rival.name), load_split(name, 0)
    # Other candidates, other settings of the same, or another number of rows are another contest.
    if entry is None or (_offered(entry), entry["rows"]) != (offered, min(rival.tuning_rows, len(split.X_train))):
        started = contest.clocks()
        best, record = tune(rival, split.X_train, split.y_train)
        seconds, processor_seconds = contest.since(started)
        entry = {"chosen": asdict(best), "seconds": seconds, "processor_seconds": processor_seconds, **record}
        folder.mkdir(parents=True, exist_ok=True)
        with written_atomically(path) as temporary:
            temporary.write_text(json.dumps({**before, rival.name: entry}, indent=1) + "\n", encoding="utf-8")
        report(f"{STUDY} {name} {rival.name}: tuned in {entry['seconds']:.3g} s to {best.settings()}")
    return replace(rival, **entry["chosen"]), float(entry["processor_seconds"])


def _jobs(
    folder: Path,
    file: RunFile,
    field: Field,
    rivals: Sequence[Rival],
    n_splits: int | None,
    report: Callable[[str], None],
) -> Iterator[tuple[str, int, dict, Callable[[], Run]]]:
    for rival in rivals:
        best, seconds = tuned(folder, field.name, rival, report)
        for split in range(min(n_splits or field.n_splits, field.n_splits)):
            if n_splits is None and split >= SLOW_SPLITS and _slow(file, best):
                break
            yield best.name, split, best.settings(), partial(_run, field.name, best, split, seconds)


def _offered(entry: dict) -> list[dict]:
    return [{key: value for key, value in tried.items() if key != "error"} for tried in entry["tried"]]


def _slow(file: RunFile, rival: Rival) -> bool:
    runs = file.matching({rival.name: rival.settings()})
    return bool(runs) and float(np.median([run.seconds for run in runs])) > SLOW


def _run(name: str, rival: Rival, split: int, tuning_seconds: float) -> Run:
    made = contest.measure(rival, load_split(name, split), split)
    return replace(made, extra={**made.extra, "tuning_seconds": tuning_seconds}) if tuning_seconds else made


@cache
def _dataset(name: str) -> Dataset:
    return datasets.load(name)


def stored(folder: Path, name: str) -> list[Run]:
    """Return the runs on a data set in ``folder``, in the order of :data:`anmin.lab.contest.RIVALS` and of the splits.

    Those that were made with other settings than today's are left out.
    """
    wanted = {}
    for kind in contest.RIVALS.values():
        rival = kind(FIELDS[name].n_neurons)
        if rival.candidates():
            entry = tuning(folder, name).get(rival.name)
            if entry is None:
                continue
            rival = replace(rival, **entry["chosen"])
        wanted[rival.name] = rival.settings()
    return run_file(folder, name).matching(wanted)


def tuning(folder: Path, name: str) -> dict:
    """Return what was chosen for each tuned rival on a data set: "chosen", "seconds" and "tried" by its name."""
    path = folder / f"tuning-{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
