"""Large and tiny initial weights: neurons that stay where they are, and neurons that gather before they fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anmin.lab import initial_scale_pictures as pictures
from anmin.lab.descent import SOURCE, activation_points
from anmin.lab.initial_scale import (
    POINTS,
    TARGETS,
    Path,
    alignment,
    follow,
    gathered,
    growing,
    invariant_drift,
    least_norm_fit,
    n_patterns_used,
    predicted_point,
    share_changed,
    start,
)
from anmin.lab.neuron_pictures import output
from anmin.lab.study import Claim, Study, Table, spread

_LARGE_SECTION = f'{SOURCE}, "On large initialization scale"'
_TINY_SECTION = f'{SOURCE}, "On very small initialization"'
N_NEURONS = 1000
LARGE, TINY = 1.0, 1e-6
_RATES = {LARGE: 1e-4, TINY: 1e-3}
_STEPS = {LARGE: 5000, TINY: 2500}
_SCALES = (1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_TINY_SCALES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-10)
_EVERY = 25


def run(quick: bool = False, seed: int = 0) -> Study:
    """Descend from large and from tiny weights and measure how neurons move."""
    seeds = [[seed, k] for k in range(3 if quick else 5)]
    large, tiny = ([_followed(s, scale) for s in seeds] for scale in (LARGE, TINY))
    scales = _changes_by_scale(seeds[:1] if quick else seeds, _SCALES[::4] if quick else _SCALES)
    tinier = _gathering_by_scale(seeds[:1] if quick else seeds, _TINY_SCALES)
    drifts = _drifts(seeds[:1] if quick else seeds)
    n_frames = 12 if quick else 45
    return Study(
        "initial_scale",
        "Large and tiny initial weights: neurons that stay, and neurons that gather",
        f"{N_NEURONS} neurons on four points of a line, as in the source, with the same norm at first, random sides "
        "and signs, and activation points uniform on [−3, 3]; gradient descent on both layers with all points. Norms "
        f"of {LARGE:g} are large, of {TINY:g} tiny. The source does not print its points; these are {_points()}, for "
        f"which the predicted activation point is {predicted_point():.2f}, that of its figure.",
        [*_large_claims(large, scales), *_tiny_claims(tiny, tinier, large), _invariant_claim(drifts)],
        [scales, tinier, drifts],
        [
            pictures.phases(tiny[0]),
            pictures.shares_by_scale(scales),
            pictures.animation("large", "Large weights: the neurons stay, the output bends", large[0], n_frames, True),
            pictures.animation(
                "tiny", "Tiny weights: neurons gather, then grow into the line", tiny[0], n_frames, False
            ),
        ],
        {"neurons": N_NEURONS, "seeds": len(seeds), "seed": seed, "large": LARGE, "tiny": TINY}
        | {f"rate from {scale:g}": rate for scale, rate in _RATES.items()},
    )


def _points() -> str:
    return ", ".join(f"({x:g}, {y:g})" for x, y in zip(POINTS, TARGETS, strict=True))


def _followed(seed: Sequence[int], scale: float) -> Path:
    n_steps = _STEPS[scale]
    # At first every step counts where weights are large.
    keep = {*range(0, n_steps + 1, _EVERY), *range(min(n_steps, 200))}
    return follow(*start(np.random.default_rng(seed), N_NEURONS, scale), _RATES[scale], n_steps, sorted(keep))


# Large weights


def _changes_by_scale(seeds: Sequence[Sequence[int]], scales: Sequence[float]) -> Table:
    rows = []
    for scale in scales:
        shares: dict[bool, list[float]] = {False: [], True: []}
        for mirrored, found in shares.items():
            for seed in seeds:
                W, a = start(np.random.default_rng(seed), N_NEURONS, scale, mirrored)
                # The curvature grows with scale²; 3,000 steps reach the end or show that it is far.
                path = follow(W, a, min(1e-3, 1e-4 / scale**2), 3000)
                found.append(share_changed(path.first, path.last))
        rows.append((scale, *(float(f(found)) for found in shares.values() for f in (np.median, min, max))))
    columns = ("initial norm", "random signs", "least", "most", "output 0 at first", "least", "most")
    return Table("Share of neurons whose pattern has changed after 3,000 steps", columns, rows)


def _wiggle(path: Path) -> float:
    """Return the root mean square distance of the fit from the line, between the outer points."""
    x = np.linspace(-1, 1, 401)
    line = np.polyval(np.polyfit(POINTS, TARGETS, 1), x)
    return float(np.sqrt(np.mean((output(path.last.W, path.last.a, x) - line) ** 2)))


def _large_claims(paths: Sequence[Path], scales: Table) -> list[Claim]:
    changed = [share_changed(path.first, path.last) for path in paths]
    moved = [
        float(np.median(np.abs(activation_points(path.last.W) - activation_points(path.first.W)))) for path in paths
    ]
    steps = [int(np.argmax(path.losses < 1e-12)) for path in paths if path.last.loss < 1e-12]
    norm, neurons = least_norm_fit()
    wiggles = [_wiggle(path) for path in paths]
    largest = scales.rows[-1]
    return [
        Claim.judged(
            "From large weights only a few of a thousand neurons change their pattern; activation points hardly move.",
            _LARGE_SECTION,
            f"{spread(changed, percent=True)} of the neurons change it, and an activation point moves by "
            f"{np.median(moved):.3f} (median of neurons and seeds; points lie 0.25 to 1.5 apart).",
            float(np.median(changed)) < 0.05,
        ),
        Claim.judged(
            "Large enough, no neuron changes its pattern at all.",
            _LARGE_SECTION,
            f"With initial norms of {largest[0]:g} it is still {100 * float(largest[1]):.1f}% where signs are "
            "random: the output at first, and with it the way to go, grows as the weights do. Where each neuron has a "
            f"twin with the opposite sign, so that the output is 0 at first, it is {100 * float(largest[4]):.1f}%.",
            largest[1] == 0,
        ),
        Claim.judged(
            "From large weights the loss gets very small, but too slowly to be followed to the end.",
            _LARGE_SECTION,
            f"The loss is below 1e-12 after {spread(steps, 4)} steps, on {len(steps)} of {len(paths)} seeds, and "
            f"{max(float(path.last.loss) for path in paths):.1g} at most at the end. Four points are few; with more "
            "of them the slowest direction may take much longer.",
            len(steps) < len(paths) / 2,
        ),
        Claim.judged(
            "The best network is a single neuron; the fit from large weights is another function, with large "
            "variations between the points.",
            _LARGE_SECTION,
            f"The fit of least norm has {neurons.shape[1]} neuron{'s' * (neurons.shape[1] != 1)} and the norm "
            f"{norm:.4f}. Root mean square distance from it on [−1, 1]: {spread(wiggles)}, where the targets reach "
            f"{TARGETS.max():.2f}.",
            neurons.shape[1] == 1 and min(wiggles) > 0.1,
        ),
    ]


# Tiny weights


def _gathering_by_scale(seeds: Sequence[Sequence[int]], scales: Sequence[float]) -> Table:
    rows = []
    for scale in scales:
        found = []
        for seed in seeds:
            W, a = start(np.random.default_rng(seed), N_NEURONS, scale)
            path = follow(W, a, 1e-3, 2500, range(0, 2501, _EVERY))
            found.append((path.step_below(0.95), *_gathering(path)))
        rows.append((scale, *(float(value) for value in np.median(found, axis=0))))
    columns = (
        "initial norm",
        "steps to 95% of the loss",
        "gathered, of growing ones",
        "of those to the right",
        "share of all squared norms",
    )
    return Table("Neurons within 0.05 of the predicted activation point when the loss starts to fall", columns, rows)


def _gathering(path: Path) -> tuple[float, float, float]:
    """Return what share of growing neurons, of those to the right, and of squared norms has gathered before the fit."""
    point = path.nearest(path.step_below(0.95))
    there, grows, norms = gathered(point), growing(point), np.sum(point.W**2, axis=0)
    to_right = there.sum() / max((grows & (point.W[0] > 0)).sum(), 1)
    return float(there.sum() / grows.sum()), float(to_right), float(norms[there].sum() / norms.sum())


def _tiny_claims(paths: Sequence[Path], tinier: Table, large: Sequence[Path]) -> list[Claim]:
    begins, ends = ([path.step_below(share) for path in paths] for share in (0.95, 0.05))
    before = [path.nearest(step) for path, step in zip(paths, begins, strict=True)]
    aligned = [float(np.median(alignment(point))) for point in before]
    first = [float(np.median(alignment(path.first))) for path in paths]
    close = [float(np.mean(alignment(point) > 0.99)) for point in before]
    growing_share, right, norms = np.transpose([_gathering(path) for path in paths])
    used = [[n_patterns_used(point) for point in (path.first, path.last)] for path in paths]
    shares = [float(row[2]) for row in tinier.rows]
    wiggles, others = [_wiggle(path) for path in paths], [_wiggle(path) for path in large]
    return [
        Claim.judged(
            "From tiny weights the loss first stays where it is for half of the time, then falls at once.",
            f"{_TINY_SECTION}, last figure",
            f"It takes {spread(begins, 4)} steps to lose the first 5%, and {spread(np.subtract(ends, begins))} more to "
            "lose 90%.",
            bool(np.median(begins) > np.median(np.subtract(ends, begins))),
        ),
        Claim.judged(
            "Meanwhile directions change: neurons come to point along ± Σ y_j x_j over the points on which they are "
            "active.",
            f"{_TINY_SECTION}; the direction is derived, for an output that is next to nothing",
            f"When the loss has fallen by 5%, the median cosine with it over growing neurons (active, with a positive "
            f"output weight) is {spread(aligned, 4)}, from {spread(first)} at first; it is above 0.99 for "
            f"{spread(close, percent=True)} of them.",
            float(np.median(aligned)) > 0.99,
        ),
        Claim.judged(
            "Most neurons that are active to the right gather at one activation point (−1.3 in the source's figure).",
            _TINY_SECTION,
            f"Predicted is −Σy/Σyx = {predicted_point():.2f}; within 0.05 of it are {spread(right, percent=True)} of "
            "the growing neurons that are active to the right, before the loss has fallen by 5%.",
            float(np.median(right)) > 0.5,
        ),
        Claim.judged(
            "The smaller the weights, the more neurons have reached one of few directions before the fit begins.",
            _TINY_SECTION,
            f"From norms of {tinier.rows[0][0]:g} down to {tinier.rows[-1][0]:g} the share of growing neurons that "
            f"have gathered by then is {', '.join(f'{100 * share:.0f}%' for share in shares)}. From {TINY:g} it is "
            f"{spread(growing_share, percent=True)}, with all but {1 - np.median(norms):.1g} of the squared norms; "
            "the rest still turn, since points of small targets draw weakly.",
            shares == sorted(shares) and shares[-1] > 0.8,
        ),
        Claim.judged(
            "Patterns align: fewer are in use in the end.",
            _TINY_SECTION,
            f"Of the 8 patterns {spread([f for f, _ in used])} are in use at first and {spread([e for _, e in used])} "
            "in the end.",
            all(last < begin for begin, last in used),
        ),
        Claim.judged(
            "From tiny weights the fit is the simple function, from large ones it is not.",
            f"{_LARGE_SECTION}, remark on overfitting",
            f"Root mean square distance from the line on [−1, 1]: {spread(wiggles)} from tiny weights, "
            f"{spread(others)} from large ones.",
            max(wiggles) < min(others) / 10,
        ),
    ]


# What the flow keeps


def _drifts(seeds: Sequence[Sequence[int]]) -> Table:
    rows = []
    for scale, time, rates in ((TINY, 2.0, (4e-3, 2e-3, 1e-3)), (LARGE, 0.05, (2e-5, 1e-5, 5e-6))):
        found = []
        for seed in seeds:
            rng = np.random.default_rng(seed)
            W, a = start(rng, N_NEURONS, scale)
            a = a * rng.uniform(0.5, 2.0, N_NEURONS)  # so that ‖w‖² − a² is not zero at first
            found.append([invariant_drift(W, a, rate, time) for rate in rates])
        middle = np.median(found, axis=0)
        order = np.polyfit(np.log(rates), np.log(middle), 1)[0]
        rows += [(f"{scale:g}", rate, float(drift), float(order)) for rate, drift in zip(rates, middle, strict=True)]
    columns = ("initial norm", "rate", "largest change", "order in the rate")
    note = "Relative to the largest squared norm at the end, after a time of 2 from tiny weights, of 0.05 from large."
    return Table("Change of ‖w‖² − a² of a neuron", columns, rows, note)


def _invariant_claim(drifts: Table) -> Claim:
    orders = {str(row[0]): float(row[3]) for row in drifts.rows}
    least = {str(row[0]): float(row[2]) for row in drifts.rows}
    return Claim.judged(
        "Without a penalty ‖w‖² − a² of each neuron stays constant along the flow, so up to the step size in descent.",
        "derived: wᵀ ∂L/∂w = a ∂L/∂a",
        "With the smallest rates it changes by "
        + " and ".join(f"{value:.1g} (initial norm {name})" for name, value in least.items())
        + " of the largest squared norm; the change goes as the rate to the power "
        + " and ".join(f"{value:.2f}" for value in orders.values())
        + ".",
        all(0.8 < order < 1.3 for order in orders.values()),
    )
