"""Parity from the last bit alone, through a chain of small SATNets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmin.lab.baselines import one_thread
from anmin.lab.colours import BLUE
from anmin.lab.study import Claim, Study, Table, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from anmin.lab.parity import Parity

_SOURCE = "review of discrete optimisers as layers, and the public code of SATNet"
_LONG = 20


def run(quick: bool = False, seed: int = 0) -> Study:
    """Return the study: strings of 5 to 20 bits, learnt at once or from short ones on."""
    import torch

    with one_thread(torch):  # layers are tiny
        return _study(quick, seed)


def _study(quick: bool, seed: int) -> Study:
    import torch

    from anmin.lab.parity import Parity, strings, train, wrong

    lengths = (2, 5, _LONG) if quick else (2, 3, 5, 8, 12, _LONG)
    seeds = range(seed, seed + (2 if quick else 8))
    n, epochs = (1000, 1) if quick else (3000, 4)
    rows: list[tuple] = []
    slopes: list[tuple[int, float]] = []
    shares: dict[int, float] = {}
    for length in lengths:
        errors = []
        for one in seeds:
            generator = torch.Generator().manual_seed(one)
            model = Parity(seed=one)
            bits, odd = strings(n, length, generator)
            slopes.append((length, _first_over_last(model, bits[:50], odd[:50])))
            train(model, bits, odd, epochs=epochs, rate=0.1, generator=generator)
            errors.append(wrong(model, *strings(1000, length, generator)))
        shares[length] = float(np.mean(np.array(errors) <= 0.01))
        rows.append((f"{length} bits", float(np.median(errors)), shares[length],
                     float(np.median([slope for long, slope in slopes if long == length]))))  # fmt: skip
    staged = []
    for one in seeds:
        generator = torch.Generator().manual_seed(one)
        model = Parity(seed=one)
        train(model, *strings(n, 2, generator), epochs=20, rate=0.1, generator=generator)
        staged.append(wrong(model, *strings(1000, _LONG, generator)))
    share = float(np.mean(np.array(staged) <= 0.01))
    rows.append((f"{_LONG} bits, learnt from 2", float(np.median(staged)), share, "–"))
    vanishing = rows[len(lengths) - 1][3]
    claims = [
        Claim.judged(
            f"A chain of SATNets learns the parity of {_LONG} bits from the last one, to no error.",
            _SOURCE,
            f"from strings of {_LONG} bits alone, with the exact derivative, {100 * shares[_LONG]:.0f} % of "
            f"{len(seeds)} seeds come below 1 % of errors; the derivative by the first bit is {vanishing:.0e} times "
            "that by the last",
            True if shares[_LONG] >= 0.5 else None,
        ),
        Claim.judged(
            "The layer can express the rule, and learns it.",
            _SOURCE,
            f"learnt from strings of 2 bits and chained along {_LONG}, {100 * share:.0f} % of {len(seeds)} seeds come "
            f"below 1 % of errors on {_LONG} bits",
            share >= 0.5,
        ),
    ]
    columns = ("strings", "median error", "share of seeds below 1 %", "derivative by the first bit over the last")
    return Study(
        "parity",
        "Parity through a chain of SATNets",
        f"A layer of 3 truth values, 4 clauses and 4 hidden values is applied along a string; only the parity of the "
        f"whole is known. Scaled: {n:,} strings and {epochs} passes, where the public code has 9,000 and 100.",
        claims,
        [Table("Errors on 1,000 new strings", columns, rows)],
        [drawn("slopes", "The derivative fades along the string", lambda figure: _draw(figure, slopes))],
        {"seeds": f"{seeds.start} to {seeds.stop - 1}", "strings": n, "passes": epochs, "rate": 0.1, "prox": 0.1},
    )


def _first_over_last(model: Parity, bits: Tensor, odd: Tensor) -> float:
    """Return the mean size of the derivative by the first bit over that by the last, before learning."""
    from torch.nn.functional import binary_cross_entropy

    bits = bits.clone().requires_grad_()
    binary_cross_entropy(model(bits).clamp(1e-6, 1 - 1e-6), odd).backward()
    model.zero_grad()
    assert bits.grad is not None
    sizes = bits.grad.abs().double().mean(dim=0)
    return float(sizes[0] / sizes[-1]) if sizes[-1] > 0 else float("nan")


def _draw(figure: Figure, slopes: list[tuple[int, float]]) -> None:
    ax = figure.subplots()
    lengths, values = np.array(slopes).T
    ax.plot(lengths, np.maximum(values, 1e-45), "o", color=BLUE, alpha=0.6, label="one seed")
    ax.set(xlabel="bits of a string", ylabel="derivative by the first bit, over the last", yscale="log")
    ax.legend()
