"""The figures of the depth section."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from separatrix.data.record import Problem
from separatrix.figures import distribution, exponents_by_layer, field, reading, style
from separatrix.figures.fields import color_range
from separatrix.figures.svg import draw
from separatrix.report.answers import class_margins, level, outputs
from separatrix.report.context import Context
from separatrix.report.document import Figure
from separatrix.report.lines import Lines
from separatrix.report.pace import PANELS, spread
from separatrix.tangent.inputs import Plane

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

ROOM = 20
"""Letters of a layer's name beside a legend."""


SIDE = 4
"""Pixels to a side below which an input is not shown as a picture."""


def endpoint(ds: xr.Dataset) -> str:
    """The last layer before the output that everything passes through, or the output."""
    labels, cuts = [str(v) for v in ds["layer"].values], ds["cut"].values
    hidden = [label for label, cut in zip(labels, cuts, strict=True) if cut and label != "output"]
    return hidden[-1] if hidden else labels[-1]


def field_figures(
    context: Context, ds: xr.Dataset, where: Plane, three: list[int], margins: np.ndarray | None, lines: Lines
) -> list[Figure]:
    """The field at the end of the hidden layers and at the output, large, with what was found in it."""
    found: list[Figure] = []
    tall = _ratio(where.x, where.y)
    labels = [str(v) for v in ds["layer"].values]
    for layer in ends(ds):
        name = reading.short(layer, labels)

        def paint(ax: Axes, layer: str = layer) -> None:
            field(
                ds,
                ax,
                layer=layer,
                directions="direction" in ds,
                ridges=lines.ridges.get(layer),
                boundary=lines.boundary,
            )
            if lines.boundary is None:
                _boundary(ax, where, margins)
            _titled(ax, reading.short(layer, labels))
            _inputs(ax, context, where, three)

        caption = f"Stretch at {name}" if layer != "output" else "Stretch at the output"
        caption += "; the segments show the direction that grows most"
        if where.kind == "plane" and "direction" in ds:
            caption += ", as long as the part of it that lies in the plane"
        if layer in lines.ridges and lines.ridges[layer].sizes["line"]:
            caption += "; broad green lines are ridges"
        if margins is not None:
            caption += "; the thin dark line is where the answer changes"
        if lines.boundary is not None and (lines.boundary["first"].values >= 0).any():
            caption += f", with the numbers of the two classes{_meant(context, lines.boundary)}"
        svg = draw(paint, size=(4.6, 0.6 + 3.35 * tall), alt=caption, name=f"{context.name}-field-{len(found)}")
        found.append(Figure(svg, caption + ".", "half"))
    return found


def ends(ds: xr.Dataset) -> list[str]:
    """Labels of the layers that are shown large: the end of the hidden layers, and the last one."""
    return list(dict.fromkeys([endpoint(ds), str(ds["layer"].values[-1])]))


def panel_figures(context: Context, ds: xr.Dataset) -> list[Figure]:
    """The field at every hidden layer, small, in one range of colours, with the bar of that range."""
    labels = [str(v) for v in ds["layer"].values]
    hidden = [label for label in labels if label != "output"]
    if len(hidden) < 2:
        return []
    shown = spread(hidden, PANELS[0])
    tall = _ratio(ds["x"].values, ds["y"].values)
    low, high = color_range(_believed(ds.sel(layer=hidden)), None, signed=True)
    found = [Figure(_bar(context, low, high), "One range of colours for all layers below; places as above.", "bar")]
    for i, layer in enumerate(shown):

        def paint(ax: Axes, layer: str = layer) -> None:
            field(ds, ax, layer=layer, limits=(low, high), colorbar=False)
            ax.set_title("", loc="left")
            ax.set(xlabel="", ylabel="")
            ax.tick_params(length=0, labelbottom=False, labelleft=False)

        name = reading.short(layer, labels) + ("" if ds["cut"].sel(layer=layer) else " (not a cut)")
        svg = draw(paint, size=(2.8, 2.75 * tall), alt=f"stretch at {name}", name=f"{context.name}-panel-{i}")
        found.append(Figure(svg, name, "third"))
    return found


def point_figures(context: Context, ds: xr.Dataset) -> list[Figure]:
    """The distribution over test points, and the exponents from layer to layer."""
    labels = [str(v) for v in ds["layer"].values]
    some = spread(labels, 8)
    first = draw(
        lambda ax: distribution(ds, ax, layers=some, bins=40),
        size=(4.6, 0.7 + 0.36 * max(7, len(some))),
        alt="histograms of the largest exponent by layer",
        name=f"{context.name}-distribution",
    )
    count = f"{ds.sizes['point']:,}"
    left_out = f" ({len(some)} of {len(labels)} layers)" if len(some) < len(labels) else ""
    caption = f"The largest exponent over {count} test points, by layer{left_out}; the thick mark is the median."
    if len(labels) == 1:
        caption = f"The largest exponent over {count} test points; the thick mark is the median."
        return [Figure(first, caption)]
    second = draw(
        lambda ax: exponents_by_layer(ds, ax),
        size=(4.6, 0.7 + 0.36 * max(7, len(some))),
        alt="median exponents against the layer, with bands",
        name=f"{context.name}-profile",
    )
    return [
        Figure(first, caption),
        Figure(second, "Median of each exponent over the same points; the bands hold the middle 80 %."),
    ]


def _ratio(x: Any, y: Any) -> float:
    """Height of a field over its width, as it is drawn."""
    ratio = float((y[-1] - y[0]) / (x[-1] - x[0]))
    return ratio if 1 / 3 < ratio < 3 else 1.0


def _believed(ds: xr.Dataset) -> np.ndarray:
    values = np.array(ds["stretch"].isel(index=[0]).values, dtype=float)
    for mask in reading.forbidden(ds.isel(index=[0])).values():
        values[mask] = np.nan
    return values


def _bar(context: Context, low: float, high: float) -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    def paint(ax: Axes) -> None:
        from matplotlib.figure import Figure as Canvas

        assert isinstance(ax.figure, Canvas)
        colors = ScalarMappable(Normalize(low, high), style.signed_map(low, high))
        bar = ax.figure.colorbar(colors, cax=ax, orientation="horizontal")
        bar.outline.set(linewidth=0.6, edgecolor=style.QUIET)
        ax.tick_params(width=0.6, length=3, color=style.QUIET, labelcolor=style.INK, labelsize=8.5)
        ax.set_title(reading.quantity_label("stretch", 1), size=9, color=style.INK)

    return draw(paint, size=(4.2, 0.72), alt="range of colours", name=f"{context.name}-bar")


def margins_on(context: Context, where: Plane) -> tuple[np.ndarray | None, float | None]:
    """Margins of the classes over the field, shape (x, y, classes), and the level of a single output."""
    out = outputs(context.model, where.points(), context.options)
    margins = class_margins(out, context.problem)
    return (None, None) if margins is None else (margins.reshape(*where.shape, -1).numpy(), level(out))


def _boundary(ax: Axes, where: Plane, margins: np.ndarray | None) -> None:
    if margins is None:
        return
    x, y = where.x.numpy(), where.y.numpy()
    for number in range(1 if margins.shape[2] == 2 else margins.shape[2]):
        one = margins[:, :, number]
        if one.min() < 0 < one.max():
            ax.contour(x, y, one.T, levels=[0], colors=style.HALO, linewidths=2.6, alpha=0.85)
            ax.contour(x, y, one.T, levels=[0], colors=style.ON_IMAGE, linewidths=1.0)


def _titled(ax: Axes, name: str) -> None:
    """Shorten a long name of a layer, which would run into the legend."""
    if len(name) > ROOM and ax.get_legend() is not None:
        title = ax.get_title(loc="left")
        ax.set_title(title.replace(name, f"…{name[1 - ROOM :]}"), loc="left", size=9.5, color=style.INK)


def _meant(context: Context, boundary: xr.Dataset) -> str:
    """Names of the classes on both sides of a boundary, where they are not just their numbers."""
    names = context.problem.classes
    numbers = sorted({int(n) for side in ("first", "second") for n in boundary[side].values if n >= 0})
    if all(names[n] == str(n) for n in numbers):
        return ""
    return f" ({', '.join(f'{n} {names[n]}' for n in numbers)})"


def _inputs(ax: Axes, context: Context, where: Plane, three: list[int]) -> None:
    """Show the three inputs of a plane in their places."""
    problem = context.problem
    if where.corners is None:
        return
    for i, (a, b) in zip(three, where.corners.tolist(), strict=True):
        pixels = _pixels(problem, problem.X_test[i])
        if pixels is None:
            ax.plot(a, b, "o", ms=6, mfc=style.HALO, mec=style.ON_IMAGE, mew=1.2, zorder=4)
            continue
        w = h = 0.1 * float(where.x[-1] - where.x[0])
        small = ax.inset_axes((a - w / 2, b - h / 2, w, h), transform=ax.transData, zorder=6)
        small.imshow(pixels, cmap="gray_r", interpolation="nearest", aspect="auto")
        small.set(xticks=[], yticks=[])
        for spine in small.spines.values():
            spine.set(linewidth=1.4, edgecolor=style.HALO)


def _pixels(problem: Problem, x: torch.Tensor) -> np.ndarray | None:
    """An input as a picture, where it is one: (height, width), or (height, width, 3) scaled to [0, 1]."""
    x = x.to(torch.float64)
    if problem.image is not None:
        return x.reshape(problem.image).numpy()
    if x.ndim != 3 or x.shape[0] not in (1, 3) or min(x.shape[1:]) < SIDE:
        return None
    low, high = float(x.min()), float(x.max())
    return x[0].numpy() if x.shape[0] == 1 else ((x - low) / max(high - low, 1e-12)).permute(1, 2, 0).numpy()
