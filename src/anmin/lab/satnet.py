"""SATNet: the relaxation of MAXSAT as a layer whose clauses are learnt (Wang, Donti, Wilder & Kolter 2019)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from anmin.lab.mixing import descend, differentiate
from anmin.threads import in_threads
from anmin.validation import is_integer

_EDGE = {torch.float32: 1e-6, torch.float64: 1e-14}  # of 1 − |cos|: beyond it the arc cosine has no usable slope


class SATNet(nn.Module):
    """Fill in truth values: some are given, the others are those that satisfy learnt clauses best.

    Every truth value z in [0, 1] is a unit vector v with z = arccos(−vᵀv_T)/π; given values are fixed at
    v = −cos(πz) v_T + sin(πz) ṽ with a fixed direction ṽ across v_T, and the others, together with ``aux`` hidden ones,
    minimise ‖SᵀV‖²_F by coordinate descent (the mixing method). The derivative by S and by the given values is that of
    the solution, by the implicit function theorem. Memory is (R + m)·k numbers for an instance, R = 1 + n + aux; a
    sweep costs 4·R·m·k operations, in threads over the instances.

    The source of the equations is the paper; its public code has another derivative by the given values, which
    differs from finite differences.

    Parameters
    ----------
    n : int >= 1
        Truth values.
    m : int >= 1
        Clauses: the rank of the matrix learnt.
    aux : int >= 0
        Hidden truth values.
    k : int, optional
        Length of the vectors; by default the least integer above √(2(n + aux + 1)), which loses no solution (the
        paper), but at most 32, as the public code has it.
    max_sweeps, tol : int, float
        Sweeps end after so many, or when one lowers the objective by at most ``tol`` times what the first did; with 0
        there are all.
    prox : float >= 0
        Damping of the derivative; 0 for the exact one.
    seed : int
        Of S, of the directions and of the start.
    dtype : torch.float32 or torch.float64
    threads : int, optional
        By default as many as there are cores, or as OMP_NUM_THREADS says. They change no bit.

    Attributes
    ----------
    S : Parameter of shape (1 + n + aux, m)
        s_i, a row for each value: v_T, then the n values, then the hidden ones.

    Raises
    ------
    ValueError
        If a parameter is not as described.
    """

    start: Tensor
    across: Tensor

    def __init__(
        self,
        n: int,
        m: int,
        aux: int = 0,
        *,
        k: int | None = None,
        max_sweeps: int = 40,
        tol: float = 1e-4,
        prox: float = 0.01,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        for name, value, least in (("n", n, 1), ("m", m, 1), ("aux", aux, 0), ("max_sweeps", max_sweeps, 1)):
            if not is_integer(value, least):
                raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}.")
        if k is not None and not is_integer(k, 2):
            raise ValueError(f"k must be an integer of at least 2; got {k!r}.")
        for name, number in (("tol", tol), ("prox", prox)):
            if not (math.isfinite(number) and number >= 0):
                raise ValueError(f"{name} must be a finite number of at least 0; got {number!r}.")
        if dtype not in _EDGE:
            raise ValueError(f"dtype must be torch.float32 or torch.float64; got {dtype!r}.")
        if threads is not None and not is_integer(threads, 1):
            raise ValueError(f"threads must be an integer of at least 1; got {threads!r}.")
        self.threads = threads
        self.n, self.max_sweeps, self.tol, self.prox = n, max_sweeps, float(tol), float(prox)
        R = 1 + n + aux
        k = k or min(32, math.floor(math.sqrt(2 * R)) + 1)
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.S = nn.Parameter((normal(R, m) * math.sqrt(0.5 / (R + m))).to(dtype))
        start = normal(R, k)
        start[0] = 0.0
        start[0, 0] = 1.0
        across = normal(n, k)
        across[:, 0] = 0.0
        # In the state of the module, so that it is the same function when it is loaded.
        self.register_buffer("start", nn.functional.normalize(start, dim=1).to(dtype))
        self.register_buffer("across", nn.functional.normalize(across, dim=1).to(dtype))

    def forward(self, z: Tensor, given: Tensor) -> Tensor:
        """Return the truth values (B, n): those of ``z`` where ``given``, the ones found elsewhere.

        Parameters
        ----------
        z : Tensor of shape (B, n)
            Of the dtype of S, from 0 to 1; what is not given does not matter.
        given : Tensor of shape (B, n) or (n,), bool

        Raises
        ------
        ValueError
            If shapes or dtypes do not fit, or a given value is not between 0 and 1.
        """
        if z.ndim != 2 or z.shape[1] != self.n or z.dtype != self.S.dtype:
            raise ValueError(f"z must be {self.S.dtype} of shape (batch, {self.n}); got {z.dtype} of {tuple(z.shape)}.")
        if given.dtype != torch.bool or given.shape not in (z.shape, z.shape[1:]):
            raise ValueError(
                f"given must be bool of shape {tuple(z.shape)} or ({self.n},); got {given.dtype} of "
                f"{tuple(given.shape)}."
            )
        given = given.expand(z.shape)
        known = z.detach()[given]
        if not bool(((known >= 0) & (known <= 1)).all()):
            raise ValueError("Values that are given must lie between 0 and 1.")
        found: Tensor = _Solved.apply(self.S, z, given, self)
        return found


class _Solved(torch.autograd.Function):
    """The solution as a function of S and of the given values."""

    @staticmethod
    def forward(ctx: Any, S: Tensor, z: Tensor, given: Tensor, layer: SATNet) -> Tensor:
        B, n = z.shape
        V = layer.start.repeat(B, 1, 1)
        angles = (math.pi * z)[..., None]
        fixed = layer.across * angles.sin()
        fixed[..., :1] -= angles.cos()
        V[:, 1 : n + 1] = torch.where(given[..., None], fixed, V[:, 1 : n + 1])
        free = torch.ones(V.shape[:2], dtype=torch.bool)
        free[:, 0] = False
        free[:, 1 : n + 1] = ~given
        W = torch.matmul(S.T, V)
        lengths = (S * S).sum(dim=1)
        slopes, sweeps = torch.zeros_like(V[..., 0]), torch.zeros(B, dtype=torch.int64)
        arrays: Any = [t.detach().numpy() for t in (S.contiguous(), lengths, free, V, W, slopes, sweeps)]
        operations = 4.0 * B * S.numel() * V.shape[2]
        kernel: Any = descend

        def solve(part: int, parts: int) -> None:
            kernel(*arrays, layer.max_sweeps, layer.tol, part * B // parts, (part + 1) * B // parts)

        in_threads(solve, operations, layer.threads)
        edge = 1 - _EDGE[S.dtype]
        out = torch.arccos((-V[:, 1 : n + 1, 0]).clamp(-edge, edge)) / math.pi
        out = torch.where(given, z, out)
        ctx.save_for_backward(S, z, out, given, V, W, lengths, free, slopes)
        ctx.layer, ctx.operations = layer, operations
        return out

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, Tensor, None, None]:
        S, z, out, given, V, W, lengths, free, slopes = ctx.saved_tensors
        layer: SATNet = ctx.layer
        B, n = z.shape
        dV = torch.zeros_like(V)
        slope = math.pi * torch.sin(math.pi * out)
        dV[:, 1 : n + 1, 0] = torch.where(given, 0.0, dz / slope)
        U, Phi = torch.zeros_like(V), torch.zeros_like(W)
        arrays: Any = [t.detach().numpy() for t in (S.contiguous(), lengths, free, V, slopes, dV, U, Phi)]

        kernel: Any = differentiate

        def solve(part: int, parts: int) -> None:
            low, high = part * B // parts, (part + 1) * B // parts
            kernel(*arrays, layer.max_sweeps, layer.tol, layer.prox, low, high)

        in_threads(solve, ctx.operations, layer.threads)
        k = V.shape[2]

        def outer(left: Tensor, right: Tensor) -> Tensor:
            """Σ_b left_b right_bᵀ, as one product."""
            return left.transpose(0, 1).reshape(-1, B * k) @ right.transpose(1, 2).reshape(B * k, -1)

        dS = outer(U, W) + outer(V, Phi)
        by_vector = torch.matmul(S[1 : n + 1], Phi)
        angles = math.pi * z
        along = by_vector[..., 0] * angles.sin() + (by_vector * layer.across).sum(dim=-1) * angles.cos()
        return dS, torch.where(given, dz + math.pi * along, 0.0), None, None
