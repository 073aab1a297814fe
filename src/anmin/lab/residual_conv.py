"""The convolutional residual network of Hardt and Ma as the review has it, at any width and depth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad


class ConvBlock(nn.Module):
    """Two 3 × 3 convolutions with a ReLU between them, added to their input, and a ReLU on the sum.

    Where the width changes, the first convolution has stride 2, and the input is subsampled and padded with zeros,
    which needs no parameters. Without ``residual`` nothing is added: a plain block.
    """

    def __init__(self, before: int, after: int, residual: bool = True, norm: bool = False) -> None:
        super().__init__()
        self.stride, self.added, self.residual = 1 if before == after else 2, after - before, residual
        self.first = nn.Conv2d(before, after, 3, self.stride, padding=1, bias=False)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(after) if norm else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output (n, after, ·, ·) for inputs (n, before, ·, ·)."""
        moved = self.norms[1](self.second(torch.relu(self.norms[0](self.first(x)))))
        if self.residual:
            kept = x[:, :, :: self.stride, :: self.stride]
            moved = moved + pad(kept, (0, 0, 0, 0, 0, self.added))
        return torch.relu(moved)


class ResidualConvNet(nn.Module):
    """A convolution, stages of blocks, the mean over pixels, and a linear layer.

    Parameters
    ----------
    channels, classes : int >= 1
        Of the inputs and of the outputs.
    n_blocks : int >= 1
        Blocks in each stage: 2, 3 and 9 in the source.
    widths : sequence of int >= 1, rising
        Of the stages; 64, 128 and 256 in the source.
    residual, norm : bool
        Whether blocks add their input, and whether batches are normalised, as they are not in the source.

    Raises
    ------
    ValueError
        If a number is less than 1, or widths do not rise.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        n_blocks: int,
        widths: Sequence[int] = (64, 128, 256),
        residual: bool = True,
        norm: bool = False,
    ) -> None:
        super().__init__()
        if min(channels, classes, n_blocks) < 1:
            raise ValueError(f"Channels, classes and blocks must be at least 1; got {channels}, {classes}, {n_blocks}.")
        if not widths or widths[0] < 1 or list(widths) != sorted(set(widths)):
            raise ValueError(f"Widths must be positive and rise; got {list(widths)}.")
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        blocks, before = [], widths[0]
        for width in widths:
            for _ in range(n_blocks):
                blocks.append(ConvBlock(before, width, residual, norm))
                before = width
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Linear(before, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (n, classes) of pictures (n, channels, height, width)."""
        return self.last(self.blocks(torch.relu(self.stem(x))).mean(dim=(2, 3)))

    def convolutions(self) -> list[nn.Conv2d]:
        """Return all convolutions."""
        return [module for module in self.modules() if isinstance(module, nn.Conv2d)]
