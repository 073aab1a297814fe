"""The lab in full: runs studies, stores them one by one, and writes the table of all verdicts that are stored.

    python benchmarks/studies.py landscapes sudoku     # these anew
    python benchmarks/studies.py --all                 # everything: hours
    python benchmarks/studies.py                       # only the table

Numbers, claims and pictures go to benchmarks/results/lab/, the table to benchmarks/results/lab.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anmin.lab.studies import STUDIES, run_study
from anmin.lab.study_page import write_study
from runs import write

RESULTS = Path(__file__).parent / "results"


def table(documents: Sequence[dict[str, Any]]) -> str:
    """Return the Markdown of stored studies: a count of verdicts, then each claim beside what was measured."""
    verdicts = [claim["verdict"] for document in documents for claim in document["claims"]]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
    lines = [
        "# The lab: full runs",
        "",
        f"{len(documents)} studies, {len(verdicts)} claims: {counts}. Verdicts are computed from the figures; what a "
        "study is about stands in [the lab](../../docs/lab.md). Settings, tables, seconds and versions are in "
        "`benchmarks/results/lab/`, a file for each. Some ran beside other work, so compare seconds with care.",
    ]
    for document in documents:
        settings = "; ".join(f"{key} {value}" for key, value in document["settings"].items())
        lines += ["", f"## {document['title']} (`{document['study']}`)", "", document["summary"], ""]
        lines += ["| the source says | where | measured | verdict |", "|---|---|---|---|"]
        lines += [
            f"| {' | '.join(_cell(claim[key]) for key in ('claim', 'source', 'measured', 'verdict'))} |"
            for claim in document["claims"]
        ]
        lines += ["", f"{settings}{'; ' if settings else ''}{document['seconds']:.0f} s."]
    return "\n".join(lines) + "\n"


def stored(folder: Path) -> list[dict[str, Any]]:
    """Return the full runs that are stored, in the order of the list of studies."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    order = {name: k for k, name in enumerate(STUDIES)}
    return sorted((one for one in found if not one["quick"]), key=lambda one: order.get(one["study"], len(order)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="studies")
    parser.add_argument("--all", action="store_true", help="all studies")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in STUDIES]
    if unknown:
        parser.error(f"no such study: {', '.join(unknown)}; there are {', '.join(STUDIES)}")
    for name in STUDIES if given.all else given.names:
        start = time.perf_counter()
        study = run_study(name)
        seconds = time.perf_counter() - start
        write_study(given.results / "lab", study, seconds, quick=False)
        print(f"{name}: {seconds:.0f} s", flush=True)
    write(given.results / "lab.md", table(stored(given.results / "lab")))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    main()
