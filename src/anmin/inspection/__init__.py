"""Pictures and reports of fits. Matplotlib is imported when something is drawn: ``pip install "anmin[plots]"``."""

from anmin.inspection.alpha_path import AlphaPathDisplay
from anmin.inspection.creases import CreaseDisplay
from anmin.inspection.loss_curve import LossCurveDisplay
from anmin.inspection.report import write_report
from anmin.inspection.residuals import ResidualsDisplay
from anmin.inspection.scores import Scores

__all__ = ["AlphaPathDisplay", "CreaseDisplay", "LossCurveDisplay", "ResidualsDisplay", "Scores", "write_report"]
