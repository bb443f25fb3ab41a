"""Figures of the Gaussian classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from separatrix.figures import field, style
from separatrix.figures.svg import draw, draw_panels
from separatrix.studies.storm2024.gaussian_model import CRITICAL, NORMAL, OPTIMA, Triangle, stretch
from separatrix.studies.storm2024.gaussian_training import Profile, Settings
from separatrix.studies.study import Figure
from separatrix.tangent.ftle import ftle
from separatrix.tangent.inputs import Plane

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

TITLES = ("logit, cross entropy: flat", "probability: ridge", "output, squared error: ridge")


def fields(alpha: float, where: Plane) -> Figure:
    """Three fields of ln sigma over the same two classes, and below them the profiles across their boundary."""
    r = torch.linspace(-2, 2, 201, dtype=torch.float64)
    few = r[::10]

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(2, 3, sharey="row", height_ratios=(1.35, 1))
        for (ax, below), best, title in zip(panels.T, OPTIMA, TITLES, strict=True):
            model = best.network(alpha)
            field(ftle(model, where), ax, limits=3.0, colorbar=ax.get_subplotspec().is_last_col())
            _line(ax, NORMAL, where)
            ax.set_title(title, loc="left", size=9.5, color=style.INK)
            style.frame(below, open_corner=True)
            below.axvline(0, color=style.QUIET, linewidth=0.7, linestyle=(0, (4, 3)))
            blue, red = style.line_colors(2)
            below.plot(r, best.log_stretch(r, alpha), color=blue, linewidth=1.4, label="closed form")
            below.plot(few, stretch(model, few[:, None] * NORMAL), "o", color=red, markersize=3.2, label="sx.ftle")
            below.set(xlabel="signed distance r from the boundary")
        for ax in panels[0, 1:]:
            ax.set_ylabel("")
        panels[1, 0].set_ylabel("ln σ  (nats)")
        panels[1, 0].legend(frameon=False, fontsize=8, labelcolor=style.INK, handlelength=1.4)

    svg = draw_panels(paint, size=(9.6, 5.4), alt="; ".join(TITLES), name="gaussian-fields")
    return Figure(
        "One boundary, three fields",
        svg,
        f"ln σ of the best network for two Gaussian classes (α = {alpha:g}), in one range of colours, and below it the "
        "profile across the boundary. The white-edged line is the decision boundary, the same in all three. Look at "
        "the left field: nothing in it tells where the boundary is. Both ridges have the curvature −α²/2 at r = 0.",
        "full",
    )


def facets(triangle: Triangle, field_: xr.Dataset, lines: xr.Dataset) -> Figure:
    """Field of three classes with its facets and the ridges that were found."""
    reach = float(field_["x"].max())
    turning = float(triangle.on_facet(torch.tensor([CRITICAL], dtype=torch.float64))[0, 1])

    def paint(ax: Axes) -> None:
        field(field_, ax)
        ax.set_title("", loc="left")
        for turn in (0.0, 2 * math.pi / 3, 4 * math.pi / 3):
            way = np.array([math.sin(turn), math.cos(turn)])
            ax.plot(*np.outer(way, (0, 3 * reach)), color=style.ON_IMAGE, linewidth=1.0, linestyle=(0, (2, 1.6)))
            ax.plot(*(turning * way), "o", ms=5.5, mfc=style.HALO, mec=style.ON_IMAGE, mew=1.1, zorder=5)
        for start, count in zip(lines["start"].values, lines["count"].values, strict=True):
            x, y = lines["position"].values[start : start + count].T
            ax.plot(x, y, color=style.HALO, linewidth=4.0, alpha=0.85, solid_capstyle="round")
            ax.plot(x, y, color=style.ON_IMAGE, linewidth=1.8, solid_capstyle="round")
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach))

    svg = draw(paint, size=(4.6, 3.75), alt="field of three classes with its facets", name="gaussian-facets")
    return Figure(
        "Three classes",
        svg,
        f"ln σ₁ at the probabilities (α = {triangle.alpha:g}), where three classes meet. Broken: the facets on which "
        "two classes tie. Whole: the ridges that sx.ridges finds. Between the centre and the marks the stretch has a "
        "minimum across a facet, though the decision changes there; on the arcs it has a ridge, and no decision "
        "changes.",
    )


def facet_curvature(triangle: Triangle, a: Tensor, bend: Tensor) -> Figure:
    """Curvature across a facet against the posterior."""
    fine = torch.linspace(float(a[0]), 0.5, 300, dtype=torch.float64)

    def paint(ax: Axes) -> None:
        style.frame(ax, open_corner=True)
        blue, red = style.line_colors(2)
        ax.axhline(0, color=style.QUIET, linewidth=0.7, linestyle=(0, (4, 3)))
        ax.axvline(CRITICAL, color=style.QUIET, linewidth=0.7, linestyle=(0, (4, 3)))
        ax.plot(fine, triangle.curvature(fine) / triangle.alpha**2, color=blue, linewidth=1.4, label="closed form")
        ax.plot(a, bend / triangle.alpha**2, "o", color=red, markersize=3.2, label="measured")
        ax.annotate(
            f"a_c = {CRITICAL:.4f}",
            (CRITICAL, 1.0),
            xytext=(6, 0),
            textcoords="offset points",
            size=8.5,
            color=style.INK,
        )
        ax.set(xlabel="posterior a of each of the two classes", ylabel="curvature of ln σ₁ across the facet, over α²")
        _legend(ax)

    svg = draw(paint, size=(4.6, 3.75), alt="curvature against posterior", name="gaussian-curvature")
    return Figure(
        "From valley to ridge",
        svg,
        "Second derivative of ln σ₁ along the facet's normal: above zero the facet is a valley, below it a ridge. "
        "At a = 1/2 the third class plays no part and the value is that of two classes, −1/2.",
    )


def trained(profiles: Sequence[Profile], settings: Settings) -> Figure:
    """Profiles of trained networks, one panel a loss."""
    recipes = list(dict.fromkeys(p.recipe for p in profiles))

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, len(recipes), sharey=True)
        for ax, recipe in zip(panels, recipes, strict=True):
            style.frame(ax, open_corner=True)
            ax.axvline(0, ymin=0.24, color=style.QUIET, linewidth=0.7, linestyle=(0, (4, 3)))
            mine = [p for p in profiles if p.recipe == recipe]
            for p, color in zip(mine, style.line_colors(len(mine)), strict=True):
                middle, spread = p.trained.mean(0), p.trained.std(0, ddof=min(1, len(p.trained) - 1))
                ax.fill_between(p.r, middle - spread, middle + spread, color=color, alpha=0.18, linewidth=0)
                ax.plot(p.r, middle, color=color, linewidth=1.5, label=p.endpoint)
                if p.expected is not None:
                    ax.plot(p.r, _expected(p, settings.alpha), color=color, linewidth=1.0, linestyle=(0, (2, 1.6)))
            ax.set(xlabel="r")
            ax.set_title(recipe, loc="left", size=9, color=style.INK)
            ax.legend(frameon=False, fontsize=8, labelcolor=style.INK, handlelength=1.4, loc="lower center")
        panels[0].set_ylim(bottom=-5.4)
        panels[0].set_ylabel("ln σ₁  (nats)")

    svg = draw_panels(paint, size=(9.6, 3.3), alt="profiles of trained networks", name="gaussian-trained")
    return Figure(
        "Trained networks",
        svg,
        f"Mean over {len(settings.seeds)} networks, with the standard deviation as band; the broken lines are the "
        "closed forms. Compare the endpoints of one panel: they belong to the same networks and the same boundary.",
        "full",
    )


def _expected(p: Profile, alpha: float) -> np.ndarray:
    """Closed form that belongs to an endpoint."""
    names = {"logit": (1.0, 0.0), "probability": (0.25, 1.0), "before tanh": (0.5, 0.0), "output": (0.5, 1.0)}
    factor, ridge = names[p.endpoint]
    return np.asarray(math.log(alpha * factor) - 2 * ridge * np.log(np.cosh(alpha * p.r / 2)))


def _line(ax: Axes, normal: Tensor, where: Plane) -> None:
    """Draw the boundary through the origin."""
    reach = 2 * float(where.x.abs().max())
    x, y = reach * -float(normal[1]), reach * float(normal[0])
    limits = ax.get_xlim(), ax.get_ylim()
    ax.plot((-x, x), (-y, y), color=style.HALO, linewidth=2.8, alpha=0.85)
    ax.plot((-x, x), (-y, y), color=style.ON_IMAGE, linewidth=1.1)
    ax.set(xlim=limits[0], ylim=limits[1])


def _legend(ax: Axes) -> None:
    ax.legend(frameon=False, fontsize=8, labelcolor=style.INK, handlelength=1.4)
