"""What the review of momentum methods prints, tried on numbers: identities that hold, and misprints."""

from __future__ import annotations

from itertools import islice

import numpy as np

from anmin.lab.demon import demon_coefficient
from anmin.lab.momentum import Rule, adam, average, descend, momentum, nadam, nesterov, quasi_hyperbolic, sgd
from anmin.lab.study import Claim

_SOURCE = '[004] "The Use of Momentum"'


def formula_claims() -> list[Claim]:
    """Return a claim for each formula of the source that numbers decide."""
    return [_quasi_hyperbolic(), _demon(), _nesterov(), _adam_fed_back(), _adam_first_step(), _nadam_root()]


def _path(rule: Rule, n_steps: int = 10, scale: float = 1.0) -> np.ndarray:
    """Return ten steps at the rate 0.1 from 1 on ℓ = scale·w²/2."""
    return np.ravel(list(islice(descend(lambda w: scale * w, np.ones(1), rule, 0.1), n_steps)))


def _quasi_hyperbolic() -> Claim:
    gaps = [
        np.abs(_path(quasi_hyperbolic(0.9, nu)) - _path(other)).max() for nu, other in ((0, sgd()), (1, momentum(0.9)))
    ]
    return Claim.judged(
        "Quasi-hyperbolic momentum is SGD at ν = 0 and SGDM at ν = 1.",
        f"{_SOURCE}, QHM",
        f"Ten steps on w²/2: the paths differ by at most {max(gaps):.1e}.",
        bool(max(gaps) < 1e-12),
    )


def _demon() -> Claim:
    odds = [b / (1 - b) for b in (demon_coefficient(0.9, t, 10) for t in range(11))]
    bend = float(np.abs(np.diff(odds, 2)).max())
    values = ", ".join(f"{demon_coefficient(0.9, t, 4):.6f}" for t in (0, 1, 2, 4))
    return Claim.judged(
        "DEMON lowers β_t so that β_t/(1 − β_t), the weight of a gradient in all later steps, falls on a line to 0.",
        f"{_SOURCE}, DEMON",
        f"β = 0.9 at t/T = 0, ¼, ½, 1: {values}; second differences of β_t/(1 − β_t) are at most {bend:.1e}.",
        bend < 1e-12 and odds[-1] == 0,
    )


def _nesterov() -> Claim:
    printed, exact = _path(nesterov(0.9)), _path(nesterov(0.9, exact=True))
    return Claim.judged(
        "Nesterov's method takes its gradient at ζ = w − α·m.",
        f"{_SOURCE}, NAG",
        "Its own is at w − α·β·m, where the weights go without a gradient. On w²/2 after two steps: "
        f"{printed[1]:.6f} as printed, {exact[1]:.6f} exactly; after ten {printed[-1]:.6f} and {exact[-1]:.6f}.",
        bool(np.allclose(printed, exact, rtol=1e-9)),
    )


def _adam_fed_back() -> Claim:
    means = {}
    for correction in ("copy", "fed back"):
        memory, recursion = None, average(0.9, correction=correction)
        for _ in range(5):
            memory, means[correction] = recursion(memory, np.ones(1))
    last = {name: float(value[0]) for name, value in means.items()}
    steps = _path(adam(0.9, 0.99, literal=True), 2)
    return Claim.judged(
        "Adam's averages are corrected by 1 − β^t and the recursion goes on from the corrected ones.",
        f"{_SOURCE}, Adam",
        f"Of five gradients of 1 the corrected mean is {last['copy']:.6f} if it is a copy, {last['fed back']:.3f} "
        f"if the recursion goes on from it. Two steps on w²/2 then reach {steps[1]:.6f} instead of "
        f"{_path(adam(0.9, 0.99), 2)[1]:.6f}.",
        abs(last["fed back"] - 1) < 1e-9,
    )


def _adam_first_step() -> Claim:
    divisors = [1 - 0.9 ** (t - 1) for t in (1, 2)]
    return Claim.judged(
        "The correction of Adam is a division by 1 − β^(t−1), t = 1, 2, …",
        f"{_SOURCE}, §4",
        f"That divides by {divisors[0]:g} at the first step and by {divisors[1]:.1f} at the second; 1 − β^t is meant.",
        min(divisors) > 0,
    )


def _nadam_root() -> Claim:
    meant = nadam(0.9, 0.99)
    printed = Rule("NAdam, as printed", meant.phi, meant.psi, lambda w, rate, m, root: w - rate * m / root**2)
    gaps = [float(np.abs(_path(rule, scale=100.0) - _path(rule)).max()) for rule in (meant, printed)]
    return Claim.judged(
        "NAdam takes its gradient at ζ = w − α·m̂/(V̂ + ε).",
        f"{_SOURCE}, NAdam",
        "The steps of adaptive methods are the same for 100·ℓ as for ℓ. Ten steps on w²/2 and on 100·w²/2 differ by "
        f"{gaps[0]:.1e} with √V̂ there, by {gaps[1]:.3f} as printed.",
        gaps[1] < 1e-9,
    )
