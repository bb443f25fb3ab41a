"""The exponent of one perturbation that was carried along a training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from separatrix.results.dataset import build
from separatrix.results.status import flag_attrs
from separatrix.tangent.batch_means import batch_means, pieces
from separatrix.tangent.orbit_status import OrbitStatus

if TYPE_CHECKING:
    import xarray as xr


def one_exponent(growth: np.ndarray, losses: np.ndarray, window: int) -> xr.Dataset:
    """Result like that of :func:`separatrix.lyapunov` from the logarithms of one perturbation's growth in each step.

    Parameters
    ----------
    growth : (T,) array
        In nats; NaN where training left the floating-point numbers, -inf where the perturbation vanished.
    losses : (T,) array
        Of each step's batch, before the step.
    window : int
        Steps of a sliding window.
    """
    steps = len(growth)
    time_, total = np.arange(1, steps + 1), np.cumsum(growth)
    sliding = np.full(steps, np.nan)
    sliding[window - 1 :] = np.convolve(growth, np.ones(window), "valid") / window
    count, error = pieces(steps), math.nan
    status = OrbitStatus.OK if count else OrbitStatus.SHORT
    ended = bool(np.isnan(total[-1]))
    if ended:
        status = OrbitStatus.NONFINITE
    elif np.isneginf(total[-1]):
        status = OrbitStatus.SINGULAR
    elif count:
        place = np.arange(steps) * count // steps
        sums = torch.from_numpy(np.bincount(place, growth, count)).reshape(count, 1, 1)
        means = batch_means(sums, torch.from_numpy(np.bincount(place, minlength=count).astype(float)))
        error = float(means.error)
        status = OrbitStatus.OK if bool(means.settled) else OrbitStatus.TRANSIENT
    unit = {"units": "1/step"}
    along, single = ("member", "time"), ("member", "index")
    data: dict[str, Any] = {
        "exponent": (single, total[None, -1:] / steps, {"long_name": "exponent", **unit}),
        "stretch": (single, total[None, -1:], {"long_name": "ln of growth over all steps", "units": "nat"}),
        "history": ((*along, "index"), (total / time_)[None, :, None], {
            "long_name": "exponent of the steps up to this time", **unit}),
        "window_exponent": ((*along, "index"), sliding[None, :, None], {
            "long_name": "exponent of the window that ends at this time", **unit, "window": window}),
        "standard_error": (single, np.array([[error]]), {
            "long_name": "standard error of the exponent by batch means", **unit}),
        "status": (single, np.array([[status]], dtype=np.int8), flag_attrs(OrbitStatus, "status of the exponent")),
        "last_step": (("member",), np.array([int((~np.isnan(total)).sum())]), {"long_name": "steps that were taken"}),
        "loss": (along, losses[None], {"long_name": "loss of a step's batch, before the step"}),
    }  # fmt: skip
    coords: dict[str, Any] = {
        "member": (("member",), np.arange(1)),
        "time": (("time",), time_, {"long_name": "steps", "units": "step"}),
        "duration": (("time",), time_.astype(float), {"long_name": "divisor of the exponent"}),
        "index": (("index",), np.arange(1, 2)),
    }
    attrs = {"title": "Lyapunov exponents", "form": "QR", "which": "largest", "method": "monitor", "transient": 0}
    return build(data, coords, {**attrs, "steps": steps, "ended": int(ended)})
