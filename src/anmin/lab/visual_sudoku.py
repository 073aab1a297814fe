"""Sudoku from pictures of digits: a convolutional network reads, a SATNet solves, both learn from solved boards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from anmin.lab.satnet import SATNet
from anmin.lab.sudoku import Boards


@dataclass(frozen=True)
class Digits:
    """Pictures (N, h, h), from 0 to 1, and which digit each shows (N,), from 0 to side − 1."""

    pictures: NDArray
    labels: NDArray

    def of(self, digits: NDArray, rng: np.random.Generator) -> NDArray:
        """Return a random picture of each digit, of the shape of ``digits`` and (h, h)."""
        out = np.zeros((*digits.shape, *self.pictures.shape[1:]), dtype=np.float32)
        for digit in np.unique(digits):
            where = digits == digit
            out[where] = self.pictures[rng.choice(np.flatnonzero(self.labels == digit), np.count_nonzero(where))]
        return out


class Reader(nn.Module):
    """A board of pictures to truth values, by a convolutional network for each cell and a SATNet for the board."""

    def __init__(self, side: int, height: int, m: int, aux: int, seed: int) -> None:
        super().__init__()
        small = height // 4
        self.side = side
        self.read = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * small * small, 64), nn.ReLU(), nn.Linear(64, side),
        )  # fmt: skip
        self.solve = SATNet(side**3, m, aux, seed=seed)

    def digits(self, pictures: Tensor) -> Tensor:
        """Return the probabilities (B, side², side) of pictures (B, side², h, h)."""
        B, cells, h, _ = pictures.shape
        return torch.softmax(self.read(pictures.reshape(B * cells, 1, h, h)), dim=1).reshape(B, cells, self.side)

    def forward(self, pictures: Tensor, given: Tensor) -> Tensor:
        """Return the truth values (B, side³) of pictures whose cells are ``given`` (B, side²)."""
        read = torch.where(given[..., None], self.digits(pictures), 0.0)
        known = given[..., None].expand(read.shape).flatten(1)
        out: Tensor = self.solve(read.flatten(1), known)
        return out


def train(
    model: Reader, boards: Boards, digits: Digits, *, epochs: int, batch: int, rates: tuple[float, float], seed: int
) -> None:
    """Train by Adam on the cross entropy of all truth values, with new pictures in each epoch.

    ``rates`` are those of the network that reads and of the layer that solves.
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    values, _ = boards.truth_values()
    given = torch.from_numpy(boards.given)
    groups = [
        {"params": model.read.parameters(), "lr": rates[0]},
        {"params": model.solve.parameters(), "lr": rates[1]},
    ]
    optimiser = torch.optim.Adam(groups)
    for _ in range(epochs):
        pictures = torch.from_numpy(digits.of(boards.solutions, rng))
        for rows in torch.randperm(len(values), generator=generator).split(batch):
            optimiser.zero_grad()
            out = model(pictures[rows], given[rows]).clamp(1e-6, 1 - 1e-6)
            binary_cross_entropy(out, values[rows]).backward()
            optimiser.step()


def solved(model: Reader, boards: Boards, digits: Digits, seed: int) -> tuple[float, float]:
    """Return the share of boards that are all right, and of those whose given pictures are all read right.

    The latter is the ceiling of a reader that solves perfectly what it read.
    """
    pictures = torch.from_numpy(digits.of(boards.solutions, np.random.default_rng(seed)))
    given = torch.from_numpy(boards.given)
    truth = torch.from_numpy(boards.solutions)
    with torch.no_grad():
        found = model(pictures, given).reshape(*truth.shape, -1).argmax(dim=2)
        read = model.digits(pictures).argmax(dim=2)
    right = (found == truth).all(dim=1)
    legible = ((read == truth) | ~given).all(dim=1)
    return float(right.double().mean()), float(legible.double().mean())
