"""Parity learnt from the last bit alone: one small SATNet, used along a string of bits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from anmin.lab.satnet import SATNet


class Parity(nn.Module):
    """A layer of three truth values, the third found from the first two, chained along the bits."""

    def __init__(self, m: int = 4, aux: int = 4, prox: float = 0.1, seed: int = 0) -> None:
        super().__init__()
        self.layer = SATNet(3, m, aux, prox=prox, seed=seed)

    def forward(self, bits: Tensor) -> Tensor:
        """Return the truth value of odd parity (B,) of bits (B, length)."""
        given = torch.tensor([True, True, False])
        found = bits[:, 0]
        for k in range(1, bits.shape[1]):
            # Found values touch 0 and 1 to rounding.
            values = torch.stack([found.clamp(0, 1), bits[:, k], torch.zeros_like(found)], dim=1)
            found = self.layer(values, given)[:, 2]
        return found


def strings(n: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return random bits (n, length) and whether each string has an odd number of ones (n,), as 0 and 1."""
    if n < 1 or length < 2:
        raise ValueError(f"There must be at least one string of at least 2 bits; got {n} of {length}.")
    bits = torch.randint(0, 2, (n, length), generator=generator).float()
    return bits, bits.sum(dim=1) % 2


def train(model: Parity, bits: Tensor, odd: Tensor, *, epochs: int, rate: float, generator: torch.Generator) -> None:
    """Train by Adam on the cross entropy of the last truth value, in batches of 100."""
    optimiser = torch.optim.Adam(model.parameters(), rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(bits), generator=generator).split(100):
            optimiser.zero_grad()
            binary_cross_entropy(model(bits[rows]).clamp(1e-6, 1 - 1e-6), odd[rows]).backward()
            optimiser.step()


def wrong(model: Parity, bits: Tensor, odd: Tensor) -> float:
    """Return the share of strings whose parity is found wrong."""
    with torch.no_grad():
        return float(((model(bits) > 0.5) != (odd > 0.5)).double().mean())
