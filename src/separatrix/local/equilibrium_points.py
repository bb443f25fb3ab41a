"""The fixed points and cycles that were found, as arrays: stability, cycles, and the Dataset that they become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from separatrix.local.basin_cycles import power
from separatrix.local.piecewise_stability import ATTRACTING, REPELLING, SADDLE, STABILITY, UNDECIDED
from separatrix.local.spectrum import eigenvalues
from separatrix.results.dataset import build
from separatrix.results.status import flag_attrs
from separatrix.tangent.columns import Columns

if TYPE_CHECKING:
    import xarray as xr

LEFT = ("undecided", "segment", "polygon")
"""What is in a box that is left over: unknown, or a continuum of fixed points."""


@dataclass(frozen=True)
class Points:
    """One row for each point of each cycle; see :func:`separatrix.local.equilibria.equilibria`."""

    position: Float[np.ndarray, "points n"]
    period: Int[np.ndarray, " points"]
    cycle: Int[np.ndarray, " points"]
    slack: Float[np.ndarray, " points"]
    proved: Bool[np.ndarray, " points"]
    residual: Float[np.ndarray, " points"]
    eigenvalues: Complex[np.ndarray, "points n"]
    stability: Int[np.ndarray, " points"]

    @staticmethod
    def none(n: int) -> Points:
        """No points in n dimensions."""
        empty, whole = np.zeros(0), np.zeros(0, dtype=int)
        return Points(
            np.zeros((0, n)), whole, whole, empty, whole.astype(bool), empty, np.zeros((0, n), complex), whole
        )

    @staticmethod
    def joined(parts: list[Points]) -> Points:
        """All of several, with cycles numbered on."""
        start, moved = 0, []
        for part in parts:
            moved.append(part.cycle + start)
            start += int(part.cycle.max(initial=-1)) + 1
        fields = {k: np.concatenate([getattr(p, k) for p in parts]) for k in Points.__dataclass_fields__}
        return Points(**{**fields, "cycle": np.concatenate(moved)})


@dataclass(frozen=True)
class Left:
    """Boxes that are not decided, and continua of fixed points; ends are those of a segment, NaN for other kinds."""

    lo: Float[np.ndarray, "boxes n"]
    hi: Float[np.ndarray, "boxes n"]
    kind: Int[np.ndarray, " boxes"]
    start: Float[np.ndarray, "boxes n"]
    end: Float[np.ndarray, "boxes n"]

    @staticmethod
    def boxes(lo: np.ndarray, hi: np.ndarray) -> Left:
        """Undecided boxes."""
        nan = np.full_like(lo, np.nan)
        return Left(lo, hi, np.zeros(len(lo), dtype=int), nan, nan)

    @staticmethod
    def joined(parts: list[Left]) -> Left:
        """All of several."""
        return Left(*(np.concatenate([getattr(p, k) for p in parts]) for k in Left.__dataclass_fields__))


def classified(
    system: Columns,
    position: Float[Tensor, "n K"],
    period: int,
    cycle: np.ndarray,
    slack: np.ndarray,
    proved: np.ndarray,
    spread: Float[Tensor, " K"],
    contracting: Bool[Tensor, " K"] | None = None,
) -> Points:
    """Residual, eigenvalues and stability of fixed points of f^p.

    ``spread`` is the norm of what the derivative may be off by at the point: slopes of both sides at a kink. Where it
    is ``contracting``, a norm of all those slopes is below 1.
    """
    if not len(cycle):
        return Points.none(len(position))
    x = position.to(system.dtype)
    y, M = power(system, x, period)
    matrices = M.permute(2, 0, 1).double()
    values = eigenvalues(matrices)
    attracts = torch.zeros(len(cycle), dtype=torch.bool) if contracting is None else contracting
    margin = _margin(matrices, spread + 64 * system.epsilon * matrices.abs().sum(2).amax(1))
    return Points(
        position.T.numpy(),
        np.full(len(cycle), period),
        cycle,
        slack,
        proved,
        (y - x).double().abs().amax(0).numpy(),
        values.numpy(),
        torch.where(attracts, ATTRACTING, _stability(values.abs(), margin)).numpy(),
    )


def _margin(matrices: Float[Tensor, "K n n"], error: Float[Tensor, " K"]) -> Float[Tensor, " K"]:
    """How far eigenvalues may be off, if matrices are off by ``error``: by the condition of their eigenvectors.

    That is the bound of Bauer and Fike, Numer. Math. 2, 137 (1960); or that of L. Elsner, Linear Algebra Appl. 71, 77
    (1985), with the n-th root of the error, where eigenvectors coincide. ``error`` is a largest row sum, which the
    spectral norm exceeds by a factor of up to sqrt(n).
    """
    n = matrices.shape[-1]
    error = error * n**0.5
    size = torch.linalg.matrix_norm(matrices, 2).clamp(min=1e-12)
    vectors = torch.linalg.eig(matrices.nan_to_num())[1]
    condition = torch.linalg.svdvals(vectors)
    condition = condition[:, 0] / condition[:, -1].clamp(min=1e-300)
    return torch.minimum(condition * error, (2 * size + error) ** (1 - 1 / n) * error ** (1 / n)).clamp(min=1e-9)


def _stability(modulus: Float[Tensor, "K n"], margin: Float[Tensor, " K"]) -> Int[Tensor, " K"]:
    inside, outside = modulus < 1 - margin[:, None], modulus > 1 + margin[:, None]
    found = torch.full((len(modulus),), UNDECIDED)
    found[inside.all(1)] = ATTRACTING
    found[outside.all(1)] = REPELLING
    found[(inside | outside).all(1) & inside.any(1) & outside.any(1)] = SADDLE
    return found


def dataset(points: Points, left: Left, attrs: dict[str, Any]) -> xr.Dataset:
    """Name everything, and check it against the schema. Points are sorted by period, then by position."""
    first = np.array([np.flatnonzero(points.cycle == c)[0] for c in points.cycle], dtype=int)
    within = np.arange(len(first)) - first
    # a cycle goes where its first point goes, and keeps its order
    keys = (within, *points.position[first].T[::-1], points.period)
    order = np.lexsort(keys)
    _, number = np.unique(first[order], return_index=True)
    rank = {int(first[order][k]): place for place, k in enumerate(np.sort(number))}
    cycle = np.array([rank[int(f)] for f in first[order]], dtype=int)
    flags = flag_attrs(STABILITY, "stability by the eigenvalues' moduli")
    boxes, n = ("line", "axis"), points.position.shape[1]
    values = points.eigenvalues[order]
    return build(
        {
            "position": (("point", "axis"), points.position[order], {"long_name": "fixed point of the iterated map"}),
            "period": (("point",), points.period[order], {"long_name": "least period", "units": "step"}),
            "cycle": (("point",), cycle, {"long_name": "number of the cycle"}),
            "proved": (("point",), points.proved[order].astype(np.int8), {"long_name": "whether existence is proved"}),
            "slack": (("point",), points.slack[order], {"long_name": "largest distance from the true point"}),
            "residual": (("point",), points.residual[order], {"long_name": "largest component of f^p(x) - x"}),
            "eigenvalue_real": (("point", "index"), values.real, {"long_name": "of the derivative of f^p"}),
            "eigenvalue_imag": (("point", "index"), values.imag, {"long_name": "of the derivative of f^p"}),
            "stability": (("point",), points.stability[order].astype(np.int8), flags),
            "unresolved_lo": (boxes, left.lo, {"long_name": "lower corner of what is left over"}),
            "unresolved_hi": (boxes, left.hi, {"long_name": "upper corner of what is left over"}),
            "unresolved_kind": (("line",), left.kind.astype(np.int8), flag_attrs(LEFT)),
            "segment_start": (boxes, left.start, {"long_name": "end of a segment of fixed points"}),
            "segment_end": (boxes, left.end, {"long_name": "end of a segment of fixed points"}),
        },
        {"index": (("index",), np.arange(n)), "axis": (("axis",), np.arange(n))},
        attrs,
    )
