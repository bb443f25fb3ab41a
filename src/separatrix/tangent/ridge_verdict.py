"""Whether a field can have ridges at all, and whether a model is the one that it was made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.systems.guest import Output
from separatrix.tangent.ridge_exact import ExactField, Local
from separatrix.tangent.ridge_field import GridField
from separatrix.tangent.ridge_noise import roughness

_ROUGH = 1.5
"""Between a smooth field that a grid just resolves (below 1) and steps or noise (1.7 to 2)."""
_SAMPLE = 64
"""Nodes at which a model is compared with the field, and looked at for curvature."""
_CHECKED = 8
_SHIFT = 1e-3
"""Cells by which points are shifted for differences."""
_DEVIATION = 1e-3

OK = "ok"
KINKED = "ok: the network has kinks, at which its derivatives jump, so that only points that converged are kept"
PIECEWISE_LINEAR = "piecewise-linear: the stretch is constant between the kinks, so that there is no ridge"
CONSTANT = "constant: the stretch is the same everywhere, so that there is no ridge"
ROUGH = (
    "rough: the stretch jumps from node to node, as that of a piecewise-linear network or of noise does, so that no "
    "ridge was looked for; for a smooth network use a finer grid, model= or smooth="
)


def verdict(one: GridField, exact: ExactField | None) -> str:
    """Say whether there can be ridges; what begins with "ok" may be searched.

    Without a model, steps show in the field as second differences larger than the first ones. With it, the exact
    derivatives of the stretch vanish at all of 64 nodes.
    """
    if exact is not None:
        at = _coordinates(one, _sample(one))
        local = exact.at(at)
        some = slice(None, None, max(1, len(at) // _CHECKED))
        _check_derivatives(exact, at[some], Local(*(a[some] for a in local)), one.steps)
        if bool((local.gradient == 0).all() and (local.hessian == 0).all()):
            return PIECEWISE_LINEAR if exact.kinked else CONSTANT
    spread, size = float(np.nanmax(one.f) - np.nanmin(one.f)), float(np.nanmax(np.abs(one.f)))
    if spread <= 64 * one.eps * max(1.0, size):
        return CONSTANT
    if exact is None:
        return ROUGH if roughness(one.f) > _ROUGH else OK
    return KINKED if exact.kinked else OK


def exact_field(
    one: GridField, model: Any, output: Output, input_shape: Sequence[int] | None, budget: int
) -> ExactField:
    """Put the model on the field's plane, and compare the two at some nodes.

    Raises
    ------
    ArgumentError
        If the model does not fit the field.
    """
    asked = one.settings.get("output")
    if asked is not None and output is None:
        raise ArgumentError("output", "nothing", f"the field was made with output={asked}; give the same with model=")
    scale = one.settings.get("scale")
    units = torch.tensor(scale, dtype=torch.float64) if isinstance(scale, list) else None
    shape = tuple(input_shape or (len(one.origin),))
    if math.prod(shape) != len(one.origin):
        raise ArgumentError("input_shape", repr(shape), f"the field's inputs have {len(one.origin)} components")
    origin, basis = torch.from_numpy(one.origin).reshape(shape), torch.from_numpy(one.basis)
    exact = ExactField(model, output, one.label, units, origin, basis, one.coupled, budget)
    node = _sample(one)
    here, there = one.f[tuple(node.T)], exact.stretch(_coordinates(one, node)).numpy()
    off = float(np.abs(here - there).max())
    if not off <= 8 * math.sqrt(one.eps) * max(1.0, float(np.abs(here).max())):
        raise ArgumentError(
            "model",
            f"one whose stretch differs from the field's by up to {off:.2g} nat",
            "give the model, and output=, that the field was made of",
        )
    return exact


def _check_derivatives(exact: ExactField, at: Tensor, here: Local, steps: tuple[float, float]) -> None:
    """Compare all derivatives with differences: autograd of higher order is silently wrong for some operations.

    The median over some points, since a kink or two equal singular values may be close to one of them.
    """
    shifts = _SHIFT * torch.diag(torch.tensor(steps, dtype=torch.float64))
    moved = exact.at(torch.cat([at + sign * h for h in shifts for sign in (1, -1)]))
    around = list(zip(*(a.chunk(4) for a in moved), strict=True))
    worst = 0.0
    for k, cell in enumerate(steps):
        h = float(shifts[k, k])
        ahead, behind = (Local(*around[2 * k + i]) for i in (0, 1))
        turns = [v.direction * torch.sign((v.direction * here.direction).sum(1, keepdim=True)) for v in (ahead, behind)]
        pairs = [
            (here.gradient[:, k, None], (ahead.f - behind.f)[:, None]),
            (here.hessian[:, k], ahead.gradient - behind.gradient),
            (here.turning[:, k], turns[0] - turns[1]),
        ]
        for (exactly, difference), scale in zip(pairs, (here.gradient, here.hessian, here.turning), strict=True):
            off = (exactly - difference / (2 * h)).abs().amax(1)
            size = scale.flatten(1).abs().amax(1) + 1e-4 * here.gradient.abs().amax(1) / cell + 1e-4 / cell
            worst = max(worst, float((off / size).nanmedian()))
    if worst > _DEVIATION:
        raise ArgumentError(
            "model",
            f"one whose derivatives of higher order are wrong (by {worst:.1g} of their size, against differences)",
            "one of its operations is not differentiated rightly by PyTorch; leave model out for the sub-pixel answer",
        )


def _sample(one: GridField) -> np.ndarray:
    usable = np.argwhere(np.isfinite(one.f))
    return usable[np.linspace(0, len(usable) - 1, min(_SAMPLE, len(usable))).round().astype(int)]


def _coordinates(one: GridField, node: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(one.corner) + node * np.array(one.steps))
