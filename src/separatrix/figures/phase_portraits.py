"""Phase portraits of two-dimensional maps: where a step leads, orbits, basins, equilibria."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.figures import phase_marks, style
from separatrix.local.iterated import as_system
from separatrix.local.region_box import read_box
from separatrix.results.errors import ArgumentError
from separatrix.results.integers import integer, whole
from separatrix.tangent.columns import Columns, columns

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from separatrix.certificates.certificate import Certificate

_FINE = 160
"""Points of the background to a side."""
_ARROW = 0.85
"""Longest arrow, in cells of its lattice."""


def phase_portrait(
    system: Any,
    box: Any,
    *,
    shape: int | tuple[int, int] = (25, 25),
    starts: int | Tensor | Sequence[Any] = 8,
    steps: int = 20,
    basins: xr.Dataset | None = None,
    equilibria: xr.Dataset | None = None,
    certificate: Certificate | None = None,
    ax: Axes | None = None,
    colorbar: bool = True,
) -> Axes:
    """Draw a two-dimensional map x+ = f(x): arrows f(x) - x over their length, and orbits.

    Arrows show the displacement of one step; where it is longer than 0.85 of a cell of their lattice, they are cut to
    that, and only the background tells the length. Orbits begin at an open circle and have a dot at each step.

    Parameters
    ----------
    system : System, nn.Module or callable
        ``sx.Loop(model)``, ``sx.Map(f)``, or a model or function that takes (B, 2) to (B, 2).
    box : (lo, hi), or grid
        Scalars or 2-vectors, or the rectangle of ``sx.grid``.
    shape : int or (int, int)
        Number of arrows along each side.
    starts : int or array (k, 2)
        Where orbits begin; a number stands for so many points on an ellipse of two thirds of the box. 0 for none.
    steps : int
        Length of the orbits.
    basins : xarray.Dataset, optional
        Result of ``sx.basins`` on ``sx.grid``; its colours replace the background.
    equilibria : xarray.Dataset, optional
        Result of ``sx.equilibria``, drawn by stability.
    certificate : Certificate, optional
        Result of ``sx.certify`` with a region: the certified ellipse is outlined, certified cells are shaded,
        on a plain background.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a figure of its own.
    colorbar : bool
        Draw the colour bar of the background.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ArgumentError
        If the system is none, not two-dimensional or gives NaN everywhere, the box is empty, a number cannot be used,
        or a result is not what it should be.
    """
    lo, hi = read_box(box, 2)
    counts = tuple(shape) if isinstance(shape, Sequence) else (shape, shape)
    if len(counts) != 2 or not all(isinstance(k, int | np.integer) and k >= 2 for k in counts):
        raise ArgumentError("shape", repr(shape), "give two whole numbers of at least 2, such as (25, 25)")
    steps = whole("steps", steps, 1)
    begin = _starts(starts, lo, hi)
    lattice = _lattice(lo, hi, counts, inside=True)
    carried = _carried(as_system(system), lattice)

    ax = style.axes(ax)
    style.frame(ax)
    extent = (lo[0], hi[0], lo[1], hi[1])
    aspect: Any = "equal" if 1 / 3 < (hi - lo)[0] / (hi - lo)[1] < 3 else "auto"
    handles = []
    if basins is None and certificate is not None:
        ax.set_aspect(aspect)
        ax.patch.set(facecolor=style.GROUND)
    elif basins is None:
        _speed(ax, carried, lo, hi, extent, aspect, colorbar=colorbar)
    else:
        handles += phase_marks.basins(ax, basins, aspect)
    _arrows(ax, carried, lattice, (hi - lo) / counts)
    if len(begin):
        _orbits(ax, _followed(carried, begin, steps))
    if equilibria is not None:
        handles += phase_marks.equilibria(ax, equilibria)
    if certificate is not None:
        handles += phase_marks.region(ax, certificate)
    ax.set(xlim=(lo[0], hi[0]), ylim=(lo[1], hi[1]), xlabel="x₁", ylabel="x₂")
    ax.yaxis.label.set(rotation=0, verticalalignment="center", horizontalalignment="right")
    ax.locator_params(nbins=5)
    if handles:
        style.legend_above(ax, handles, ncols=min(2, len(handles)))
    return ax


def _carried(system: Any, lattice: Float[np.ndarray, "points 2"]) -> Columns:
    if getattr(system, "horizon", None) is not None:
        raise ArgumentError("system", "a driven system", "its arrows change with every step; give a constant input")
    try:
        n = system.dim(0)
    except (ArgumentError, AttributeError):
        n = 2
    if n != 2:
        raise ArgumentError("system", f"states of {n} components", "a portrait shows two-dimensional maps")
    try:
        carried = columns(system, torch.as_tensor(lattice))
    except ArgumentError as error:
        if error.argument != "system":
            raise
        remedy = f"{error.remedy} (a portrait shows two-dimensional maps, and gave it states of 2 components)"
        raise ArgumentError(error.argument, error.got, remedy) from error
    if not np.isfinite(_step(carried, lattice)).any():
        raise ArgumentError("system", "a step that gives NaN or infinity everywhere", "check the model and the box")
    return carried


def _starts(starts: Any, lo: np.ndarray, hi: np.ndarray) -> Float[np.ndarray, "k 2"]:
    count = integer(starts)
    if count is not None:
        if count < 0:
            raise ArgumentError("starts", str(count), "give how many, or an array (k, 2)")
        angle = 0.25 + 2 * np.pi * np.arange(count) / max(count, 1)
        return (lo + hi) / 2 + (hi - lo) / 3 * np.column_stack([np.cos(angle), np.sin(angle)])
    try:
        given = np.asarray(starts.detach().cpu() if isinstance(starts, Tensor) else starts, dtype=float)
    except (TypeError, ValueError):
        raise ArgumentError("starts", type(starts).__name__, "give how many, or an array (k, 2)") from None
    if given.ndim != 2 or given.shape[1] != 2 or not np.isfinite(given).all():
        raise ArgumentError("starts", f"shape {given.shape}, or values not finite", "give how many, or (k, 2)")
    return given


def _lattice(lo: np.ndarray, hi: np.ndarray, counts: tuple[int, int], *, inside: bool) -> Float[np.ndarray, "points 2"]:
    """Points in 'ij' order: the middles of cells, or from end to end."""
    sides = []
    for a, b, k in zip(lo, hi, counts, strict=True):
        half = (b - a) / (2 * k) if inside else 0.0
        sides.append(np.linspace(a + half, b - half, k))
    return np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)


def _step(carried: Columns, points: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points 2"]:
    with torch.no_grad():
        return carried.step(torch.as_tensor(points).to(carried.dtype).T.contiguous()).T.double().numpy()


def _followed(carried: Columns, begin: np.ndarray, steps: int) -> Float[np.ndarray, "steps k 2"]:
    orbit = [begin]
    for _ in range(steps):
        orbit.append(_step(carried, orbit[-1]))
    return np.stack(orbit)


def _speed(ax: Axes, carried: Columns, lo: Any, hi: Any, extent: Any, aspect: Any, *, colorbar: bool) -> None:
    """Colour the background by the length of a step."""
    fine = _lattice(lo, hi, (_FINE, _FINE), inside=True)
    length = np.linalg.norm(_step(carried, fine) - fine, axis=1).reshape(_FINE, _FINE)
    finite = length[np.isfinite(length)]
    high = float(np.quantile(finite, 0.995)) if finite.size else 1.0
    ax.patch.set(facecolor=style.GROUND, edgecolor="white", hatch="////", linewidth=0)
    image = ax.imshow(
        np.ma.masked_invalid(length).T,
        origin="lower",
        extent=extent,
        cmap=style.unsigned_map(),
        vmin=0.0,
        vmax=high or 1.0,
        interpolation="bilinear",
        aspect=aspect,
    )
    figure = ax.get_figure(root=True)
    if colorbar and figure is not None:
        room = figure.get_layout_engine() is not None
        place: dict[str, Any] = {"cax": ax.inset_axes((1.035, 0.0, 0.04, 1.0))} if room else {"ax": ax, "pad": 0.03}
        bar = figure.colorbar(image, extend="max" if (finite > high).any() else "neither", **place)
        bar.outline.set(linewidth=0.6, edgecolor=style.QUIET)
        bar.ax.tick_params(width=0.6, length=3, color=style.QUIET, labelcolor=style.INK, labelsize=8.5)
        bar.set_label("length of a step  |f(x) − x|", size=9, color=style.INK)


def _arrows(ax: Axes, carried: Columns, lattice: np.ndarray, cell: np.ndarray) -> None:
    from matplotlib import patheffects

    moved = _step(carried, lattice) - lattice
    # the shorter of the true displacement and most of a cell
    length = np.linalg.norm(moved / cell, axis=1, keepdims=True)
    shown = moved * np.minimum(1.0, _ARROW / np.maximum(length, 1e-300))
    keep = np.isfinite(shown).all(1)
    arrows = ax.quiver(
        *lattice[keep].T,
        *shown[keep].T,
        angles="xy",
        scale_units="xy",
        scale=1.0,
        units="inches",
        width=0.75 / 72,
        headwidth=3.6,
        headlength=4.0,
        headaxislength=3.6,
        minlength=0.6,
        color=style.ON_IMAGE,
        zorder=2,
    )
    arrows.set_path_effects([patheffects.withStroke(linewidth=1.6, foreground=style.HALO, alpha=0.55)])


def _orbits(ax: Axes, orbits: Float[np.ndarray, "steps k 2"]) -> None:
    from matplotlib import patheffects

    halo = [patheffects.withStroke(linewidth=2.6, foreground=style.HALO, alpha=0.9)]
    for path in np.moveaxis(orbits, 1, 0):
        path = np.where(np.isfinite(path) & (np.abs(path) < 1e6 * (1 + np.abs(orbits[0]).max())), path, np.nan)
        ax.plot(*path.T, "-", color=phase_marks.ORBIT, linewidth=1.1, zorder=3, path_effects=halo)
        ax.plot(*path[1:].T, ".", color=phase_marks.ORBIT, markersize=3.4, zorder=3.1)
        ax.plot(*path[:1].T, "o", mfc=style.HALO, mec=phase_marks.ORBIT, mew=1.2, markersize=4.6, zorder=3.2)
