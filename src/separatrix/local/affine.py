"""Which affine map a network is at each point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn

from separatrix.local.chord_maps import (
    Affine,
    Factors,
    backward,
    centred_chords,
    chords,
    forward,
    local,
    raw_chords,
    tangents,
)
from separatrix.local.dense_jacobian import dense_jacobian
from separatrix.results.errors import ArgumentError
from separatrix.results.memory import parse_bytes, points_per_chunk
from separatrix.systems.lure import Lure, lure
from separatrix.systems.protocol import System
from separatrix.tangent.workspace import Workspace

# numbers of the widest layer's block: what a core's cache holds
_BLOCK_NUMBERS = 200_000


@overload
def affine(
    model: Any, x: Tensor | np.ndarray, *, convention: str = ..., centre: Tensor | None = ..., of: str = ...,
    layers: None = ..., dtype: torch.dtype = ..., memory: int | str = ...,
) -> Affine: ...  # fmt: skip
@overload
def affine(
    model: Any, x: Tensor | np.ndarray, *, convention: str = ..., centre: Tensor | None = ..., of: str = ...,
    layers: str, dtype: torch.dtype = ..., memory: int | str = ...,
) -> dict[str, Affine]: ...  # fmt: skip
def affine(
    model: nn.Module | System | Callable[..., Any] | Lure,
    x: Tensor | np.ndarray,
    *,
    convention: str = "shifted",
    centre: Tensor | None = None,
    of: str = "chord",
    layers: str | None = None,
    dtype: torch.dtype = torch.float64,
    memory: int | str = "1GB",
) -> Affine | dict[str, Affine]:
    r"""Affine map that a network is at each point: f(x) = A x + b to rounding.

    Every elementwise activation is a secant, s(z) = Lambda(z) z + s(0) with Lambda_ii = (s(z_i) - s(0))/z_i, and s'(0)
    where z_i = 0 (the limit; at a kink the right-hand slope). Products of the layers' A'_l = Lambda_l W_l give A.

    Parameters
    ----------
    model : nn.Module, Loop, callable or Lure
        Affine operations and elementwise activations with known ranges, joined in any way without loops: linear,
        convolution, batch norm in eval, residual connections, concatenation.
    x : Tensor or array, shape (B, *shape) or (n,)
        Points; a single vector gives one map without a batch dimension.
    convention : {"shifted", "raw"}
        ``"raw"`` takes Lambda = diag(s(z)/z), with no s(0): the form of the first version of the paper. It does not
        exist where z = 0 and s(0) is not 0.
    centre : Tensor, shape ``shape``, optional
        Secants through (zc, s(zc)) instead, where zc are the pre-activations at the centre c: then
        f(x) - f(c) = A (x - c), and A is the Jacobian at x = c.
    of : {"chord", "jacobian"}
        ``"jacobian"`` takes slopes s'(z): A = Df(x), b = f(x) - Df(x) x. A model that cannot be seen through is then
        differentiated.
    layers : {None, "local", "cumulative"}
        None: the map from input to output. ``"local"``: of each layer from the layer before (chains only).
        ``"cumulative"``: from the input to each layer. Both give a dict by the activation's label.
    dtype : torch.float64 or torch.float32
        Precision of the maps; float32 takes half the time, and what is exact to rounding is so to float32's.
    memory : int or str
        Budget in bytes for the working arrays.

    Returns
    -------
    Affine, or dict of str to Affine
        ``A`` (B, outputs, inputs) and ``b`` (B, outputs) on x's device; values are flattened.

    Raises
    ------
    ArgumentError
        If the model cannot be seen through (the operation is named), x has another shape, or NaN; if ``"raw"`` does not
        exist at a point; if ``"local"`` is asked of a network that branches.

    Notes
    -----
    Cost: min(inputs, outputs) passes of the network, in blocks that fit the cache. The chord tells of norms and
    boundedness, the Jacobian of local stability, the centred chord of attraction to c: they are different matrices off
    kinks unless every activation is positively homogeneous.

    References
    ----------
    Drgona et al., "Dissipative Deep Neural Dynamical Systems", IEEE OJ-CSYS 1 (2022); the limit at z = 0, the centred
    form and general wirings are derived here.

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()
    >>> x = torch.randn(5, 2, dtype=torch.float64)
    >>> A, b = sx.affine(model, x)
    >>> bool(torch.allclose((A @ x[:, :, None])[:, :, 0] + b, model(x)))
    True
    """
    if dtype not in (torch.float64, torch.float32):
        raise ArgumentError("dtype", str(dtype), "choose torch.float64 or torch.float32")
    given, x = torch.as_tensor(x), _points(x, dtype)
    single = x.ndim == 1
    given, x = (given[None], x[None]) if single else (given, x)
    try:
        network = model if isinstance(model, Lure) else lure(model, tuple(x.shape[1:]))
    except ArgumentError as refused:
        if of != "jacobian" or layers is not None:
            raise
        try:
            dense = dense_jacobian(model, given.detach(), dtype, parse_bytes(memory))
        except RuntimeError:
            raise refused from None
        return Affine(dense.A[0], dense.b[0]) if single else dense
    if x[0].numel() != network.inputs:
        raise ArgumentError("x", f"shape {tuple(x.shape)}", f"the network takes {network.inputs} components a point")
    flat = x.flatten(1)
    factors = _factors(network, flat, convention, centre, of)
    if layers is None:
        found: dict[str, Affine] = {"": _in_blocks(network, flat, factors, parse_bytes(memory))}
    elif layers == "cumulative":
        maps = forward(network, flat, factors)
        found = {block.label: m for block, m in zip(network.blocks, maps, strict=True)}
    elif layers == "local":
        for place, block in enumerate(network.blocks):
            if list(block.weights) != [place]:
                raise ArgumentError(
                    "layers",
                    f"'local' for a network that branches (at {block.label})",
                    "use 'cumulative': the maps from the input to each layer",
                )
        found = {block.label: m for block, m in zip(network.blocks, local(network, flat, factors), strict=True)}
    else:
        raise ArgumentError("layers", repr(layers), "choose None, 'local' or 'cumulative'")
    if convention == "raw":
        _refuse_infinite(found)
    if single:
        found = {label: Affine(m.A[0], m.b[0]) for label, m in found.items()}
    return found[""] if layers is None else found


def _points(x: Any, dtype: torch.dtype) -> Tensor:
    x = torch.from_numpy(x) if isinstance(x, np.ndarray) else x
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim == 0 or x.numel() == 0:
        got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ArgumentError("x", got, "give a floating-point tensor of points, (B, *shape) or (n,)")
    if not torch.isfinite(x).all():
        raise ArgumentError("x", f"{int((~torch.isfinite(x)).sum())} values that are NaN or infinite", "remove them")
    return x.detach().to(dtype)


def _factors(network: Lure, x: Tensor, convention: str, centre: Tensor | None, of: str) -> Factors:
    if convention not in ("shifted", "raw"):
        raise ArgumentError("convention", repr(convention), "choose 'shifted' or 'raw'")
    if of not in ("chord", "jacobian"):
        raise ArgumentError("of", repr(of), "choose 'chord' or 'jacobian'")
    if (of == "jacobian" or convention == "raw") and centre is not None:
        raise ArgumentError("centre", "a point", "it goes with the chords of the shifted convention alone")
    if of == "jacobian":
        if convention == "raw":
            raise ArgumentError("convention", "'raw'", "it concerns chords; leave it out for of='jacobian'")
        return lambda place, curve, z: tangents(curve, z)
    if convention == "raw":
        return lambda place, curve, z: raw_chords(curve, z)
    if centre is None:
        return lambda place, curve, z: chords(curve, z)
    c = _points(centre, x.dtype).to(x.device).reshape(1, -1)
    if c.shape[1] != network.inputs:
        raise ArgumentError("centre", f"shape {tuple(centre.shape)}", f"give one point of {network.inputs} components")
    at_centre = network.preactivations(c)
    return lambda place, curve, z: centred_chords(curve, z, at_centre[place])


def _in_blocks(network: Lure, x: Tensor, factors: Factors, budget: int) -> Affine:
    widest = max(len(block.bias) for block in network.blocks)
    passes = min(network.inputs, network.outputs)
    held = 8 * passes * sum(len(block.bias) for block in network.blocks)
    size = min(max(16, _BLOCK_NUMBERS // (passes * widest)), points_per_chunk(held, budget, "its maps"))
    A = x.new_empty(len(x), network.outputs, network.inputs)
    b, space = x.new_empty(len(x), network.outputs), Workspace(x)
    for at in range(0, len(x), size):
        part = slice(at, at + size)
        if network.outputs <= network.inputs:
            A[part], b[part] = backward(network, x[part], factors, space)
        else:
            A[part], b[part] = forward(network, x[part], factors)[-1]
    return Affine(A, b)


def _refuse_infinite(found: dict[str, Affine]) -> None:
    for label, m in found.items():
        bad = ~(torch.isfinite(m.A).flatten(1).all(1) & torch.isfinite(m.b).all(1))
        if bad.any():
            raise ArgumentError(
                "convention",
                f"'raw' at {int(bad.sum())} points (first: {int(bad.nonzero()[0])}) where z = 0 and s(0) is not 0"
                + (f", at {label}" if label else ""),
                "use 'shifted', which exists everywhere",
            )
