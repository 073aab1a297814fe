"""The cone-constrained program of a network whose neurons are normalised over the rows (batch normalisation)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anmin.history import Status
from anmin.network import ReLUNetwork
from anmin.rows.arrays import ArrayRows
from anmin.solvers.convex import convex_program
from anmin.solvers.convex_program import ConvexProgram


@dataclass(frozen=True, eq=False)
class BatchNormSolution:
    """A network f(x) = Σ_j σ(γ_j (x − mean)ᵀw_j/‖Xc w_j‖ + δ_j/√n) b_j + b0, with Xc the centred rows.

    Attributes
    ----------
    mean : ndarray of shape (d,)
    W : ndarray of shape (d, m)
        Column w_j.
    gamma, shift : ndarray of shape (m,)
        γ_j of the normalised values, which have unit length over the rows, and δ_j.
    output : ndarray of shape (m, c)
        Row b_j; each neuron serves one output.
    b0 : ndarray of shape (c,)
    norms : ndarray of shape (m,)
        ‖Xc w_j‖.
    n_rows : int
    objective : float
        (1/n) ‖f(X) − Y‖² + alpha (‖γ‖² + ‖δ‖² + ‖b‖² + ‖b0‖²): the hidden weights W are not penalised.
    bound : float
        No network with these patterns has a smaller objective.
    residual : float
        As of :class:`anmin.solvers.convex.ConvexSolution`.
    status : Status
    """

    mean: NDArray
    W: NDArray
    gamma: NDArray
    shift: NDArray
    output: NDArray
    b0: NDArray
    norms: NDArray
    n_rows: int
    objective: float
    bound: float
    residual: float
    status: Status

    def network(self) -> ReLUNetwork:
        """Return the network without normalisation that predicts the same."""
        scale = np.divide(self.gamma, self.norms, out=np.zeros_like(self.gamma), where=self.norms > 0)
        slopes = self.W * scale
        return ReLUNetwork(
            np.vstack([self.shift / np.sqrt(self.n_rows) - self.mean @ slopes, slopes]), self.output, self.b0
        )


def whitened(X: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return U' = [U, 1/√n] (n, r + 1), V/Σ (d, r) and the mean (d,), for X − mean = U Σ Vᵀ of rank r."""
    mean = X.mean(axis=0)
    U, sizes, Vt = np.linalg.svd(X - mean, full_matrices=False)
    kept = sizes > max(X.shape) * np.finfo(np.float64).eps * sizes.max(initial=0.0)
    design = np.column_stack([U[:, kept], np.full(len(X), 1 / np.sqrt(len(X)))])
    return design, Vt[kept].T / sizes[kept], mean


def solve_batch_norm(
    rows: ArrayRows, gates: NDArray, alpha: float, *, tol: float = 1e-8, max_rounds: int = 50
) -> BatchNormSolution:
    """Minimise the loss over all ReLU networks with batch normalisation that have the patterns of the given gates.

        (1/n) ‖Σ_j D_j U'(u_j − v_j) + b0 − y‖² + 2·alpha Σ_j (‖u_j‖ + ‖v_j‖) + alpha ‖b0‖²
        (2D_j − 1) U'u_j >= 0, the same for v_j,      U' = [U, 1/√n],      X − mean = U Σ Vᵀ

    for each output (Ergen, Sahiner, Ozturkler, Pauly, Mardani & Pilanci, Demystifying batch normalization in ReLU
    networks, 2021, with an output bias). With u = (s, a) the neuron has w = VΣ⁻¹s, γ = ‖s‖/√‖u‖, δ = a/√‖u‖ and the
    output weight √‖u‖: the decay is of these three.

    Parameters
    ----------
    rows : ArrayRows
        Without weights.
    gates : ndarray of shape (d + 1, P)
        g_j, bias first, in the coordinates of the rows. Only their patterns matter.
    alpha : float >= 0
    tol : float >= 0
        Of the residual.
    max_rounds : int >= 1

    Raises
    ------
    ValueError
        If a parameter is not as described, or the rows have weights.
    """
    if rows.w is not None:
        raise ValueError("Batch normalisation is of rows without weights; these have some.")
    plain = convex_program(rows, gates, alpha)
    design, back, mean = whitened(rows.X.astype(np.float64, copy=False))
    program = ConvexProgram(design, plain.on, plain.Y, None, plain.alpha, True)
    zero = np.zeros((len(program.on), design.shape[1], rows.n_outputs))
    U, V, look, _ = program.solved(zero, zero.copy(), tol, max_rounds)
    place = [(sign, j, k) for sign in (0, 1) for j, k in np.argwhere((U, V)[sign].any(axis=1))]
    Q = np.reshape([(U, V)[sign][j, :, k] for sign, j, k in place], (-1, design.shape[1]))
    root = np.sqrt(np.linalg.norm(Q, axis=1))
    output = np.zeros((len(place), rows.n_outputs))
    for number, (sign, _, k) in enumerate(place):
        output[number, k] = root[number] * (1 - 2 * sign)
    norms = np.linalg.norm(Q[:, :-1], axis=1)
    largest = program.largest
    residual = look.residual / largest if largest > 0 else 0.0
    status = Status.CONVERGED if residual <= tol else Status.MAX_ITER
    return BatchNormSolution(
        mean,
        back @ Q[:, :-1].T,
        norms / root,
        Q[:, -1] / root,
        output,
        look.b0,
        norms,
        rows.n_rows,
        look.objective,
        look.bound,
        residual,
        status,
    )
