"""How a field of exponents and a decision boundary hang together, point by point."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from separatrix.results.dataset import Entry, build
from separatrix.results.errors import ArgumentError
from separatrix.results.memory import parse_bytes
from separatrix.results.progress import Progress, track
from separatrix.results.provenance import provenance
from separatrix.results.status import flag_attrs
from separatrix.systems.guest import Guest, Output
from separatrix.systems.listing import Anatomy, Layer, anatomy, prepare
from separatrix.tangent.boundary_places import as_places
from separatrix.tangent.outputs import Outputs, in_best_precision
from separatrix.tangent.score_points import MEANING, ScoreStatus, ScoreWork

if TYPE_CHECKING:
    import xarray as xr

_LINEAR = 1e-9
"""Largest relative deviation of a readout that counts as linear."""


def boundary_scores(
    model: nn.Module | Callable[..., Any],
    at: xr.Dataset | Tensor,
    *,
    layer: str = "output",
    output: Output = None,
    level: float | None = None,
    distance: float = 0.1,
    memory: int | float | str = "512MB",
    progress: Progress = False,
) -> xr.Dataset:
    """Score how far a decision boundary is a ridge of the field of exponents, at points of it or at any points.

    With f the scalar output less its level, or z_i - z_j for a pair of classes, n = grad f / |grad f|, and
    sigma_1, v_1 the largest singular value and leading right direction of the Jacobian of ``layer``:

    - the *directional* score is |v_1 . n|: does the field stretch across the boundary?
    - the *magnitude* score is ln sigma_1(x) - max(ln sigma_1(x + d n), ln sigma_1(x - d n)): is it larger there than
      beside it? ``curvature`` = d2 ln sigma_1 / dr2 along n says it for d -> 0, ``slope`` is the first derivative.

    The two are kept apart: one can hold without the other. Where the outputs are a linear readout f = v . h + b of the
    last hidden layer, the *task-visible stretch* is |grad f| / |v|, and chi is its share of the largest stretch of h,
    between 0 and 1. The linear margin is |f| / |grad f|.

    Parameters
    ----------
    model : nn.Module or callable
        One network (not a stack), in evaluation mode. It is left exactly as it was.
    at : xarray.Dataset or Tensor (points, *input)
        What :func:`decision_boundary` returned, or any points. At points of several classes, the pair is that of the
        two largest outputs.
    layer : str
        Endpoint of the field: ``"output"``, ``"hidden"`` (the last hidden layer), or a label of ``sx.layers``.
    output : callable, str or int, optional
        Applied to what the model returns, for f and for the endpoint ``"output"``.
    level : float, optional
        Level of a scalar output; by default the one of the boundary, or 0.
    distance : float
        The distance d, in units of the input.
    memory : int or str
        Budget in bytes, such as ``"512MB"``.
    progress : bool or callable
        A bar on stderr, or a function of (done, total).

    Returns
    -------
    xarray.Dataset
        Over ``point``, in the order of the boundary's points: ``value``, ``gradient``, ``directional``, ``stretch``,
        ``stretch_ahead``, ``stretch_behind``, ``magnitude``, ``slope``, ``curvature``, ``hidden_stretch``,
        ``task_stretch``, ``chi``, ``margin``, ``first`` and ``second`` (the classes, -1 for a scalar output) and
        ``status`` (:class:`ScoreStatus`). Stretches and magnitude are in nats. ``readout`` names the hidden layer from
        which the outputs are linear; where it is empty, ``task_stretch`` and ``chi`` are NaN. The normal is that of
        the whole input space, also on a plane.

    Raises
    ------
    ArgumentError
        For input that cannot be used; the message names the argument, what it got, and what to do.

    Notes
    -----
    Derivatives are exact: forward mode, nested twice over the Jacobian, and second-order perturbation theory of the
    largest singular value, in float64. Where an operation has no rule for that, they are central differences of fourth
    order at steps of the distance / 128, and ``method`` is ``"differences"``. Cost: about 10 min(d, m) passes for d
    inputs and m components of the layer. When a boundary is a ridge depends on endpoint and loss (Panahi, Nazerian,
    Pezeshki 2026; on their Gaussian models these scores are exact); the readout's stretch follows Storm et al., Phys.
    Rev. Lett. 132, 057301 (2024).
    """
    if not isinstance(distance, int | float) or isinstance(distance, bool) or not 0 < distance < np.inf:
        raise ArgumentError("distance", repr(distance), "give a positive, finite number in units of the input")
    budget = parse_bytes(memory)
    places = as_places(at)
    level = places.level if level is None else float(level)
    guest = Guest(model, output=output)
    if guest.dtype is None:
        guest.dtype = torch.float64
    with guest.visit():
        probe = places.few(3)
        outputs = in_best_precision(guest, lambda one: Outputs(one, probe, level=level, member=0, argument="at"))
        pair = places.pair(outputs)
        seen = anatomy(outputs.guest, prepare(outputs.guest, probe))
        chosen = _one_layer(seen, layer)
        work = ScoreWork(outputs, seen, chosen, distance)
        found, status = work.empty(len(places)), torch.zeros(len(places), dtype=torch.int8)
        with track(progress, len(places), "boundary scores") as advance:
            for begin in range(0, len(places), chunk := work.chunk(budget)):
                part = slice(begin, begin + chunk)
                scores, status[part] = work.score(places.inputs(part), pair[part])
                for name, values in scores.items():
                    found[name][part] = values
                advance(len(pair[part]))
    linear = work.readout is not None and work.deviation <= _LINEAR
    if not linear:
        found["task_stretch"][:] = found["chi"][:] = torch.nan
    classes = np.full((len(places), 2), -1) if outputs.scalar else pair.numpy()
    data: dict[str, Entry] = {name: (("point",), found[name].numpy(), {"long_name": t}) for name, t in MEANING.items()}
    data |= {"first": (("point",), classes[:, 0]), "second": (("point",), classes[:, 1])}
    data["status"] = (("point",), status.numpy(), flag_attrs(ScoreStatus))
    settings: dict[str, Any] = {"layer": layer, "output": None if output is None else str(output), "level": level}
    attrs = {
        "title": "scores of a decision boundary",
        "method": "exact" if work.exact else "differences",
        "form": "singular-value",
        "layer": chosen.label,
        "readout": work.readout.label if linear and work.readout else "",
        "level": level,
        "distance": float(distance),
        "precision": outputs.guest.precision,
        "provenance": provenance("boundary_scores", model=model, **settings, distance=distance, memory=memory),
    }
    return build(data, {}, attrs)


def _one_layer(seen: Anatomy, layer: str) -> Layer:
    if not isinstance(layer, str) or layer == "all":
        raise ArgumentError("layer", repr(layer), 'give one: "output", "hidden" (the last one), or a label')
    return seen.select(layer if layer in ("output", "hidden") else [layer])[-1]
