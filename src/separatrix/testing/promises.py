"""The promises of the protocol, one check each, at one place of an orbit."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.systems.protocol import System, adjoint
from separatrix.testing.untouched import Snapshot, differences, snapshot

_RUNGS = (100.0, 10.0, 1.0, 0.1)


class Place:
    """A state of the orbit with tangents, covectors, and what the system makes of them."""

    def __init__(self, system: System, x: Tensor, t: int, k: int, generator: torch.Generator, rtol: float) -> None:
        self.system, self.x, self.t, self.rtol = system, x, t, rtol
        self.generator = generator
        self.eps = torch.finfo(x.dtype).eps
        self.V = self.draw(k, *x.shape)
        self.following = self.step(x)
        require(isinstance(self.following, Tensor), "shapes", f"step returns {type(self.following).__name__}{self.at}")
        self.W = self.draw(k, *self.following.shape)

    @property
    def at(self) -> str:
        """The time, for messages."""
        return f" at t = {self.t}"

    def draw(self, *shape: int) -> Tensor:
        """Draw a Gaussian tensor like the state."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.x)

    def step(self, x: Tensor) -> Tensor:
        """Take the step from x, without a graph."""
        with torch.no_grad():
            return self.system.step(x, self.t)

    def tangent(self, x: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        """Take the tangent step from x."""
        return self.system.tangent(x, V, self.t)

    def adjoint(self, x: Tensor, W: Tensor) -> Tensor:
        """Apply the adjoint, the system's own or autograd's."""
        try:
            return adjoint(self.system, x, W, self.t)
        except ArgumentError as error:  # autograd's does not exist, or contradicts the tangent
            raise AssertionError(f"adjoint{self.at}: {error}") from error

    def calls(self) -> dict[str, Any]:
        """Map the three things that are asked of a system to (function, copies of its arguments)."""
        x, V, W = self.x.clone(), self.V.clone(), self.W.clone()
        return {
            "step": (lambda x: self.system.step(x, self.t), (x,)),
            "tangent": (self.tangent, (x, V)),
            "adjoint": (self.adjoint, (x, W)),
        }

    def left_as_found(self, name: str, modules: Collection[nn.Module], origin: Snapshot) -> None:
        """Check that one of them leaves modules, global state and arguments as they were at the very start."""
        call, arguments = self.calls()[name]
        originals = [a.clone() for a in arguments]
        call(*arguments)
        found = differences(origin, snapshot(modules))
        require(not found, "left as found", f"{name}{self.at}: {'; '.join(found)}")
        for a, original, argument in zip(arguments, originals, ("state", "V or W"), strict=False):
            same = torch.equal(a, original) and a._version == 0 and not a.requires_grad
            require(same, "left as found", f"{name}{self.at} changes its argument {argument} in place")

    def fits(self, name: str, value: Tensor, shape: torch.Size) -> None:
        """Check the shape, dtype and device of a result, and that it is finite."""
        fits = (value.shape, value.dtype, value.device) == (shape, self.x.dtype, self.x.device)
        got = f"{tuple(value.shape)} {value.dtype} on {value.device}"
        require(fits, "shapes", f"{name}{self.at} is {got}, not {tuple(shape)} {self.x.dtype} on {self.x.device}")
        require(bool(value.isfinite().all()), "shapes", f"{name}{self.at} is not finite")

    def agree(self, a: Tensor, b: Tensor, name: str, detail: str) -> None:
        """Check that vectors agree to rtol of their own length, or to rounding of the longest."""
        error, size = (a - b).norm(dim=-1), b.norm(dim=-1)
        longest = size.max() if size.numel() else size.sum()
        bad = ~(error <= self.rtol * size + 64 * self.eps * longest)
        require(not bad.any(), name, f"{detail}{self.at}: off by {error.max():.2g} of {longest:.2g}")


def members(place: Place) -> None:
    """Check that ``dim`` fits the states."""
    for t, x in ((place.t, place.x), (place.t + 1, place.following)):
        n = place.system.dim(t)
        require(isinstance(n, int) and n == x.shape[-1], "members", f"dim({t}) is {n!r}, the state has {x.shape[-1]}")


def shapes(place: Place) -> None:
    """Check that everything returned has the shape, dtype and device it should, and finite values."""
    x, following = place.x, place.following
    require(following.shape[:-1] == x.shape[:-1], "shapes", f"step{place.at} returns {tuple(following.shape)}")
    next_state, MV = place.tangent(x, place.V)
    place.fits("step", following, following.shape)
    place.fits("tangent's next state", next_state, following.shape)
    place.fits("tangent's M V", MV, place.W.shape)


def function_of_state(place: Place) -> None:
    """Check that a step depends on state and t alone, and its results stay as they are."""
    name = "function of state and t"
    first = place.step(place.x)
    kept = first.clone()
    MV = place.tangent(place.x, place.V)[1]
    kept_tangents = MV.clone()
    elsewhere = place.x + 0.1 * place.draw(*place.x.shape) * _size(place.x)
    place.step(elsewhere)
    place.tangent(elsewhere, -place.V)
    overwritten = not (torch.equal(first, kept) and torch.equal(MV, kept_tangents))
    require(not overwritten, name, f"a result{place.at} is overwritten by a later call")
    place.agree(place.step(place.x), kept, name, "the same step taken again gives another state")


def primal(place: Place) -> None:
    """Check that tangent and step lead to the same next state."""
    next_state, _ = place.tangent(place.x, place.V)
    place.agree(next_state, place.following, "primal", "tangent and step lead to different states")


def linearity(place: Place) -> None:
    """Check that M is linear, and the tangents carried together do not influence each other."""
    first, second = place.V[:1], place.draw(1, *place.x.shape)
    _, together = place.tangent(place.x, torch.cat([first, second, 2 * first - 3 * second, 0 * first]))
    _, alone = place.tangent(place.x, first)
    # the sizes of the terms, not of their difference, set the rounding error
    wanted = torch.stack([2 * together[0], 3 * together[1]])
    error = (together[2] - wanted[0] + wanted[1]).norm(dim=-1)
    bad = error > place.rtol * wanted.norm(dim=-1).sum(0)
    require(not bad.any(), "linearity", f"M (2 u - 3 v) is not 2 M u - 3 M v{place.at}: off by {error.max():.2g}")
    require(not together[3].any(), "linearity", f"M 0 is not 0{place.at}")
    place.agree(together[:1], alone, "linearity", "a tangent carried with others differs from the same one alone")


def derivative(place: Place) -> None:
    """Check that M agrees with central differences, at the best of four step sizes for each point and tangent."""
    _, MV = place.tangent(place.x, place.V)
    # steps around eps^(1/3), the best for central differences, in units of the state's size
    unit = place.eps ** (1 / 3) * _size(place.x)
    for v, Mv in zip(place.V, MV, strict=True):
        ratio = torch.full(place.x.shape[:-1], torch.inf, dtype=place.x.dtype, device=place.x.device)
        worst = torch.zeros_like(ratio)
        for rung in _RUNGS:
            h = rung * unit
            ahead, behind = place.step(place.x + h * v), place.step(place.x - h * v)
            error = ((ahead - behind) / (2 * h) - Mv).norm(dim=-1)
            rounding = 16 * place.eps * torch.maximum(ahead.norm(dim=-1), behind.norm(dim=-1)) / h
            here = error / (place.rtol * Mv.norm(dim=-1) + rounding).clamp_min(torch.finfo(error.dtype).tiny)
            worst = torch.where(here < ratio, error, worst)
            ratio = torch.minimum(ratio, here)
        size = Mv.norm(dim=-1).max()
        detail = f"M V{place.at} is off from central differences by {worst.max():.2g} of {size:.2g}"
        require(not (ratio > 1).any(), "derivative", detail)


def batch(place: Place) -> None:
    """Check that the members of a batch, and a bare (n,), give what they give together."""
    n = place.x.shape[-1]
    few = place.x.reshape(-1, n)[:3]
    if len(few) < 3:  # one point alone shows no coupling: give it neighbours
        few = few[:1] + torch.cat([torch.zeros_like(few[:1]), 1e-2 * _size(few) * place.draw(2, n)])
    V = place.draw(len(place.V), *few.shape)
    following = place.step(few)
    next_state, MV = place.tangent(few, V)
    for i, point in enumerate(few):
        for kind, x, v in (("in a batch of one", point[None], V[:, i : i + 1]), ("as a bare (n,)", point, V[:, i])):
            what = f"a point {kind} differs from the same one in a batch"
            place.agree(place.step(x).reshape(-1), following[i], "batch", f"step: {what}")
            next_alone, Mv = place.tangent(x, v)
            place.agree(next_alone.reshape(-1), next_state[i], "batch", f"tangent's next state: {what}")
            place.agree(Mv.reshape(len(V), -1), MV[:, i], "batch", f"tangent: {what}")


def adjoint_pairs(place: Place) -> None:
    """Check that <W, M V> = <M^T W, V>, point by point."""
    _, MV = place.tangent(place.x, place.V)
    pulled = place.adjoint(place.x, place.W)
    place.fits("adjoint", pulled, place.V.shape)
    left, right = (place.W * MV).sum(-1), (pulled * place.V).sum(-1)
    size = place.W.norm(dim=-1) * MV.norm(dim=-1) + pulled.norm(dim=-1) * place.V.norm(dim=-1)
    error = (left - right).abs()
    require(
        bool((error <= place.rtol * size).all()),
        "adjoint",
        f"<W, M V> and <M^T W, V>{place.at} differ by {error.max():.2g} of {size.max():.2g}",
    )


def under_no_grad(place: Place) -> None:
    """Check that tangent and adjoint are the same under ``torch.no_grad``."""
    MV, pulled = place.tangent(place.x, place.V)[1], place.adjoint(place.x, place.W)
    with torch.no_grad():
        same_MV, same_pulled = place.tangent(place.x, place.V)[1], place.adjoint(place.x, place.W)
    place.agree(same_MV, MV, "no_grad", "tangent differs under torch.no_grad")
    place.agree(same_pulled, pulled, "no_grad", "adjoint differs under torch.no_grad")


OF_TANGENT: tuple[Callable[[Place], None], ...] = (
    members, shapes, function_of_state, primal, linearity, derivative, batch,
)  # fmt: skip
OF_ADJOINT: tuple[Callable[[Place], None], ...] = (adjoint_pairs, under_no_grad)


def _size(x: Tensor) -> float:
    """Root mean square of a state, 1 for zero."""
    return float(x.double().square().mean().sqrt()) or 1.0


def require(ok: bool, name: str, detail: str) -> None:
    """Raise an AssertionError that begins with the name of the broken promise, unless ok."""
    if not ok:
        raise AssertionError(f"{name}: {detail}")
