"""One run of the sweep: a cell's networks trained, their early tangents, and their final loss."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from separatrix.results.dataset import build
from separatrix.results.provenance import provenance
from separatrix.studies.sharafi2025.covariant_angles import BINS, KINDS, ORDERS, angles_before, nulls
from separatrix.studies.sharafi2025.networks import initial_states, training
from separatrix.studies.sharafi2025.tangents import chunk, early, onward
from separatrix.sweeps import task
from separatrix.tangent.lyapunov import lyapunov
from separatrix.tangent.qr_sweep import random_frames

if TYPE_CHECKING:
    import xarray as xr

    from separatrix.sweeps.config import Config
    from separatrix.systems.training import Training

Columns = dict[str, tuple[tuple[str, ...], Any, dict[str, str]]]


@task(version="1")
def measure(config: Config) -> xr.Dataset:
    """Train the networks of a cell, the first steps with all tangents.

    Returns
    -------
    xarray.Dataset
        ``loss``, ``gradient_norm``, ``sharpness`` (member, time) and ``stretch`` (member, time, index), the sums of
        ln R_ii from step 0, at each recorded step; ``late_loss`` (member, line) after ``late_step`` steps, the last of
        them ``final`` (member); ``singular`` (member). Infinity stands where a run had left the floating-point
        numbers. With angles: ``angle`` (member, indicator, point) before each step ``at``, for the kinds
        ``angle_kind``, and ``null_angle`` (convention, indicator, edge) and ``angle_counts`` (convention, x) of the
        first members. With further frames ``frame_stretch`` (member, k, point, index), with the singular-value form
        ``singular_stretch`` (member, point, index), at the steps ``at``, NaN beyond ``singular_until``.
    """
    began = time.perf_counter()
    system = training(config)
    states = initial_states(config, system)
    steps, every, record, at = (config[name] for name in ("tangent_steps", "every", "record", "at"))
    n = system.dim()
    frames = random_frames(1 + config["frames"], len(states), n, n, config["seed"])
    marks = tuple(sorted({max(steps, config["steps"] * part // 8) for part in (1, 2, 4, 8)}))
    early_columns: dict[str, list[Tensor]] = {}
    size = chunk(n, steps // every if config["angles"] else 0)
    for start in range(0, len(states), size):
        rows = slice(start, start + size)
        found = early(system, states[rows], frames[:, rows], steps, every=every, record=record, keep=config["angles"])
        places = [t // record for t in at]
        parts = {
            "loss": found.loss,
            "gradient_norm": found.gradient_norm,
            "sharpness": found.sharpness,
            "stretch": found.stretch[0],
            "singular": found.singular,
            "states": found.states,
            "frames": found.stretch[1:, :, places].permute(1, 0, 2, 3),
        }
        if config["angles"]:
            seen = [angles_before(found.factors, t // every, config["seed"]).mean for t in at]
            gone = ~torch.isfinite(found.loss[:, places])
            parts["angle"] = torch.stack(seen, -1).masked_fill(gone[:, None], torch.inf)
        for name, values in parts.items():
            early_columns.setdefault(name, []).append(values)
    whole = {name: torch.cat(values) for name, values in early_columns.items()}
    tangent_seconds = time.perf_counter() - began
    # so many at a time that their activations stay in a core's cache
    portions = whole["states"].split(max(125, 2500 // config["hidden"]))
    late = torch.cat([onward(system, part, steps, marks) for part in portions])
    columns: Columns = {
        "loss": (("member", "time"), whole["loss"].numpy(), {"long_name": "loss"}),
        "gradient_norm": (("member", "time"), whole["gradient_norm"].numpy(), {"long_name": "norm of the gradient"}),
        "sharpness": (("member", "time"), whole["sharpness"].numpy(), {"long_name": "largest Hessian eigenvalue"}),
        "stretch": (("member", "time", "index"), whole["stretch"].numpy(), {"units": "nat"}),
        "singular": (("member",), whole["singular"].numpy(), {"long_name": "factorisations with a pivot of rounding"}),
        "late_loss": (("member", "line"), late.numpy(), {"long_name": "loss later on"}),
        "final": (("member",), late[:, -1].numpy(), {"long_name": "final loss"}),
    }
    if config["frames"]:
        columns["frame_stretch"] = (("member", "k", "point", "index"), whole["frames"].numpy(), {"units": "nat"})
    if config["singular_until"]:
        columns["singular_stretch"] = (
            ("member", "point", "index"),
            _singular(system, states, config),
            {"units": "nat"},
        )
    coords: Columns = {
        "time": (("time",), np.arange(0, steps + 1, record), {"units": "step"}),
        "late_step": (("line",), np.array(marks), {"units": "step"}),
        "at": (("point",), np.array(at), {"units": "step"}),
    }
    if config["angles"]:
        columns["angle"] = (("member", "indicator", "point"), whole["angle"].numpy(), {"units": "rad"})
        coords["angle_kind"] = (("indicator",), np.array(KINDS, dtype=object), {})
        columns |= _nulls(system, states, frames[0], config)
        coords["order"] = (("convention",), np.array(ORDERS, dtype=object), {})
        coords["angle_edge"] = (("x",), (np.arange(BINS) + 0.5) * 90 / BINS, {"units": "degree"})
    attrs = {
        "method": f"orthonormal frames (QR form), factorised every {every} step(s), from random first frames",
        "tangent_seconds": tangent_seconds,
        "seconds": time.perf_counter() - began,
        "provenance": provenance("studies.sharafi2025", **config),
    }
    return build(columns, coords, attrs)


def _singular(system: Training, states: Tensor, config: Config) -> np.ndarray:
    """Logarithms of the singular values of the product of all maps so far, (member, point, index)."""
    at, until = np.array(config["at"]), config["singular_until"]
    step = int(np.gcd.reduce(at))
    found = lyapunov(system, states, steps=until, form="svd", every=step)
    values = np.full((len(states), len(at), system.dim()), np.nan)
    times = found["time"].values
    for place, t in enumerate(at):
        if t <= until:
            values[:, place] = found["history"].values[:, int(np.flatnonzero(times == t)[0])] * t
    return values


def _nulls(system: Training, states: Tensor, frames: Tensor, config: Config) -> Columns:
    few = slice(0, config["null_members"])
    found = nulls(system, states[few], frames[few], config["tangent_steps"], config["every"], config["seed"])
    return {
        "null_angle": (("convention", "indicator", "edge"), found.mean.permute(0, 2, 1).numpy(), {"units": "rad"}),
        "angle_counts": (("convention", "x"), found.counts.numpy(), {"long_name": "pairs by angle"}),
    }
