"""Shapes that move among distractors: frames, true masks, and proposals of masks that are noisy and too many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from anmin.lab.matching import intersection_over_union, matching, matching_cost

SIZE = 32  # of a frame
_SHAPES = ("disc", "square", "ring", "cross", "triangle")
_PATCH = 12  # of what features are made of


@dataclass(frozen=True)
class Clip:
    """A sequence of frames.

    Attributes
    ----------
    frames : ndarray of shape (T, 32, 32)
        Brightness with noise.
    masks : ndarray of shape (T, n, 32, 32)
        True masks, 0 and 1.
    proposals : ndarray of shape (T, m, 32, 32)
        Masks found: of each object one with a ragged edge, and of distractors, in random order.
    which : ndarray of shape (T, n), int
        The proposal of each object.
    """

    frames: NDArray
    masks: NDArray
    proposals: NDArray
    which: NDArray


def clip(rng: np.random.Generator, n_frames: int = 8, n_objects: int = 3, n_distractors: int = 4) -> Clip:
    """Return a clip: objects keep shape and texture and move far, distractors are shapes of the same kinds."""
    if min(n_frames, n_objects) < 1 or n_distractors < 0:
        raise ValueError(
            f"A clip needs frames and objects; got {n_frames} frames, {n_objects} objects, {n_distractors} distractors."
        )
    n, m = n_objects, n_objects + n_distractors
    kinds, phases = rng.integers(len(_SHAPES), size=m), rng.uniform(0, 2 * np.pi, m)
    waves, angles, levels = rng.uniform(0.6, 2.2, m), rng.uniform(0, np.pi, m), rng.uniform(0.4, 1.2, m)
    places = rng.uniform(6, SIZE - 6, (m, 2))
    speeds = rng.normal(0, 2.5, (m, 2))
    frames, masks, proposals, which = [], [], [], []
    for _ in range(n_frames):
        # Distractors come and go anywhere.
        places[n:] = rng.uniform(5, SIZE - 5, (n_distractors, 2))
        frame = rng.normal(0, 0.08, (SIZE, SIZE))
        drawn = np.array([_mask(_SHAPES[kind], place) for kind, place in zip(kinds, places, strict=True)])
        # Objects before distractors, so that none is hidden for long.
        for k in [*range(n, m), *rng.permutation(n)]:
            texture = levels[k] + 0.3 * np.sin(_waves(angles[k], waves[k]) + phases[k])
            frame = np.where(drawn[k] > 0, texture + rng.normal(0, 0.08, frame.shape), frame)
        ragged = np.array([_ragged(mask, rng) for mask in drawn])
        order = rng.permutation(m)
        frames.append(frame)
        masks.append(drawn[:n])
        proposals.append(ragged[order])
        which.append(np.argsort(order)[:n])
        places, speeds = _moved(places, speeds + rng.normal(0, 0.8, speeds.shape))
    return Clip(*(np.array(values) for values in (frames, masks, proposals, which)))


def _moved(places: NDArray, speeds: NDArray) -> tuple[NDArray, NDArray]:
    """Return places and speeds a frame later; walls reflect."""
    places = places + speeds
    out = (places < 5) | (places > SIZE - 5)
    return np.clip(places, 5, SIZE - 5), np.where(out, -speeds, speeds)


def _mask(shape: str, place: NDArray) -> NDArray:
    y, x = np.mgrid[:SIZE, :SIZE] - place[:, None, None]
    radius = np.hypot(y, x)
    inside = {
        "disc": radius < 4.5,
        "square": np.maximum(np.abs(y), np.abs(x)) < 4,
        "ring": (radius < 5) & (radius > 2),
        "cross": (np.minimum(np.abs(y), np.abs(x)) < 1.6) & (np.maximum(np.abs(y), np.abs(x)) < 5),
        "triangle": (y > -4) & (y < 4) & (np.abs(x) < (y + 4.5) * 0.6),
    }[shape]
    return inside.astype(float)


def _waves(angle: float, frequency: float) -> NDArray:
    y, x = np.mgrid[:SIZE, :SIZE]
    return frequency * (np.cos(angle) * x + np.sin(angle) * y)


def _ragged(mask: NDArray, rng: np.random.Generator) -> NDArray:
    """Return a mask with its edge moved at random, by at most a dot."""
    shifted = np.roll(mask, rng.integers(-1, 2, 2), axis=(0, 1))
    chance = rng.random(mask.shape)
    return np.where(chance < 0.85, mask, shifted)


class Tracker(nn.Module):
    """Features of what is under a mask, a matching layer, and one small layer that mends the mask found.

    Parameters
    ----------
    n_features : int
    weight : float
        λ of the cost.
    """

    def __init__(self, n_features: int = 16, weight: float = 0.3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(16 * (_PATCH // 2) ** 2, n_features),
        )  # fmt: skip
        last = nn.Conv2d(8, 1, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)  # begins as no change
        self.refine = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), last)
        self.weight = weight

    def described(self, frames: Tensor, masks: Tensor) -> Tensor:
        """Return features (…, k, n_features) of masks (…, k, 32, 32) on frames (…, 32, 32)."""
        patches = _patches(
            frames[..., None, :, :].expand(masks.shape).reshape(-1, SIZE, SIZE), masks.reshape(-1, SIZE, SIZE)
        )
        return self.features(patches).reshape(*masks.shape[:-2], -1)

    def forward(self, frames: Tensor, templates: Tensor, before: Tensor, proposals: Tensor, exact: bool) -> Tensor:
        """Return the assignments (…, n, m) of proposals (…, m, 32, 32) on frames (…, 32, 32) to objects.

        ``templates`` (…, n, n_features) are their features, ``before`` (…, n, 32, 32) their masks in the frames before.
        ``exact`` takes many steps, else few.
        """
        cost = self.cost(frames, templates, before, proposals)
        return matching(cost, steps=100 if exact else 10, projections=50 if exact else 5, rate=0.5)

    def cost(self, frames: Tensor, templates: Tensor, before: Tensor, proposals: Tensor) -> Tensor:
        """Return the cost (…, n, m) of each proposal for each object."""
        overlap = intersection_over_union(before, proposals)
        return matching_cost(templates, self.described(frames, proposals), overlap, self.weight)

    def mended(self, frames: Tensor, masks: Tensor) -> Tensor:
        """Return masks (…, n, 32, 32) refined by their frames (…, 32, 32), as logits added to those of the masks."""
        inputs = torch.stack([frames[..., None, :, :].expand(masks.shape), masks], dim=-3)
        added = self.refine(inputs.reshape(-1, 2, SIZE, SIZE)).reshape(masks.shape)
        return torch.sigmoid(4 * (2 * masks - 1) + added)


def _patches(frames: Tensor, masks: Tensor) -> Tensor:
    """Return frames (k, 32, 32) under masks, and the masks, around the middles of these (k, 2, 12, 12)."""
    mass = masks.sum(dim=(1, 2)).clamp_min(1e-9)
    places = torch.arange(SIZE, dtype=masks.dtype)
    corners = [
        (((masks.sum(dim=axis) @ places) / mass).round().long() - _PATCH // 2).clamp(0, SIZE - _PATCH)
        for axis in (2, 1)
    ]
    window = torch.arange(_PATCH)
    rows, columns = (corner[:, None] + window for corner in corners)
    k = torch.arange(len(masks))[:, None, None]
    under = torch.stack([frames * masks, masks], dim=1)
    return under[k[:, None], torch.arange(2)[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]]


def train(tracker: Tracker, rng: np.random.Generator, *, steps: int, rate: float, batch: int = 8) -> list[float]:
    """Train features and refinement through the matching layer, on new clips in each step; return the losses.

    The loss is 1 − IoU of the masks that the assignment puts together with the true ones, and the cross entropy of the
    refined masks. Templates and masks before are the true ones, as in training from annotated clips.
    """
    optimiser = torch.optim.Adam(tracker.parameters(), rate)
    losses = []
    for _ in range(steps):
        frames, masks, proposals = _stacked([clip(rng) for _ in range(batch)])
        optimiser.zero_grad()
        templates = tracker.described(frames[:, 0], masks[:, 0])[:, None]
        X = tracker(frames[:, 1:], templates, masks[:, :-1], proposals[:, 1:], exact=False)
        found = torch.einsum("btnm,btmhw->btnhw", X, proposals[:, 1:])
        overlap = (found * masks[:, 1:]).sum(dim=(-1, -2))
        union = (found + masks[:, 1:] - found * masks[:, 1:]).sum(dim=(-1, -2))
        mended = tracker.mended(frames[:, 1:], found.clamp(0, 1))
        loss = (1 - overlap / union.clamp_min(1e-6)).mean() + binary_cross_entropy(mended, masks[:, 1:])
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


@dataclass(frozen=True)
class Score:
    """Share of objects given the right proposal, mean IoU of the chosen masks, and of the refined ones."""

    accuracy: float
    overlap: float
    refined: float


def score(tracker: Tracker, clips: list[Clip], greedy: bool = False) -> Score:
    """Follow objects through clips, all at once, from their first true masks alone.

    ``greedy`` takes the cheapest pairs in turn.
    """
    frames, masks, proposals = _stacked(clips)
    which = np.array([one.which for one in clips])
    right, overlaps, refined = [], [], []
    before, each = masks[:, 0], torch.arange(len(clips))[:, None]
    with torch.no_grad():
        templates = tracker.described(frames[:, 0], masks[:, 0])
        for t in range(1, frames.shape[1]):
            now, found = frames[:, t], proposals[:, t]
            if greedy:
                costs = tracker.cost(now, templates, before, found).numpy()
                chosen = torch.from_numpy(np.array([_greedy(cost) for cost in costs]))
            else:
                chosen = tracker(now, templates, before, found, exact=True).argmax(dim=-1)
            right.append(chosen.numpy() == which[:, t])
            before = found[each, chosen]
            overlaps.append(_overlap(before, masks[:, t]))
            refined.append(_overlap((tracker.mended(now, before) > 0.5).float(), masks[:, t]))
    return Score(float(np.mean(right)), float(np.mean(overlaps)), float(np.mean(refined)))


def _stacked(clips: list[Clip]) -> tuple[Tensor, Tensor, Tensor]:
    """Return frames, masks and proposals of all clips, the clip first."""
    return (
        torch.from_numpy(np.array([one.frames for one in clips])).float(),
        torch.from_numpy(np.array([one.masks for one in clips])).float(),
        torch.from_numpy(np.array([one.proposals for one in clips])).float(),
    )


def _overlap(found: Tensor, true: Tensor) -> float:
    return float(torch.diagonal(intersection_over_union(found, true), dim1=-2, dim2=-1).mean())


def _greedy(cost: NDArray) -> NDArray:
    left, chosen = cost.copy(), np.zeros(len(cost), dtype=int)
    for _ in range(len(cost)):
        i, j = np.unravel_index(np.argmin(left), left.shape)
        chosen[i] = j
        left[i], left[:, j] = np.inf, np.inf
    return chosen
