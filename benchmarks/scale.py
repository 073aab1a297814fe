"""Rows that are not in memory: what a pass over files and over a cluster takes, and a fit, beside rows in memory.

Sections, each a table of ``scale.md``:

- files: 50 million rows of 3 inputs in Parquet (float32, made in parts, 800 MB): reading alone, a pass over the files,
  the same pass in memory, and a fit with its peak of memory;
- dask: 10 million rows on clusters of 1, 2 and 4 single-threaded worker processes of this machine: a pass, a fit, and
  the bytes that the workers send for a pass.

Every measurement runs in a process of its own. Let nothing else run meanwhile.

    python benchmarks/scale.py
    python benchmarks/scale.py --sections files --rows 5000000
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anmin.lab import protocol
from anmin.lab.results import environment
from runs import names, write

HERE = Path(__file__).parent
RESULTS = HERE / "results"
NEURONS = 64
_ROWS_OF_A_FILE = 1_000_000
_REPEATS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sections that are asked for, and write the tables."""
    options = parse(arguments)
    path = options.results / "scale.json"
    try:
        protocol.check_names("section", options.sections, SECTIONS)
        options.results.mkdir(parents=True, exist_ok=True)
        stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for name in options.sections:
            stored[name] = {"machine": environment(), "found": SECTIONS[name](options.rows)}
            write(path, json.dumps(stored, indent=1) + "\n")
        write(options.results / "scale.md", tables(stored))
    except (ValueError, ImportError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print((options.results / "scale.md").read_text(encoding="utf-8"))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Rows that are not in memory, beside rows in memory.")
    parser.add_argument("--sections", type=names, default=list(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--rows", type=int, help="rows, by default 50 million in files and 10 million in Dask")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for scale.json and scale.md")
    return parser.parse_args(arguments)


def field(number: int, count: int) -> tuple[NDArray, NDArray]:
    """Return inputs (count, 3) and targets (count,) of part ``number`` of a smooth field with noise, float32."""
    rng = np.random.default_rng(number)
    X = rng.uniform(-1, 1, (count, 3)).astype(np.float32)
    y = np.sqrt((X**2).sum(axis=1)) + 0.3 * np.sin(3 * X[:, 0]) * X[:, 1] + 0.01 * rng.standard_normal(count)
    return X, y.astype(np.float32)


def files(n_rows: int | None) -> dict[str, Any]:
    """Measure rows in Parquet files."""
    import pyarrow as pa
    import pyarrow.parquet

    n = n_rows or 50_000_000
    with tempfile.TemporaryDirectory() as folder:
        for number in range(-(-n // _ROWS_OF_A_FILE)):
            X, y = field(number, min(_ROWS_OF_A_FILE, n - number * _ROWS_OF_A_FILE))
            table = pa.table({**{f"x{j}": X[:, j] for j in range(3)}, "y": y})
            pa.parquet.write_table(table, Path(folder) / f"{number:04d}.parquet")
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        found: dict[str, Any] = {"n_rows": n, "bytes": size}
        for what in ("nothing", "read", "file_pass", "memory_pass", "fit"):
            found[what] = measured(what, folder)
            print(what, found[what], flush=True)
    return found


def dask(n_rows: int | None) -> dict[str, Any]:
    """Measure rows in Dask, on clusters of single-threaded worker processes."""
    n = n_rows or 10_000_000
    found: dict[str, Any] = {"n_rows": n, "clusters": {}}
    for workers in (1, 2, 4):
        found["clusters"][workers] = measured("on_cluster", n, workers)
        print(workers, found["clusters"][workers], flush=True)
    return found


SECTIONS = {"files": files, "dask": dask}


def measured(what: str, *arguments: Any) -> dict[str, Any]:
    """Return what a function of this module finds in a process of its own, with the peak of that process."""
    code = (
        f"import json, scale\nif __name__ == '__main__':\n    found = scale.{what}(*{arguments!r})\n"
        "    print(json.dumps(found | {'peak': scale.peak_bytes()}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=HERE)
    return json.loads(done.stdout.splitlines()[-1])


def peak_bytes() -> int:
    """Return the most memory that this process has held, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise OSError("The system does not tell the peak of the memory of a process.")


def hyperplanes() -> NDArray:
    """Return hidden weights (4, 64) whose hyperplanes cross the field."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((3, NEURONS))
    return np.vstack([-np.einsum("di,id->i", directions, rng.uniform(-1, 1, (NEURONS, 3))), directions])


def nothing(folder: str) -> dict[str, Any]:
    """Import all that is used."""
    from anmin import ReLURegressor
    from anmin.rows import ArrayRows, ParquetRows

    rows = ArrayRows(*field(0, 5000))
    rows.statistics(hyperplanes())
    return {"seconds": 0.0, "used": [str(kind) for kind in (ReLURegressor, ParquetRows)]}


def read(folder: str) -> dict[str, Any]:
    """Read the files, part by part."""
    from anmin.datasets import open_table

    return {
        "seconds": quickest(lambda: sum(len(b) for b in open_table(folder).batches(("x0", "x1", "x2", "y"), 2**20)))
    }


def file_pass(folder: str) -> dict[str, Any]:
    """Take the heavy pass over the files."""
    from anmin.rows import ParquetRows

    rows, A = ParquetRows(folder, "y"), hyperplanes()
    return {"seconds": quickest(lambda: rows.statistics(A))}


def memory_pass(folder: str) -> dict[str, Any]:
    """Take the heavy pass over the same rows in memory."""
    from anmin.datasets import open_table
    from anmin.rows import ArrayRows

    values = np.concatenate(list(open_table(folder).batches(("x0", "x1", "x2", "y"), 2**20)))
    rows, A = ArrayRows(values[:, :3], values[:, 3:]), hyperplanes()
    return {"seconds": quickest(lambda: rows.statistics(A))}


def fit(folder: str) -> dict[str, Any]:
    """Fit a network to the files, with all by default but two minutes at most for the sample."""
    import warnings

    from anmin import ReLURegressor
    from anmin.rows import ParquetRows

    warnings.simplefilter("ignore")
    begun = time.perf_counter()
    rows = ParquetRows(folder, "y")
    surveyed = time.perf_counter()
    model = ReLURegressor(NEURONS, random_state=0, max_time=170).fit(rows)
    history = model.history_
    return {
        "seconds": time.perf_counter() - begun,
        "survey": surveyed - begun,
        "passes": rows.passes,
        "status": model.status_.name,
        "mse": list(history["mse"][history["n_rows"] == rows.n_rows]),
        "iterations": len(history),
    }


def on_cluster(n: int, workers: int) -> dict[str, Any]:
    """Take passes and fit on a cluster of this machine."""
    import warnings

    import dask
    import dask.array as da
    from distributed import Client, LocalCluster

    from anmin import ReLURegressor
    from anmin.rows import DaskRows

    warnings.simplefilter("ignore")
    parts = 16
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        made = [dask.delayed(field, nout=2)(number, n // parts) for number in range(parts)]
        X = da.concatenate([da.from_delayed(x, (n // parts, 3), np.float32) for x, _ in made])
        y = da.concatenate([da.from_delayed(t, (n // parts,), np.float32) for _, t in made])
        rows, A = DaskRows(X, y, client=client), hyperplanes()
        seconds = quickest(lambda: rows.statistics(A))
        model = ReLURegressor(NEURONS, random_state=0, alpha=1e-7, max_iter=30).fit(rows)
        records = [record for record in model.history_ if record.n_rows == rows.n_rows]
        from anmin.rows.dask import _packed

        triangle, rest = _packed(rows.statistics(A))
        moved = 8 * (triangle.size + sum(np.size(value) for value in rest.values()))
        begun = time.perf_counter()
        again = ReLURegressor(NEURONS, solver="anmin", random_state=0, max_iter=10).fit(rows)
        return {
            "pass": seconds,
            "anmin": time.perf_counter() - begun,
            "loss": again.loss_,
            "mse": records[-1].mse,
            "sums": moved,
        }


def quickest(work: Any) -> float:
    """Return the seconds of the quickest of three calls, after one to compile."""
    work()
    found = []
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return min(found)


def tables(stored: dict[str, Any]) -> str:
    """Return the tables of the stored sections."""
    lines = ["# Rows that are not in memory", "", "Seconds are of the quickest of three. 64 neurons, float64 sums.", ""]
    if "files" in stored:
        found = stored["files"]["found"]
        slowest = max(found["read"]["seconds"], found["memory_pass"]["seconds"])
        ratio = found["file_pass"]["seconds"] / slowest
        beyond = (found["fit"]["peak"] - found["nothing"]["peak"]) / 1e9
        fitted = found["fit"]
        lines += [
            "## Files",
            "",
            f"{found['n_rows']:,} rows of 3 inputs, float32, in Parquet files of {found['bytes'] / 1e6:,.0f} MB.",
            "",
            "|  | s |",
            "| --- | ---: |",
            f"| reading alone | {found['read']['seconds']:.2f} |",
            f"| a heavy pass in memory | {found['memory_pass']['seconds']:.2f} |",
            f"| a heavy pass over the files | {found['file_pass']['seconds']:.2f} |",
            f"| first look: checks, moments, sample | {fitted['survey']:.2f} |",
            f"| a whole fit, {fitted['passes']} visits to all rows ({fitted['status']}) | {fitted['seconds']:.1f} |",
            "",
            f"The pass over the files takes {ratio:.2f} times the larger of reading and the pass in memory (asked: at "
            f"most 1.5). The fit holds {beyond:.2f} GB beyond what the interpreter and its imports do (asked: at most "
            f"1.5). Mean squared error on all rows, as the last iterations see it: "
            f"{', '.join(f'{value:.4g}' for value in fitted['mse'])}; the noise is 0.0001.",
            "",
            machine(stored["files"]),
        ]
    if "dask" in stored:
        found = stored["dask"]["found"]
        clusters = found["clusters"]
        one = clusters.get("1", clusters.get(1))
        lines += [
            "## Dask",
            "",
            f"{found['n_rows']:,} rows of 3 inputs, float32, in 16 partitions; worker processes of one thread each.",
            "",
            "| workers | pass, s | speed | 10 iterations of ANMIN, s | speed | loss | bytes of a worker's sums |",
            "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for workers, row in clusters.items():
            lines.append(
                f"| {workers} | {row['pass']:.2f} | {one['pass'] / row['pass']:.2f} | {row['anmin']:.1f} | "
                f"{one['anmin'] / row['anmin']:.2f} | {row['loss']:.10g} | {row['sums']:,} |"
            )
        lines += ["", machine(stored["dask"])]
    return "\n".join(lines)


def machine(section: dict[str, Any]) -> str:
    """Return the line that says what the numbers were measured on."""
    return "Machine: " + ", ".join(f"{name} {value}" for name, value in section["machine"].items()) + ".\n"


if __name__ == "__main__":
    sys.exit(main())
