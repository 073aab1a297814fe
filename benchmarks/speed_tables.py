"""The tables and the picture of the speed benchmark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmin.atomic import written_atomically
from anmin.lab.figures import STYLE, import_matplotlib
from anmin.lab.standings import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = list[dict[str, Any]]
COLOURS = ("#0072B2", "#D55E00")
#: Seconds asked for: 30 iterations of ANMIN, the paper's training errors, and the errors of a deep search.
ANMIN_TARGETS = {"horse_sdf": 1.0, "bike_sharing": 4.0, "abalone": 0.7}
PAPER_TARGETS = {"horse_sdf": 0.7, "bike_sharing": 2.0, "abalone": 0.3}
DEPTH_TARGETS = {"horse_sdf": 15.0, "bike_sharing": 60.0, "abalone": 5.0}
ADAM_TARGETS = {"horse_sdf": 50.0, "bike_sharing": 30.0, "abalone": 10.0}
REFERENCE_SECONDS = {"horse_sdf": 80, "bike_sharing": 116, "abalone": 18}


def tables(stored: dict[str, dict[str, Any]]) -> str:
    """Return the report of all stored sections."""
    lines = ["# Speed", "", "Wall-clock seconds. Rivals ran beside, in the same session of the same machine.", ""]
    for name, section in stored.items():
        machine = section["machine"]
        on = ", ".join(f"{what} {value}" for what, value in machine.items() if isinstance(value, (str, int, float)))
        lines += [f"## {TITLES[name]}", "", *TABLES[name](section["rows"]), "", f"Machine: {on}.", ""]
    return "\n".join(lines)


def _table(header: list[str], body: list[list[str]]) -> list[str]:
    marks = ["---"] + ["---:"] * (len(header) - 1)
    return ["| " + " | ".join(line) + " |" for line in (header, marks, *body)]


def _seconds(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.3g}"


def _verdict(value: float | None, target: float, *, at_least: bool = False) -> str:
    if value is None:
        return "**missed**"
    return "reached" if (value >= target if at_least else value <= target) else "**missed**"


def _anmin(rows: Rows) -> list[str]:
    return [
        "30 iterations of the paper's ANMIN, 64 neurons, float64, from standardised rows; medians of three. The plain "
        "passes are products of N × h·p matrices, as the paper's are. The reference code's seconds are of another "
        "machine of the kind.",
        "",
        *_table(
            ["data set", "s", "target", "", "with plain passes, s", "ratio", "reference code, s"],
            [
                [
                    row["dataset"],
                    f"{row['seconds']:.3g}",
                    f"{ANMIN_TARGETS[row['dataset']]:g}",
                    _verdict(row["seconds"], ANMIN_TARGETS[row["dataset"]]),
                    f"{row['plain_seconds']:.3g}",
                    f"{row['plain_seconds'] / row['seconds']:.1f}",
                    str(REFERENCE_SECONDS[row["dataset"]]),
                ]
                for row in rows
            ],
        ),
    ]


def _descent(rows: Rows) -> list[str]:
    body = []
    for row in rows:
        name, adam, paper = row["dataset"], row["seconds_to_adam"], row["seconds_to_paper"]
        ratio = None if adam is None else row["adam_seconds"] / adam
        body.append(
            [
                f"{name}, {'all by default' if row['penalty'] == 'auto' else 'the penalty of the paper'}",
                number(row["adam_error"]),
                f"{row['adam_seconds']:.3g}",
                _seconds(adam),
                "" if ratio is None else f"{ratio:.0f}",
                f"{ADAM_TARGETS[name]:g}",
                _verdict(ratio, ADAM_TARGETS[name], at_least=True),
                number(row["paper_error"]),
                _seconds(paper),
                f"{PAPER_TARGETS[name]:g}",
                _verdict(paper, PAPER_TARGETS[name]),
            ]
        )
    return [
        "Seconds of a whole call of `fit`, with the least `max_time` that leads to a training error: that of Adam "
        "after the 300 epochs of the paper's recipe (one thread, fused updates), whose "
        "seconds differ between runs on one machine by up to four times (see "
        "`comparison-*.json` for others), and the mean "
        "of the paper's ANMIN. Medians of three seeds; 64 neurons. The penalty chosen by default stops short of "
        "training errors that only overfitting reaches, as on abalone.",
        "",
        *_table(
            ["fit", "Adam's error", "Adam, s", "s", "times less", "asked", "", "paper's error", "s", "asked", ""],
            body,
        ),
    ]


def _depth(rows: Rows) -> list[str]:
    return [
        "Seconds until fits at the paper's penalty, all else by default, have the training errors asked of the search.",
        "",
        *_table(
            ["data set, seed", "error asked", "s", "asked", "", "error at the end", "s"],
            [
                [
                    f"{row['dataset']}, {row['seed']}",
                    f"{row['error']:g}",
                    _seconds(row["seconds"]),
                    f"{DEPTH_TARGETS[row['dataset']]:g}",
                    _verdict(row["seconds"], DEPTH_TARGETS[row["dataset"]]),
                    number(row["end_error"]),
                    f"{row['end_seconds']:.3g}",
                ]
                for row in rows
            ],
        ),
    ]


def _million(rows: Rows) -> list[str]:
    row = rows[0]
    ratio = row["many_seconds"] / row["few_seconds"]
    reached = "reached" if row["heavy_seconds"] <= 1 else "**missed**"
    same = "reached" if row["reached"] and ratio <= 2 else "**missed**"
    return [
        f"A signed distance field at random points, {row['n_neurons']} neurons.",
        "",
        f"- One heavy pass over {row['n_rows']:,} rows: {row['heavy_seconds']:.3g} s (asked: 1 s; {reached})."
        + (f" A light one: {row['light_seconds']:.3g} s." if "light_seconds" in row else ""),
        f"- A fit to {row['few_rows']:,} rows, {row['few_seconds']:.3g} s: error {number(row['few_error'])} on new "
        f"points. A fit to {row['n_rows']:,} rows, {row['many_seconds']:.3g} s: {number(row['many_error'])}; "
        f"{ratio:.2f} times as long (asked: at most 2 for the same quality; {same}).",
    ]


def _matrix_free(rows: Rows) -> list[str]:
    lines = []
    for row in rows:
        k = row["n_neurons"] * (row["n_features"] + 1)
        lines.append(
            f"- {row['solver']}: {row['n_features']} inputs, {row['n_neurons']} neurons (p·h = {k:,}), "
            f"{row['n_rows']:,} rows: {len(row['seconds']) - 1} steps in {row['seconds'][-1]:.3g} s, loss "
            f"{row['losses'][0]:.4g} to {row['losses'][-1]:.4g}, {row['bytes'] / 1e9:.2f} GB beyond the data."
        )
    medium = {row["solver"]: row for row in rows if row["problem"] == "medium"}
    if len(medium) == 2:
        dense, free = medium["varpro"], medium["matrix_free"]
        there = [
            second
            for second, loss in zip(free["seconds"], free["losses"], strict=True)
            if loss <= 1.01 * dense["losses"][-1]
        ]
        lines.append(
            f"- The loss of the last dense step, to one per cent, is reached without matrices after "
            f"{_seconds(there[0] if there else None)} s; the dense steps took {dense['seconds'][-1]:.3g} s."
        )
    return lines


def _roofline(rows: Rows) -> list[str]:
    return [
        "Operations are counted as the plain way takes them (see `speed_parts.roofline`), so what is quicker by doing "
        "less shows as a rate above that of the machine's products. Medians of five.",
        "",
        *_table(
            ["", "pass", "ms", "GFLOP/s", "dsyrk of that shape", "of it", "GB/s", "cells or flips"],
            [
                [
                    f"{row['dataset']}, {row['n_neurons']} neurons" if "dataset" in row else "",
                    row["pass"],
                    f"{1e3 * row['seconds']:.3g}" if "seconds" in row else "",
                    f"{row['gflops']:.3g}",
                    f"{row['syrk_gflops']:.3g}" if "syrk_gflops" in row else "",
                    f"{row['gflops'] / row['syrk_gflops']:.0%}" if "syrk_gflops" in row else "",
                    f"{row['gbytes']:.3g}",
                    _counted(row),
                ]
                for row in rows
            ],
        ),
    ]


def _counted(row: dict[str, Any]) -> str:
    if row.get("flips") is not None:
        return f"{row['flips']:,} flips"
    return f"{row['n_cells']:,} cells" if row.get("n_cells") and row["n_cells"] < row["n_rows"] else ""


def _predict(rows: Rows) -> list[str]:
    ours = rows[0]["seconds"]
    return [
        f"{rows[0]['n_rows']:,} rows of {rows[0]['n_features']} inputs, {rows[0]['n_neurons']} neurons; medians of "
        "three.",
        "",
        *_table(
            ["", "s", "over ours"],
            [[row["rival"], f"{row['seconds']:.3g}", f"{row['seconds'] / ours:.2f}"] for row in rows],
        ),
    ]


def _scaling(rows: Rows) -> list[str]:
    body = []
    for along, what, fixed, points in curves(rows):
        x, y = np.array([point[0] for point in points]), np.array([point[1] for point in points])
        slope = float(np.polyfit(np.log(x), np.log(y), 1)[0]) if len(x) > 1 else np.nan
        shown = ", ".join(f"{size:,}: {taken:.3g}" for size, taken in points)
        body.append([f"{what} pass, {along}; {fixed}", shown, f"{slope:.2f}"])
    return [
        "Seconds of a pass, and the slope of a straight line through the logarithms. The picture is "
        "`figures/scaling.png`.",
        "",
        *_table(["", "seconds", "slope"], body),
    ]


def curves(rows: Rows) -> list[tuple[str, str, str, list[tuple[int, float]]]]:
    """Return what varies, the pass, what is fixed, and the points, for each curve."""
    columns = {"rows": "n_rows", "inputs": "n_features", "neurons": "n_neurons"}
    found: dict[tuple[str, str, str], list[tuple[int, float]]] = {}
    for row in rows:
        fixed = ", ".join(f"{row[column]:,} {what}" for what, column in columns.items() if what != row["along"])
        found.setdefault((row["along"], row["pass"], fixed), []).append((row[columns[row["along"]]], row["seconds"]))
    return [(*key, sorted(points)) for key, points in found.items()]


def draw_scaling(path: Path, rows: Rows) -> None:
    """Draw the seconds of the passes against rows, inputs and neurons, and write it as a PNG file."""
    matplotlib = import_matplotlib()
    with matplotlib.rc_context(STYLE):
        figure = scaling_figure(rows)
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_atomically(path) as temporary:
            figure.savefig(temporary, format="png", dpi=150)


def scaling_figure(rows: Rows) -> Figure:
    """Return a panel for each of rows, inputs and neurons; the heavy pass in full lines, the light one in dashes."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    found = curves(rows)
    for axis, along in zip(axes, ("rows", "inputs", "neurons"), strict=True):
        of = [curve for curve in found if curve[0] == along]
        groups = list(dict.fromkeys(fixed for _, _, fixed, _ in of))
        for _, what, fixed, points in of:
            sizes, taken = zip(*points, strict=True)
            style = {"color": COLOURS[groups.index(fixed)], "linestyle": "-" if what == "heavy" else "--"}
            axis.plot(sizes, taken, marker="o", markersize=4, label=f"{what}; {fixed}", **style)
        axis.set(xscale="log", yscale="log", xlabel=along)
        axis.xaxis.set_major_locator(LogLocator(subs=(1,) if along == "rows" else (1, 2, 5)))
        axis.xaxis.set_major_formatter(FuncFormatter(_short))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.legend(fontsize="x-small", loc="upper left")
    axes[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes[0].set_ylabel("seconds of a pass")
    return figure


def _short(value: float, _: object = None) -> str:
    return f"{value / 1e6:g} million" if value >= 1e6 else f"{value:,.0f}"


def _startup(rows: Rows) -> list[str]:
    by_name = {row["what"]: row for row in rows}
    more = by_name["import sklearn.base, anmin"]["seconds"] - by_name["import sklearn.base"]["seconds"]
    help_seconds = by_name["anmin --help"]["seconds"]
    first = by_name["first fit of a machine, all compiled"]
    compiling = first["seconds"] - first["again"]
    body = [[row["what"], f"{row['seconds']:.3g}", f"{row['again']:.3g}" if "again" in row else ""] for row in rows]
    return [
        f"`import anmin` takes {more:.2f} s more than `import sklearn.base` (asked: 0.4; {_verdict(more, 0.4)}), "
        f"`anmin --help` {help_seconds:.2f} s (asked: 0.6; {_verdict(help_seconds, 0.6)}), compiling at a first fit "
        f"{compiling:.2g} s (asked: 4; {_verdict(compiling, 4)}). Medians of five processes; fits once.",
        "",
        *_table(["", "s", "the same fit again, s"], body),
    ]


TITLES = {
    "anmin": "ANMIN",
    "descent": "Against descent",
    "depth": "Depth",
    "million": "A million rows",
    "matrix_free": "Without matrices",
    "roofline": "Roofline",
    "predict": "Prediction",
    "scaling": "Scaling",
    "startup": "Start-up",
}
TABLES: dict[str, Callable[[Rows], list[str]]] = {
    "anmin": _anmin,
    "descent": _descent,
    "depth": _depth,
    "million": _million,
    "matrix_free": _matrix_free,
    "roofline": _roofline,
    "predict": _predict,
    "scaling": _scaling,
    "startup": _startup,
}
