"""Sudoku as a problem of learning: boards as truth values, how well they are filled in, and what learns to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, permutations, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, one_hot

from anmin.lab.satnet import SATNet


@dataclass(frozen=True)
class Boards:
    """Puzzles with their solutions.

    Attributes
    ----------
    solutions : ndarray of shape (N, side²), int
        Digits from 0 to side − 1.
    given : ndarray of shape (N, side²), bool
        Cells whose digit is known.
    """

    solutions: NDArray
    given: NDArray

    @property
    def side(self) -> int:
        """Cells of a row."""
        return round(self.solutions.shape[1] ** 0.5)

    def __len__(self) -> int:
        return len(self.solutions)

    def __getitem__(self, which: slice | NDArray) -> Boards:
        return Boards(self.solutions[which], self.given[which])

    def permuted(self, order: NDArray) -> Boards:
        """Return the boards with their cells in another order, which hides where the cells are."""
        return Boards(self.solutions[:, order], self.given[:, order])

    def truth_values(self) -> tuple[Tensor, Tensor]:
        """Return which digit is in which cell (N, side³) as 0 and 1, and what of that is given."""
        values = one_hot(torch.from_numpy(self.solutions.astype(np.int64)), self.side).float()
        given = torch.from_numpy(self.given)[..., None].expand(values.shape)
        return values.flatten(1), given.flatten(1)


def small_grids() -> NDArray:
    """Return all 288 solved boards of 4 × 4, (288, 16), digits from 0 to 3."""
    rows = list(permutations(range(4)))
    grids = []
    for a, b in product(rows, rows):
        if len({a[0], a[1], b[0], b[1]}) < 4:
            continue
        for c in rows:
            if any(c[k] in (a[k], b[k]) for k in range(4)):
                continue
            d = tuple(6 - a[k] - b[k] - c[k] for k in range(4))
            if sorted(d) == [0, 1, 2, 3] and len({c[0], c[1], d[0], d[1]}) == 4:
                grids.append((*a, *b, *c, *d))
    return np.array(grids)


def small_boards(rng: np.random.Generator, n_given: int = 8) -> Boards:
    """Return all boards of 4 × 4, each with random given cells that leave one solution."""
    grids = small_grids()
    given = np.zeros(grids.shape, dtype=bool)
    for k, grid in enumerate(grids):
        while True:
            cells = rng.permutation(16)[:n_given]
            if np.count_nonzero((grids[:, cells] == grid[cells]).all(axis=1)) == 1:
                given[k, cells] = True
                break
    order = rng.permutation(len(grids))
    return Boards(grids[order], given[order])


def read_boards(path: str) -> Boards:
    """Return the boards of 9 × 9 in a file of quizzes and solutions, digits 1 to 9 and 0 for none."""
    with np.load(path, allow_pickle=False) as arrays:
        return Boards(arrays["solutions"].astype(np.int64) - 1, arrays["quizzes"] > 0)


class Convolutional(nn.Module):
    """The baseline: convolutions of 3 × 3 over the board, a channel for each digit and one for what is given.

    Parameters
    ----------
    side : int
    width, depth : int
        Channels between, and layers.
    """

    def __init__(self, side: int, width: int = 64, depth: int = 6) -> None:
        super().__init__()
        channels = [side + 1, *[width] * (depth - 1), side]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        self.layers, self.side = nn.Sequential(*layers[:-1]), side

    def forward(self, values: Tensor, given: Tensor) -> Tensor:
        """Return the truth values (B, side³) that are not given, and the given ones."""
        B, side = len(values), self.side
        known = torch.where(given, values, 0.0).reshape(B, side, side, side).permute(0, 3, 1, 2)
        mask = given.reshape(B, side, side, side)[..., :1].permute(0, 3, 1, 2).float()
        found = torch.softmax(self.layers(torch.cat([known, mask], dim=1)), dim=1)
        return torch.where(given, values, found.permute(0, 2, 3, 1).flatten(1))


def solver(side: int, m: int, aux: int, seed: int, threads: int | None = None) -> SATNet:
    """Return a SATNet for boards, whose truth values are the digits of the cells."""
    return SATNet(side**3, m, aux, seed=seed, threads=threads)


def solved(model: Callable[[Tensor, Tensor], Tensor], boards: Boards, batch: int = 100) -> float:
    """Return the share of boards of which every cell is right: the digit with the largest truth value."""
    right = 0
    for k in range(0, len(boards), batch):
        values, given = boards[k : k + batch].truth_values()
        with torch.no_grad():
            digits = model(values, given).reshape(len(values), -1, boards.side).argmax(dim=2).numpy()
        right += int((digits == boards.solutions[k : k + batch]).all(axis=1).sum())
    return right / len(boards)


def train(
    model: nn.Module,
    boards: Boards,
    *,
    epochs: int,
    batch: int,
    rate: float,
    seed: int,
    max_time: float | None = None,
    watch: Callable[[int, float], None] | None = None,
) -> None:
    """Train by Adam on the cross entropy of all truth values.

    Parameters
    ----------
    model : Module
        Of truth values and of what is given.
    boards : Boards
    epochs, batch, rate : int, int, float
        Passes, boards of a step, and learning rate.
    seed : int
        Of the order.
    max_time : float, optional
        Seconds after which no step begins.
    watch : callable, optional
        Called after each step with its number and its loss.
    """
    values, given = boards.truth_values()
    optimiser = torch.optim.Adam(model.parameters(), rate)
    generator = torch.Generator().manual_seed(seed)
    step, start = 0, time.perf_counter()
    for _ in range(epochs):
        for rows in torch.randperm(len(values), generator=generator).split(batch):
            if max_time is not None and time.perf_counter() - start > max_time:
                return
            optimiser.zero_grad()
            loss = binary_cross_entropy(model(values[rows], given[rows]).clamp(1e-6, 1 - 1e-6), values[rows])
            loss.backward()
            optimiser.step()
            step += 1
            if watch is not None:
                watch(step, float(loss.detach()))
