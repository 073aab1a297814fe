"""Draw the pictures of the README and of the pages; run it from the root of the repository."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from anmin import ReLURegressor, alpha_path, datasets
from anmin.inspection import AlphaPathDisplay, CellsDisplay, CreaseDisplay

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"


def main() -> None:
    """Write the pictures of docs/images; the data of alpha.png need ANMIN_DATA or OpenML."""
    IMAGES.mkdir(exist_ok=True)
    draw_page("quick-start")
    draw_page("pictures")
    draw_cells()
    draw_field()
    draw_path()


def draw_page(name: str) -> None:
    """Draw what the blocks of a page draw: their first figures become the pictures that stand after them."""
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # some blocks write files
        for block, following in re.findall(r"^```python\n(.*?)^```$(.*?)(?=^```|\Z)", text, re.MULTILINE | re.DOTALL):
            exec(block, names)
            pictures = re.findall(r"\(images/(.+?)\)", following)
            for number, picture in zip(plt.get_fignums(), pictures, strict=False):
                plt.figure(number).savefig(IMAGES / picture, dpi=100)
            plt.close("all")
        os.chdir(DOCS)


def draw_cells() -> None:
    """Draw a network of few neurons, and the cells into which it cuts the plane."""
    data = datasets.make_sdf("star", size=48)
    model = ReLURegressor(n_neurons=12, alpha=1e-5, random_state=0).fit(data.X, data.y)
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    CreaseDisplay.from_estimator(model, data.X, ax=axes[0])
    CellsDisplay.from_estimator(model, data.X, ax=axes[1])
    figure.savefig(IMAGES / "cells.png", dpi=110)


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


if __name__ == "__main__":
    main()
