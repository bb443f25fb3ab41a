from . import optim, parametrizations
from .depth import Depth
from .flow import Flow
from .listing import layers
from .loop import Loop
from .loop_modules import Euler, Feedback, Scaled
from .maps import Map
from .protocol import System, adjoint
from .recurrent import Recurrent
from .squared_error import half_squared_error
from .training import Training

__all__ = [
    "Depth",
    "Euler",
    "Feedback",
    "Flow",
    "Loop",
    "Map",
    "Recurrent",
    "Scaled",
    "System",
    "Training",
    "adjoint",
    "half_squared_error",
    "layers",
    "optim",
    "parametrizations",
]
