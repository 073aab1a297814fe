"""The tables of :mod:`search`."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anmin.history import Status
from anmin.lab import accuracy, protocol
from anmin.lab.standings import listed, number
from search_parts import FULL, VARIANTS

#: Data sets of the studies that have some by default, in the order of their tables.
DATASETS = {
    "depth": ("horse_sdf", "bike_sharing", "abalone"),
    "seeds": ("horse_sdf",),
    "planted": ("planted",),
    "ablation": ("horse_sdf", "bike_sharing", "abalone", "concrete", "energy", "wine_red", "yacht"),
}
#: Largest mean squared error on the training rows, in squared units of y, that counts as deep.
DEPTH_TARGETS = {"horse_sdf": 1.2, "bike_sharing": 800.0, "abalone": 3.0}
SPREAD_TARGET = 0.15  # standard deviation over mean
RECOVERY_TARGET = 0.9  # share of planted networks
RECOVERED = 1e-12  # mean squared error over the variance of y
PLANTED_INPUTS, PLANTED_ROWS = 5, 2000


def tables(runs: list[dict[str, Any]]) -> str:
    """Return the Markdown of all studies that have runs."""
    if not runs:
        raise ValueError("There are no runs yet.")
    lines = ["# The search: depth, spread, recovery, and what its parts are worth", ""]
    for study, section in STUDIES.items():
        own = [run for run in runs if run["study"] == study]
        lines += section(own) if own else []
    return "\n".join(lines)


def depth(runs: list[dict[str, Any]]) -> list[str]:
    """Return the section on depth."""
    lines = [
        "## Depth",
        "",
        f"Networks of {widths(runs)} neurons at the paper's penalty, alpha = {protocol.PENALTY:g}/n, all else as by "
        f"default, {limits(runs)}, on the first of the splits of accuracy.md: {counted(runs, 'split')}. Mean squared "
        "errors, mean ± standard deviation over the splits, and the largest. The targets are of the mean training "
        f"error: {listed([f'{target:g} ({name})' for name, target in DEPTH_TARGETS.items()])}.",
        "",
        "| | splits | training MSE | largest | target | | at or below it | test MSE | processor s, median |",
        "|---|---:|---:|---:|---:|---|---:|---:|---:|",
    ]
    for name, own in by_dataset(runs).items():
        train, target = column(own, "train_mse"), DEPTH_TARGETS.get(name, math.nan)
        verdict = "–" if math.isnan(target) else verdict_of(train.mean() <= target)
        below = "–" if math.isnan(target) else f"{np.sum(train <= target)} of {len(own)}"
        lines.append(
            f"| {name} | {len(own)} | {spread(train)} | {number(train.max())} | {number(target)} | {verdict} "
            f"| {below} | {spread(column(own, 'test_mse'))} "
            f"| {number(np.median(column(own, 'processor_seconds')), 3)} |"
        )
    return [*lines, "", *common_facts(runs), ""]


def seeds(runs: list[dict[str, Any]]) -> list[str]:
    """Return the section on different seeds."""
    lines = [
        "## Seeds",
        "",
        f"Networks of {widths(runs)} neurons with all defaults, {limits(runs)}, on split 0, from "
        f"{counted(runs, 'seed')}. Mean squared errors on the training rows. The target is a standard deviation of "
        f"at most {100 * SPREAD_TARGET:g} % of the mean.",
        "",
        "| | seeds | mean | standard deviation | ratio | | least | largest | test MSE | processor s, median |",
        "|---|---:|---:|---:|---:|---|---:|---:|---:|---:|",
    ]
    for name, own in by_dataset(runs).items():
        train = column(own, "train_mse")
        deviation = train.std(ddof=1) if len(own) > 1 else math.nan
        ratio = deviation / train.mean()
        verdict = "–" if math.isnan(ratio) else verdict_of(ratio <= SPREAD_TARGET)
        lines.append(
            f"| {name} | {len(own)} | {number(train.mean())} | {number(deviation, 3)} | {percent(ratio)} | {verdict} "
            f"| {number(train.min())} | {number(train.max())} | {spread(column(own, 'test_mse'))} "
            f"| {number(np.median(column(own, 'processor_seconds')), 3)} |"
        )
    return [*lines, "", *common_facts(runs), ""]


def planted_networks(runs: list[dict[str, Any]]) -> list[str]:
    """Return the section on planted networks."""
    runs = sorted(runs, key=lambda run: run["seed"])
    share = column(runs, "train_mse") / column(runs, "variance")
    on_new_rows = column(runs, "test_mse") / column(runs, "variance")
    found = int(np.sum(share < RECOVERED))
    lines = [
        "## Planted networks",
        "",
        f"{PLANTED_ROWS:,} standard normal rows with {PLANTED_INPUTS} inputs and the outputs, without noise, of a "
        f"network of {widths(runs)} neurons whose weights are standard normal, fitted by a network of the same width "
        f"with all defaults, {limits(runs)}. It counts as found again where the mean squared error on the training "
        f"rows is below {RECOVERED:.0e} of the variance. The target is at least {10 * RECOVERY_TARGET:g} of 10.",
        "",
        f"Found again: {found} of {len(runs)}. Target: {verdict_of(found >= RECOVERY_TARGET * len(runs))}.",
        "",
        "| seed | training MSE / variance | the same on new rows | found again | processor s |",
        "|---:|---:|---:|---|---:|",
    ]
    for run, train, test in zip(runs, share, on_new_rows, strict=True):
        lines.append(
            f"| {run['seed']} | {train:.1e} | {test:.1e} | {'yes' if train < RECOVERED else 'no'} "
            f"| {number(run['processor_seconds'], 3)} |"
        )
    return [*lines, "", *common_facts(runs), ""]


def ablation(runs: list[dict[str, Any]]) -> list[str]:
    """Return the section on the parts of the method."""
    sets = by_dataset(runs)
    variants = [name for name in VARIANTS if any(run["variant"] == name for run in runs)]
    shown = {name: {variant: splits_of(own, variant) for variant in variants} for name, own in sets.items()}
    counts = [f"{max(map(len, table.values()))} of {name}" for name, table in shown.items()]
    lines = [
        "## Ablation",
        "",
        f"The default method without one part at a time: networks of {widths(runs)} neurons, {limits(runs)}. Means "
        f"over the first splits that all variants have been run on: {', '.join(counts)}. Mean squared errors, and "
        "on the UCI sets their roots, as they are reported there. **Bold**: the least of the column. Where a part "
        "plays no role, as samples do on small sets, differences are due to fits that ran out of time. Without "
        "projection or damping there is no recombination either: those are to be compared with the row without it.",
        "",
        "| | " + " | ".join(f"{name} train {metric(name)} | test" for name in sets) + " |",
        "|---|" + "---:|" * (2 * len(sets)),
    ]
    columns = [
        [mean_error(shown[name][variant], part, metric(name)) for variant in variants]
        for name in sets
        for part in ("train_mse", "test_mse")
    ]
    texts = [[bold(value, values) for value in values] for values in columns]
    for variant, *cells in zip(variants, *texts, strict=True):
        lines.append(f"| {VARIANTS[variant].description} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Test error over that of the default, both as mean squared errors, on each set a geometric mean over the "
        "splits; the geometric means over all sets of the same, and of the training error, the penalty and the "
        "processor seconds over those of the default; and how many fits ran out of time.",
        "",
        "| | " + " | ".join(sets) + " | test, all | training, all | penalty, all | processor s, all | out of time |",
        "|---|" + "---:|" * (len(sets) + 5),
    ]
    for variant in variants:
        ratios = {
            part: [ratio(shown[name][variant], shown[name].get(FULL, {}), part) for name in sets]
            for part in ("test_mse", "train_mse", "alpha", "processor_seconds")
        }
        late = [run["status"] == Status.MAX_TIME.name for table in shown.values() for run in table[variant].values()]
        cells = [number(value) for value in ratios["test_mse"]]
        cells += [number(geometric_mean(values), 3) for values in ratios.values()] + [f"{sum(late)} of {len(late)}"]
        lines.append(f"| {VARIANTS[variant].description} | " + " | ".join(cells) + " |")
    return [*lines, ""]


#: What makes the section of each study.
STUDIES = {"depth": depth, "seeds": seeds, "planted": planted_networks, "ablation": ablation}


def by_dataset(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the runs of each data set, in the order of the study and then of the runs."""
    known = [name for name in DATASETS[runs[0]["study"]] if any(run["dataset"] == name for run in runs)]
    order = dict.fromkeys([*known, *(run["dataset"] for run in runs)])
    return {name: [run for run in runs if run["dataset"] == name] for name in order}


def splits_of(runs: list[dict[str, Any]], variant: str) -> dict[int, dict[str, Any]]:
    """Return the runs of a variant on a data set by their splits, of which only those that all variants there have."""
    tried = {run["variant"] for run in runs}
    had = Counter(run["split"] for run in runs)
    return {run["split"]: run for run in runs if run["variant"] == variant and had[run["split"]] == len(tried)}


def mean_error(runs: dict[int, dict[str, Any]], part: str, kind: str) -> float:
    """Return the mean error over the splits; NaN where there are none, or a fit has none."""
    errors = column(list(runs.values()), part)
    return float(np.mean(np.sqrt(errors) if kind == "RMSE" else errors)) if runs else math.nan


def ratio(runs: dict[int, dict[str, Any]], full: dict[int, dict[str, Any]], part: str) -> float:
    """Return the geometric mean over the splits of a quantity over that of the default."""
    if not runs or not full:
        return math.nan
    own, default = (column([table[split] for split in runs], part) for table in (runs, full))
    return float(np.exp(np.mean(np.log(own / default))))


def geometric_mean(values: list[float]) -> float:
    """Return the geometric mean of the values that there are."""
    logs = np.log([value for value in values if not math.isnan(value)])
    return float(np.exp(logs.mean())) if logs.size else math.nan


def metric(name: str) -> str:
    """Return what errors are reported as on a data set."""
    return accuracy.FIELDS[name].metric


def column(runs: list[dict[str, Any]], name: str) -> NDArray:
    """Return one quantity of the runs, NaN where there is none."""
    return np.array([math.nan if run[name] is None else run[name] for run in runs], dtype=np.float64)


def bold(value: float, values: list[float]) -> str:
    """Return a number, in bold if it is as little as the least of the values."""
    least = min((one for one in values if not math.isnan(one)), default=math.nan)
    return f"**{number(value)}**" if value <= least * 1.0005 else number(value)


def spread(values: NDArray) -> str:
    """Return mean and standard deviation."""
    if len(values) < 2:
        return number(values.mean())
    return f"{number(values.mean())} ± {number(values.std(ddof=1), 2)}"


def percent(value: float) -> str:
    """Return a share in percent."""
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"


def verdict_of(reached: bool) -> str:
    """Return what is said of a target."""
    return "reached" if reached else "**missed**"


def widths(runs: list[dict[str, Any]]) -> str:
    """Return the numbers of neurons of the runs."""
    return " or ".join(map(str, sorted({run["n_neurons"] for run in runs}, reverse=True)))


def limits(runs: list[dict[str, Any]]) -> str:
    """Return the limits of time of the runs, and of which data sets they are if there are several."""
    sets: dict[float, list[str]] = {}
    for name, own in by_dataset(runs).items():
        for limit in {run["max_time"] or math.inf for run in own}:
            sets.setdefault(limit, []).append(name)
    return ", ".join(
        (f"at most {limit:g} s a fit" if limit < math.inf else "without a limit of time")
        + (f" of {listed(names)}" if len(sets) > 1 else "")
        for limit, names in sorted(sets.items())
    )


def counted(runs: list[dict[str, Any]], what: str) -> str:
    """Return how many runs each data set has."""
    return ", ".join(f"{len(own)} {what}{'s' * (len(own) > 1)} of {name}" for name, own in by_dataset(runs).items())


def common_facts(runs: list[dict[str, Any]]) -> list[str]:
    """Return sentences on what should hold of every fit."""
    count, dead = len(runs), [run["dead_neurons"] for run in runs]
    ends = ", ".join(f"{times} {name}" for name, times in Counter(run["status"] for run in runs).items())
    return [
        f"The loss never rose from one iteration to the next in {sum(run['never_rises'] for run in runs)} of {count} "
        "fits. It ended no higher than that of ridge regression at the same penalty, in the same coordinates, in "
        f"{sum(run['not_above_ridge'] for run in runs)} of {count}. Neurons active on no row at the end: {sum(dead)}, "
        f"in {sum(one > 0 for one in dead)} of {count}. How the fits ended: {ends}."
    ]
