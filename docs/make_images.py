"""Draw the pictures of the README and of the cookbook; run it from the root of the repository."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from anmin import ReLURegressor, alpha_path, datasets
from anmin.inspection import AlphaPathDisplay, CreaseDisplay

DOCS = Path(__file__).parent.resolve()
IMAGES = DOCS / "images"


def main() -> None:
    """Write docs/images/*.png; the data of alpha.png need ANMIN_DATA or OpenML, and cookbook-cat.png needs Chromium."""
    IMAGES.mkdir(exist_ok=True)
    draw_field()
    draw_path()
    for page in sorted((DOCS / "cookbook").glob("*.md")):
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            run_page(page)
            photograph()
            for picture in Path().glob("cookbook-*.png"):
                shutil.copy(picture, IMAGES)


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


def run_page(page: Path) -> None:
    """Run the Python and the commands of a page, which draws its pictures itself."""
    names: dict = {}
    block = re.compile(r"^(<!-- not run: .+ -->\n)?```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for skipped, language, text in block.findall(page.read_text(encoding="utf-8")):
        if skipped:
            continue
        if language == "python":
            exec(compile(text, page.name, "exec"), names)
        else:
            for line in text.splitlines():
                subprocess.run(shlex.split(line.removeprefix("$ ")), check=True, stdout=subprocess.DEVNULL)


def photograph() -> None:
    """Take a picture of cat.html, which the page on shaders writes, where it is there and so is a browser."""
    browser = shutil.which("chromium")
    if browser is None or not Path("cat.html").exists():
        return
    flags = ("--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
    shot = ("--window-size=640,640", "--screenshot=cookbook-cat.png", "cat.html")
    subprocess.run([browser, *flags, *shot], check=True, capture_output=True)


if __name__ == "__main__":
    main()
