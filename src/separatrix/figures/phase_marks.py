"""What a phase portrait is laid over or marked with: basins of attraction and equilibria."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.figures import style
from separatrix.results.errors import ArgumentError
from separatrix.results.status import flag_names

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from separatrix.certificates.certificate import Certificate

ORBIT = "#ae4024"
"""Colour of orbits: the warm end of the signed colours, which the background does not have."""
PROVED = "#1b7f5c"
"""Colour of what is proved."""
_NAMED = 6
"""Entries of the legend that name attractors."""
_MARKS = {"attracting": ("o", style.ON_IMAGE), "repelling": ("o", style.HALO), "saddle": ("D", style.HALO)}
"""Marker and face by stability; anything else is a square."""


def basins(ax: Axes, ds: xr.Dataset, aspect: Any) -> list[Any]:
    """Colour each point of a grid by its attractor, draw the attractors, and return what the legend says of them."""
    from matplotlib.colors import ListedColormap, to_rgb

    _check("basins", ds, "label", "kind", "position", "start", "count")
    if set(ds["label"].dims) != {"x", "y"} or ds.attrs.get("inputs") == "plane":
        raise ArgumentError("basins", "basins that lie on no grid of the plane", "compute them with sx.grid")
    label = np.asarray(ds["label"].transpose("x", "y").values, dtype=int)
    x, y = (np.asarray(ds[name].values, dtype=float) for name in ("x", "y"))
    count = ds.sizes["line"]
    # beyond the six colours of the style they come again, lighter
    strength = [0.62 / (1 + i // 6) for i in range(count)]
    colors = [
        tuple(s * np.array(to_rgb(c)) + (1 - s) * np.array(to_rgb("#ffffff")))
        for s, c in zip(strength, style.line_colors(count), strict=True)
    ]
    ax.patch.set(facecolor=style.GROUND, edgecolor="white", hatch="////", linewidth=0)
    step_x, step_y = (np.ptp(v) / max(1, len(v) - 1) for v in (x, y))
    ax.imshow(
        # 0 for escape, 1 and up for attractors, nothing where a point is undecided
        np.ma.masked_where(label == -1, np.where(label == -2, 0, label + 1)).T,
        origin="lower",
        extent=(x[0] - step_x / 2, x[-1] + step_x / 2, y[0] - step_y / 2, y[-1] + step_y / 2),
        cmap=ListedColormap([to_rgb(style.GROUND), *colors]),
        vmin=-0.5,
        vmax=count + 0.5,
        interpolation="nearest",
        aspect=aspect,
    )
    kinds = _meanings(ds, "kind")
    position = np.asarray(ds["position"].values, dtype=float)
    handles = []
    for i in range(count):
        begin, size = int(ds["start"][i]), int(ds["count"][i])
        kind = kinds.get(int(ds["kind"][i]), "attractor").replace("fixed-point", "fixed point")
        name = f"{kind} of period {int(ds['period'][i])}" if kind == "cycle" else kind
        look: dict[str, Any] = {"marker": ".", "markersize": 1.6, "markeredgewidth": 0.0}
        if size <= 32:
            look = {"marker": "o", "markersize": 5.5, "markeredgecolor": style.HALO, "markeredgewidth": 0.9}
        ax.plot(*position[begin : begin + size].T, color=style.ON_IMAGE, linestyle="none", zorder=4, **look)
        if i < _NAMED:
            handles.append(_patch(colors[i], f"{name}, {_percent(float(ds['share'][i]))}"))
    if count > _NAMED:
        handles.append(_patch("none", f"and {count - _NAMED} more"))
    if (label == -2).any():
        handles.append(_patch(style.GROUND, f"escape, {_percent((label == -2).mean())}"))
    if (label == -1).any():
        handles.append(_patch(style.GROUND, f"undecided, {_percent((label == -1).mean())}", hatch="////"))
    return handles


def equilibria(ax: Axes, ds: xr.Dataset) -> list[Any]:
    """Mark equilibria: attracting full, repelling open, saddles as diamonds, others as squares; return the legend."""
    from matplotlib.lines import Line2D

    _check("equilibria", ds, "position", "stability")
    position = np.asarray(ds["position"].values, dtype=float)
    if position.ndim != 2 or position.shape[1] != 2:
        raise ArgumentError("equilibria", f"positions of shape {position.shape}", "a portrait is two-dimensional")
    names = _meanings(ds, "stability")
    stability = np.array([names.get(int(code), "undecided") for code in np.asarray(ds["stability"].values)])
    handles = []
    for name in dict.fromkeys(stability.tolist()):
        marker, face = _MARKS.get(name, ("s", style.GROUND))
        look: dict[str, Any] = {"marker": marker, "markerfacecolor": face, "linestyle": "none"}
        # a light rim keeps a full mark apart from a dark ground, a dark one an open mark from a light ground
        look |= {"markeredgecolor": style.HALO if face == style.ON_IMAGE else style.ON_IMAGE, "markeredgewidth": 1.2}
        ax.plot(*position[stability == name].T, markersize=7, zorder=5, **look)
        handles.append(Line2D([], [], markersize=6, label=name, **look))
    return handles


def region(ax: Axes, certificate: Certificate) -> list[Any]:
    """Outline the ellipsoid of a certificate's region and shade its boxes; return the legend."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb
    from matplotlib.lines import Line2D

    found = getattr(certificate, "region", None)
    if found is None or len(found.centre) != 2:
        got = "none with a region of two components"
        raise ArgumentError("certificate", got, "ask for stability with at=, or for boundedness")
    handles: list[Any] = []
    if len(found.lo):
        lo, hi = found.lo.numpy(), found.hi.numpy()
        corners = np.stack([lo, np.stack([hi[:, 0], lo[:, 1]], 1), hi, np.stack([lo[:, 0], hi[:, 1]], 1)], 1)
        ax.add_collection(
            PolyCollection(list(corners), facecolor=PROVED, edgecolor="none", alpha=0.45, linewidth=0, zorder=1.5)
        )
        handles.append(_patch((*to_rgb(PROVED), 0.45), "certified cells"))
    if found.level > 0:
        angle = np.linspace(0, 2 * np.pi, 400)
        # x'Px = level on the image of the circle under the inverse of P's factor
        half = np.linalg.inv(np.linalg.cholesky(found.P.numpy()).T)
        rim = found.centre.numpy() + np.sqrt(found.level) * np.stack([np.cos(angle), np.sin(angle)], 1) @ half.T
        name = "ball that is entered" if certificate.kind == "boundedness" else "certified ellipse"
        ax.plot(*rim.T, color=PROVED, linewidth=1.6, zorder=4)
        handles.append(Line2D([], [], color=PROVED, linewidth=1.6, label=name))
    return handles


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "< 1%"


def _check(argument: str, ds: Any, *needed: str) -> None:
    lacking = [name for name in needed if name not in getattr(ds, "data_vars", ())]
    if lacking:
        remedy = f"give what sx.{argument} returned"
        raise ArgumentError(argument, f"{type(ds).__name__} without {', '.join(lacking)}", remedy)


def _patch(color: Any, text: str, hatch: str | None = None) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=color, edgecolor="white" if hatch else "none", hatch=hatch, label=text)


def _meanings(ds: xr.Dataset, name: str) -> dict[int, str]:
    attrs = ds[name].attrs
    return flag_names(attrs) if "flag_meanings" in attrs else {}
