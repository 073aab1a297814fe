"""Accuracies of the convex program and of descents on digits and small pictures (Mercklé, Iutzeler & Redko)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anmin.lab.baselines import Recipe, import_torch, train
from anmin.lab.colours import AMBER, BLUE, GREEN, GREY, VERMILION
from anmin.lab.images import CIFAR, MNIST, Images, cifar, digits, is_there, mnist
from anmin.lab.race import drawn_gates
from anmin.lab.study import Cell, Claim, Picture, Study, Table, drawn
from anmin.rows import ArrayRows
from anmin.solvers.gated import solve_gated

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALPHA, TOL, BATCH = 1e-3, 1e-2, 100
_PAPER = "Mercklé, Iutzeler & Redko, The Hidden Convex Optimization Landscape, benchmark"
#: Test accuracies of the source, in percent.
PUBLISHED = {
    "MNIST": {"convex": 97.6, "Adam": 98.0, "SGD": 97.2, "Adagrad": 97.5},
    "CIFAR-10": {"convex": 56.4, "Adam": 50.1, "SGD": 54.3, "Adagrad": 54.2},
}
RATES: dict[Literal["adam", "sgd", "adagrad"], tuple[float, ...]] = {
    "adam": (0.003, 0.01, 0.03),
    "sgd": (0.3, 1.0, 3.0, 10.0),
    "adagrad": (0.03, 0.1, 0.3),
}
_NAMES = {"adam": "Adam", "sgd": "SGD", "adagrad": "Adagrad"}
_WIDE = "Adam, as many weights"
_COLOURS = {"convex": VERMILION, "Adam": BLUE, "SGD": GREY, "Adagrad": GREEN, _WIDE: AMBER}


class Size(NamedTuple):
    """Seeds, gates or neurons, principal components, epochs, and training rows of MNIST (0: digits alone)."""

    n_seeds: int
    n_neurons: int
    n_components: int
    epochs: int
    n_train: int


FULL, QUICK = Size(5, 20, 40, 40, 4000), Size(2, 12, 24, 15, 0)


@dataclass(frozen=True, eq=False)
class Scored:
    """Test accuracies in percent and seconds of each method on one set, one for each seed, and the rates chosen."""

    name: str
    rows: tuple[int, int]
    accuracies: dict[str, list[float]]
    seconds: dict[str, list[float]]
    rates: dict[str, float]

    def median(self, method: str) -> float:
        """Return the median accuracy of a method."""
        return float(np.median(self.accuracies[method]))


def accuracy(predict: Callable[[NDArray], NDArray], X: NDArray, labels: NDArray) -> float:
    """Return in percent how often the largest output is that of the class."""
    return 100 * float(np.mean(predict(X).argmax(axis=1) == labels))


def convex(images: Images, n_gates: int, seed: int) -> Callable[[NDArray], NDArray]:
    """Return the solution of the gated program for random gates, with targets of zeros and ones about their means."""
    Y = images.targets()
    mean = Y.mean(axis=0)
    rows = ArrayRows(images.X, Y - mean)
    solution = solve_gated(rows, drawn_gates(rows, n_gates, seed), ALPHA, tol=TOL)
    return lambda X: solution.predict(X) + mean


def descent(images: Images, n_neurons: int, recipe: Recipe, seed: int) -> Callable[[NDArray], NDArray]:
    """Return a network trained on the same targets, by the same loss and penalty."""
    Y = images.targets()
    mean = Y.mean(axis=0)
    network = train(images.X, Y - mean, n_neurons, recipe, seed, alpha=ALPHA).network
    return lambda X: network.predict(X) + mean


def best_rate(images: Images, n_neurons: int, kind: Literal["adam", "sgd", "adagrad"], epochs: int, seed: int) -> float:
    """Return the rate of highest accuracy on a fifth of the training rows, held out."""
    held = np.random.default_rng(seed).permutation(len(images.X)) < len(images.X) // 5
    part = Images(images.name, images.X[~held], images.X[held], images.labels[~held], images.labels[held])
    found = {
        rate: accuracy(descent(part, n_neurons, _recipe(kind, rate, epochs), seed), part.X_test, part.labels_test)
        for rate in RATES[kind]
    }
    return max(found, key=found.__getitem__)


def equal_width(n_gates: int, n_inputs: int, n_outputs: int) -> int:
    """Return the neurons of a network with as many weights as the gated program with so many gates."""
    return round(n_gates * (n_inputs + 1) * n_outputs / (n_inputs + 1 + n_outputs))


def scored(draw: Callable[[int], Images], size: Size, seed: int) -> Scored:
    """Run all methods for each seed; rates are chosen by the first."""
    accuracies: dict[str, list[float]] = {method: [] for method in _COLOURS}
    seconds: dict[str, list[float]] = {method: [] for method in _COLOURS}
    first = draw(seed)
    rates = {_NAMES[kind]: best_rate(first, size.n_neurons, kind, size.epochs, seed) for kind in RATES}
    for k in range(seed, seed + size.n_seeds):
        images = draw(k)
        wide = equal_width(size.n_neurons, images.X.shape[1], 10)
        methods: dict[str, Callable[[], Callable[[NDArray], NDArray]]] = {
            "convex": partial(convex, images, size.n_neurons, k),
            **{
                _NAMES[kind]: partial(
                    descent, images, size.n_neurons, _recipe(kind, rates[_NAMES[kind]], size.epochs), k
                )
                for kind in RATES
            },
            _WIDE: partial(descent, images, wide, _recipe("adam", rates["Adam"], size.epochs), k),
        }
        for method, fit in methods.items():
            started = time.perf_counter()
            predict = fit()
            seconds[method].append(time.perf_counter() - started)
            accuracies[method].append(accuracy(predict, images.X_test, images.labels_test))
    return Scored(first.name, (len(first.X), len(first.X_test)), accuracies, seconds, rates)


def run(quick: bool = False, seed: int = 0) -> Study:
    """Score the gated program and three descents on digits, and in the full run on MNIST and CIFAR-10 where present."""
    size = QUICK if quick else FULL
    import_torch()
    draws: list[Callable[[int], Images]] = [partial(digits, n_components=size.n_components)]
    if size.n_train and is_there(MNIST):
        draws.append(partial(mnist, n_components=size.n_components, n_train=size.n_train))
    if size.n_train and is_there(CIFAR):
        draws.append(partial(cifar, n_components=size.n_components))
    results = [scored(draw, size, seed) for draw in draws]
    sizes = "; ".join(f"{r.name} {r.rows[0]:,} rows to train and {r.rows[1]:,} to test" for r in results)
    return Study(
        "digits_convex",
        "Digits and pictures: the convex program and three descents",
        f"The gated program with {size.n_neurons} random gates, and networks of {size.n_neurons} neurons by Adam, SGD "
        f"and Adagrad, all on squared errors of targets of zeros and ones with the penalty {ALPHA:g}, inputs reduced "
        f"to {size.n_components} principal components. A gate holds a weight for each input and output, more than a "
        "neuron has; Adam is run once more with as many weights as the gates have. Scaled: the source has all of MNIST "
        f"and CIFAR-10, here are {sizes}.",
        [claim for result in results for claim in _claims(result)],
        [_table(results), _rates(results)],
        [_picture(results)],
        {
            "gates or neurons": size.n_neurons,
            "components": size.n_components,
            "alpha": ALPHA,
            "tolerance of the program": TOL,
            "epochs": size.epochs,
            "batch": BATCH,
            "seeds": size.n_seeds,
            "seed": seed,
        },
    )


def _recipe(kind: Literal["adam", "sgd", "adagrad"], rate: float, epochs: int) -> Recipe:
    return Recipe(kind, rate, epochs, BATCH, None)


def _claims(result: Scored) -> list[Claim]:
    at = "CIFAR-10" if result.name == "CIFAR-10" else "MNIST"
    published = PUBLISHED[at]
    rivals = [method for method in published if method != "convex"]
    better = [method for method in rivals if published["convex"] > published[method]]
    source = f"{_PAPER} ({', '.join(f'{method} {value}' for method, value in published.items())} %)"
    name = result.name if result.name == at else f"{result.name} in the place of {at}"
    told = "; ".join(f"{method} {_spread(result.accuracies[method])}" for method in published)
    wins = {method: _wins(result, method) for method in better}
    n_seeds = len(result.accuracies["convex"])
    most = max(result.median(method) for method in rivals)
    return [
        Claim.judged(
            f"On {at} the convex program has a higher accuracy than {_listed(better)}.",
            source,
            f"{name}, {result.rows[0]:,} rows to train: {told} % of {result.rows[1]:,} rows, median and range; higher "
            f"than {_listed([f'{method} in {count}' for method, count in wins.items()])} of {n_seeds} seeds. Judged: "
            "for or against where four of five seeds say the same.",
            _said_by_seeds(list(wins.values()), n_seeds),
        ),
        Claim.judged(
            f"On {at} the convex program is within a point of the best descent, or above it.",
            source,
            f"{name}: convex {result.median('convex'):.1f} %, the best of the three descents {most:.1f} %, Adam "
            f"with as many weights {result.median(_WIDE):.1f} %, medians of {n_seeds} seeds.",
            result.median("convex") >= most - 1.0,
        ),
    ]


def _wins(result: Scored, rival: str) -> int:
    pairs = zip(result.accuracies["convex"], result.accuracies[rival], strict=True)
    return sum(ours > theirs for ours, theirs in pairs)


def _said_by_seeds(wins: Sequence[int], n_seeds: int) -> bool | None:
    """Return whether all rivals are beaten in four of five seeds, or one of them is not in four of five, else None."""
    if min(wins) >= 0.8 * n_seeds:
        return True
    return False if min(wins) <= 0.2 * n_seeds else None


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _spread(values: Sequence[float]) -> str:
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    return f"{middle:.1f} ({low:.1f}–{high:.1f})"


def _table(results: Sequence[Scored]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            f"{result.name}, {method}",
            _spread(result.accuracies[method]),
            PUBLISHED.get(result.name, {}).get(method, "–"),
            float(np.median(result.seconds[method])),
        )
        for result in results
        for method in _COLOURS
    ]
    return Table(
        "Test accuracy",
        ("set and method", "accuracy in %, median and range", "source, in %", "seconds, median"),
        rows,
        "Seconds are those of the last fit alone; the rates of the descents took as long for each that was tried. The "
        "figures of the source are of other sizes.",
    )


def _rates(results: Sequence[Scored]) -> Table:
    rows: list[tuple[Cell, ...]] = [(result.name, *result.rates.values()) for result in results]
    return Table("Rates chosen on held-out rows", ("set", *results[0].rates), rows)


def _picture(results: Sequence[Scored]) -> Picture:
    gains = ", ".join(f"{result.name} {result.median('convex') - _best(result):+.1f}" for result in results)
    title = f"Convex program above the best descent of as many neurons, in points of accuracy: {gains}"
    return drawn("accuracy", title, partial(_draw, results=results), (max(6.5, 3.4 * len(results)), 4.2))


def _best(result: Scored) -> float:
    return max(result.median(method) for method in ("Adam", "SGD", "Adagrad"))


def _draw(figure: Figure, results: Sequence[Scored]) -> None:
    axes = figure.subplots(1, len(results), squeeze=False)[0]
    for ax, result in zip(axes, results, strict=True):
        for k, (method, colour) in enumerate(_COLOURS.items()):
            values = result.accuracies[method]
            ax.plot(np.full(len(values), k), values, "o", color=colour, markersize=4, alpha=0.5)
            ax.plot(k, np.median(values), "_", color=colour, markersize=24, markeredgewidth=2.5, label=method)
        ax.set(title=f"{result.name}, {result.rows[0]:,} rows to train", xticks=[], xlim=(-0.7, len(_COLOURS) - 0.3))
    axes[0].set_ylabel("test accuracy, %")
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3 if len(results) == 1 else 5,
        fontsize=9,
    )
