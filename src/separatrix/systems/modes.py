"""The ways to apply the derivative of a function to tangents, from the fastest to the most patient."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import jvp, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from separatrix.systems.flags import PLAIN

_NATIVE = frozenset({"aten", "prim", "prims"})

Step = Callable[[Tensor], Tensor]
"""Carries a batch of states one step further, without changing its argument."""


class NoRouteError(Exception):
    """Raised by a route that cannot differentiate the function; the text says why."""


def at_once(
    step: Step, state: Float[Tensor, "*batch n"], V: Float[Tensor, "k *batch n"]
) -> tuple[Float[Tensor, "*batch m"], Float[Tensor, "k *batch m"]]:
    """Forward mode over all tangents together; the primal is computed once. Cost: 1 + k steps."""
    # randomness="same": a step that draws numbers is differentiated along the draw it made
    state = state.clone()  # tangents are made as large as the state's whole storage, of which it may be a slice
    shared: Any = (None, 0)  # the primal is not batched; torch's annotation forgets that this is allowed
    with torch.no_grad():
        following, MV = vmap(lambda v: jvp(step, (state,), (v,))[:2], out_dims=shared, randomness="same")(V)
    return following, MV.contiguous()


def at_once_plain(step: Step, state: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """Do the same without fused kernels."""
    with plain_kernels():
        return at_once(step, state, V)


def one_by_one(step: Step, state: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """Forward mode, tangent by tangent, for what ``vmap`` cannot batch. Cost: 2k steps."""
    pairs = []
    with torch.no_grad(), plain_kernels():
        for v in V:
            with forward_ad.dual_level():
                following, tangent = forward_ad.unpack_dual(step(forward_ad.make_dual(state, v)))
                pairs.append((following, torch.zeros_like(following) if tangent is None else tangent))
    first = pairs[0][0]
    if any(not torch.equal(first, other) for other, _ in pairs):
        raise NoRouteError("the step is not deterministic, so its tangents would belong to different steps")
    return first, torch.stack([tangent for _, tangent in pairs])


def double_reverse(step: Step, state: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """Reverse mode twice: W -> M^T W is linear, and its own transpose is M. Cost: about 2 + 3k steps."""
    with reverse(step, state) as (x, y):
        W = torch.zeros_like(y, requires_grad=True)
        pulled = grad(y, x, W, create_graph=True)
        if not pulled.requires_grad:
            raise NoRouteError("a backward function is not differentiable")
        MV = torch.stack([grad(pulled, W, v) for v in V.clone()]).detach()
        _check_pairing(x, y, V, MV)
        return y.detach(), MV


def rows(step: Step, state: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """One reverse pass for each of the m outputs; the members of the batch must be independent."""
    with reverse(step, state) as (x, y):
        jacobian = torch.stack([grad(y[..., j].sum(), x) for j in range(y.shape[-1])])
        MV = torch.einsum("m...n,k...n->k...m", jacobian, V)
        _check_pairing(x, y, V, MV)
        return y.detach(), MV


def rows_together(
    step: Step, state: Float[Tensor, "*batch n"], V: Float[Tensor, "k *batch n"]
) -> tuple[Float[Tensor, "*batch n"], Float[Tensor, "k *batch n"]]:
    """One reverse pass over n copies of the batch, each for another output. Cost: about 3n steps, but few operations.

    Forward mode spends up to a millisecond on every operation that mixes dual and plain numbers, so for small states
    this is several times faster. The members of the batch must be independent, and the dimension must stay.
    """
    n = state.shape[-1]
    with reverse(step, state.expand(n, *state.shape)) as (x, y):
        if y.shape != x.shape:
            raise NoRouteError("the dimension changes")
        places = torch.eye(n, dtype=y.dtype, device=y.device).reshape(n, *[1] * (state.ndim - 1), n)
        jacobian = grad(y, x, places.expand_as(y))
        return y[0].detach(), torch.einsum("m...n,k...n->k...m", jacobian, V)


def _check_pairing(x: Tensor, y: Tensor, V: Tensor, MV: Tensor) -> None:
    """Second derivatives may be cut off where first ones are not, and rows take the batch for independent."""
    W = probe(y, 0)
    if not pairs_up(W, MV, grad(y, x, W), V):
        raise NoRouteError("its result contradicts a plain reverse pass")


def probe(like: Tensor, seed: int) -> Tensor:
    """Draw a Gaussian tensor, the same every time and without the global generators."""
    generator = torch.Generator(device=like.device).manual_seed(seed)
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def pairs_up(W: Float[Tensor, "*batch m"], MV: Tensor, MtW: Float[Tensor, "*batch n"], V: Tensor) -> bool:
    """Whether <W, M V> = <M^T W, V> holds for each of k tangents, to half of the digits."""
    left, right = (W * MV).flatten(1).sum(1), (MtW * V).flatten(1).sum(1)
    size = W.norm() * MV.flatten(1).norm(dim=1) + MtW.norm() * V.flatten(1).norm(dim=1)
    return bool(((left - right).abs() <= torch.finfo(W.dtype).eps ** 0.5 * size).all())


class _Namespaces(TorchDispatchMode):
    """Notices operations that are not PyTorch's own."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.foreign |= func.namespace not in _NATIVE
        return func(*args, **(kwargs or {}))


def is_foreign(run: Callable[[], Any]) -> bool:
    """Whether a call uses operations from outside PyTorch, whose tangents forward mode silently sets to zero."""
    with _Namespaces() as seen:
        run()
    return seen.foreign


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Switch off fused kernels (oneDNN, cuDNN, flash attention, transformer fast path): most have no forward rule."""
    with PLAIN:
        yield


@contextmanager
def reverse(step: Step, state: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Give the state as a leaf of autograd's graph, and the step's value there, whatever mode the caller is in."""
    unregistered = ".*an autograd kernel was not registered.*"
    with torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings():
        # torch passes over an operation without a backward rule with a mere warning
        warnings.filterwarnings("error", message=unregistered)
        x = state.detach().clone().requires_grad_()
        try:
            yield x, step(x)
        except UserWarning as error:
            raise NoRouteError(f"no backward rule: {str(error).split(':', 1)[0]}") from error


def grad(y: Tensor, x: Tensor, W: Tensor | None = None, *, create_graph: bool = False) -> Tensor:
    """Gradient of <y, W> in x, zero where they are not connected; the graph is kept."""
    if not y.requires_grad:
        raise NoRouteError("the output is not connected to the state by autograd")
    return torch.autograd.grad(y, x, W, retain_graph=True, create_graph=create_graph, materialize_grads=True)[0]


def pull(y: Tensor, x: Tensor, W: Float[Tensor, "k *batch m"]) -> Float[Tensor, "k *batch n"]:
    """M^T W for k covectors, in one batched reverse pass where the backward functions allow it."""
    if len(W) == 0:
        return x.new_zeros(0, *x.shape)
    W = W.clone() if W.is_inference() else W
    try:
        return torch.autograd.grad(y, x, W, retain_graph=True, is_grads_batched=True, materialize_grads=True)[0]
    except RuntimeError:
        return torch.stack([grad(y, x, w) for w in W])
