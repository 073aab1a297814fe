"""Displays and the report: what is drawn is where the numbers say, and the page needs nothing else."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from anmin import ReLUNetwork, ReLURegressor, datasets
from anmin.history import History, Record
from anmin.inspection import (
    CalibrationDisplay,
    CellsDisplay,
    ConditioningDisplay,
    CreaseDisplay,
    ErrorSizeDisplay,
    ImportanceDisplay,
    LeverageDisplay,
    LossCurveDisplay,
    PartialDependenceDisplay,
    PatternDisplay,
    ResidualsDisplay,
    Scores,
    write_model_report,
    write_report,
)
from anmin.inspection.plane import Plane, crease_segments
from anmin.inspection.plotting import colour_range

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(scope="module")
def plane_fit() -> tuple[ReLURegressor, datasets.Dataset]:
    data = datasets.make_sdf("star", size=16)
    return ReLURegressor(n_neurons=6, random_state=0).fit(data.X, data.y), data


def test_creases_lie_on_their_lines_and_end_on_the_frame() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3, 200))
    low, high = np.array([-1.0, -2.0]), np.array([1.5, 0.5])
    segments, neurons = crease_segments(A, low, high)
    values = np.einsum("kep,pk->ke", np.insert(segments, 0, 1.0, axis=2), A[:, neurons])
    np.testing.assert_allclose(values, 0, atol=1e-12)
    assert (segments >= low - 1e-12).all()
    assert (segments <= high + 1e-12).all()
    on_frame = np.isclose(segments, low) | np.isclose(segments, high)
    assert on_frame.any(axis=2).all()
    # A line misses the rectangle exactly if all four corners are on one side.
    corners = np.array([[1, x, y] for x in (low[0], high[0]) for y in (low[1], high[1])])
    sides = corners @ A > 0
    crossing = np.flatnonzero(sides.any(axis=0) & ~sides.all(axis=0))
    np.testing.assert_array_equal(neurons, crossing)


def test_creases_of_axis_parallel_and_constant_neurons() -> None:
    A = np.array([[-1.0, -1.0, 5.0, -9.0], [2.0, 0.0, 0.0, 1.0], [0.0, 4.0, 0.0, 0.0]])
    segments, neurons = crease_segments(A, (0.0, 0.0), (1.0, 1.0))
    np.testing.assert_array_equal(neurons, [0, 1])
    np.testing.assert_allclose(np.sort(segments[0], axis=0), [[0.5, 0], [0.5, 1]])
    np.testing.assert_allclose(np.sort(segments[1], axis=0), [[0, 0.25], [1, 0.25]])


def test_scores_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y, p, w = rng.standard_normal((30, 3)), rng.standard_normal((30, 3)), rng.random(30)
    scores = Scores.of(y, p, w)
    assert scores.mse == pytest.approx(mean_squared_error(y, p, sample_weight=w))
    assert scores.rmse == pytest.approx(np.sqrt(scores.mse))
    assert scores.mae == pytest.approx(mean_absolute_error(y, p, sample_weight=w))
    assert scores.r2 == pytest.approx(r2_score(y, p, sample_weight=w))
    assert Scores.of(y[:, 0], p[:, 0]) == Scores.of(y[:, [0]], p[:, [0]])


def test_r2_leaves_constant_targets_out() -> None:
    y = np.column_stack([np.ones(4), [1.0, 2, 3, 4]])
    assert Scores.of(y, y + 0.1).r2 == pytest.approx(1 - 0.01 / 1.25)
    assert np.isnan(Scores.of(y[:, 0], y[:, 0]).r2)


def test_scores_refuse_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"same shape; got \(2, 1\) and \(3, 1\)"):
        Scores.of([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="at least one row"):
        Scores.of([], [])


def test_loss_curve_draws_the_history() -> None:
    history = History(tuple(Record(iteration=i, seconds=i / 2, loss=2.0**-i, mse=3.0**-i) for i in range(4)))
    display = LossCurveDisplay.from_history(history, quantity="mse", against="seconds")
    np.testing.assert_allclose(display.line_.get_xdata(), [0, 0.5, 1, 1.5])
    np.testing.assert_allclose(display.line_.get_ydata(), 3.0 ** -np.arange(4))
    assert display.ax_.get_yscale() == "log"
    assert display.ax_.get_ylabel() == "mean squared error"


@pytest.mark.parametrize("losses", [[0.0, 0.0], [1.0], [np.nan, 2.0], [1e-3, 9e9], [1.0, 1.0]])
def test_loss_curve_takes_any_losses(losses: list[float]) -> None:
    history = History(tuple(Record(iteration=i, loss=loss) for i, loss in enumerate(losses)))
    display = LossCurveDisplay.from_history(history)
    display.figure_.canvas.draw()
    positive = np.array(losses) > 0
    expected = np.where(positive, losses, np.nan) if positive.any() else losses
    np.testing.assert_array_equal(display.line_.get_ydata(), expected)
    assert display.ax_.get_yscale() == ("log" if positive.any() else "linear")


def test_loss_curve_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        LossCurveDisplay(History())
    with pytest.raises(ValueError, match="quantity must be one of loss, mse, validation_mse; got 'r2'"):
        LossCurveDisplay.from_history(History((Record(),)), quantity="r2")


def test_crease_display_shows_target_and_field(plane_fit) -> None:
    model, data = plane_fit
    display = CreaseDisplay.from_estimator(model, data.X, data.y)
    assert [ax.get_title() for ax in display.axes_] == ["target", "network of 6 neurons"]
    display.figure_.canvas.draw()
    alone = CreaseDisplay.from_network(model.network_, data.X)
    assert len(alone.axes_) == 1
    (image,) = [c for c in alone.axes_[0].collections if c.get_array() is not None and c.get_array().size == 200**2]
    grid = alone.plane.grid(200)
    field = model.network_.predict(grid)[:, 0].reshape(200, 200)
    np.testing.assert_allclose(np.asarray(image.get_array()).reshape(200, 200), field.T)


def test_rows_and_columns_are_drawn_as_a_picture() -> None:
    names = ("row", "column")
    network = ReLUNetwork(np.array([[-1.0], [1.0], [0.0]]), np.ones((1, 1)), np.zeros(1), feature_names=names)
    X = np.array([[i, j] for i in range(4) for j in range(6)], dtype=float)
    display = CreaseDisplay.from_network(network, X, X[:, 0])
    ax = display.axes_[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("column", "row")
    assert ax.get_xlim() == (0, 5)
    assert ax.get_ylim() == (3, 0)
    image = next(c for c in ax.collections if c.get_array() is not None)
    np.testing.assert_array_equal(np.asarray(image.get_array()).reshape(4, 6), X[:, 0].reshape(4, 6))


def test_scattered_rows_are_drawn_as_points(plane_fit) -> None:
    model, _ = plane_fit
    X = np.random.default_rng(0).uniform(0, 15, (50, 2))
    display = CreaseDisplay.from_estimator(model, X, X[:, 0])
    points = next(c for c in display.axes_[0].collections if c.get_array() is not None)
    np.testing.assert_allclose(points.get_offsets(), X)


def test_constant_inputs_and_networks_without_creases_are_drawn() -> None:
    network = ReLUNetwork(np.array([[1.0], [0.0], [0.0]]), np.ones((1, 1)), np.zeros(1))
    display = CreaseDisplay.from_network(network, np.ones((3, 2)), np.ones(3))
    assert len(display.segments) == 0
    display.figure_.canvas.draw()


@pytest.mark.parametrize("value", [0.0, 1.0, -3e9, 1e17, 1e308, -1.79e308, 1e-300])
def test_a_plane_around_a_constant_input_has_points_beside_each_other(value: float) -> None:
    plane = Plane.around(np.array([[value, 0.0], [value, 2.0]]), None)
    assert (plane.low[1], plane.high[1]) == (0.0, 2.0)
    assert plane.low[0] < value < plane.high[0]
    assert np.unique(np.linspace(plane.low[0], plane.high[0], 240)).size == 240
    assert abs(value) > 1e5 or plane.high[0] - plane.low[0] == 1


def test_crease_display_refuses_other_networks(plane_fit) -> None:
    model, data = plane_fit
    three = ReLUNetwork(np.ones((4, 1)), np.ones((1, 1)), np.zeros(1))
    with pytest.raises(ValueError, match="networks of 2 inputs; this one has 3"):
        CreaseDisplay(three, np.ones((2, 3)))
    with pytest.raises(ValueError, match="output must be at least 0 and below 1; got 1"):
        CreaseDisplay(model.network_, data.X, output=1)
    with pytest.raises(ValueError, match=r"X must have shape \(rows, 2\)"):
        CreaseDisplay(model.network_, np.ones((2, 3)))


def test_colours_show_signs_where_there_are_both() -> None:
    both = colour_range(np.array([-1.0, 0.5, 3.0]))
    assert both["vmin"] == -both["vmax"]
    assert colour_range(np.array([1.0, 2.0]))["vmin"] == pytest.approx(1.0, abs=0.01)
    constant = colour_range(np.ones(3))
    assert constant["vmin"] < 1 < constant["vmax"]


@pytest.mark.parametrize("n_rows", [1, 50, 5000])
def test_residuals_display_draws_few_and_many_rows(n_rows: int) -> None:
    rng = np.random.default_rng(0)
    y = rng.standard_normal(n_rows)
    display = ResidualsDisplay.from_predictions(y, y + 0.1, name="height")
    display.figure_.canvas.draw()
    assert display.axes_[0].get_ylabel() == "predicted height"
    counted = sum(patch.get_height() for patch in display.axes_[1].patches)
    assert counted == n_rows


def test_residuals_display_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"same shape \(rows,\)"):
        ResidualsDisplay([1, 2], [1, 2, 3])


class _Parts(HTMLParser):
    """Collects what a page would load, its text, and whether its tags match."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.loads += [value for key, value in attrs if key in ("src", "href", "srcset", "data")]
        self.scripts += tag == "script"
        if tag not in ("meta", "img", "source", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data


def _parts(path: Path) -> _Parts:
    parts = _Parts()
    parts.feed(path.read_text(encoding="utf-8"))
    assert parts.open == []
    return parts


def test_report_is_self_contained_and_holds_the_numbers(plane_fit, tmp_path: Path) -> None:
    model, data = plane_fit
    write_report(tmp_path / "r.html", model, data.X, data.y, title="A star", data=data.description)
    parts = _parts(tmp_path / "r.html")
    assert len(parts.loads) == 16  # eight pictures, light and dark
    assert all(load.startswith("data:image/png;base64,") for load in parts.loads)
    page = (tmp_path / "r.html").read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")  # a mere name
    assert not re.search(r"https?://|@import|url\(", page)
    scores = Scores.of(data.y, model.predict(data.X))
    for expected in ("A star", f"{scores.mse:.5g}", f"{scores.r2:.5g}", model.status_.value, "256 rows", "creases"):
        assert expected in parts.text
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


def test_report_leaves_no_figure_open(plane_fit, tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    model, data = plane_fit
    write_report(tmp_path / "r.html", model, data.X, data.y)
    assert plt.get_fignums() == []


def test_report_of_many_inputs_outputs_weights_and_held_out_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X, Y, w = rng.standard_normal((60, 4)), rng.standard_normal((60, 5)), rng.random(60)
    model = ReLURegressor(n_neurons=3, random_state=0).fit(X[:40], Y[:40], w[:40])
    write_report(tmp_path / "r.html", model, X[:40], Y[:40], sample_weight=w[:40], test=(X[40:], Y[40:]))
    text = _parts(tmp_path / "r.html").text
    assert "40 fitted, 20 held out" in text
    assert f"{Scores.of(Y[:40], model.predict(X[:40]), w[:40]).mse:.5g}" in text
    assert f"{Scores.of(Y[40:], model.predict(X[40:])).mse:.5g}" in text
    assert "The first 3 of 5 outputs are shown." in text
    assert "On the held-out rows." in text


def test_report_tells_how_much_each_input_counts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 22))
    y = np.abs(X[:, 3]) + 0.1 * rng.standard_normal(300)
    model = ReLURegressor(n_neurons=16, relocate=False, random_state=0).fit(X, y)
    assert np.argmax(model.relevance_) == 3
    write_report(tmp_path / "r.html", model, X, y, feature_names=[f"column & {k}" for k in range(22)])
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count('<td class="bar">') == 20
    first = f'column &amp; 3</th><td class="bar"><i style="width:100.0%"></i></td><td>{model.relevance_[3]:.2g}</td>'
    assert page.index(first) == page.index("column &amp;")
    assert "The first 20 of 22 inputs are shown." in page
    fixed = ReLURegressor(n_neurons=4, alpha=0.1, relocate=False, random_state=0).fit(X, y)
    write_report(tmp_path / "r.html", fixed, X, y)
    assert "How much each input counts" not in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_report_escapes_what_the_user_wrote(plane_fit, tmp_path: Path) -> None:
    model, data = plane_fit
    nasty = '<script>alert("x")</script> & $title'
    write_report(
        tmp_path / "r.html",
        model,
        data.X,
        data.y,
        title=nasty,
        data=nasty,
        feature_names=["a<b", "$\\frac$" * 30],
        target_names=["<i>y</i> $^{$"],
    )
    parts = _parts(tmp_path / "r.html")
    assert parts.scripts == 2  # the weights, and what draws them
    assert "<script>alert" not in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert nasty in parts.text


def test_report_that_fails_leaves_the_old_one(plane_fit, tmp_path: Path) -> None:
    model, data = plane_fit
    (tmp_path / "r.html").write_text("old")
    with pytest.raises(ValueError, match="shape"):
        write_report(tmp_path / "r.html", model, data.X[:, :1], data.y)
    assert (tmp_path / "r.html").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_pictures_without_matplotlib_name_the_extra(plane_fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = plane_fit
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (
        lambda: write_report(tmp_path / "r.html", model, data.X, data.y),
        lambda: LossCurveDisplay.from_estimator(model),
        lambda: CreaseDisplay.from_estimator(model, data.X),
        lambda: CellsDisplay.from_estimator(model, data.X),
        lambda: PatternDisplay.from_estimator(model, data.X),
        lambda: ImportanceDisplay.from_estimator(model, data.X),
        lambda: LeverageDisplay.from_estimator(model, data.X, data.y),
        lambda: ConditioningDisplay.from_estimator(model),
        lambda: CalibrationDisplay.from_estimator(model, data.X, data.y),
        lambda: PartialDependenceDisplay.from_estimator(model, data.X),
        lambda: ErrorSizeDisplay.from_estimators([model], data.X, data.y),
        lambda: write_model_report(tmp_path / "r.html", model.network_),
    ):
        with pytest.raises(ImportError, match=r'pip install "anmin\[plots\]"'):
            draw()
    assert list(tmp_path.iterdir()) == []
