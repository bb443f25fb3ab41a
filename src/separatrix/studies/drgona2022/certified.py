"""One run of certificates: what is proved and refuted of the networks of one activation at one depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from separatrix.certificates.certify import certify
from separatrix.results.dataset import build
from separatrix.results.provenance import provenance
from separatrix.results.status import flag_attrs
from separatrix.studies.drgona2022.cases import BY_NAME
from separatrix.studies.drgona2022.networks import joined, stacked
from separatrix.studies.drgona2022.norm_products import norm_products
from separatrix.studies.drgona2022.settling import settle, spread_starts
from separatrix.sweeps import task

if TYPE_CHECKING:
    import xarray as xr

    from separatrix.sweeps.config import Config

STATEMENTS = ("contraction", "stability", "boundedness")
VERDICTS = ("unknown", "certified", "refuted")
FAR = 1e-4
"""Ends of orbits that are farther apart than this are different limits."""


@task(version="1")
def certified(config: Config) -> xr.Dataset:
    """Verdicts and methods on three statements, (member, point) = (seed, case), beside products of norms."""
    names, seeds, biases = config["settings"], config["seeds"], (False, True)
    nets = joined([stacked(BY_NAME[n], config["activation"], config["depth"], seeds, biases) for n in names])
    products = norm_products(nets)
    ends = settle(nets, spread_starts(config["starts"]), config["steps"], 32)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # many small products
    try:
        found = {
            s: [certify(nets.module(i), s, budget=config["seconds"]) for i in range(len(nets))] for s in STATEMENTS
        }
    finally:
        torch.set_num_threads(threads)
    columns: dict[str, np.ndarray] = {
        "norms_contraction": products.contraction.numpy().astype(np.int8),
        "norms_boundedness": products.bounded.numpy().astype(np.int8),
        "spread": np.array([_spread(ends.point[i], ends.period[i]) for i in range(len(nets))]),
    }
    for statement, proofs in found.items():
        columns[statement] = np.array([VERDICTS.index(proof.verdict.value) for proof in proofs], dtype=np.int8)
        columns[f"{statement}_method"] = np.array([proof.method for proof in proofs], dtype=object)
        columns[f"{statement}_seconds"] = np.array([proof.seconds for proof in proofs])
    about: dict[str, dict[str, Any]] = {name: {"long_name": words} for name, words in _ABOUT.items()}
    about |= {s: flag_attrs(VERDICTS, f"verdict on {s}") for s in STATEMENTS}
    about |= {f"{s}_method": {"long_name": f"how {s} was shown"} for s in STATEMENTS}
    about |= {f"{s}_seconds": {"long_name": f"time taken for {s}", "units": "s"} for s in STATEMENTS}
    return build(
        {name: (("member", "point"), v.reshape(-1, len(seeds)).T, about[name]) for name, v in columns.items()},
        {
            "seed": (("member",), np.array(seeds)),
            "setting": (("point",), np.repeat(names, len(biases)).astype(object)),
            "activation": (("point",), np.array([config["activation"]] * (len(names) * len(biases)), dtype=object)),
            "depth": (("point",), np.full(len(names) * len(biases), config["depth"])),
            "bias": (("point",), np.tile(np.array(biases, dtype=np.int8), len(names))),
        },
        {"provenance": provenance("studies.drgona2022.certified", **config)},
    )


_ABOUT = {
    "norms_contraction": "1: a product of layer norms and largest slopes is below 1",
    "norms_boundedness": "1: a product of layer norms and largest chords is below 1, or the activation is bounded",
    "spread": "largest distance between fixed points that orbits end at; infinite with an escape or cycle, NaN if none",
}


def _spread(point: torch.Tensor, period: torch.Tensor) -> float:
    """How far apart the ends of orbits are: more than a little, and there is more than one limit."""
    if bool(((period < 0) | (period > 1)).any()):
        return float("inf")  # an escape, or a cycle
    settled = point[:, period == 1]
    if not settled.shape[1]:
        return float("nan")
    return float((settled.amax(1) - settled.amin(1)).max())
