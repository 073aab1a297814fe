"""The race of convex programs and descents: its curves are of one loss, and the study's verdicts follow from them."""

from __future__ import annotations

import numpy as np
import pytest

from anmin.lab import race, study_convex_race
from anmin.lab.baselines import Recipe
from anmin.lab.race import Curve
from anmin.lab.table_race import ADAM, CONVEX, SGD, Size, standardised_rows
from anmin.network import ReLUNetwork
from anmin.rows import ArrayRows
from anmin.solvers.convex import solve_convex

pytest.importorskip("torch", reason="the descents need PyTorch")
pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")


@pytest.fixture
def rows() -> ArrayRows:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3))
    return ArrayRows(X, np.abs(X[:, :1]) - X[:, 1:2] + 0.1 * rng.standard_normal((80, 1)))


def test_curves_are_of_the_lowest_loss_so_far():
    curve = Curve.of([3.0, 1.0, 2.0, 4.0], [2.0, 5.0, np.nan, 3.0], 7)
    np.testing.assert_array_equal(curve.seconds, [1, 2, 3, 4])
    np.testing.assert_array_equal(curve.losses, [5, 5, 2, 2])
    assert curve.final == 2
    assert [curve.at(t) for t in (0.5, 1.0, 2.9, 9.0)] == [np.inf, 5, 5, 2]


def test_all_curves_are_of_the_one_loss(rows):
    """That of the rows' own sums, for descents; the convex program's is that of its network."""
    curve, network = race.descent_curve(rows, 4, 0.01, Recipe("adam", 0.05, 20, 40, None), 1)
    output = rows.output_statistics(network.A, 0.0)
    assert curve.final == pytest.approx(output.loss(network.A, network.B, network.b0, 0.01), rel=1e-12)
    assert np.all(np.diff(curve.losses) <= 0)
    assert curve.losses[0] > curve.final
    gates = race.drawn_gates(rows, 6, 2)
    convex = race.convex_curve(rows, gates, 0.01, tols=(1e-2, 1e-6))
    solved = solve_convex(rows, gates, 0.01, tol=1e-6).network()
    assert convex.final == pytest.approx(race.loss_of(solved, rows, 0.01), rel=1e-9)
    assert convex.n_neurons == solved.n_neurons
    # Without cones there is more to choose from.
    assert race.gated_curve(rows, gates, 0.01, tols=(1e-6,)).final <= convex.final
    own, fitted = race.solver_curve(rows, 4, 0.01, "varpro", 0, 5.0)
    assert own.final == pytest.approx(race.loss_of(fitted, rows, 0.01), rel=1e-9)


def test_gates_of_networks_have_each_of_their_patterns_once(rows):
    rng = np.random.default_rng(3)
    networks = [ReLUNetwork(rng.standard_normal((4, 5)), np.ones((5, 1)), [0.0]) for _ in range(2)]
    networks.append(networks[0])
    gates = race.gates_of(networks, rows)
    wanted = {column.tobytes() for network in networks for column in network.pattern(rows.X).T if column.any()}
    found = [column.tobytes() for column in (race.with_ones(rows.X) @ gates > 0).T]
    assert set(found) == wanted
    assert len(found) == len(wanted)
    for network in networks[:2]:
        loss = race.loss_of(network, rows, 0.01)
        assert race.convex_curve(rows, gates, 0.01, tols=(1e-6,)).final <= loss


def test_rows_of_a_table_are_standardised_and_drawn():
    rows = standardised_rows("diabetes", 100)
    assert rows.X.shape == (100, 10)
    for values in (rows.X, rows.Y):
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(values.std(axis=0), 1, rtol=0.02)


def test_the_study_at_small_sizes_and_without_files(monkeypatch):
    monkeypatch.delenv("ANMIN_DATA", raising=False)
    tiny = Size(1, 100, 60, 0.1, 1, {"sgd": (0.01, 0.1), "adam": (0.001, 0.01)}, 0, 2, 3, 5, (40, 6))
    monkeypatch.setattr(study_convex_race, "QUICK", tiny)
    study = study_convex_race.run(quick=True)
    assert "ANMIN_DATA names no folder" in study.summary
    lower, _, _, patterns, synthetic = study.claims
    cells = dict(zip(study.tables[0].columns, study.tables[0].rows[0], strict=True))
    final = {method: float(str(cells[method]).split()[0]) for method in (CONVEX, SGD, ADAM)}
    assert (lower.verdict == "agrees") == (final[CONVEX] < min(final[SGD], final[ADAM]))
    assert patterns.verdict == synthetic.verdict == "agrees"
    assert np.isfinite([row[1:] for row in study.tables[1].rows]).all()
    assert study.pictures[0].content.startswith(b"\x89PNG")
