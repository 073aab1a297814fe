"""How BLAS is used: one of the two that NumPy and SciPy bring, and threads only where they pay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from numpy.typing import NDArray
from scipy.linalg.blas import dgemm
from threadpoolctl import ThreadpoolController

# Below these sizes of the hidden layer's system, p·h, threads wait for each other longer than they work. Rough values
# from timings on two cores that were mostly shared with other work. Products over many rows pay sooner than factors.
_PRODUCTS_PAY_ABOVE = 640
_FACTORS_PAY_ABOVE = 2000


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


@contextmanager
def threads_for_products(size: int) -> Iterator[None]:
    """Keep BLAS to one thread in the block if the matrices, of order ``size``, are small."""
    with one_thread(when=size <= _PRODUCTS_PAY_ABOVE):
        yield


@contextmanager
def threads_for_factors(size: int) -> Iterator[None]:
    """Keep BLAS to one thread in the block if the matrix to factor, of order ``size``, is small."""
    with one_thread(when=size <= _FACTORS_PAY_ABOVE):
        yield


@contextmanager
def one_thread(*, when: bool) -> Iterator[None]:
    """Keep BLAS to one thread in the block, if so."""
    if not when:
        yield
        return
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
