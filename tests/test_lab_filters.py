"""One convolutional filter: patches and their sums exactly, Convotron, gradients, and the study."""

from __future__ import annotations

import numpy as np
import pytest

from anmin.lab import study_filters
from anmin.lab.filters import (
    convotron,
    cross_term,
    filter_descent,
    filter_output,
    image_patch_gram,
    image_patch_matrices,
    patch_gram,
    patch_matrices,
)
from anmin.lab.study_filters import run, similar_patches
from lab_checks import check_study


@pytest.mark.parametrize(
    ("layer", "gram", "eigenvalues"),
    [
        ((5, 3, 1), [[3, 2, 1], [2, 3, 2], [1, 2, 3]], [(7 - np.sqrt(33)) / 2, 2, (7 + np.sqrt(33)) / 2]),
        ((7, 3, 2), [[3, 0, 2], [0, 3, 0], [2, 0, 3]], [1, 3, 5]),
    ],
)
def test_sums_of_patches_are_those_of_the_source(layer, gram, eigenvalues):
    P = patch_gram(*layer)
    np.testing.assert_array_equal(P, gram)
    np.testing.assert_allclose(np.linalg.eigvalsh(P), eigenvalues, atol=1e-12)


@pytest.mark.parametrize("layer", [(5, 3, 1), (7, 3, 2), (8, 3, 2), (9, 4, 3), (6, 6, 1), (5, 5, 9), (12, 3, 5)])
def test_the_closed_form_is_the_sum_over_patches(layer):
    n, r, stride = layer
    patches = patch_matrices(*layer)
    assert len(patches) == (n - r) // stride + 1
    x = np.arange(n)
    np.testing.assert_array_equal(patches @ x, [x[i * stride : i * stride + r] for i in range(len(patches))])
    np.testing.assert_array_equal(sum(a @ b.T for a in patches for b in patches), patch_gram(*layer))


def test_patches_of_images():
    sizes, filters, strides = (5, 6), (2, 3), (2, 1)
    patches = image_patch_matrices(sizes, filters, strides)
    image = np.random.default_rng(0).standard_normal(sizes)
    cut = [image[i : i + 2, j : j + 3].ravel() for i in (0, 2) for j in range(4)]
    np.testing.assert_array_equal(patches @ image.ravel(), cut)
    np.testing.assert_array_equal(
        sum(a @ b.T for a in patches for b in patches), image_patch_gram(sizes, filters, strides)
    )


@pytest.mark.parametrize("slope", [0.0, 0.1])
@pytest.mark.parametrize("layer", [(10, 3, 1), (20, 5, 5)])
def test_convotron_recovers_the_filter(layer, slope: float):
    rng = np.random.default_rng(0)
    patches = patch_matrices(*layer)
    Z = np.einsum("krn,in->ikr", patches, rng.standard_normal((1000, layer[0])))
    w_star = rng.standard_normal(layer[1])
    rate = 1 / (np.trace(patch_gram(*layer)) * len(patches))
    y = filter_output(Z, w_star, None, slope)
    found = convotron(Z, y, rate, 6, rng, negative_slope=slope)
    assert np.linalg.norm(found[-1] - w_star) < 1e-3
    assert not found[0].any()


def test_the_expected_step_of_convotron_is_linear_in_the_filter():
    rng = np.random.default_rng(1)
    patches, slope = patch_matrices(5, 3, 1), 0.1
    X = rng.standard_normal((400_000, 5))
    X = np.vstack([X, -X])
    Z = np.einsum("krn,in->ikr", patches, X)
    w_star, w = rng.standard_normal((2, 3))
    y = filter_output(Z, w_star, None, slope)
    gap = (filter_output(Z, w, None, slope) - y) @ Z.sum(axis=1) / len(Z)
    np.testing.assert_allclose(gap, (1 + slope) / 2 * patch_gram(5, 3, 1) @ (w - w_star), rtol=0.02, atol=0.02)
    # A pass in one batch is one such step, from zero.
    step = convotron(Z[:100], y[:100], 0.1, 1, rng, negative_slope=slope, batch=100)[1]
    np.testing.assert_allclose(step, 0.1 * y[:100] @ Z[:100].sum(axis=1) / 100, atol=1e-12)


def test_descent_steps_are_along_the_gradient():
    rng = np.random.default_rng(2)
    Z, y = rng.standard_normal((40, 3, 4)), rng.standard_normal(40)
    w, v = rng.standard_normal(4), rng.standard_normal(3)

    def loss(w, v):
        return np.mean((filter_output(Z, w, v) - y) ** 2) / 2

    path = filter_descent(Z, y, w, 0.1, 1, v=v)
    of_w = [(loss(w + e, v) - loss(w - e, v)) / 2e-6 for e in 1e-6 * np.eye(4)]
    of_v = [(loss(w, v + e) - loss(w, v - e)) / 2e-6 for e in 1e-6 * np.eye(3)]
    np.testing.assert_allclose((w - path.filters[1]) / 0.1, of_w, atol=1e-7)
    np.testing.assert_allclose((v - path.weights[1]) / 0.1, of_v, atol=1e-7)
    fixed = filter_descent(Z, y, w, 0.1, 3)
    np.testing.assert_array_equal(fixed.weights, np.full((4, 3), 1 / 3))


def test_the_cross_term_is_its_definition():
    rng = np.random.default_rng(3)
    Z, (w, w_star) = rng.standard_normal((50, 4, 3)), rng.standard_normal((2, 3))
    both = np.array([sum((z for z in row if z @ w > 0 and z @ w_star > 0), np.zeros(3)) for row in Z]) / 4
    wrong = np.array([sum((z for z in row if z @ w > 0 and z @ w_star <= 0), np.zeros(3)) for row in Z]) / 4
    found = cross_term(Z, w, w_star)
    assert found.gamma == pytest.approx(np.linalg.eigvalsh(sum(np.outer(a, a) for a in both) / 50)[0])
    outer = sum(np.outer(a, b) for a, b in zip(both, wrong, strict=True)) / 50
    assert found.cross == pytest.approx(np.linalg.norm(outer, 2))
    assert cross_term(Z, w_star, w_star).cross == 0.0


def test_closer_patches_need_fewer_steps():
    close, apart = similar_patches(0.1, 0), similar_patches(1.5, 0)
    assert 2 * close[0] < apart[0]
    assert close[1] / close[2] < apart[1] / apart[2]


Z0, Y0 = np.ones((4, 2, 3)), np.ones(4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: patch_matrices(3, 4, 1), r"r must be an integer from 1 to 3 \(the number of inputs\); got 4"),
        (lambda: patch_matrices(3, 2, 0), "stride must be an integer of at least 1; got 0"),
        (lambda: patch_gram(0, 1, 1), "n must be an integer of at least 1; got 0"),
        (lambda: image_patch_matrices((3, 3), (2, 4), (1, 1)), "r must be an integer from 1 to 3"),
        (lambda: convotron(Z0, Y0, -1.0, 1, None), "rate must be a finite number above 0; got -1.0"),
        (lambda: convotron(Z0, Y0[:3], 1.0, 1, None), r"y must have the shape \(4,\); got \(3,\)"),
        (lambda: convotron(Z0[0], Y0, 1.0, 1, None), r"Z must have the shape \(N, k, r\); got \(2, 3\)"),
        (lambda: convotron(Z0, Y0, 1.0, 0, None), "n_passes must be an integer of at least 1; got 0"),
        (lambda: convotron(Z0, Y0, 1.0, 1, None, negative_slope=1.5), "negative_slope"),
        (lambda: filter_descent(Z0, Y0, np.ones(2), 1.0, 1), r"w must have the shape \(3,\); got \(2,\)"),
        (lambda: filter_descent(Z0, Y0, np.ones(3), 1.0, 1, v=np.ones(3)), r"v must have the shape \(2,\)"),
        (lambda: filter_descent(Z0, Y0, np.ones(3), 1.0, 1, batch=5), "batch must be an integer from 1 to 4"),
        (lambda: filter_descent(Z0, Y0, np.ones(3), 1.0, 1, batch=2), "A batch needs rng"),
        (lambda: cross_term(Z0, np.ones(3), np.ones(2)), r"w_star must have the shape \(3,\)"),
    ],
)
def test_bad_input_is_refused(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_study_at_small_sizes(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("matplotlib", reason="studies draw with Matplotlib")
    monkeypatch.setattr(study_filters, "_PASSES", 6)
    monkeypatch.setattr(study_filters, "_ANGLES", (0.1, 0.7, 1.5))
    verdicts = list(check_study(run(quick=True), "filters", 2).values())
    assert verdicts[0] == verdicts[1] == verdicts[3] == "agrees"
