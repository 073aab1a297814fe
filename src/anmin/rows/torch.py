"""Rows on the devices of PyTorch, and the passes over them there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from anmin.devices import arrays_here, checked_devices, device_of, memory_errors, on_host, require_torch
from anmin.rows.arrays import ArrayRows
from anmin.rows.patterns import Pattern, n_words, octets
from anmin.rows.products import PatternProducts
from anmin.rows.sums import Sums
from anmin.statistics import OutputStatistics, PatternStatistics

if TYPE_CHECKING:
    from torch import Tensor

Precision = Literal["float64", "float32", "tf32"]
_BLOCK_BYTES = {"cpu": 2**24, "cuda": 2**28}  # of the largest array of a block of rows
_ROUGH_ROWS = 8192  # of a block whose products are summed in float32: beyond, rounding adds up
_PANEL = 1024  # columns of U that are made at a time, from the rows above their diagonal alone
_SAME_LOSS = 1e-6  # relative difference up to which rough sums count as right
# Seconds of a data centre's GPU; they decide only which way is taken where both are right.
_MULTIPLICATION, _BYTE, _PASS = 1e-13, 5e-13, 1e-3
_OCTET = np.array([1, 2, 4, 8, 16, 32, 64, 128], dtype=np.uint8)


class TorchRows(ArrayRows):
    """Rows whose passes PyTorch makes, on a GPU, on several, or on the processor.

    The heavy pass, the light pass and the products of steps without matrices are made on the device, and so is the
    factorisation of a dense step of order 512 or more. Sums are float64, in a fixed order. What needs single rows, the
    draws of the search, is done with a copy of the rows in memory.

    Parameters
    ----------
    X : tensor or array of shape (N, d)
        Inputs, float32 or float64 (anything else becomes float64).
    y : tensor or array of shape (N,) or (N, c)
        Targets.
    sample_weight : tensor or array of shape (N,), optional
        Non-negative row weights; a row of weight 0 counts as absent.
    device : str or torch.device, or sequence of them, optional
        By default where X lies, if it is a tensor, else "cuda". On several devices each gets an equal share of the
        rows, and their sums are added up here.
    products : {"float64", "float32", "tf32"}, default "float64"
        Precision of the products of the heavy pass. The rougher ones are quicker on most GPUs: blocks of rows are
        multiplied in float32, or TF32, and added up in float64. Such sums are used only if the loss of the best output
        layer, by them, equals that of a light pass, which is float64 always, to 1e-6 relative; the first time that it
        does not, these sums are made again in float64, and so are all later ones of these rows.
    block_rows : int, optional
        Rows visited at a time.

    Attributes
    ----------
    refused : int
        How many rough sums were made again.

    Raises
    ------
    ImportError
        If PyTorch is not installed (``pip install anmin[torch]``).
    ValueError
        If there is no such device, or the rows are not as for :class:`anmin.rows.ArrayRows`.
    MemoryError
        At the first pass, if the rows do not fit on the device.
    """

    def __init__(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        device: Any = None,
        products: Precision = "float64",
        block_rows: int | None = None,
    ) -> None:
        if products not in get_args(Precision):
            raise ValueError(f"products must be one of {', '.join(map(repr, get_args(Precision)))}; got {products!r}.")
        self.devices = checked_devices(device if device is not None else device_of(X) or "cuda")
        self.products_precision, self.refused = products, 0
        weights = None if sample_weight is None else on_host(sample_weight)
        super().__init__(on_host(X), on_host(y), weights, block_rows=block_rows, passes="product")

    @property
    def device(self) -> str | None:
        """The device, of several the first."""
        return str(self.devices[0])

    @property
    def _options(self) -> dict[str, Any]:
        return {"block_rows": self.block_rows, "device": self.devices, "products": self.products_precision}

    def on(self, device: Any) -> TorchRows:
        """Return these rows on another device, or on several."""
        return TorchRows(self.X, self.Y, self.w, **self._options | {"device": device})

    @cached_property
    def _shards(self) -> list[_Shard]:
        torch = require_torch()
        root = None if self.w is None else np.sqrt(self.w)[:, None]
        right = np.column_stack([self.Y, np.ones(self.n_rows)])
        right = right if root is None else right * root
        cuts = np.linspace(0, self.n_rows, len(self.devices) + 1).astype(int)
        shards = []
        for device, start, stop in zip(self.devices, cuts[:-1], cuts[1:], strict=True):
            place = slice(int(start), int(stop))
            with memory_errors():
                X, Y1 = (torch.tensor(array[place], device=device) for array in (self.X, right))
                shards.append(_Shard(place, X, Y1, None if root is None else torch.tensor(root[place], device=device)))
        return [shard for shard in shards if len(shard.X)]

    def statistics(
        self,
        A: NDArray,
        negative_slope: float = 0.0,
        since: PatternStatistics | None = None,
        tried: OutputStatistics | None = None,
    ) -> PatternStatistics:
        """Return the frozen-pattern sums at hidden weights A (p, h), as :meth:`anmin.rows.ArrayRows.statistics`."""
        if self.products_precision == "float64" or self.refused:
            return super().statistics(A, negative_slope, since, tried)
        light = self.output_statistics(A, negative_slope) if tried is None else tried
        rough = super().statistics(A, negative_slope, since, light)
        if _same_loss(rough.output(A), light):
            return rough
        self.refused += 1
        return super().statistics(A, negative_slope, since, light)

    def products(
        self,
        A: NDArray,
        negative_slope: float = 0.0,
        since: PatternProducts | None = None,
        tried: OutputStatistics | None = None,
    ) -> TorchProducts:
        """Return the products at the pattern of hidden weights A (p, h)."""
        return TorchProducts.at(self, A, negative_slope, since, tried)

    def seconds_of_statistics(self, n_neurons: int) -> float:
        """Return about how long a heavy pass takes on a GPU of a data centre."""
        return _PASS + self.n_rows * (n_neurons * (self.n_features + 1)) ** 2 / 2 * _MULTIPLICATION

    def seconds_of_products(self, n_neurons: int) -> float:
        """Return about how long one product with the Jacobian takes there."""
        return _PASS + self.n_rows * (6 * n_neurons + self.n_features) * 8 * _BYTE

    def minimum(self, A: NDArray) -> NDArray:
        """Return min_i x̃_iᵀ a_j for each column of A (p, k), shape (k,)."""

        def visit(shard: _Shard) -> list[Tensor]:
            torch = require_torch()
            weights = shard.here(A)
            lowest = [_along(shard.inputs(block), weights).amin(0) for block in self.blocks(shard, A.shape[1])]
            return [torch.stack(lowest).amin(0)]

        return np.min([found for (found,) in self._each(visit)], axis=0)

    def blocks(self, shard: _Shard, width: int, most: int | None = None) -> Iterator[slice]:
        """Yield the places of rows within a shard, in blocks of which an array of this width is not too large."""
        step = self.block_rows or max(256, _BLOCK_BYTES.get(shard.X.device.type, 2**26) // (8 * max(1, width)))
        step = step if most is None else min(step, most)
        for start in range(0, len(shard.X), step):
            yield slice(start, min(start + step, len(shard.X)))

    def _each(self, visit: Callable[[_Shard], list[Tensor]]) -> list[list[NDArray]]:
        """Return what ``visit`` finds on each device, all of which work at the same time."""
        with memory_errors():
            found = [visit(shard) for shard in self._shards]
            return [arrays_here(tensors) for tensors in found]

    def _pattern(self, A: NDArray) -> Pattern:
        words = n_words(A.shape[1])

        def visit(shard: _Shard) -> list[Tensor]:
            torch = require_torch()
            weights = shard.here(A)
            blocks = self.blocks(shard, A.shape[1])
            return [torch.cat([_packed(_along(shard.inputs(block), weights) > 0, words) for block in blocks])]

        return Pattern(_bits([found for (found,) in self._each(visit)]), A.shape[1])

    def _activation_sums(self, A: NDArray, negative_slope: float) -> tuple[NDArray, NDArray, NDArray]:
        h, words = A.shape[1], n_words(A.shape[1])

        def visit(shard: _Shard) -> list[Tensor]:
            torch = require_torch()
            weights, bits = shard.here(A), []
            gram = torch.zeros((h, h), dtype=torch.float64, device=shard.X.device)
            rest = torch.zeros((h, shard.right.shape[1]), dtype=torch.float64, device=shard.X.device)
            for block in self.blocks(shard, h):
                Z = _along(shard.inputs(block), weights)
                on = Z > 0
                bits.append(_packed(on, words))
                S = torch.where(on, Z, negative_slope * Z)
                S = S if shard.root is None else S * shard.root[block]
                gram.addmm_(S.T, S)
                rest.addmm_(S.T, shard.right[block])
            return [gram, rest, torch.cat(bits)]

        found = self._each(visit)
        gram, rest = (np.sum([one[part] for one in found], axis=0) for part in (0, 1))
        return gram, rest, _bits([one[2] for one in found])

    def _product_sums(self, pattern: Pattern, negative_slope: float) -> Sums:
        h, p, c = pattern.n_neurons, self.n_features + 1, self.n_outputs
        precision = "float64" if self.refused else self.products_precision
        with _tf32() if precision == "tf32" else _nothing():
            found = self._each(partial(self._sums_of, pattern, negative_slope, precision != "float64"))
        U, Vs = (np.sum([one[part] for one in found], axis=0) if len(found) > 1 else found[0][part] for part in (0, 1))
        V, s = np.ascontiguousarray(Vs[:, :c]), np.ascontiguousarray(Vs[:, c])
        return Sums(U.reshape(h, p, h, p), V.reshape(h, p, c), s.reshape(h, p))

    def _sums_of(self, pattern: Pattern, negative_slope: float, rough: bool, shard: _Shard) -> list[Tensor]:
        """Return U (h·p, h·p), and V and s beside each other (h·p, c + 1), of the rows of a shard."""
        torch = require_torch()
        h, p, device = pattern.n_neurons, self.n_features + 1, shard.X.device
        k, bits = h * p, shard.here(octets(pattern.bits[shard.place]))
        U = torch.zeros((k, k), dtype=torch.float64, device=device)
        Vs = torch.zeros((k, shard.right.shape[1]), dtype=torch.float64, device=device)
        for block in self.blocks(shard, k, _ROUGH_ROWS if rough else None):
            Xt = shard.with_constant(block)
            Xt = Xt if shard.root is None else Xt * shard.root[block]
            G = _gates(bits[block], h, negative_slope)
            Phi = (G[:, :, None] * Xt[:, None, :]).reshape(len(Xt), k)
            Vs.addmm_(Phi.T, shard.right[block])
            factor = Phi.float() if rough else Phi
            for start in range(0, k, _PANEL):
                stop = min(start + _PANEL, k)
                above, panel = factor[:, :stop].T, factor[:, start:stop]
                if rough:
                    U[:stop, start:stop] += above @ panel
                else:
                    U[:stop, start:stop].addmm_(above, panel)
        return [U.triu_().add_(U.triu(1).T), Vs]


class _Shard(NamedTuple):
    """The share of a device: where its rows are among all, X (n, d), √w·[Y, 1] (n, c + 1), √w (n, 1) or None."""

    place: slice
    X: Tensor
    right: Tensor
    root: Tensor | None

    def here(self, array: NDArray) -> Tensor:
        """Return an array on this device."""
        return require_torch().tensor(array, device=self.X.device)

    def inputs(self, block: slice) -> Tensor:
        """Return the inputs of a block in float64."""
        return self.X[block].double()

    def with_constant(self, block: slice) -> Tensor:
        """Return x̃ of a block (n, p) in float64."""
        return require_torch().nn.functional.pad(self.inputs(block), (1, 0), value=1.0)


@dataclass(frozen=True, eq=False)
class TorchProducts(PatternProducts):
    """Products with the Jacobian of a frozen pattern, made on the devices of :class:`TorchRows`.

    What :meth:`forward` returns as T, and :meth:`backward` takes, stays on the devices.
    """

    rows: TorchRows

    @property
    def _keeps_activations(self) -> bool:
        return False

    @cached_property
    def _octets(self) -> list[Tensor]:
        return [shard.here(octets(self.pattern.bits[shard.place])) for shard in self.rows._shards]

    def forward(self, D: NDArray, B: NDArray, A: NDArray) -> tuple[Any, NDArray]:
        """Return T = (G ∘ (X̃D)) B, and S₁ᵀ W T (h + 1, c), as :meth:`PatternProducts.forward`."""
        torch = require_torch()
        kept: list[Tensor] = []

        def visit(shard: _Shard, bits: Tensor) -> list[Tensor]:
            D_, B_, A_ = (shard.here(array) for array in (D, B, A))
            overlap, parts = torch.zeros((B.shape[0] + 1, B.shape[1]), dtype=torch.float64, device=D_.device), []
            for block in self.rows.blocks(shard, len(A_.T)):
                Xt, G = shard.with_constant(block), _gates(bits[block], B.shape[0], self.negative_slope)
                parts.append((G * (Xt @ D_)) @ B_)
                weighted = parts[-1] if shard.root is None else parts[-1] * shard.root[block] ** 2
                overlap[:-1].addmm_((G * (Xt @ A_)).T, weighted)
                overlap[-1] += weighted.sum(0)
            kept.append(torch.cat(parts))
            return [overlap]

        overlaps = self._each(visit)
        return kept, np.sum(overlaps, axis=0)

    def backward(self, T: Any, B: NDArray, E: NDArray, A: NDArray) -> NDArray:
        """Return X̃ᵀ W (G ∘ ((T + S₁E) Bᵀ)) (p, h), as :meth:`PatternProducts.backward`; T may be an array too."""
        torch = require_torch()
        shards = self.rows._shards
        parts = [shard.here(T[shard.place]) for shard in shards] if isinstance(T, np.ndarray) else T
        of_shard = dict(zip((id(shard) for shard in shards), parts, strict=True))

        def visit(shard: _Shard, bits: Tensor) -> list[Tensor]:
            B_, E_, A_ = (shard.here(array) for array in (B, E, A))
            total = torch.zeros(A.shape, dtype=torch.float64, device=A_.device)
            for block in self.rows.blocks(shard, len(A_.T)):
                Xt, G = shard.with_constant(block), _gates(bits[block], B.shape[0], self.negative_slope)
                R = of_shard[id(shard)][block] + (G * (Xt @ A_)) @ E_[:-1] + E_[-1]
                R = R if shard.root is None else R * shard.root[block] ** 2
                total.addmm_(Xt.T, G * (R @ B_.T))
            return [total]

        return np.sum(self._each(visit), axis=0)

    @cached_property
    def squares(self) -> NDArray:
        """Σ_i w_i G_ij² x̃_ip², shape (p, h): the diagonals of the blocks U_jj."""
        torch = require_torch()

        def visit(shard: _Shard, bits: Tensor) -> list[Tensor]:
            total = torch.zeros(self.A.shape, dtype=torch.float64, device=bits.device)
            for block in self.rows.blocks(shard, self.A.shape[1]):
                Xt = shard.with_constant(block)
                Xt = Xt if shard.root is None else Xt * shard.root[block]
                total.addmm_((Xt**2).T, _gates(bits[block], self.A.shape[1], self.negative_slope) ** 2)
            return [total]

        return np.sum(self._each(visit), axis=0)

    def _each(self, visit: Callable[[_Shard, Tensor], list[Tensor]]) -> list[NDArray]:
        bits = dict(zip(map(id, self.rows._shards), self._octets, strict=True))
        return [found for (found,) in self.rows._each(lambda shard: visit(shard, bits[id(shard)]))]


def _along(X: Tensor, A: Tensor) -> Tensor:
    """Return X̃A; what is above 0 in it is what the rows count as active, in every pass."""
    return A[0] + X @ A[1:]


def _packed(on: Tensor, words: int) -> Tensor:
    """Return booleans (n, h) as the bytes of the bits of a pattern, (n, 8·words)."""
    torch = require_torch()
    n, h = on.shape
    padded = torch.nn.functional.pad(on.to(torch.uint8), (0, 64 * words - h)).reshape(n, 8 * words, 8)
    return (padded * torch.tensor(_OCTET, device=on.device)).sum(-1, dtype=torch.uint8)


def _bits(parts: list[NDArray]) -> NDArray:
    return np.ascontiguousarray(np.concatenate(parts)).view("<u8").astype(np.uint64, copy=False)


def _gates(of_rows: Tensor, h: int, negative_slope: float) -> Tensor:
    """Return G (n, h) from the bytes of the bits of a pattern."""
    torch = require_torch()
    shifts = torch.arange(8, dtype=torch.uint8, device=of_rows.device)
    on = ((of_rows[:, :, None] >> shifts) & 1).reshape(len(of_rows), -1)[:, :h].double()
    return on if negative_slope == 0 else negative_slope + (1.0 - negative_slope) * on


def _same_loss(one: OutputStatistics, other: OutputStatistics) -> bool:
    """Return whether the best output layer of the second sums has the same squared error by both."""
    h = len(other.sums)
    K = np.empty((h + 1, h + 1))
    K[:h, :h], K[:h, h], K[h, :h], K[h, h] = other.gram, other.sums, other.sums, other.n
    weights = np.linalg.lstsq(K, np.vstack([other.cross, other.y_sum]), rcond=None)[0]
    first, second = (float(sums.sse(weights[:-1], weights[-1]).sum()) for sums in (one, other))
    return abs(first - second) <= _SAME_LOSS * second


@contextmanager
def _tf32() -> Iterator[None]:
    torch = require_torch()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _nothing() -> Iterator[None]:
    yield
