"""Perturbations of a model's weights and of its optimizer's memory, kept parameter by parameter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from separatrix.tangent.batch_products import norm

Bundle = list[list[Tensor]]
"""For each parameter, for each part of the state (weights, memory), k perturbations (k, *shape)."""


def random_bundle(parameters: Sequence[Tensor], k: int, parts: Sequence[int], seed: int) -> Bundle:
    """Orthonormal random perturbations of the weights; those of the memory, of so many parts each, are zero."""
    generator = torch.Generator().manual_seed(seed)
    found: Bundle = []
    for p, count in zip(parameters, parts, strict=True):
        draw = torch.randn(k, *p.shape, generator=generator, dtype=p.dtype).to(p.device)
        found.append([draw, *(torch.zeros_like(draw) for _ in range(count - 1))])
    return orthonormalise(found)[0]


def orthonormalise(bundle: Bundle) -> tuple[Bundle, Tensor]:
    """Orthonormal perturbations that span the same, and the diagonal of R (k,), in float64; the old ones are used up.

    Cholesky's factor of the Gram matrix, taken twice. Its error grows with the square of the condition number, and the
    second time sees to what the first leaves; where the matrix is not positive definite in float64, Gram and Schmidt.

    Notes
    -----
    A perturbation that is zero, or lies in the span of those before it, has 0 on the diagonal and comes back as zero;
    infinite or NaN ones give NaN.
    """
    flat = [part.flatten(1) for parts in bundle for part in parts]
    k = len(flat[0])
    if k == 1:
        size = norm(flat)
        scale = 1 / size if size > 0 else 0.0
        return [[part.mul_(scale) for part in parts] for parts in bundle], torch.tensor([size], dtype=torch.float64)
    diagonal = torch.ones(k, dtype=torch.float64)
    for _ in range(2):
        R, info = torch.linalg.cholesky_ex(_gram(flat), upper=True)
        ends = R.diagonal()
        if int(info) or not bool(torch.isfinite(R).all()) or float(ends.min()) < 1e-7 * float(ends.max()):
            return _one_by_one(bundle)
        inverse = torch.linalg.solve_triangular(R, torch.eye(k, dtype=torch.float64), upper=True)
        flat = [inverse.T.to(part) @ part for part in flat]
        diagonal = diagonal * ends
    return _shaped(flat, bundle), diagonal


def at_rounding(diagonal: Tensor, precision: float) -> bool:
    """Whether an entry of R is at most so much of the largest, or of 1: the rest of unit vectors has their rounding."""
    return bool((diagonal <= precision * diagonal.max().clamp(min=1.0)).any())


def _gram(flat: Sequence[Tensor]) -> Tensor:
    total = torch.zeros(len(flat[0]), len(flat[0]), dtype=torch.float64)
    for part in flat:
        wide = part.double()
        total += (wide @ wide.T).cpu()
    return total


def _one_by_one(bundle: Bundle) -> tuple[Bundle, Tensor]:
    """Modified Gram and Schmidt, each twice, in float64."""
    flat = [part.flatten(1).to(torch.float64, copy=True) for parts in bundle for part in parts]
    k = len(flat[0])
    diagonal = torch.zeros(k, dtype=torch.float64)
    for i in range(k):
        before = sum(float(part[i].square().sum()) for part in flat) ** 0.5
        for _ in range(2):
            for j in range(i):
                share = sum(float(part[i] @ part[j]) for part in flat)
                for part in flat:
                    part[i] -= share * part[j]
        size = sum(float(part[i].square().sum()) for part in flat) ** 0.5
        if size <= 1e-14 * before:
            size = 0.0
        diagonal[i] = size
        for part in flat:
            part[i] = part[i] / size if size else part[i] * 0
    return _shaped(flat, bundle), diagonal


def _shaped(flat: Sequence[Tensor], like: Bundle) -> Bundle:
    left = iter(flat)
    return [[next(left).to(part.dtype).view_as(part) for part in parts] for parts in like]
