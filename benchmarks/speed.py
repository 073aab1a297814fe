"""How fast the passes, the fits and the command are, with rivals run beside them.

Sections, each a table of ``speed.md``:

- anmin: 30 iterations of the paper's ANMIN, with the passes of this package and with plain ones;
- descent: seconds until the training error at which Adam ends (the paper's recipe, run beside it), and the paper's own;
- depth: seconds until the training errors that the search is asked for;
- million: a heavy pass over a million rows, and what ten times as many rows cost a fit;
- matrix_free: steps by conjugate gradients where matrices are too large, and against dense steps where they are not;
- roofline: operations and bytes per second of each pass, against the machine's own products and copies;
- predict: ten million rows, against the same in PyTorch and scikit-learn;
- scaling: seconds of the passes against rows, inputs and neurons, with fitted slopes and a picture;
- startup: imports, the command's help, and what is compiled at the first fit.

Sections that are run again replace the stored ones. The data are read from the folder that ANMIN_DATA names (see
docs/data.md). Let nothing else run meanwhile.

    python benchmarks/speed.py
    python benchmarks/speed.py --sections anmin,startup
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from anmin.lab import protocol
from anmin.lab.results import environment
from runs import names, write
from speed_parts import SECTIONS
from speed_tables import draw_scaling, tables

RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sections that are asked for, and write the tables and the picture."""
    options = parse(arguments)
    path = options.results / "speed.json"
    try:
        protocol.check_names("section", options.sections, SECTIONS)
        options.results.mkdir(parents=True, exist_ok=True)
        stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for name in () if options.tables_only else options.sections:
            stored[name] = {"machine": environment(), "rows": SECTIONS[name](options.quick)}
            write(path, json.dumps(stored, indent=1) + "\n")
            print(f"{name}: {len(stored[name]['rows'])} rows", flush=True)
        write(options.results / "speed.md", tables(stored))
        if "scaling" in stored:
            draw_scaling(options.results / "figures" / "scaling.png", stored["scaling"]["rows"])
    except KeyboardInterrupt:
        print("Interrupted; the finished sections are stored.", file=sys.stderr)
        return 130
    except (ValueError, ImportError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print((options.results / "speed.md").read_text(encoding="utf-8"))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="How fast the passes, the fits and the command are.")
    parser.add_argument("--sections", type=names, default=list(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes and few seconds, to see that all works")
    parser.add_argument("--tables-only", action="store_true", help="only write the tables of the stored sections")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for speed.json and speed.md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
