"""Two-layer ReLU networks, trained by solving for the weights."""

__version__ = "0.1.0"
__all__ = ["ReLUNetwork", "ReLURegressor", "__version__"]

from anmin.estimators import ReLURegressor
from anmin.network import ReLUNetwork
