"""Which step of variable projection lowers the loss fastest: the plain one against other matrices and longer steps.

All variants start from the same networks, once from the beginning of a fit and once late in it, and are compared by
the loss at equal processor time, at equal numbers of iterations, each with one heavy pass over the rows, and of passes
of both kinds. The runs are stored one by one, and the same command goes on where it was interrupted. The data are read
from the folder that ANMIN_DATA names (see docs/data.md).

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/steps.py
    python benchmarks/steps.py --problems abalone,concrete --seeds 5
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from anmin.lab import accuracy, protocol
from anmin.lab.standings import listed, number
from anmin.objective import alpha_from_sum
from anmin.rows import ArrayRows, Scaling
from anmin.search.initialisation import starting_weights
from anmin.solvers import Problem, VarPro
from anmin.solvers.varpro import VarProState
from anmin.statistics import OutputStatistics, PatternStatistics
from runs import names, positive, write
from step_variants import PLAIN, VARIANTS

RESULTS = Path(__file__).parent / "results"
#: Data set, and penalty of the unnormalised loss.
PROBLEMS = {
    "abalone": ("abalone", protocol.PENALTY),
    "abalone_strong": ("abalone", 1.0),
    "concrete": ("concrete", protocol.PENALTY),
    "concrete_strong": ("concrete", 1.0),
    "bike_sharing": ("bike_sharing", protocol.PENALTY),
    "horse_sdf": ("horse_sdf", protocol.PENALTY),
}
N_NEURONS, SEEDS, SECONDS = 64, 3, 4.0
#: Most iterations of a run, and its share of the seconds; the late one goes on from as many plain steps.
PHASES = {"start": (100, 1.0), "late": (60, 0.5)}
BEYOND = 3.0  # standard errors from which a difference counts, as two dozen comparisons are made
LEAST_FALL = 1e-9  # of the loss, so that falls have logarithms


class Counted(ArrayRows):
    """Rows that count the passes over them."""

    light = heavy = 0

    def statistics(self, *arguments: Any, **options: Any) -> PatternStatistics:
        """Return the sums of a heavy pass."""
        self.heavy += 1
        return super().statistics(*arguments, **options)

    def output_statistics(self, *arguments: Any, **options: Any) -> OutputStatistics:
        """Return the sums of a light pass."""
        self.light += 1
        return super().output_statistics(*arguments, **options)


@dataclass(frozen=True)
class Job:
    """One run that is asked for; the last setting has to be that of the stored run."""

    problem: str
    seed: int
    phase: str
    variant: str
    max_seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the runs that are missing, and write the tables."""
    options = parse(arguments)
    path = options.results / "steps.json"
    try:
        protocol.check_names("problem", options.problems, PROBLEMS)
        if not options.tables_only:
            complete(path, asked(options))
        text = tables(stored(path))
        write(options.results / "steps.md", text)
    except KeyboardInterrupt:
        print("Interrupted; the finished runs are stored, and the same command goes on from there.", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="The plain step of variable projection against others.")
    parser.add_argument("--problems", type=names, default=list(PROBLEMS), help=f"of {', '.join(PROBLEMS)}; or all")
    parser.add_argument("--seeds", type=positive(int), default=SEEDS, help="number of starts of each problem")
    parser.add_argument("--seconds", type=positive(float), default=SECONDS, help="processor seconds of a run at most")
    parser.add_argument("--tables-only", action="store_true", help="only write the tables of the stored runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for steps.json and steps.md")
    return parser.parse_args(arguments)


def asked(options: argparse.Namespace) -> list[Job]:
    """Return the runs that are asked for; those that are compared follow each other, as the machine may change."""
    return [
        Job(problem, seed, phase, variant, options.seconds)
        for problem in options.problems
        for seed in range(options.seeds)
        for phase in PHASES
        for variant in VARIANTS
    ]


def complete(path: Path, jobs: list[Job]) -> None:
    """Make the runs that the file lacks."""
    runs = {key(run): run for run in stored(path)}
    for job in jobs:
        if (run := runs.get(key(asdict(job)))) and run["max_seconds"] != job.max_seconds:
            raise ValueError(
                f"{path} has runs of at most {run['max_seconds']:g} s; asked for are {job.max_seconds:g} s. "
                "Name another folder by --results."
            )
    jobs = [job for job in jobs if key(asdict(job)) not in runs]
    for name in dict.fromkeys(job.problem for job in jobs):
        load(name)  # data that are missing are told of before the work
    path.parent.mkdir(parents=True, exist_ok=True)
    with threadpool_limits(1):
        for job in jobs[:1]:  # what is done at the first use only belongs to no run
            VarPro().step(load(job.problem), first_state(job.problem, job.seed, "start"))
        for job in jobs:
            runs[key(asdict(job))] = run = made(job)
            write(path, document(list(runs.values())))
            print(f"{' '.join(map(str, key(run)))}: {run['trace'][-1]}", flush=True)


@cache
def load(name: str) -> Problem:
    """Return a problem, the training rows of split 0 of its data set in standard coordinates."""
    dataset, penalty = PROBLEMS[name]
    split = accuracy.load_split(dataset, 0)
    rows = ArrayRows(split.X_train, split.y_train)
    rows = Scaling.standard(rows).apply(rows)
    return Problem(Counted(rows.X, rows.Y), N_NEURONS, alpha_from_sum(penalty, rows.n))


@cache
def first_state(name: str, seed: int, phase: str) -> VarProState:
    """Return what the runs of all variants begin with."""
    problem = load(name)
    state = VarPro().begin(problem, starting_weights(problem, np.random.default_rng(seed)))
    for _ in range(PHASES[phase][0] if phase == "late" else 0):
        state = VarPro().step(problem, state)
    return state


def made(job: Job) -> dict[str, Any]:
    """Return the run of a job, ready for JSON.

    Its trace has rows of processor seconds, iterations, heavy and light passes and the loss: all iterations up to the
    tenth, then every fifth, and the last.
    """
    problem, state = load(job.problem), first_state(job.problem, job.seed, job.phase)
    rows, solver = cast(Counted, problem.rows), VARIANTS[job.variant][0]
    most, share = PHASES[job.phase]
    rows.heavy = rows.light = iterations = rises = 0
    branches: Counter[str] = Counter()
    row = [0.0, 0, 0, 0, state.loss]
    trace, started = [row], time.process_time()
    while iterations < most and row[0] < share * job.max_seconds and not state.settled:
        before, state, iterations = state.loss, solver.step(problem, state), iterations + 1
        row = [round(time.process_time() - started, 4), iterations, rows.heavy, rows.light, float(f"{state.loss:.10g}")]
        rises += state.loss > before
        branches[state.record.branch] += 1
        if iterations <= 10 or iterations % 5 == 0:
            trace.append(row)
    trace += [row] if trace[-1] is not row else []
    return {**asdict(job), "settled": bool(state.settled), "rises": rises, "branches": dict(branches), "trace": trace}


# Files


def stored(path: Path) -> list[dict[str, Any]]:
    """Return the runs in the file, in the order in which they were made."""
    if not path.exists():
        return []
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
        for run in runs:
            key(run), run["max_seconds"], run["trace"][-1]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"The results file {path} cannot be read ({error!r}); move it away.") from None
    return runs


def key(run: dict[str, Any]) -> tuple:
    """Return what tells a run from others."""
    return tuple(run[name] for name in ("problem", "seed", "phase", "variant"))


def document(runs: list[dict[str, Any]]) -> str:
    """Return the runs as JSON, one a line."""
    lines = ",\n".join(json.dumps(run, allow_nan=False) for run in runs)
    return f'{{"runs": [\n{lines}\n]}}\n'


# Tables

#: What runs are compared by: the column of :func:`course`, the share of what all runs got to, and its name.
MEASURES = {
    "quarter": (0, 0.25, "a quarter of that time"),
    "time": (0, 1.0, "equal processor time"),
    "iterations": (1, 1.0, "equal iterations"),
    "passes": (2, 1.0, "equal passes"),
}
#: Heading of a phase, what its runs begin with, what is compared, and what more of that would mean.
SECTIONS = {
    "start": ("From the starts", "the hidden weights that fits begin with", "loss", "worse"),
    "late": (
        "Late",
        f"a network {PHASES['late'][0]} plain iterations later",
        "fall of the loss",
        "better",
    ),
}
Cell = dict[str, dict[str, Any]]  # the runs of all variants from one network, by variant


def tables(runs: list[dict[str, Any]]) -> str:
    """Return the comparison as Markdown."""
    cells: dict[str, list[Cell]] = {phase: [] for phase in PHASES}
    for phase in PHASES:
        for problem in PROBLEMS:
            for seed in sorted({run["seed"] for run in runs}):
                cell = {run["variant"]: run for run in runs if key(run)[:3] == (problem, seed, phase)}
                cells[phase] += [cell] if cell.keys() == VARIANTS.keys() else []
    if not all(cells.values()):
        raise ValueError("There are no complete comparisons yet.")
    limits = listed(sorted({f"{run['max_seconds']:g}" for run in runs}))
    lines = ["# Steps of variable projection", "", *(verdict(phase, cells[phase]) for phase in PHASES), ""]
    lines += [
        f"Networks of {N_NEURONS} neurons on the training rows of split 0, in standard coordinates, with the penalty "
        f"alpha = {protocol.PENALTY:g}/n, and 1/n where the problem is called strong. A run ends after "
        f"{listed([f'{most} iterations ({phase})' for phase, (most, _) in PHASES.items()])}, or {limits} seconds of "
        "processor time, late half of that. A variant is compared with the plain step at the time, the iterations and "
        "the passes over the rows at which the first of the two ended; one that has converged keeps its loss. An "
        "iteration has one heavy pass; light ones are trials. Numbers are ratios to the plain step, geometric means "
        "over starts and problems ± one standard error. The machine was shared with other work, which blurs the times "
        "by some percent.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {text} |" for name, (_, text) in VARIANTS.items()),
        "",
    ]
    for phase in PHASES:
        lines += section(phase, cells[phase])
    rises = sum(run["rises"] for run in runs)
    return "\n".join([*lines, f"Iterations that raised the loss: {rises}, in {len(runs)} runs.", ""])


def verdict(phase: str, cells: list[Cell]) -> str:
    """Return in one sentence which variants are better and worse than the plain step."""
    heading, _, quantity, _ = SECTIONS[phase]
    parts = []
    for measure in ("time", "iterations"):
        sides: dict[int, list[str]] = {-1: [], 1: []}
        for name in others():
            mean, error = statistics_of(logs(phase, cells, name, measure))
            if abs(mean) > BEYOND * error:
                sides[int(np.sign(mean))].append(name)
        better, worse = (listed(sides[sign]) or "no variant" for sign in ((-1, 1) if phase == "start" else (1, -1)))
        parts.append(f"at {MEASURES[measure][2]} {better} did better and {worse} did worse")
    return (
        f"{heading}, by more than {BEYOND:g} standard errors of the {quantity} against plain Gauss–Newton steps, "
        f"{'; '.join(parts)}."
    )


def section(phase: str, cells: list[Cell]) -> list[str]:
    """Return the tables of a phase."""
    heading, beginning, quantity, more = SECTIONS[phase]
    number_of = "The same" if phase == "late" else f"{len(cells)} comparisons"
    lines = [
        f"## {heading}",
        "",
        f"{number_of}, each from {beginning}. Ratios of the {quantity}: more than 1 is {more}. Beside them, the "
        "processor time of an iteration over that of a plain one, the passes of an iteration, and the share of "
        "iterations with a step of the variant's own kind.",
        "",
        "| | " + " | ".join(text for *_, text in MEASURES.values()) + " | time | heavy | light | own steps |",
        "|---|" + "---:|" * (len(MEASURES) + 4),
    ]
    for name in VARIANTS:
        ends = np.array([course(cell[name])[-1] for cell in cells])
        plain = np.array([course(cell[PLAIN])[-1] for cell in cells])
        pace = np.exp(np.mean(np.log((ends[:, 0] / ends[:, 1]) / (plain[:, 0] / plain[:, 1]))))
        done: Counter[str] = sum((Counter(cell[name]["branches"]) for cell in cells), Counter())
        own = 1 - (done["step"] + done["settled"]) / done.total()
        shown = [ratio(logs(phase, cells, name, measure)) for measure in MEASURES]
        heavy, light = (ends[:, column].sum() / ends[:, 1].sum() for column in (3, 4))
        lines.append(f"| {name} | {' | '.join(shown)} | {pace:.2f} | {heavy:.2f} | {light:.2f} | {100 * own:.0f} % |")
    for measure in ("time", "iterations"):
        lines += [
            "",
            f"Ratios of the {quantity} at {MEASURES[measure][2]}, and the {quantity} at the end of the plain runs"
            + (", in % of the loss:" if phase == "late" else ":"),
            "",
            "| | plain | " + " | ".join(others()) + " |",
            "|---|" + "---:|" * len(VARIANTS),
        ]
        for problem in PROBLEMS:
            own_cells = [cell for cell in cells if cell[PLAIN]["problem"] == problem]
            if own_cells:
                by_plain = float(np.mean([amounts(phase, {PLAIN: cell[PLAIN]}, measure)[PLAIN] for cell in own_cells]))
                shown = [ratio(logs(phase, own_cells, name, measure)) for name in others()]
                lines.append(
                    f"| {problem} | {number(by_plain * (100 if phase == 'late' else 1), 3)} | {' | '.join(shown)} |"
                )
    return [*lines, ""]


def others() -> list[str]:
    """Return the names of the variants but the plain one."""
    return [name for name in VARIANTS if name != PLAIN]


def course(run: dict[str, Any]) -> NDArray:
    """Return seconds, iterations, passes, heavy ones, light ones and the logarithm of the loss in the columns."""
    seconds, iterations, heavy, light, loss = np.array(run["trace"], dtype=np.float64).T
    return np.column_stack([seconds, iterations, heavy + light, heavy, light, np.log(loss)])


def amounts(phase: str, cell: Cell, measure: str) -> dict[str, float]:
    """Return the loss of each variant where the runs are compared, or late the share of the loss by which it fell."""
    column, share, _ = MEASURES[measure]
    courses = {name: course(run) for name, run in cell.items()}
    ends = [courses[name][-1, column] for name, run in cell.items() if not run["settled"]]
    end = share * (min(ends) if ends else max(one[-1, column] for one in courses.values()))
    found = {name: float(np.interp(end, one[:, column], one[:, -1])) for name, one in courses.items()}
    if phase == "start":
        return {name: math.exp(log) for name, log in found.items()}
    return {name: max(-math.expm1(log - courses[name][0, -1]), LEAST_FALL) for name, log in found.items()}


def logs(phase: str, cells: list[Cell], name: str, measure: str) -> NDArray:
    """Return for each comparison the logarithm of a variant's amount over that of the plain step."""
    found = [amounts(phase, {PLAIN: cell[PLAIN], name: cell[name]}, measure) for cell in cells]
    return np.log([one[name] / one[PLAIN] for one in found])


def statistics_of(values: NDArray) -> tuple[float, float]:
    """Return mean and standard error; the latter is infinite for a single value."""
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf


def ratio(values: NDArray) -> str:
    """Return the geometric mean of ratios, given by their logarithms, and its standard error."""
    mean, error = statistics_of(values)
    middle = math.exp(mean)
    return f"{middle:.3f}" + (f" ± {middle * error:.3f}" if error < math.inf else "")


if __name__ == "__main__":
    sys.exit(main())
