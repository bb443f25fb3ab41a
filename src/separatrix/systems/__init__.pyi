from .depth import Depth
from .flow import Flow
from .listing import layers
from .maps import Map
from .protocol import System, adjoint

__all__ = ["Depth", "Flow", "Map", "System", "adjoint", "layers"]
