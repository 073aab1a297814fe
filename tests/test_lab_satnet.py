"""The MAXSAT relaxation and its layer: brute force, finite differences, and boards it learns to fill in."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the layer is a PyTorch module")

from anmin.lab import sudoku  # noqa: E402
from anmin.lab.maxsat import fewest_unsatisfied, n_unsatisfied, relaxed_maxsat  # noqa: E402
from anmin.lab.parity import Parity, strings, train, wrong  # noqa: E402
from anmin.lab.satnet import SATNet  # noqa: E402


def random_clauses(rng, m, n, literals):
    clauses = np.zeros((m, n))
    for row in clauses:
        row[rng.permutation(n)[:literals]] = rng.choice([-1, 1], literals)
    return clauses


def indicator(clause, values):
    """(‖V s̃‖² − (|s̃| − 1)²)/(4|s̃|) at vectors ±v_T."""
    count = np.count_nonzero(clause)
    total = -1 + clause @ np.where(values, 1, -1)
    return (total**2 - (count - 1) ** 2) / (4 * count)


@pytest.mark.parametrize("literals", [1, 2])
def test_the_objective_counts_unsatisfied_clauses_of_up_to_two_literals(literals):
    rng = np.random.default_rng(0)
    for clause in random_clauses(rng, 20, 4, literals):
        for values in rng.random((8, 4)) > 0.5:
            assert indicator(clause, values) == n_unsatisfied(clause[None], values)


def test_the_objective_errs_for_three_literals():
    assert indicator(np.ones(3), np.array([True, True, False])) == pytest.approx(-1 / 3)


@pytest.mark.parametrize("seed", range(4))
def test_the_relaxation_bounds_and_its_rounding_attains_what_brute_force_finds(seed):
    rng = np.random.default_rng(seed)
    clauses = random_clauses(rng, 30, 8, 2)
    fewest, relaxed = fewest_unsatisfied(clauses), relaxed_maxsat(clauses, rng)
    assert relaxed.unsatisfied <= fewest + 1e-9
    assert relaxed.left == fewest == n_unsatisfied(clauses, relaxed.values)
    np.testing.assert_allclose(np.linalg.norm(relaxed.V, axis=1), 1, rtol=1e-12)


def layer(**settings):
    made = SATNet(6, 10, 3, **{"k": 6, "prox": 0.0, "tol": 0.0, "dtype": torch.float64} | settings)
    with torch.no_grad():
        made.S.mul_(3)  # a landscape with slopes, so that sweeps settle
    return made


def problem():
    generator = torch.Generator().manual_seed(1)
    z = torch.rand(4, 6, dtype=torch.float64, generator=generator)
    given = torch.rand(4, 6, generator=generator) < 0.5
    return z, given, torch.randn(4, 6, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("which", ["clauses", "values"])
def test_derivatives_are_those_of_finite_differences(which):
    made, (z, given, weights) = layer(max_sweeps=1000), problem()
    z.requires_grad_()
    (made(z, given) * weights).sum().backward()
    argument, gradient = (made.S.data, made.S.grad) if which == "clauses" else (z.data, z.grad)
    step, expected = 1e-6, torch.zeros_like(argument)
    with torch.no_grad():
        for k in range(argument.numel()):
            ends = []
            for sign in (1, -1):
                argument.view(-1)[k] += sign * step
                ends.append(float((made(z, given) * weights).sum()))
                argument.view(-1)[k] -= sign * step
            expected.view(-1)[k] = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-6)


def test_sweeps_lower_the_objective_to_a_stationary_point():
    z, given, _ = problem()
    rough, exact = (layer(max_sweeps=sweeps)(z, given) for sweeps in (1, 3000))
    finer = layer(max_sweeps=6000)(z, given)
    assert (exact - finer).abs().max() < 1e-9 < (rough - exact).abs().max()


def test_given_values_pass_and_instances_do_not_touch_each_other():
    made, (z, given, _) = layer(max_sweeps=50), problem()
    out = made(z, given)
    assert torch.equal(out[given], z[given])
    assert torch.equal(made(z[2:3], given[2:3]), out[2:3])
    everything = torch.ones_like(given)
    assert torch.equal(made(z, everything), z)


def test_threads_change_no_bit():
    # Enough operations that threads are started.
    values, given = sudoku.small_boards(np.random.default_rng(0))[:40].truth_values()
    found = []
    for count in (1, 3):
        made = sudoku.solver(4, 48, 16, seed=0, threads=count)
        out = made(values, given)
        out.sum().backward()
        found.append((out.detach(), made.S.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_a_loaded_layer_is_the_same_function():
    made, (z, given, _) = layer(), problem()
    other = SATNet(6, 10, 3, k=6, seed=5, prox=0.0, tol=0.0, dtype=torch.float64)
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(z, given), made(z, given))


def test_bad_input_of_the_layer():
    for settings, message in (
        ({"n": 0}, "n must be an integer of at least 1; got 0"),
        ({"m": 2.5}, "m must be"),
        ({"aux": -1}, "aux must be"),
        ({"k": 1}, "k must be an integer of at least 2"),
        ({"tol": -1.0}, "tol must be"),
        ({"prox": float("nan")}, "prox must be"),
        ({"dtype": torch.int64}, "dtype must be"),
        ({"threads": 0}, "threads must be"),
    ):
        with pytest.raises(ValueError, match=message):
            SATNet(**{"n": 3, "m": 4} | settings)
    made, (z, given, _) = layer(), problem()
    with pytest.raises(ValueError, match=r"z must be torch\.float64 of shape"):
        made(z.float(), given)
    with pytest.raises(ValueError, match="given must be bool"):
        made(z, given[:, :3])
    with pytest.raises(ValueError, match="between 0 and 1"):
        made(z + 1, torch.ones_like(given))


def test_bad_clauses():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="−1, 0 and 1"):
        relaxed_maxsat(np.array([[2.0, 0.0]]), rng)
    with pytest.raises(ValueError, match="number 1 has none"):
        relaxed_maxsat(np.array([[1, 0], [0, 0]]), rng)
    with pytest.raises(ValueError, match="at most 20"):
        fewest_unsatisfied(np.ones((1, 21)))


def test_there_are_288_small_boards_and_each_puzzle_has_one_solution():
    boards = sudoku.small_boards(np.random.default_rng(0))
    assert len(np.unique(boards.solutions, axis=0)) == len(boards) == 288
    squares = boards.solutions.reshape(-1, 2, 2, 2, 2)
    for lines in (boards.solutions.reshape(-1, 4, 4), squares.transpose(0, 1, 3, 2, 4).reshape(-1, 4, 4)):
        assert (np.sort(lines, axis=2) == np.arange(4)).all()
    for solution, given in zip(boards.solutions, boards.given, strict=True):
        assert given.sum() == 8
        assert (boards.solutions[:, given] == solution[given]).all(axis=1).sum() == 1


def test_small_boards_are_learnt_also_where_their_cells_are_shuffled():
    rng = np.random.default_rng(0)
    boards = sudoku.small_boards(rng)
    for puzzles in (boards, boards.permuted(rng.permutation(16))):
        model = sudoku.solver(4, 48, 16, seed=0)
        sudoku.train(model, puzzles[:200], epochs=5, batch=10, rate=0.02, seed=0)
        assert sudoku.solved(model, puzzles[200:]) >= 0.95


def test_parity_of_short_strings_is_learnt_from_the_last_bit():
    generator = torch.Generator().manual_seed(0)
    model = Parity(seed=0)
    train(model, *strings(3000, 5, generator), epochs=1, rate=0.1, generator=generator)
    assert wrong(model, *strings(500, 5, generator)) == 0
    # What was learnt is a rule of two bits, equal or unequal, which holds along longer strings: with an odd number of
    # steps the first of them says the opposite of parity.
    assert wrong(model, *strings(500, 20, generator)) in (0.0, 1.0)
    assert wrong(model, *strings(500, 9, generator)) == 0
