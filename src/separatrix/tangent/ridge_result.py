"""The arrays of a set of ridge lines, and the Dataset that they become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.results.dataset import build
from separatrix.results.status import flag_attrs
from separatrix.tangent.ridge_newton import Refined, RidgeStatus

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class RidgeLines:
    """Points in the order of the lines, with how many each line has and whether it is closed."""

    points: Refined
    prominence: np.ndarray
    alignment: np.ndarray
    sizes: np.ndarray
    closed: np.ndarray

    @classmethod
    def none(cls) -> RidgeLines:
        """No line."""
        none, pairs, whole = np.zeros(0), np.zeros((0, 2)), np.zeros(0, dtype=int)
        return cls(Refined(pairs, pairs, pairs, none, none, none, whole), none, none, whole, whole)

    def dataset(self, attrs: dict[str, Any]) -> xr.Dataset:
        """Name everything, and check it against the schema."""
        one, nat = self.points, {"units": "nat"}
        status = flag_attrs(RidgeStatus, "how the point was found")
        closed = {"long_name": "whether the line ends where it starts"}
        return build(
            {
                "position": (("point", "axis"), one.position, {"long_name": "point in the coordinates of the grid"}),
                "stretch": (("point",), one.stretch, {"long_name": "stretch on the ridge", **nat}),
                "strength": (("point",), one.strength, {"long_name": "-v_1' H v_1", "units": "nat/length2"}),
                "prominence": (("point",), self.prominence, {"long_name": "fall of the stretch on both sides", **nat}),
                "alignment": (("point",), self.alignment, {"long_name": "|cos(v_1, normal of the ridge)|"}),
                "residual": (("point",), one.residual, {"long_name": "length of the last Newton step"}),
                "status": (("point",), one.status.astype(np.int8), status),
                "start": (("line",), np.cumsum(self.sizes) - self.sizes, {"long_name": "first point of the line"}),
                "count": (("line",), self.sizes, {"long_name": "points of the line"}),
                "closed": (("line",), self.closed.astype(np.int8), closed),
            },
            {},
            attrs,
        )
