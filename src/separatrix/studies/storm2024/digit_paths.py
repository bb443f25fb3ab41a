"""Attacks that turn a 9 into a 4: the exponent along their paths, and their direction beside the largest stretch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from separatrix.studies.storm2024.attack import PIXELS, log_odds, uphill, walk
from separatrix.studies.storm2024.digit_looks import Look, evenly
from separatrix.tangent.ftle import ftle

FROM, TO = 9, 4
RISE = 0.02
"""Per layer: how much higher the exponent must be between than at both ends to count, a factor 1.4 in 16 layers."""

WAY = np.linspace(0, 2, 41)
"""Where paths are compared: 0 is the image, 1 the switch of the class, 2 equally far behind it."""

NULLS = {
    "random pixels": "random directions of pixel space, clipped to [0, 1], over the length of the attack",
    "random seen": "random directions among those that the first layer sees, over the length of the attack",
    "another 9": "straight lines to other nines",
}


@dataclass(frozen=True)
class Walk:
    """Parameters of the attack: steps of one Euclidean length along the gradient of the log-odds of the class 4."""

    step: float = 0.05
    count: int = 120
    images: int = 60

    def described(self) -> str:
        """Parameters as text."""
        return (
            f"targeted at class {TO}: {self.count} gradient steps of L2 length {self.step:g} on the log-odds, pixels "
            f"kept in [0, 1], no ball; {self.images} of the nines that a member recognises, evenly spread"
        )


@dataclass(frozen=True)
class Paths:
    """Attacks on one member, and paths of comparison.

    Attributes
    ----------
    exponent : dict of str to ndarray, shape (path, len(WAY))
        "attack" and the keys of :data:`NULLS`.
    length : ndarray, shape (path,)
        Euclidean length of each path up to the switch.
    lost : int
        Images that the attack did not carry twice as far as the switch.
    cosines : dict of str to ndarray, shape (path,)
        |cos| of the direction of largest stretch, "at the image" and "at the switch": with the way from the image to
        the switch ("attack"), the gradient that the attack follows there ("gradient"), and the gradients of random
        linear functions of the last hidden layer ("pulled back").
    seen : int
        How many directions of pixel space the first layer sees.
    places : Tensor, shape (path, len(WAY), pixels)
        The attack's points.
    """

    exponent: dict[str, np.ndarray]
    length: np.ndarray
    lost: int
    cosines: dict[str, np.ndarray]
    seen: int
    places: Tensor

    def bump(self, name: str) -> np.ndarray:
        """How much higher the exponent is between than at the higher end, (path,)."""
        values = self.exponent[name]
        return values[:, 1:-1].max(1) - np.maximum(values[:, 0], values[:, -1])


def attack_paths(look: Look, member: int, how: Walk, seed: int) -> Paths | None:
    """Attack nines that a member recognises; None where no attack goes twice as far as the switch."""
    net, depth = look.members[member], _depth(look.members[member])
    nines = (look.y == FROM) & torch.from_numpy(~look.wrong[member])
    if not nines.any():
        return None
    rows = evenly(int(nines.sum()), how.images)
    X, others = look.X[nines][rows], look.X[nines].roll(1, 0)[rows]
    path = walk(net, X, TO, step=how.step, count=how.count)
    switch = switches(net, path)
    whole = 2 * switch <= how.count
    if not whole.any():
        return None
    X, others, path, switch = X[whole], others[whole], path[:, whole], switch[whole]
    places = along(path, switch)
    turned = places[:, len(WAY) // 2]
    length = (path[1:] - path[:-1]).norm(dim=2).numpy()
    length = np.array(
        [
            np.interp(float(s), np.arange(how.count + 1), np.r_[0, np.cumsum(one)])
            for s, one in zip(switch, length.T, strict=True)
        ]
    )

    generator = torch.Generator().manual_seed(seed + member)
    noise = torch.randn(X.shape, generator=generator)
    first = next(net.parameters()).detach()
    basis = torch.linalg.qr(first.T)[0]
    seen = torch.randn(len(X), basis.shape[1], generator=generator) @ basis.T
    far = 2 * torch.from_numpy(length).to(X)[:, None]
    ways = {
        "attack": places,
        "random pixels": _line(X, (X + far * _unit(noise)).clamp(*PIXELS)),
        "random seen": _line(X, X + far * _unit(seen)),
        "another 9": _line(X, others),
    }
    exponent = {name: _exponents(net, way, depth) for name, way in ways.items()}
    cosines = {}
    for name, at in (("at the image", X), ("at the switch", turned)):
        stretch = _directions(net, at, depth)
        cosines[f"attack, {name}"] = _cosine(stretch, turned - X)
        cosines[f"gradient, {name}"] = _cosine(stretch, uphill(net, at, _toward))
        cosines[f"pulled back, {name}"] = _cosine(stretch, _pulled_back(net, at, depth, generator))
    return Paths(exponent, length, int((~whole).sum()), cosines, basis.shape[1], places)


def switches(net: nn.Module, path: Tensor) -> Tensor:
    """Step at which class 4 becomes the largest, interpolated; infinite where it never does; shape (path,)."""
    with torch.no_grad():
        logits = net(path.flatten(0, 1)).view(*path.shape[:2], -1)
    lead = logits[..., TO] - logits.index_fill(-1, torch.tensor([TO]), -torch.inf).amax(-1)
    first = (lead > 0).int().argmax(0)
    before, after = (lead.gather(0, (first - i).clamp_min(0)[None])[0] for i in (1, 0))
    place = first - after / (after - before).clamp_min(1e-12)
    return torch.where((lead > 0).any(0) & (first > 0), place, torch.inf)


def along(path: Tensor, switch: Tensor) -> Tensor:
    """Points of paths (step, path, pixels) at WAY, between the steps by interpolation: (path, len(WAY), pixels)."""
    at = switch[:, None] * torch.from_numpy(WAY).to(switch)
    low = at.floor().long().clamp_max(len(path) - 2)
    rows = torch.arange(path.shape[1])[:, None]
    share = (at - low)[..., None]
    return (1 - share) * path[low, rows] + share * path[low + 1, rows]


def _line(begin: Tensor, end: Tensor) -> Tensor:
    share = torch.from_numpy(WAY / WAY[-1]).to(begin)[None, :, None]
    return begin[:, None] + share * (end - begin)[:, None]


def _exponents(net: nn.Module, way: Tensor, depth: int) -> np.ndarray:
    field = ftle(net, way.flatten(0, 1), layers=[f"tanh{depth}"])
    return np.asarray(field["exponent"].values[0, 0, :, 0]).reshape(way.shape[:2])


def _directions(net: nn.Module, X: Tensor, depth: int) -> Tensor:
    """Direction of largest stretch at each image, (image, pixels)."""
    field = ftle(net, X, layers=[f"tanh{depth}"], directions=True)
    return torch.from_numpy(field["right"].values[0, 0, :, 0]).to(X)


def _pulled_back(net: nn.Module, X: Tensor, depth: int, generator: torch.Generator) -> Tensor:
    """Gradients of random linear functions of the last hidden layer, (image, pixels)."""
    assert isinstance(net, nn.Sequential)
    with torch.enable_grad():
        at = X.detach().requires_grad_()
        hidden = net[: 2 * depth](at)
        (slope,) = torch.autograd.grad((hidden * torch.randn(hidden.shape, generator=generator)).sum(), at)
    return slope


def _toward(logits: Tensor) -> Tensor:
    return log_odds(logits, torch.full((len(logits),), TO))


def _depth(net: nn.Module) -> int:
    return sum(isinstance(part, nn.Tanh) for part in net.modules())


def _unit(v: Tensor) -> Tensor:
    return v / v.norm(dim=1, keepdim=True)


def _cosine(a: Tensor, b: Tensor) -> np.ndarray:
    return torch.nn.functional.cosine_similarity(a, b, dim=1).abs().double().numpy()
