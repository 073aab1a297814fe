"""Single runs in JSON files that an interrupted study resumes from."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from anmin.atomic import written_atomically

SCHEMA = "anmin.paper-runs"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Run:
    """One method on one split.

    Attributes
    ----------
    method : str
    split : int
        Number of the split, or the seed of a generated set.
    settings : dict
        All that determines the outcome besides the data.
    train_mse, test_mse : float
        Mean squared errors over rows and outputs, in squared units of y; NaN where the method diverged.
    train_r2, test_r2 : float
        Relative to the mean of the training targets.
    seconds : float
        Wall-clock seconds of the fit.
    iterations : int
        Iterations or epochs.
    n_train, n_features : int
        Training rows and inputs, 0 where not known.
    load : float or None
        Processes that wanted a core when the fit began, the system's average over a minute.
    environment : int
        Index into the environments of the file.
    extra : dict
        What only this method or study has.
    curve : dict or None
        Columns "seconds", "train_mse" and "test_mse" along the fit.
    """

    method: str
    split: int
    settings: dict
    train_mse: float
    test_mse: float
    train_r2: float
    test_r2: float
    seconds: float
    iterations: int
    n_train: int
    n_features: int = 0
    load: float | None = None
    environment: int = 0
    extra: dict = field(default_factory=dict)
    curve: dict | None = None


@dataclass(frozen=True)
class RunFile:
    """All runs of one study on one data set, in a file that is complete after every run.

    Parameters
    ----------
    path : Path
        The JSON file; it need not exist yet.
    study, dataset : str
        What the file is about.
    """

    path: Path
    study: str
    dataset: str

    def runs(self) -> list[Run]:
        """Return the runs so far, in the order in which they were made.

        Raises
        ------
        ValueError
            If the file is not one of these, or of another study.
        """
        return self._read()[1]

    def matching(self, settings: Mapping[str, dict]) -> list[Run]:
        """Return the runs whose method has these settings, in the order of the methods there and of the splits."""
        runs = self.runs()
        found = []
        for method, wanted in settings.items():
            # Settings are compared as JSON has them: tuples become lists, keys text.
            stored = json.loads(json.dumps(wanted))
            own = [run for run in runs if run.method == method and run.settings == stored]
            found += sorted(own, key=lambda run: run.split)
        return found

    def find(self, method: str, split: int, settings: dict) -> Run | None:
        """Return the run of a method on a split with these settings, or None."""
        return next((run for run in self.matching({method: settings}) if run.split == split), None)

    def add(self, run: Run) -> None:
        """Add a run made in this environment; one of the same method and split with other settings is replaced."""
        # Read again: another process may have added runs of another method in the meantime.
        environments, runs = self._read()
        here = environment()
        if here not in environments:
            environments.append(here)
        runs = [old for old in runs if (old.method, old.split) != (run.method, run.split)]
        added = replace(run, environment=environments.index(here))
        self._write(environments, [entry(one) for one in (*runs, added)])

    def _read(self) -> tuple[list[dict], list[Run]]:
        if not self.path.exists():
            return [], []
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            described = {name: document[name] for name in ("schema", "version", "study", "dataset")}
            runs = [Run(**_map_numbers(entry, _nan_for_none)) for entry in document["runs"]]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"The results file {self.path} cannot be read ({error!r}); move it away.") from None
        expected = {"schema": SCHEMA, "version": SCHEMA_VERSION, "study": self.study, "dataset": self.dataset}
        if described != expected:
            raise ValueError(f"The results file {self.path} must describe {expected}; it describes {described}.")
        return document["environments"], runs

    def _write(self, environments: list[dict], runs: list[dict]) -> None:
        head = {"schema": SCHEMA, "version": SCHEMA_VERSION, "study": self.study, "dataset": self.dataset}
        lines = [json.dumps(run, allow_nan=False) for run in runs]
        # One run a line, so that a change of one run is a change of one line.
        text = (
            json.dumps(head)[:-1] + ',\n"environments": ' + json.dumps(environments, indent=1)
            + ',\n"runs": [\n' + ",\n".join(lines) + "\n]}\n"
        )  # fmt: skip
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with written_atomically(self.path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def entry(run: Run) -> dict:
    """Return a run as JSON has it: None in place of a score that is not finite."""
    return _map_numbers(asdict(run), _none_for_nan)


def complete(
    file: RunFile,
    jobs: Iterable[tuple[str, int, dict, Callable[[], Run]]],
    report: Callable[[str], None],
    *,
    again: bool = False,
) -> list[Run]:
    """Make the runs that the file lacks and return those asked for, old and new.

    Parameters
    ----------
    file : RunFile
    jobs : iterable of (method, split, settings, make)
        ``make()`` does the work of one run.
    report : callable
        Is given one line of text after each run that was made.
    again : bool, default False
        Make the runs that the file has, too.
    """
    found = []
    for method, split, settings, make in jobs:
        run = None if again else file.find(method, split, settings)
        if run is None:
            run = make()
            file.add(run)
            report(
                f"{file.study} {file.dataset} {method} {split}: train {run.train_mse:.5g}, "
                f"test {run.test_mse:.5g}, {run.seconds:.3g} s"
            )
        found.append(run)
    return found


def environment() -> dict[str, Any]:
    """Return what the seconds of a run depend on: versions, processor, cores and threads."""
    packages = ("anmin", "numpy", "scipy", "scikit-learn", "torch", "lightgbm", "pyscnn", "torch-levenberg-marquardt")
    return {
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "blas_threads": max(
            (pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1
        ),
        "torch_threads": 1,
    }


def load_average() -> float | None:
    """Return the system's load over the last minute, None where the system does not say."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


_SCORES = ("train_mse", "test_mse", "train_r2", "test_r2")


def _map_numbers(entry: dict, change: Callable[[Any], Any]) -> dict:
    return {name: change(value) if name in _SCORES else value for name, value in entry.items()}


def _none_for_nan(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _nan_for_none(value: float | None) -> float:
    return math.nan if value is None else value
