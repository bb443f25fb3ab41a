"""The leading stretch of a model on a plane, with its exact first and second derivatives, at any points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, jvp, vjp

from separatrix.results.errors import ArgumentError
from separatrix.results.memory import points_per_chunk
from separatrix.systems.guest import Guest, Output
from separatrix.systems.listing import anatomy
from separatrix.systems.modes import plain_kernels
from separatrix.tangent.plan import Problem, plan
from separatrix.tangent.ridge_norms import PlainNorms
from separatrix.tangent.routes import Task, bytes_per_point
from separatrix.tangent.spectrum import Wanted

_COPIES = 24
"""Copies of a forward pass that three nested derivatives hold at once; more than was measured."""


class Local(NamedTuple):
    """Derivatives at points of a plane, in the plane's coordinates.

    Attributes
    ----------
    f, gap : Tensor, shape (points,)
        ln sigma_1 and ln sigma_1/sigma_2.
    direction : Tensor, shape (points, 2)
        The part c of v_1 in the plane, of unit length in the input space, of either sign.
    gradient : Tensor, shape (points, 2)
    hessian : Tensor, shape (points, 2, 2)
    turning : Tensor, shape (points, 2, 2)
        Derivative of the direction: ``turning[:, k]`` along axis k.
    """

    f: Float[Tensor, " points"]
    gap: Float[Tensor, " points"]
    direction: Float[Tensor, "points 2"]
    gradient: Float[Tensor, "points 2"]
    hessian: Float[Tensor, "points 2 2"]
    turning: Float[Tensor, "points 2 2"]

    @property
    def slope(self) -> Tensor:
        """Derivative g of f along the direction; zero on a ridge."""
        return (self.gradient * self.direction).sum(1)

    @property
    def curvature(self) -> Tensor:
        """Second derivative q of f along the direction."""
        return torch.einsum("pk,pkl,pl->p", self.direction, self.hessian, self.direction)

    @property
    def normal(self) -> Tensor:
        """Gradient of g: a covector that vanishes along the ridge."""
        return torch.einsum("pkl,pl->pk", self.hessian, self.direction) + torch.einsum(
            "pl,pkl->pk", self.gradient, self.turning
        )


class ExactField:
    """A model's leading stretch over a plane.

    With sigma_1, u_1, v_1 of the Jacobian J and C = J'J, first derivatives are d sigma_1 = u_1' (dJ) v_1, and second
    ones follow from C: for lambda = sigma_1^2 and unit steps along the axes k and l of the plane,
    lambda_kl = v_1' C_kl v_1 + 2 v_1' C_k (d_l v_1), with d_l v_1 = (lambda - C)^+ C_l v_1. No derivative is taken of a
    decomposition, and none by differences.

    Parameters
    ----------
    model : nn.Module or callable
        Run as a guest, in float64; it is left as it was.
    output : callable, str, int or None
        As in :func:`separatrix.ftle`.
    label : str
        The layer.
    scale : Tensor or None
        Unit of each input.
    origin : Tensor, shape of one input
    basis : Tensor, shape (2, inputs)
        Points of the plane are origin + a basis[0] + b basis[1].
    coupled : bool
        Whether points of a batch influence one another: then they are computed one by one.
    budget : int
        Bytes.
    """

    def __init__(
        self,
        model: Any,
        output: Output,
        label: str,
        scale: Tensor | None,
        origin: Tensor,
        basis: Tensor,
        coupled: bool,
        budget: int,
    ) -> None:
        self.guest = Guest(model, output=output, dtype=torch.float64)
        device = self.guest.device or torch.device("cpu")
        self.origin, self.basis = origin.to(device, torch.float64), basis.to(device, torch.float64)
        inputs = self.basis.shape[1]
        units = torch.ones(inputs) if scale is None else scale
        with self.guest.visit():
            seen = self._seen()
            try:
                chosen = seen.select([label])
            except ArgumentError as error:
                raise ArgumentError(
                    "model", f"one without the layer {label!r}", "give the model that the field was made of"
                ) from error
            problem = Problem(self.guest, seen, chosen, units.to(self.basis), Wanted(), budget)
            problem = replace(problem, wanted=Wanted(problem.ranks[0]))
            self.route = plan(problem, "auto", coupled=coupled)
        self.problem = problem
        self.kinked = seen.trace.kinked
        self.task = Task(self.guest, problem.labels, problem.scale, problem.wanted)
        values = [c.value for c in seen.trace.calls if c.value is not None]
        activations = sum(v[0].numel() for v in values if v.ndim) + seen.output[0].numel() + inputs
        need = _COPIES * bytes_per_point(activations, problem.widths, 1, inputs, 8, True, problem.ranks[0])
        single = self.route.method == "loop"
        self.chunk = 1 if single else min(self.route.chunk, 4096, points_per_chunk(need, budget, "second derivatives"))
        # from a direction in units of the scale to the plane's coordinates
        self._to_plane = torch.linalg.pinv(self.basis.T) * self.problem.scale

    def _seen(self) -> Any:
        x = torch.stack([self.origin, self.origin + self.basis[0].reshape(self.origin.shape)])
        try:
            return anatomy(self.guest, x)
        except (RuntimeError, TypeError, IndexError, AssertionError) as error:
            raise ArgumentError(
                "model",
                f"one that rejects inputs of shape {tuple(x.shape[1:])}: {type(error).__name__}: {error}",
                "give the model that the field was made of, and input_shape= if it takes no flat vectors",
            ) from error

    def points(self, at: Float[Tensor, "points 2"]) -> Tensor:
        """Inputs at coordinates of the plane."""
        return self.origin + (at.to(self.basis) @ self.basis).reshape(-1, *self.origin.shape)

    def stretch(self, at: Float[Tensor, "points 2"]) -> Float[Tensor, " points"]:
        """The leading stretch alone."""
        return torch.cat(self._in_chunks(lambda x: self._spectrum(x)[0][:, 0], at)).cpu()

    def at(self, at: Float[Tensor, "points 2"]) -> Local:
        """All derivatives at points of the plane, on the CPU.

        Cost: about 60 forward passes, and a singular value decomposition a point.

        Raises
        ------
        ArgumentError
            If an operation of the model has no second derivative.
        """
        parts = self._in_chunks(lambda x: self._local(x, *self._spectrum(x)), at)
        return Local(*(torch.cat(same).cpu() for same in zip(*parts, strict=True)))

    def _in_chunks(self, work: Callable[[Tensor], Any], at: Tensor) -> list[Any]:
        parts = []
        with self.guest.visit(), PlainNorms():
            for part in at.split(self.chunk):
                x = self.points(part)
                try:
                    parts.append(work(x))
                except torch.OutOfMemoryError:
                    raise
                except (RuntimeError, NotImplementedError):
                    # fused kernels have no forward-mode rule
                    try:
                        with plain_kernels():
                            parts.append(work(x))
                    except (RuntimeError, NotImplementedError) as error:
                        raise ArgumentError(
                            "model",
                            f"one that cannot be differentiated three times: {str(error).splitlines()[0]}",
                            "leave model out for the sub-pixel answer",
                        ) from error
        return parts

    def _spectrum(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = next(layer.spectrum for layer in self.route.run(x))
        assert found.right is not None
        return found.log, found.right.to(x)

    def _value(self, x: Tensor) -> Tensor:
        return self.task.values(x, x)[0]

    def _push(self, x: Tensor, w: Tensor) -> Tensor:
        return jvp(self._value, (x,), (w,))[1]

    def _local(self, x: Tensor, log: Tensor, right: Tensor) -> Local:
        v1 = right[:, 0]
        moved = (v1 * self.problem.scale).reshape(x.shape)
        pushed = self._push(x, moved)
        sigma = pushed.norm(dim=1)
        u1 = pushed / sigma[:, None]
        lam = sigma.square()
        axes = [self.basis[k].reshape(x.shape[1:]).expand(x.shape) for k in (0, 1)]
        if self.chunk == 1:
            found = [self._along(x, moved, u1, sigma, axis.contiguous()) for axis in axes]
        else:
            # both axes in one batch: for small models the number of operations counts, and not their size
            two_x, two_moved, two_u1, two_sigma = (torch.cat([a, a]) for a in (x, moved, u1, sigma))
            both = self._along(two_x, two_moved, two_u1, two_sigma, torch.cat(axes))
            found = list(zip(*(a.chunk(2) for a in both), strict=True))
        first = found[0][2]
        parts = [(p, changed, self._resolvent(changed, log, right), second) for p, changed, _, second in found]
        gradient = first / sigma[:, None]
        hessian = torch.stack([torch.stack([self._second(k, m, parts, sigma) for m in (0, 1)], 1) for k in (0, 1)], 1)
        hessian = hessian / (2 * lam[:, None, None]) - 2 * gradient[:, :, None] * gradient[:, None, :]
        seen = v1 @ self._to_plane.T
        turned = torch.stack([part[2] @ self._to_plane.T for part in parts], 1)
        metric = self.basis @ self.basis.T
        length = torch.einsum("pi,ij,pj->p", seen, metric, seen).sqrt()[:, None]
        direction = seen / length
        along = torch.einsum("pi,ij,pkj->pk", direction, metric, turned)
        turning = (turned - direction[:, None] * along[..., None]) / length[..., None]
        gap = log[:, 0] - log[:, 1] if log.shape[1] > 1 else torch.full_like(sigma, torch.inf)
        return Local(sigma.log(), gap, direction, gradient, hessian, turning)

    def _along(
        self, x: Tensor, moved: Tensor, u1: Tensor, sigma: Tensor, axis: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Derivatives along one axis k of the plane for each point, with u_1 and v_1 held fixed.

        Returns
        -------
        tuple of Tensor
            J_k v_1; C_k v_1, in units of the scale; d sigma_1 along both axes; and its own derivative along k.
        """

        def pull(y: Tensor, w: Tensor) -> Tensor:
            """Gradient of u_1' J w in x."""
            return grad(lambda z: (u1 * self._push(z, w)).sum())(y)

        p = jvp(lambda y: self._push(y, moved), (x,), (axis,))[1]
        back = vjp(self._value, x)[1](p)[0]
        changed = self.problem.scale * (sigma[:, None] * pull(x, axis).flatten(1) + back.flatten(1))
        first, second = jvp(lambda y: pull(y, moved), (x,), (axis,))[:2]
        return p, changed, first.flatten(1) @ self.basis.T, second.flatten(1) @ self.basis.T

    def _resolvent(self, changed: Tensor, log: Tensor, right: Tensor) -> Tensor:
        """Derivative of v_1: (lambda - C)^+ on C_k v_1."""
        lam = (2 * log[:, :1]).exp()
        v1, others = right[:, 0], torch.nan_to_num(right[:, 1:])
        rest = changed - v1 * (v1 * changed).sum(1, keepdim=True)
        shares = torch.einsum("pkn,pn->pk", others, rest)
        rest = rest - torch.einsum("pkn,pk->pn", others, shares)
        own = (2 * log[:, 1 : 1 + others.shape[1]]).exp()
        return rest / lam + torch.einsum("pkn,pk->pn", others, shares / (lam - own))

    @staticmethod
    def _second(k: int, m: int, parts: list[tuple[Tensor, Tensor, Tensor, Tensor]], sigma: Tensor) -> Tensor:
        """Derivative of lambda along the axes k and m."""
        p, changed, _, second = parts[k]
        q, _, turned, _ = parts[m]
        return 2 * (sigma * second[:, m] + (p * q).sum(1) + (changed * turned).sum(1))
