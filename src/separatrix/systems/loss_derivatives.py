"""Loss of any network as a function of its weights, with gradient and Hessian, for many weights at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from separatrix.results.errors import ArgumentError
from separatrix.systems import modes
from separatrix.systems.batches import Batches
from separatrix.systems.optim.rule import Product
from separatrix.systems.weights import WeightPlaces

__all__ = ["Autodiff", "Derivatives", "Product", "in_transform"]

METHODS = ("vmap", "loop")


@runtime_checkable
class Derivatives(Protocol):
    """What a training step needs of the loss. Weights are (members, P); the batch is that of step t.

    Attributes
    ----------
    method : str
        How it is done: "blocks", "vmap" or "loop".
    """

    method: str

    def losses(self, theta: Tensor, t: int) -> Tensor:
        """Loss of each member, (members,)."""
        ...

    def gradient(self, theta: Tensor, t: int) -> Tensor:
        """Gradient of each member's loss, (members, P)."""
        ...

    def linearise(self, theta: Tensor, t: int, budget: int) -> tuple[Tensor, Product]:
        """Gradient, and the function V -> H V for tangents (k, members, P), within a budget of bytes."""
        ...

    def hessian(self, theta: Tensor, t: int, budget: int) -> Tensor:
        """Dense Hessian of each member's loss, (members, P, P)."""
        ...

    def bytes_per_member(self, tangents: int) -> int:
        """Working memory of one member with so many tangents; the least where they can be taken in parts."""
        ...


class Autodiff:
    """Derivatives of any loss of any network, by reverse mode, twice for the Hessian.

    Parameters
    ----------
    network : nn.Module
        Run with other weights, and as it is otherwise.
    places : WeightPlaces
    loss : callable
        Of (output, target), with one number as its value.
    batches : Batches
    method : {"vmap", "loop"}
        All members as one computation, or one after another.
    mask_seed : int
        For what the network draws at random, anew at each step, the same for all members. The two methods may draw in
        another order.

    Notes
    -----
    A product with k vectors costs about 2 gradients for each of them, and the graph of one gradient.
    """

    def __init__(
        self,
        network: nn.Module,
        places: WeightPlaces,
        loss: Callable[[Any, Tensor], Tensor],
        batches: Batches,
        method: str,
        mask_seed: int,
    ) -> None:
        self.network, self.places, self.loss, self.batches = network, places, loss, batches
        self.method, self.mask_seed = method, mask_seed
        self.random = False
        """Whether the network draws random numbers."""
        self.plain = False
        """Whether fused kernels must be off, for want of second derivatives."""
        self.values = 0
        """Numbers that one member's forward pass keeps, at the largest batch."""

    def one(self, weights: Tensor, X: Tensor, y: Tensor) -> Tensor:
        """Loss of one member with weights (P,)."""
        state = self.places.named(weights) | self.places.constants()
        # a clone, since the network may work in place
        return self.loss(functional_call(self.network, state, (X.clone(),)), y)

    def losses(self, theta: Float[Tensor, "members p"], t: int) -> Float[Tensor, " members"]:
        """Loss of each member; a graph is recorded where grad mode and the weights ask for one."""
        X, y = self.batches.at(t)
        # one member alone needs no vmap, unless random numbers are drawn: vmap draws them in an order of its own
        if self.method == "vmap" and (len(theta) > 1 or self.random):
            with self.frozen(t):
                return torch.vmap(self.one, in_dims=(0, None, None), randomness="same")(theta, X, y)
        values = []
        for weights in theta:
            with self.frozen(t):
                values.append(self.one(weights, X, y))
        return torch.stack(values)

    def gradient(self, theta: Float[Tensor, "members p"], t: int) -> Float[Tensor, "members p"]:
        """Gradient of each member's loss; differentiable where grad mode and the weights ask for it."""
        if in_transform():
            return torch.func.grad(lambda weights: self.losses(weights, t).sum())(theta)
        keep = torch.is_grad_enabled() and theta.requires_grad
        with torch.inference_mode(False), torch.enable_grad(), self._kernels():
            x = theta if keep else _leaf(theta)
            total = self.losses(x, t).sum()
            if not total.requires_grad:
                return torch.zeros_like(theta)
            return torch.autograd.grad(total, x, create_graph=keep, materialize_grads=True)[0]

    def linearise(self, theta: Float[Tensor, "members p"], t: int, budget: int) -> tuple[Tensor, Product]:
        """Gradient, and the Hessian as a product; see :class:`Derivatives`."""
        with torch.inference_mode(False), torch.enable_grad(), self._kernels():
            x = _leaf(theta)
            total = self.losses(x, t).sum()
            gradient = torch.zeros_like(x)
            if total.requires_grad:
                gradient = torch.autograd.grad(total, x, create_graph=True, materialize_grads=True)[0]
        step = max(1, budget // max(1, len(theta) * self.bytes_per_member(0)))

        def product(V: Tensor) -> Tensor:
            if not gradient.requires_grad:
                return torch.zeros_like(V)  # linear in the weights
            with torch.inference_mode(False), self._kernels():
                if len(V) == 1:
                    return modes.grad(gradient, x, V[0])[None]
                return torch.cat([modes.pull(gradient, x, part.contiguous()) for part in V.split(step)])

        return gradient.detach(), product

    def hessian(self, theta: Float[Tensor, "members p"], t: int, budget: int) -> Float[Tensor, "members p p"]:
        """Dense Hessian of each member's loss, by P products."""
        count = theta.shape[-1]
        eye = torch.eye(count, dtype=theta.dtype, device=theta.device)
        _, product = self.linearise(theta, t, budget)
        return product(eye[:, None].expand(-1, len(theta), -1)).transpose(0, 1)

    def bytes_per_member(self, tangents: int) -> int:
        """Working memory of one member with at most one tangent at a time."""
        # what a forward pass keeps, again for the gradient's graph, and twice for what goes back through it
        return 8 * (4 * self.values + 6 * self.places.count) * (1 + min(tangents, 1))

    @contextmanager
    def frozen(self, t: int) -> Iterator[None]:
        """Random numbers of step t; the caller's generators are put back."""
        if not self.random:
            yield
            return
        seed = int(np.random.SeedSequence([self.mask_seed, t]).generate_state(1, np.uint64)[0]) >> 1
        cuda = [self.places.device] if self.places.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            torch.default_generator.manual_seed(seed)
            if cuda:
                torch.cuda.manual_seed(seed)
            yield

    def prepare(self, theta: Tensor) -> None:
        """Find out how the network is to be run, on one member.

        Raises
        ------
        ArgumentError
            If network, data and loss do not fit together, or the loss cannot be differentiated twice.
        """
        self.random = True
        self._measure(theta[0])
        theta = theta.expand(2, -1)  # one member alone needs no vmap
        V = modes.probe(theta, 0).expand(2, -1, -1)
        reasons = []
        for plain in (False, True):
            self.plain = plain
            try:
                self.linearise(theta, 0, 1)[1](V)
                return
            except (RuntimeError, NotImplementedError, ValueError) as error:
                reasons.append(str(error).splitlines()[0][:160])
        raise ArgumentError(
            "method" if self.method == "vmap" else "model",
            f"a loss whose second derivatives autograd does not give by {self.method!r} ({reasons[-1]})",
            "use differentiable torch operations" + ("" if self.method == "loop" else ', or method="loop"'),
        )

    def _measure(self, weights: Tensor) -> None:
        seen = 0

        def note(module: nn.Module, args: Any, value: Any) -> None:
            nonlocal seen
            seen += value.numel() if isinstance(value, Tensor) else 0

        X, y = self.batches.at(0)
        handles = [part.register_forward_hook(note) for part in self.network.modules()]
        try:
            with torch.no_grad(), self.frozen(0):
                before, constants = self._generator_state(), self.places.constants()
                kept = {name: value.clone() for name, value in constants.items()}
                try:
                    state = self.places.named(weights.detach()) | constants
                    output = functional_call(self.network, state, (X.clone(),))
                    with torch.enable_grad():  # shows what the loss depends on beside the output
                        value = self.loss(output, y)
                except (RuntimeError, TypeError, IndexError, ValueError, AttributeError) as error:
                    shapes = f"X {tuple(X.shape)} {X.dtype}, y {tuple(y.shape)} {y.dtype}"
                    raise ArgumentError("data", shapes, f"model, data and loss do not fit together: {error}") from error
                drew = not torch.equal(before, self._generator_state())
        finally:
            for handle in handles:
                handle.remove()
        if not isinstance(value, Tensor) or value.ndim:
            got = f"a value of shape {tuple(getattr(value, 'shape', ()))}"
            raise ArgumentError("loss", got, "return one number (a tensor without dimensions) for a batch")
        if value.requires_grad:
            raise ArgumentError(
                "loss",
                "one that depends on parameters beside output and target",
                "a penalty on the weights would be one on those of the network that was given, and never change: say "
                "it as weight_decay, or let the network return what it needs; freeze what a loss has of its own",
            )
        changed = [name for name, value in kept.items() if not torch.equal(value, constants[name])]
        if changed:
            raise ArgumentError(
                "model",
                f"a network that changes its buffer {changed[0]!r} in its forward pass",
                "that is a memory beside the weights: call .eval() on the part that does it",
            )
        self.random = drew
        self.values = -(-seen * self.batches.largest // len(X))

    def _generator_state(self) -> Tensor:
        cuda = self.places.device.type == "cuda"
        return torch.cuda.get_rng_state(self.places.device) if cuda else torch.get_rng_state()

    def _kernels(self) -> AbstractContextManager:
        return modes.plain_kernels() if self.plain else nullcontext()


def _leaf(theta: Tensor) -> Tensor:
    return theta.detach().clone().requires_grad_()


def in_transform() -> bool:
    """Whether a transform of ``torch.func`` is under way, in which autograd's own calls do not work."""
    return torch._C._functorch.maybe_current_level() is not None
