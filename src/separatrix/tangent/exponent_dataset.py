"""The Dataset that the exponents of orbits become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from separatrix.results.dataset import Entry, build
from separatrix.results.provenance import provenance
from separatrix.results.status import flag_attrs
from separatrix.tangent.exponent_runs import ExponentRun
from separatrix.tangent.exponent_windows import Windows
from separatrix.tangent.orbit_arguments import Choice
from separatrix.tangent.orbit_status import OrbitStatus
from separatrix.tangent.orbits import Orbits

if TYPE_CHECKING:
    import xarray as xr


def dataset(
    run: ExponentRun,
    choice: Choice,
    orbits: Orbits,
    system: object,
    spans: Windows,
    transient: int,
    form: str,
    settings: dict[str, Any],
) -> xr.Dataset:
    """Keep the indices asked for, divide by durations, and name everything."""
    times = torch.tensor(spans.times, dtype=torch.float64)
    kept = _Kept(choice)
    history = kept.stretch(run.history.cpu(), times[:, None])
    duration = times * orbits.dt
    status = kept(run.status.cpu())
    unit = {"units": orbits.unit}
    data: dict[str, Entry] = {
        "exponent": (("member", "index"), _array(history[:, -1] / duration[-1]), {"long_name": "exponent", **unit}),
        "stretch": (
            ("member", "index"),
            _array(history[:, -1]),
            {"long_name": "ln of growth over all steps", "units": "nat"},
        ),
        "history": (
            ("member", "time", "index"),
            _array(history / duration[:, None]),
            {"long_name": "exponent of the steps up to this time", **unit},
        ),
        "standard_error": (
            ("member", "index"),
            _array(kept(run.error.cpu()) / orbits.dt),
            {"long_name": "standard error of the exponent by batch means", **unit},
        ),
        "spread": (
            ("member", "index"),
            _array(kept(run.spread.cpu()) / duration[-1]),
            {"long_name": "standard deviation of the exponent over first frames", **unit},
        ),
        "status": (
            ("member", "index"),
            status.numpy().astype(np.int8),
            flag_attrs(OrbitStatus, "status of the exponent"),
        ),
        "singular_steps": (
            ("member", "index"),
            kept(run.singular.cpu()).numpy(),
            {"long_name": "steps whose pivot was at rounding level"},
        ),
        "last_step": (
            ("member",),
            run.last.cpu().numpy(),
            {"long_name": "steps the orbit took after the transient; negative if it ended before"},
        ),
    }
    if run.sliding is not None and spans.window is not None:
        slid = kept.stretch(run.sliding.cpu(), torch.tensor(float(spans.window)))
        data["window_exponent"] = (
            ("member", "time", "index"),
            _array(slid / (spans.window * orbits.dt)),
            {"long_name": "exponent of the window that ends at this time", **unit, "window": spans.window},
        )
    first = choice.first_index
    coords: dict[str, Entry] = {
        "member": (("member",), np.arange(len(history))),
        "time": (("time",), np.array(spans.times), {"long_name": "steps after the transient", "units": "step"}),
        "duration": (("time",), duration.numpy(), {"long_name": "divisor of the exponent"}),
        "index": (("index",), np.arange(first, first + choice.wanted)),
    }
    attrs = {
        "title": "Lyapunov exponents",
        "form": form,
        "which": "smallest" if choice.smallest else "largest",
        "method": _method(orbits, form, choice),
        "precision": str(orbits.dtype).removeprefix("torch."),
        "transient": transient,
        "steps": spans.steps,
        "ended": int((status == OrbitStatus.NONFINITE).any(1).sum()),
        "provenance": provenance("lyapunov", model=system, **settings),
    }
    return build(data, coords, attrs)


class _Kept:
    """Picks the indices asked for, along the last dimension."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice

    def __call__(self, values: Tensor) -> Tensor:
        choice = self._choice
        if choice.pairing is not None:
            return values[..., : choice.wanted].flip(-1)
        return values[..., -choice.wanted :] if choice.smallest else values[..., : choice.wanted]

    def stretch(self, values: Tensor, steps: Tensor) -> Tensor:
        pairing = self._choice.pairing
        return self(values) if pairing is None else pairing * steps - self(values)


def _array(values: Tensor) -> np.ndarray:
    return values.to(torch.float64).numpy()


def _method(orbits: Orbits, form: str, choice: Choice) -> str:
    way = "householder" if form == "QR" else "graded-product"
    return f"{orbits.method}-{way}" + ("-pairing" if choice.pairing is not None else "")
