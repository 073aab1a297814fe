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

#: (data set, method) -> why ours differs, where a reason is known.
REASONS: dict[tuple[str, str], str] = {
    ("bike_sharing", "ANMIN"): (
        "The paper solved in float32, in which systems of this set are degenerate now and then and the clamped "
        "inverse sets the iteration back; in float64 none is (see the ablation)."
    ),
    ("bike_sharing", "Adam"): (
        "Both stop at a schedule that is too short for this set, at an error that depends on the order of the rows."
    ),
    ("horse_sdf", "Adam"): (
        "The paper's batch size and precision of the schedule for this set are not known here; its public notebook "
        "holds 256 and 2048 rows at different times."
    ),
}
