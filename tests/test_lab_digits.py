"""The study of digits: its images, the width of equal weights, and its verdicts at small sizes."""

from __future__ import annotations

import numpy as np
import pytest

from anmin.lab import images, study_digits
from anmin.lab.images import Images, digits, prepared
from anmin.lab.study_digits import Size, accuracy, best_rate, convex, equal_width

pytest.importorskip("torch", reason="the descents need PyTorch")
pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")


def test_inputs_are_the_main_components_of_the_training_rows_at_one_scale():
    rng = np.random.default_rng(0)
    X, X_test = rng.standard_normal((2, 60, 5)) * [5.0, 3.0, 1.0, 0.5, 0.1] + 7
    found = prepared("made up", X, np.zeros(60), X_test, np.ones(60), 2)
    assert np.mean(found.X**2) == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(found.X.mean(axis=0), 0, atol=1e-12)
    _, s, Vt = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    scale = np.sqrt((s[:2] ** 2).sum() / found.X.size)
    np.testing.assert_allclose(np.abs(found.X_test), np.abs((X_test - X.mean(axis=0)) @ Vt[:2].T) / scale, atol=1e-9)
    with pytest.raises(ValueError, match="n_components must be an integer from 1 to 5; got 6"):
        prepared("made up", X, np.zeros(60), X_test, np.ones(60), 6)


def test_digits_are_split_without_overlap_and_by_the_seed():
    one, again, other = digits(0, 10), digits(0, 10), digits(1, 10)
    assert one.X.shape == (1257, 10)
    assert one.X_test.shape == (540, 10)
    np.testing.assert_array_equal(one.labels, again.labels)
    assert not np.array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.targets().argmax(axis=1), one.labels)
    assert one.targets().sum() == 1257


def test_missing_files_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("ANMIN_DATA", str(tmp_path))
    for name, load in ((images.MNIST, lambda: images.mnist(0, 5, 10)), (images.CIFAR, lambda: images.cifar(0, 5))):
        assert not images.is_there(name)
        with pytest.raises(FileNotFoundError, match=f"There is no {name}; set ANMIN_DATA"):
            load()


def test_shared_files_have_the_sizes_of_the_sources(shared_data, monkeypatch):
    monkeypatch.setenv("ANMIN_DATA", str(shared_data))
    found = images.mnist(0, 5, 300)
    assert (found.X.shape, found.X_test.shape) == ((300, 5), (10_000, 5))
    assert images.is_there(images.CIFAR)


def test_as_many_weights():
    for n_gates, d, c in ((30, 40, 10), (7, 3, 2)):
        h = equal_width(n_gates, d, c)
        weights = h * (d + 1 + c)
        assert abs(weights - n_gates * (d + 1) * c) <= (d + 1 + c) / 2


def test_accuracy_counts_rows():
    assert accuracy(lambda X: X, np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]]), np.array([0, 1, 1])) == (
        pytest.approx(200 / 3)
    )


def test_the_convex_program_separates_what_a_line_does():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2))
    labels = (X[:, 0] > 0).astype(int)
    found = Images("made up", X[:100], X[100:], labels[:100], labels[100:])
    assert accuracy(convex(found, 5, 0), found.X_test, found.labels_test) > 93


def test_the_best_rate_is_one_that_does_not_stand_still(monkeypatch):
    monkeypatch.setitem(study_digits.RATES, "sgd", (1e-9, 1.0))
    assert best_rate(digits(0, 10), 8, "sgd", 5, 0) == 1.0


def test_seeds_have_to_agree_for_a_verdict():
    verdict = study_digits._said_by_seeds
    assert verdict([5, 4], 5) is True
    assert verdict([5, 1], 5) is False
    assert verdict([5, 3], 5) is None
    assert verdict([1, 1], 1) is True


def test_the_study_at_small_sizes(monkeypatch):
    monkeypatch.setattr(study_digits, "QUICK", Size(1, 6, 12, 8, 0))
    study = study_digits.run(quick=True)
    higher, near = study.claims
    found = {str(row[0]).split(", ", 1)[1]: float(str(row[1]).split()[0]) for row in study.tables[0].rows}
    assert (higher.verdict == "agrees") == (found["convex"] > max(found["SGD"], found["Adagrad"]))
    best = max(found[name] for name in ("Adam", "SGD", "Adagrad"))
    assert (near.verdict == "agrees") == (found["convex"] >= best - 1.0)
    assert all(50 < value <= 100 for value in found.values())
    assert study.pictures[0].content.startswith(b"\x89PNG")
