"""Naive twins of exponents and covariant vectors: one orbit, dense Jacobians, products that are multiplied out."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def orbit_jacobians(system: Any, state: Float[Tensor, " n"], steps: int) -> tuple[list[Tensor], list[Tensor]]:
    """States x_0 .. x_T and Jacobians M_0 .. M_{T-1} of one orbit, by one autograd call for each component.

    Parameters
    ----------
    system : System
        See :class:`separatrix.systems.System`.
    state : Tensor (n,)
        Where the orbit starts.
    steps : int
        T.
    """
    states, jacobians = [state], []
    for t in range(steps):
        jacobian = torch.autograd.functional.jacobian(lambda x, t=t: system.step(x, t), states[-1])
        jacobians.append(jacobian.double())
        states.append(system.step(states[-1], t).detach())
    return states, jacobians


def qr_stretches(jacobians: list[Tensor], q: Float[Tensor, "n k"]) -> Float[Tensor, "steps k"]:
    """Ln |R_ii| of each step, from Q_0 = q; not summed and not sorted."""
    logs = []
    for jacobian in jacobians:
        q, r = torch.linalg.qr(jacobian @ q)
        logs.append(r.diagonal().abs().log())
    return torch.stack(logs)


def singular_stretches(jacobians: list[Tensor], digits: int = 400) -> Float[Tensor, " n"]:
    """Ln sigma_i of the product, in arithmetic of so many decimal digits."""
    import mpmath  # type: ignore[import-untyped]

    with mpmath.workdps(digits):
        product = mpmath.matrix(jacobians[0].tolist())
        for jacobian in jacobians[1:]:
            product = mpmath.matrix(jacobian.tolist()) * product
        values = mpmath.svd_r(product, compute_uv=False)
        return torch.tensor([float(mpmath.log(v)) for v in values], dtype=torch.float64)


def covariant_by_intersection(past: list[Tensor], future: list[Tensor]) -> Float[Tensor, "n n"]:
    """Covariant vectors at one time, in columns, without a backward pass.

    Vector i lies in the span of the leading i left singular vectors of the past's product, and is orthogonal to the
    leading i - 1 right singular vectors of the future's (Wolfe and Samelson, Tellus 59A, 355 (2007)). Both products are
    multiplied out, so that steps times (largest - smallest exponent) must stay below about 30.
    """
    left = torch.linalg.svd(_product(past))[0]
    right = torch.linalg.svd(_product(future))[2].mT
    vectors = [left[:, 0]]
    for i in range(1, len(left)):
        null = torch.linalg.svd(right[:, :i].mT @ left[:, : i + 1])[2][-1]
        vectors.append(left[:, : i + 1] @ null)
    return torch.stack(vectors, 1)


def _product(jacobians: list[Tensor]) -> Tensor:
    product = torch.eye(len(jacobians[0]), dtype=torch.float64)
    for jacobian in jacobians:
        product = jacobian @ product
    return product
