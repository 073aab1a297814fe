"""Momentum methods as one iteration of three functions ζ, φ, ψ ("The Use of Momentum", the uniform framework).

With g_t = ∇ℓ(ζ_t) the gradient at the t-th place looked at, m_t = φ(g_1, …, g_t) and V_t = ψ(g_1, …, g_t), all by
coordinates,

    w_{t+1} = w_t − α·m_t / (√V_t + ε).

The source leaves ε out; 0 is the default here, and a coordinate whose gradients were all 0 stays where it is then.
Arrays may be NumPy's or PyTorch's: nothing but arithmetic is done with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from anmin.lab.arguments import check_coefficients, check_fractions, check_not_negative, check_positive
from anmin.lab.demon import demon_coefficient

#: Of NumPy or of PyTorch.
Array = Any
#: From its memory (None before the first value) and the next value, its memory and the value of the function so far.
Recursion = Callable[[Any, Array], tuple[Any, Array]]
#: From w_t, α, m_{t−1} and √V_{t−1} + ε, the place ζ_t where the gradient is taken; at t = 1 it is w_1.
Place = Callable[[Array, float, Array, Array], Array]
Correction = Literal["none", "copy", "fed back"]


@dataclass(frozen=True)
class Rule:
    """A momentum method.

    Attributes
    ----------
    name : str
    phi : Recursion
        φ, of the gradients.
    psi : Recursion or None
        ψ, of the squares of the gradients; None: V = 1 and ε = 0.
    zeta : Place or None
        ζ; None: the gradient is taken at w.
    epsilon : float
        ε >= 0.
    """

    name: str
    phi: Recursion
    psi: Recursion | None = None
    zeta: Place | None = None
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        check_not_negative(epsilon=self.epsilon)


def descend(gradient: Callable[[Array], Array], start: Array, rule: Rule, rate: float) -> Iterator[Array]:
    """Return an endless iterator over w after each step.

    Parameters
    ----------
    gradient : function
        From ζ to ∇ℓ(ζ), both of the shape of ``start``; it may be of another batch at each call.
    start : array
        w before the first step, of floats; it is not changed.
    rule : Rule
    rate : float
        α > 0.

    Raises
    ------
    ValueError
        If the rate is not a positive number or the start no array of floats; at a step, if the gradient has another
        shape.
    """
    check_positive(rate=rate)
    if "float" not in str(getattr(start, "dtype", "")):
        raise ValueError(f"start must be an array or tensor of floats; got {type(start).__name__}.")
    return _steps(gradient, start, rule, float(rate))


def _steps(gradient: Callable[[Array], Array], w: Array, rule: Rule, rate: float) -> Iterator[Array]:
    phi_memory: Any = None
    psi_memory: Any = None
    m = root = None
    while True:
        place = w if m is None or rule.zeta is None else rule.zeta(w, rate, m, root)
        g = gradient(place)
        if g.shape != w.shape:
            raise ValueError(f"The gradient must have the shape {tuple(w.shape)} of start; got {tuple(g.shape)}.")
        phi_memory, m = rule.phi(phi_memory, g)
        root = 1.0
        if rule.psi is not None:
            psi_memory, V = rule.psi(psi_memory, g * g)
            root = V**0.5 + rule.epsilon
            root = root + (root == 0)  # 0/0 is 0: there was no gradient yet
        w = w - rate * m / root
        yield w


def latest(memory: Any, value: Array) -> tuple[Any, Array]:
    """Return the last value: φ of methods without momentum."""
    return None, value


def total(memory: Any, value: Array) -> tuple[Any, Array]:
    """Return the sum of all values: ψ of AdaGrad."""
    result = value if memory is None else memory + value
    return result, result


def average(beta: float | Callable[[int], float], *, damped: bool = True, correction: Correction = "none") -> Recursion:
    """Return the recursion m ← β·m + (1 − β)·value from m = 0.

    Parameters
    ----------
    beta : float or function
        β in [0, 1), or β_t from the number t = 0, 1, … of values before.
    damped : bool, default True
        False: m ← β·m + value.
    correction : {"none", "copy", "fed back"}
        "copy" gives m / (1 − Π β_t), the mean with weights that add up to 1. "fed back" has the recursion go on from
        that, which is how the source prints Adam: for equal values it does not give this value.

    Raises
    ------
    ValueError
        If β is not in [0, 1).
    """
    if not callable(beta):
        check_coefficients(beta=beta)

    def recursion(memory: Any, value: Array) -> tuple[Any, Array]:
        t, mean, product = memory or (0, 0.0, 1.0)
        b = beta(t) if callable(beta) else beta
        mean = b * mean + ((1 - b) if damped else 1.0) * value
        product = product * b
        result = mean if correction == "none" else mean / (1 - product)
        return (t + 1, result if correction == "fed back" else mean, product), result

    return recursion


def ahead(factor: float = 1.0) -> Place:
    """Return ζ = w − factor·α·m/(√V + ε): the place that ``factor`` times the last step would lead to."""

    def place(w: Array, rate: float, m: Array, root: Array) -> Array:
        return w - factor * rate * m / root

    return place


def sgd() -> Rule:
    """Return w ← w − α·g."""
    return Rule("SGD", latest)


def momentum(beta: float = 0.9) -> Rule:
    """Return m ← β·m + (1 − β)·g (SGDM). PyTorch's SGD with momentum β takes the same steps at the rate (1 − β)·α."""
    return Rule("SGDM", average(beta))


def heavy_ball(beta: float = 0.9) -> Rule:
    """Return m ← β·m + g, which is PyTorch's SGD with momentum β at the same rate."""
    return Rule("heavy ball", average(beta, damped=False))


def nesterov(beta: float = 0.9, *, exact: bool = False) -> Rule:
    """Return SGDM with the gradient at ζ = w − α·m, as the source has it, or exactly Nesterov's ζ = w − α·β·m.

    PyTorch's SGD with Nesterov's momentum keeps ζ in place of w: at the rate (1 − β)·α its parameters are the ζ of the
    exact form.
    """
    return Rule("NAG, exact" if exact else "NAG", average(beta), zeta=ahead(beta if exact else 1.0))


def quasi_hyperbolic(beta: float = 0.9, nu: float = 0.7) -> Rule:
    """Return QHM, φ = ν·m + (1 − ν)·g with m of SGDM; ν = 0 is SGD, ν = 1 SGDM (Ma & Yarats, arXiv 1810.06801).

    Raises
    ------
    ValueError
        If β is not in [0, 1) or ν not in [0, 1].
    """
    check_fractions(nu=nu)
    mean = average(beta)

    def phi(memory: Any, g: Array) -> tuple[Any, Array]:
        memory, m = mean(memory, g)
        return memory, nu * m + (1 - nu) * g

    return Rule("QHM", phi)


def demon(beta: float = 0.9, n_steps: int = 1000, *, damped: bool = False) -> Rule:
    """Return momentum with the falling β_t of :func:`~anmin.lab.demon.demon_coefficient`, by default undamped.

    Raises
    ------
    ValueError
        If β is not in [0, 1) or ``n_steps`` not at least 1.
    """
    demon_coefficient(beta, 0, n_steps)
    name = "DEMON, damped" if damped else "DEMON"
    return Rule(name, average(lambda t: demon_coefficient(beta, t, n_steps), damped=damped))


def adagrad(epsilon: float = 0.0) -> Rule:
    """Return φ = g, V = Σ g²."""
    return Rule("AdaGrad", latest, total, epsilon=epsilon)


def rmsprop(beta2: float = 0.99, epsilon: float = 0.0) -> Rule:
    """Return φ = g, V ← β₂·V + (1 − β₂)·g², uncorrected. The source calls the same method AdaDelta."""
    return Rule("RMSProp", latest, average(beta2), epsilon=epsilon)


def adadelta(rho: float = 0.9, epsilon: float = 1e-6) -> Rule:
    """Return Zeiler's AdaDelta (arXiv 1212.5701), whose rate is 1: Δ = −√(D + ε)/√(V + ε)·g, D an average of Δ².

    Raises
    ------
    ValueError
        If ρ is not in [0, 1), or ε not positive: the first step is of the size √ε.
    """
    check_positive(epsilon=epsilon)
    of_squares, of_steps = average(rho), average(rho)

    def phi(memory: Any, g: Array) -> tuple[Any, Array]:
        squares, steps, D = memory or (None, None, 0.0)
        squares, V = of_squares(squares, g * g)
        m = (D + epsilon) ** 0.5 * g
        steps, D = of_steps(steps, m * m / (V + epsilon))
        return (squares, steps, D), m

    def psi(memory: Any, square: Array) -> tuple[Any, Array]:
        memory, V = of_squares(memory, square)
        return memory, V + epsilon

    return Rule("AdaDelta", phi, psi)


def adam(beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 0.0, *, literal: bool = False) -> Rule:
    """Return Adam: φ and ψ averages of g and g², divided by 1 − β₁^t and 1 − β₂^t.

    Literally, the source has the averages go on from the corrected values.
    """
    correction: Correction = "fed back" if literal else "copy"
    phi, psi = (average(beta, correction=correction) for beta in (beta1, beta2))
    return Rule("Adam, as printed" if literal else "Adam", phi, psi, epsilon=epsilon)


def nadam(beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 0.0) -> Rule:
    """Return NAdam in the form of the source: Adam with the gradient at ζ = w − α·m̂/(√V̂ + ε).

    The source prints V̂ without its root there, which would not have the unit of w.
    """
    phi, psi = (average(beta, correction="copy") for beta in (beta1, beta2))
    return Rule("NAdam", phi, psi, ahead(), epsilon)


def nadam_dozat(beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 0.0, *, decay: float | None = None) -> Rule:
    """Return Dozat's NAdam, which looks ahead in m̂ alone.

    φ = μ_{t+1}·m/(1 − Π_{i<=t+1} μ_i) + (1 − μ_t)·g/(1 − Π_{i<=t} μ_i), and ψ as of Adam.

    Parameters
    ----------
    beta1, beta2, epsilon : float
        As of Adam.
    decay : float, optional
        ψ >= 0 of μ_t = β₁·(1 − ½·0.96^(t·ψ)), t = 1, 2, …, as PyTorch has it (0.004 there); without one μ_t = β₁.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """
    if decay is not None:
        check_not_negative(decay=decay)
    mean = average(beta1)

    def mu(t: int) -> float:
        return beta1 if decay is None else beta1 * (1 - 0.5 * 0.96 ** (t * decay))

    def phi(memory: Any, g: Array) -> tuple[Any, Array]:
        memory, t, product = memory or (None, 1, 1.0)
        memory, m = mean(memory, g)
        product = product * mu(t)
        value = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
        return (memory, t + 1, product), value

    return Rule("NAdam, Dozat's", phi, average(beta2, correction="copy"), epsilon=epsilon)
