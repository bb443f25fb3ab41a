from . import data, ensembles, figures, report, results, studies, sweeps, systems, tangent, testing
from .results.errors import ArgumentError, SeparatrixWarning
from .results.status import Status
from .sweeps.running import sweep
from .systems.depth import Depth
from .systems.flow import Flow
from .systems.listing import layers
from .systems.maps import Map
from .tangent.boundary import decision_boundary
from .tangent.boundary_scores import boundary_scores
from .tangent.curve_distance import curve_distance
from .tangent.ftle import ftle
from .tangent.inputs import grid, plane
from .tangent.ridges import ridges

__all__ = [
    "ArgumentError",
    "Depth",
    "Flow",
    "Map",
    "SeparatrixWarning",
    "Status",
    "boundary_scores",
    "curve_distance",
    "data",
    "decision_boundary",
    "ensembles",
    "figures",
    "ftle",
    "grid",
    "layers",
    "plane",
    "report",
    "results",
    "ridges",
    "studies",
    "sweep",
    "sweeps",
    "systems",
    "tangent",
    "testing",
]
