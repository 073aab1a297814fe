"""Seismograms of one dimension against d'Alembert's solution, and the two studies of second-order methods, small."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the seismograms are PyTorch's")

from anmin.lab import digits, study_second_order, study_seismogram  # noqa: E402
from anmin.lab.digits import descent_on_digits  # noqa: E402
from anmin.lab.finite_sum import FiniteSum  # noqa: E402
from anmin.lab.seismogram import CELLS, COURANT, TIMES, Seismogram, layered_survey  # noqa: E402


def traces(model, source):
    """Return u of one shot, (TIMES, receivers)."""
    return model(torch.tensor([source])).detach().view(TIMES, -1).numpy()


def arriving(model, distance):
    """Return what d'Alembert's formula has arrive in a medium of velocity 1: half the integral of the source so far."""
    steps = np.arange(TIMES)
    integral = torch.cumsum(model.wavelet, 0).numpy() * COURANT / 2  # up to half a step later
    return np.interp(steps + 0.5 - distance / COURANT, steps, integral, left=0.0)


def test_sound_of_a_uniform_medium_is_dalemberts():
    model = Seismogram()
    seen = traces(model, 12)
    for k, receiver in enumerate(model.receivers.tolist()):
        expected = arriving(model, abs(receiver - 12))
        assert abs(seen[:, k].argmax() - expected.argmax()) <= 1
        # The scheme disperses: the error grows with the way.
        assert np.abs(seen[:, k] - expected).max() < (0.06 + 0.005 * abs(receiver - 12)) * np.abs(expected).max()


def test_sound_leaves_at_both_ends():
    seen = traces(Seismogram(), 30)
    assert np.abs(seen[-30:]).max() < 0.02 * np.abs(seen).max()


@pytest.mark.parametrize("velocity", [0.8, 1.2])
def test_a_step_of_velocity_reflects_by_its_coefficient(velocity):
    """(c₂ − c₁)/(c₂ + c₁) of what arrives at the same distance where nothing reflects."""
    model, uniform = Seismogram(), Seismogram()
    with torch.no_grad():
        model.log_velocity[39:] = math.log(velocity)  # from cell 40
    # From 27 to 39.5 and back to the receiver at 21; as far as from 26 to 57. Later the far end reflects.
    reflected = (traces(model, 27) - traces(uniform, 27))[:100, 3]
    expected = (velocity - 1) / (velocity + 1) * traces(uniform, 26)[:100, 9]
    assert np.abs(reflected - expected).max() < 0.15 * np.abs(expected).max()


def test_the_survey_is_that_of_its_medium():
    survey = layered_survey(noise=0.0, n_shots=3)
    objective = FiniteSum(Seismogram(), torch.nn.MSELoss(), survey.sources, survey.traces)
    assert objective.value() > 0.01
    objective.move_to(survey.log_velocity)
    assert objective.value() < 1e-25
    assert len(survey.log_velocity.unique()) == 6
    noisy = layered_survey(noise=0.1, n_shots=3)
    error = (noisy.traces - survey.traces).std() / survey.traces.std()
    assert float(error) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_shots": 0}, "n_shots must be an integer of at least 1; got 0."),
        ({"n_layers": CELLS}, "There may be 58 shots and layers at most; got 16 and 60."),
        ({"noise": -1.0}, "noise must be a finite number of at least 0; got -1.0."),
        ({"contrast": 0.5}, "contrast must be below ln"),
    ],
)
def test_bad_surveys_get_one_sentence(settings, message):
    with pytest.raises(ValueError, match=message):
        layered_survey(**settings)


def test_without_pytorch_the_message_names_the_extra():
    code = """
import sys
from anmin.lab.studies import run_study
sys.modules["torch"] = None
for name in ("momentum", "second_order", "seismogram"):
    try:
        run_study(name)
    except ImportError as error:
        print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["This study needs PyTorch: pip install 'anmin[lab]'."] * 3


def needs_the_lab():
    for name in ("matplotlib", "pytorch_optimizer"):
        pytest.importorskip(name, reason="part of the extra lab")


@pytest.mark.parametrize("method", digits.GRID)
def test_every_method_learns_digits(method):
    needs_the_lab()
    runs = [descent_on_digits(method, digits.GRID[method][1], 20, 3) for _ in range(2)]
    assert np.array_equal(runs[0].losses, runs[1].losses)
    assert runs[0].losses[-1] < 0.8 * runs[0].losses[0]
    assert runs[0].test > 0.4


def test_bad_methods_get_one_sentence():
    with pytest.raises(ValueError, match="method must be one of AdamW, AdaHessian, SQGN, LiSSA; got 'Adam'"):
        descent_on_digits("Adam", 0.1, 20, 0)
    with pytest.raises(ValueError, match="rate must be a finite number above 0; got -1"):
        descent_on_digits("AdamW", -1, 20, 0)
    with pytest.raises(ValueError, match="n_steps must be an integer of at least 10; got 0"):
        descent_on_digits("AdamW", 0.1, 0, 0)


def test_the_study_of_seismograms(monkeypatch):
    needs_the_lab()
    monkeypatch.setattr(study_seismogram, "_GRID", {"Adam": (0.03,), "SQGN": (0.3,)})
    study = study_seismogram._study(2, 1, 10, 0)
    assert len(study.claims) == 3
    for row in study.tables[0].rows:
        assert np.isfinite(row[1:]).all()
        assert row[3] <= row[2] <= row[4] < 0.4  # the start has more
    assert [picture.name for picture in study.pictures] == ["losses", "velocity"]


def test_the_study_of_second_order_methods(monkeypatch):
    pytest.importorskip("curvlinops", reason="part of the extra lab")
    needs_the_lab()
    few = {"AdamW": (0.03,), "AdaHessian": (0.3,), "SQGN": (0.1, 1e6), "LiSSA": (0.3,)}
    monkeypatch.setattr(study_second_order, "GRID", few)
    study = study_second_order._study(2, 1, (1.0, 5.0), 10, {1: (2, 1)}, 0)
    verdicts = [claim.verdict for claim in study.claims[2:]]
    assert verdicts == ["agrees", "differs", "agrees", "differs", "agrees"]
    accuracies, grid, costs = study.tables
    assert [row[1] for row in costs.rows] == [0.03, 0.3, 0.1, 0.3]  # of two rates the better
    assert len(accuracies.rows) == 8
    assert len(grid.rows) == 5
    assert [picture.name for picture in study.pictures] == ["rates", "losses", "lissa"]
