"""Which form a module or function of torch has, and with which parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.systems import curve_gates as gates
from separatrix.systems import curve_kinked as kinked
from separatrix.systems import curve_sigmoids as sigmoids
from separatrix.systems import curve_softplus as softplus
from separatrix.systems.activations import function_name
from separatrix.systems.curve_forms import Form


def form_of(activation: nn.Module | Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Form:
    """Look up the form of a module, or of a function with the arguments that follow its input."""
    if isinstance(activation, nn.Module):
        name, values = _of_module(activation)
        return _built(name, values, {})
    kept = {k: v for k, v in kwargs.items() if k not in ("inplace", "input")}
    return _built(_of_function(activation), args, kept)


def _of_module(module: nn.Module) -> tuple[str, tuple[Any, ...]]:
    # ReLU6 is a Hardtanh to torch: the class itself comes first; a subclass with a forward of its own is something else
    for kind in type(module).__mro__:
        if kind in _MODULES and type(module).forward is kind.forward:
            name, attributes = _MODULES[kind]
            return name, tuple(getattr(module, a) for a in attributes)
    raise _unknown(type(module).__name__)


def _of_function(function: Callable[..., Any]) -> str:
    try:
        name = function_name(function) or _ALIASES.get(function)
    except TypeError:  # not hashable
        name = None
    if name not in _BUILDERS:
        raise _unknown(getattr(function, "__name__", type(function).__name__))
    return name


def _built(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Form:
    parameters, build = _BUILDERS[name]
    values = dict(parameters)
    # what follows the parameters is torch's inplace
    values.update(zip(values, args, strict=False))
    strange = [k for k in kwargs if k not in values]
    if strange or any(not isinstance(a, bool) for a in args[len(parameters) :]):
        raise ArgumentError("kwargs", f"{strange or args}", f"{name} takes {list(values) or 'no parameters'}")
    values.update(kwargs)
    return build(**{key: _parameter(key, value) for key, value in values.items()})


def _parameter(name: str, value: Any) -> Any:
    """A number as a float; text, flags, None and tensors with several numbers as they are. No NaN."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().double()
        if bool(value.isnan().any()) or value.numel() == 0:
            raise ArgumentError(name, "NaN or nothing", "give finite numbers")
        return float(value) if value.numel() == 1 else value.clone()
    if isinstance(value, bool | str) or value is None:
        return value
    if not isinstance(value, int | float) or math.isnan(value):
        raise ArgumentError(name, repr(value), "give a number")
    return float(value)


def _unknown(name: str) -> ArgumentError:
    return ArgumentError(
        "activation",
        name,
        f"its ranges are not known; those of {', '.join(sorted(_BUILDERS))} are. What jumps (hardshrink, threshold), "
        "draws random numbers or mixes components (softmax, glu) has no place among them",
    )


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise ArgumentError(name, repr(value), "give a finite number")
    return value


def _leaky(negative_slope: float) -> Form:
    slope = _finite("negative_slope", negative_slope)
    return kinked.leaky("leaky_relu", lambda z: F.leaky_relu(z, slope), slope)


def _prelu(weight: float | Tensor) -> Form:
    slope = torch.as_tensor(weight, dtype=torch.float64)
    if slope.ndim > 1 or not bool(slope.isfinite().all()):
        raise ArgumentError(
            "weight", f"shape {tuple(slope.shape)}", "give one finite number, or one for each component"
        )
    return kinked.leaky("prelu", lambda z: torch.where(z >= 0, z, slope.to(z) * z), weight)


def _rrelu(lower: float, upper: float, training: bool) -> Form:
    if training:
        raise ArgumentError("activation", "an RReLU in train mode", "it draws random slopes; call .eval()")
    mean = (_finite("lower", lower) + _finite("upper", upper)) / 2
    return kinked.leaky("rrelu", lambda z: F.leaky_relu(z, mean), mean)


def _clamp(min: float | Tensor | None, max: float | Tensor | None) -> Form:
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        raise ArgumentError("min, max", "a tensor of several bounds", "give one number")
    least, most = -math.inf if min is None else min, math.inf if max is None else max
    return kinked.clipped("clamp", lambda z: torch.clamp(z, least, most), least, most)


def _elu(alpha: float) -> Form:
    alpha = _finite("alpha", alpha)
    return kinked.exponential("elu", lambda z: F.elu(z, alpha), 1.0, alpha)


def _celu(alpha: float) -> Form:
    if not 0 < alpha < math.inf:
        raise ArgumentError("alpha", repr(alpha), "a CELU needs a positive, finite alpha")
    return kinked.exponential("celu", lambda z: F.celu(z, alpha), 1.0, 1.0, 1 / alpha)


def _gelu(approximate: str) -> Form:
    if approximate not in ("none", "tanh"):
        raise ArgumentError("approximate", repr(approximate), "torch knows 'none' and 'tanh'")
    return gates.gelu() if approximate == "none" else gates.gelu_tanh()


def _softshrink(lambd: float) -> Form:
    if not 0 <= lambd < math.inf:
        raise ArgumentError("lambd", repr(lambd), "a softshrink needs a finite number of at least 0")
    return kinked.softshrink(lambda z: F.softshrink(z, lambd), lambd)


_BUILDERS: dict[str, tuple[tuple[tuple[str, Any], ...], Callable[..., Form]]] = {
    "abs": ((), lambda: kinked.piecewise("abs", torch.abs, [0.0], [-1.0, 1.0], [0.0, 0.0])),
    "celu": ((("alpha", 1.0),), _celu),
    "clamp": ((("min", None), ("max", None)), _clamp),
    "clamp_max": ((("max", None),), lambda max: _clamp(None, max)),
    "clamp_min": ((("min", None),), lambda min: _clamp(min, None)),
    "elu": ((("alpha", 1.0),), _elu),
    "gelu": ((("approximate", "none"),), _gelu),
    "hardsigmoid": ((), kinked.hardsigmoid),
    "hardswish": ((), gates.hardswish),
    "hardtanh": (
        (("min_val", -1.0), ("max_val", 1.0)),
        lambda min_val, max_val: kinked.clipped(
            "hardtanh", lambda z: F.hardtanh(z, min_val, max_val), min_val, max_val
        ),
    ),
    "identity": ((), lambda: kinked.piecewise("identity", torch.clone, [], [1.0], [0.0])),
    "leaky_relu": ((("negative_slope", 0.01),), _leaky),
    "logsigmoid": ((), softplus.logsigmoid),
    "mish": ((), gates.mish),
    "prelu": ((("weight", 0.25),), _prelu),
    "relu": ((), lambda: kinked.leaky("relu", torch.relu, 0.0)),
    "relu6": ((), lambda: kinked.clipped("relu6", F.relu6, 0.0, 6.0)),
    "rrelu": ((("lower", 1 / 8), ("upper", 1 / 3), ("training", False)), _rrelu),
    "selu": (
        (),
        lambda: kinked.exponential("selu", F.selu, kinked.SELU[0], kinked.SELU[1], exact=False),
    ),
    "sigmoid": ((), sigmoids.sigmoid),
    "silu": ((), gates.silu),
    "sin": ((), sigmoids.sine),
    "softplus": ((("beta", 1.0), ("threshold", 20.0)), softplus.softplus),
    "softshrink": ((("lambd", 0.5),), _softshrink),
    "softsign": ((), sigmoids.softsign),
    "tanh": ((), sigmoids.tanh),
    "tanhshrink": ((), sigmoids.tanhshrink),
}
"""Name -> parameters with their defaults, and the function of them that gives the form."""

_MODULES: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    nn.CELU: ("celu", ("alpha",)),
    nn.ELU: ("elu", ("alpha",)),
    nn.GELU: ("gelu", ("approximate",)),
    nn.Hardsigmoid: ("hardsigmoid", ()),
    nn.Hardswish: ("hardswish", ()),
    nn.Hardtanh: ("hardtanh", ("min_val", "max_val")),
    nn.Identity: ("identity", ()),
    nn.LeakyReLU: ("leaky_relu", ("negative_slope",)),
    nn.LogSigmoid: ("logsigmoid", ()),
    nn.Mish: ("mish", ()),
    nn.PReLU: ("prelu", ("weight",)),
    nn.ReLU: ("relu", ()),
    nn.ReLU6: ("relu6", ()),
    nn.RReLU: ("rrelu", ("lower", "upper", "training")),
    nn.SELU: ("selu", ()),
    nn.Sigmoid: ("sigmoid", ()),
    nn.SiLU: ("silu", ()),
    nn.Softplus: ("softplus", ("beta", "threshold")),
    nn.Softshrink: ("softshrink", ("lambd",)),
    nn.Softsign: ("softsign", ()),
    nn.Tanh: ("tanh", ()),
    nn.Tanhshrink: ("tanhshrink", ()),
}

_OTHER_NAMES = {"clip": "clamp", "absolute": "abs", "__abs__": "abs", "expit": "sigmoid"}
_ALIASES: dict[Any, str] = {
    found: name
    for spelling, name in [*((n, n) for n in _BUILDERS), *_OTHER_NAMES.items()]
    for owner in (torch, F, Tensor, torch.special)
    for ending in ("", "_")
    if (found := getattr(owner, spelling + ending, None)) is not None and callable(found)
} | {abs: "abs"}
