"""Beyond the letter: Gaussian classes, where the best network is known and a boundary need not be a ridge.

Closed forms after Panahi, Nazerian and Pezeshki (2026) on Lyapunov spectra and decision boundaries; the three-class
curvature was derived for this study.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from separatrix.studies.measurement import Measurement, at_least, at_most, near
from separatrix.studies.storm2024 import gaussian_figures, gaussian_training
from separatrix.studies.storm2024.gaussian_model import (
    CRITICAL,
    NORMAL,
    OPTIMA,
    TURN,
    Triangle,
    curvature,
    direction,
    stretch,
    turning_point,
)
from separatrix.studies.study import Context, Part
from separatrix.studies.wording import given
from separatrix.tangent.ftle import ftle
from separatrix.tangent.inputs import Plane, grid
from separatrix.tangent.ridges import ridges

if TYPE_CHECKING:
    import xarray as xr

SATURATED = 6.0
"""Beyond alpha |r| of this much, 1 - p and 1 - tanh^2 have lost digits that the closed forms still have."""


POSTERIORS = torch.linspace(0.345, 0.499, 25, dtype=torch.float64)
"""Where a facet of three classes is measured."""

STEP = 0.003
"""Of differences across it, times alpha: small, for the curvature has a pole at 1/3."""


def two_classes(alphas: tuple[float, ...], where: Plane) -> list[Measurement]:
    """Fields, curvatures, directions and ridges of the best networks against the closed forms."""
    points = where.points()
    r = points @ NORMAL
    along = torch.linspace(-1, 1, 21, dtype=torch.float64)[:, None] * torch.stack([-NORMAL[1], NORMAL[0]])
    found = []
    for best in OPTIMA:
        off, bent, turned = [], [], []
        away: list[float] = []
        for alpha in alphas:
            model = best.network(alpha)
            error = (stretch(model, points) - best.log_stretch(r, alpha)).abs()
            off.append(float(error[(alpha * r).abs() <= SATURATED].max()))
            bent.append(float((curvature(model, along, NORMAL, 0.05 / alpha) / alpha**2 - best.curvature).abs().max()))
            turned.append(float(1 - (direction(model, points) @ NORMAL).abs().min()))
            at = torch.from_numpy(ridges(ftle(model, where), model=model)["position"].values)
            away += (at @ NORMAL).abs().tolist()
        n = len(alphas) * len(points)
        found += [
            _worst(f"{best.name}: ln σ less its closed form, for α|r| up to {SATURATED:g}", max(off), 1e-12, n, "nat"),
            _worst(
                f"{best.name}: curvature over α² at r = 0, less {given(best.curvature)}",
                max(bent),
                1e-8,
                len(alphas) * len(along),
            ),
            _worst(f"{best.name}: 1 − |cos| of v₁ and the normal", max(turned), 1e-12, n),
        ]
        if best.curvature:
            far = max(away, default=math.nan)
            found.append(_worst(f"{best.name}: distance of ridge points from the boundary", far, 1e-8, len(away)))
        else:
            found.append(
                Measurement(
                    f"{best.name}: ridge points found", float(len(away)), n=n, of="nodes", target=0.0, accept=at_most(0)
                )
            )
    return found


def three_classes(triangle: Triangle, model: nn.Module, lines: xr.Dataset) -> list[Measurement]:
    """Facet between two of three classes against the closed forms."""
    a = POSTERIORS
    points, normal = triangle.on_facet(a), torch.tensor([1.0, 0.0], dtype=torch.float64)
    off = (stretch(model, points) - triangle.log_stretch(a)).abs().max()
    bent = (curvature(model, points, normal, STEP / triangle.alpha) - triangle.curvature(a)).abs().max()
    turned = 1 - (direction(model, points) @ normal).abs().min()
    with torch.no_grad():
        first, second, _ = model(torch.from_numpy(lines["position"].values)).sort(1, descending=True).values.T
    on_facets = first[(first - second).abs() < 1e-6]
    return [
        _worst("three classes: ln σ₁ on a facet, less its closed form", float(off), 1e-12, len(a), "nat"),
        _worst("three classes: curvature over α², less its closed form", float(bent) / triangle.alpha**2, 1e-8, len(a)),
        _worst("three classes: 1 − |cos| of v₁ and the normal", float(turned), 1e-12, len(a)),
        Measurement(
            "three classes: posterior at which the valley turns into a ridge",
            turning_point(triangle),
            target=CRITICAL,
            accept=near(CRITICAL, 1e-8),
        ),
        Measurement(
            "three classes: smallest posterior of a ridge point on a facet",
            float(on_facets.min()) if len(on_facets) else math.nan,
            n=len(on_facets),
            of="ridge points",
            target=CRITICAL,
            accept=at_least(CRITICAL),
        ),
    ]


def _worst(what: str, value: float, bound: float, n: int, unit: str = "") -> Measurement:
    """Largest deviation over n points."""
    return Measurement(f"{what} (largest)", value, unit, n=n, of="points", target=0.0, accept=at_most(bound))


def run(context: Context) -> Part:
    """Measure the closed forms with the library's own instrument, then networks trained on the same classes."""
    alphas, alpha = (1.0, 3.0, 8.0), 3.0
    nodes = context.pick(quick=101, paper=201)
    where = grid((-2, 2), (-2, 2), shape=nodes)
    triangle = Triangle(4.0)
    context.say("gaussian: closed forms")
    exact = two_classes(alphas, where)
    model = triangle.network()
    close = ftle(model, grid((-0.5, 0.5), (-0.5, 0.5), shape=nodes))
    lines = ridges(close, model=model)
    bend = curvature(model, triangle.on_facet(POSTERIORS), torch.tensor([1.0, 0.0]).double(), STEP / triangle.alpha)
    settings = gaussian_training.Settings(
        alpha=alpha,
        seeds=tuple(context.seed + i for i in range(context.pick(quick=3, paper=10))),
        points=context.pick(quick=20_000, paper=100_000),
        epochs=context.pick(quick=10, paper=12),
        rate=context.pick(quick=5e-3, paper=3e-3),
    )
    context.say("gaussian: trained networks")
    profiles = gaussian_training.profiles(settings, NORMAL)
    hidden = gaussian_training.at_hidden(profiles, settings)
    return Part(
        figures=[
            gaussian_figures.fields(alpha, where),
            gaussian_figures.trained(profiles, settings),
            gaussian_figures.facets(triangle, close, lines),
            gaussian_figures.facet_curvature(triangle, POSTERIORS, bend),
        ],
        measurements=[
            *exact,
            *three_classes(triangle, model, lines),
            *gaussian_training.measurements(profiles, settings),
        ],
        settings={
            "two classes": f"α = |μ₁ − μ₀|/s² = {', '.join(f'{v:g}' for v in alphas)}; normal turned by {TURN} rad",
            "three classes": f"means at the corners of an equilateral triangle, α = {triangle.alpha:g}, s = 1",
            "precision": f"closed forms are compared for α|r| up to {SATURATED:g}; farther out the derivatives 1 − p "
            "and 1 − tanh² of float64 lose digits",
            "grid": f"[−2, 2]² with {nodes}² nodes",
            "curvature": f"eighth-order central difference of ln σ, step 0.05/α (two classes), {STEP}/α (three)",
            **settings.described(),
        },
        notes=[
            "For Gaussian classes with equal covariance s²I the map that minimises the expected loss is known, and "
            "with it the stretch at every point. The decision boundary is the same straight line in all three cases "
            "below. Seen at the logit of a network trained with cross entropy it does not show at all: the stretch is "
            "the same everywhere. Seen at the probability, or at the output trained with squared error, it is a ridge.",
            "With three classes the facet between two of them is a valley of the stretch near the point where all "
            f"three meet, and a ridge only where both posteriors exceed a_c = (√57 − 3)/12 = {CRITICAL:.4f}. Around "
            "that point the stretch has ridges inside each class as well, where no decision changes.",
            f"At the last hidden layer, where the letter looks, no closed form is known. {hidden}",
            "So a ridge of the stretch is evidence of a boundary under the letter's choice of loss and endpoint, and "
            "not in general: whoever shows a field has to say both.",
        ],
    )
