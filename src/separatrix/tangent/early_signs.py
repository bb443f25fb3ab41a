"""What a run shows up to a step: indicators, and the baselines that they have to beat."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray


class Signs(NamedTuple):
    """One number for each name and run."""

    names: tuple[str, ...]
    values: Float[ndarray, "name member"]
    baseline: Bool[ndarray, " name"]


BASELINES = ("loss", "power_law", "gradient_norm", "sharpness", "window_sharpness")


def early_signs(seen: Mapping[str, Any], steps: Any, window: int, until: float) -> Signs:
    """Baselines first, then indicators, from arrays (member, time) that end at the step in question.

    Parameters
    ----------
    seen : mapping of name to array (member, time)
        ``loss``, perhaps ``gradient_norm`` and ``sharpness``, and indicators.
    steps : array (time,)
    window : int
        Steps of the window of the mean sharpness: those after ``steps[-1] - window``.
    until : int
        Step to which the power law is continued.
    """
    found = {"loss": seen["loss"][:, -1], "power_law": power_law(seen["loss"], steps, until)}
    for name in ("gradient_norm", "sharpness"):
        if name in seen:
            found[name] = seen[name][:, -1]
    if "sharpness" in seen:
        found["window_sharpness"] = seen["sharpness"][:, steps > steps[-1] - window].mean(1)
    count = len(found)
    found |= {name: values[:, -1] for name, values in seen.items() if name not in BASELINES}
    return Signs(tuple(found), np.stack(list(found.values())), np.arange(len(found)) < count)


def power_law(
    loss: Float[ndarray, "member time"], steps: Float[ndarray, " time"] | Any, until: float
) -> Float[ndarray, " member"]:
    """Logarithm of the loss at a later step, by the line through ln loss against ln step over the later half seen.

    Returns
    -------
    array (member,)
        ln loss_t + slope (ln until - ln t). The slope is that of least squares over the steps from t/2 to t; 0 where
        fewer than two of them are there. A loss of 0 or below gives -inf; NaN or infinite losses give infinity.
    """
    late = (steps >= steps[-1] / 2) & (steps > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.log(np.maximum(loss, 0.0))
        if late.sum() >= 2:
            x = np.log(steps[late].astype(np.float64))
            y = value[:, late]
            slope = (y - y.mean(1, keepdims=True)) @ (x - x.mean()) / ((x - x.mean()) ** 2).sum()
            found = value[:, -1] + np.where(np.isfinite(slope), slope, 0.0) * (math.log(until) - x[-1])
        else:
            found = value[:, -1].copy()
    bad = ~np.isfinite(loss[:, -1])
    found[bad] = np.inf
    return found
