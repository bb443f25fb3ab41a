from . import data, ensembles, figures, report, results, systems, tangent, testing
from .results.errors import ArgumentError, SeparatrixWarning
from .results.status import Status
from .systems.depth import Depth
from .systems.flow import Flow
from .systems.listing import layers
from .systems.maps import Map
from .tangent.ftle import ftle
from .tangent.inputs import grid, plane

__all__ = [
    "ArgumentError",
    "Depth",
    "Flow",
    "Map",
    "SeparatrixWarning",
    "Status",
    "data",
    "ensembles",
    "figures",
    "ftle",
    "grid",
    "layers",
    "plane",
    "report",
    "results",
    "systems",
    "tangent",
    "testing",
]
