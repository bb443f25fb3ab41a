from . import parametrizations
from .depth import Depth
from .flow import Flow
from .listing import layers
from .loop import Loop
from .loop_modules import Euler, Feedback, Scaled
from .maps import Map
from .protocol import System, adjoint

__all__ = [
    "Depth",
    "Euler",
    "Feedback",
    "Flow",
    "Loop",
    "Map",
    "Scaled",
    "System",
    "adjoint",
    "layers",
    "parametrizations",
]
