"""The ``anmin paper`` command: the source paper's tables and figures, made again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from anmin.atomic import written_atomically
from anmin.cli.terminal import PlainConsole, complain

app = typer.Typer(
    no_args_is_help=True,
    help="Make the tables and figures of Barbu (arXiv 2304.02972) again. Runs are stored one by one; a study that was "
    "interrupted goes on where it stopped. Example: anmin paper table3 --splits 2 --datasets abalone",
)

_FOLDER = Path("benchmarks/results")
Splits = Annotated[
    int | None,
    typer.Option("--splits", min=1, help="Splits or seeds for each case; by default 10, fewer on large sets."),
]
Datasets = Annotated[
    str | None,
    typer.Option("--datasets", help="Names with commas between; by default the real ones of the paper."),
]
Methods = Annotated[str | None, typer.Option("--methods", help="Names with commas between; by default all.")]
Results = Annotated[Path, typer.Option("--results", help="Folder of the stored runs and of the tables.")]
Quick = Annotated[
    bool, typer.Option("--quick", help="A tenth of the iterations, one split, stored in a subfolder: does it all work?")
]


@app.command()
def table3(
    splits: Splits = None,
    datasets: Datasets = None,
    methods: Methods = None,
    results: Results = _FOLDER,
    quick: Quick = False,
) -> None:
    """Training errors of all methods. Example: anmin paper table3 --splits 2 --datasets abalone,horse_sdf"""
    _comparison("train", "table3", splits, datasets, methods, results, quick)


@app.command()
def table4(
    splits: Splits = None,
    datasets: Datasets = None,
    methods: Methods = None,
    results: Results = _FOLDER,
    quick: Quick = False,
) -> None:
    """Test errors of all methods, from the same runs as table3. Example: anmin paper table4 --methods Adam,ANMIN"""
    _comparison("test", "table4", splits, datasets, methods, results, quick)


@app.command()
def table5(
    splits: Splits = None,
    datasets: Datasets = None,
    methods: Methods = None,
    results: Results = _FOLDER,
    quick: Quick = False,
) -> None:
    """Treatments of degenerate systems, in float32. Example: anmin paper table5 --splits 3"""
    with _plain_errors() as console:
        from anmin.lab import ablation

        folder = _folder(results, quick)
        for name in _names(datasets, (ablation.DATASET,)):
            ablation.ablate(
                folder,
                splits or (1 if quick else 10),
                dataset=name,
                variants=_names(methods, tuple(ablation.VARIANTS)),
                quick=quick,
                report=console.print,
            )
            table = ablation.ablation_table(name, ablation.stored(folder, name, quick=quick))
            _write(console, folder / f"table5{'' if name == ablation.DATASET else '-' + name}.md", table, quick)


@app.command()
def simulation(
    splits: Splits = None,
    datasets: Datasets = None,
    methods: Methods = None,
    results: Results = _FOLDER,
    quick: Quick = False,
) -> None:
    """The sine of the squared norm, for 1 to 30 inputs. Example: anmin paper simulation --splits 2"""
    with _plain_errors() as console:
        from anmin.lab import simulation as study

        folder = _folder(results, quick)
        study.simulate(
            folder,
            splits or (1 if quick else 5),
            methods=_names(methods, study.METHOD_NAMES),
            names=_names(datasets, tuple(study.SETTINGS)),
            quick=quick,
            report=console.print,
        )
        _write(console, folder / "simulation.md", study.simulation_table(study.stored(folder, quick=quick)), quick)


@app.command()
def figures(
    splits: Splits = None,
    datasets: Datasets = None,
    methods: Methods = None,
    results: Results = _FOLDER,
    quick: Quick = False,
) -> None:
    """Errors against time, L-BFGS, log-determinants and the simulation. Example: anmin paper figures --splits 1"""
    with _plain_errors() as console:
        from anmin.lab import comparison, protocol
        from anmin.lab import simulation as study
        from anmin.lab.figures import draw_all, import_matplotlib

        import_matplotlib()  # before any work
        folder = _folder(results, quick)
        comparison.compare(
            folder,
            _names(datasets, protocol.DEFAULT_DATASETS),
            _names(methods, comparison.METHOD_NAMES),
            splits or 1,
            quick=quick,
            report=console.print,
        )
        study.simulate(folder, splits or 1, quick=quick, report=console.print)
        runs, simulated = comparison.stored(folder, quick=quick), study.stored(folder, quick=quick)
        for path in draw_all(folder / "figures", runs, simulated):
            console.print(f"Wrote {path}.")


def _comparison(
    part: Literal["train", "test"],
    name: str,
    splits: int | None,
    datasets: str | None,
    methods: str | None,
    results: Path,
    quick: bool,
) -> None:
    with _plain_errors() as console:
        from anmin.lab import comparison, protocol, tables

        folder = _folder(results, quick)
        comparison.compare(
            folder,
            _names(datasets, protocol.DEFAULT_DATASETS),
            _names(methods, comparison.METHOD_NAMES),
            splits or (1 if quick else None),
            quick=quick,
            report=console.print,
        )
        # All that is stored is shown, so that adding one method or data set does not take the others away.
        _write(
            console, folder / f"{name}.md", tables.comparison_table(comparison.stored(folder, quick=quick), part), quick
        )


def _folder(results: Path, quick: bool) -> Path:
    # Runs of a tenth of the iterations must not stand among the full ones.
    return results / "quick" if quick else results


def _names(given: str | None, default: tuple[str, ...]) -> tuple[str, ...]:
    return default if given is None else tuple(name.strip() for name in given.split(",") if name.strip())


def _write(console: PlainConsole, path: Path, text: str, quick: bool) -> None:
    if quick:
        text = f"A quick run of a tenth of the iterations: it shows that all works, its errors mean nothing.\n\n{text}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    for line in text.splitlines():
        console.print(line)
    console.print(f"Wrote {path}.")


@contextmanager
def _plain_errors() -> Iterator[PlainConsole]:
    """End with one sentence and exit code 2 where the input or the installation is at fault."""
    console = PlainConsole(soft_wrap=True)
    try:
        yield console
    except (ValueError, ImportError, OSError) as error:
        complain(str(error), as_json=False)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        console.print("Interrupted; the finished runs are stored, and the same command goes on from there.")
        raise typer.Exit(130) from None
