"""Steps without the matrix: their products against the matrix, their solves, and fits that only they can do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import anmin.rows.products
import anmin.threads
from anmin import ReLURegressor
from anmin.history import Status
from anmin.influence import joint_estimate, joint_inverse
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows
from anmin.rows.products import PatternProducts
from anmin.search import Recombining, automatic_solver
from anmin.search.initialisation import starting_weights
from anmin.selection import choose_alpha, evidence
from anmin.solvers import Hybrid, MatrixFree, Problem, VarPro, solve
from anmin.solvers.matrix_free import ProjectedProducts, conjugate_gradients
from anmin.solvers.preconditioners import Blocks, Kronecker, Nystrom
from anmin.solvers.systems import output_layer, projected_system
from anmin.statistics import PatternStatistics
from problems import CASES, Case, dense_loss

PRECONDITIONERS = ("kronecker", "block", "nystrom")


def dead_and_always_on(rows: ArrayRows, A):
    """Return hidden weights whose first neuron is active on no row, and the second on all of them."""
    A = A.copy()
    A[:, :2] = 0.0
    A[0, 0], A[0, 1] = -1.0, 1.0
    A[1, 1] = 0.5 / np.abs(rows.X[:, 0]).max()
    return A


def both(rows: ArrayRows, A, negative_slope: float, alpha: float):
    """Return the dense matrix and half the gradient, and the products, at balanced neurons."""
    statistics = rows.statistics(A, negative_slope)
    network = ReLUNetwork(A, *output_layer(statistics.output(A), alpha), negative_slope).balanced()
    A = np.where(np.any(network.A, axis=0), network.A, A)
    network = ReLUNetwork(A, *output_layer(statistics.output(A), alpha), negative_slope)
    M, gradient = projected_system(statistics, network.A, network.B, network.b0, alpha)
    products = PatternProducts.at(rows, A if alpha else statistics_weights(network), negative_slope)
    return M, gradient, ProjectedProducts(products, network, alpha)


def statistics_weights(network: ReLUNetwork):
    """Return other hidden weights of the same pattern, as before the neurons were balanced."""
    return network.A * np.linspace(0.5, 3.0, network.n_neurons)


def assert_same_system(rows: ArrayRows, A, negative_slope: float, alpha: float, rtol: float = 1e-10):
    M, gradient, matrix = both(rows, A, negative_slope, alpha)
    root = matrix.root.T.ravel()
    scaled = M / np.outer(root, root)
    for V in np.random.default_rng(0).standard_normal((3, *A.shape)):
        found, expected = matrix.scaled_product(V).T.ravel(), scaled @ V.T.ravel()
        np.testing.assert_allclose(found, expected, atol=rtol * np.linalg.norm(V))
    found = (matrix.half_gradient / matrix.root).T.ravel()
    np.testing.assert_allclose(found, gradient / root, atol=rtol * np.sqrt(np.mean(rows.Y**2)))
    assert np.all(matrix.diagonal.T.ravel() >= np.diagonal(M) * (1 - 1e-12))


@pytest.fixture(params=["codes", "blocks", "blocks, nothing kept"])
def way(request, monkeypatch):
    """Make products by way of the codes of eight neurons, or in blocks of rows, however many columns there are."""
    monkeypatch.setattr(anmin.rows.products, "MOST_COLUMNS", 10**6 if request.param == "codes" else 0)
    monkeypatch.setattr(anmin.rows.products, "KEPT_BYTES", 10**9 if request.param == "blocks" else 0)
    return request.param


@pytest.mark.parametrize("alpha", [0.0, 1e-2])
def test_products_are_those_of_the_dense_matrix(case: Case, alpha, way):
    # Without a penalty the dense matrix is the difference of numbers 1e6 times its size where columns are badly scaled.
    rtol = 1e-4 if case.scales and not alpha else 1e-10
    assert_same_system(case.rows(), case.data()[3], case.negative_slope, alpha, rtol)


@pytest.mark.parametrize("alpha", [0.0, 1e-2])
def test_products_with_equal_rows_and_with_dead_and_always_active_neurons(case: Case, alpha, way):
    if case.n_neurons < 2 or case.scales:
        return
    X, Y, w, A = case.data()
    rows = ArrayRows(np.vstack([X, X]), np.vstack([Y, Y]), None if w is None else np.r_[w, w])
    assert_same_system(rows, dead_and_always_on(rows, A), case.negative_slope, alpha)


@pytest.mark.parametrize("alpha", [0.0, 1e-2])
def test_products_with_rows_in_float32(alpha, way):
    X, Y, w, A = CASES[5].data()
    rows = ArrayRows(X.astype(np.float32), Y.astype(np.float32), w)
    assert_same_system(rows, A, 0.1, alpha)


def test_products_do_not_depend_on_the_blocks_or_on_what_is_kept(case: Case, way):
    X, Y, w, A = case.data()
    V = np.random.default_rng(0).standard_normal(A.shape)
    M, _, _ = both(case.rows(), A, case.negative_slope, 1e-2)
    matrix = both(ArrayRows(X, Y, w, block_rows=7), A, case.negative_slope, 1e-2)[2]
    assert (matrix.products.kept is not None) == (way == "blocks")
    expected = (M @ V.T.ravel()).reshape(A.T.shape).T
    tolerance = (2e-9 if case.scales else 1e-10) * np.abs(expected).max()
    np.testing.assert_allclose(matrix.product(V), expected, rtol=1e-9, atol=tolerance)


@pytest.mark.parametrize("threads", [1, 3])
def test_products_of_many_rows_and_neurons_are_the_same_bits_with_any_threads(threads, way, monkeypatch):
    rng = np.random.default_rng(0)
    n, d, h, c, slope = 9000, 4, 70, 2, 0.1
    X, Y, w = rng.standard_normal((n, d)), rng.standard_normal((n, c)), rng.random(n)
    A, B, D = rng.standard_normal((d + 1, h)), rng.standard_normal((h, c)), rng.standard_normal((d + 1, h))
    E = rng.standard_normal((h + 1, c))

    def made():
        products = PatternProducts.at(ArrayRows(X, Y, w), A, slope)
        T, overlap = products.forward(D, B, A)
        return T, overlap, products.backward(T, B, E, A), products.squares

    found = made()
    Xt = np.column_stack([np.ones(n), X])
    G = np.where(Xt @ A > 0, 1.0, slope)
    S1 = np.column_stack([G * (Xt @ A), np.ones(n)])
    T = (G * (Xt @ D)) @ B
    R = w[:, None] * (T + S1 @ E)
    expected = T, S1.T @ (w[:, None] * T), Xt.T @ (G * (R @ B.T)), (Xt**2).T @ (G**2 * w[:, None])
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-10 * np.abs(theirs).max())
    monkeypatch.setattr("anmin.threads.n_threads", lambda: threads)
    anmin.threads._pool.cache_clear()
    for mine, theirs in zip(made(), found, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    anmin.threads._pool.cache_clear()


def test_sums_and_flips_are_those_of_the_statistics(case: Case):
    *_, A = case.data()
    before = A + 0.3 * np.random.default_rng(0).standard_normal(A.shape)
    rows, slope = case.rows(), case.negative_slope
    products = PatternProducts.at(rows, A, slope, PatternProducts.at(rows, before, slope))
    statistics = rows.statistics(A, slope, rows.statistics(before, slope))
    np.testing.assert_array_equal(products.active, statistics.active)
    assert products.flips == statistics.flips
    index = np.arange(0, A.shape[1], 2)
    factors = np.linspace(0.5, 2.0, A.shape[1])
    for found, expected, weights in (
        (products, statistics, A * factors),
        (products.of_neurons(index), statistics.of_neurons(index), (A * factors)[:, index]),
    ):
        mine, theirs = found.output(weights), expected.output(weights)
        for name in ("gram", "sums", "cross", "y_sum", "y_square"):
            scale = np.abs(getattr(theirs, name)).max()
            np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-9, atol=1e-9 * scale)


@pytest.mark.parametrize("kind", PRECONDITIONERS)
def test_preconditioners_are_symmetric_and_positive_definite(case: Case, kind):
    *_, A = case.data()
    for alpha in (0.0, 1e-2):
        *_, matrix = both(case.rows(), A, case.negative_slope, alpha)
        made = {
            "kronecker": lambda m=matrix: Kronecker.of(m.products, m.network, m.penalty),
            "block": lambda m=matrix: Blocks.of(m.products, 100),
            "nystrom": lambda m=matrix: Nystrom.of(m.scaled_product, m.root.shape, 6),
        }[kind]()
        apply = made.inverse(1e-3)
        dense = np.column_stack([apply(e.reshape(A.shape)).ravel() for e in np.eye(A.size)])
        np.testing.assert_allclose(dense, dense.T, atol=1e-9 * np.abs(dense).max())
        assert np.linalg.eigvalsh(dense).min() > 0


def test_the_nystrom_preconditioner_of_full_rank_is_the_inverse():
    case = CASES[4]
    *_, matrix = both(case.rows(), case.data()[3], 0.1, 1e-2)
    size = matrix.root.size
    apply = Nystrom.of(matrix.scaled_product, matrix.root.shape, size).inverse(1e-2)
    V = np.random.default_rng(0).standard_normal(matrix.root.shape)
    np.testing.assert_allclose(apply(matrix.scaled_product(V) + 1e-2 * V), V, atol=1e-7)


def test_the_kronecker_preconditioner_is_the_inverse_where_the_gates_ignore_the_inputs():
    """One neuron that is active everywhere: M without the projection is its Kronecker product."""
    rows = Case("one neuron", n_neurons=1).rows()
    A = np.array([[1.0], *[[1e-3]] * 3])
    products = PatternProducts.at(rows, A)
    network = ReLUNetwork(A, [[2.0]], [0.0])
    apply = Kronecker.of(products, network, 0.0).inverse(1e-2)
    Xt = np.column_stack([np.ones(rows.n_rows), rows.X])
    gram = Xt.T @ Xt
    root = np.sqrt(np.diagonal(gram))
    dense = gram / np.outer(root, root) + 1e-2 * np.eye(4)
    V = np.random.default_rng(0).standard_normal((4, 1))
    np.testing.assert_allclose(apply(V), np.linalg.solve(dense, V), rtol=1e-9)


@pytest.mark.parametrize("kind", PRECONDITIONERS)
def test_a_converged_solve_is_that_of_the_dense_matrix(case: Case, kind):
    alpha, damping = 1e-2, 1e-2
    A = case.data()[3]
    problem = Problem(case.rows(), case.n_neurons, alpha, case.negative_slope)
    state = MatrixFree().begin(problem, A)
    M, gradient = projected_system(
        problem.rows.statistics(state.network.A, case.negative_slope),
        state.network.A,
        state.network.B,
        state.network.b0,
        alpha,
    )
    settings = MatrixFree(preconditioner=kind, forcing=1e-14, max_products=2000, damping=damping, rank=10)
    matrix = ProjectedProducts(state.statistics, state.network, alpha)
    diagonal = matrix.diagonal.T.ravel()
    expected = np.linalg.solve(M + damping * np.diag(diagonal), -gradient)
    A = state.network.A + expected.reshape(A.T.shape).T
    output = problem.rows.output_statistics(A, case.negative_slope)
    loss = output.loss(A, *output_layer(output, alpha), alpha)
    predicted = float(expected @ (damping * diagonal * expected - gradient))
    taken = settings.step(problem, replace(state, damping=damping))
    if loss < state.loss - 1e-4 * predicted:
        # Balancing after the step changes nothing but the penalty, which is then least.
        reference = VarPro().begin(problem, A)
        np.testing.assert_allclose(taken.network.A, reference.network.A, rtol=1e-6, atol=2e-6 * np.abs(A).max())
        assert taken.record.damping == damping
    else:
        assert taken.record.damping > damping


@pytest.mark.parametrize("kind", PRECONDITIONERS)
def test_the_loss_never_rises(case: Case, kind):
    problem = Problem(case.rows(), case.n_neurons, 1e-3, case.negative_slope)
    solver = MatrixFree(preconditioner=kind, rank=10)
    solution = solve(problem, solver, tol=0.0, max_iter=25, rng=np.random.default_rng(0))
    losses = solution.history["loss"]
    assert np.all(np.diff(losses) <= 0)
    assert losses[-1] < losses[0]
    X, Y, w, _ = case.data()
    network = solution.network
    expected = dense_loss(X, Y, w, network.A, network.B, network.b0, case.negative_slope, 1e-3)
    assert solution.loss == pytest.approx(expected, rel=1e-8)
    taken = [record for record in solution.history[1:] if record.branch == "step"]
    assert all(record.products > 0 for record in taken)


def test_it_goes_as_deep_as_the_dense_solver():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 6))
    y = np.sin(2 * X[:, 0]) + np.abs(X[:, 1] + X[:, 2]) + 0.1 * rng.standard_normal(1500)
    problem = Problem(ArrayRows(X, y), 10, 1e-4)
    ends = [
        np.mean([solve(problem, solver, rng=np.random.default_rng(seed)).loss for seed in range(4)])
        for solver in (VarPro(), MatrixFree())
    ]
    assert ends[1] < 1.15 * ends[0]


def test_conjugate_gradients_stop_where_no_curvature_is_positive():
    right = np.ones((2, 2))
    assert conjugate_gradients(lambda V: -V, right, lambda V: V, 0.1, 10) == (None, 1)
    solution, count = conjugate_gradients(lambda V: 2 * V, right, lambda V: V, 0.1, 10)
    np.testing.assert_allclose(solution, 0.5 * right)
    assert count == 1


def test_the_estimated_evidence_is_near_the_exact_one():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 20))
    y = np.sin(X[:, 0]) + np.abs(X[:, 1]) + 0.3 * rng.standard_normal(2000)
    for alpha in (1e-1, 1e-2, 1e-3):
        problem = Problem(ArrayRows(X, y), 16, alpha)
        network = solve(problem, VarPro(), max_iter=10, rng=rng).network
        statistics, products = problem.rows.statistics(network.A), PatternProducts.at(problem.rows, network.A)
        exact, estimate = joint_inverse(statistics, network, alpha), joint_estimate(products, network, alpha)
        assert estimate.effective_parameters == pytest.approx(exact.effective_parameters, rel=0.1)
        assert estimate.log_determinant == pytest.approx(exact.log_determinant, rel=0.1)
        wanted = evidence(statistics, network, alpha).alpha
        found = evidence(products, network, alpha)
        assert found.alpha == pytest.approx(wanted, rel=0.15)
        np.testing.assert_array_equal(found.input_alphas, np.full(20, found.alpha))
    with pytest.raises(ValueError, match="alpha must be positive"):
        joint_estimate(products, network, 0.0)


def test_the_penalty_chosen_is_near_that_of_the_dense_solver():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 8))
    y = np.sin(X[:, 0]) + np.abs(X[:, 1]) + 0.3 * rng.standard_normal(1000)
    problem = Problem(ArrayRows(X, y), 8, 0.0)
    dense, free = (
        choose_alpha(problem, np.random.default_rng(0), solver=solver, relevance=True)
        for solver in (VarPro(), MatrixFree())
    )
    np.testing.assert_array_equal(free.relevance, np.ones(8))
    assert 1 / 4 < free.alpha / choose_alpha(problem, np.random.default_rng(0)).alpha < 4
    assert dense.alpha > 0


def wide_rows(n_rows: int = 60, n_features: int = 300, n_neurons: int = 80) -> Problem:
    """Return a problem whose dense iteration would take seconds."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_features))
    return Problem(ArrayRows(X, np.sin(X[:, :1])), n_neurons, 1e-3)


def test_auto_goes_by_size(monkeypatch):
    small = Problem(CASES[0].rows(), 5, 0.0)
    assert isinstance(automatic_solver(small).inner, Hybrid)
    assert isinstance(automatic_solver(wide_rows()).inner, MatrixFree)
    # A dense iteration that is dear, but not much dearer.
    monkeypatch.setattr("anmin.search.automatic.DEAR", 1.0)
    assert isinstance(automatic_solver(small).inner, Hybrid)
    monkeypatch.setattr("anmin.search.automatic.available_bytes", lambda: 1000)
    assert isinstance(automatic_solver(small).inner, MatrixFree)
    assert not automatic_solver(small, recombine=False).recombine


def test_memory_grows_with_neurons_times_inputs_not_its_square():
    solver = Recombining(MatrixFree())
    assert solver.required_bytes(500, 128, 1, 20_000) < 5e8
    assert Recombining().required_bytes(500, 128, 1, 20_000) > 1e11
    assert solver.required_bytes(500, 128, 1, 40_000) > solver.required_bytes(500, 128, 1, 20_000)
    for kind in PRECONDITIONERS:
        assert MatrixFree(preconditioner=kind).required_bytes(500, 128, 1, 20_000) < 2e9


def test_a_fit_that_memory_refused_runs_by_default(monkeypatch):
    X, Y, _, _ = CASES[0].data()
    needed = Recombining().required_bytes(3, 40, 1, 200)
    least = Recombining(MatrixFree()).required_bytes(3, 40, 1, 200)
    assert least < needed
    free = (needed + least) // 2
    monkeypatch.setattr("anmin.memory.available_bytes", lambda: free)
    monkeypatch.setattr("anmin.search.automatic.available_bytes", lambda: free)
    with pytest.raises(ValueError, match=r"n_neurons=40 with 3 inputs needs about .* of memory, of which .* are free"):
        ReLURegressor(40, solver="varpro").fit(X, Y)
    with pytest.warns(match="max_iter"):
        model = ReLURegressor(40, max_iter=4, random_state=0).fit(X, Y)
    assert model.history_["products"].sum() > 0


@pytest.mark.parametrize("settings", [{}, {"validation_fraction": 0.2}, {"alpha": 1e-3, "dtype": "float32"}])
def test_a_default_fit_of_many_inputs_and_neurons(settings):
    problem = wide_rows(n_rows=400)
    with pytest.warns(match="max_iter"):
        model = ReLURegressor(80, max_iter=3, random_state=0, **settings).fit(problem.rows.X, problem.rows.Y)
    assert model.history_["products"].sum() > 0
    assert np.all(np.diff(model.history_["loss"]) <= 0)
    assert model.predict(problem.rows.X).shape == (400, 1)


def hybrid_problem(n_rows: int = 8000) -> Problem:
    """Return a problem whose sums cost much more than products."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 12))
    y = np.sin(2 * X[:, 0]) + np.abs(X[:, 1] + X[:, 2]) + 0.1 * rng.standard_normal(n_rows)
    return Problem(ArrayRows(X, y), 64, 1e-4)


def test_the_hybrid_goes_over_to_exact_steps_and_never_rises():
    problem, solver = hybrid_problem(3000), Hybrid()
    assert solver.cheaper_without_matrix(problem)
    state = solver.begin(problem, starting_weights(problem, np.random.default_rng(0)))
    kinds, losses = [], [state.loss]
    for _ in range(60):
        kinds.append(solver.is_rough(state))
        before, state = state, solver.step(problem, state)
        losses.append(state.loss)
        if kinds[-1] and not solver.is_rough(state):
            assert before.loss - state.loss < solver.rough_until * before.loss
            assert state.record.products > 0
        if not kinds[-1]:
            assert state.record.products == 0
            break
    assert kinds[0]
    assert not kinds[-1]
    assert kinds == sorted(kinds, reverse=True)
    assert np.all(np.diff(losses) <= 0)
    # From then on it is the exact solver, to the bit.
    exact = VarPro().step(problem, before)
    np.testing.assert_array_equal(state.network.A, exact.network.A)
    assert isinstance(solver.sums(problem, state.network.A, before.statistics), PatternStatistics)


def test_the_hybrid_is_the_exact_solver_where_that_is_cheap():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 2))
    problem = Problem(ArrayRows(X, np.abs(X[:, 0])), 16, 1e-6)
    A = starting_weights(problem, rng)
    assert not Hybrid().cheaper_without_matrix(problem)
    assert not Hybrid().is_rough(Hybrid().begin(problem, A))
    assert Hybrid().required_bytes(2, 16, 1, 20_000) >= VarPro().required_bytes(2, 16, 1, 20_000)


def test_the_hybrid_keeps_the_kind_of_sums_it_is_given():
    problem = hybrid_problem(3000)
    A = starting_weights(problem, np.random.default_rng(0))
    solver = Hybrid()
    exact = problem.rows.statistics(A)
    rough = PatternProducts.at(problem.rows, A)
    assert not solver.is_rough(solver.begin(problem, A, exact))
    assert solver.is_rough(solver.begin(problem, A, rough))
    assert solver.begin(problem, A, exact).loss == pytest.approx(solver.begin(problem, A, rough).loss, rel=1e-12)


def test_by_name_it_searches_as_the_dense_solver_does():
    X, Y, _, _ = CASES[0].data()
    with pytest.warns(match="max_iter"):
        model = ReLURegressor(5, solver="matrix_free", alpha=1e-3, max_iter=200, random_state=0).fit(X, Y)
    branches = set(model.history_["branch"])
    assert {"parent", "child"} & branches
    assert np.all(np.diff(model.history_["loss"]) <= 0)
    again = ReLURegressor(5, solver="matrix_free", alpha=1e-3, max_iter=3, warm_start=True)
    again.network_ = model.network_
    with pytest.warns(match="max_iter"):
        again.fit(X, Y)
    assert again.history_["loss"][0] == pytest.approx(model.loss_, rel=1e-6)


def test_an_interrupt_keeps_the_best_network(monkeypatch):
    problem = Problem(CASES[0].rows(), 5, 1e-3)
    forward, calls = PatternProducts.forward, []

    def interrupted(self, *arguments):
        calls.append(None)
        if len(calls) == 40:
            raise KeyboardInterrupt
        return forward(self, *arguments)

    monkeypatch.setattr(PatternProducts, "forward", interrupted)
    solution = solve(problem, MatrixFree(), tol=0.0, rng=np.random.default_rng(0))
    assert solution.status is Status.INTERRUPTED
    assert solution.loss == solution.history["loss"].min()


@pytest.mark.parametrize(
    "settings",
    [{"damping": 0.0}, {"preconditioner": "none"}, {"forcing": 1.0}, {"max_products": 0}, {"rank": 0}],
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        MatrixFree(**settings)


@pytest.mark.parametrize("negative_slope", [0.0, 0.1])
def test_the_evidence_of_few_weights_is_exact(negative_slope):
    rng = np.random.default_rng(0)
    rows = ArrayRows(rng.standard_normal((300, 4)), rng.standard_normal((300, 2)), rng.uniform(0.5, 2.0, 300))
    A = rng.standard_normal((5, 6))
    problem = Problem(rows, 6, 1e-2, negative_slope)
    network = VarPro().begin(problem, A).network
    sums = rows.statistics(network.A, negative_slope), PatternProducts.at(rows, network.A, negative_slope)
    exact = joint_inverse(sums[0], network, problem.alpha)
    found = joint_estimate(sums[1], network, problem.alpha)
    assert found.effective_parameters == pytest.approx(exact.effective_parameters, rel=1e-8)
    assert found.log_determinant == pytest.approx(exact.log_determinant, rel=1e-8)
