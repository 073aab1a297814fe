"""Our solvers on planted networks: which find them, how long that takes, and what they need."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anmin import ReLURegressor
from anmin.lab.figures import PALETTE
from anmin.lab.planted import Planted, as_network, plant, relu_sum
from anmin.lab.studies import STUDIES
from anmin.lab.study import Claim, Study, Table, drawn
from anmin.lab.tensor_initialisation import tensor_initialisation
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows
from anmin.solvers import AltMin, Anmin, Problem, Solver, VarPro, solve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "planted"
_D = 10
_ALPHA = 1e-8  # of the solvers alone, so that nothing but rounding stands between them and the planted network
_TEST_ROWS = 4000


class Setting(NamedTuple):
    """A planted problem: neurons, rows, noise (deviation, in units of y) and whether all output weights are 1."""

    neurons: int = 4
    rows: int = 1000
    noise: float = 0.0
    equal: bool = False


class Outcome(NamedTuple):
    """The error against the noiseless network on new rows, as a share of its variance, and the processor seconds."""

    error: float
    seconds: float


Outcomes = Mapping[tuple[Setting, str], Sequence[Outcome]]


def run(quick: bool = False, seed: int = 0) -> Study:
    """Fit planted networks of ten inputs with each solver, over numbers of rows, of neurons, and noise.

    Parameters
    ----------
    quick : bool, default False
        Two seeds and up to four neurons.
    seed : int, default 0
    """
    seeds = range(seed, seed + (2 if quick else 5))
    base = Setting(2, 500) if quick else Setting()
    axes = {
        "rows": [base._replace(rows=n) for n in ((100, 500) if quick else (60, 100, 200, 400, 1000, 4000))],
        "neurons": [base._replace(neurons=k, rows=250 * k) for k in ((2, 4) if quick else (2, 4, 8))],
        "noise": [base._replace(noise=sigma) for sigma in ((0.0, 0.1) if quick else (0.0, 0.03, 0.1, 0.3))],
    }
    equal = base._replace(equal=True)
    settings = dict.fromkeys(setting for settings in axes.values() for setting in settings) | {equal: None}
    outcomes = {(setting, name): [outcome(name, setting, s) for s in seeds] for setting in settings for name in METHODS}
    return Study(
        NAME,
        STUDIES[NAME][1],
        f"y = Σ v_j relu(w_jᵀ x) + noise in d = {_D} inputs, w ~ N(0, I/d), v = ±1 at random, as many neurons "
        "fitted as "
        f"planted, {len(seeds)} seeds. Found means that the error on {_TEST_ROWS:,} new rows, against the network "
        "without "
        "its noise, is at most a millionth of the variance and three times σ²·P/N, what P known neurons' weights "
        "would "
        "cost by chance. Unless an axis says otherwise: "
        f"{base.neurons} neurons, {base.rows:,} rows, no noise.",
        _claims(outcomes, axes, base, equal, len(seeds)),
        [_table(axis, axes[axis], outcomes, len(seeds)) for axis in axes],
        [
            drawn(
                "success",
                "The default search finds planted networks where single solves do not",
                lambda figure: _draw(figure, axes, outcomes, _share, "share of seeds found"),
                (9.6, 4.4),
            ),
            drawn(
                "seconds",
                f"A search costs {_ratio(outcomes):.0f} times a single solve (median of the problems)",
                lambda figure: _draw(figure, axes, outcomes, _seconds, "processor seconds, median of seeds"),
                (9.6, 4.4),
            ),
        ],
        {"inputs": _D, "seeds": len(seeds), "first seed": seed, "penalty of the solvers alone": _ALPHA},
    )


def problem(setting: Setting, seed: int) -> tuple[Planted, NDArray]:
    """Return the planted rows of a setting, and inputs to test on, (4000, d)."""
    rng = np.random.default_rng([seed, setting.neurons, setting.rows])
    W = rng.standard_normal((_D, setting.neurons)) / np.sqrt(_D)
    v = np.ones(setting.neurons) if setting.equal else rng.choice([-1.0, 1.0], setting.neurons)
    return plant(W, setting.rows, rng, v=v, noise=setting.noise), rng.standard_normal((_TEST_ROWS, _D))


def outcome(name: str, setting: Setting, seed: int) -> Outcome:
    """Fit a planted problem by the method of this name; an error of infinity says that it cannot be tried."""
    planted, inputs = problem(setting, seed)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what ends a solve shows in its error
        network = METHODS[name](planted, seed)
    seconds = time.process_time() - start
    if network is None:
        return Outcome(np.inf, np.nan)
    target = relu_sum(inputs, planted.W, planted.v)
    return Outcome(float(np.mean((network.predict(inputs)[:, 0] - target) ** 2) / target.var()), seconds)


def allowed(setting: Setting, seed: int) -> float:
    """Return the error up to which a network counts as found, as a share of the variance."""
    planted, inputs = problem(setting, seed)
    n_weights = setting.neurons * (_D + 1)
    chance = setting.noise**2 * n_weights / setting.rows
    return 1e-6 + 3 * chance / float(relu_sum(inputs, planted.W, planted.v).var())


def _default(planted: Planted, seed: int) -> ReLUNetwork:
    model = ReLURegressor(planted.W.shape[1], random_state=seed)
    return model.fit(planted.X, planted.y).network_


def _alone(solver: Solver) -> Callable[[Planted, int], ReLUNetwork]:
    """Return the fit by one solve from the solver's own random start."""

    def fit(planted: Planted, seed: int) -> ReLUNetwork:
        rows = Problem(ArrayRows(planted.X, planted.y), planted.W.shape[1], _ALPHA)
        return solve(rows, solver, max_iter=300, tol=1e-10, rng=np.random.default_rng(seed)).network

    return fit


def _from_tensor(planted: Planted, seed: int) -> ReLUNetwork | None:
    k = planted.W.shape[1]
    if k > _D or len(planted.X) < 3 * (_D + 1) * (_D + 2):
        return None  # more neurons than inputs, or too few rows for three sets of moments
    W, v = tensor_initialisation(planted.X, planted.y, k, np.random.default_rng(seed))
    rows = Problem(ArrayRows(planted.X, planted.y), k, _ALPHA)
    return solve(rows, VarPro(), start=as_network(W, v), max_iter=300, tol=1e-10).network


#: The methods compared: each returns a network for planted rows and a seed, or None where it cannot be tried.
METHODS: dict[str, Callable[[Planted, int], ReLUNetwork | None]] = {
    "default": _default,
    "tensor, then varpro": _from_tensor,
    "varpro alone": _alone(VarPro()),
    "anmin alone": _alone(Anmin()),
    "altmin alone": _alone(AltMin()),
}
_DEFAULT, _TENSOR, _VARPRO, _ANMIN, _ALTMIN = METHODS


def _claims(
    outcomes: Outcomes, axes: Mapping[str, Sequence[Setting]], base: Setting, equal: Setting, n: int
) -> list[Claim]:
    single = (_VARPRO, _ANMIN, _ALTMIN)
    everywhere = {name: _mean_share(outcomes, name) for name in METHODS}
    rows = [s for s in axes["rows"] if _share(outcomes, s, _DEFAULT) == 1.0]
    noisy = axes["noise"][-1]
    excess = float(np.median([o.error / allowed(noisy, 0) * 3 for o in outcomes[noisy, _DEFAULT]]))
    tried = [s for (s, name), found in outcomes.items() if name == _TENSOR and np.isfinite(found[0].error)]
    quicker = [_seconds(outcomes, s, _TENSOR) / _seconds(outcomes, s, _DEFAULT) for s in tried]
    reached = float(np.mean([_share(outcomes, s, _TENSOR) for s in tried]))
    return [
        Claim.judged(
            "The default search finds planted networks that single solves from random starts miss.",
            "anmin.ReLURegressor",
            "Shares of all problems found: " + ", ".join(f"{name} {everywhere[name]:.0%}" for name in METHODS) + ".",
            everywhere[_DEFAULT] > max(everywhere[name] for name in single),
        ),
        Claim.judged(
            "Ten rows for each weight are enough for it.",
            "anmin.ReLURegressor",
            f"{base.neurons} neurons have {base.neurons * (_D + 1)} weights; all {n} seeds are found with "
            f"{', '.join(f'{s.rows:,}' for s in rows) or 'none of these numbers of'} rows.",
            bool(rows) and rows[0].rows <= 10 * base.neurons * (_D + 1),
        ),
        Claim.judged(
            "With noise it comes as near as chance allows.",
            "least squares: excess error σ²·P/N",
            f"At σ = {noisy.noise:g} the median excess error is {excess:.2f} times σ²·P/N.",
            excess < 3.0,
        ),
        Claim.judged(
            "A tensor start is enough for a single solve to find the network, and quicker than the search.",
            "Zhong et al.",
            f"Where it can be tried (no more neurons than inputs, {3 * (_D + 1) * (_D + 2)} rows or more), it is "
            "found in "
            f"{reached:.0%} of the runs, in {np.median(quicker):.2g} of the time of the default (median).",
            bool(reached >= 0.8 and np.median(quicker) < 1.0),
        ),
        Claim.judged(
            "Alternating minimisation is made for output weights that are all 1.",
            "Jagatap & Hegde, Algorithm 1",
            f"Found in {_share(outcomes, equal, _ALTMIN):.0%} of the seeds with v = 1 (default "
            f"{_share(outcomes, equal, _DEFAULT):.0%}, varpro alone {_share(outcomes, equal, _VARPRO):.0%}), in "
            f"{_share(outcomes, base, _ALTMIN):.0%} with mixed signs.",
            _compared(_share(outcomes, equal, _ALTMIN), _share(outcomes, base, _ALTMIN), n),
        ),
        Claim.judged(
            "From one random start, 300 of ANMIN's alternating solves find as many planted networks as variable "
            "projection.",
            "Barbu, Algorithm 1; anmin.solvers.VarPro",
            f"It finds {everywhere[_ANMIN]:.0%} of the problems (variable projection from such a start "
            f"{everywhere[_VARPRO]:.0%}, the default search {everywhere[_DEFAULT]:.0%}); at {base.neurons} neurons "
            "and "
            f"{base.rows:,} rows its median error is {np.median([o.error for o in outcomes[base, _ANMIN]]):.0e}.",
            everywhere[_ANMIN] >= everywhere[_VARPRO],
        ),
    ]


def _compared(at_equal: float, at_mixed: float, n_seeds: int) -> bool | None:
    return None if at_equal == at_mixed and n_seeds < 5 else at_equal > at_mixed


def _share(outcomes: Outcomes, setting: Setting, name: str) -> float:
    return float(np.mean([o.error <= allowed(setting, 0) for o in outcomes[setting, name]]))


def _seconds(outcomes: Outcomes, setting: Setting, name: str) -> float:
    return float(np.median([o.seconds for o in outcomes[setting, name]]))


def _ratio(outcomes: Outcomes) -> float:
    """Return the median over problems of the time of the default beside that of variable projection alone."""
    settings = {setting for setting, _ in outcomes}
    return float(np.median([_seconds(outcomes, s, _DEFAULT) / _seconds(outcomes, s, _VARPRO) for s in settings]))


def _mean_share(outcomes: Outcomes, name: str) -> float:
    return float(np.mean([_share(outcomes, setting, which) for setting, which in outcomes if which == name]))


def _value(axis: str, setting: Setting) -> float:
    return float(getattr(setting, axis))


def _table(axis: str, settings: Sequence[Setting], outcomes: Outcomes, n: int) -> Table:
    def cell(setting: Setting, name: str) -> str:
        if np.isnan(_seconds(outcomes, setting, name)):
            return "cannot be tried"
        error = float(np.median([o.error for o in outcomes[setting, name]]))
        return f"{_share(outcomes, setting, name):.0%}, {error:.0e}, {_seconds(outcomes, setting, name):.2g} s"

    note = "250 rows for each neuron." if axis == "neurons" else ""
    return Table(
        f"Over {axis}: share of {n} seeds found, median error (share of the variance), median processor seconds",
        (axis, *METHODS),
        [(_value(axis, s), *(cell(s, name) for name in METHODS)) for s in settings],
        note,
    )


def _draw(
    figure: Figure,
    axes: Mapping[str, Sequence[Setting]],
    outcomes: Outcomes,
    measure: Callable[[Outcomes, Setting, str], float],
    label: str,
) -> None:
    panels = figure.subplots(1, len(axes), sharey=True)
    names = {"rows": "rows", "neurons": "neurons (250 rows each)", "noise": "noise σ, in units of y"}
    for ax, (axis, settings) in zip(panels, axes.items(), strict=True):
        places = range(len(settings))
        for colour, marker, name in zip(PALETTE, "osD^v", METHODS, strict=False):
            values = [np.nan if np.isnan(_seconds(outcomes, s, name)) else measure(outcomes, s, name) for s in settings]
            ax.plot(places, values, marker + "-", ms=5, alpha=0.85, color=colour, label=name)
        ax.set_xticks(places, [f"{_value(axis, s):,g}" for s in settings])
        ax.set_xlabel(names[axis])
        if measure is _seconds:
            ax.set_yscale("log")
    panels[0].set_ylabel(label)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(METHODS))
