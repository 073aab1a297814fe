"""Pictures and reports of fits. Matplotlib is imported when something is drawn: ``pip install "anmin[plots]"``."""

from anmin.inspection.alpha_path import AlphaPathDisplay
from anmin.inspection.calibration import CalibrationDisplay
from anmin.inspection.cells import CellsDisplay
from anmin.inspection.conditioning import ConditioningDisplay
from anmin.inspection.creases import CreaseDisplay
from anmin.inspection.dependence_display import PartialDependenceDisplay
from anmin.inspection.error_size import ErrorSizeDisplay
from anmin.inspection.importance import ImportanceDisplay
from anmin.inspection.leverage import LeverageDisplay
from anmin.inspection.loss_curve import LossCurveDisplay
from anmin.inspection.model_report import write_model_report
from anmin.inspection.partial_dependence import PartialDependence
from anmin.inspection.patterns import PatternDisplay
from anmin.inspection.report import write_report
from anmin.inspection.residuals import ResidualsDisplay
from anmin.inspection.scores import Scores
from anmin.inspection.size_path import SizePathDisplay

__all__ = [
    "AlphaPathDisplay",
    "CalibrationDisplay",
    "CellsDisplay",
    "ConditioningDisplay",
    "CreaseDisplay",
    "ErrorSizeDisplay",
    "ImportanceDisplay",
    "LeverageDisplay",
    "LossCurveDisplay",
    "PartialDependence",
    "PartialDependenceDisplay",
    "PatternDisplay",
    "ResidualsDisplay",
    "Scores",
    "SizePathDisplay",
    "write_model_report",
    "write_report",
]
