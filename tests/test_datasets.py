"""Data sets: what is generated has the properties it claims, and what is missing is explained."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import sklearn.datasets
from scipy.ndimage import distance_transform_edt

from anmin import datasets
from anmin.datasets import CATALOGUE, Dataset
from anmin.datasets.shapes import SHAPES, signed_distance


@pytest.fixture
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANMIN_DATA", raising=False)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, shared_data: Path) -> None:
    if not (shared_data / "abalone.csv").exists():
        pytest.skip(f"the folder {shared_data} has no abalone.csv")
    monkeypatch.setenv("ANMIN_DATA", str(shared_data))


def test_signed_distance_to_a_square_is_known() -> None:
    square = [np.array([[1.0, 1.0], [3.0, 1.0], [3.0, 3.0], [1.0, 3.0]])]
    points = np.array([[2.0, 2.0], [1.5, 2.0], [0.0, 2.0], [4.0, 4.0], [2.0, 1.0]])
    np.testing.assert_allclose(signed_distance(points, square), [-1, -0.5, 1, np.sqrt(2), 0], atol=1e-15)


@pytest.mark.parametrize("shape", SHAPES)
def test_signed_distance_agrees_with_the_distance_transform(shape: str) -> None:
    dataset = datasets.make_sdf(shape, size=80)
    field = dataset.y.reshape(80, 80)
    inside = field < 0
    # The transform measures to the nearest pixel centre of the other side: never too short, and too long by about
    # half a pixel, or by a few where a sharp corner falls between the pixels.
    transform = distance_transform_edt(~inside) - distance_transform_edt(inside)
    gap = np.abs(transform) - np.abs(field)
    assert gap.min() >= -1e-9
    assert gap.max() <= 3
    assert 0.3 < gap.mean() < 0.9
    assert 0.1 < inside.mean() < 0.6
    # No distance grows faster than the way walked.
    assert np.abs(np.diff(field, axis=0)).max() <= 1 + 1e-9


def test_sdf_inputs_are_pixel_centres() -> None:
    dataset = datasets.make_sdf("star", size=5)
    assert dataset.feature_names == ("x", "y")
    assert set(map(tuple, dataset.X)) == {(x, y) for x in range(5) for y in range(5)}


def test_sine_norm_follows_its_formula_and_its_seed() -> None:
    one, two = (datasets.make_sine_norm(50, 3, rng=7) for _ in range(2))
    np.testing.assert_array_equal(one.X, two.X)
    np.testing.assert_allclose(one.y, np.sin((one.X**2).sum(axis=1)), rtol=1e-12)
    again = datasets.make_sine_norm(50, 3, rng=np.random.default_rng(7))
    np.testing.assert_array_equal(one.X, again.X)


def test_planted_network_predicts_its_data() -> None:
    dataset, network = datasets.make_planted(200, 4, 3, rng=0)
    np.testing.assert_array_equal(network.predict(dataset.X)[:, 0], dataset.y)
    noisy, _ = datasets.make_planted(5000, 4, 3, noise=0.5, rng=0)
    clean, _ = datasets.make_planted(5000, 4, 3, rng=0)
    assert np.std(noisy.y - clean.y) == pytest.approx(0.5, rel=0.05)


def test_year_like_has_the_ranges_of_the_original_and_says_what_it_is() -> None:
    dataset = datasets.make_year_like(2000, rng=0)
    assert dataset.X.shape == (2000, 90)
    assert dataset.y.min() >= 1922
    assert dataset.y.max() <= 2011
    assert (dataset.y == np.round(dataset.y)).all()
    assert "not that data" in dataset.description


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: datasets.make_sdf("horse"), "shape must be one of cat"),
        (lambda: datasets.make_sdf(size=1), "size must be a whole number of at least 2; got 1"),
        (lambda: datasets.make_sine_norm(0), "n_rows must be a whole number of at least 1; got 0"),
        (lambda: datasets.make_sine_norm(2.5), "n_rows .* got 2.5"),
        (lambda: datasets.make_planted(noise=-1), "noise must be a finite number >= 0; got -1"),
        (lambda: datasets.load("nothing"), "There is no data set 'nothing'; there are sdf-cat"),
        (lambda: datasets.load("sdf-cat", shape="star"), "has no option 'shape'; it takes size"),
        (lambda: datasets.load("diabetes", seed=1), "has no option 'seed'; it takes no options"),
        (lambda: datasets.uci_splits("abalone"), "There are splits for concrete"),
    ],
)
def test_bad_options_are_explained(make, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        make()


def test_dataset_refuses_shapes_that_disagree() -> None:
    with pytest.raises(ValueError, match="one row each"):
        Dataset("d", np.zeros((3, 1)), np.zeros(2), ("a",), ("y",), "", "")
    with pytest.raises(ValueError, match="a name for each column"):
        Dataset("d", np.zeros((3, 2)), np.zeros(3), ("a",), ("y",), "", "")


@pytest.mark.parametrize("name", [name for name, entry in CATALOGUE.items() if entry.origin != "file"])
def test_catalogue_sizes_are_true(name: str) -> None:
    options = {"n_rows": 10} if name == "year_like" else {}
    dataset = datasets.load(name, **options)
    rows, inputs, outputs = _size(name)
    assert (dataset.n_features, dataset.n_outputs) == (inputs, outputs)
    assert dataset.n_rows == (10 if options else rows)
    assert dataset.X.dtype == dataset.y.dtype == np.float64
    assert np.isfinite(dataset.X).all()
    assert dataset.description


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    "name", [name for name, entry in CATALOGUE.items() if entry.origin == "file" and name != "year_prediction_msd"]
)
def test_files_have_the_sizes_of_the_catalogue(name: str) -> None:
    dataset = datasets.load(name)
    assert (dataset.n_rows, dataset.n_features, dataset.n_outputs) == _size(name)
    assert CATALOGUE[name].availability(name) == "file"
    assert dataset.source.endswith((".csv", ".npz", ".png"))
    assert np.isfinite(dataset.X).all()
    assert np.isfinite(dataset.y).all()


@pytest.mark.usefixtures("files")
def test_bike_sharing_leaves_the_registered_users_out() -> None:
    dataset = datasets.load("bike_sharing")
    # casual + registered = count, so that with both the target would be known.
    assert dataset.feature_names[-1] == "casual"
    assert (dataset.y >= dataset.X[:, -1]).all()
    assert np.linalg.matrix_rank(np.column_stack([dataset.X, dataset.y])) == 14


@pytest.mark.usefixtures("files")
def test_patches_are_the_clean_ones_plus_the_stated_noise() -> None:
    dataset = datasets.load("patches", seed=3)
    noise = dataset.X - dataset.y
    np.testing.assert_allclose(noise, np.random.default_rng(3).normal(0, 10, noise.shape), atol=1e-9)
    assert (dataset.y == np.round(dataset.y)).all()
    # Neighbouring patches share all but three columns of pixels.
    first, second = dataset.y[0].reshape(15, 15), dataset.y[1].reshape(15, 15)
    np.testing.assert_array_equal(first[:, 3:], second[:, :12])


@pytest.mark.usefixtures("files")
def test_uci_splits_leave_each_row_out_about_as_often() -> None:
    splits = datasets.uci_splits("yacht")
    assert len(splits) == 20
    assert len(datasets.uci_splits("protein")) == 5
    for rows in splits:
        assert len(np.unique(rows)) == len(rows) == 31
        assert rows.max() < 308


def test_year_prediction_msd_reads_the_file_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.column_stack([[1999, 2005], np.arange(180.0).reshape(2, 90)])
    path = tmp_path / "YearPredictionMSD.txt"
    np.savetxt(path, values, delimiter=",", fmt="%g")
    monkeypatch.setenv("ANMIN_DATA", str(tmp_path))
    for dataset in (datasets.load("year_prediction_msd"), datasets.load("year_prediction_msd", path=path)):
        np.testing.assert_array_equal(dataset.y, [1999, 2005])
        np.testing.assert_array_equal(dataset.X, values[:, 1:])
    path.write_text("1,2\n")
    with pytest.raises(ValueError, match="must have 91 columns"):
        datasets.load("year_prediction_msd")


@pytest.mark.usefixtures("no_files")
@pytest.mark.parametrize("name", ["bike_sharing", "power", "horse_sdf", "patches", "year_prediction_msd"])
def test_sets_that_need_a_file_say_so(name: str) -> None:
    with pytest.raises(
        FileNotFoundError, match=f"{name!r} is read from a file: set the environment variable ANMIN_DATA"
    ):
        datasets.load(name)
    assert CATALOGUE[name].availability(name) == "no file"


def test_folder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANMIN_DATA", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="ANMIN_DATA must name a folder"):
        datasets.load("power")
    monkeypatch.setenv("ANMIN_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"'power' needs the file .*power.csv, which is not there"):
        datasets.load("power")


@pytest.mark.usefixtures("no_files")
def test_openml_stands_in_for_a_missing_file(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    asked = {}

    def fetch_openml(**query):
        asked.update(query)
        names = ["sex", "length", "diameter", "height", "whole_weight", "shucked_weight", "viscera_weight", "shell"]
        return SimpleNamespace(
            data=np.column_stack([rng.integers(0, 3, 4177), rng.random((4177, 7))]),
            target=rng.integers(1, 30, 4177),
            feature_names=names,
            target_names=["rings"],
            details={"id": "44956"},
        )

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    dataset = datasets.load("abalone")
    assert asked["data_id"] == 44956
    assert asked["target_column"] == "rings"
    assert dataset.feature_names[0] == "length"
    assert dataset.X.shape == (4177, 7)
    assert dataset.X.max() < 1  # the column of sexes, 0 to 2, is gone
    assert dataset.source == "OpenML id 44956"
    assert dataset.y.dtype == np.float64
    assert CATALOGUE["abalone"].availability("abalone") == "OpenML"


@pytest.mark.usefixtures("no_files")
def test_no_network_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch_openml(**query):
        raise URLError("Name or service not known")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    with pytest.raises(
        ConnectionError, match="neither in the folder of ANMIN_DATA nor could it be downloaded"
    ) as error:
        datasets.load("yacht")
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("no_files")
def test_another_table_from_openml_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch_openml(**query):
        return SimpleNamespace(
            data=np.zeros((10, 3)), target=np.zeros(10), feature_names=["a", "b", "c"], target_names=["y"], details={}
        )

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    with pytest.raises(ValueError, match=r"OpenML sent \(10, 3\) inputs .* where \(308, 6\)"):
        datasets.load("yacht")


def _size(name: str) -> tuple[int, int, int]:
    rows, rest = CATALOGUE[name].size.replace(",", "").split(" × ")
    inputs, outputs = rest.split(" -> ")
    return int(rows), int(inputs), int(outputs)


@pytest.mark.parametrize("content", ["text", "truncated", "an array", "other names", "objects"])
def test_a_damaged_archive_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str) -> None:
    monkeypatch.setenv("ANMIN_DATA", str(tmp_path))
    path = tmp_path / "horse_sdf.npz"
    with path.open("wb") as file:
        match content:
            case "text":
                file.write(b"not an archive")
            case "an array":
                np.save(file, np.zeros(3))
            case "other names":
                np.savez(file, Z=np.zeros(3))
            case _:
                np.savez(file, X=np.array([{}]), y=np.zeros(1))
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"horse_sdf\.npz could not be read as an archive of arrays"):
        datasets.load("horse_sdf")
