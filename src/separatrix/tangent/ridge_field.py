"""What ridges need of a field: one member and one layer of a Dataset, checked, as arrays over a uniform grid."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole
from separatrix.results.status import Status

_LEAST = 7
_IN_PLANE = 1e-6
"""Least part of v_1 that lies in a plane: below it the direction in the plane is rounding."""


@dataclass(frozen=True)
class GridField:
    """A field of stretches on a uniform grid.

    Attributes
    ----------
    f, gap : ndarray, shape (x, y)
        ln sigma_1, NaN where its status forbids to use it, and ln sigma_1/sigma_2.
    v : ndarray, shape (x, y, 2)
        Leading direction in the coordinates of the grid, of unit length in the metric, NaN where there is none.
    steps, corner : (float, float)
        Spacing, and the first node.
    origin, basis : ndarray, shape (inputs,) and (2, inputs)
        A node (a, b) stands for the input origin + a basis[0] + b basis[1].
    eps : float
        Relative precision of the computation.
    settings : dict
        What :func:`separatrix.ftle` was asked, as far as the field remembers.
    """

    f: np.ndarray
    gap: np.ndarray
    v: np.ndarray
    steps: tuple[float, float]
    corner: tuple[float, float]
    origin: np.ndarray
    basis: np.ndarray
    eps: float
    label: str
    coupled: bool
    settings: dict[str, Any]

    @property
    def metric(self) -> np.ndarray:
        """Scalar products of the two directions of the plane."""
        return self.basis @ self.basis.T

    @property
    def box(self) -> float:
        """Length of the diagonal, in the input space."""
        sides = np.array(self.steps) * (np.array(self.f.shape) - 1)
        return float(np.linalg.norm(sides @ self.basis))

    def smoothed(self, sigma: float) -> GridField:
        """The field, and v v' of its directions, averaged with Gaussian weights of ``sigma`` cells."""
        good = np.isfinite(self.f) & np.isfinite(self.v).all(-1)
        vectors = np.where(good[..., None], self.v, 0.0)
        weight = _gaussian(good.astype(float), sigma)
        with np.errstate(invalid="ignore", divide="ignore"):
            f = _gaussian(np.where(good, self.f, 0.0), sigma) / weight
        square = [[_gaussian(vectors[..., i] * vectors[..., j], sigma) for j in (0, 1)] for i in (0, 1)]
        products = np.moveaxis(np.array(square), (0, 1), (-2, -1))
        # the leading eigenvector of the mean of v v' G, in coordinates in which the metric G is the unit matrix
        root = np.linalg.cholesky(self.metric)
        _, turned = np.linalg.eigh(root.T @ products @ root)
        v = turned[..., 1] @ np.linalg.inv(root)
        nothing = np.where(good, 0.0, np.nan)
        return GridField(**{**vars(self), "f": f + nothing, "v": v + nothing[..., None]})


def read_field(field: Any, layer: str | None, member: int) -> GridField:
    """Take one member and one layer out of a field, and check that ridges can be looked for in it.

    Raises
    ------
    ArgumentError
        For what is no field on a grid, an unknown layer or member, a grid that is too small or not uniform, or NaN
        everywhere.
    """
    names = set(getattr(field, "data_vars", ()))
    if "stretch" not in names:
        raise ArgumentError("field", type(field).__name__, "give a Dataset that sx.ftle returned on a grid or a plane")
    if not {"x", "y"} <= set(field["stretch"].dims) or not {"gap", "direction"} <= names:
        what = "a field at points" if "point" in field["stretch"].dims else "a field without direction"
        raise ArgumentError("field", what, "compute it with inputs=sx.grid(...) or sx.plane(...), without start=")
    steps, corner = _spacing(field)
    label = _label(field, layer)
    members = int(field.sizes.get("member", 1))
    if whole("member", member, 0) >= members:
        raise ArgumentError("member", repr(member), f"the field has {members}, counted from 0")
    one = field.isel(layer=[str(v) for v in field["layer"].values].index(label))
    one = (one.isel(member=member) if "member" in one.dims else one).sel(index=1).transpose("x", "y", ...)
    f = np.array(one["stretch"].values, dtype=float)
    if "status" in one:
        f[np.asarray(one["status"].values) >= Status.BELOW_PRECISION] = np.nan
    f[~np.isfinite(f)] = np.nan
    if np.isnan(f).all():
        raise ArgumentError("field", f"no usable number at any node of layer {label!r}", "see the field's status")
    basis = np.asarray(field["basis"].values, dtype=float) if "basis" in names else np.eye(2)
    origin = np.asarray(field["origin"].values, dtype=float) if "origin" in names else np.zeros(2)
    v = np.array(one["direction"].values, dtype=float)
    # of the two signs, always the same one: then nothing can depend on it
    flip = (v[..., 0] < 0) | ((v[..., 0] == 0) & (v[..., 1] < 0))
    v[flip] = -v[flip]
    length = np.linalg.norm(v @ basis, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        v = np.where(length > _IN_PLANE, v / length, np.nan)
    return GridField(
        f,
        np.array(one["gap"].values, dtype=float),
        v,
        steps,
        corner,
        origin,
        basis,
        _precision(str(field.attrs.get("precision", "float64"))),
        label,
        field.attrs.get("method") == "loop",
        json.loads(field.attrs.get("provenance", "{}")).get("settings", {}),
    )


def _spacing(field: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    steps, corner = [], []
    for name in ("x", "y"):
        values = np.asarray(field[name].values, dtype=float)
        if len(values) < _LEAST:
            got = f"{field.sizes['x']} x {field.sizes['y']} nodes"
            raise ArgumentError("field", got, f"ridges need at least {_LEAST} along each axis")
        step = (values[-1] - values[0]) / (len(values) - 1)
        if not step > 0 or np.abs(np.diff(values) - step).max() > 1e-6 * step:
            raise ArgumentError("field", f"nodes along {name} that are not evenly spaced", "use the grid of sx.ftle")
        steps.append(float(step))
        corner.append(float(values[0]))
    return (steps[0], steps[1]), (corner[0], corner[1])


def _label(field: Any, layer: str | None) -> str:
    """Full label of the layer that is meant: the last one, the last hidden one, or one by its name."""
    labels = [str(v) for v in np.atleast_1d(field["layer"].values)]
    if layer is None:
        return labels[-1]
    cuts = np.atleast_1d(field["cut"].values) if "cut" in field.coords else np.ones(len(labels))
    hidden = [label for label, cut in zip(labels, cuts, strict=True) if cut and label != "output"]
    if layer == "hidden" and "hidden" not in [label.rsplit("#", 1)[0] for label in labels] and hidden:
        return hidden[-1]
    loose = [label for label in labels if label.rsplit("#", 1)[0] == layer]
    if layer not in labels and len(loose) != 1:
        raise ArgumentError(
            "layer", repr(layer), f'the field holds {", ".join(labels)}; "hidden" is the last before the output'
        )
    return layer if layer in labels else loose[0]


def _precision(text: str) -> float:
    dtype = getattr(torch, text.rsplit(" ", 1)[-1], torch.float32)
    return float(torch.finfo(dtype if isinstance(dtype, torch.dtype) else torch.float32).eps)


def _gaussian(a: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(a, sigma, mode="constant")
