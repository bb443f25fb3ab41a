"""Eigenvalues, singular values and norms of the matrix that a network is at each point."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from separatrix.ensembles.stack import Stack
from separatrix.local.affine import affine
from separatrix.results.dataset import Entry, build
from separatrix.results.errors import ArgumentError
from separatrix.results.memory import parse_bytes, points_per_chunk
from separatrix.results.progress import Progress, track
from separatrix.results.provenance import provenance
from separatrix.systems.lure import Lure, lure
from separatrix.systems.protocol import System
from separatrix.tangent.inputs import Plane, as_inputs

if TYPE_CHECKING:
    import xarray as xr

NORMS = {"norm_1": 1, "norm_2": 2, "norm_inf": float("inf"), "norm_fro": "fro"}


def spectrum(
    model: nn.Module | System | Callable[..., Any] | Lure | Stack,
    inputs: Tensor | Plane,
    *,
    of: str = "chord",
    convention: str = "shifted",
    centre: Tensor | None = None,
    memory: int | str = "512MB",
    progress: Progress = False,
) -> xr.Dataset:
    """Eigenvalues, singular values and norms of the chord map or the Jacobian over points, a grid or a plane.

    Parameters
    ----------
    model : nn.Module, Loop, callable, Lure or Stack
        As in :func:`separatrix.affine`; the members of a stack one after another.
    inputs : Tensor (B, *shape), or grid or plane
        Where.
    of, convention, centre
        Which matrix: as in :func:`separatrix.affine`.
    memory : int or str
        Budget in bytes for everything but the result.
    progress : bool or callable
        A bar on stderr, or a function of (done, total).

    Returns
    -------
    xarray.Dataset
        Dimensions (member, point or x and y, index). ``eigenvalue_real`` and ``eigenvalue_imag``, largest modulus
        first, and ``radius``, the spectral radius, for square matrices; ``singular``, largest first; ``norm_1``
        (largest column sum), ``norm_2``, ``norm_inf`` (largest row sum), ``norm_fro``.

    Raises
    ------
    ArgumentError
        As :func:`separatrix.affine`.

    Notes
    -----
    Maxima over points are estimates from below of suprema. A spectral radius below 1 at every point does not make a
    map stable, nor does a norm above 1 somewhere make it unstable: radii and norms of chords are descriptions, and a
    uniform norm below 1 is what proves boundedness. Cost: that of ``affine``, and O(n^3) a point.
    """
    where = as_inputs(inputs, tokens=False)
    members = model.members if isinstance(model, Stack) else [model]
    shape = tuple(where.points(0, 1).shape[1:])
    networks = [_seen_through(m, shape, of) for m in members]
    budget, first = parse_bytes(memory), affine(networks[0], where.points(0, 1), of="jacobian").A
    size = points_per_chunk(32 * first.numel(), budget // 2, "its matrices")
    parts: list[dict[str, np.ndarray]] = []
    with track(progress, len(where) * len(networks), "spectrum") as advance:
        for network in networks:
            chunks = []
            for at in range(0, len(where), size):
                x = where.points(at, at + size)
                matrices = affine(network, x, of=of, convention=convention, centre=centre, memory=budget // 2).A
                chunks.append(measures(matrices))
                advance(len(x))
            parts.append({name: np.concatenate([c[name] for c in chunks]) for name in chunks[0]})
    points = ("x", "y") if isinstance(where, Plane) else ("point",)
    data: dict[str, Entry] = {}
    for name in parts[0]:
        values = np.stack([p[name] for p in parts])
        values = values.reshape(len(networks), *where.shape, *values.shape[2:])
        data[name] = (("member", *points, "index")[: values.ndim], values)
    coords: dict[str, Entry] = {}
    if isinstance(where, Plane):
        coords |= {"x": (("x",), where.x.numpy()), "y": (("y",), where.y.numpy())}
    return build(
        data,
        coords,
        {
            "method": f"{of} map, dense",
            "inputs": where.kind,
            "provenance": provenance("spectrum", model=model, of=of, convention=convention, memory=memory),
        },
    )


def _seen_through(model: Any, shape: tuple[int, ...], of: str) -> Any:
    """The network's form, looked up once; the model itself where only its Jacobian can be had."""
    try:
        return model if isinstance(model, Lure) else lure(model, shape)
    except ArgumentError:
        if of != "jacobian":
            raise
        return model


def measures(matrices: Tensor) -> dict[str, np.ndarray]:
    """Spectra and norms of matrices (batch, m, n), as arrays (batch,) and (batch, index)."""
    found: dict[str, Tensor] = {}
    if matrices.shape[1] == matrices.shape[2]:
        values = eigenvalues(matrices)
        found |= {"eigenvalue_real": values.real, "eigenvalue_imag": values.imag, "radius": values[:, 0].abs()}
    singular = torch.linalg.svdvals(matrices)
    found["singular"] = singular
    for name, order in NORMS.items():
        found[name] = singular[:, 0] if order == 2 else torch.linalg.matrix_norm(matrices, ord=order)
    return {name: value.cpu().numpy() for name, value in found.items()}


def eigenvalues(matrices: Tensor) -> Tensor:
    """Eigenvalues (batch, n) of matrices (batch, n, n), largest modulus first; conjugates with the positive one first.

    Closed form for n = 2, where LAPACK takes microseconds a matrix.
    """
    if matrices.shape[-1] == 2:
        (a, b), (c, d) = matrices[..., 0, :].unbind(-1), matrices[..., 1, :].unbind(-1)
        half, rest = (a + d) / 2, ((a - d) / 2) ** 2 + b * c
        root = rest.abs().sqrt()
        zero = torch.zeros_like(half)
        # the larger root without cancellation, the smaller from the determinant
        large = half + torch.where(half < 0, -root, root)
        small = torch.where(large == 0, zero, (a * d - b * c) / torch.where(large == 0, torch.ones_like(large), large))
        real = torch.stack([torch.where(rest < 0, half, large), torch.where(rest < 0, half, small)], -1)
        imag = torch.stack([torch.where(rest < 0, root, zero), torch.where(rest < 0, -root, zero)], -1)
        return torch.complex(real, imag)
    values = torch.linalg.eigvals(matrices)
    # numpy's lexsort: by modulus, then by imaginary part
    order = np.lexsort((-values.imag.cpu().numpy(), -values.abs().cpu().numpy().round(12)), axis=-1)
    return values.gather(-1, torch.from_numpy(order).to(values.device))


def check_square(network: Lure, name: str = "system") -> None:
    """Refuse a network that cannot be iterated."""
    if network.inputs != network.outputs:
        raise ArgumentError(
            name,
            f"a map from {network.inputs} to {network.outputs} components",
            "only a map whose output has the input's shape can be iterated",
        )
