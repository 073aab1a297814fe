"""Study ``momentum``: nine methods on Iris, each at every rate of a published grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from anmin.lab.colours import AMBER, BLUE, GREEN, PURPLE, SKY, VERMILION
from anmin.lab.iris import BATCH, EVERY, TRAIN, Descent, descent_on_iris
from anmin.lab.momentum import (
    Rule,
    adagrad,
    adam,
    demon,
    momentum,
    nadam,
    nesterov,
    quasi_hyperbolic,
    rmsprop,
    sgd,
)
from anmin.lab.momentum_formulas import formula_claims
from anmin.lab.study import Cell, Claim, Picture, Study, Table, drawn

_GOOD = 0.9  # training accuracy that all but AdaGrad should reach
_WINS = 0.7  # of seeds, from which on an order counts as seen; from 1 − this down as the other order
_SGD, _SGDM, _NAG, _ADAGRAD, _RMSPROP, _ADAM, _NADAM = "SGD", "SGDM", "NAG", "AdaGrad", "RMSProp", "Adam", "NAdam"
_ADAPTIVE = (_ADAGRAD, _RMSPROP, _ADAM, _NADAM)
_WHERE = '[004] "The Use of Momentum", Iris'
_COLOURS = {
    _SGD: "#000000",
    _SGDM: BLUE,
    _NAG: SKY,
    "QHM": GREEN,
    "DEMON": PURPLE,
    _ADAGRAD: "#000000",
    _RMSPROP: VERMILION,
    _ADAM: AMBER,
    _NADAM: BLUE,
}


def rules(n_steps: int) -> dict[str, Rule]:
    """Return the methods with the usual coefficients: β = 0.9, β₂ = 0.999 (RMSProp 0.99), ν = 0.7, ε = 1e-8."""
    listed = (
        sgd(),
        momentum(),
        nesterov(),
        quasi_hyperbolic(),
        demon(n_steps=n_steps),
        adagrad(1e-8),
        rmsprop(epsilon=1e-8),
        adam(epsilon=1e-8),
        nadam(epsilon=1e-8),
    )
    return {rule.name: rule for rule in listed}


def run(quick: bool = False, seed: int = 0) -> Study:
    """Train on Iris by every method, rate and seed, and judge what the source says of their order."""
    if quick:
        return _study(3, (1e-3, 1e-2, 3e-2, 1e-1), 200, seed)
    return _study(10, (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0), 600, seed)


def _study(n_seeds: int, rates: Sequence[float], n_steps: int, seed: int) -> Study:
    runs = {
        name: {rate: [descent_on_iris(rule, rate, n_steps, seed + k) for k in range(n_seeds)] for rate in rates}
        for name, rule in rules(n_steps).items()
    }
    best = {name: min(rates, key=lambda rate: _median(r.final for r in runs[name][rate])) for name in runs}
    at_best = {name: runs[name][best[name]] for name in runs}
    return Study(
        "momentum",
        "Momentum methods on Iris",
        f"An MLP 4-200-80-3 on the first {TRAIN} rows of Iris, shuffled, by batches of {BATCH}: {len(runs)} methods "
        f"as instances of one iteration, each from the same starts and with the same batches, at {len(rates)} rates "
        f"and {n_seeds} seeds, {n_steps} steps. The source gives neither rates nor steps; here every method has the "
        "rate of least median training loss at the end. DEMON is undamped, as its authors have it: its first steps are "
        "ten times as long at a rate. Seconds are of one processor.",
        [*_orders(at_best, runs), _smoother(runs, best), _gate(at_best), *formula_claims()],
        [_summary(at_best, best), _grid(runs, rates)],
        _pictures(runs, at_best, best, rates),
        {
            "seeds": n_seeds,
            "first seed": seed,
            "steps": n_steps,
            "batch": BATCH,
            "rates": ", ".join(f"{rate:g}" for rate in rates),
        },
    )


def _orders(
    at_best: Mapping[str, Sequence[Descent]], runs: Mapping[str, Mapping[float, Sequence[Descent]]]
) -> list[Claim]:
    """Return the claims of which method ends lower than which, by pairs of runs from the same start."""
    worst_at = [
        rate
        for rate in runs[_ADAGRAD]
        if max(_ADAPTIVE, key=lambda name: _median(r.final for r in runs[name][rate])) == _ADAGRAD
    ]
    extra = (
        f" With one rate for all it is the worst of the adaptive ones at {len(worst_at)} of {len(runs[_ADAGRAD])} rates"
        + (f": {', '.join(f'{rate:g}' for rate in worst_at)}." if worst_at else ".")
    )
    others = [name for name in (_SGD, _SGDM, _NAG, *_ADAPTIVE) if name != _ADAGRAD]
    asked = [
        ("SGD is the best of the methods without adaptive rates.", (_SGD,), (_SGDM, _NAG), ""),
        ("AdaGrad is the worst of the seven.", others, (_ADAGRAD,), extra),
        ("Adam and RMSProp are the best of the adaptive methods.", (_ADAM, _RMSPROP), (_ADAGRAD, _NADAM), ""),
    ]
    return [
        Claim.judged(claim, _WHERE, _lows(at_best, {*better, *worse}) + _shares(at_best, better, worse)[0] + end, holds)
        for claim, better, worse, end in asked
        for holds in [_shares(at_best, better, worse)[1]]
    ]


def _shares(
    at_best: Mapping[str, Sequence[Descent]], better: Sequence[str], worse: Sequence[str]
) -> tuple[str, bool | None]:
    """Return how often each of some methods ended lower than each of others, and whether that is an order."""
    wins = {
        (a, b): sum(x.final < y.final for x, y in zip(at_best[a], at_best[b], strict=True)) / len(at_best[a])
        for a in better
        for b in worse
    }
    text = " Lower, in part of the seeds: " + ", ".join(f"{a} than {b} {share:.0%}" for (a, b), share in wins.items())
    return text + ".", _order(wins.values())


def _order(shares: Iterable[float]) -> bool | None:
    """Return whether all of these shares of wins are high, None if they are neither that nor is any low."""
    shares = list(shares)
    return True if min(shares) >= _WINS else False if min(shares) <= 1 - _WINS else None


def _lows(at_best: Mapping[str, Sequence[Descent]], names: Iterable[str]) -> str:
    """Return the median loss of methods at the end, with its range, as a sentence."""
    finals = {name: [r.final for r in at_best[name]] for name in names}
    listed = sorted((_median(values), min(values), max(values), name) for name, values in finals.items())
    return (
        "Loss at the end, each at its best rate, median (least to most): "
        + ", ".join(f"{name} {middle:.3f} ({least:.3f} to {most:.3f})" for middle, least, most, name in listed)
        + "."
    )


def _smoother(runs: Mapping[str, Mapping[float, Sequence[Descent]]], best: Mapping[str, float]) -> Claim:
    rate = best[_SGD]
    measured = {name: [r.roughness for r in runs[name][rate]] for name in (_SGD, _SGDM, _NAG)}
    own = {name: _median(r.roughness for r in runs[name][best[name]]) for name in measured}
    wins = [float(np.mean(np.less(measured[name], measured[_SGD]))) for name in (_SGDM, _NAG)]
    return Claim.judged(
        "The losses of SGDM and NAG are smoother than those of SGD.",
        _WHERE,
        f"Length of the way of log loss over its fall (1: it only fell), median at the best rate of SGD, {rate:g}: "
        + ", ".join(f"{name} {_median(values):.2f}" for name, values in measured.items())
        + f"; SGDM is smoother in {wins[0]:.0%} of the seeds, NAG in {wins[1]:.0%}. At the best rate of each: "
        + ", ".join(f"{name} {value:.2f}" for name, value in own.items())
        + ".",
        _order(wins),
    )


def _gate(at_best: Mapping[str, Sequence[Descent]]) -> Claim:
    reached = {name: _median(r.train for r in rows) for name, rows in at_best.items()}
    others = {name: value for name, value in reached.items() if name != _ADAGRAD}
    least = min(others, key=lambda name: others[name])
    return Claim.judged(
        f"All methods but AdaGrad reach {_GOOD:.0%} of the training rows.",
        "target of this project",
        f"Median accuracy in training at the best rate: least {others[least]:.1%} ({least}), AdaGrad "
        f"{reached[_ADAGRAD]:.1%}.",
        others[least] >= _GOOD,
    )


def _summary(at_best: Mapping[str, Sequence[Descent]], best: Mapping[str, float]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, of in at_best.items():
        finals = [r.final for r in of]
        micro = _median(1e6 * r.seconds[-1] / (EVERY * (len(r.losses) - 1)) for r in of)
        test = _median(r.test for r in of)
        rows.append(
            (name, best[name], _median(finals), min(finals), max(finals), _median(r.train for r in of), test, micro)
        )
    columns = ("method", "best rate", "loss, median", "least", "most", "train accuracy", "test accuracy", "µs a step")
    return Table("Each method at its best rate", columns, rows, "The loss is that of all training rows, in nats.")


def _grid(runs: Mapping[str, Mapping[float, Sequence[Descent]]], rates: Sequence[float]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (name, *(_median(r.final for r in of[rate]) for rate in rates)) for name, of in runs.items()
    ]
    columns = ("method", *(f"α = {rate:g}" for rate in rates))
    return Table("Median training loss at the end, at every rate", columns, rows, "inf: the descent diverged.")


def _median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


def _pictures(
    runs: Mapping[str, Mapping[float, Sequence[Descent]]],
    at_best: Mapping[str, Sequence[Descent]],
    best: Mapping[str, float],
    rates: Sequence[float],
) -> list[Picture]:
    ends = {name: _median(r.final for r in of) for name, of in at_best.items()}
    first, last = min(ends, key=lambda name: ends[name]), max(ends, key=lambda name: ends[name])
    costs = {name: _median(r.seconds[-1] for r in of) for name, of in at_best.items()}
    cheap, dear = min(costs, key=lambda name: costs[name]), max(costs, key=lambda name: costs[name])
    near = {
        name: sum(_median(r.final for r in of[rate]) <= 2 * ends[name] for rate in rates) for name, of in runs.items()
    }

    def steps(figure: Any) -> None:
        _curves(figure, at_best, best, lambda r: EVERY * np.arange(len(r.losses)), "steps")

    def seconds(figure: Any) -> None:
        _curves(figure, at_best, best, lambda r: r.seconds, "seconds of one processor")

    def grid(figure: Any) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        for name, of in runs.items():
            values = [_median(r.final for r in of[rate]) for rate in rates]
            axis = right if name in _ADAPTIVE else left
            axis.plot(rates, values, "o-", markersize=4, label=name, color=_COLOURS[name])
        for axis in (left, right):
            axis.set(xscale="log", yscale="log", xlabel="rate α", ylim=(None, 3))
            axis.legend()
        left.set(ylabel="training loss at the end", title="without adaptive rates")
        right.set(title="with adaptive rates")

    return [
        drawn(
            "steps",
            f"At its best rate each, {first} ends lowest ({ends[first]:.3f}), {last} highest ({ends[last]:.3f})",
            steps,
            (9.0, 4.4),
        ),
        drawn(
            "seconds",
            f"A step of {dear} costs {costs[dear] / costs[cheap]:.1f} times one of {cheap}: the order in seconds",
            seconds,
            (9.0, 4.4),
        ),
        drawn(
            "rates",
            f"{min(near.values())} to {max(near.values())} of {len(rates)} rates end within 2× a method's least loss",
            grid,
            (9.0, 4.4),
        ),
    ]


def _curves(
    figure: Any, at_best: Mapping[str, Sequence[Descent]], best: Mapping[str, float], along: Any, unit: str
) -> None:
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    for name, of in at_best.items():
        losses = np.array([r.losses for r in of])
        x = np.median([along(r) for r in of], axis=0)
        axis, colour = (right if name in _ADAPTIVE else left), _COLOURS[name]
        axis.plot(x, np.median(losses, axis=0), label=f"{name}, α = {best[name]:g}", color=colour)
        axis.fill_between(x, *np.quantile(losses, [0.25, 0.75], axis=0), color=colour, alpha=0.12, linewidth=0)
    for axis, title in ((left, "without adaptive rates"), (right, "with adaptive rates")):
        axis.set(yscale="log", xlabel=unit, title=title)
        axis.legend()
    left.set_ylabel("training loss (median, quartiles)")
