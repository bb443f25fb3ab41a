"""A tensor that stands for an affine function of the input and of activations' outputs, and records those activations.

It is passed through a model in place of the input: affine operations act on its coefficients, an elementwise activation
ends a block and gives a fresh variable, and whatever is neither is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from separatrix.results.errors import ArgumentError
from separatrix.systems.curves import Curve, curve


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# affine in their first argument, where nothing else depends on the input
_FIRST = _words(
    """
    linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d batch_norm dropout dropout1d
    dropout2d dropout3d alpha_dropout feature_alpha_dropout avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d pixel_shuffle pixel_unshuffle interpolate upsample pad unfold fold flatten
    unflatten reshape view view_as reshape_as permute transpose swapaxes movedim t T mT squeeze unsqueeze expand
    expand_as broadcast_to repeat repeat_interleave tile chunk split tensor_split unbind narrow select index_select
    __getitem__ diagonal roll flip rot90 cumsum diff tril triu sum mean neg negative __neg__ positive __pos__ clone
    contiguous detach div true_divide divide __truediv__ div_ __itruediv__ take_along_dim gather
    """
)
# affine in all their arguments together
_JOINT = _words(
    "add sub subtract __add__ __sub__ __radd__ __rsub__ rsub __iadd__ __isub__ add_ sub_ cat concat concatenate stack "
    "hstack vstack dstack"
)
# affine in whichever single argument depends on the input
_ONE = _words(
    "mul multiply __mul__ __rmul__ __imul__ mul_ matmul mm bmm mv dot inner outer tensordot einsum __matmul__ "
    "__rmatmul__ addmm addmv baddbmm kron"
)
_CHANGES = _words("__iadd__ __isub__ __imul__ __itruediv__")
_COARSE = 1e-4
"""Casts to a precision below this are steps that count."""
_CASTS = _words("to float double half bfloat16 type type_as cpu cuda")
# answered by a tensor of zeros of the same shape
_QUESTIONS = _words(
    """
    shape size dim ndim ndimension numel nelement __len__ dtype device layout stride requires_grad is_floating_point
    is_complex is_contiguous is_cuda is_leaf grad_fn element_size get_device names is_sparse is_quantized
    is_meta is_nested zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty new_tensor
    __hash__ __repr__ _version __class__ grad is_inference is_mps is_cpu itemsize nbytes
    """
)


@dataclass
class Recorder:
    """The activations met so far, each with the affine function that it is given; and the byte budget."""

    limit: int
    found: list[tuple[str, dict[int, Tensor], Tensor, Curve]] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)


class AffineTensor(Tensor):
    """Its coefficients: ``parts[source]`` is (m, 1, *shape), a row for each component of a source, and ``constant``.

    ``memory`` counts the changes in place of the memory that a value shares with its views, and ``version`` those that
    the value's own coefficients know of: a change of a view is not carried over to the others, which are refused.
    The tensor's own numbers are NaN, so that what reads them past torch's functions is found out.
    """

    parts: dict[int, Tensor]
    constant: Tensor
    recorder: Recorder
    memory: list[int]
    version: int

    @staticmethod
    def make(parts: dict[int, Tensor], constant: Tensor, recorder: Recorder) -> AffineTensor:
        """Wrap coefficients, if they fit the budget."""
        held = sum(p.numel() for p in parts.values()) * 8
        if held > recorder.limit:
            raise ArgumentError(
                "memory",
                f"a value of {constant.numel()} components needs {held / 1e6:.0f} MB of coefficients",
                "allow more (memory=), or use the Jacobian (sx.ftle), which needs no dense matrices",
            )
        made = Tensor._make_subclass(AffineTensor, torch.full_like(constant, torch.nan), False)
        made.parts, made.constant, made.recorder = parts, constant, recorder
        made.memory, made.version = [0], 0
        return made

    def sharing(self, other: AffineTensor) -> AffineTensor:
        """The value, as one in the memory of another."""
        self.memory, self.version = other.memory, other.version
        return self

    def refuse_stale(self) -> None:
        """Raise where the value was changed through a view of it."""
        if self.version != self.memory[0]:
            raise ArgumentError(
                "model",
                "a value that was changed in place through a view of it",
                "change it out of place (x = x.clamp(...), inplace=False)",
            )

    @staticmethod
    def variable(source: int, shape: tuple[int, ...], recorder: Recorder) -> AffineTensor:
        """The components of one source themselves, in a value of a shape (batch included)."""
        zero = torch.zeros(*shape, dtype=torch.float64)
        count = zero.numel()
        if count * count * 8 > recorder.limit:
            raise ArgumentError(
                "memory",
                f"a value of {count} components needs a matrix of {count * count * 8 / 1e6:.0f} MB",
                "allow more (memory=), or use the Jacobian (sx.ftle), which needs no dense matrices",
            )
        return AffineTensor.make({source: torch.eye(count, dtype=torch.float64).view(count, *shape)}, zero, recorder)

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = _name(func)
        if name in _QUESTIONS:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        values = [a for a in tree_flatten((args, kwargs))[0] if isinstance(a, AffineTensor)]
        if not values:
            raise _refused(name, "of a value inside a slice or an object")
        for value in values:
            value.refuse_stale()
        target = values[0]
        if name in _CASTS:
            return _cast(func, name, args, kwargs, target)
        works_in_place = kwargs.get("inplace") is True or (name.endswith("_") and not name.endswith("__"))
        works_in_place |= name in _CHANGES
        if kwargs.get("out") is not None or (works_in_place and _first(args, kwargs) is not target):
            raise _refused(name, "that writes into a constant")
        value = _apply(func, name, args, kwargs, target)
        if works_in_place:
            target.parts, target.constant = value.parts, value.constant
            target.memory[0] += 1
            target.version = target.memory[0]
            return target
        return value


def _name(func: Callable[..., Any]) -> str:
    name = getattr(func, "__name__", str(func))
    if name == "__get__":  # a property, such as shape
        return str(getattr(getattr(func, "__self__", None), "__name__", name))
    return name


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs.get("input")


def _refused(name: str, what: str) -> ArgumentError:
    return ArgumentError(
        "model",
        f"the operation {name} {what}".rstrip(),
        "it is neither affine nor an elementwise activation with known ranges; the Jacobian (sx.ftle, "
        "of='jacobian') needs neither",
    )


def _cast(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], target: AffineTensor) -> Any:
    """The value itself, or a constant after the value's pattern."""
    if args[0] is not target:
        return args[0].double()
    plain = [a.constant if isinstance(a, AffineTensor) else a for a in args]
    found = func(*plain, **kwargs)
    if not isinstance(found, Tensor) or not found.is_floating_point():
        raise _refused(name, "to whole numbers")
    if torch.finfo(found.dtype).eps > _COARSE:
        raise _refused(name, f"to {str(found.dtype).removeprefix('torch.')}, which makes steps of the input")
    # where it is a copy, changing it in place is refused all the same
    return AffineTensor.make(target.parts, target.constant, target.recorder).sharing(target)


def _apply(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], target: AffineTensor) -> Any:
    leaves, spec = tree_flatten((args, kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, AffineTensor)]
    linear = (
        name in _JOINT
        or (name in _ONE and len(places) == 1)
        or (name in _FIRST and len(places) == 1 and leaves[places[0]] is _first(args, kwargs))
    ) and kwargs.get("rounding_mode") is None
    if linear:
        return _affine(func, leaves, _without_constants(name, args, kwargs), spec, places, target.recorder)
    try:
        rest = tree_map(lambda a: a.double() if isinstance(a, Tensor) else a, args[1:])
        if name == "prelu":
            rest = (_per_component(rest[0], tuple(target.shape)), *rest[1:])
        shape = curve(func, rest, {k: v for k, v in kwargs.items() if k not in ("input", "inplace")})
        if len(places) > 1 or _first(args, kwargs) is not target:
            raise _refused(name, "with parameters that depend on the input")
    except ArgumentError as error:
        raise _refused(name, "of two values that depend on the input" if len(places) > 1 else "") from error
    return _activated(name, shape, target)


def _without_constants(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The leaves of the arguments with biases and added constants at zero, so that no rounding enters coefficients."""
    args, kwargs = tuple(args), dict(kwargs)
    added: tuple[int, ...] = ()
    if name in _JOINT:
        added = (0,) if args and isinstance(args[0], list | tuple) else (0, 1)
    elif name == "linear" or name.startswith("conv"):
        added = (2,)
    elif name == "batch_norm":
        added = (1, 4)
    elif name in ("addmm", "addmv", "baddbmm"):
        added = (0,)
    args = tuple(tree_map(_zero, a) if i in added else a for i, a in enumerate(args))
    kwargs = {k: _zero(a) if k in ("bias", "running_mean") else a for k, a in kwargs.items()}
    return tree_flatten((args, kwargs))[0]


def _zero(a: Any) -> Any:
    if isinstance(a, AffineTensor) or a is None:
        return a
    return torch.zeros_like(a) if isinstance(a, Tensor) else 0 * a if isinstance(a, int | float) else a


def _affine(func: Any, leaves: list[Any], linear: list[Any], spec: Any, places: list[int], recorder: Recorder) -> Any:
    """An affine operation on constants and, through its linear part, on coefficients."""
    values: list[AffineTensor] = [leaves[i] for i in places]

    def run(template: list[Any], *given: Tensor) -> Any:
        filled = [a.double() if isinstance(a, Tensor) and a.is_floating_point() else a for a in template]
        for place, tensor in zip(places, given, strict=True):
            filled[place] = tensor
        args, kwargs = tree_unflatten(filled, spec)
        return func(*args, **kwargs)

    with torch.no_grad():
        copies = [v.constant.clone() for v in values]  # the operation may work in place
        constant = run(leaves, *copies)
        zero = run(linear, *[torch.zeros_like(v.constant) for v in values])
        parts: dict[int, Any] = {}
        for source in sorted({key for v in values for key in v.parts}):
            rows = next(len(v.parts[source]) for v in values if source in v.parts)
            given = [v.parts.get(source, v.constant.new_zeros(rows, *v.constant.shape)) for v in values]
            parts[source] = tree_map(
                lambda a, b: a - b, torch.vmap(partial(run, linear))(*[g.clone() for g in given]), zero
            )
    outputs, form = tree_flatten(constant)
    split = {source: tree_flatten(part)[0] for source, part in parts.items()}
    made = [AffineTensor.make({s: p[i] for s, p in split.items()}, c, recorder) for i, c in enumerate(outputs)]
    for one, output in zip(made, outputs, strict=True):
        for value, copy in zip(values, copies, strict=True):
            if output.untyped_storage().data_ptr() == copy.untyped_storage().data_ptr():
                one.sharing(value)
    return tree_unflatten(made, form)


def _activated(name: str, shape: Curve, z: AffineTensor) -> AffineTensor:
    recorder = z.recorder
    label = name.strip("_")
    recorder.calls[label] = recorder.calls.get(label, 0) + 1
    weights = {source: part.reshape(len(part), -1).T.contiguous() for source, part in z.parts.items()}
    recorder.found.append((f"{label}#{recorder.calls[label]}", weights, z.constant.flatten(), shape))
    return AffineTensor.variable(len(recorder.found), tuple(z.shape), recorder)


def _per_component(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Slopes of a PReLU, one for each component of a flattened value (1, channels, ...)."""
    if weight.numel() == 1:
        return weight.detach()
    broadcast = weight.detach().view(1, -1, *[1] * (len(shape) - 2))
    return broadcast.expand(shape).flatten()
