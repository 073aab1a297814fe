"""Test errors over the width of two-layer networks, by solvers that leave the optimiser no blame, and by descent."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from anmin.estimators import ReLURegressor
from anmin.lab.colours import AMBER, BLUE, GREEN, PURPLE, VERMILION
from anmin.lab.double_descent import SOURCE
from anmin.lab.study import Claim, Study, Table, drawn, spread
from anmin.lab.width_descent import descended_widths
from anmin.network import ReLUNetwork

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_N, _D, _NOISE, _TEACHER, _TEST = 60, 4, 0.3, 3, 1000
_WIDTHS = (1, 2, 4, 6, 8, 9, 10, 12, 14, 17, 20, 28, 40, 50, 60, 75, 100, 150)
_QUICK = (1, 4, 10, 14, 60, 150)
_ALPHAS: dict[str, float | Literal["auto"]] = {"alpha=1e-8": 1e-8, "alpha=1e-3": 1e-3, 'alpha="auto"': "auto"}
_DESCENT = {"Adam, from scratch": False, "Adam, weights reused": True}
_FITTED = 1e-3  # training error, in units of the noise's variance, that counts as interpolation
_ITERATIONS = 300
_COLOURS = dict(zip((*_ALPHAS, *_DESCENT), (VERMILION, AMBER, BLUE, GREEN, PURPLE), strict=True))


@dataclass(frozen=True)
class _Problem:
    """Rows to train on with their noise, and rows to test on without, in units of the teacher's deviation."""

    X: NDArray
    y: NDArray
    X_test: NDArray
    y_test: NDArray


@dataclass(frozen=True)
class _Curve:
    """Errors of each seed (rows) at each width (columns)."""

    train: NDArray
    test: NDArray

    @property
    def median(self) -> NDArray:
        return np.median(self.test, axis=0)


def run(quick: bool = False, seed: int = 0) -> Study:
    """Return the study: widths across the thresholds, with penalties and with descent."""
    widths, n_seeds, n_steps = (_QUICK, 2, 400) if quick else (_WIDTHS, 5, 3000)
    problems = [_problem(np.random.default_rng([seed, k])) for k in range(n_seeds)]
    curves = {name: _solved(problems, widths, alpha) for name, alpha in _ALPHAS.items()}
    curves |= {name: _descended(problems, widths, n_steps, reuse, seed) for name, reuse in _DESCENT.items()}
    tables = [
        Table(
            f"{kind} error, median of {n_seeds} seeds",
            ("neurons", "parameters", *curves),
            [
                (h, _parameters(h), *(float(np.median(getattr(curve, kind), axis=0)[k]) for curve in curves.values()))
                for k, h in enumerate(widths)
            ],
            "Squared, in units of the variance of the teacher; of tests without noise.",
        )
        for kind in ("test", "train")
    ]
    return Study(
        "width",
        "Width across the interpolation threshold, without an optimiser to blame",
        f"{_N} rows of {_D} normal inputs from a teacher of {_TEACHER} neurons with noise of {_NOISE:g} of its "
        f"deviation, {n_seeds} seeds; networks of 1 to {widths[-1]} neurons. Solved: this package's default solver "
        f"with its search, at most {_ITERATIONS} iterations. Descent: Adam on all rows, {n_steps:,} steps a width. "
        "Scaled from 4,000 digits of MNIST and 40,000 weights.",
        _claims(curves, widths),
        tables,
        [drawn("width", _picture_title(curves, widths), lambda f: _draw(f, curves, widths), (9.0, 4.4))],
        {"rows": _N, "inputs": _D, "noise": _NOISE, "seeds": n_seeds, "steps of Adam": n_steps, "rate": 0.01,
         "iterations": _ITERATIONS, "seed": seed},
    )  # fmt: skip


def _parameters(h: int) -> int:
    return (_D + 1) * h + h + 1


def _problem(rng: np.random.Generator) -> _Problem:
    A, b = rng.standard_normal((_D + 1, _TEACHER)), rng.standard_normal(_TEACHER)
    X = rng.standard_normal((_N + _TEST, _D))
    clean = np.maximum(np.c_[np.ones(len(X)), X] @ A, 0) @ b
    clean = (clean - clean[_N:].mean()) / clean[_N:].std()
    return _Problem(X[:_N], clean[:_N] + _NOISE * rng.standard_normal(_N), X[_N:], clean[_N:])


def _solved(problems: Sequence[_Problem], widths: Sequence[int], alpha: float | Literal["auto"]) -> _Curve:
    def fitted(problem: _Problem, h: int, k: int) -> tuple[float, float]:
        model = ReLURegressor(h, alpha=alpha, max_iter=_ITERATIONS, random_state=k)
        with warnings.catch_warnings():
            # The iterations end many of these fits; the summary says so.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(problem.X, problem.y)
        return _errors(model.predict(problem.X), model.predict(problem.X_test), problem)

    found = np.array([[fitted(problem, h, k) for h in widths] for k, problem in enumerate(problems)])
    return _Curve(found[..., 0], found[..., 1])


def _descended(problems: Sequence[_Problem], widths: Sequence[int], n_steps: int, reuse: bool, seed: int) -> _Curve:
    X, y = np.array([problem.X for problem in problems]), np.array([problem.y for problem in problems])
    networks = descended_widths(X, y, widths, n_steps=n_steps, rate=0.01, reuse=reuse, seed=seed)

    def judged(network: ReLUNetwork, problem: _Problem) -> tuple[float, float]:
        return _errors(network.predict(problem.X)[:, 0], network.predict(problem.X_test)[:, 0], problem)

    found = np.array([list(map(judged, nets, problems)) for nets in networks.values()])
    return _Curve(found[..., 0].T, found[..., 1].T)


def _errors(train: NDArray, test: NDArray, problem: _Problem) -> tuple[float, float]:
    return float(np.mean((train - problem.y) ** 2)), float(np.mean((test - problem.y_test) ** 2))


def _threshold(curve: _Curve, widths: Sequence[int]) -> int | None:
    """Return the least width at which the median fit interpolates, or None."""
    fits = np.flatnonzero(np.median(curve.train, axis=0) <= _FITTED * _NOISE**2)
    return widths[int(fits[0])] if len(fits) else None


def _roughness(curve: _Curve, columns: Sequence[int]) -> float:
    """Return the mean change of the log error from one of these widths to the next; nan if there is one alone."""
    changes = np.abs(np.diff(np.log(curve.test[:, columns]), axis=1)) if columns else np.empty(0)
    return float(changes.mean()) if changes.size else np.nan


def _named(width: int | None) -> str:
    return "no width" if width is None else f"{width} neurons"


def _exceeds(curve: _Curve, at: int, other: int) -> bool:
    """Return whether errors at one width exceed those at another by a standard error of logarithms and by a tenth."""
    differences = np.log(curve.test[:, at]) - np.log(curve.test[:, other])
    least = max(np.log(1.1), differences.std(ddof=1) / np.sqrt(len(differences)))  # a plateau is no peak
    return bool(differences.mean() > least)


def _peaked(curve: _Curve, widths: Sequence[int]) -> tuple[int, bool]:
    """Return the width of the largest median error after the best narrow one, and whether it exceeds both sides."""
    best = int(np.argmin(curve.median[: len(widths) // 2]))
    peak = best + int(np.argmax(curve.median[best:]))
    return widths[peak], peak < len(widths) - 1 and _exceeds(curve, peak, best) and _exceeds(curve, peak, -1)


def _picture_title(curves: Mapping[str, _Curve], widths: Sequence[int]) -> str:
    small, auto = (_peaked(curves[name], widths)[1] for name in ("alpha=1e-8", 'alpha="auto"'))
    peak = "A peak with next to no penalty" if small else "No peak with next to no penalty"
    return f"{peak}, {'and one' if auto else 'none'} with a penalty chosen from the data"


def _claims(curves: Mapping[str, _Curve], widths: Sequence[int]) -> list[Claim]:
    free, chosen = curves["alpha=1e-8"], curves['alpha="auto"']
    peak, there = _peaked(free, widths)
    at, threshold = widths.index(peak), _threshold(free, widths)
    auto_peak, auto_there = _peaked(chosen, widths)
    ratio = float(chosen.median.max() / chosen.median[1:].min())
    least = int(np.argmin(free.median))
    scratch, reused = (curves[name] for name in _DESCENT)
    scratch_peak, scratch_there = _peaked(scratch, widths)
    reused_peak, reused_there = _peaked(reused, widths)
    around = [k for k, h in enumerate(widths) if threshold is not None and threshold / 2 <= h <= 2 * threshold]
    rough = [_roughness(curve, around) for curve in (scratch, reused)]
    counted = (_N - 1) / (_D + 2)
    return [
        Claim.judged(
            "The training error first reaches 0 where there are about as many parameters as targets.",
            f"{SOURCE}, fully connected networks, Figure 9",
            f"Parameters are as many as the {_N} targets at {counted:.1f} neurons; the solver, with next to no "
            f"penalty, first interpolates (median of seeds) at {_named(threshold)}; Adam at "
            f"{_named(_threshold(scratch, widths))} from scratch and {_named(_threshold(reused, widths))} with weights "
            "reused.",
            None if threshold is None else counted / 2 <= threshold <= 2 * counted,
        ),
        Claim.judged(
            "The test error has a peak inside the range of widths, higher than both sides, whoever optimises: it "
            "belongs to the model.",
            f"{SOURCE}, fully connected networks; with exact solvers: not in the source",
            f"With alpha = 1e-8 the median error falls to {free.median[:at].min():.3g}, peaks at {peak} neurons "
            f"({_parameters(peak)} parameters) with {spread(free.test[:, at])}, and is {spread(free.test[:, -1])} at "
            f"{widths[-1]}.",
            there,
        ),
        Claim.judged(
            "That peak lies at the interpolation threshold, within a factor of 2.",
            f"{SOURCE}, fully connected networks",
            f"It lies at {peak} neurons; interpolation begins at {_named(threshold)}, and the output layer "
            f"alone interpolates from {_N - 1} neurons on.",
            None if threshold is None or not there else threshold / 2 <= peak <= 2 * threshold,
        ),
        Claim.judged(
            "Beyond the threshold a network gets better than the best one before it.",
            f"{SOURCE}, the modern regime",
            f"With alpha = 1e-8 the least median error is {free.median[least]:.3g} at {widths[least]} neurons, and "
            f"{free.median[-1]:.3g} at {widths[-1]}.",
            threshold is not None and widths[least] > threshold,
        ),
        Claim.judged(
            "A penalty that is chosen from the data tames the peak: the worst width stays below a fifth of it.",
            "not in the source; a question of this project",
            f'With alpha="auto" the median error is at most {chosen.median[1:].max():.3g} from {widths[1]} neurons on, '
            f"with alpha = 1e-8 up to {free.median.max():.3g}, with alpha = 1e-3 up to "
            f"{curves['alpha=1e-3'].median[1:].max():.3g}.",
            bool(chosen.median[1:].max() < free.median.max() / 5),
        ),
        Claim.judged(
            "It takes the peak away altogether: no width between exceeds both sides by more than a standard error.",
            "not in the source; a question of this project",
            f'With alpha="auto" the largest median error is at {auto_peak} neurons, {ratio:.2f} times the least one; '
            f"{chosen.median[-1]:.3g} at {widths[-1]}.",
            not auto_there,
        ),
        Claim.judged(
            "Gradient descent from scratch shows the peak too.",
            f"{SOURCE}, fully connected networks, without weight reuse",
            f"Largest median error at {scratch_peak} neurons, {scratch.median[widths.index(scratch_peak)]:.3g}; "
            f"{scratch.median[-1]:.3g} at {widths[-1]}.",
            scratch_there,
        ),
        Claim.judged(
            "With weights reused from narrower networks the peak is there, and the curve smoother.",
            f"{SOURCE}, fully connected networks, with weight reuse",
            f"Largest median error at {reused_peak} neurons, {reused.median[widths.index(reused_peak)]:.3g}; "
            f"{reused.median[-1]:.3g} at {widths[-1]}. Mean change of log error from one width to the next around the "
            f"threshold: {rough[1]:.2f} reused, {rough[0]:.2f} from scratch.",
            reused_there and rough[1] < rough[0] if len(around) > 1 else None,
        ),
    ]


def _draw(figure: Figure, curves: Mapping[str, _Curve], widths: Sequence[int]) -> None:
    axes = figure.subplots(1, 2, sharex=True)
    for ax, kind in zip(axes, ("test", "train"), strict=True):
        for name, curve in curves.items():
            values = getattr(curve, kind)
            middle = np.maximum(np.median(values, axis=0), 1e-6)
            ax.plot(widths, middle, "o-", color=_COLOURS[name], label=name, markersize=3.5)
            if kind == "test":
                ax.fill_between(widths, values.min(axis=0), values.max(axis=0), color=_COLOURS[name], alpha=0.08)
        for where, text in (((_N - 1) / (_D + 2), "parameters = rows"), (_N, "neurons = rows")):
            ax.axvline(where, color="#555555", linewidth=0.8, linestyle=":")
            ax.annotate(
                text, (where, 0.99), xycoords=("data", "axes fraction"), rotation=90, ha="right", va="top", fontsize=8
            )
        ax.set(xscale="log", yscale="log", xlabel="neurons", ylabel=f"{kind} error (squared)")
    axes[1].set_ylabel("train error (squared; at least 1e-6)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
