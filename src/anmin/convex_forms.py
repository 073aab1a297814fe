"""The convex programs in the form in which an estimator solves them, for any rows and penalty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anmin.gated_network import GatedNetwork
from anmin.network import ReLUNetwork
from anmin.rows.arrays import ArrayRows
from anmin.rows.gated import through
from anmin.rows.patterns import octets
from anmin.solvers.convex import ConvexMethod, ConvexSolution, solve_convex
from anmin.solvers.convex_program import ConvexProgram
from anmin.solvers.gated import GatedSolution, largest_alpha, solve_gated
from anmin.solvers.gated_program import Norm


@dataclass(frozen=True, eq=False)
class GatedForm:
    """The gated program of some gates."""

    gates: NDArray
    norm: Norm

    def solve(
        self, rows: ArrayRows, alpha: float, *, tol: float, max_rounds: int, start: GatedSolution | None = None
    ) -> GatedSolution:
        """Return the solution, from that of another penalty on."""
        V = None if start is None else start.V
        return solve_gated(rows, self.gates, alpha, norm=self.norm, tol=tol, max_rounds=max_rounds, start=V)

    def network(self, solution: GatedSolution) -> GatedNetwork:
        """Return the network of a solution, whose loss is the objective but for a ridge penalty."""
        gate, A, B = _neurons_of_outputs(solution.V) if self.norm == "outputs" else solution.neurons()
        return GatedNetwork(self.gates[:, gate], A, B, solution.b0)

    def largest(self, rows: ArrayRows) -> float:
        """Return the penalty from which on there are no neurons; a ridge penalty under which the rows count for half.

        That is ‖C‖²/(n·var y), C the gradient at zero: where the loss would fall to nothing if it fell on as it begins.
        """
        if self.norm != "ridge":
            largest = largest_alpha(rows, self.gates, norm=self.norm)
            return largest if largest > 0 else 1.0
        Y = np.ascontiguousarray(rows.Y - np.average(rows.Y, axis=0, weights=rows.w))
        slopes = through(rows.X, rows.pattern(self.gates), rows.w, None, Y, 0.0) / rows.n
        variance = float(np.average(Y**2, axis=0, weights=rows.w).sum())
        square = float(np.vdot(slopes, slopes))
        return square / variance if square > 0 else 1.0


def _neurons_of_outputs(V: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return the gate (m,), A (p, m) and B (m, c) of a neuron for each column of V (P, p, c), √‖v‖ long either side."""
    gate, output = np.nonzero(V.any(axis=1))
    columns = V[gate, :, output]
    roots = np.sqrt(np.linalg.norm(columns, axis=1))
    return gate, (columns / roots[:, None]).T, roots[:, None] * np.eye(V.shape[2])[output]


@dataclass(frozen=True, eq=False)
class ReLUForm:
    """The cone-constrained program of some gates."""

    gates: NDArray
    method: ConvexMethod

    def solve(
        self, rows: ArrayRows, alpha: float, *, tol: float, max_rounds: int, start: ConvexSolution | None = None
    ) -> ConvexSolution:
        """Return the solution, from that of another penalty on."""
        weights = None if start is None else (start.U, start.V)
        return solve_convex(rows, self.gates, alpha, method=self.method, tol=tol, max_rounds=max_rounds, start=weights)

    def network(self, solution: ConvexSolution) -> ReLUNetwork:
        """Return the network of a solution, whose loss is the objective."""
        return solution.network()

    def largest(self, rows: ArrayRows) -> float:
        """Return the same of what the cones leave."""
        on = np.unpackbits(octets(rows.pattern(self.gates).bits), axis=1, count=self.gates.shape[1], bitorder="little")
        Xt = np.column_stack([np.ones(rows.n_rows), rows.X])
        program = ConvexProgram(Xt, np.ascontiguousarray(on.T.astype(bool)), rows.Y, rows.w, 0.0, True)
        return program.largest if program.largest > 0 else 1.0
