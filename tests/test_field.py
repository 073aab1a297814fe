"""Pages in a real browser: the field drawn from the weights is the network's, and nothing a user wrote can break it."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from typer.testing import CliRunner

import chromium
from anmin import ReLUNetwork, ReLURegressor, datasets
from anmin.cli import app
from anmin.inspection import write_model_report, write_report
from anmin.inspection.field import live_field, pixel_centres, plane_of_creases, script_json
from anmin.inspection.plane import Plane, crease_segments
from anmin.inspection.plotting import shortened

matplotlib.use("Agg")

NASTY = (
    "</script><script>document.title='broken'</script>",
    "</script x",
    "<!--<script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "@SUM(A1)",
    "../../../etc/passwd",
    "C:\\Windows\\system.ini",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "\"'><b>bold</b>&amp;",
    "$data ${title} $\\frac{1}",
    "line\nbreak\tand\u2028more",
    "`${document.title='broken'}`",
    "e\u0301 名 🜁",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    program = chromium.executable()
    if program is None:
        pytest.skip("there is no Chromium on this machine (set CHROMIUM to its path)")
    with chromium.Browser(program, tmp_path_factory.mktemp("profile")) as page:
        yield page


def random_network(seed: int, h: int = 12, c: int = 1, slope: float = 0.0, **names) -> ReLUNetwork:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((3, h))
    return ReLUNetwork(A, rng.standard_normal((h, c)), rng.standard_normal(c), slope, **names)


def greys(browser: chromium.Browser) -> np.ndarray:
    """Return the pixels of the canvas (height, width); all three colours must be equal and opaque."""
    text = browser.evaluate(
        "(() => { const c = document.querySelector('.canvas');"
        "const copy = Object.assign(document.createElement('canvas'), {width: c.width, height: c.height});"
        "const pen = copy.getContext('2d', {willReadFrequently: true}); pen.drawImage(c, 0, 0);"
        "const d = pen.getImageData(0, 0, c.width, c.height).data; let s = '';"
        "for (let i = 0; i < d.length; i++) s += String.fromCharCode(d[i]); return btoa(s); })()"
    )
    width, height = browser.evaluate("['width', 'height'].map((k) => document.querySelector('.canvas')[k])")
    pixels = np.frombuffer(base64.b64decode(text), dtype=np.uint8).reshape(height, width, 4)
    assert (pixels[..., 3] == 255).all()
    assert (pixels[..., :3] == pixels[..., :1]).all()
    return pixels[..., 0].astype(int)


def expected_greys(network: ReLUNetwork, plane: Plane, shape: tuple[int, int], on=None, output: int = 0) -> np.ndarray:
    """Return the grey levels that ``predict`` gives, with only the neurons in ``on`` at work."""
    points = pixel_centres(plane, shape[1], shape[0])
    whole = network.predict(points)[:, output]
    B = np.zeros_like(network.B)
    kept = slice(None) if on is None else list(on)
    B[kept] = network.B[kept]
    values = replace(network, B=B).predict(points)[:, output]
    levels = np.clip((values - whole.min()) / (whole.max() - whole.min()), 0, 1)
    return np.round(255 * levels).reshape(shape)


def order_of(browser: chromium.Browser) -> list[int]:
    return [
        int(text)
        for text in browser.evaluate("[...document.querySelectorAll('.neurons label')].map(e => e.textContent)")
    ]


def slide(browser: chromium.Browser, count: int) -> None:
    browser.evaluate(
        f"(() => {{ const s = document.querySelector('.slider'); s.value = {count};"
        "s.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_pixels_equal_predict_before_and_after_the_slider_moves(
    browser: chromium.Browser, tmp_path: Path, slope: float
) -> None:
    network = random_network(1, slope=slope)
    X = np.random.default_rng(2).uniform([-3, 10], [1, 12], (50, 2))
    write_model_report(tmp_path / "r.html", network, X)
    browser.open(tmp_path / "r.html")
    plane = Plane.around(X, None)
    drawn = greys(browser)
    assert np.abs(drawn - expected_greys(network, plane, drawn.shape)).max() <= 1
    assert (drawn.min(), drawn.max()) == (0, 255)
    order = order_of(browser)
    assert sorted(order) == list(range(12))
    for count in (0, 1, 5, 11, 12):
        slide(browser, count)
        expected = expected_greys(network, plane, drawn.shape, order[:count])
        assert np.abs(greys(browser) - expected).max() <= 1
        assert browser.evaluate("document.querySelector('.count').textContent") == f"{count} of 12"
    assert browser.complaints == []


def test_a_click_and_a_key_switch_neurons(browser: chromium.Browser, tmp_path: Path) -> None:
    network = random_network(3)
    write_model_report(tmp_path / "r.html", network)
    browser.open(tmp_path / "r.html")
    plane, order = plane_of_creases(network), order_of(browser)
    browser.click(".neurons label:nth-child(3) input")
    drawn = greys(browser)
    on = [j for j in order if j != order[2]]
    assert np.abs(drawn - expected_greys(network, plane, drawn.shape, on)).max() <= 1
    assert np.abs(drawn - expected_greys(network, plane, drawn.shape)).max() > 1
    browser.click(".neurons label:nth-child(3) input")
    assert np.abs(greys(browser) - expected_greys(network, plane, drawn.shape)).max() <= 1
    browser.evaluate("document.querySelector('.slider').focus()")
    browser.press("ArrowLeft", 37)
    assert np.abs(greys(browser) - expected_greys(network, plane, drawn.shape, order[:11])).max() <= 1
    assert browser.complaints == []


def test_rows_go_down_and_columns_right_in_pictures(browser: chromium.Browser, tmp_path: Path) -> None:
    network = random_network(4, feature_names=("row", "column"))
    X = np.array([[i, j] for i in range(6) for j in range(9)], dtype=float)
    write_model_report(tmp_path / "r.html", network, X)
    browser.open(tmp_path / "r.html")
    drawn = greys(browser)
    height, width = drawn.shape
    assert width / height == pytest.approx(8 / 5, rel=0.02)
    values = network.predict(X)[:, 0].reshape(6, 9)
    points = pixel_centres(Plane.around(X, ("row", "column")), width, height)
    assert points[0] == pytest.approx([2.5 / height, 4 / width])  # the upper left: row and column near 0
    assert points[width - 1] == pytest.approx([2.5 / height, 8 - 4 / width])
    assert np.abs(drawn - expected_greys(network, Plane.around(X, ("row", "column")), drawn.shape)).max() <= 1
    corner = (values[0, 0] - values.min()) / np.ptp(values)
    assert drawn[0, 0] / 255 == pytest.approx(corner, abs=0.1)


def test_other_outputs_are_drawn_when_chosen(browser: chromium.Browser, tmp_path: Path) -> None:
    network = random_network(5, c=2, output_names=("first", "second"))
    write_model_report(tmp_path / "r.html", network)
    browser.open(tmp_path / "r.html")
    browser.evaluate(
        "(() => { const s = document.querySelector('.output'); s.value = '1';s.dispatchEvent(new Event('change')); })()"
    )
    drawn = greys(browser)
    expected = expected_greys(network, plane_of_creases(network), drawn.shape, output=1)
    assert np.abs(drawn - expected).max() <= 1
    assert browser.evaluate("document.querySelector('.scale .name').textContent") == "second"


def test_the_value_under_the_pointer_is_that_of_the_network(browser: chromium.Browser, tmp_path: Path) -> None:
    network = random_network(6, feature_names=("width", "height"), output_names=("lift",))
    write_model_report(tmp_path / "r.html", network)
    browser.open(tmp_path / "r.html")
    browser.click(".canvas")
    words = browser.evaluate("document.querySelector('.value').textContent")
    x, rest = words.removeprefix("width = ").split(", height = ")
    y, value = rest.split(": lift = ")
    assert float(value) == pytest.approx(network.predict([[float(x), float(y)]])[0, 0], rel=1e-3)
    plane = plane_of_creases(network)
    middle = (np.array(plane.low) + plane.high) / 2
    assert [float(x), float(y)] == pytest.approx(middle, abs=0.02 * np.ptp([plane.low, plane.high]))


def test_creases_lie_where_the_field_bends(browser: chromium.Browser, tmp_path: Path) -> None:
    network = random_network(7, h=3)
    write_model_report(tmp_path / "r.html", network)
    browser.open(tmp_path / "r.html")
    browser.click(".shown")
    lines = browser.evaluate(
        "[...document.querySelectorAll('.creases line')].map(e => [e.dataset.neuron, e.getAttribute('x1'),"
        "e.getAttribute('y1')].map(Number).concat(getComputedStyle(e).display === 'none' ? [0] : [1]))"
    )
    plane = plane_of_creases(network)
    assert len(lines) == len(crease_segments(network.A, plane.low, plane.high)[1]) > 0
    for j, u, v, shown in lines:
        point = np.array(plane.low) + np.array([u, 100 - v]) / 100 * (np.array(plane.high) - plane.low)
        assert abs(network.A[0, int(j)] + point @ network.A[1:, int(j)]) < 1e-4
        assert shown
    slide(browser, 0)
    assert browser.evaluate("[...document.querySelectorAll('.creases line')].every(e => e.matches('.off'))")


@pytest.mark.parametrize("dark", [False, True])
def test_the_report_of_a_fit_has_no_complaint_and_loads_nothing(
    browser: chromium.Browser, tmp_path: Path, dark: bool
) -> None:
    data = datasets.make_sdf("star", size=16)
    model = ReLURegressor(n_neurons=6, alpha=1e-4, relocate=False, random_state=0).fit(data.X, data.y)
    write_report(tmp_path / "r.html", model, data.X, data.y)
    browser.open(tmp_path / "r.html", dark=dark)
    assert browser.complaints == []
    assert all(address.startswith(("data:image/png", "file:")) for address in browser.requests)
    assert sum(address.startswith("file:") for address in browser.requests) == 1
    drawn = greys(browser)
    assert np.abs(drawn - expected_greys(model.network_, Plane.around(data.X, None), drawn.shape)).max() <= 1
    # Text stands out from what is behind it, and nothing is wider than the page.
    contrast = browser.evaluate(
        "(() => { const light = (c) => c.match(/[0-9.]+/g).slice(0, 3).map(Number).reduce((a, b) => a + b) / 765;"
        "return ['h1', '.lead', 'td', '.note', '.value', '.controls label', 'legend'].map((s) => Math.abs("
        "light(getComputedStyle(document.querySelector(s)).color) -"
        "light(getComputedStyle(document.querySelector('section')).backgroundColor))); })()"
    )
    assert min(contrast) > 0.4
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert browser.evaluate("[...document.images].every(e => e.complete && e.naturalWidth > 0)")


@pytest.mark.parametrize("name", NASTY)
def test_no_name_breaks_the_page(browser: chromium.Browser, tmp_path: Path, name: str) -> None:
    outputs = (name, name + " too")
    network = random_network(8, h=4, c=2, feature_names=(name, name + " too"), output_names=outputs)
    write_model_report(tmp_path / "r.html", network, title=name, data=name)
    browser.open(tmp_path / "r.html")
    assert browser.complaints == []
    assert sum(not address.startswith("data:image/png") for address in browser.requests) == 1
    title = browser.evaluate("document.querySelector('h1').textContent")
    assert title == name
    assert browser.evaluate("document.title").split() == name.split()
    # Just the scripts and elements that the page itself has.
    assert browser.evaluate("document.scripts.length") == 2
    assert browser.evaluate("document.querySelectorAll('b').length") == browser.evaluate(
        "document.querySelectorAll('.tile b').length"
    )
    drawn = greys(browser)
    assert np.abs(drawn - expected_greys(network, plane_of_creases(network), drawn.shape)).max() <= 1
    shown = browser.evaluate("[...document.querySelector('.output').options].map(o => o.textContent)")
    assert [text.split() for text in shown] == [shortened(text).split() for text in outputs]


def test_nasty_columns_of_a_csv_file_reach_the_report_unharmed(
    browser: chromium.Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [name.replace("\n", " ").replace("\u2028", " ") for name in NASTY]
    values = np.random.default_rng(10).standard_normal((30, len(names)))
    with open("t.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(values.tolist())
    fit = ["fit", "t.csv", "-y", names[0], "--neurons", "2", "--max-iter", "2", "--alpha", "0.1", "--report", "f.html"]
    for command in (fit, ["report", "model.json", "t.csv", "--out", "m.html"]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    for page in ("f.html", "m.html"):
        browser.open(tmp_path / page)
        assert browser.complaints == []
        assert "broken" not in browser.evaluate("document.title").replace("title='broken'", "")
        assert browser.evaluate("document.scripts.length") == 0
        assert names[0] in browser.evaluate("document.body.textContent")


def test_cells_that_are_formulas_are_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random_network(11, feature_names=("a", "b"), output_names=("y",)).save("model.json")
    for cell in ("=1+1", "@SUM(A1)", "<b>1</b>", "../1"):
        Path("t.csv").write_text(f"a,b,y\n1,2,3\n{cell},2,3\n", encoding="utf-8")
        result = CliRunner().invoke(app, ["report", "model.json", "t.csv"])
        assert result.exit_code == 2
        assert result.stderr.startswith(f"Error: Column 'a' of t.csv must hold numbers; line 3 has {cell!r}; ")
        assert result.stderr.count("\n") == 1
        assert not Path("report.html").exists()


def test_a_page_runs_no_script_but_its_own(browser: chromium.Browser, tmp_path: Path) -> None:
    write_model_report(tmp_path / "r.html", random_network(12))
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    injected = "<script>window.hit = 1</script><img src='http://127.0.0.1:9/x.png'></main>"
    (tmp_path / "r.html").write_text(page.replace("</main>", injected), encoding="utf-8")
    browser.open(tmp_path / "r.html")
    assert browser.evaluate("window.hit") is None
    assert len(browser.complaints) == 2
    assert all("Content Security Policy" in complaint for complaint in browser.complaints)


@pytest.mark.parametrize("name", NASTY)
def test_json_in_a_script_is_exact_and_cannot_end_it(name: str) -> None:
    document = {"names": [name], "weights": [0.1, 1e-300, -5e-324, 1 / 3]}
    text = script_json(document)
    assert json.loads(text) == document
    assert not set("<>&\u2028\u2029") & set(text)


def test_the_rectangle_without_rows_holds_crossings_of_creases() -> None:
    rng = np.random.default_rng(13)
    # Creases through points near (100, −3).
    points, directions = rng.normal([100, -3], 0.5, (20, 2)), rng.standard_normal((2, 20))
    A = np.vstack([-np.einsum("jk,kj->j", points, directions), directions])
    plane = plane_of_creases(ReLUNetwork(A, np.ones((20, 1)), np.zeros(1)))
    assert plane.low[0] < 100 < plane.high[0]
    assert plane.low[1] < -3 < plane.high[1]
    assert np.ptp([plane.low, plane.high], axis=0).max() < 20


def test_the_slider_begins_with_the_neurons_that_add_most() -> None:
    # Of a picture from 0 to 1: 10 everywhere, up to 1, nothing, and up to −100.
    A = np.array([[10.0, 0.0, -5.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    network = ReLUNetwork(A, np.array([[1.0], [1.0], [1.0], [-100.0]]), np.zeros(1))
    figure = live_field(network, Plane((0.0, 0.0), (1.0, 1.0), ("a", "b")))
    assert '"order":[3,0,1,2]' in figure


@pytest.mark.parametrize(
    "A",
    [
        np.zeros((3, 0)),
        np.array([[1.0], [0.0], [0.0]]),
        np.array([[1.0], [2.0], [0.0]]),
        np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 2.0], [0.0, 0.0, 0.0]]),
        np.array([[1e300, 1.0], [1e300, 1e-300], [1e-300, 1.0]]),
    ],
    ids=["no neuron", "no crease", "one crease", "parallel creases", "huge and tiny"],
)
def test_every_network_of_two_inputs_has_a_page(A: np.ndarray, tmp_path: Path) -> None:
    network = ReLUNetwork(A, np.full((A.shape[1], 1), 1e-10), np.ones(1))
    plane = plane_of_creases(network)
    assert np.isfinite([plane.low, plane.high]).all()
    assert plane.low < plane.high
    write_model_report(tmp_path / "r.html", network)
    assert "The field, live" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_names_without_an_encoding_are_written_with_a_question_mark(tmp_path: Path) -> None:
    network = random_network(14, feature_names=("\ue000", "b"), output_names=("\x00\x1b",))
    write_model_report(tmp_path / "r.html", network, np.eye(2), np.ones(2), title="half \udfff")
    assert "half ?" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("d", "h"), [(0, 0), (0, 2), (1, 0), (2, 0), (1, 1), (3, 2)])
@pytest.mark.parametrize("n_rows", [None, 1])
def test_every_small_network_has_a_page(d: int, h: int, n_rows: int | None, tmp_path: Path) -> None:
    rng = np.random.default_rng(15)
    network = ReLUNetwork(rng.standard_normal((d + 1, h)), rng.standard_normal((h, 1)), np.zeros(1))
    X = None if n_rows is None else rng.standard_normal((n_rows, d))
    write_model_report(tmp_path / "r.html", network, X, None if X is None else np.ones(len(X)))
    assert f"{h} neuron" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_field_of_too_many_neurons_is_left_out_and_said_so(tmp_path: Path) -> None:
    write_model_report(tmp_path / "r.html", random_network(16, h=1001))
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "1,001 neurons are too many" in page
    assert "<canvas" not in page
    assert "<script" not in page


def test_fields_of_other_networks_are_refused() -> None:
    three = ReLUNetwork(np.ones((4, 1)), np.ones((1, 1)), np.zeros(1))
    plane = Plane((0.0, 0.0), (1.0, 1.0), ("a", "b"))
    with pytest.raises(ValueError, match="networks of 2 inputs; this one has 3"):
        live_field(three, plane)
    huge = ReLUNetwork(np.full((3, 1), 1e200), np.full((1, 1), 1e200), np.zeros(1))
    with pytest.raises(ValueError, match="too large for float64"), np.errstate(over="ignore"):
        live_field(huge, plane)
