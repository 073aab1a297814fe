"""Draw the pictures of the README and the documentation; run it from the root of the repository."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from anmin import ReLURegressor, alpha_path, datasets, size_path
from anmin.inspection import AlphaPathDisplay, CellsDisplay, CreaseDisplay, SizePathDisplay

DOCS = Path(__file__).parent.resolve()
IMAGES = DOCS / "images"


def main() -> None:
    """Write docs/images/*.png.

    The data of alpha.png and sizes.png need ANMIN_DATA or OpenML, and cookbook-cat.png needs Chromium.
    """
    IMAGES.mkdir(exist_ok=True)
    draw_cells()
    draw_field()
    draw_path()
    draw_sizes()
    for page in (DOCS / "quick-start.md", DOCS / "pictures.md", *sorted((DOCS / "cookbook").glob("*.md"))):
        draw_page(page)


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


def draw_page(page: Path) -> None:
    """Draw what the blocks of a page draw, each under the name that the page gives the next picture."""
    block = re.compile(
        r"^(<!-- not run: [^\n]+ -->\n)?```(python|console)\n(.*?)^```$(.*?)(?=^```|\Z)", re.MULTILINE | re.DOTALL
    )
    names: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # some blocks write files
        for skipped, language, text, following in block.findall(page.read_text(encoding="utf-8")):
            if skipped:
                continue
            if language == "console":
                for line in text.splitlines():
                    subprocess.run(shlex.split(line.removeprefix("$ ")), check=True, stdout=subprocess.DEVNULL)
                continue
            exec(compile(text, page.name, "exec"), names)
            pictures = re.findall(r"\]\((?:\.\./)?images/(.+?)\)", following)
            for number, picture in zip(plt.get_fignums(), pictures, strict=False):
                plt.figure(number).savefig(IMAGES / picture, dpi=110)
            if pictures and not plt.get_fignums():
                photograph(Path("cat.html"), IMAGES / pictures[0])
            plt.close("all")


def photograph(page: Path, picture: Path) -> None:
    """Take a picture of an HTML page of 640 by 640 pixels, if there is a browser."""
    browser = shutil.which("chromium")
    if browser is None:
        print(f"{picture.name} stays as it was: there is no Chromium.")
        return
    flags = ("--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=640,640")
    without_gpu = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
    command = [browser, *flags, *without_gpu, f"--screenshot={picture}", str(page)]
    subprocess.run(command, check=True, capture_output=True)


def draw_sizes() -> None:
    """Draw the errors of networks on concrete against their number of neurons."""
    data = datasets.load("concrete")
    path = size_path(data.X, data.y, estimator=ReLURegressor(64, relocate=False, random_state=0), random_state=0)
    SizePathDisplay.from_path(path).figure_.savefig(IMAGES / "sizes.png", dpi=110)


if __name__ == "__main__":
    main()
