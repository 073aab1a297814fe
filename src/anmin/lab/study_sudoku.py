"""SATNet learns the rules of sudoku from solved boards, with the cells in order or shuffled, and from pictures."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmin.lab.baselines import one_thread
from anmin.lab.colours import BLUE, VERMILION
from anmin.lab.study import Claim, Study, Table, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anmin.lab.sudoku import Boards

_SOURCE = "review of discrete optimisers as layers, table of 9 × 9 boards"
_HOUR = 3600.0
_BATCH_9 = 40


def run(quick: bool = False, seed: int = 0) -> Study:
    """Return the study: all 288 boards of 4 × 4 (scaled), and in full also what 9 × 9 boards reach in an hour."""
    import torch

    with one_thread(torch):  # networks are small
        return _study(quick, seed)


def _study(quick: bool, seed: int) -> Study:
    seeds = range(seed, seed + (2 if quick else 5))
    epochs = 5 if quick else 10
    rows: list[tuple[Any, ...]] = []
    curves: dict[str, list[list[float]]] = {}
    for kind in ("in order", "shuffled"):
        for name in ("SATNet", "convolutions"):
            results = [_learnt(kind, name, one, epochs, quick) for one in seeds]
            curves[f"{name}, {kind}"] = [curve for curve, _ in results]
            final = np.array([curve[-1] for curve, _ in results])
            rows.append((f"{name}, {kind}", float(np.median(final)), float(final.min()), float(final.max()),
                         float(np.median([seconds for _, seconds in results]))))  # fmt: skip
    boards = {row[0]: row[1] for row in rows}
    gap = abs(boards["SATNet, in order"] - boards["SATNet, shuffled"])
    visual = [_seen(one, quick) for one in seeds]
    right, legible = (float(np.median(values)) for values in zip(*visual, strict=True))
    claims = [
        Claim.judged(
            "SATNet solves nearly all boards that it has not seen (98.3 % of 9 × 9).",
            _SOURCE,
            f"scaled to 4 × 4: {100 * boards['SATNet, in order']:.1f} % of 88 held-out boards, median of {len(seeds)} "
            "seeds",
            boards["SATNet, in order"] >= 0.95,
        ),
        Claim.judged(
            "It does so as well with the cells shuffled (98.3 %), for it knows nothing of where they are.",
            _SOURCE,
            f"scaled to 4 × 4: {100 * boards['SATNet, shuffled']:.1f} %, {100 * gap:.1f} points apart",
            gap <= 0.02,
        ),
        Claim.judged(
            "A convolutional network solves few boards (15.1 % with the mask), and none when they are shuffled.",
            _SOURCE,
            f"scaled to 4 × 4: {100 * boards['convolutions, in order']:.1f} % and, shuffled, "
            f"{100 * boards['convolutions, shuffled']:.1f} %, after as many passes as take it to no training error",
            boards["convolutions, in order"] < boards["SATNet, in order"] - 0.05
            and boards["convolutions, shuffled"] < boards["SATNet, shuffled"] - 0.05,
        ),
        Claim.judged(
            "From pictures of digits it solves most of the boards that can be read (63.2 %, of at most 74.7 %).",
            _SOURCE,
            f"scaled to 4 × 4 and digits of 8 × 8 dots, trained from boards alone: {100 * right:.1f} % of boards, "
            f"{100 * legible:.1f} % have all given digits read right",
            right >= 0.8 * legible,
        ),
    ]
    tables = [
        Table("Held-out boards of 4 × 4 solved, share", ("method", "median", "least", "most", "seconds"), rows),
        Table(
            "From pictures, share of 88 held-out boards",
            ("seed", "solved", "all given digits read right"),
            [(str(s), *v) for s, v in zip(seeds, visual, strict=True)],
        ),
    ]
    pictures = [
        drawn("learning", "SATNet learns the rules of 4 × 4 sudoku, shuffled or not", lambda f: _draw(f, curves))
    ]
    if not quick and (path := _nine_file()) is not None:
        table, claim, picture = _nine(path, seed)
        tables.append(table)
        claims.append(claim)
        pictures.append(picture)
    return Study(
        "sudoku",
        "SATNet learns sudoku",
        "All 288 solved boards of 4 × 4, 8 given cells that leave one solution, 200 boards to learn from and 88 held "
        "out: SATNet with 48 clauses and 16 hidden values, Adam at 0.02, against six layers of convolutions. The "
        "source has 9 × 9 boards, 9,000 to learn from, with 600 clauses and 300 hidden values.",
        claims,
        tables,
        pictures,
        {"seeds": f"{seeds.start} to {seeds.stop - 1}", "passes": epochs},
    )


def _learnt(kind: str, name: str, seed: int, epochs: int, quick: bool) -> tuple[list[float], float]:
    """Return the share of held-out boards solved after each pass, and the seconds of the training."""
    import torch

    from anmin.lab import sudoku

    rng = np.random.default_rng(seed)
    boards = sudoku.small_boards(rng)
    if kind == "shuffled":
        boards = boards.permuted(rng.permutation(16))
    torch.manual_seed(seed)
    shares, seconds = [0.0], 0.0
    # The convolutions are quick, and need more passes to learn what they can.
    ours = name == "SATNet"
    model = sudoku.solver(4, 48, 16, seed) if ours else sudoku.Convolutional(4, width=32, depth=6)
    for epoch in range(epochs):
        start = time.perf_counter()
        sudoku.train(
            model,
            boards[:200],
            epochs=1 if ours else (4 if quick else 10),
            batch=10,
            rate=0.02 if ours else 2e-3,
            seed=1000 * seed + epoch,
        )
        seconds += time.perf_counter() - start
        shares.append(sudoku.solved(model, boards[200:]))
    return shares, seconds


def _seen(seed: int, quick: bool) -> tuple[float, float]:
    """Return the shares of boards solved from pictures, and of those that were read right."""
    import torch
    from sklearn.datasets import load_digits

    from anmin.lab import sudoku, visual_sudoku

    data = load_digits()
    chosen = (data.target >= 1) & (data.target <= 4)
    pictures, labels = (data.images[chosen] / 16).astype(np.float32), data.target[chosen] - 1
    cut = 3 * len(labels) // 4
    rng = np.random.default_rng(seed)
    boards = sudoku.small_boards(rng)
    torch.manual_seed(seed)
    model = visual_sudoku.Reader(4, 8, 48, 16, seed)
    learn = visual_sudoku.Digits(pictures[:cut], labels[:cut])
    visual_sudoku.train(model, boards[:200], learn, epochs=8 if quick else 30, batch=10, rates=(5e-3, 2e-2), seed=seed)
    return visual_sudoku.solved(model, boards[200:], visual_sudoku.Digits(pictures[cut:], labels[cut:]), seed)


def _nine_file() -> Path | None:
    folder = os.environ.get("ANMIN_DATA")
    path = Path(folder) / "sudoku_20k.npz" if folder else None
    return path if path is not None and path.exists() else None


def _nine(path: Path, seed: int, limit: float = _HOUR) -> tuple[Table, Claim, Any]:
    """Return what 9 × 9 boards reach in so many seconds."""
    from anmin.lab import sudoku
    from anmin.threads import n_threads

    boards = sudoku.read_boards(str(path))
    learn, held_out = boards[:9000], boards[-200:]
    model = sudoku.solver(9, 600, 300, seed)
    times, losses = [0.0], []
    start = time.perf_counter()

    def watch(step: int, loss: float) -> None:
        times.append(time.perf_counter() - start)
        losses.append(loss)

    sudoku.train(model, learn, epochs=100, batch=_BATCH_9, rate=2e-3, seed=seed, max_time=limit, watch=watch)
    share, cells = sudoku.solved(model, held_out, 40), _cells(model, held_out)
    step = float(np.median(np.diff(times)))
    single = _one_thread_seconds(learn)
    rows: list[tuple] = [
        ("steps of 40 boards", len(losses)),
        ("seconds a step, forward and backward, median", step),
        ("seconds a step with one thread", single),
        ("boards seen, of 9,000 in each of the source's 100 passes", len(losses) * _BATCH_9),
        ("loss, first and last 20 steps", f"{np.mean(losses[:20]):.4f}, {np.mean(losses[-20:]):.4f}"),
        ("held-out boards solved, share", share),
        ("held-out cells right, share of those not given", cells),
    ]
    claim = Claim.judged(
        "SATNet solves 98.3 % of 9 × 9 boards (after 100 passes over 9,000).",
        _SOURCE,
        f"in {limit / 60:.0f} minutes with {n_threads()} threads it saw {len(losses) * _BATCH_9:,} boards: "
        f"{100 * share:.1f} % of 200 held-out boards solved, {100 * cells:.1f} % of the cells that were not given",
        None if share < 0.9 else True,
    )
    picture = drawn(
        "nine",
        f"9 × 9: the loss over {limit / 60:.0f} minutes with {n_threads()} threads",
        lambda figure: _draw_nine(figure, times[1:], losses),
    )
    return (
        Table(f"9 × 9 boards, {limit / 60:.0f} minutes with {n_threads()} threads", ("", "value"), rows),
        claim,
        picture,
    )


def _cells(model: Any, boards: Boards) -> float:
    import torch

    right = hidden = 0
    for k in range(0, len(boards), _BATCH_9):
        part = boards[k : k + _BATCH_9]
        values, given = part.truth_values()
        with torch.no_grad():
            digits = model(values, given).reshape(len(part), 81, 9).argmax(dim=2).numpy()
        right += int(((digits == part.solutions) & ~part.given).sum())
        hidden += int((~part.given).sum())
    return right / hidden


def _one_thread_seconds(boards: Boards) -> float:
    """Return the seconds of a step at the start of learning in one thread."""
    from anmin.lab import sudoku

    model = sudoku.solver(9, 600, 300, 0, threads=1)
    times = [0.0]
    start = time.perf_counter()

    def watch(step: int, loss: float) -> None:
        times.append(time.perf_counter() - start)

    sudoku.train(model, boards[: 3 * _BATCH_9], epochs=1, batch=_BATCH_9, rate=2e-3, seed=0, watch=watch)
    return float(np.median(np.diff(times)))


def _draw(figure: Figure, curves: dict[str, list[list[float]]]) -> None:
    ax = figure.subplots()
    styles = {"SATNet": VERMILION, "convolutions": BLUE}
    for name, runs in curves.items():
        values = 100 * np.array(runs)
        method, kind = name.split(", ")
        ax.plot(np.median(values, axis=0), "-" if kind == "in order" else "--", color=styles[method], label=name)
        ax.fill_between(
            range(values.shape[1]), values.min(axis=0), values.max(axis=0), color=styles[method], alpha=0.12, lw=0
        )
    ax.set(xlabel="passes (of convolutions: groups of passes)", ylabel="held-out boards solved (%)", ylim=(-2, 102))
    ax.legend()


def _draw_nine(figure: Figure, times: list[float], losses: list[float]) -> None:
    ax = figure.subplots()
    ax.plot(np.array(times) / 60, losses, color=VERMILION, lw=0.8, label="batches of 40 boards")
    ax.set(xlabel="minutes", ylabel="cross entropy", yscale="log")
    ax.legend()
