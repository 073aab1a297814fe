"""Variable projection without its matrix: the steps by preconditioned conjugate gradients, cut short."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anmin.blas import threads_for
from anmin.network import ReLUNetwork
from anmin.rows.products import PatternProducts, products_bytes, working_bytes
from anmin.solvers.levenberg_marquardt import LevenbergMarquardt, VarProState, floored
from anmin.solvers.preconditioners import Blocks, Kronecker, Nystrom, Operator, Preconditioner
from anmin.solvers.problem import PatternSums, Problem, State
from anmin.solvers.systems import output_system, root_of_inverse
from anmin.statistics import OutputStatistics

_PRECONDITIONERS = ("kronecker", "block", "nystrom")
_STALE = 2.0  # times the products of its first solve that a preconditioner may take before it is made afresh
_VECTORS = 16  # arrays of shape (p, h) in use at a time, at most


class Kept(NamedTuple):
    """A preconditioner, and the products that the first and the latest solve with it took."""

    preconditioner: Preconditioner
    first: int
    latest: int


@dataclass(frozen=True)
class MatrixFree(LevenbergMarquardt):
    """Levenberg–Marquardt with the output layer projected out, for p·h too large to form the matrix M.

    The steps are those of :class:`anmin.solvers.VarPro`, but (M + μ·diag) δ = −g is solved by preconditioned conjugate
    gradients from products with M (:class:`ProjectedProducts`; what one takes is said in
    :class:`anmin.rows.products.PatternProducts`), and cut short.
    No pass over the rows is heavier than that. Memory is that of the inputs, some N×c arrays, the pattern in bits, the
    activations (N, h) if they take at most :data:`anmin.rows.products.KEPT_BYTES`, and arrays of shape (p, h), (p, p)
    and (h, h).

    The damped diagonal is that of M without the projection, which costs half a product; with it, it would cost about
    h/2 of them. It is the larger of the two, most so along the directions that the output layer takes care of.

    Parameters
    ----------
    damping : float, default 1.0
        First μ. From a small one, the first solves are cut short far from their ends, and the fit gets stuck early.
    optimality_tol, decrease_tol, most_trials
        As for :class:`anmin.solvers.levenberg_marquardt.LevenbergMarquardt`.
    preconditioner : {"kronecker", "block", "nystrom"}, default "kronecker"
        One of :mod:`anmin.solvers.preconditioners`. The first is made afresh for every step, since it costs less than a
        product. The others are kept until a solve takes twice as many products as their first.
    forcing : float in (0, 1), default 0.2
        The iterations end when one lowers the quadratic model of the loss by less than ``forcing`` times the average of
        all so far (Nash & Sofer 1990).
    max_products : int, default 100
        Most products of one solve.
    rank : int, default 50
        Of the Nyström preconditioner.
    sample_rows : int, default 4000
        Rows from which the blocks of the block preconditioner are made.

    References
    ----------
    Nash & Sofer, Assessing a search direction within a truncated-Newton method, 1990. Dembo & Steihaug,
    Truncated-Newton algorithms for large-scale unconstrained optimization, 1983.
    """

    damping: float = 1.0
    preconditioner: Literal["kronecker", "block", "nystrom"] = "kronecker"
    forcing: float = 0.2
    max_products: int = 100
    rank: int = 50
    sample_rows: int = 4000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preconditioner not in _PRECONDITIONERS:
            raise ValueError(
                f"preconditioner must be one of {', '.join(map(repr, _PRECONDITIONERS))}; got {self.preconditioner!r}."
            )
        if not 0 < self.forcing < 1:
            raise ValueError(f"forcing must be between 0 and 1; got {self.forcing!r}.")
        for name in ("max_products", "rank", "sample_rows"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)!r}.")

    def check(self, problem: Problem) -> None:
        """Accept every problem."""

    def sums_bytes(self, n_features: int, n_neurons: int, n_outputs: int, n_rows: int) -> int:
        """Return the bytes of the pattern in bits, and of the activations if they are kept."""
        return products_bytes(n_features, n_neurons, n_outputs, n_rows)

    def required_bytes(self, n_features: int, n_neurons: int, n_outputs: int, n_rows: int = 0) -> int:
        """Return the bytes of the vectors, blocks of rows, activations before and after a step, and preconditioner."""
        p, h, c = n_features + 1, n_neurons, n_outputs
        made = {
            "kronecker": 6 * p**2 + 4 * h**2,
            "block": 3 * h * p**2 + self.sample_rows * (2 * p + h),
            "nystrom": 4 * self.rank * p * h,
        }[self.preconditioner]
        arrays = _VECTORS * p * h + 8 * (h + 1) * (h + 1 + c) + 6 * n_rows * (c + 1) + made
        work = working_bytes(n_features, h, c, n_rows)
        return 8 * arrays + work + 2 * self.sums_bytes(n_features, h, c, n_rows)

    def sums(
        self,
        problem: Problem,
        A: NDArray,
        since: PatternSums | None = None,
        tried: OutputStatistics | None = None,
    ) -> PatternProducts:
        """Return the products at hidden weights A (p, h): a light pass."""
        assert since is None or isinstance(since, PatternProducts)
        return problem.rows.products(A, problem.negative_slope, since, tried)

    def step(self, problem: Problem, state: State) -> VarProState:
        """Return the state after one step that lowers the loss, or the same one, settled, if there is none."""
        assert isinstance(state, VarProState)
        with threads_for(max(state.network.A.shape)):
            return self._step(problem, state)

    def _step(self, problem: Problem, state: VarProState) -> VarProState:
        assert isinstance(state.statistics, PatternProducts)
        matrix = ProjectedProducts(state.statistics, state.network, problem.alpha)
        kept: Kept | None = state.kept
        if kept is None or self.preconditioner == "kronecker" or kept.latest > _STALE * kept.first:
            kept = Kept(self._made(matrix, kept), 0, 0)
        system = IterativeSystem(matrix, kept.preconditioner, self.forcing, self.max_products)
        taken = self.damped_step(problem, state, system)
        return replace(taken, kept=kept._replace(first=kept.first or system.latest, latest=system.latest))

    def _made(self, matrix: ProjectedProducts, kept: Kept | None) -> Preconditioner:
        if self.preconditioner == "block":
            return Blocks.of(matrix.products, self.sample_rows)
        if self.preconditioner == "nystrom":
            return Nystrom.of(matrix.scaled_product, matrix.root.shape, self.rank)
        before = None if kept is None else kept.preconditioner
        inputs = before.inputs if isinstance(before, Kronecker) else None
        return Kronecker.of(matrix.products, matrix.network, matrix.penalty, inputs)


class ProjectedProducts:
    """The matrix M of :func:`anmin.solvers.systems.projected_system` by its products, and half the gradient.

    For a direction D (p, h), with T = (G ∘ (X̃D)) B and K of :func:`anmin.solvers.systems.output_system`,

        M D = X̃ᵀW (G ∘ ((T − S₁ K⁻¹ S₁ᵀWT/n) Bᵀ))/n + alpha·D

    Where K is singular to rounding, its pseudo-inverse stands for the inverse.

    Parameters
    ----------
    products : PatternProducts
        At the pattern of the network.
    network : ReLUNetwork
        With the best output layer at ``alpha``.
    alpha : float

    Attributes
    ----------
    half_gradient : ndarray of shape (p, h)
    diagonal : ndarray of shape (p, h)
        ‖b_j‖² (U_jj)_pp/n + alpha, that of M without the projection.
    root : ndarray of shape (p, h)
        Its square root.
    penalty : float
        alpha times the mean of 1/diagonal.
    """

    def __init__(self, products: PatternProducts, network: ReLUNetwork, alpha: float) -> None:
        A, B, b0 = network.A, network.B, network.b0
        self.products, self.network, self.alpha = products, network, alpha
        self._inverse_root = root_of_inverse(output_system(products.output(A), alpha)[0])
        Y, n = products.rows.Y.astype(np.float64, copy=False), products.rows.n
        self.half_gradient = products.backward(-Y, B, np.vstack([B, b0]), A) / n + alpha * A
        self.diagonal = floored(products.squares * (np.sum(B**2, axis=1) / n) + alpha)
        self.root = np.sqrt(self.diagonal)
        self.penalty = alpha * float(np.mean(1 / self.diagonal))

    def product(self, D: NDArray) -> NDArray:
        """Return M D (p, h)."""
        A, B, n = self.network.A, self.network.B, self.products.rows.n
        T, overlap = self.products.forward(D, B, A)
        E = self._inverse_root @ (self._inverse_root.T @ (overlap / -n))
        return self.products.backward(T, B, E, A) / n + self.alpha * D

    def scaled_product(self, V: NDArray) -> NDArray:
        """Return diag⁻¹ᐟ² M diag⁻¹ᐟ² V (p, h)."""
        return self.product(V / self.root) / self.root


class IterativeSystem:
    """The damped system of a :class:`ProjectedProducts`, solved by conjugate gradients.

    It is a :class:`anmin.solvers.levenberg_marquardt.DampedSystem`; ``latest`` is the number of products of the latest
    solve.
    """

    def __init__(
        self, matrix: ProjectedProducts, preconditioner: Preconditioner, forcing: float, max_products: int
    ) -> None:
        self._matrix, self._preconditioner = matrix, preconditioner
        self._forcing, self._max_products = forcing, max_products
        self.gradient, self.diagonal = matrix.half_gradient.T.ravel(), matrix.diagonal.T.ravel()
        self.products = self.latest = 0

    def solve(self, damping: float) -> NDArray | None:
        """Return δ (h·p,), or None where rounding leaves no direction of positive curvature."""
        matrix = self._matrix
        solution, self.latest = conjugate_gradients(
            lambda V: matrix.scaled_product(V) + damping * V,
            -matrix.half_gradient / matrix.root,
            self._preconditioner.inverse(damping),
            self._forcing,
            self._max_products,
        )
        self.products += self.latest
        return None if solution is None else (solution / matrix.root).T.ravel()


def conjugate_gradients(
    multiply: Operator, right: NDArray, precondition: Operator, forcing: float, most: int
) -> tuple[NDArray | None, int]:
    """Solve a positive definite system by preconditioned conjugate gradients from zero; return the products taken too.

    It ends after ``most`` products, at the level of rounding, or when iteration k lowers the quadratic ½xᵀMx − xᵀb by
    less than forcing/k times what all so far have. The solution is None if the first direction has no positive
    curvature.
    """
    solution, residual = np.zeros_like(right), right
    preconditioned = precondition(residual)
    direction, square = preconditioned, float(np.vdot(residual, preconditioned))
    fallen, least = 0.0, np.finfo(np.float64).eps ** 2 * square
    for k in range(1, most + 1):
        image = multiply(direction)
        curvature = float(np.vdot(direction, image))
        if not curvature > 0:
            return (solution if k > 1 else None), k
        length = square / curvature
        solution = solution + length * direction
        residual = residual - length * image
        fall = length * square
        fallen += fall
        preconditioned = precondition(residual)
        square, before = float(np.vdot(residual, preconditioned)), square
        if k * fall <= forcing * fallen or square <= least:
            break
        direction = preconditioned + (square / before) * direction
    return solution, k
