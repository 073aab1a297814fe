"""DEMON, decaying momentum (Chen, Wolfe, Li & Kyrillidis, arXiv 1910.04952), for the optimisers of PyTorch."""

from __future__ import annotations

from typing import Any

from anmin.lab.arguments import check_coefficients, check_integers


def demon_coefficient(beta: float, t: int, n_steps: int) -> float:
    """Return β_t = β(1 − t/T) / ((1 − β) + β(1 − t/T)), so that β_t/(1 − β_t) falls on a line from β/(1 − β) to 0.

    Parameters
    ----------
    beta : float
        Momentum at t = 0, in [0, 1).
    t : int
        Steps taken; after T of them the momentum stays 0.
    n_steps : int
        T, at least 1.

    Raises
    ------
    ValueError
        If one of them is none of these.
    """
    check_coefficients(beta=beta)
    check_integers(1, n_steps=n_steps)
    check_integers(0, t=t)
    left = beta * (1 - min(t, n_steps) / n_steps)
    return left / ((1 - beta) + left)


class DemonSchedule:
    """Decay the momentum of an optimiser to 0 within a number of steps.

    The momentum of each group of parameters is set when the schedule is made, and by :meth:`step`, which is called
    after each step of the optimiser. It is ``momentum`` where the groups have one (SGD, RMSprop and the like),
    otherwise the first of ``betas`` (Adam and its relatives). PyTorch's Adam corrects its t-th step by 1 − β^t with the
    β set then.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any with ``momentum`` or ``betas`` in its groups.
    beta : float
        Momentum of the first step, in [0, 1).
    n_steps : int
        T, the steps after which the momentum is 0.
    damped : bool, default False
        The source of DEMON pairs it with undamped momentum m ← β_t·m + g, which is this with False and PyTorch's SGD.
        True sets its ``dampening`` to β_t too, m ← β_t·m + (1 − β_t)·g, and starts from m = 0: by itself PyTorch takes
        the first gradient undamped.

    Raises
    ------
    ValueError
        If beta or n_steps is out of its range; if the groups have neither ``momentum`` nor ``betas``; if ``damped`` is
        asked of an optimiser without ``dampening``, with Nesterov's momentum, or which has taken steps.
    """

    def __init__(self, optimizer: Any, beta: float, n_steps: int, *, damped: bool = False) -> None:
        demon_coefficient(beta, 0, n_steps)
        groups = getattr(optimizer, "param_groups", None)
        if not groups or not all("momentum" in group or "betas" in group for group in groups):
            raise ValueError(
                f"DEMON needs an optimiser with 'momentum' or 'betas' in its groups; got {type(optimizer).__name__}."
            )
        if damped:
            _start_damped(optimizer)
        self.optimizer, self.beta, self.n_steps, self.damped = optimizer, float(beta), int(n_steps), damped
        self.t = 0
        self._set()

    @property
    def coefficient(self) -> float:
        """β_t of the next step."""
        return demon_coefficient(self.beta, self.t, self.n_steps)

    def step(self) -> None:
        """Set the momentum of the next step."""
        self.t += 1
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` needs to go on from here."""
        return {"t": self.t, "beta": self.beta, "n_steps": self.n_steps, "damped": self.damped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state, and set the momentum of its next step.

        Raises
        ------
        ValueError
            If it is not a state of a schedule.
        """
        if set(state) != {"t", "beta", "n_steps", "damped"}:
            raise ValueError(f"The state of a schedule has t, beta, n_steps and damped; got {', '.join(state)}.")
        demon_coefficient(state["beta"], state["t"], state["n_steps"])
        self.t, self.beta, self.n_steps, self.damped = (state[key] for key in ("t", "beta", "n_steps", "damped"))
        self._set()

    def _set(self) -> None:
        for group in self.optimizer.param_groups:
            if "momentum" in group:
                group["momentum"] = self.coefficient
                if self.damped:
                    group["dampening"] = self.coefficient
            else:
                group["betas"] = (self.coefficient, *group["betas"][1:])


def _start_damped(optimizer: Any) -> None:
    if any("dampening" not in group or group.get("nesterov") for group in optimizer.param_groups):
        raise ValueError(
            f"damped=True needs an optimiser with 'dampening' and without Nesterov's momentum, such as SGD of PyTorch "
            f"by default; got {type(optimizer).__name__}."
        )
    if optimizer.state:
        raise ValueError("damped=True starts from momentum 0; make the schedule before the optimiser's first step.")
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter]["momentum_buffer"] = parameter.detach() * 0
