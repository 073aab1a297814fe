"""Activation patterns: which there are, how many, and what is left of neurons that share one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anmin.arrangements import all_patterns, n_patterns, n_patterns_bound, patterns_of
from anmin.lab.colours import AMBER, BLUE, GREEN, GREY, SKY, VERMILION
from anmin.lab.descent import SOURCE, descend
from anmin.lab.neuron_pictures import draw_fit, draw_neurons, output
from anmin.lab.study import Cell, Claim, Picture, Study, Table, drawn, spread
from anmin.network import ReLUNetwork
from anmin.objective import penalty

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POINTS = np.array([-1.5, -0.5, 0.5, 1.5])
_TARGETS = np.array([0.2, 1.0, 0.4, 1.2])
_SIZES = ((2, 2), (4, 2), (4, 3), (5, 3), (6, 4), (8, 3), (8, 4), (10, 4))
_MORE_SIZES = ((10, 5), (12, 4), (20, 3), (30, 3), (20, 4))
_FEW = 200  # patterns up to which linear programs enumerate them in a moment
_TOLERANCE = 1e-6


def run(quick: bool = False, seed: int = 0) -> Study:
    """Enumerate patterns of small sets, count those of large ones, and merge neurons that share one."""
    rngs = [np.random.default_rng([seed, k]) for k in range(5)]
    counts = _counts(_SIZES if quick else _SIZES + _MORE_SIZES, rngs[0])
    return Study(
        "patterns",
        "Activation patterns: which there are, how many, and neurons that share one",
        "All patterns of small sets of points by enumeration, in two ways, beside Cover's number, and networks whose "
        "neurons of equal pattern are joined. The sizes are those of the source.",
        [*_claims_of_points(rngs), *_claims_of_counts(counts, rngs), *_merging(rngs)],
        [_table_of_ten(), counts],
        [_picture_of_ten(), _picture_of_counts(), _picture_of_functions(np.random.default_rng(seed))],
        {"seeds": len(rngs), "seed": seed},
    )


# Patterns of points


def with_bias(x: NDArray) -> NDArray:
    """Return rows (x, 1)."""
    return np.column_stack([x, np.ones(len(x))])


def neurons_of_gaps(x: NDArray) -> NDArray:
    """Return weights (2, 2(n + 1)) of neurons with a crease in each gap of x (n,), first those active to the right."""
    x = np.sort(x)
    gaps = np.concatenate([[x[0] - 0.5], (x[1:] + x[:-1]) / 2, [x[-1] + 0.5]])
    right = np.array([np.ones(len(gaps)), -gaps])
    return np.hstack([right, -right])


def _words(W: NDArray) -> list[str]:
    return ["".join("01"[int(bit)] for bit in column) for column in (with_bias(_POINTS) @ W > 0).T]


def _table_of_ten() -> Table:
    W = neurons_of_gaps(_POINTS)
    words = _words(W)
    rows = [
        (k + 1, -W[1, k] / W[0, k], "right" if W[0, k] > 0 else "left", word, "yes" if word in words[:k] else "")
        for k, word in enumerate(words)
    ]
    columns = ("neuron", "activation point", "active to the", "pattern", "the same as before")
    return Table("A neuron for each gap between four points and each side", columns, rows)


def _claims_of_points(rngs: list[np.random.Generator]) -> list[Claim]:
    where = f'{SOURCE}, "Two-dimensional data"'
    two = all_patterns(np.array([[-0.2, 1.0], [1.0, 1.0]]))
    four = all_patterns(with_bias(_POINTS))
    gaps = neurons_of_gaps(_POINTS).shape[1]
    zero = int((~four.on().any(axis=0)).sum())
    curved = all_patterns(np.column_stack([with_bias(_POINTS), _POINTS**2]))
    middle = [int(_only_inside(patterns.on()).sum()) for patterns in (four, curved)]
    return [
        Claim.judged(
            "Two points with a bias have four patterns.",
            where,
            f"Enumeration finds {len(two)}; the number for general position is {n_patterns(2, 2)}.",
            len(two) == 4,
        ),
        Claim.judged(
            "Four points with a bias have ten patterns.",
            f"{where} and its last figure",
            f"Enumeration finds {len(four)} different ones ({len(four) - zero} without the zero pattern), Cover's "
            f"number is {n_patterns(4, 2)}. Ten is the number of gaps times two sides ({gaps}), of which two have all "
            "points active and two none; by that rule two points would have 6.",
            len(four) == 10,
        ),
        Claim.judged(
            "An activation point that moves between two neighbouring points leaves the pattern as it is.",
            where,
            f"Of 200 random creases in each gap and for each side, for each of {len(rngs)} seeds, the most patterns in "
            f"one gap and side were {max(map(_most_in_a_gap, rngs))}.",
            max(map(_most_in_a_gap, rngs)) == 1,
        ),
        Claim.judged(
            "With one input and a bias no neuron is active on middle points alone; with more inputs one can be.",
            f"{where}, remark",
            f"Of four points, {middle[0]} patterns are active inside and at neither end; with x² as another input, "
            f"{middle[1]} of {len(curved)}.",
            middle[0] == 0 and middle[1] > 0,
        ),
    ]


def _only_inside(on: NDArray) -> NDArray:
    return on[1:-1].any(axis=0) & ~on[0] & ~on[-1]


def _most_in_a_gap(rng: np.random.Generator) -> int:
    edges = np.array([-3.0, *_POINTS, 3.0])
    creases = rng.uniform(edges[:-1], edges[1:], (200, len(edges) - 1))
    vectors = [np.array([np.full(200, side), -side * creases[:, k]]) for side in (-1, 1) for k in range(len(edges) - 1)]
    return max(len(patterns_of(with_bias(_POINTS), V)) for V in vectors)


# Their numbers


def _counts(sizes: tuple[tuple[int, int], ...], rng: np.random.Generator) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for n, d in sizes:
        X = rng.standard_normal((n, d))
        cover = n_patterns(n, d)
        other: Cell = len(all_patterns(X, method="feasibility")) if cover <= _FEW else "–"
        bound: Cell = n_patterns_bound(n, d) if d < n else "–"
        rows.append((n, d, len(all_patterns(X)), other, cover, bound, cover / 2**n))
    rows.append(
        (100, 10, "–", "–", float(n_patterns(100, 10)), n_patterns_bound(100, 10), n_patterns(100, 10) / 2**100)
    )
    columns = ("points", "inputs", "by rays", "by linear programs", "Cover", "bound", "share of 2^n")
    return Table("Patterns of random points", columns, rows, "A dash: not done, or without a bound.")


def _claims_of_counts(counts: Table, rngs: list[np.random.Generator]) -> list[Claim]:
    rows = [row for row in counts.rows if row[2] != "–"]
    right = sum(row[2] == row[4] and row[3] in (row[4], "–") for row in rows)
    exact, bound = n_patterns(100, 10), n_patterns_bound(100, 10)
    lines = [len(all_patterns(rng.standard_normal((n, 1)))) for rng in rngs for n in (2, 5, 20, 50)]
    many = [len(all_patterns(rng.standard_normal((8, 8)))) for rng in rngs]
    return [
        Claim.judged(
            "n points in general position in d dimensions have 2 Σ_{k<d} C(n − 1, k) patterns, and no more than "
            "2d (e(n − 1)/d)^d.",
            f"{SOURCE}, footnote on the number of patterns; Cover (1965)",
            f"Enumeration gives the number on {right} of {len(rows)} random sets, of {rows[0][0]} to "
            f"{max(int(row[0]) for row in rows)} points, and it is below the bound on each.",
            right == len(rows) and all(row[5] == "–" or float(row[4]) <= float(row[5]) for row in counts.rows),
        ),
        Claim.judged(
            "100 points in 10 dimensions have close to 10^25 patterns.",
            f'{SOURCE}, "Activation patterns are not a constant in the non-convex problem"',
            f"Their number is {exact:.3g}, and the bound that is cited {bound:.2g}: both are far below.",
            0.1 < exact / 1e25 < 10 or 0.1 < bound / 1e25 < 10,
        ),
        Claim.judged(
            "With one input and no bias only two patterns matter, however many points there are.",
            f'{SOURCE}, "Activation", remark',
            f"On {len(lines)} random sets of 2 to 50 points of both signs there are {spread(lines)}.",
            set(lines) == {2},
        ),
        Claim.judged(
            "There are close to 2^n patterns when the dimension is high.",
            f'{SOURCE}, "Specifics about equivalence"',
            f"8 points in 8 dimensions have {spread(many)} of {2**8} ({len(rngs)} seeds); but 100 points "
            f"in 10 dimensions have a share of {exact / 2**100:.1g}: there must be about as many dimensions as points.",
            min(many) == 2**8,
        ),
    ]


# Merging


def _merging(rngs: list[np.random.Generator]) -> list[Claim]:
    apart, ratios, left = [], [], []
    for rng in rngs:
        X = rng.standard_normal((12, 2))
        network = ReLUNetwork(rng.standard_normal((3, 200)), rng.standard_normal((200, 1)), np.zeros(1))
        merged = network.merged_on(X)
        scale = np.abs(network.predict(X)).max()
        apart.append(float(np.abs(network.predict(X) - merged.predict(X)).max() / scale))
        ratios.append(penalty(merged.A, merged.B, merged.b0) / penalty(network.A, network.B, network.b0))
        left.append(merged.n_neurons)
    most = 2 * n_patterns(12, 3)
    return [
        Claim.judged(
            "Neurons of one pattern can be merged into one that keeps output and loss; the regularisation may fall.",
            f'{SOURCE}, "1-D example, many neurons"',
            f"200 random neurons on 12 points of 2 inputs and a bias, {len(rngs)} seeds: {int(np.median(left))} are "
            f"left ({min(left)} to {max(left)}; there could be {most}, for {most // 2} patterns and two signs), "
            f"outputs differ by at most {max(apart):.1g} of the largest, and the penalty is {np.median(ratios):.2f} of "
            f"what it was ({min(ratios):.2f} to {max(ratios):.2f}). Between the points the function changes.",
            max(apart) < 1e-12 and max(ratios) <= 1 and max(left) < 200,
        )
    ]


# Pictures


def _picture_of_ten() -> Picture:
    W = neurons_of_gaps(_POINTS)
    words = _words(W)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, 5, sharex=True, sharey=True)
        at = np.linspace(-2.5, 2.5, 201)
        for k, ax in enumerate(panels.ravel()):
            repeated = words.count(words[k]) > 1
            ax.plot(at, output(W[:, [k]], np.ones(1), at), color=VERMILION if repeated else BLUE, linewidth=2)
            active = with_bias(_POINTS) @ W[:, k] > 0
            ax.plot(_POINTS[active], np.zeros(active.sum()), "o", color="black", label="active point")
            ax.plot(
                _POINTS[~active], np.zeros((~active).sum()), "o", color="black", mfc="white", label="point not active"
            )
            draw_neurons(ax, W[:, [k]], np.full(1, -0.7), s=60)
            ax.set_title(f"pattern {words[k]}", color=VERMILION if repeated else "black")
            ax.set(xlim=(-2.5, 2.5), ylim=(-1.2, 4.2))
        for ax in panels[1]:
            ax.set_xlabel("input x")
        for ax in panels[:, 0]:
            ax.set_ylabel("output")
        _legend_of_all(figure)

    title = "Ten neurons on four points have eight patterns: all on and all off (red) are there twice"
    return drawn("ten-neurons", title, draw, size=(10.0, 4.8))


def _picture_of_counts() -> Picture:
    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        n = np.arange(2, 101)
        for d, colour in ((2, SKY), (3, GREEN), (5, AMBER), (10, BLUE)):
            ax.plot(n, [float(n_patterns(int(k), d)) for k in n], color=colour, label=f"{d} inputs")
            more = n[n > d]
            ax.plot(more, [n_patterns_bound(int(k), d) for k in more], color=colour, linestyle=(0, (2, 2)), linewidth=1)
        ax.plot(n, 2.0**n, color=GREY, linestyle=":", label="2ⁿ")
        ax.plot(100, 1e25, "X", color=VERMILION, markersize=9, label="printed for 100 points, 10 inputs", clip_on=False)
        ax.set(yscale="log", xlabel="points n", ylabel="patterns", ylim=(1, 1e27), xlim=(0, 102))
        ax.legend(loc="upper left", ncols=2)

    return drawn("counts", "Patterns of n points (dashed: the bound): polynomial in n for given inputs", draw)


def _picture_of_functions(rng: np.random.Generator) -> Picture:
    X = with_bias(_POINTS)
    networks = []
    for m in (1, 2, 40):
        W, a = rng.standard_normal((20, 2, m)), rng.standard_normal((20, m)) / np.sqrt(m)
        *_, last = descend(X, _TARGETS, W, a, 0.005, 6000)
        best = int(np.argmin(last.loss))
        networks.append((f"{m} neuron{'s' * (m > 1)}", last.W[best], last.a[best]))
    W, a = networks[-1][1:]
    merged = ReLUNetwork(W[::-1], a[:, None], np.zeros(1)).merged_on(_POINTS[:, None])
    networks.append((f"these merged into {merged.n_neurons}", merged.A[::-1], merged.B[:, 0]))

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 4, sharey=True)
        for ax, (name, W, a) in zip(panels, networks, strict=True):
            draw_fit(ax, _POINTS, _TARGETS, W, a, (-2.5, 2.5))
            draw_neurons(ax, W, np.full(W.shape[1], -0.6), s=30, alpha=0.7)
            loss = np.sum((output(W, a, _POINTS) - _TARGETS) ** 2)
            ax.set_title(f"{name}\nloss {loss:.2g}")
            ax.set(xlabel="input x", ylim=(-0.8, 2.0))
        panels[0].set_ylabel("output")
        _legend_of_all(figure)

    title = "Functions of one, two and many neurons: merged neurons agree at the points, not between them"
    return drawn("functions", title, draw, size=(11.0, 4.0))


def _legend_of_all(figure: Figure) -> None:
    pairs = [pair for ax in figure.axes for pair in zip(*ax.get_legend_handles_labels()[::-1], strict=True)]
    handles = dict(reversed(pairs))
    labels = list(dict(pairs))
    figure.legend([handles[label] for label in labels], labels, loc="outside lower center", ncols=4)
