"""Where rows live, and the passes over them that give the statistics."""

from anmin.rows.arrays import ArrayRows
from anmin.rows.scaling import Scaling

__all__ = ["ArrayRows", "Scaling"]
