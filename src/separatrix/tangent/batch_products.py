"""Gradients and Hessian-vector products of a loss on a batch, beside a training loop and without a trace in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from separatrix.results.errors import ArgumentError
from separatrix.systems.flags import WRITTEN_OUT
from separatrix.systems.training_setup import unwrapped

_ROW = 4096
_ROUNDING = 64


class BatchLoss:
    """The loss of a model on batches, as a function of its trainable parameters.

    Attributes
    ----------
    names : list of str
    parameters : list of Parameter
        Those that require gradients.
    """

    def __init__(self, model: Any, loss: Any) -> None:
        if not isinstance(model, nn.Module):
            raise ArgumentError("model", type(model).__name__, "give the torch.nn.Module that is trained")
        if not callable(loss):
            raise ArgumentError("loss", type(loss).__name__, "give a function of (output, target)")
        # what torch.compile made differentiates once, and what DataParallel made not at all here
        model = unwrapped(model)
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not trained:
            raise ArgumentError("model", "no parameter that requires a gradient", "give a model that is trained")
        half = [f"{name} ({p.dtype})" for name, p in trained.items() if p.dtype not in (torch.float32, torch.float64)]
        if half:
            raise ArgumentError("model", half[0], "parameters of float32 or float64: perturbations drown in rounding")
        self.model, self.loss = model, loss
        self.names, self.parameters = list(trained), list(trained.values())
        self._random: tuple[Tensor, list[Tensor]] | None = None
        self._moved: list[Tensor] | None = None

    def remember(self) -> None:
        """Remember the state of the random generators."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        self._random = (torch.get_rng_state(), cuda)

    def forget(self) -> None:
        """What was remembered belongs to one step."""
        self._random = None

    def products(self, batches: Sequence[Any], vectors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Gradients, and the Hessian times each of k vectors (k, *shape), by differentiating twice."""
        k = len(vectors[0])
        total: list[Tensor] = []
        rows: list[list[Tensor]] = [[] for _ in range(k)]
        with self._visit():
            weights = [p.detach().requires_grad_() for p in self.parameters]
            for batch in batches:
                value = self._value(weights, batch) / len(batches)
                slopes = torch.autograd.grad(value, weights, create_graph=True, materialize_grads=True)
                bent = [i for i, g in enumerate(slopes) if g.requires_grad]
                for j in range(k):
                    if not bent:
                        rows[j] = rows[j] or [torch.zeros_like(p) for p in weights]
                        continue
                    parts = torch.autograd.grad(
                        [slopes[i] for i in bent],
                        weights,
                        [vectors[i][j] for i in bent],
                        retain_graph=j < k - 1,
                        materialize_grads=True,
                    )
                    rows[j] = _added(rows[j], parts)
                total = _added(total, [g.detach() for g in slopes])
        return total, [torch.stack(found) if k > 1 else found[0][None] for found in zip(*rows, strict=True)]

    def differences(
        self, batches: Sequence[Any], vectors: Sequence[Tensor], gradients: Sequence[Tensor]
    ) -> tuple[list[Tensor], float]:
        """Estimate the same products from gradients here and a small way along each vector.

        And the largest |H v| / |v|, which is out of proportion where the gradients here are not the loss's, or jump on
        the way at a kink: what they are off is divided by the small way.
        """
        k = len(vectors[0])
        rows, largest = [], 0.0
        weights = [p.detach() for p in self.parameters]
        size = norm(weights)
        unit = torch.finfo(weights[0].dtype).eps ** 0.5
        if self._moved is None:
            self._moved = [torch.empty_like(w, memory_format=torch.contiguous_format) for w in weights]
        for j in range(k):
            length = norm([v[j] for v in vectors])
            if not 0 < length < float("inf"):
                rows.append([torch.full_like(w, 0.0 if length == 0 else length) for w in weights])
                continue
            step = unit * (1 + size) / length
            for w, v, out in zip(weights, vectors, self._moved, strict=True):
                torch.add(w, v[j], alpha=step, out=out)
            there = self._slopes(self._moved, batches)
            rows.append([new.sub_(old).div_(step) for new, old in zip(there, gradients, strict=True)])
            largest = max(largest, norm(rows[-1]) / length)
        return [torch.stack(found) if k > 1 else found[0][None] for found in zip(*rows, strict=True)], largest

    def _slopes(self, weights: Sequence[Tensor], batches: Sequence[Any]) -> list[Tensor]:
        total: list[Tensor] = []
        with self._visit():
            tracked = [w.detach().requires_grad_() for w in weights]
            for batch in batches:
                value = self._value(tracked, batch) / len(batches)
                total = _added(total, torch.autograd.grad(value, tracked, materialize_grads=True))
        return total

    def _value(self, weights: Sequence[Tensor], batch: Any) -> Tensor:
        if not isinstance(batch, tuple) or len(batch) != 2:
            got = f"{type(batch).__name__}"
            raise ArgumentError("batch", got, "give (x, y), or a list of such pairs whose gradients were accumulated")
        x, y = (part.clone() if isinstance(part, Tensor) and part.is_inference() else part for part in batch)
        tensors = dict(zip(self.names, weights, strict=True))
        # batch statistics are moved in a copy
        tensors |= {name: b.detach().clone() for name, b in self.model.named_buffers()}
        value = self.loss(functional_call(self.model, tensors, (x,)), y)
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ArgumentError("loss", f"a value of shape {shape}", "one number: a mean or sum over the batch")
        return value.reshape(())

    @contextmanager
    def _visit(self) -> Iterator[None]:
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            raise ArgumentError("batch", "a call under autocast", "call step outside of autocast: it works in float32")
        trained = {id(p) for p in self.parameters}
        new = [n for n, p in self.model.named_parameters() if p.requires_grad and id(p) not in trained]
        if new:
            remedy = "make a new monitor when more is trained than before"
            raise ArgumentError("model", f"{new[0]!r}, which was not trained when the monitor was made", remedy)
        drawing = [
            name
            for name, module in self.model.named_modules()
            if isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0
        ]
        if drawing and self._random is None:
            remedy = "call monitor.before_forward() before the forward pass, so that the same mask can be drawn again"
            raise ArgumentError("model", f"dropout in {drawing[0]!r}", remedy)
        with ExitStack() as stack:
            stack.enter_context(WRITTEN_OUT)
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(torch.random.fork_rng())
            if self._random is not None:
                torch.set_rng_state(self._random[0])
                if self._random[1]:
                    torch.cuda.set_rng_state_all(self._random[1])
            yield


def check_gradients(
    given: Sequence[Tensor],
    own: Sequence[Tensor],
    clip: float | None,
    near: float | None = None,
    rounding: Callable[[], float] = float,
) -> None:
    """Make sure that the loop's gradients are those of the loss on the batch; nothing is said of infinite or NaN ones.

    Parameters
    ----------
    given, own : list of Tensor
        Of the loop, and of the loss on the batch.
    clip : float, optional
        What the loop clips to.
    near : float, optional
        How far they may be apart, relative to the loss's own; :func:`tolerance` by default.
    rounding : callable
        How far they may be apart besides: at a minimum the gradient itself is of rounding. Called when it matters.

    Raises
    ------
    ArgumentError
        Which says in words what they look like: clipped, scaled, or something else.
    """
    size, seen = norm(own), norm(given)
    if not (math.isfinite(size) and math.isfinite(seen)):
        return
    usual = tolerance(own)
    near = usual if near is None else near
    distance = norm([a - b for a, b in zip(given, own, strict=True)])
    if distance <= near * size or distance <= near * size + rounding():
        return
    if size == 0:
        remedy = "give the batch and the loss of the loop; zero_grad() each step"
        raise ArgumentError("batch", f"gradients of norm {seen:.3g} where those of the loss are zero", remedy)
    apart = distance / size
    inner = sum(float((a.double() * b.double()).sum()) for a, b in zip(given, own, strict=True))
    ratio = inner / size**2
    # of one direction, and that is what they differ by
    parallel = seen > 0 and 1 - inner / (seen * size) < usual**2 and abs(ratio - 1) > 0.9 * apart
    if clip is not None and parallel and seen <= clip * (1 + usual):
        raise ArgumentError("batch", "gradients that are clipped already", "call step before the loop clips them")
    if parallel and ratio < 1:
        got = f"gradients that are {ratio:.3g} of the loss's"
        remedy = "for clipping give clip=max_norm and call step before; for accumulation give a list of all batches"
        raise ArgumentError("batch", got, remedy)
    if parallel:
        got = f"gradients that are {ratio:.3g} times the loss's"
        remedy = "for AMP call scaler.unscale_(optimizer) first; for accumulation give a list of all batches; "
        remedy += "zero_grad() each step"
        raise ArgumentError("batch", got, remedy)
    got = f"gradients that differ from the loss's on the batch by {_percent(apart)}"
    remedy = "give the batch and the loss of the loop; for random layers call before_forward(); zero_grad() each step; "
    remedy += "autocast rounds gradients by percents: run the measured steps without it"
    if apart <= usual:
        remedy = 'differences of gradients need them to agree to rounding: give mode="exact", or compute in full '
        remedy += "precision (no autocast, no TF32)"
    raise ArgumentError("batch", got, remedy)


def _percent(part: float) -> str:
    return f"{part:.1%}" if part >= 1e-3 else f"{100 * part:.1g}%"


def tolerance(tensors: Sequence[Tensor]) -> float:
    """Relative difference that rounding explains between two gradients of the same loss."""
    return 1e-6 if tensors and tensors[0].dtype == torch.float64 else 1e-2


def tolerance_of_differences(tensors: Sequence[Tensor]) -> float:
    """Relative difference that differences of gradients stand, which divide it by about the root of eps."""
    return 1e-9 if tensors and tensors[0].dtype == torch.float64 else 1e-4


def rounding_of_gradients(parameters: Sequence[Tensor], curvature: float) -> float:
    """What gradients may be off at most by rounding, as if weights were off by 64 eps."""
    return _ROUNDING * torch.finfo(parameters[0].dtype).eps * curvature * (1 + norm(parameters))


def clipped(gradients: Sequence[Tensor], products: Sequence[Tensor], limit: float) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients as ``clip_grad_norm_`` leaves them, c g with c = limit / (|g| + 1e-6), and their derivatives.

    d(c g) = c dg - c g <g, dg> / (|g| (|g| + 1e-6)); as they are where c would be above 1.
    """
    size = norm(gradients)
    factor = limit / (size + 1e-6)
    if not factor < 1:
        return list(gradients), list(products)
    inner = [dg.flatten(1).double() @ g.flatten().double() for g, dg in zip(gradients, products, strict=True)]
    share = torch.stack([part.cpu() for part in inner]).sum(0) / (size * (size + 1e-6))
    new = []
    for g, dg in zip(gradients, products, strict=True):
        by = share.to(g).reshape(-1, *[1] * g.ndim)
        new.append(factor * (dg - by * g))
    return [factor * g for g in gradients], new


def norm(tensors: Sequence[Tensor]) -> float:
    """Euclidean norm of all of them, with the rounding of sums of a few thousand numbers whatever their precision."""
    return float(sum(_squares(t) for t in tensors)) ** 0.5


def _squares(tensor: Tensor) -> float:
    flat = tensor.detach().reshape(-1)
    whole = len(flat) // _ROW * _ROW
    # norms of short rows are as fast as the memory, which a sum in float64 is not
    parts = [torch.linalg.vector_norm(flat[:whole].view(-1, _ROW), dim=1), torch.linalg.vector_norm(flat[whole:])[None]]
    return float(torch.cat(parts).double().square().sum())


def _added(total: list[Tensor], parts: Sequence[Tensor]) -> list[Tensor]:
    return [a.add_(b) for a, b in zip(total, parts, strict=True)] if total else _own(parts)


def _own(parts: Sequence[Tensor]) -> list[Tensor]:
    """Tensors that may be changed in place: autograd gives one for several weights that are added, or expands it."""
    seen: set[int] = set()
    found = []
    for part in parts:
        place = part.untyped_storage().data_ptr()
        folded = any(step == 0 and size > 1 for step, size in zip(part.stride(), part.shape, strict=True))
        found.append(part.clone(memory_format=torch.contiguous_format) if place in seen or folded else part)
        seen.add(place)
    return found
