"""The loss of one and of two neurons on two points, and the convex programs of their activation patterns."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anmin.lab.colours import AMBER, GREEN, GREY, SKY, VERMILION
from anmin.lab.descent import SOURCE, activation_points, descend
from anmin.lab.landscapes import cone, local_minima
from anmin.lab.neuron_pictures import draw_fit, draw_neurons
from anmin.lab.study import Claim, Picture, Study, Table, animated, drawn, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_X, _Y_ONE, _Y_TWO = np.array([[-1.0], [1.0]]), np.array([1.0, 0.5]), np.array([1.0, 2.0])
_ON = ((0, 0), (0, 1), (1, 0), (1, 1))
_TOLERANCE = 1e-6


def run(quick: bool = False, seed: int = 0) -> Study:
    """Minimise the examples of two points numerically and compare with what is printed."""
    n_starts, n_seeds = (100, 5) if quick else (1000, 5)
    rngs = [np.random.default_rng([seed, k]) for k in range(n_seeds)]
    programs = fixed_pattern_programs()
    minima = local_minima(one_neuron, -3, 3)
    one, two = _claims_of_one(minima, programs, n_starts, rngs), _claims_of_two(n_starts, rngs)
    point, picture = _moving_point(12 if quick else 40)
    return Study(
        "landscapes",
        "Losses of one and two neurons on two points",
        "One neuron max(0, w x) on the points (−1, 1), (1, 0.5), two with output weights of 1 on (−1, 1), (1, 2), and "
        "one with a bias whose activation point moves. Every minimum is found numerically. The sizes are those of the "
        "source.",
        [*one, *two, *point],
        [_table_of_programs(programs)],
        [_picture_of_one(minima), _picture_of_two(), picture],
        {"random starts": n_starts, "seeds": n_seeds, "seed": seed},
    )


# One neuron


def fixed_pattern_programs() -> list[tuple[tuple[int, int], float, float, tuple[float, float], float, float]]:
    """Return for each pattern of the points: it, the minimiser without the cone, its value, the cone, and both in it.

    The program is min (d₁ x₁ u − y₁)² + (d₂ x₂ u − y₂)²; the cone, cut at −1 and 1, holds the u with this pattern.
    """
    programs = []
    for on in _ON:
        column = np.array(on) * _X[:, 0]
        free = float(np.linalg.lstsq(column[:, None], _Y_ONE)[0][0])
        low, high = (float(end) for end in cone(_X, on)[0])
        # In one dimension the cone is {0}, a half-line or the line, and the nearest point of it is the best.
        inside = float(np.clip(free, low and -np.inf, high and np.inf))
        values = [float(np.sum((column * u - _Y_ONE) ** 2)) for u in (free, inside)]
        programs.append((on, free, values[0], (low, high), inside, values[1]))
    return programs


def one_neuron(w: NDArray) -> NDArray:
    """Return the loss of max(0, w x) on (−1, 1), (1, 0.5) for weights w of any shape."""
    return np.sum((np.maximum(0, np.multiply.outer(w, _X[:, 0])) - _Y_ONE) ** 2, axis=-1)


def _claims_of_one(
    minima: list[tuple[float, float]], programs: list, n_starts: int, rngs: list[np.random.Generator]
) -> list[Claim]:
    shown = " and ".join(f"w = {w:.4f} with loss {loss:.4f}" for w, loss in minima)
    expected = np.array([(-1, 0.25), (0.5, 1.0)])
    first = programs[2]
    printed = -_Y_ONE[0] / _X[0, 0]
    section = f'{SOURCE}, "One ReLU, no second layer, no regularization"'
    crossed = {rate: _crossings(rate, n_starts, rngs) for rate in (0.1, 0.9)}
    both = programs[3]
    return [
        Claim.judged(
            "One neuron on two points has two local minima, y₂² at w = y₁/x₁ and y₁² at w = y₂/x₂.",
            section,
            f"{len(minima)} local minima: {shown}.",
            len(minima) == len(expected) and bool(np.abs(np.array(minima) - expected).max() < _TOLERANCE),
        ),
        Claim.judged(
            "The program that activates the first point alone is solved by u₂ = −y₁/x₁.",
            f'{SOURCE}, "Activation"',
            f"It is solved by u = {first[4]:.4f}, which is y₁/x₁, with loss {first[5]:.4f}; −y₁/x₁ = {printed:.4f} "
            f"gives {one_neuron(np.array(printed)):.4f}. The sign is a misprint.",
            abs(first[4] - printed) < _TOLERANCE,
        ),
        Claim.judged(
            "Gradient descent never switches from fitting the one point to fitting the other, since the loss would "
            "have to rise.",
            section,
            f"Of {n_starts} starts in [−3, 3] for each of {len(rngs)} seeds, {spread(crossed[0.1], percent=True)} "
            "ended on the other side with steps of 0.1. With steps of 0.9 it was "
            f"{spread(crossed[0.9], percent=True)}: "
            "long steps jump over the barrier, so the statement is one about small steps.",
            max(crossed[0.1]) == 0,
        ),
        Claim.judged(
            "With both points active the program without constraints has nothing to do with the neuron, and with them "
            "its only point is 0.",
            f'{SOURCE}, "Activation"',
            f"Without constraints its minimum is u = {both[1]:.4f} with value {both[2]:.4f}, where the neuron's loss "
            f"is {one_neuron(np.array(both[1])):.4f}; with them u lies between {both[3][0]:g} and {both[3][1]:g}.",
            both[3] == (0, 0) and abs(both[2] - one_neuron(np.array(both[1]))) > _TOLERANCE,
        ),
    ]


def _crossings(rate: float, n_starts: int, rngs: list[np.random.Generator]) -> list[float]:
    shares = []
    for rng in rngs:
        start = rng.uniform(-3, 3, n_starts)
        *_, end = descend(_X, _Y_ONE, start[:, None, None], np.ones((n_starts, 1)), rate, 500, train_output=False)
        shares.append(float(np.mean(end.W[:, 0, 0] * start < 0)))
    return shares


def _table_of_programs(programs: list) -> Table:
    rows = [
        (
            f"{on[0]}, {on[1]}",
            free,
            value,
            float(one_neuron(np.array(free))),
            "0 alone" if not any(ends) else "u <= 0" if ends[0] else "u >= 0",
            inside,
            best,
        )
        for on, free, value, ends, inside, best in programs
    ]
    columns = ("active", "u, free", "its value", "the neuron's loss there", "cone", "u in the cone", "value = loss")
    return Table("Programs of the four patterns of (−1, 1), (1, 0.5)", columns, rows)


# Two neurons


def two_neurons(w1: NDArray, w2: NDArray) -> NDArray:
    """Return the loss of max(0, w₁ x) + max(0, w₂ x) on (−1, 1), (1, 2) for weights of any shape."""
    output = sum(np.maximum(0, np.multiply.outer(w, _X[:, 0])) for w in (w1, w2))
    return np.sum((output - _Y_TWO) ** 2, axis=-1)


def descending_path(end: NDArray) -> NDArray:
    """Return the corners (k, 2) of a path from where descent ended to a global minimum.

    On a plateau both weights have one sign: the second is moved to 0 while their sum is kept, and on to the other side.
    """
    if end[0] * end[1] < 0:
        return end[None]
    total = end.sum()
    return np.array([end, (total, 0), (total, -1.0 if total > 0 else 2.0)])


def _claims_of_two(n_starts: int, rngs: list[np.random.Generator]) -> list[Claim]:
    shares, values, rises, plateau = [], [], [], 0.0
    for rng in rngs:
        start = 1.5 * rng.standard_normal((n_starts, 1, 2))
        losses = []
        for point in descend(_X, _Y_TWO, start, np.ones((n_starts, 2)), 0.02, 1500, train_output=False):
            losses.append(point.loss)
        ends = point.W[:, 0]
        values.append(np.unique(point.loss.round(6)))
        shares.append([float(np.mean(abs(point.loss - level) < _TOLERANCE)) for level in (0, 1, 4)])
        sign, sums = np.sign(ends), ends.sum(axis=1)
        same = sign[:, 0] == sign[:, 1]
        off = np.abs([sums - np.where(sums > 0, 2, -1), point.loss - np.where(sums > 0, 1, 4)])
        plateau = max(plateau, float(off[:, same].max()))
        ways = [rise(descending_path(end)) for end in ends[:100]]
        rises.append(max(_highest_rise(np.array(losses)), *ways))
    reached = sorted({float(value) for some in values for value in some})
    split = np.median(shares, axis=0)
    figure = f"{SOURCE}, first figure and its caption"
    violations = [_violations(rngs[0], one_quadrant) for one_quadrant in (True, False)]
    return [
        Claim.judged(
            "With two neurons gradient descent ends at three different values, two of them above zero: y₁² and y₂².",
            figure,
            f"From {n_starts} starts N(0, 1.5²) for each of {len(rngs)} seeds the values reached are "
            f"{', '.join(f'{value:g}' for value in reached)}; shares of 0, 1 and 4 (medians): "
            f"{', '.join(f'{100 * share:.0f}%' for share in split)}.",
            reached == [0, 1, 4],
        ),
        Claim.judged(
            "The minima above zero are whole lines: both neurons fit one point together and are off at the other.",
            figure,
            "Wherever both weights ended with one sign, w₁ + w₂ was 2 with loss y₁² = 1, or −1 with loss y₂² = 4, to "
            f"within {plateau:.1g}.",
            plateau < _TOLERANCE,
        ),
        Claim.judged(
            "From everywhere a path on which the loss never rises leads to the global minimum.",
            f'{SOURCE}, "Problem and notation"',
            "Descent with steps of 0.02, then along the plateau until one weight is 0, then over to the other point: "
            f"for 100 starts for each of {len(rngs)} seeds the loss ended at 0 and rose by at most "
            f"{max(max(rises), 0):.1g} on the way.",
            max(rises) < 1e-9,
        ),
        Claim.judged(
            "With w₁ kept positive and w₂ negative the problem is convex and has the same global minimum.",
            f'{SOURCE}, "Problem and notation"',
            f"At {violations[0]} of 10,000 midpoints of random pairs in this quadrant the loss was above the mean of "
            f"the two; of as many pairs from the whole plane, at {violations[1]}.",
            violations[0] == 0 and violations[1] > 0,
        ),
    ]


def rise(corners: NDArray) -> float:
    """Return how far the loss rises on the way along corners (k, 2), or infinity if it does not end at zero."""
    share = np.linspace(0, 1, 101)[:, None]
    pieces = [(1 - share) * p + share * q for p, q in pairwise(corners)]
    losses = two_neurons(*np.vstack([*pieces, corners[-1:]]).T)
    return _highest_rise(losses) if losses[-1] < _TOLERANCE else np.inf


def _highest_rise(losses: NDArray) -> float:
    """Return how far losses (steps, ...) ever are above the least one before."""
    return float((losses - np.minimum.accumulate(losses, axis=0)).max())


def _violations(rng: np.random.Generator, one_quadrant: bool) -> int:
    pairs = 3 * rng.standard_normal((2, 2, 10_000))  # ends, weights, pairs
    if one_quadrant:
        pairs = np.abs(pairs) * np.array([1, -1])[:, None]
    middle = two_neurons(*pairs.mean(axis=0))
    ends = (two_neurons(*pairs[0]) + two_neurons(*pairs[1])) / 2
    return int(np.sum(middle > ends + 1e-9))


# The neuron whose activation point moves


def _moving_point(n_frames: int) -> tuple[list[Claim], Picture]:
    X, y = np.array([[-0.2, 1.0], [1.0, 1.0]]), np.array([0.5, 1.0])
    printed, meant = np.array([[0.3], [0.15]]), np.array([[0.3], [-0.15]])
    path = list(descend(X, y, meant, np.ones(1), 0.02, 3000))
    patterns = np.array([(X @ point.W > 0)[:, 0] for point in path])
    switch = int(np.argmax(patterns[:, 0]))
    # Evenly over the way of the crease, of which the last steps cover next to nothing.
    lengths = [np.linalg.norm(q.W - p.W) + np.abs(q.a - p.a).sum() for p, q in pairwise(path)]
    way = np.cumsum([0.0, *lengths])
    steps = np.searchsorted(way, np.linspace(0, 0.999 * way[-1], n_frames))

    def draw(figure: Figure, k: int) -> None:
        ax = figure.subplots()
        W, a, loss = path[steps[k]]
        draw_fit(ax, X[:, 0], y, W, a, (-1.5, 1.5))
        draw_neurons(ax, W, W[0] * a, s=90)
        ax.set(ylim=(-0.1, 1.4), xlabel="input x", ylabel="output; slope of the neuron (triangle)")
        ax.set_title(f"step {steps[k]}, loss {loss:.4f}")
        ax.legend(loc="upper left")

    off = float((printed.T @ X[0])[0])
    where = f'{SOURCE}, "Two-dimensional data"'
    crease = [float(activation_points(W)[0]) for W in (printed, meant)]
    claims = [
        Claim.judged(
            "The neuron w = (0.3, 0.15) is off at (−0.2, 1), and its activation point is 0.5.",
            where,
            f"Its argument there is {off:.2f} > 0 and its activation point {crease[0]:.2f}. What is meant is "
            f"w = (0.3, −0.15): {float((meant.T @ X[0])[0]):.2f} < 0 and {crease[1]:.2f}.",
            off <= 0 and abs(crease[0] - 0.5) < _TOLERANCE,
        ),
        Claim.judged(
            "From there gradient descent first fits the second point alone; then the activation point passes the first "
            "point, and both are fitted exactly.",
            where,
            f"From w = (0.3, −0.15), α = 1 the first point becomes active at step {switch} of {len(path) - 1} (rate "
            f"0.02), when the loss has fallen from {path[0].loss:.3f} to {path[switch].loss:.3f}; it ends at "
            f"{path[-1].loss:.1g}.",
            bool(np.all(patterns[:, 1]) and np.all(patterns[switch:, 0] > patterns[0, 0]) and path[-1].loss < 1e-6),
        ),
    ]
    title = "One neuron: its activation point moves until both points are active"
    return claims, animated("moving-point", title, draw, n_frames)


# Pictures


def _picture_of_one(minima: list[tuple[float, float]]) -> Picture:
    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        w = np.linspace(-2.5, 2.5, 501)
        for on, colour in zip(_ON[1:], (SKY, AMBER, GREEN), strict=True):
            values = np.sum((np.multiply.outer(w, np.array(on) * _X[:, 0]) - _Y_ONE) ** 2, axis=-1)
            label = f"program of the pattern ({on[0]}, {on[1]})"
            ax.plot(w, values, color=colour, linestyle=(0, (4, 2)), label=label)
        ax.plot(w, one_neuron(w), color=VERMILION, linewidth=2.5, label="loss of the neuron", zorder=3)
        ax.plot(*np.transpose(minima), "o", color="black", label="its minima", zorder=4)
        for at, loss in minima:
            ax.annotate(f"w = {at:.2f}, loss {loss:.2f}", (at, loss), (0, -18), textcoords="offset points", ha="center")
        printed = -_Y_ONE[0] / _X[0, 0]
        label = "printed as the minimum at w = −y₁/x₁"
        ax.plot(printed, one_neuron(np.array(printed)), "x", color=GREY, markersize=9, markeredgewidth=2, label=label)
        ax.set(xlabel="weight w", ylabel="sum of squared errors", ylim=(-0.35, 4.2), xlim=(-2.5, 2.5))
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)

    title = "One neuron on (−1, 1), (1, 0.5): two minima, each that of a convex program"
    return drawn("one-neuron", title, draw, size=(7.6, 4.8))


def _picture_of_two() -> Picture:
    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        w = np.linspace(-3, 4, 351)
        loss = two_neurons(*np.meshgrid(w, w))
        levels = np.array([0, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 60])
        from matplotlib.colors import BoundaryNorm

        filled = ax.contourf(w, w, loss, levels=levels, cmap="viridis", norm=BoundaryNorm(levels, 256))
        figure.colorbar(filled, ax=ax, label="sum of squared errors", ticks=[0, 0.5, 1, 2, 4, 7, 15, 30])
        ax.plot([0, 2], [2, 0], color=VERMILION, linewidth=3, label="plateau w₁ + w₂ = 2: loss 1 = y₁²")
        ax.plot([0, -1], [-1, 0], color=AMBER, linewidth=3, label="plateau w₁ + w₂ = −1: loss 4 = y₂²")
        ax.plot([2, -1], [-1, 2], "*", color="white", markersize=15, markeredgecolor="black", label="loss 0")
        ax.set(xlabel="weight w₁", ylabel="weight w₂", aspect="equal")
        ax.grid(False)
        figure.legend(loc="outside lower center", ncols=1, fontsize=9)

    title = "Two neurons on (−1, 1), (1, 2): two minima and two plateaus"
    return drawn("two-neurons", title, draw, size=(6.0, 6.2))
