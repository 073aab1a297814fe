"""Draw the pictures of the README and the documentation; run it from the root of the repository."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from anmin import ReLURegressor, alpha_path, datasets, size_path
from anmin.inspection import AlphaPathDisplay, CreaseDisplay, SizePathDisplay

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Write sdf.png, alpha.png and sizes.png to docs/images; the data of the last two need ANMIN_DATA or OpenML."""
    IMAGES.mkdir(exist_ok=True)
    draw_field()
    draw_path()
    draw_sizes()


def draw_field() -> None:
    """Draw a signed distance field and the network fitted to it."""
    data = datasets.load("sdf-cat")
    model = ReLURegressor(n_neurons=64, random_state=0).fit(data.X, data.y)
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    CreaseDisplay.from_estimator(model, data.X, data.y, ax=list(axes))
    figure.savefig(IMAGES / "sdf.png", dpi=110)


def draw_path() -> None:
    """Draw the errors of networks of 32 neurons on abalone against their penalty."""
    data = datasets.load("abalone")
    path = alpha_path(data.X, data.y, n_neurons=32, random_state=0)
    AlphaPathDisplay.from_path(path).figure_.savefig(IMAGES / "alpha.png", dpi=110)


def draw_sizes() -> None:
    """Draw the errors of networks on concrete against their number of neurons."""
    data = datasets.load("concrete")
    path = size_path(data.X, data.y, estimator=ReLURegressor(64, relocate=False, random_state=0), random_state=0)
    SizePathDisplay.from_path(path).figure_.savefig(IMAGES / "sizes.png", dpi=110)


if __name__ == "__main__":
    main()
