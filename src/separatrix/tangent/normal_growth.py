"""The largest singular value of a Jacobian along a straight line in input space, with two derivatives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp, vjp, vmap

from separatrix.systems.guest import Guest
from separatrix.systems.modes import plain_kernels

_EQUAL = 1e-7
"""Relative distance of two singular values below which the first has no direction of its own."""


class Growth(NamedTuple):
    """ln sigma_1 at points, and how it changes along a line through each.

    Attributes
    ----------
    log : Tensor, shape (points,)
        ln sigma_1.
    right : Tensor, shape (points, inputs)
        Leading right singular direction; it has no sign.
    slope, curvature : Tensor, shape (points,)
        First and second derivative of ln sigma_1 along the line; NaN where sigma_1 = sigma_2.
    single : Tensor of bool, shape (points,)
        Whether sigma_1 is larger than sigma_2.
    """

    log: Tensor
    right: Tensor
    slope: Tensor
    curvature: Tensor
    single: Tensor


class NormalLine:
    """Jacobian of one layer at x + t n, for a batch of points x with unit vectors n.

    Parameters
    ----------
    guest : Guest
        The model, whose points do not influence one another.
    label : str
        The layer, ``"output"`` for the output.
    x, normal : Tensor, shape (points, *input)
    exact : bool
        Whether forward mode may be nested over the Jacobian; where an operation has no rule for that, reverse mode
        gives the Jacobian and differences its derivatives.
    """

    def __init__(self, guest: Guest, label: str, x: Tensor, normal: Tensor, *, exact: bool = True) -> None:
        self.guest, self.label, self.x, self.normal, self.exact = guest, label, x, normal, exact
        self.inputs = x[0].numel()

    def _value(self, x: Tensor) -> Tensor:
        return layer_values(self.guest, [self.label], x)[0]

    def jacobian(self, t: Float[Tensor, ""]) -> Float[Tensor, "points m d"]:
        """Jacobian, by columns or by rows, whichever are fewer; differentiable in t by forward mode."""
        x = self.x + t * self.normal
        with torch.no_grad():
            outputs = self._value(self.x[:1]).shape[1]
        if self.inputs <= outputs:
            basis = torch.eye(self.inputs, dtype=x.dtype, device=x.device).reshape(-1, *x.shape[1:])
            columns = vmap(lambda e: jvp(self._value, (x,), (e.expand_as(x),))[1], randomness="same")(basis)
            return columns.permute(1, 2, 0)
        pull = vjp(self._value, x)[1]
        places = torch.eye(outputs, dtype=x.dtype, device=x.device)
        rows = vmap(lambda w: pull(w.expand(len(x), -1))[0], randomness="same")(places)
        return rows.flatten(2).transpose(0, 1)

    def by_rows(self, t: float) -> Float[Tensor, "points m d"]:
        """Jacobian by plain reverse mode, a pass for each component."""
        with torch.enable_grad():
            x = (self.x + t * self.normal).detach().requires_grad_()
            value = self._value(x)
            rows = [
                torch.autograd.grad(column.sum(), x, retain_graph=True, materialize_grads=True)[0] for column in value.T
            ]
        return torch.stack([row.flatten(1) for row in rows], dim=1)

    def stretch(self, t: float) -> Float[Tensor, " points"]:
        """Compute ln sigma_1 at a distance t along the line."""
        if not self.exact:
            return _finite_svd(self.by_rows(t))[1][:, 0].log()
        with torch.no_grad(), plain_kernels():
            jacobian = self.jacobian(torch.tensor(t, dtype=self.x.dtype, device=self.x.device))
        return _finite_svd(jacobian)[1][:, 0].log()

    def growth(self, *, derivatives: bool, step: float) -> Growth:
        """Compute ln sigma_1 at t = 0 with its derivatives, or NaN in their place; ``step`` is for differences."""
        if not self.exact:
            return self._by_differences(step, derivatives)
        t = torch.zeros((), dtype=self.x.dtype, device=self.x.device)
        one = torch.ones_like(t)

        def once(at: Tensor) -> tuple[Tensor, Tensor]:
            J, dJ = jvp(self.jacobian, (at,), (one,))[:2]
            return J, dJ

        with torch.no_grad(), plain_kernels():
            if derivatives:
                (J, dJ), (_, ddJ) = jvp(once, (t,), (one,))[:2]
            else:
                J = self.jacobian(t)
                dJ = ddJ = torch.full_like(J, torch.nan)
        return growth(J, dJ, ddJ)

    def _by_differences(self, h: float, derivatives: bool) -> Growth:
        """Central differences of fourth order; the error is about h^4 and 1e-15 / h^2."""
        J = self.by_rows(0.0)
        found = growth(J, *(2 * (torch.full_like(J, torch.nan),)))
        if not derivatives:
            return found
        a, b, c, d = (self.stretch(k * h) for k in (-2, -1, 1, 2))
        slope = (a - 8 * b + 8 * c - d) / (12 * h)
        curvature = (-a + 16 * b - 30 * found.log + 16 * c - d) / (12 * h * h)
        slope, curvature = (torch.where(found.single, value, torch.nan) for value in (slope, curvature))
        return found._replace(slope=slope, curvature=curvature)


def layer_values(guest: Guest, labels: list[str], x: Tensor) -> list[Float[Tensor, "points m"]]:
    """Values of the named calls, or of ``"output"``, in the order of the labels."""
    # the model may work in place on what it is given
    output, found = guest.tapped(x.clone(), set(labels) - {"output"})
    return [(output if label == "output" else found[label]).reshape(len(x), -1) for label in labels]


def growth(J: Float[Tensor, "points m d"], dJ: Float[Tensor, "points m d"], ddJ: Float[Tensor, "points m d"]) -> Growth:
    """Find ln sigma_1 and its derivatives from those of the Jacobian along a line.

    With J v_k = sigma_k u_k and lambda_k = sigma_k^2 the eigenvalues of B = J'J: d lambda_1 = v_1' dB v_1, and
    dd lambda_1 = v_1' ddB v_1 + 2 sum_{k>1} (v_k' dB v_1)^2 / (lambda_1 - lambda_k), by perturbation theory.
    """
    u, s, vh = _finite_svd(J)
    right = vh[:, 0]
    if J.shape[1] < J.shape[2]:
        # the smaller side has all of its vectors in a thin decomposition
        J, dJ, ddJ, vh = J.mT, dJ.mT, ddJ.mT, u.mT
    first = vh[:, 0, :, None]
    Jv, dJv, ddJv = J @ first, dJ @ first, ddJ @ first
    value = s[:, 0].square()
    change = 2 * (Jv * dJv).sum((1, 2))
    mixed = ((dJ @ vh.mT) * Jv).sum(1) + ((J @ vh.mT) * dJv).sum(1)
    gap = value[:, None] - s[:, 1:].square()
    second = 2 * (ddJv * Jv).sum((1, 2)) + 2 * dJv.square().sum((1, 2))
    second = second + 2 * (mixed[:, 1:].square() / gap).sum(1)
    single = torch.ones_like(value, dtype=torch.bool)
    if s.shape[1] > 1:
        single = s[:, 1] < (1 - _EQUAL) * s[:, 0]
    nothing = torch.full_like(value, torch.nan)
    slope = torch.where(single, change / value / 2, nothing)
    curvature = torch.where(single, (second / value - (change / value).square()) / 2, nothing)
    return Growth(s[:, 0].log(), right, slope, curvature, single)


def _finite_svd(J: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thin decomposition; NaN where the matrix is not finite, which LAPACK refuses."""
    finite = torch.isfinite(J).all((1, 2))[:, None, None]
    u, s, vh = torch.linalg.svd(torch.where(finite, J, torch.zeros_like(J)), full_matrices=False)
    return u, torch.where(finite[:, :, 0], s, torch.nan), torch.where(finite, vh, torch.nan)
