"""How BLAS is used: one of the two that NumPy and SciPy bring, and threads only where they pay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dgemm
from scipy.linalg.lapack import get_lapack_funcs
from threadpoolctl import ThreadpoolController

from anmin.devices import DeviceMatrix

# Below this size of the hidden layer's system, p·h, threads wait for each other longer than they work.
_THREADS_PAY_ABOVE = 640
# From this order on, a system is worth moving to a GPU to be factored.
_MOVING_PAYS_FROM = 512


def product(a: NDArray, b: NDArray) -> NDArray:
    """Return a @ b in C order, for float64 matrices.

    NumPy and SciPy may each bring a BLAS with its own threads, which go on spinning for a while after a call: using
    both in turn in a loop makes them fight for the cores, at several times the cost. The factorisations are SciPy's,
    so the products in the loops are too.
    """
    # BLAS works on Fortran order, in which the transpose of a C-ordered matrix needs no copy.
    first, transpose_first = (b.T, False) if b.flags.c_contiguous else (b, True)
    second, transpose_second = (a.T, False) if a.flags.c_contiguous else (a, True)
    return dgemm(1.0, first, second, trans_a=transpose_first, trans_b=transpose_second).T


def cholesky(system: NDArray) -> NDArray | None:
    """Return U, upper triangular, with UᵀU the symmetric matrix; None where it is not positive definite to rounding.

    The matrix, in C order, may be overwritten, and below its diagonal U holds anything. LAPACK works on Fortran
    order, which the transpose of a symmetric matrix has without a copy: with one it takes two to three times as long.
    """
    (potrf,) = get_lapack_funcs(("potrf",), (system,))
    U, info = potrf(system.T, lower=False, overwrite_a=True, clean=False)
    return U if info == 0 else None


def cholesky_solve(U: NDArray, right: NDArray) -> NDArray:
    """Return x with UᵀU x = right, for U of :func:`cholesky`."""
    (potrs,) = get_lapack_funcs(("potrs",), (U,))
    return potrs(U, right, lower=False)[0]


def norm_1(system: NDArray) -> float:
    """Return the 1-norm of a symmetric matrix, the largest sum of magnitudes in a column."""
    (lange,) = get_lapack_funcs(("lange",), (system,))
    return float(lange("1", system.T))


@dataclass(frozen=True, eq=False)
class Factor:
    """The factor U of :func:`cholesky`."""

    U: NDArray

    def solve(self, right: NDArray) -> NDArray:
        """Return x (k,) or (k, m) with UᵀU x = right."""
        return cholesky_solve(self.U, right)

    @property
    def diagonal(self) -> NDArray:
        """The diagonal of U, (k,)."""
        return np.diagonal(self.U)

    def reciprocal_condition(self, norm: float) -> float:
        """Return an estimate of 1 over the condition number in the 1-norm, of the matrix whose 1-norm is ``norm``."""
        (pocon,) = get_lapack_funcs(("pocon",), (self.U,))
        return float(pocon(self.U, norm, uplo="U")[0])


@dataclass(frozen=True, eq=False)
class Matrix:
    """A symmetric matrix (k, k), in C order, to be factored with one diagonal or another added."""

    M: NDArray

    @staticmethod
    def placed(M: NDArray, device: str | None) -> Matrix | DeviceMatrix:
        """Return the matrix where it is to be factored: a large one on the ``device`` of PyTorch, if there is one."""
        return Matrix(M) if device is None or len(M) < _MOVING_PAYS_FROM else DeviceMatrix.of(M, device)

    def factor(self, added: NDArray | float = 0.0) -> Factor | None:
        """Return the factor of M + diag(added), None where that is not positive definite to rounding."""
        system = self.M.copy()
        system[np.diag_indices_from(system)] += added
        U = cholesky(system)
        return None if U is None else Factor(U)


@contextmanager
def threads_for(size: int) -> Iterator[None]:
    """Keep BLAS to one thread in the block if the matrices, of order ``size``, are small."""
    with one_thread(when=size <= _THREADS_PAY_ABOVE):
        yield


@contextmanager
def one_thread(*, when: bool) -> Iterator[None]:
    """Keep BLAS to one thread in the block, if so. Blocks within blocks, in whatever threads, cost next to nothing."""
    if not when:
        yield
        return
    _limit.enter()
    try:
        yield
    finally:
        _limit.leave()


class _Limit:
    """The limit of BLAS to one thread, which is the process's: set by the first block, and lifted by the last."""

    def __init__(self) -> None:
        self.lock, self.blocks, self.stack = Lock(), 0, ExitStack()

    def enter(self) -> None:
        with self.lock:
            if not self.blocks:
                self.stack.enter_context(_controller().limit(limits=1, user_api="blas"))
            self.blocks += 1

    def leave(self) -> None:
        with self.lock:
            self.blocks -= 1
            if not self.blocks:
                self.stack.close()


_limit = _Limit()


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
