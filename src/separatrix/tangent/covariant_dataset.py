"""The Dataset that covariant vectors become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from separatrix.results.dataset import Entry, build
from separatrix.results.provenance import provenance
from separatrix.results.status import flag_attrs
from separatrix.tangent.angles import pairs
from separatrix.tangent.covariant_run import CovariantRun, Phases
from separatrix.tangent.orbit_status import OrbitStatus
from separatrix.tangent.orbits import Orbits

if TYPE_CHECKING:
    import xarray as xr


def dataset(
    run: CovariantRun,
    orbits: Orbits,
    system: object,
    phases: Phases,
    length: int,
    tolerance: float,
    settings: dict[str, Any],
) -> xr.Dataset:
    """Divide by the time of a step, and name everything."""
    members, k = run.exponent.shape
    rate = {"units": orbits.unit}
    error = torch.full_like(run.exponent, torch.nan) if run.means is None else run.means.error
    judged = run.convergence
    each, timed = ("member", "index"), ("member", "time", "index")
    data: dict[str, Entry] = {
        "exponent": (each, _array(run.exponent / orbits.dt), {"long_name": "exponent, mean of ln R_ii", **rate}),
        "standard_error": (each, _array(error / orbits.dt), {"long_name": "of the exponent, by batch means", **rate}),
        "covariant_exponent": (
            each,
            _array(run.covariant_exponent / orbits.dt),
            {"long_name": "mean growth rate of the covariant vector", **rate},
        ),
        "gap": (each, _array(judged.gap / orbits.dt), {"long_name": "distance to the exponent below", **rate}),
        "steps_times_gap": (
            each,
            _array(judged.nats),
            {
                "long_name": "separation from below before and from above after, the smaller, least over the window",
                "units": "nat",
            },
        ),
        "converged": (
            each,
            judged.converged.cpu().numpy().astype(np.int8),
            {"long_name": "1 where exp(-steps_times_gap) is at most the tolerance"},
        ),
        "group": (each, judged.group.cpu().numpy(), {"long_name": "number of the group of near-degenerate neighbours"}),
        "status": (each, _status(run).numpy(), flag_attrs(OrbitStatus, "status of the vector")),
        "singular_steps": (
            each,
            run.singular.cpu().numpy(),
            {"long_name": "steps of the window whose pivot was at rounding level"},
        ),
        "local_growth": (timed, _array(run.growth / orbits.dt), {"long_name": "growth rate from this time on", **rate}),
    }
    names = pairs(k)
    angle = {"units": "rad"}
    if names:
        across = ("member", "time", "pair")
        data["angle"] = (across, _array(run.angle), {"long_name": "angle between two covariant vectors", **angle})
        data["smallest_angle"] = (
            ("member", "pair"),
            _array(run.smallest),
            {"long_name": "smallest angle over all steps of the window", **angle},
        )
        if run.grouped is not None:
            data["subspace_angle"] = (
                across,
                _array(run.grouped),
                {"long_name": "smallest principal angle between the groups of two vectors", **angle},
            )
    if run.vector is not None:
        data["vector"] = (("member", "time", "index", "state"), _array(run.vector), {"long_name": "covariant vector"})
    times = np.arange(phases.records) * phases.every
    coords: dict[str, Entry] = {
        "member": (("member",), np.arange(members)),
        "time": (("time",), times, {"long_name": "step of the window", "units": "step"}),
        "index": (("index",), np.arange(1, k + 1)),
    }
    if names:
        coords["pair"] = (("pair",), np.arange(len(names)))
        coords["first"] = (("pair",), np.array([i + 1 for i, _ in names]))
        coords["second"] = (("pair",), np.array([j + 1 for _, j in names]))
    attrs = {
        "title": "covariant Lyapunov vectors",
        "form": "covariant",
        "method": f"{orbits.method}-ginelli-" + ("replayed" if run.replayed else "held"),
        "segment": length,
        "precision": str(orbits.dtype).removeprefix("torch."),
        "spinup": phases.spinup,
        "steps": phases.steps,
        "spindown": phases.spindown,
        "tolerance": float(tolerance),
        "ended": int((~run.alive).sum()),
        "provenance": provenance("covariant", model=system, **settings),
    }
    return build(data, coords, attrs)


def _status(run: CovariantRun) -> Tensor:
    status = torch.full(run.exponent.shape, int(OrbitStatus.OK), dtype=torch.int8, device=run.exponent.device)
    if run.means is None:
        status[:] = OrbitStatus.SHORT
    else:
        status[~run.means.settled] = OrbitStatus.TRANSIENT
    status[~run.convergence.converged] = OrbitStatus.UNCONVERGED
    status[run.singular > 0] = OrbitStatus.SINGULAR
    status[~run.alive] = OrbitStatus.NONFINITE
    return status.cpu()


def _array(values: Tensor) -> np.ndarray:
    return values.cpu().to(torch.float64).numpy()
