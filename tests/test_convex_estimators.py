"""ConvexReLURegressor and GatedReLURegressor: scikit-learn estimators whose fits are global minima for their gates."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_linnerud
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import anmin.convex_forms
from anmin import ConvexReLURegressor, GatedReLURegressor, ReLUNetwork, export, inspection
from anmin.convex_forms import GatedForm
from anmin.cross_validation import Part
from anmin.gated_network import GatedNetwork
from anmin.held_out import held_out_path
from anmin.history import Status
from anmin.influence import influence
from anmin.inspection import write_model_report, write_report
from anmin.objective import penalty
from anmin.rows import ArrayRows
from anmin.solvers.gated import solve_gated

BOTH = pytest.mark.parametrize("kind", [GatedReLURegressor, ConvexReLURegressor])
Kind = type[GatedReLURegressor] | type[ConvexReLURegressor]
Data = tuple[np.ndarray, np.ndarray]


@parametrize_with_checks(
    [
        GatedReLURegressor(16, alpha=0.1),
        ConvexReLURegressor(8, alpha=0.1),
        GatedReLURegressor(8, validation_fraction=0.3, norm="outputs"),
    ],
    expected_failed_checks=lambda estimator: (
        {}
        if estimator.validation_fraction is None
        else {
            "check_sample_weight_equivalence_on_dense_data": "rows are held out one by one; to repeat is not to weight"
        }
    ),
)
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        # The checks set max_iter; that it was reached is not what they are about.
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


@pytest.fixture(scope="module")
def diabetes() -> Data:
    return load_diabetes(return_X_y=True)


def planted(n: int = 60, c: int = 1, seed: int = 0) -> Data:
    """Return two inputs, of which a gated model of few neurons is right."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 2)) * [1.0, 30.0] + [0.0, 100.0]
    Y = np.abs(X[:, :1]) + rng.standard_normal((1, c)) * X[:, 1:] / 30 + 0.1 * rng.standard_normal((n, c))
    return X, Y[:, 0] if c == 1 else Y


def loss_of(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    """Return the loss from its definition, in the coordinates solved in."""
    network, rows = model.scaling_.unfold(model.network_), model.scaling_.apply(ArrayRows(X, y))
    squares = np.sum((network.predict(rows.X) - rows.Y) ** 2, axis=1)
    return float(squares.mean() + model.alpha_ * penalty(network.A, network.B, network.b0))


@BOTH
@pytest.mark.parametrize("alpha", [0.1, 0.01])
@pytest.mark.parametrize("outputs", [1, 2])
def test_the_loss_is_that_of_the_network_and_of_no_network_with_these_gates_less(
    kind: Kind, alpha: float, outputs: int
) -> None:
    X, Y = planted(c=outputs)
    model = kind(12, alpha=alpha, random_state=0).fit(X, Y)
    assert model.status_ is Status.CONVERGED
    assert model.loss_ == pytest.approx(loss_of(model, X, Y), rel=1e-9)
    assert model.loss_ * (1 - 1e-4) <= model.bound_ <= model.loss_ * (1 + 1e-12)
    assert model.gap_ == pytest.approx((model.loss_ - model.bound_) / model.loss_)
    assert model.residual_ <= model.tol
    assert model.n_neurons_ == model.network_.n_neurons > 0
    assert model.predict(X).shape == Y.shape


def test_neurons_are_those_of_the_gates_given(diabetes: Data) -> None:
    X, y = diabetes
    gated = GatedReLURegressor(40, alpha=0.05, random_state=0).fit(X, y)
    assert isinstance(gated.network_, GatedNetwork)
    assert {g.tobytes() for g in gated.network_.gates.T} <= {g.tobytes() for g in gated.gates_.T}
    relu = ConvexReLURegressor(40, alpha=0.05, random_state=0).fit(X, y)
    assert isinstance(relu.network_, ReLUNetwork)
    np.testing.assert_array_equal(relu.gates_, gated.gates_)
    Xt = np.column_stack([np.ones(len(X)), X])
    signs = np.where(Xt @ relu.gates_ > 0, 1.0, -1.0)
    for a in relu.network_.A.T:  # it may be on the boundary of its cell
        heights = (Xt @ a) / np.abs(Xt @ a).max()
        assert ((signs * heights[:, None]).min(axis=0) >= -1e-8).any()
    assert relu.violation_ < 1e-8
    assert gated.loss_ < relu.loss_  # it has no cones to keep to


def test_a_network_with_all_patterns_is_the_best_of_any_width() -> None:
    X, y = planted(15)
    alpha = 0.02
    best = ConvexReLURegressor(gates="all", alpha=alpha).fit(X, y)
    assert best.gap_ < 1e-5
    for seed in range(3):
        sampled = ConvexReLURegressor(20, alpha=alpha, random_state=seed).fit(X, y)
        descended = anmin.ReLURegressor(8, alpha=alpha, random_state=seed, relocate=False).fit(X, y)
        assert best.bound_ <= min(sampled.loss_, descended.loss_) * (1 + 1e-9)
        assert best.loss_ <= min(sampled.loss_, descended.loss_) * (1 + 1e-5)
        # Those of a fit by descent are patterns that the best one has at its disposal.
        own = ConvexReLURegressor(gates=descended.network_.A, alpha=alpha).fit(X, y)
        assert best.bound_ <= own.loss_ <= descended.loss_ * (1 + 1e-6)


@BOTH
def test_larger_penalties_leave_fewer_neurons(kind: Kind, diabetes: Data) -> None:
    X, y = diabetes
    counts = [kind(30, alpha=alpha, random_state=0).fit(X, y).n_neurons_ for alpha in (0.3, 0.1, 0.03)]
    assert 0 < counts[0] < counts[1] < counts[2]
    nothing = kind(30, alpha=100.0, random_state=0).fit(X, y)
    assert nothing.n_neurons_ == 0
    np.testing.assert_allclose(nothing.predict(X), np.full(len(X), y.mean()))


def test_without_a_penalty_it_is_least_squares() -> None:
    X, y = planted()
    gated = GatedReLURegressor(6, alpha=0.0, random_state=0).fit(X, y)
    Xt = np.column_stack([np.ones(len(X)), X])
    design = np.column_stack([Xt * (Xt @ g > 0)[:, None] for g in gated.gates_.T])
    expected = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    np.testing.assert_allclose(gated.predict(X), expected, rtol=1e-6, atol=1e-6)
    assert gated.bound_ == 0
    relu = ConvexReLURegressor(6, alpha=0.0, random_state=0).fit(X, y)
    # The differences of two vectors of a cone with an inside are all vectors.
    np.testing.assert_allclose(relu.predict(X), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_ridge_penalty_is_ridge_regression(outputs: int) -> None:
    X, Y = planted(c=outputs)
    X = X / 30
    model = GatedReLURegressor(8, norm="ridge", alpha=0.1, standardize=False, random_state=0).fit(X, Y)
    Xt = np.column_stack([np.ones(len(X)), X])
    design = np.column_stack([*(Xt * (Xt @ g > 0)[:, None] for g in model.gates_.T), np.ones(len(X))])
    oracle = Ridge(0.1 * len(X), fit_intercept=False).fit(design, Y)
    np.testing.assert_allclose(model.predict(X), oracle.predict(design), rtol=1e-8)
    squares = np.sum((Y - oracle.predict(design)) ** 2) / len(X)
    assert model.loss_ == pytest.approx(squares + 0.1 * np.sum(oracle.coef_**2), rel=1e-9)
    chosen = clone(model).set_params(alpha="auto").fit(X, Y)
    assert 0 < chosen.held_out_mse_.argmin() < len(chosen.alphas_) - 1


@BOTH
def test_units_do_not_matter_with_standardisation(kind: Kind) -> None:
    X, y = planted()
    model = kind(12, alpha=0.02, random_state=0).fit(X, y)
    other = clone(model).fit(X * [1e-9, 1e6] + [3.0, 0.0], 1e6 * y - 5)
    np.testing.assert_allclose(other.predict(X * [1e-9, 1e6] + [3.0, 0.0]), 1e6 * model.predict(X) - 5, rtol=1e-4)
    raw = kind(12, alpha=0.02, random_state=0, standardize=False).fit(X / 30, y)
    assert raw.loss_ == pytest.approx(loss_of(raw, X / 30, y), rel=1e-9)


def test_gates_are_taken_in_raw_units_and_rows_on_them_are_out() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 7, (80, 2)).astype(float)
    y = np.where(X[:, 0] > 3, X[:, 1], -X[:, 0]) + 0.01 * rng.standard_normal(80)
    gates = np.array([[1.0, 0.0, 0.0], [-3.0, 1.0, 0.0], [0.3, -0.1, 0.0]]).T
    model = GatedReLURegressor(gates=gates, alpha=1e-4).fit(X, y)
    assert model.score(X, y) > 0.999
    on = gates.T[:, :1] + gates.T[:, 1:] @ X.T
    expected = (on[[1]] > 1e-9)[0]  # x = 3 is on the second and the third
    assert np.sum(np.abs(on[1]) < 1e-9) > 0
    opened = GatedNetwork(model.gates_, np.ones((3, 3)), np.ones((3, 1)), np.zeros(1)).pattern(X)
    np.testing.assert_array_equal(opened[:, 1], expected)
    np.testing.assert_array_equal(opened[:, 2], X[:, 0] < 3)
    np.testing.assert_allclose(model.gates_, gates, atol=1e-12)
    assert model.loss_ == pytest.approx(loss_of(model, X, y), rel=1e-9)


def test_one_norm_shares_neurons_among_outputs_and_the_other_does_not() -> None:
    X, Y = load_linnerud(return_X_y=True)
    shared = GatedReLURegressor(16, alpha=0.05, random_state=0).fit(X, Y)
    apart = GatedReLURegressor(16, alpha=0.05, random_state=0, norm="outputs").fit(X, Y)
    assert (np.count_nonzero(shared.network_.B, axis=1) > 1).any()
    assert (np.count_nonzero(apart.network_.B, axis=1) == 1).all()
    assert shared.loss_ < apart.loss_ == pytest.approx(loss_of(apart, X, Y), rel=1e-9)


@BOTH
def test_the_penalty_is_the_one_of_least_held_out_error(kind: Kind) -> None:
    X, y = planted(120)
    y = y + 0.5 * np.random.default_rng(1).standard_normal(len(y))
    model = kind(12, random_state=0).fit(X, y)
    best = model.held_out_mse_.argmin()
    assert model.alpha_ == model.alphas_[best]
    assert 0 < best < len(model.alphas_) - 1
    np.testing.assert_allclose(model.alphas_[1:] / model.alphas_[:-1], 10 ** (-1 / 3))
    assert 0.3 < 1 - model.held_out_mse_[best] / y.var() < model.score(X, y)
    again = kind(12, alpha=model.alpha_, random_state=0).fit(X, y)
    assert again.loss_ == pytest.approx(model.loss_, rel=1e-6)
    split = kind(12, random_state=0, validation_fraction=0.3).fit(X, y)
    assert split.held_out_mse_[0] != model.held_out_mse_[0]


def test_errors_of_a_path_are_those_of_solutions_to_the_end(diabetes: Data) -> None:
    X, y = diabetes
    rows = ArrayRows((X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std())
    gates = np.random.default_rng(0).standard_normal((11, 8))
    part = Part(rows.subset(np.arange(300)), rows.subset(np.arange(300, len(y))))
    program = GatedForm(gates, "nuclear")
    path = held_out_path(program, rows, [part], max_rounds=100)
    assert path.chosen.alpha == path.alphas[path.errors.sum(axis=1).argmin()]
    for alpha, error in zip(path.alphas, path.errors, strict=True):
        exact = solve_gated(part.fitted, gates, float(alpha), tol=1e-8).predict(part.held_out.X)
        assert error[0] == pytest.approx(np.mean((exact - part.held_out.Y) ** 2), rel=0.01)


@BOTH
def test_fitted_attributes_describe_the_fit(kind: Kind, diabetes: Data) -> None:
    X, y = diabetes
    model = kind(20, random_state=0, validation_fraction=0.3).fit(X, y)
    history, m = model.history_, len(model.alphas_)
    assert len(history) in (m, m + 1)
    assert history["loss"][-1] == model.loss_
    assert history["mse"][-1] == pytest.approx(np.mean((model.predict(X) - y) ** 2), rel=1e-9)
    np.testing.assert_array_equal(history["validation_mse"][:m], model.held_out_mse_)
    assert (np.diff(history["mse"][:m]) < 0).all()
    assert 1 <= model.n_iter_ <= model.max_iter
    assert (model.n_outputs_, model.n_features_in_) == (1, 10)


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
@BOTH
def test_data_frames_bring_names(kind: Kind, diabetes: Data, library: Any) -> None:
    X, y = diabetes
    names = [f"column {i}" for i in range(X.shape[1])]
    frame = library.DataFrame(dict(zip(names, X.T, strict=True)))
    target = pl.Series("target", y) if library is pl else pd.Series(y, name="target")
    model = kind(8, alpha=0.1, random_state=0).fit(frame, target)
    assert list(model.feature_names_in_) == names
    assert model.network_.feature_names == tuple(names)
    assert model.network_.output_names == ("target",)
    np.testing.assert_array_equal(model.predict(frame), kind(8, alpha=0.1, random_state=0).fit(X, y).predict(X))


@BOTH
def test_copies_seeds_and_rows(kind: Kind, diabetes: Data) -> None:
    X, y = (part.copy() for part in diabetes)
    w = np.linspace(0.5, 2, len(y))
    model = kind(8, alpha=0.1, random_state=0).fit(X, y, w)
    expected = model.predict(X)
    for other in (pickle.loads(pickle.dumps(model)), clone(model).fit(X, y, w), clone(model).fit(ArrayRows(X, y, w))):
        np.testing.assert_array_equal(other.predict(ArrayRows(X, y)), expected)
    assert np.abs(clone(model).set_params(random_state=1).fit(X, y, w).predict(X) - expected).max() > 1e-3
    assert cross_val_score(model, X, y, cv=3).min() > 0.3
    for part, before in zip((X, y), diabetes, strict=True):
        np.testing.assert_array_equal(part, before)


@BOTH
def test_rounds_that_run_out_are_said_where_fit_was_called(kind: Kind, diabetes: Data) -> None:
    with pytest.warns(ConvergenceWarning, match="max_iter") as warned:
        model = kind(20, alpha=0.001, max_iter=1, random_state=0).fit(*diabetes)
    assert [warning.filename for warning in warned] == [__file__]
    assert (model.status_, model.n_iter_) == (Status.MAX_ITER, 1)
    assert model.bound_ <= model.loss_ == pytest.approx(loss_of(model, *diabetes))


@pytest.mark.parametrize(
    ("settings", "calls", "alpha"),
    [({"alpha": 1e-3, "tol": 1e-9}, 2, 1e-3), ({"validation_fraction": 0.3}, 5, None)],
    ids=["a given penalty", "a path"],
)
@BOTH
def test_an_interrupt_returns_the_best_network_and_says_so(
    kind: Kind, settings: dict, calls: int, alpha: float | None, diabetes: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "solve_gated" if kind is GatedReLURegressor else "solve_convex"
    solver, count = getattr(anmin.convex_forms, name), iter(range(1, 99))
    last = [calls]

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if next(count) == last[0]:
            raise KeyboardInterrupt
        return solver(*arguments, **options)

    monkeypatch.setattr(anmin.convex_forms, name, interrupted)
    model = kind(12, random_state=0, **settings)
    with pytest.warns(ConvergenceWarning, match="interrupted; the best network"):
        model.fit(*diabetes)
    assert model.status_ is Status.INTERRUPTED
    best = 0 if alpha is not None else model.held_out_mse_.argmin()
    assert model.alpha_ == model.alphas_[best]
    assert len(model.alphas_) == (1 if alpha is not None else 2)
    assert model.loss_ == pytest.approx(loss_of(model, *diabetes), rel=1e-9)
    count, last = iter(range(1, 99)), [1]
    with pytest.raises(KeyboardInterrupt):
        clone(model).fit(*diabetes)


def test_an_export_of_a_convex_network_predicts_as_it_does(diabetes: Data, tmp_path: Path) -> None:
    X, y = diabetes
    model = ConvexReLURegressor(30, alpha=0.05, random_state=0).fit(X, y)
    model.network_.save(tmp_path / "model.json")
    np.testing.assert_array_equal(ReLUNetwork.load(tmp_path / "model.json").predict(X)[:, 0], model.predict(X))
    hidden = np.maximum(X @ model.coefs_[0] + model.intercepts_[0], 0)
    np.testing.assert_allclose((hidden @ model.coefs_[1] + model.intercepts_[1])[:, 0], model.predict(X), rtol=1e-9)
    pruned = model.network_.pruned(3, X)
    assert pruned.n_neurons == 3 < model.n_neurons_


def test_decomposition_predicts_as_the_gated_network_at_a_larger_penalty(diabetes: Data) -> None:
    X, y = diabetes
    gated = GatedReLURegressor(20, alpha=0.05, tol=1e-8, random_state=0).fit(X, y)
    split = ConvexReLURegressor(20, alpha=0.05, tol=1e-8, random_state=0, method="decomposition").fit(X, y)
    np.testing.assert_allclose(split.predict(X), gated.predict(X), rtol=1e-5)
    assert split.loss_ > ConvexReLURegressor(20, alpha=0.05, random_state=0).fit(X, y).loss_ >= split.bound_


@BOTH
def test_rows_that_say_nothing_are_fitted_by_a_constant(kind: Kind) -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal(30), np.full(30, 7.0)])
    y = np.abs(X[:, 0])
    with_constant, without = kind(8, alpha=0.05, random_state=0).fit(X, y), kind(8, alpha=0.05).fit(X[:, :1], y)
    assert with_constant.score(X, y) > 0.5 < without.score(X[:, :1], y)
    constant = kind(8, random_state=0).fit(X, np.full(30, 3.0))
    assert constant.n_neurons_ == 0
    np.testing.assert_allclose(constant.predict(X), 3.0)
    two = kind(8, random_state=0).fit(X[:2], y[:2])
    assert np.isfinite(two.predict(X)).all()
    assert np.isnan(two.held_out_mse_).all()


def test_verbose_shows_nothing_on_standard_output(diabetes: Data, capsys: pytest.CaptureFixture) -> None:
    GatedReLURegressor(8, alpha=0.1, verbose=1).fit(*diabetes)
    assert capsys.readouterr().out == ""


@BOTH
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gates": np.ones((3, 4))}, r"gates must have shape \(11, gates\)"),
        ({"gates": np.ones(11)}, r"gates must have shape \(11, gates\).*got \(11,\)"),
        ({"gates": np.ones((11, 0))}, "gates must have shape"),
        ({"gates": np.full((11, 2), np.nan)}, "gates must be finite"),
        ({"gates": np.full((11, 2), -np.inf)}, "gates must be finite"),
        ({"gates": np.eye(11)[:, :1] @ np.ones((1, 2))}, "gates must differ in direction; number 0"),
        ({"gates": np.column_stack([np.ones(11), np.zeros(11)])}, "gates must not be zero; number 1 is"),
        ({"gates": [["a"]]}, "gates must be 'sample', 'all' or a matrix of numbers"),
        ({"gates": "some"}, 'The \'gates\' parameter of .* must be "sample", "all" or an array'),
        ({"gates": None}, "The 'gates' parameter"),
        ({"gates": "all"}, "gates='all' is too much for these rows; try gates='sample'. X has 442"),
        ({"n_gates": 0}, "The 'n_gates' parameter of .* must be an integer of at least 1; got 0"),
        ({"alpha": -1.0}, "The 'alpha' parameter"),
        ({"alpha": "best"}, "The 'alpha' parameter"),
        ({"tol": np.nan}, "The 'tol' parameter"),
        ({"max_iter": 0}, "The 'max_iter' parameter"),
        ({"validation_fraction": 1.0}, "The 'validation_fraction' parameter"),
    ],
)
def test_bad_settings_are_refused_before_any_work(
    kind: Kind, change: dict[str, Any], message: str, diabetes: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anmin.convex_fitting._Fit", lambda *_, **__: pytest.fail("work began"))
    with pytest.raises(ValueError, match=message):
        kind(**change).fit(*diabetes)


@BOTH
def test_bad_rows_are_refused(kind: Kind, diabetes: Data) -> None:
    X, y = diabetes
    hole = X.copy()
    hole[3, 2] = np.nan
    with pytest.raises(ValueError, match=r"Input X contains NaN or infinity: column 2 \(1 NaN\)"):
        kind().fit(hole, y)
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        kind().fit(X[:1], y[:1])
    with pytest.raises(ValueError, match="0 feature"):
        kind().fit(X[:, :0], y)
    with pytest.raises(ValueError, match="bring their own targets"):
        kind().fit(ArrayRows(X, y), y)
    with pytest.raises(ValueError, match="at least two rows"):
        kind().fit(ArrayRows(X[:1], y[:1]))
    other = "norm" if kind is GatedReLURegressor else "method"
    with pytest.raises(ValueError, match=f"The '{other}' parameter of {kind.__name__} must be one of"):
        kind(**{other: "other"}).fit(X, y)


def test_a_report_shows_the_bound_and_none_is_of_gated_networks(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    X, y = planted(30)
    X = X[:, :1]
    model = ConvexReLURegressor(10, alpha=0.1, random_state=0).fit(X, y)
    write_report(tmp_path / "report.html", model, X, y)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"no loss with these gates is below</th><td>{model.bound_:.6g}" in text
    with pytest.raises(ValueError, match="those of a ConvexReLURegressor keep to their gates"):
        influence(model, X, y)
    gated = GatedReLURegressor(10, alpha=0.1, random_state=0).fit(X, y)
    for write, what in ((write_report, gated), (write_model_report, gated.network_)):
        with pytest.raises(TypeError, match="A report is of a ReLUNetwork, by its creases; got a GatedNetwork"):
            write(tmp_path / "none.html", what, X, y)


@pytest.mark.parametrize(
    "display",
    [
        "CellsDisplay",
        "CreaseDisplay",
        "PartialDependenceDisplay",
        "ImportanceDisplay",
        "LeverageDisplay",
        "PatternDisplay",
    ],
)
def test_what_needs_creases_refuses_gated_networks_in_a_sentence(display: str) -> None:
    pytest.importorskip("matplotlib")
    X, y = planted(30)
    gated = GatedReLURegressor(4, alpha=0.1, random_state=0).fit(X, y)
    made = getattr(inspection, display).from_estimator
    with pytest.raises(TypeError, match="is of a ReLUNetwork, by its creases; got a GatedNetwork"):
        made(gated, X) if display in ("CellsDisplay", "ImportanceDisplay", "PatternDisplay") else made(gated, X, y)


def test_exports_refuse_gated_networks_in_a_sentence(tmp_path: Path) -> None:
    X, y = planted(30)
    gated = GatedReLURegressor(4, alpha=0.1, random_state=0).fit(X, y)
    with pytest.raises(TypeError, match="An export is of a ReLUNetwork"):
        export.write(gated.network_, "c", tmp_path / "net.h")
    assert list(tmp_path.iterdir()) == []
