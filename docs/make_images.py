"""Draw the pictures of the README; run it from the root of the repository."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from anmin import ReLURegressor, datasets
from anmin.inspection import CreaseDisplay

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Write docs/images/sdf.png."""
    data = datasets.load("sdf-cat")
    model = ReLURegressor(n_neurons=64, random_state=0).fit(data.X, data.y)
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    CreaseDisplay.from_estimator(model, data.X, data.y, ax=list(axes))
    IMAGES.mkdir(exist_ok=True)
    figure.savefig(IMAGES / "sdf.png", dpi=110)


if __name__ == "__main__":
    main()
