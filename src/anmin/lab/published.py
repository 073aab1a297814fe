"""Numbers printed in the source papers, to stand beside ours. What could not be checked is absent, not guessed."""

from __future__ import annotations

from dataclasses import dataclass

CITATION = "A. Barbu, Training a Two-Layer ReLU Network Analytically, Sensors 23(8), 4072, 2023 (arXiv 2304.02972)"


@dataclass(frozen=True)
class Published:
    """A mean over 100 splits with its standard deviation, None where it is not known here."""

    mean: float
    deviation: float | None = None


#: (data set, method) -> training error.
TRAIN_MSE: dict[tuple[str, str], Published] = {
    ("abalone", "Adam"): Published(4.00),
    ("abalone", "ANMIN"): Published(3.94, 0.10),
    ("bike_sharing", "Adam"): Published(2465),
    ("bike_sharing", "ANMIN"): Published(1457, 319),
    ("horse_sdf", "Adam"): Published(12.35, 4.48),
    ("horse_sdf", "ANMIN"): Published(3.53, 1.05),
    ("patches", "ANMIN"): Published(155.2),
}
#: (data set, method) -> test error.
TEST_MSE: dict[tuple[str, str], Published] = {
    ("abalone", "ANMIN"): Published(4.64, 0.55),
    ("bike_sharing", "Adam"): Published(2721),
    ("bike_sharing", "ANMIN"): Published(1714),
    ("horse_sdf", "ANMIN"): Published(3.56),
    ("patches", "ANMIN"): Published(160.4),
}
#: Data set -> the lowest training and test error of any method in the paper.
BEST: dict[str, tuple[float, float]] = {
    "abalone": (3.94, 4.45),
    "bike_sharing": (1457, 1714),
    "horse_sdf": (3.45, 3.48),
    "patches": (150.9, 156.1),
}
#: Variant of the ablation -> training error on bike sharing.
ABLATION: dict[str, Published] = {
    "stop": Published(8919),
    "restart": Published(1826),
    "pseudo-inverse": Published(2199),
    "algorithm 1": Published(1457, 319),
}

#: (data set, method) -> why ours differs by more than a deviation, as far as it is known.
REASONS: dict[tuple[str, str], str] = {
    ("patches", "ANMIN"): (
        "Precision is not the reason: in float32 throughout, the first 13 iterations of split 0 have the same errors "
        "to three digits. The paper's public notebook reads inputs and targets from one file, so its noise may not be "
        "the N(0, 10²) of this study; with less noise all errors are lower."
    ),
}
