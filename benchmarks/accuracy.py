"""Accuracy, size and speed against rivals on public data.

Runs are stored one by one in ``benchmarks/results/accuracy``, and the same command goes on where it was interrupted.
The data are read from the folder that ANMIN_DATA names (see docs/data.md). For one thread, as in the stored results,
set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1.

    python benchmarks/accuracy.py --datasets concrete,yacht --rivals ours,lightgbm --splits 3
    python benchmarks/accuracy.py --sizes
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from anmin.lab import accuracy, contest, sizes
from anmin.lab.accuracy_tables import accuracy_tables
from runs import names, write

RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for, and write the table."""
    options = parse(arguments)
    folder = options.results / "accuracy"
    try:
        if options.sizes:
            return grow(folder, options)
        for name in () if options.tables_only else options.datasets or accuracy.FIELDS:
            accuracy.run(folder, name, options.rivals, options.splits, again=options.again, report=say)
        write(options.results / "accuracy.md", accuracy_tables(folder))
        say(f"Wrote {options.results / 'accuracy.md'}.")
    except KeyboardInterrupt:
        say("Interrupted; the finished runs are stored, and the same command goes on from there.")
        return 130
    except (ValueError, ImportError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0


def grow(folder: Path, options: argparse.Namespace) -> int:
    """Run the rivals in all sizes, and draw the picture."""
    rivals, widths = options.rivals or sizes.RIVALS, options.widths or sizes.WIDTHS
    for name in () if options.tables_only else options.datasets or sizes.DATASETS:
        sizes.run(folder, name, rivals, widths, options.splits or 1, again=options.again, report=say)
    path = options.results / "figures" / "bytes.png"
    sizes.draw(path, {name: sizes.run_file(folder, name).runs() for name in sizes.DATASETS})
    say(f"Wrote {path}.")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Accuracy, size and speed against rivals on public data.")
    parser.add_argument("--datasets", type=names, help=f"of {', '.join(accuracy.FIELDS)}; by default all")
    parser.add_argument("--rivals", type=names, help=f"of {', '.join(contest.RIVALS)}; by default the quicker ones")
    parser.add_argument("--splits", type=int, help="first splits to run; by default all of the data set")
    parser.add_argument("--sizes", action="store_true", help="test error against model size instead, and its picture")
    parser.add_argument("--widths", type=numbers, help="neurons for --sizes; by default 4 to 512")
    parser.add_argument("--tables-only", action="store_true", help="only write table or picture of the stored runs")
    parser.add_argument("--again", action="store_true", help="make stored runs of these rivals again")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of results")
    return parser.parse_args(arguments)


def numbers(text: str) -> list[int]:
    """Return whole numbers that were given with commas between."""
    return [int(name) for name in names(text)]


def say(text: str) -> None:
    """Print a line at once, also into a file."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
