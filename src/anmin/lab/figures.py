"""The paper's figures, drawn from stored runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from anmin.atomic import written_atomically
from anmin.lab import protocol, tables
from anmin.lab.colours import AMBER, BLUE, GREEN, PURPLE, SKY, VERMILION
from anmin.lab.protocol import STUDIES
from anmin.lab.results import Run
from anmin.lab.simulation import Setting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: One colour for each method in all figures, told apart by colour-blind readers too (Okabe and Ito).
_COLOURS = {
    "SGD": "#999999",
    "Adam": BLUE,
    "Adam-L": SKY,
    "L-BFGS": GREEN,
    "ANMIN": VERMILION,
    "ANMIN-L": AMBER,
}
#: The same palette for curves of no fixed method, in the order in which they are told apart best.
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, AMBER, SKY, "#444444", "#999999")
#: Of all figures here, for ``matplotlib.rc_context``.
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "axes.titlesize": 11,
}


def draw_all(
    folder: Path, comparison: Mapping[str, Sequence[Run]], simulation: Mapping[Setting, Sequence[Run]]
) -> list[Path]:
    """Draw every figure that the runs allow, as PNG files in ``folder``, and return their paths.

    Raises
    ------
    ImportError
        If Matplotlib is not there; the message names the extra that brings it.
    """
    matplotlib = import_matplotlib()
    with matplotlib.rc_context(STYLE):
        figures: dict[str, Figure] = {
            f"curves-{name}": training_curves(name, runs) for name, runs in comparison.items() if _curves(runs)
        }
        lbfgs = {name: _curves([run for run in runs if run.method == "L-BFGS"]) for name, runs in comparison.items()}
        if any(lbfgs.values()):
            figures["lbfgs"] = lbfgs_curves({name: runs[0] for name, runs in lbfgs.items() if runs})
        anmin = {name: _anmin(runs) for name, runs in comparison.items()}
        if any(anmin.values()):
            figures["log-determinants"] = log_determinants({name: run for name, run in anmin.items() if run})
        if any(simulation.values()):
            figures["simulation"] = simulation_errors({setting: runs for setting, runs in simulation.items() if runs})
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, figure in figures.items():
            path = folder / f"{name}.png"
            with written_atomically(path) as temporary:
                figure.savefig(temporary, format="png", dpi=110)
            paths.append(path)
    return paths


def training_curves(name: str, runs: Sequence[Run]) -> Figure:
    """Return training (full line) and test error (dashed), and R², against seconds, of one split for each method."""
    figure, (left, right) = _panels(2, 10.0, 4.2)
    variance = 1.0
    # The quick methods last, so that their short curves are not hidden.
    for run in sorted(_curves(runs), key=lambda run: -run.seconds):
        curve = _columns(run)
        variance = run.train_mse / (1 - run.train_r2) if run.train_r2 < 1 else variance
        test_variance = run.test_mse / (1 - run.test_r2) if run.test_r2 < 1 else variance
        colour = _COLOURS[run.method]
        seconds = np.maximum(curve["seconds"], 1e-6)
        left.plot(seconds, curve["train_mse"], color=colour, label=run.method)
        left.plot(seconds, curve["test_mse"], color=colour, linestyle=(0, (2, 1.5)), linewidth=1)
        right.plot(seconds, 1 - curve["train_mse"] / variance, color=colour)
        right.plot(seconds, 1 - curve["test_mse"] / test_variance, color=colour, linestyle=(0, (2, 1.5)), linewidth=1)
        left.plot(seconds[-1], curve["train_mse"][-1], "o", color=colour, markersize=4)
        right.plot(seconds[-1], 1 - curve["train_mse"][-1] / variance, "o", color=colour, markersize=4)
    lowest = min(float(np.nanmin(_columns(run)["train_mse"])) for run in _curves(runs))
    left.set(xscale="log", yscale="log", xlabel="seconds", ylabel="mean squared error", ylim=(lowest / 1.3, variance))
    right.set(xscale="log", xlabel="seconds", ylabel="R²", ylim=_r2_limits(lowest, variance))
    plain_log_ticks(left.yaxis, lowest / 1.3, variance)
    # The first epochs of the fast methods would take half of a logarithmic axis.
    first = 0.5 * min(_columns(run)["seconds"][1] for run in _curves(runs))
    last = 1.3 * max(run.seconds for run in _curves(runs))
    for axis in (left, right):
        axis.set_xlim(first, last)
        plain_log_ticks(axis.xaxis, first, last)
    split = _curves(runs)[0].split
    figure.suptitle(f"{STUDIES[name].title}, split {split}: training (full line) and test (dashed)", fontsize=12)
    _legend(figure, left)
    return figure


def lbfgs_curves(runs: Mapping[str, Run]) -> Figure:
    """Return the training error of L-BFGS after each epoch, relative to the variance of the targets."""
    figure, axes = _panels(len(runs), 3.3 * len(runs), 3.4)
    for axis, (name, run) in zip(axes, runs.items(), strict=True):
        curve, variance = _columns(run), run.train_mse / (1 - run.train_r2)
        axis.plot(curve["train_mse"] / variance, color=_COLOURS["L-BFGS"])
        if run.iterations < run.settings["epochs"]:
            last = len(curve["train_mse"]) - 1
            axis.plot(last, curve["train_mse"][-1] / variance, "X", color=VERMILION, markersize=9)
            axis.annotate(
                f"not finite in\nepoch {run.iterations}",
                (last, curve["train_mse"][-1] / variance),
                (10, 0),
                textcoords="offset points",
                va="center",
                color=VERMILION,
            )
        axis.axhline(1.0, color="#555555", linewidth=0.8, linestyle=":")
        axis.set(yscale="log", xlabel="epoch", title=STUDIES[name].title, xlim=(-2, run.settings["epochs"] + 2))
    axes[0].set_ylabel("training error / variance")
    figure.suptitle("L-BFGS: every epoch of split 0 (dotted: predicting the mean)", fontsize=12)
    return figure


def log_determinants(runs: Mapping[str, Run]) -> Figure:
    """Return log det of ANMIN's system, with the paper's threshold and the least that the penalty allows, p·h·log λ."""
    figure, axes = _panels(len(runs), 3.1 * len(runs), 3.6)
    for axis, (name, run) in zip(axes, runs.items(), strict=True):
        values = np.array([math.nan if value is None else value for value in run.extra["log_determinant"]])
        size = (run.n_features + 1) * run.settings["n_neurons"]
        axis.plot(np.arange(1, len(values) + 1), values, "o-", markersize=3, color=_COLOURS["ANMIN"], label="system")
        axis.axhline(-10_000, color="black", linewidth=1.0, label="threshold τ = −10,000")
        least = size * math.log(protocol.PENALTY)
        axis.axhline(least, color=BLUE, linewidth=1.2, linestyle=(0, (3, 2)), label="least that the penalty allows")
        axis.set(xlabel="iteration", title=STUDIES[name].title)
        axis.yaxis.set_major_formatter(_numbers())
    axes[0].set_ylabel("log-determinant")
    figure.suptitle("ANMIN in float64, split 0", fontsize=12)
    _legend(figure, axes[0])
    return figure


def simulation_errors(runs: Mapping[Setting, Sequence[Run]]) -> Figure:
    """Return training and test errors of the simulation against the number of inputs, with ranges over seeds."""
    sizes = sorted({n for _, n in runs})
    figure, axes = _panels(len(sizes) * 2, 2.9 * len(sizes) * 2, 3.8, share=True)
    parts: tuple[tables.Part, ...] = ("train", "test")
    for axis, (n, part) in zip(axes, [(n, part) for n in sizes for part in parts], strict=True):
        dimensions = sorted(d for d, rows in runs if rows == n)
        methods = list(dict.fromkeys(run.method for d in dimensions for run in runs[d, n]))
        for shift, method in enumerate(methods):
            errors = [_errors(runs[d, n], method, part) for d in dimensions]
            means = np.array([np.mean(values) for values in errors])
            axis.errorbar(
                np.arange(len(dimensions)) + 0.05 * (shift - (len(methods) - 1) / 2),
                means,
                # The range: a deviation below the mean would leave a logarithmic axis.
                [means - [min(values) for values in errors], [max(values) for values in errors] - means],
                fmt="o-",
                markersize=4,
                linewidth=1.2,
                capsize=2,
                color=_COLOURS[method],
                label=method,
            )
        axis.set_xticks(range(len(dimensions)), [str(d) for d in dimensions])
        axis.axhline(0.5, color="#555555", linewidth=0.8, linestyle=":")
        axis.set(yscale="log", xlabel="inputs d", title=f"{'training' if part == 'train' else 'test'}, {n:,} rows")
    axes[0].set_ylabel("mean squared error")
    figure.suptitle("y = sin‖x‖²: means and ranges over seeds (dotted: predicting the mean)", fontsize=12)
    _legend(figure, axes[0])
    return figure


def import_matplotlib() -> ModuleType:
    """Return Matplotlib, or raise ImportError with the extra that brings it."""
    try:
        import matplotlib
    except ImportError:
        raise ImportError("The figures need Matplotlib: pip install 'anmin[plots]'.") from None
    return matplotlib


def _panels(count: int, width: float, height: float, *, share: bool = False) -> tuple[Figure, Sequence[Any]]:
    # No pyplot: it would keep state and might open windows.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(width, 5.5), height), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False, sharey=share)[0])


def _legend(figure: Figure, axis: Any) -> None:
    handles, labels = axis.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: list(_COLOURS).index(labels[i]) if labels[i] in _COLOURS else i)
    figure.legend(
        [handles[i] for i in order], [labels[i] for i in order], loc="outside lower center", ncols=len(labels)
    )


def plain_log_ticks(axis: Any, low: float, high: float) -> None:
    """Label few or many multiples of powers of ten, as fit the range, as plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    decades = math.log10(high / low)
    subs = range(1, 10) if decades < 1 else (1, 2, 5) if decades < 3.3 else (1,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(_numbers())
    axis.set_minor_formatter(NullFormatter())


def _numbers() -> Any:
    """Write ticks as 0.1, 5, 20,000 and never as powers."""
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: f"{value:,.0f}" if abs(value) >= 1 or value == 0 else f"{value:g}")


def _r2_limits(lowest: float, variance: float) -> tuple[float, float]:
    best = 1 - lowest / variance
    # The range in which the methods end; the climb from 0 is the same for all.
    return max(0.0, best - 4 * (1 - best) - 0.02), best + 0.3 * (1 - best)


def _curves(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.curve and len(run.curve["seconds"]) > 1]


def _columns(run: Run) -> dict[str, np.ndarray]:
    assert run.curve is not None
    return {name: np.array(values) for name, values in run.curve.items()}


def _anmin(runs: Sequence[Run]) -> Run | None:
    return next((run for run in runs if run.method == "ANMIN" and "log_determinant" in run.extra), None)


def _errors(runs: Sequence[Run], method: str, part: tables.Part) -> list[float]:
    return [run.train_mse if part == "train" else run.test_mse for run in runs if run.method == method]
