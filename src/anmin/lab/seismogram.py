"""Sound in one dimension: seismograms of a layered medium, as a module of PyTorch whose parameters are velocities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anmin.lab.arguments import check_integers, check_not_negative
from anmin.lab.pytorch import Tensor, torch

CELLS, TIMES = 60, 140
#: c₀·Δt/Δx; the scheme is stable for velocities below c₀/COURANT.
COURANT = 0.7
#: Between receivers, in cells, and the peak wavelength of the source at c₀, in cells.
SPACING, WAVELENGTH = 6, 12.0


class Seismogram(torch.nn.Module):
    """The pressure u of u_tt = c(x)²·u_xx + s(t)·δ(x − x_s) at the receivers, by central differences.

    Length is in cells, time in what sound of velocity c₀ takes for one of them; c = c₀·exp(m). The source is
    a Ricker wavelet. Sound leaves at both ends (Mur's condition of first order), where m is 0.

    Attributes
    ----------
    log_velocity : parameter of shape (CELLS − 2,)
        m of the inner cells, 0 at first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_velocity = torch.nn.Parameter(torch.zeros(CELLS - 2, dtype=torch.float64))
        self.receivers = torch.arange(SPACING // 2, CELLS, SPACING)
        t = torch.arange(TIMES, dtype=torch.float64) * COURANT
        phase = (torch.pi * (t - 1.2 * WAVELENGTH) / WAVELENGTH) ** 2
        # By four, traces have a variance of about 1.
        self.wavelet = 4 * (1 - 2 * phase) * torch.exp(-phase)

    def forward(self, sources: Tensor) -> Tensor:
        """Return the seismograms of shots.

        Parameters
        ----------
        sources : integer tensor of shape (S,)
            Cells of the shots.

        Returns
        -------
        tensor of shape (S, R·TIMES)
            u at R receivers after each step, R in turn for each time.
        """
        now, before = self._matrices()
        shots = COURANT**2 * torch.nn.functional.one_hot(sources, CELLS).double()
        u = last = torch.zeros_like(shots)
        traces = []
        for strength in self.wavelet:
            u, last = torch.addmm(torch.addmm(strength * shots, u, now), last, before), u
            traces.append(u[:, self.receivers])
        return torch.stack(traces, 1).flatten(1)

    def _matrices(self) -> tuple[Tensor, Tensor]:
        """Return N and B of u_{t+1} = u_t·N + u_{t−1}·B + shots, for rows u."""
        unit = torch.eye(CELLS, dtype=torch.float64)
        squares = (COURANT * torch.nn.functional.pad(self.log_velocity, (1, 1)).exp()) ** 2
        bend = torch.roll(unit, 1, 0) + torch.roll(unit, -1, 0) - 2 * unit
        rows = 2 * unit + squares[:, None] * bend
        # Mur: u_0 at t + 1 is u_1 at t plus k times (u_1 at t + 1 less u_0 at t); likewise at the other end.
        k = (COURANT - 1) / (COURANT + 1)
        ends = torch.stack([unit[1] + k * (rows[1] - unit[0]), unit[-2] + k * (rows[-2] - unit[-1])])
        now = torch.cat([ends[:1], rows[1:-1], ends[1:]])
        before = torch.cat([-k * unit[1:2], -unit[1:-1], -k * unit[-2:-1]])
        return now.T, before.T


@dataclass(frozen=True, eq=False)
class Survey:
    """Shots into a medium that is known here.

    Attributes
    ----------
    sources : integer tensor of shape (S,)
    traces : tensor of shape (S, R·TIMES)
        With noise.
    log_velocity : tensor of shape (CELLS − 2,)
        The truth.
    """

    sources: Tensor
    traces: Tensor
    log_velocity: Tensor


def layered_survey(
    n_shots: int = 16, n_layers: int = 6, contrast: float = 0.15, noise: float = 0.001, seed: int = 0
) -> Survey:
    """Return shots at even distances into layers of even thickness.

    Parameters
    ----------
    n_shots, n_layers : int
        At least 1, at most as many as inner cells.
    contrast : float
        Layers have m uniform between −contrast and contrast.
    noise : float
        Standard deviation of the noise over that of the traces.
    seed : int

    Raises
    ------
    ValueError
        If one of them is out of its range.
    """
    check_integers(1, n_shots=n_shots, n_layers=n_layers)
    check_not_negative(contrast=contrast, noise=noise)
    if max(n_shots, n_layers) > CELLS - 2:
        raise ValueError(f"There may be {CELLS - 2} shots and layers at most; got {n_shots} and {n_layers}.")
    if contrast >= np.log(1 / COURANT):
        raise ValueError(f"contrast must be below ln {1 / COURANT:g}, beyond which steps are unstable; got {contrast}.")
    rng = np.random.default_rng(seed)
    layers = rng.uniform(-contrast, contrast, n_layers)
    truth = torch.as_tensor(layers[np.arange(CELLS - 2) * n_layers // (CELLS - 2)])
    model = Seismogram()
    with torch.no_grad():
        model.log_velocity.copy_(truth)
        sources = torch.linspace(1, CELLS - 2, n_shots).round().long()
        traces = model(sources)
    error = torch.as_tensor(rng.normal(size=tuple(traces.shape)))
    return Survey(sources, traces + noise * traces.std() * error, truth)
