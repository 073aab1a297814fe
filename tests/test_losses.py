"""Losses other than the squared one: their quadratics, fits that lower them, and what these fits are of."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.utils.estimator_checks import check_estimator

from anmin import ReLUClassifier, ReLURegressor
from anmin.generalised import asked_alpha, fit_by_loss
from anmin.history import Status
from anmin.losses import Huber, Logistic, Loss, Poisson, Quantile, Softmax
from anmin.network import ReLUNetwork
from anmin.objective import penalty
from anmin.rows import ArrayRows
from anmin.search.quasi_newton import QuasiNewton
from anmin.search.reweighted import Reweighted, loss_of, surrogate_of
from anmin.solvers import MatrixFree, Problem, VarPro, solve
from problems import CASES, Case

LOSSES: list[Loss] = [Quantile(0.5, 2.0), Quantile(0.9), Huber(0.7), Poisson(), Logistic(), Softmax()]
INNER = [VarPro(), MatrixFree(damping=0.1)]


def name_of(value: Any) -> str:
    return type(value).__name__


def targets(loss: Loss, Y: NDArray) -> NDArray:
    """Return targets of the kind that a loss takes, made from real ones."""
    if isinstance(loss, Poisson):
        return np.floor(np.exp(Y))
    if isinstance(loss, Logistic):
        return (Y[:, :1] > 0).astype(float)
    if isinstance(loss, Softmax):
        return np.eye(3)[np.digitize(Y[:, 0], [-0.4, 0.4])]
    return Y


def problem_of(loss: Loss, case: Case, alpha: float = 1e-3) -> Problem:
    X, Y, w, _ = case.data()
    return Problem(ArrayRows(X, targets(loss, Y), w), case.n_neurons, alpha, case.negative_slope, loss=loss)


@pytest.mark.parametrize("loss", LOSSES, ids=name_of)
def test_gradients_are_those_of_finite_differences(loss: Loss) -> None:
    rng = np.random.default_rng(0)
    Y = targets(loss, rng.standard_normal((40, 3)))
    F = rng.standard_normal(Y.shape)
    g, h = loss.quadratic(F, Y, 0.0)
    assert g.shape == Y.shape
    assert (h > 0).all()
    step = 1e-6
    for k in range(Y.shape[1]):
        E = np.zeros_like(F)
        E[:, k] = step
        slope = (loss.values(F + E, Y) - loss.values(F - E, Y)) / (2 * step)
        np.testing.assert_allclose(g[:, k], slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", [Quantile(0.5, 2.0), Quantile(0.9), Huber(0.7)], ids=name_of)
def test_quadratics_of_robust_losses_lie_above_them(loss: Loss) -> None:
    rng = np.random.default_rng(1)
    Y, F = rng.standard_normal((300, 2)), rng.standard_normal((300, 2))
    g, h = loss.quadratic(F, Y, 0.0)
    for scale in (0.01, 0.3, 3.0):
        move = scale * rng.standard_normal(F.shape)
        above = loss.values(F, Y) + np.sum(g * move, axis=1) + h / 2 * np.sum(move**2, axis=1)
        assert np.all(loss.values(F + move, Y) <= above + 1e-12)


def test_the_curvature_of_classes_bounds_the_largest_eigenvalue() -> None:
    F = 3 * np.random.default_rng(2).standard_normal((200, 4))
    _, h = Softmax().quadratic(F, np.zeros_like(F) + 0.25, 0.1)
    p = Softmax().mean(F)
    largest = [np.linalg.eigvalsh(np.diag(row) - np.outer(row, row))[-1] for row in p]
    assert np.all(h >= np.array(largest) - 1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=name_of)
def test_constants_are_the_best_ones(loss: Loss) -> None:
    rng = np.random.default_rng(3)
    Y = targets(loss, rng.standard_normal((101, 3)))
    w = rng.uniform(0.5, 2.0, len(Y))

    def total(constant: NDArray) -> float:
        return float(w @ loss.values(np.tile(constant, (len(Y), 1)), Y))

    found = loss.constant(Y, w)
    if isinstance(loss, Huber):  # whose start is the median
        loss = Quantile(0.5)
    best = minimize(total, found, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000})
    assert total(found) <= best.fun * (1 + 1e-9) + 1e-9 * abs(best.fun)


@pytest.mark.parametrize("inner", INNER, ids=name_of)
@pytest.mark.parametrize("loss", LOSSES, ids=name_of)
@pytest.mark.parametrize("case", [CASES[i] for i in (0, 1, 5, 7)], ids=lambda case: case.name)
def test_no_iteration_raises_the_loss(case: Case, loss: Loss, inner: Any) -> None:
    problem = problem_of(loss, case)
    solution = solve(problem, Reweighted(inner), max_iter=25, tol=0.0, rng=np.random.default_rng(0))
    losses = solution.history["loss"]
    assert np.all(np.diff(losses) <= 0)
    assert losses[-1] < losses[0]
    assert solution.loss == pytest.approx(loss_of(problem, solution.network), rel=1e-12)
    rows, network = problem.rows, solution.network
    w = np.ones(rows.n_rows) if rows.w is None else rows.w
    expected = np.average(loss.values(network.predict(rows.X), rows.Y), weights=w)
    expected += problem.alpha * penalty(network.A, network.B, network.b0)
    assert solution.loss == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("loss", [Huber(0.7), Poisson(), Logistic(), Softmax()], ids=name_of)
def test_smooth_losses_end_where_no_weight_lowers_them(loss: Loss) -> None:
    problem = problem_of(loss, Case("long"), alpha=1e-2)
    solution = solve(problem, Reweighted(VarPro()), tol=1e-13, max_iter=500, rng=np.random.default_rng(0))
    network = solution.network
    shapes = [network.A.shape, network.B.shape, network.b0.shape]
    cuts = np.cumsum([np.prod(shape) for shape in shapes])[:-1]

    def value(theta: NDArray) -> float:
        parts = [part.reshape(shape) for part, shape in zip(np.split(theta, cuts), shapes, strict=True)]
        return loss_of(problem, ReLUNetwork(*parts, network.negative_slope))

    theta = np.concatenate([network.A.ravel(), network.B.ravel(), network.b0])
    # A hyperplane may end on a row, where the loss has a kink: so both sides count, not the slope.
    around = np.array([value(theta + step * e) for e in np.eye(len(theta)) for step in (1e-4, -1e-4)])
    assert around.min() > solution.loss * (1 - 2e-6)


def test_with_neurons_that_are_always_on_it_is_logistic_regression() -> None:
    rng = np.random.default_rng(4)
    X = rng.uniform(-1, 1, (400, 2))
    y = (rng.random(400) < 1 / (1 + np.exp(-(1.5 * X[:, 0] - X[:, 1] + 0.3)))).astype(float)[:, None]
    A = np.array([[5.0, 5.0], [1.0, 0.0], [0.0, 1.0]])
    start = ReLUNetwork(A, np.zeros((2, 1)), np.zeros(1))
    problem = Problem(ArrayRows(X, y), 2, 1e-9, loss=Logistic())
    found = solve(problem, Reweighted(VarPro()), start=start, max_iter=300, tol=0.0, rng=np.random.default_rng(0))
    expected = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y[:, 0])
    best = float(np.mean(Logistic().values(expected.decision_function(X)[:, None], y)))
    assert found.loss <= best + 1e-6


def test_a_poisson_fit_is_no_worse_than_a_linear_one() -> None:
    rng = np.random.default_rng(5)
    X = rng.uniform(-1, 1, (500, 2))
    y = rng.poisson(np.exp(1 + X[:, 0] - 0.5 * X[:, 1])).astype(float)
    model = ReLURegressor(6, loss="poisson", random_state=0).fit(X, y)
    linear = PoissonRegressor(alpha=0).fit(X, y)
    assert (model.predict(X) > 0).all()
    deviance = [float(np.mean(p - y * np.log(p))) for p in (model.predict(X), linear.predict(X))]
    assert deviance[0] <= deviance[1] + 0.005
    with pytest.raises(ValueError, match=r"loss='poisson' needs y >= 0; 1 values are negative"):
        ReLURegressor(6, loss="poisson").fit(X, np.where(np.arange(500) == 7, -1.0, y))


def test_surrogates_share_the_inputs_and_have_the_penalty_of_the_loss() -> None:
    problem = problem_of(Softmax(), Case("weighted", weighted=True))
    network = ReLUNetwork(*random_weights(3, 5, 3))
    surrogate = surrogate_of(problem, Softmax(), network)
    assert surrogate.rows.X is problem.rows.X
    assert surrogate.loss is None
    # Half the sum of the weights times the surrogate's loss falls as the quadratics' sum does.
    other = ReLUNetwork(network.A, 1.1 * network.B, network.b0)
    g, h = Softmax().quadratic(network.predict(problem.rows.X), problem.rows.Y, 0.1)
    move = other.predict(problem.rows.X) - network.predict(problem.rows.X)
    w = problem.rows.w
    assert w is not None
    change = w @ (np.sum(g * move, axis=1) + h / 2 * np.sum(move**2, axis=1))
    change += problem.rows.n * problem.alpha * (penalty(*parts(other)) - penalty(*parts(network)))
    before, after = (
        surrogate.rows.output_statistics(one.A).loss(one.A, one.B, one.b0, surrogate.alpha) for one in (network, other)
    )
    assert surrogate.rows.n / 2 * (after - before) == pytest.approx(change, rel=1e-8)


def random_weights(d: int, h: int, c: int) -> tuple[NDArray, NDArray, NDArray]:
    rng = np.random.default_rng(6)
    return rng.standard_normal((d + 1, h)), rng.standard_normal((h, c)), rng.standard_normal(c)


def parts(network: ReLUNetwork) -> tuple[NDArray, NDArray, NDArray]:
    return network.A, network.B, network.b0


def field(n: int = 800) -> tuple[NDArray, NDArray, NDArray]:
    rng = np.random.default_rng(7)
    X = rng.uniform(-2, 2, (n, 2))
    f = np.abs(X[:, 0]) + np.sin(2 * X[:, 1])
    return X, f, f + (0.1 + 0.3 * (X[:, 0] > 0)) * rng.standard_normal(n)


@pytest.mark.parametrize("settings", [{"loss": "huber"}, {"loss": "absolute"}, {"loss": Huber(0.3)}], ids=str)
def test_outliers_do_not_spoil_robust_fits(settings: dict) -> None:
    X, f, y = field()
    y[::20] += 15
    found = ReLURegressor(16, random_state=0, **settings).fit(X, y)
    spoilt = ReLURegressor(16, random_state=0).fit(X, y)
    error, of_squares = (np.sqrt(np.mean((model.predict(X) - f) ** 2)) for model in (found, spoilt))
    assert error < 0.15
    assert of_squares > 0.5


@pytest.mark.parametrize("quantile", [0.1, 0.9])
def test_quantiles_are_covered(quantile: float) -> None:
    X, _, y = field(2000)
    model = ReLURegressor(12, loss="quantile", quantile=quantile, random_state=0).fit(X[:1500], y[:1500])
    assert np.mean(y[:1500] <= model.predict(X[:1500])) == pytest.approx(quantile, abs=0.03)
    assert np.mean(y[1500:] <= model.predict(X[1500:])) == pytest.approx(quantile, abs=0.06)


def test_the_penalty_is_one_that_the_evidence_asks_for() -> None:
    problem = problem_of(Logistic(), Case("noisy", n_rows=600), alpha=0.0)
    solver = Reweighted(VarPro())
    alpha, solution, decided = fit_by_loss(problem, solver, None, 1, np.random.default_rng(0), begun=0.0)
    assert decided
    asked = asked_alpha(Problem(problem.rows, 5, alpha, loss=Logistic()), solver, solution.network)
    assert asked == pytest.approx(alpha, rel=0.3)


def test_the_evidence_of_products_is_near_that_of_matrices() -> None:
    problem = problem_of(Softmax(), Case("several", n_rows=500), alpha=1e-3)
    network = solve(problem, Reweighted(VarPro()), max_iter=10, rng=np.random.default_rng(0)).network
    dense, estimated = (asked_alpha(problem, Reweighted(inner), network) for inner in INNER)
    assert estimated == pytest.approx(dense, rel=0.2)


def test_rows_that_are_weighted_count_as_repeated() -> None:
    X, Y, *_ = Case("long").data()
    w = np.random.default_rng(8).integers(0, 4, len(X))
    for loss in ("huber", "absolute"):
        settings = {"loss": loss, "alpha": 1e-2, "max_iter": 8, "random_state": 0}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            weighted = ReLURegressor(4, **settings).fit(X, Y[:, 0], w)
            repeated = ReLURegressor(4, **settings).fit(X.repeat(w, axis=0), Y[:, 0].repeat(w))
        np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-5, atol=1e-5)


def test_several_outputs_and_float32_are_fitted() -> None:
    X, Y, w, _ = Case("weighted, several", n_outputs=3, weighted=True).data()
    for loss in ("absolute", "huber"):
        model = ReLURegressor(5, loss=loss, dtype="float32", random_state=0).fit(X, Y, w)
        assert model.predict(X).shape == Y.shape
        assert np.isfinite(model.loss_)


def test_the_history_goes_on_from_the_fit_by_the_squared_error() -> None:
    X, _, y = field(300)
    seen: list[int] = []
    model = ReLURegressor(4, loss="huber", random_state=0, callbacks=lambda record, _: seen.append(record.iteration))
    model.fit(X, y)
    assert len(model.history_) == model.n_iter_ + 1
    assert list(model.history_["iteration"]) == list(range(len(model.history_)))
    assert model.status_ is Status.CONVERGED
    assert model.history_["loss"][-1] == model.loss_
    limited = ReLURegressor(4, loss="huber", random_state=0, max_iter=9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        limited.fit(X, y)
    assert limited.n_iter_ <= 10  # the second part's start is a record of its own


def test_interrupts_and_checkpoints_keep_the_network(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, _, y = field(300)
    expected = ReLURegressor(4, loss="huber", random_state=0).fit(X, y)
    monkeypatch.setattr("anmin.checkpoint.SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr("anmin.checkpoint._SELDOM", 0.0)
    place = tmp_path / "fit"
    for iterations in (3, len(expected.history_) - 6):  # in the first part, and in the second
        counted: list[int] = []

        def interrupt(record: Any, network: Any, counted: list[int] = counted, most: int = iterations) -> None:
            counted.append(1)
            if len(counted) == most:
                raise KeyboardInterrupt

        with pytest.warns(ConvergenceWarning, match="interrupted"):
            stopped = ReLURegressor(4, loss="huber", random_state=0, checkpoint=place, callbacks=interrupt).fit(X, y)
        assert stopped.status_ is Status.INTERRUPTED
        assert np.isfinite(stopped.predict(X)).all()
    resumed = ReLURegressor(4, loss="huber", random_state=0, checkpoint=place).fit(X, y)
    np.testing.assert_array_equal(resumed.coefs_[0], expected.coefs_[0])


def test_held_out_rows_choose_by_the_loss() -> None:
    X, _, y = field(300)
    model = ReLURegressor(6, loss="absolute", validation_fraction=0.25, random_state=0).fit(X, y)
    values = model.history_["validation_mse"]
    assert np.isfinite(values).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("alpha", ["auto", 1e-3])
@pytest.mark.parametrize("loss", ["absolute", "huber", "poisson", "log"])
def test_a_warm_start_begins_where_the_last_fit_ended(loss: str, alpha: Any) -> None:
    X, _, y = field(300)
    settings = {"alpha": alpha, "random_state": 0, "warm_start": True, "max_iter": 20}
    if loss == "log":
        model, y = ReLUClassifier(4, **settings), y > np.median(y)
    else:
        model = ReLURegressor(4, loss=loss, **settings)
        y = np.round(y - y.min()) if loss == "poisson" else y
    model.fit(X, y)
    before, penalty = model.loss_, model.alpha_
    model.fit(X, y)
    assert model.alpha_ == penalty
    assert model.history_["loss"][0] <= before + 1e-6 * abs(before)
    assert model.loss_ <= model.history_["loss"][0]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_warm_start_keeps_the_relevances_with_the_penalty_that_was_chosen_and_with_no_other() -> None:
    X, _, y = field(600)
    X = np.column_stack([X, np.random.default_rng(0).standard_normal((len(X), 2))])  # inputs of no use
    model = ReLURegressor(16, loss="huber", random_state=0, warm_start=True, max_iter=20).fit(X, y)
    before, relevance = model.loss_, model.relevance_
    assert np.ptp(relevance) > 0.1
    model.fit(X, y)
    np.testing.assert_array_equal(model.relevance_, relevance)
    assert model.history_["loss"][0] <= before * (1 + 1e-6)
    model.set_params(alpha=1e-3).fit(X, y)
    np.testing.assert_array_equal(model.relevance_, np.ones(X.shape[1]))


def test_a_warm_start_by_another_loss_chooses_its_own_penalty() -> None:
    X, _, y = field(300)
    model = ReLURegressor(4, loss="huber", random_state=0, warm_start=True).fit(X, y)
    penalty = model.alpha_
    model.set_params(loss="squared").fit(X, y)
    model.set_params(loss="huber").fit(X, y)
    assert model.alpha_ != penalty


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "log"}, "'loss' parameter of ReLURegressor must be one of 'squared', 'absolute'"),
        ({"loss": Huber}, "or a loss from anmin.losses"),
        ({"loss": "quantile", "quantile": 1.0}, "'quantile' parameter .* between 0 and 1; got 1.0"),
        ({"loss": "huber", "solver": "anmin"}, "needs solver='auto', 'varpro' or 'matrix_free'; got 'anmin'"),
    ],
)
def test_bad_losses_are_refused(settings: dict, message: str) -> None:
    X, _, y = field(50)
    with pytest.raises(ValueError, match=message):
        ReLURegressor(2, **settings).fit(X, y)


def test_what_needs_the_squared_error_is_not_there() -> None:
    X, _, y = field(60)
    model = ReLURegressor(2, loss="huber", random_state=0)
    assert not hasattr(model, "partial_fit")
    assert not hasattr(model, "forget")
    with pytest.raises(NotFittedError):
        model.predict(X)
    with pytest.raises(ValueError, match="names none"):
        solve(Problem(ArrayRows(X, y), 2, 0.1), Reweighted(VarPro()))


def test_rows_that_are_not_in_memory_are_refused(tmp_path: Any) -> None:
    from anmin.rows import NpyRows

    X, _, y = field(50)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    with pytest.raises(ValueError, match="loss='huber' needs rows in memory"):
        ReLURegressor(2, loss="huber").fit(NpyRows(tmp_path / "X.npy", tmp_path / "y.npy"))


@pytest.mark.parametrize("loss", ["absolute", "huber", "quantile", "poisson"])
def test_estimator_checks(loss: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checks = check_estimator(ReLURegressor(4, loss=loss, relocate=False, random_state=0), on_fail=None)
    failed = [(check["check_name"], check["exception"]) for check in checks if check["status"] == "failed"]
    assert failed == []


@pytest.mark.parametrize("loss", [Poisson(), Logistic(), Softmax()], ids=name_of)
def test_information_is_the_mean_eigenvalue_of_the_curvature(loss: Loss) -> None:
    rng = np.random.default_rng(9)
    Y = targets(loss, rng.standard_normal((30, 3)))
    F = rng.standard_normal(Y.shape)
    found = loss.information(F, Y, 0.1)
    step, trace = 1e-4, np.zeros(len(F))
    for e in np.eye(Y.shape[1]):
        second = loss.values(F + step * e, Y) - 2 * loss.values(F, Y) + loss.values(F - step * e, Y)
        trace += second / step**2
    np.testing.assert_allclose(found, trace / Y.shape[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "calls"), [(loss, calls) for loss in ("huber", "absolute") for calls in (1, 5, 24)] + [("poisson", 5)]
)
def test_an_interrupt_while_delta_or_penalty_are_chosen_ends_the_fit(
    loss: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, _, y = field(300)
    solver = QuasiNewton if loss == "poisson" else Reweighted
    taken, real = [], solver.step

    def step(self: Any, problem: Problem, state: Any) -> Any:
        taken.append(1)
        if len(taken) == calls:
            raise KeyboardInterrupt
        return real(self, problem, state)

    monkeypatch.setattr(solver, "step", step)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model = ReLURegressor(4, loss=loss, random_state=0).fit(X, np.floor(np.abs(y)))
    assert model.status_ is Status.INTERRUPTED
    assert len(taken) == calls
    assert np.isfinite(model.predict(X)).all()


def test_an_interrupt_of_the_evidence_ends_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    X, _, y = field(300)

    def interrupted(*_: Any) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr("anmin.generalised.asked_alpha", interrupted)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model = ReLURegressor(4, loss="absolute", random_state=0).fit(X, y)
    assert model.status_ is Status.INTERRUPTED


def test_a_loss_may_be_given_as_an_object() -> None:
    X, _, y = field(200)
    counts = np.floor(np.abs(y))
    named, given = (ReLURegressor(3, loss=loss, random_state=0).fit(X, counts) for loss in ("poisson", Poisson()))
    np.testing.assert_array_equal(named.predict(X), given.predict(X))
    with pytest.raises(ValueError, match="needs y >= 0"):
        ReLURegressor(3, loss=Poisson()).fit(X, counts - 5)
