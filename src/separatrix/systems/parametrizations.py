"""Weights with bounded norms by construction, as parametrisations of ``torch.nn.utils.parametrize``.

Each function replaces a weight A (out, in) of y = A x + b by free parameters, which are trained and saved in its place,
and returns the module. The bound holds for every value of them, to rounding. It is a bound on A: what it means for a
network follows with the slopes of its activations (a product of norms bounds the Lipschitz constant only after the
largest slopes have been multiplied in, which exceed 1 for GELU, SiLU and SELU).
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations as torchs
from torch.nn.utils import parametrize

from separatrix.results.errors import ArgumentError
from separatrix.systems.parametrization_maps import Gershgorin, PerronFrobenius, Spectral

__all__ = ["gershgorin", "orthogonal", "perron_frobenius", "spectral"]

M = TypeVar("M", bound=nn.Module)


def spectral(module: M, name: str = "weight", lo: float = 0.1, hi: float = 1.0) -> M:
    """Keep all singular values of a weight between ``lo`` and ``hi``.

    A = U diag(s) V', with U and V products of Householder reflections and s between the bounds. **Bounds norm_2(A) by
    ``hi``**, for every shape, and norm_2(A x) from below by ``lo`` norm_2(x) where out >= in; eigenvalues of a square
    weight have moduli between the two. The 1-norm and the infinity-norm can reach sqrt(out) hi and sqrt(in) hi.

    Parameters
    ----------
    module : nn.Module
    name : str
        Name of the weight, (out, in), of any shape.
    lo, hi : float
        0 <= lo <= hi, hi > 0.

    Returns
    -------
    nn.Module
        The same module. Its weight keeps its singular vectors; singular values outside of the range (less 1 % of its
        width at each end) are moved to its ends. The same is done with a weight that is assigned later.

    Raises
    ------
    ArgumentError
        If the module has no such float32 or float64 matrix, it has a parametrisation already, it holds NaN, or the
        range is empty.

    Notes
    -----
    A weight costs O((out + in) k^2) for k = min(out, in), each time it is used
    (``torch.nn.utils.parametrize.cached()`` avoids repetition). The sign of a square weight's determinant stays what it
    was. Factorisation after Zhang, Lei, Dhillon, Stabilizing gradients for deep neural networks via efficient SVD
    parameterization (2018).
    """
    weight = _matrix(module, name)
    lo, hi = _range(lo, hi, negative=False)
    return _register(module, name, Spectral(weight, lo, hi))


def orthogonal(module: M, name: str = "weight") -> M:
    """Keep a weight orthogonal, by ``torch.nn.utils.parametrizations.orthogonal`` with Cayley's map.

    A'A = I where out >= in, A A' = I where out <= in. **norm_2(A) = 1**, for every shape; an orthogonal square weight
    conserves the 2-norm. The 1-norm and the infinity-norm can reach sqrt(out) and sqrt(in).

    Parameters
    ----------
    module : nn.Module
    name : str
        Name of the weight, (out, in), of any shape. Kernels of convolutions are refused: torch makes their reshaped
        matrix orthogonal, which says nothing about the norm of the operator.

    Raises
    ------
    ArgumentError
        If the module has no such float32 or float64 matrix, it has a parametrisation already, or it holds NaN.

    Notes
    -----
    Cost: one linear solve of size max(out, in). Torch's other maps hold less well: the matrix exponential loses digits
    as its parameters grow (4e-4 at entries of 1000 in float32), and the Householder map, its default for rectangular
    weights, keeps signs as truncated parameters, so that weight decay sets columns to zero.
    ``torch.nn.utils.parametrizations.spectral_norm`` is no substitute either: it estimates the norm by power iteration,
    from below, and freezes the estimate in evaluation mode.
    """
    _matrix(module, name)
    torchs.orthogonal(module, name, orthogonal_map="cayley")
    return module


def perron_frobenius(module: M, name: str = "weight", lo: float = 0.8, hi: float = 1.0) -> M:
    """Keep a weight non-negative, with all column sums between ``lo`` and ``hi``.

    Column j of A is s_j softmax(logits_j). **Bounds norm_1(A) by ``hi``**, for every shape (x to A x changes the sum of
    a non-negative x by a factor between lo and hi); a square weight has its spectral radius between ``lo`` and ``hi``
    by the theorem of Perron and Frobenius. It does **not** bound the 2-norm, which reaches sqrt(in) hi, nor the
    infinity-norm, which reaches in times hi.

    Parameters
    ----------
    module : nn.Module
    name : str
        Name of the weight, (out, in), of any shape.
    lo, hi : float
        0 <= lo <= hi, hi > 0; lo = hi = 1 gives a column-stochastic weight.

    Returns
    -------
    nn.Module
        The same module. Magnitudes of its weight are kept, column sums outside of the range (less 1 % of its width at
        each end) are moved to its ends, and so is it with a weight that is assigned later.

    Raises
    ------
    ArgumentError
        If the module has no such float32 or float64 matrix, it has a parametrisation already, it holds NaN, or the
        range is empty.

    Notes
    -----
    After Tuor, Drgona, Vrabie, Constrained neural ordinary differential equations with stability guarantees (2020),
    where the matrix acts on rows: its row sums are our column sums. Cost O(out in).
    """
    _matrix(module, name)
    return _register(module, name, PerronFrobenius(*_range(lo, hi, negative=False)))


def gershgorin(module: M, name: str = "weight", lo: float = 0.0, hi: float = 1.0, complex: bool = False) -> M:
    """Keep all eigenvalues of a square weight within a disc that crosses the real axis at ``lo`` and ``hi``.

    With mean = (lo + hi)/2 and r = (hi - lo)/2, the diagonal lies within r/2 of the mean, and off-diagonal magnitudes
    sum up to r/2 at most, in each row and in each column. So **|eigenvalue - mean| <= r**, and norm_p(A - mean I) <= r
    for every p: **every p-norm of A is at most max(|lo|, |hi|)**, and where lo and hi have the same sign, singular
    values are at least min(|lo|, |hi|).

    Parameters
    ----------
    module : nn.Module
    name : str
        Name of the weight, (n, n).
    lo, hi : float
        lo <= hi, of any sign.
    complex : bool
        Off-diagonal entries are free, so that eigenvalues may be complex; otherwise the weight is symmetric.

    Returns
    -------
    nn.Module
        The same module. Its diagonal is moved into the range (less 1 % at each end) and its off-diagonal part, or the
        symmetric part of that, is scaled down where it is too large, and so is it with a weight that is assigned later.

    Raises
    ------
    ArgumentError
        If the module has no such square float32 or float64 matrix, it has a parametrisation already, it holds NaN, or
        the range is empty.

    Notes
    -----
    After Drgona et al., Dissipative deep neural dynamical systems (2022), whose code has no trainable parameters in it,
    off-diagonal entries of one sign only (so that spectra of 2 x 2 weights are always real), and one softmax over all
    of them (radii shrink with n). Cost O(n^2).
    """
    weight = _matrix(module, name)
    if weight.shape[0] != weight.shape[1]:
        raise ArgumentError(
            "name", f"{name!r} of shape {tuple(weight.shape)}", "eigenvalues need a square weight; use spectral"
        )
    return _register(module, name, Gershgorin(*_range(lo, hi, negative=True), bool(complex)))


def _register(module: M, name: str, parametrization: nn.Module) -> M:
    parametrize.register_parametrization(module, name, parametrization)
    return module


def _matrix(module: nn.Module, name: str) -> Tensor:
    """The weight, once it is known to be one that can be replaced."""
    if not isinstance(module, nn.Module):
        raise ArgumentError("module", type(module).__name__, "give an nn.Module, such as nn.Linear(2, 2)")
    if not isinstance(name, str):
        raise ArgumentError("name", repr(name), "give the name of a weight as text")
    if parametrize.is_parametrized(module, name):
        remedy = "remove it first: torch.nn.utils.parametrize.remove_parametrizations"
        raise ArgumentError("name", f"{name!r}, which has a parametrisation already", remedy)
    weight = module._parameters.get(name)
    if weight is None:
        known = ", ".join(key for key, value in module._parameters.items() if value is not None) or "no parameter"
        raise ArgumentError("name", f"{name!r} of a {type(module).__name__} that has {known}", "name one of them")
    if weight.ndim != 2 or not weight.numel():
        raise ArgumentError("name", f"{name!r} of shape {tuple(weight.shape)}", "only matrices (out, in) have a bound")
    if weight.dtype not in (torch.float32, torch.float64):
        raise ArgumentError("name", f"{name!r} of {weight.dtype}", "use float32 or float64")
    if not torch.isfinite(weight).all():
        raise ArgumentError("name", f"{name!r} with NaN or infinity in it", "give a weight of finite numbers")
    return weight.detach()


def _range(lo: float, hi: float, *, negative: bool) -> tuple[float, float]:
    """Both ends as floats."""
    try:
        low, high = float(lo), float(hi)
    except (TypeError, ValueError) as error:
        raise ArgumentError("lo", f"{lo!r} to {hi!r}", "give two numbers") from error
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ArgumentError("lo", f"{lo!r} to {hi!r}", "give finite numbers, lo <= hi")
    if not negative and not (low >= 0 and high > 0):
        raise ArgumentError("lo", f"{lo!r} to {hi!r}", "give 0 <= lo <= hi, and hi above 0")
    return low, high
