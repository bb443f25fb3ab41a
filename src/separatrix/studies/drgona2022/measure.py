"""One run of the sweep: all weight settings, biases and seeds of one activation at one depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from separatrix.local.spectrum import eigenvalues
from separatrix.results.dataset import build
from separatrix.results.provenance import provenance
from separatrix.studies.drgona2022.cases import BY_NAME, SETTINGS
from separatrix.studies.drgona2022.census import KINDS, SHARES, Found, Plan, census
from separatrix.studies.drgona2022.columns import ABOUT
from separatrix.studies.drgona2022.networks import Networks, joined, stacked
from separatrix.studies.drgona2022.norm_products import ORDERS, Products, norm_2, norm_products
from separatrix.studies.drgona2022.settling import BOX, CHUNK, settle, spread_starts
from separatrix.sweeps import task

if TYPE_CHECKING:
    import xarray as xr

    from separatrix.sweeps.config import Config

Columns = dict[str, np.ndarray]


@task(version="1")
def measure(config: Config) -> xr.Dataset:
    """Measure 23 settings with and without bias, (member, point) = (seed, case)."""
    seeds, plan, starts = config["seeds"], Plan(**config["plan"]), spread_starts(config["starts"])
    names = config.get("settings") or [s.name for s in SETTINGS]
    biases = (False, True)
    nets = joined([stacked(BY_NAME[n], config["activation"], config["depth"], seeds, biases) for n in names])
    products = norm_products(nets)
    columns = {
        **of_layers(nets),
        **on_grid(nets, config["nodes"]),
        **of_products(products),
        **of_attractors(census(nets, starts, plan), products),
        "limits": limits(nets, products, config["certified_starts"], plan),
    }
    return build(
        {
            name: (("member", "point"), v.reshape(-1, len(seeds)).T, {"long_name": ABOUT[name]})
            for name, v in columns.items()
        },
        {
            "seed": (("member",), np.array(seeds)),
            "setting": (("point",), np.repeat(names, len(biases)).astype(object)),
            "activation": (("point",), np.array([config["activation"]] * (len(names) * len(biases)), dtype=object)),
            "depth": (("point",), np.full(len(names) * len(biases), config["depth"])),
            "bias": (("point",), np.tile(np.array(biases, dtype=np.int8), len(names))),
        },
        {"provenance": provenance("studies.drgona2022", **config)},
    )


def column(kind: str) -> str:
    """Name of the column that counts attractors of a kind."""
    return "count_" + kind.replace(" ", "_").replace("-", "_")


def of_layers(nets: Networks) -> Columns:
    """Range of singular values and of eigenvalue moduli of the matrices of each network."""
    A = torch.stack(nets.A)
    largest, moduli = norm_2(A), eigenvalues(A).abs()
    smallest = torch.linalg.det(A).abs() / largest
    return {
        "layer_singular_lo": smallest.amin(0).numpy(),
        "layer_singular_hi": largest.amax(0).numpy(),
        "layer_modulus_lo": moduli.amin((0, 2)).numpy(),
        "layer_modulus_hi": moduli.amax((0, 2)).numpy(),
    }


def grid_points(nodes: int) -> Tensor:
    """Points (2, nodes^2) of the square; the origin is one of them if ``nodes`` is odd."""
    axis = torch.linspace(-BOX, BOX, nodes, dtype=torch.float64)
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij")).flatten(1)


def on_grid(nets: Networks, nodes: int) -> Columns:
    """Norms and spectra of A* and of the Jacobian over the square: maxima are estimates from below."""
    points = grid_points(nodes)
    parts = [_on_points(nets.take(part), points) for part in torch.arange(len(nets)).split(max(1, CHUNK // nodes**2))]
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def _on_points(nets: Networks, points: Tensor) -> dict[str, Tensor]:
    x = points.expand(len(nets), -1, -1)
    chords, slopes = nets.chords(x), nets.jacobian(x)
    spectra, radii = eigenvalues(chords), eigenvalues(slopes)[..., 0].abs()
    return {
        "norm_2": norm_2(chords).amax(1),
        "norm_fro": chords.flatten(2).norm(dim=2).amax(1),
        "radius": spectra[..., 0].abs().amax(1),
        "modulus": spectra.abs().flatten(1).quantile(0.5, dim=1),
        "complex": (spectra.imag[..., 0] != 0).double().mean(1),
        "jacobian_norm_2": norm_2(slopes).amax(1),
        "jacobian_radius": radii.amax(1),
    }


def of_products(products: Products) -> Columns:
    """Products of layer norms, and what they prove."""
    return {
        **{f"product_{name}": products.norms[:, i].numpy() for i, name in enumerate(("1", "2", "inf"))},
        "growth": products.growth.numpy(),
        "contraction": products.contraction.numpy().astype(np.int8),
        "bounded": products.bounded.numpy().astype(np.int8),
        "ball": products.radius.numpy(),
    }


def of_attractors(found: list[Found], products: Products) -> Columns:
    """Counts by kind, largest exponents, shares of starts, and how far attractors reach."""
    counts = np.array([[sum(a.kind == kind for a in one.attractors) for kind in KINDS] for one in found])
    leading = [max(one.attractors, key=lambda a: a.exponent, default=None) for one in found]
    within = []
    for net, one in enumerate(found):
        reach = max((a.farthest(ORDERS[int(products.order[net])]) for a in one.attractors), default=0.0)
        within.append(reach <= float(products.radius[net]) * (1 + 1e-9) + 1e-9)
    return {
        "attractors": np.array([len(one.attractors) for one in found]),
        **{column(kind): counts[:, i] for i, kind in enumerate(KINDS)},
        "exponent": np.array([a.exponent if a else np.nan for a in leading]),
        "exponent_error": np.array([a.error if a else np.nan for a in leading]),
        **{f"share_{name}": np.array([one.shares[name] for one in found]) for name in SHARES},
        "reach": np.array([max((a.farthest() for a in one.attractors), default=np.nan) for one in found]),
        "period": np.array([max((a.period for a in one.attractors), default=0) for one in found]),
        "within": np.array(within, dtype=np.int8),
    }


def limits(nets: Networks, products: Products, count: int, plan: Plan) -> np.ndarray:
    """Number of different limits from many starts, where contraction is proved; -1 elsewhere.

    Orbits that have not settled yet are left out; by the proof they shrink towards the same point.
    """
    found = np.full(len(nets), -1)
    which = products.contraction.nonzero()[:, 0]
    if len(which):
        settled = settle(nets.take(which), spread_starts(count), plan.steps, plan.longest)
        for net, row in enumerate(which.tolist()):
            found[row] = _clusters(settled.point[net][:, settled.period[net] != 0].T.nan_to_num(torch.inf))
    return found


def _clusters(points: Tensor) -> int:
    """How many points differ by more than 1e-6."""
    count = 0
    while len(points):
        count += 1
        points = points[~((points - points[0]).abs().amax(1) <= 1e-6 * (1 + points[0].abs().amax()))]
        if count > 9:
            break
    return count
