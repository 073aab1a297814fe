"""Assignment as a layer: against the exact one, and end to end in following shapes among distractors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmin.lab.baselines import one_thread
from anmin.lab.colours import BLUE, VERMILION
from anmin.lab.study import Claim, Study, Table, drawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from anmin.lab.moving_shapes import Score

_SOURCE = "review of discrete optimisers as layers, section on DMM-Net"


def run(quick: bool = False, seed: int = 0) -> Study:
    """Return the study: random costs, and clips made for the purpose."""
    import torch

    with one_thread(torch):  # networks are small
        return _study(quick, seed)


def _study(quick: bool, seed: int) -> Study:
    rows, share, gaps = _assignments(20 if quick else 50, seed)
    seeds = range(seed, seed + (1 if quick else 5))
    before, after, greedy = zip(*(_followed(one, 12 if quick else 120) for one in seeds), strict=True)

    def median(scores: Sequence[Score], name: str) -> float:
        return float(np.median([getattr(score, name) for score in scores]))

    accuracy, overlap = median(after, "accuracy"), median(after, "overlap")
    first, plain = median(before, "accuracy"), median(greedy, "accuracy")
    claims = [
        Claim.judged(
            "Projected gradient steps with Dykstra's projections find the assignment of least cost.",
            _SOURCE,
            f"with 100 steps of 50 rounds, {100 * share:.0f} % of {20 if quick else 50} random costs of 3 × 6 have the "
            "assignment of the Hungarian method",
            share == 1.0,
        ),
        Claim.judged(
            "Few steps (10 of 5 rounds) are enough to train with.",
            _SOURCE,
            f"their cost is within {gaps:.2f} of the least one, of costs between 0 and 1; trained with them, the share "
            f"of objects given their own mask goes from {first:.2f} to {accuracy:.2f} (median of {len(seeds)} seeds)",
            accuracy > first,
        ),
        Claim.judged(
            "Matching all objects at once is better than taking the best pair again and again.",
            _SOURCE,
            f"{accuracy:.3f} of objects right, {plain:.3f} by the greedy choice from the same costs",
            accuracy >= plain,
        ),
        Claim.judged(
            "Objects are followed with a mean IoU of 58.0 (YouTube-VOS) to 70.7 (DAVIS 2017).",
            _SOURCE,
            f"scaled to 3 shapes among 4 distractors in clips of 8 frames of 32 × 32: mean IoU {overlap:.3f}, "
            f"{median(after, 'refined'):.3f} after the refining layer",
            None if overlap < 0.58 else True,
        ),
    ]
    columns = ("seed", "right before training", "right after", "right, greedy", "mean IoU", "mean IoU, refined")
    table = [
        (str(one), a.accuracy, b.accuracy, g.accuracy, b.overlap, b.refined)
        for one, a, b, g in zip(seeds, before, after, greedy, strict=True)
    ]
    return Study(
        "matching",
        "Assignment as a layer, and shapes that are followed with it",
        "A relaxed assignment by projected gradient, differentiated through its steps. Shapes with textures move among "
        "shapes of the same kinds; masks proposed for all are ragged and in no order; features of 16 numbers are "
        "learnt from the overlap of the masks that the layer puts together. Scaled: the source has videos.",
        claims,
        [
            Table(
                "Random costs of 3 × 6 between 0 and 1",
                ("steps, rounds", "mean cost over the least", "same assignment"),
                rows,
            ),
            Table("Objects followed through 20 new clips, share", columns, table),
        ],
        [
            drawn(
                "steps", "More steps bring the relaxed assignment to the exact one", lambda figure: _draw(figure, rows)
            )
        ],
        {"seeds": f"{seeds.start} to {seeds.stop - 1}", "rate of the steps": 0.5},
    )


def _assignments(count: int, seed: int) -> tuple[list[tuple[str, float, float]], float, float]:
    """Return a row for each number of steps; the share of the most, and the excess of the fewest."""
    import torch
    from scipy.optimize import linear_sum_assignment

    from anmin.lab.matching import matching

    costs = torch.rand(count, 3, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    exact = np.array([linear_sum_assignment(cost.numpy())[1] for cost in costs])
    least = np.array([cost.numpy()[range(3), columns].sum() for cost, columns in zip(costs, exact, strict=True)])
    rows = []
    for steps, rounds in ((10, 5), (20, 10), (50, 20), (100, 50)):
        X = matching(costs, steps=steps, projections=rounds, rate=0.5, last=True)
        excess = float(((X * costs).sum(dim=(1, 2)).numpy() - least).mean())
        same = float((X.argmax(dim=2).numpy() == exact).all(axis=1).mean())
        rows.append((f"{steps}, {rounds}", excess, same))
    return rows, rows[-1][2], rows[0][1]


def _followed(seed: int, steps: int) -> tuple[Score, Score, Score]:
    """Return the scores before and after training, and those of the greedy choice after."""
    import torch

    from anmin.lab.moving_shapes import Tracker, clip, score, train

    rng = np.random.default_rng(seed)
    new = [clip(rng) for _ in range(20)]
    torch.manual_seed(seed)
    tracker = Tracker()
    before = score(tracker, new)
    train(tracker, rng, steps=steps, rate=3e-3)
    return before, score(tracker, new), score(tracker, new, greedy=True)


def _draw(figure: Figure, rows: list[tuple[str, float, float]]) -> None:
    left, right = figure.subplots(1, 2)
    names, excess, same = zip(*rows, strict=True)
    left.bar(names, np.maximum(excess, 0), color=BLUE, label="relaxed assignment")
    right.bar(names, 100 * np.array(same), color=VERMILION, label="largest entry of each row")
    left.set(xlabel="steps, rounds of projections", ylabel="mean cost over the least")
    right.set(xlabel="steps, rounds of projections", ylabel="same as the Hungarian method (%)", ylim=(0, 112))
    for ax in (left, right):
        ax.legend(loc="upper right" if ax is left else "upper left")
